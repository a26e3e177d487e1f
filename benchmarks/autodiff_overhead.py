"""What differentiation adds to array code: time for each operation, and memory for a network.

``python benchmarks/autodiff_overhead.py`` measures on NumPy, beside HIPS autograd and PyTorch where
they are installed. All are measured in one run, in rounds that take turns, and the fastest round
of each counts, so that other work on the machine disturbs as little as possible; still, run it on
a quiet one.
"""

import argparse
import itertools
import json
import os
import platform
import time
import tracemalloc
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import xpnet as xn
from xpnet import nn, special
from xpnet.autodiff.level import Level

BATCH, WIDTH, CLASSES = 8, 32, 10
OPERATIONS = {
    "x * y": "x * y",
    "x + y": "x + y",
    "x @ y": "x @ y",
    "x - 2.0": "x - 2.0",
    "exp(x)": "xp.exp(x)",
    "sum(x, axis=-1, keepdims=True)": "xp.sum(x, axis=-1, keepdims=True)",
    "mean(x, axis=0)": "xp.mean(x, axis=0)",
}


def fastest(calls: dict[str, Callable[[], Any]], *, rounds: int, number: int) -> dict[str, float]:
    """Return microseconds for each call: the fastest of rounds in which all take turns."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(number):
                call()
            best[name] = min(best[name], (time.perf_counter() - start) / number * 1e6)
    return best


def operators(rounds: int) -> dict[str, tuple[float, float]]:
    """Return for each operation on 8x8 float32 the time it takes bare, and what tracing adds."""
    a, b = np.ones((8, 8), np.float32), np.full((8, 8), 2.0, np.float32)
    results = {}
    for name, expression in OPERATIONS.items():
        with Level(name, (a, b), {}) as level:
            x, y = level.variables([a, b], "the pair").inside
            # The loop is part of the timed code, so that no call is measured but the operation.
            loop = compile(f"for _ in range(100): {expression}", name, "exec")
            plain = {"x": a, "y": b, "xp": xn.array_namespace(a)}
            traced = {"x": x, "y": y, "xp": xn.array_namespace(x)}

            def run_traced(loop: Any = loop, traced: Any = traced, tape: Any = level.tape) -> None:
                exec(loop, traced)
                del tape[2:]

            calls = {"plain": lambda loop=loop, plain=plain: exec(loop, plain), "own": run_traced}
            best = fastest(calls, rounds=10 * rounds, number=1)
        results[name] = best["plain"] / 100, (best["own"] - best["plain"]) / 100
    return results


def network() -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Return weights and biases of three layers, a batch, and its classes as one-hot rows."""
    rng = np.random.default_rng(0)
    parameters = []
    for n_in, n_out in [(WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH, CLASSES)]:
        parameters.append((rng.standard_normal((n_in, n_out)) / n_in**0.5).astype(np.float32))
        parameters.append(np.zeros(n_out, np.float32))
    x = rng.standard_normal((BATCH, WIDTH)).astype(np.float32)
    return parameters, x, np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, BATCH)]


def written_out(xp: Any, p: Any, x: Any, y: Any) -> Any:
    """Return the loss of the network in operations that every library has."""
    h = xp.maximum(x @ p[0] + p[1], 0.0)
    h = xp.maximum(h @ p[2] + p[3], 0.0)
    z = h @ p[4] + p[5]
    z = z - xp.max(z, axis=-1, keepdims=True)
    return xp.mean(xp.log(xp.sum(xp.exp(z), axis=-1)) - xp.sum(z * y, axis=-1))


def steps() -> dict[str, Callable[[], Any]]:
    """Return calls that compute the value and all gradients, for each library that is there."""
    p, x, y = network()

    def idiomatic(p: Any, x: Any, y: Any) -> Any:
        xp = xn.array_namespace(x)
        h = nn.relu(x @ p[0] + p[1])
        h = nn.relu(h @ p[2] + p[3])
        return -xp.mean(xp.sum(y * special.log_softmax(h @ p[4] + p[5]), axis=-1))

    same = xn.value_and_grad(lambda p, x, y: written_out(xn.array_namespace(x), p, x, y))
    own = xn.value_and_grad(idiomatic)
    xp = xn.array_namespace(x)
    calls: dict[str, Callable[[], Any]] = {
        "NumPy, the value alone": lambda: written_out(xp, p, x, y),
        "xpnet, written out": lambda: same(p, x, y),
        "xpnet, relu and log_softmax": lambda: own(p, x, y),
    }
    try:
        import autograd
        import autograd.numpy as anp

        theirs = autograd.value_and_grad(lambda p, x, y: written_out(anp, p, x, y))
        calls["HIPS autograd, written out"] = lambda: theirs(p, x, y)
    except ImportError:
        pass
    try:
        import torch

        torch.set_num_threads(1)
        tp = [torch.tensor(a, requires_grad=True) for a in p]
        tx, ty = torch.tensor(x), torch.tensor(y)
        labels = ty.argmax(1)
    except ImportError:
        return calls

    def torch_written_out() -> Any:
        h = torch.clamp(tx @ tp[0] + tp[1], min=0.0)
        h = torch.clamp(h @ tp[2] + tp[3], min=0.0)
        z = h @ tp[4] + tp[5]
        z = z - torch.amax(z, -1, keepdim=True)
        loss = (torch.log(torch.sum(torch.exp(z), -1)) - torch.sum(z * ty, -1)).mean()
        return loss, torch.autograd.grad(loss, tp)

    def torch_idiomatic() -> Any:
        h = torch.relu(tx @ tp[0] + tp[1])
        h = torch.relu(h @ tp[2] + tp[3])
        loss = torch.nn.functional.cross_entropy(h @ tp[4] + tp[5], labels)
        return loss, torch.autograd.grad(loss, tp)

    calls["PyTorch eager, written out"] = torch_written_out
    calls["PyTorch eager, relu and cross_entropy"] = torch_idiomatic
    return calls


def memory() -> tuple[float, float]:
    """Return peak MiB of a gradient by hand and of ours: 784-1024-1024-10, a batch of 512."""
    rng = np.random.default_rng(0)
    sizes = [784, 1024, 1024, 10]
    p = [
        a.astype(np.float32)
        for m, n in itertools.pairwise(sizes)
        for a in (rng.standard_normal((m, n)) / m**0.5, np.zeros(n))
    ]
    x = rng.standard_normal((512, 784)).astype(np.float32)
    y = np.eye(10, dtype=np.float32)[rng.integers(0, 10, 512)]

    def by_hand() -> Any:
        h1 = np.maximum(x @ p[0] + p[1], 0)
        h2 = np.maximum(h1 @ p[2] + p[3], 0)
        z = h2 @ p[4] + p[5]
        z -= z.max(axis=-1, keepdims=True)
        e = np.exp(z)
        total = e.sum(axis=-1, keepdims=True)
        loss = np.mean(np.log(total[:, 0]) - (z * y).sum(axis=-1))
        g = (e / total - y) / np.float32(len(x))
        grads = [h2.T @ g, g.sum(axis=0)]
        g = (g @ p[4].T) * (h2 > 0)
        grads = [h1.T @ g, g.sum(axis=0), *grads]
        g = (g @ p[2].T) * (h1 > 0)
        return loss, [x.T @ g, g.sum(axis=0), *grads]

    def loss(p: Any, x: Any, y: Any) -> Any:
        xp = xn.array_namespace(x)
        h = nn.relu(x @ p[0] + p[1])
        h = nn.relu(h @ p[2] + p[3])
        return -xp.mean(xp.sum(y * special.log_softmax(h @ p[4] + p[5]), axis=-1))

    ours = xn.value_and_grad(loss)
    peaks = []
    for call in (by_hand, lambda: ours(p, x, y)):
        call()
        tracemalloc.start()
        call()
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    return peaks[0], peaks[1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=40, help="how often each takes its turn")
    parser.add_argument("--json", type=Path, help="a file for the figures, with versions")
    args = parser.parse_args()

    times = fastest(steps(), rounds=args.rounds, number=20)  # first, since it warms up
    per_operation = operators(args.rounds)
    print("| operation, 8x8 float32 | bare, us | added, us |\n| --- | --- | --- |")
    for name, (bare, added) in per_operation.items():
        print(f"| `{name}` | {bare:.2f} | {added:.2f} |")
    print(f"\n| value and gradients, 3 layers, width {WIDTH}, batch {BATCH} | us |\n| --- | --- |")
    for name, microseconds in times.items():
        print(f"| {name} | {microseconds:.0f} |")
    by_hand, ours = memory()
    print("\n| peak memory, 784-1024-1024-10, batch 512 | MiB |\n| --- | --- |")
    print(f"| by hand | {by_hand:.1f} |\n| xpnet | {ours:.1f} ({ours / by_hand:.2f} x) |")
    if args.json:
        packages = ["xpnet", "numpy", "array-api-compat", "autograd", "torch"]
        figures = {
            "machine": platform.machine(),
            "python": platform.python_version(),
            "versions": {name: _version(name) for name in packages},
            "operations": per_operation,
            "steps": times,
            "peak_mib": {"by hand": by_hand, "xpnet": ours},
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except ModuleNotFoundError:
        return None


if __name__ == "__main__":
    main()
