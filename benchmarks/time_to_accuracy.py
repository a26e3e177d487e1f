"""Seconds of training until MNIST is recognised well enough, beside PyTorch, in one run.

``python benchmarks/time_to_accuracy.py`` trains a 784-256-128-10 network with Adam in batches of
128. All have the same initial weights, order of images and learning rates, and read the loss after
every step. They take turns of a fraction of an epoch; after each the test images are classified,
which does not count. What counts is training: gathering batches of bytes, dividing them by 255,
steps, and what the first of them takes to record or compile. A run that never gets there counts as
endless.

Rounding alone makes the runs of two libraries part, so that one may get there some turns earlier;
steps are given beside seconds, and the time of a step.
"""

import argparse
import dataclasses
import math
import statistics
import time
from typing import Any

import common
import contestants
import network
import numpy as np

from xpnet import data
from xpnet.optim import schedules

HIDDEN, BATCH = (256, 128), 128
TURNS = 5  # of each, in an epoch
NAMES = ("xpnet", "xpnet-compiled", "xpnet-fast", "torch", "torch-fused")


@dataclasses.dataclass
class Run:
    """The training of one contestant with one seed."""

    seconds: float = 0.0
    steps: int = 0
    reached: dict[float, tuple[float, int]] = dataclasses.field(default_factory=dict)
    losses: list[float] = dataclasses.field(default_factory=list)  # of the first steps
    accuracy: float = 0.0


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--contestants", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--dataset", choices=["mnist", "fashion-mnist", "digits"], default="mnist")
    parser.add_argument("--targets", nargs="+", type=float, default=[0.97, 0.98])
    parser.add_argument("--epochs", type=common.positive, default=8)
    parser.add_argument("--schedule", choices=["cosine", "constant"], default="cosine")
    parser.add_argument("--repetitions", type=common.positive, default=5, help="seeds")
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between turns")
    common.add_output(parser)
    args = parser.parse_args()

    train, test = (
        (images.reshape(len(images), -1), labels) for images, labels in data.load(args.dataset)
    )
    chosen = {name: contestants.CONTESTANTS[name] for name in args.contestants}
    names, missing = contestants.available(chosen, problem(0, train, args))
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for seed in range(args.repetitions):
        found = compete(common.rotated(names, seed), seed, train, test, args)
        contestants.check_agreement({name: run.losses for name, run in found.items()})
        for name in names:
            runs[name].append(found[name])

    settings = {name: getattr(args, name) for name in ("dataset", "epochs", "schedule")}
    results = {
        "environment": common.environment(),
        "settings": settings | {"repetitions": args.repetitions},
        "missing": missing,
        "contestants": {name: summary(found, args.targets) for name, found in runs.items()},
    }
    print(common.describe(results["environment"]))
    print(
        f"\n{args.dataset}, {problem(0, train, args)}, {args.schedule} rate, {args.epochs} epochs"
    )
    print_runs(results["contestants"], args.targets)
    for name, reason in missing.items():
        print(f"\n{contestants.TITLES[name]}: left out, {reason}")
    common.write(args.output, results)


def problem(seed: int, train: Any, args: argparse.Namespace) -> network.Problem:
    """Return what all are given, for one seed."""
    rng = np.random.default_rng(seed)
    x, _ = train
    weights = network.initial_weights(HIDDEN, rng, pixels=x.shape[1])
    schedule = None
    if args.schedule == "cosine":
        schedule = schedules.Cosine(network.RATES["Adam"], args.epochs * (len(x) // BATCH))
    return network.Problem(BATCH, HIDDEN, "Adam", weights, schedule=schedule, from_bytes=True)


def compete(
    names: list[str], seed: int, train: Any, test: Any, args: argparse.Namespace
) -> dict[str, Run]:
    """Train all, in turns, until the last epoch or until each has reached all targets."""
    given = problem(seed, train, args)
    made = {name: contestants.CONTESTANTS[name](given) for name in names}
    own = {name: [each.place(part) for part in (*train, test[0])] for name, each in made.items()}
    runs = {name: Run() for name in names}
    rng = np.random.default_rng(seed)
    for _ in range(args.epochs):
        order = rng.permutation(len(train[1]))
        batches = [order[i : i + BATCH] for i in range(0, len(order) - BATCH + 1, BATCH)]
        for number, part in enumerate(np.array_split(np.arange(len(batches)), TURNS)):
            for name in common.rotated(names, number):
                run, contestant = runs[name], made[name]
                if all(target in run.reached for target in args.targets):
                    continue
                time.sleep(args.pause)  # lets the threads of the one before fall asleep
                x, y, held_out = own[name]
                indices = [contestant.place(batches[i]) for i in part]
                start = time.perf_counter()
                losses = [contestant.step(x[chosen], y[chosen]) for chosen in indices]
                run.seconds += time.perf_counter() - start
                run.steps += len(losses)
                run.losses += losses[: 5 - len(run.losses)]
                assert contestant.predict is not None
                predicted = np.argmax(contestant.predict(held_out), axis=-1)
                run.accuracy = float(np.mean(predicted == test[1]))
                for target in args.targets:
                    if run.accuracy >= target:
                        run.reached.setdefault(target, (run.seconds, run.steps))
    return runs


def summary(runs: list[Run], targets: list[float]) -> dict[str, Any]:
    """Return medians over the seeds, and each run."""
    found: dict[str, Any] = {
        "microseconds a step": statistics.median(run.seconds / run.steps for run in runs) * 1e6
    }
    for target in targets:
        reached = [run.reached.get(target, (math.inf, 0)) for run in runs]
        seconds = statistics.median(seconds for seconds, _ in reached)
        found[str(target)] = {
            "seconds": seconds if math.isfinite(seconds) else None,
            "steps": statistics.median(steps for _, steps in reached),
            "runs": [run.reached.get(target) for run in runs],
        }
    return found | {"accuracies": [run.accuracy for run in runs]}


def print_runs(found: dict[str, Any], targets: list[float]) -> None:
    """Print seconds and steps to each target, and ratios to the faster PyTorch there."""
    header = ["training", "us a step"]
    for target in targets:
        header += [f"s to {target:.0%}", "/ PyTorch", "steps"]
    rows = []
    for name, each in found.items():
        line = [contestants.TITLES[name], f"{each['microseconds a step']:.0f}"]
        for target in map(str, targets):
            seconds, steps = each[target]["seconds"], each[target]["steps"]
            peers = [found[peer][target]["seconds"] for peer in found if peer.startswith("torch")]
            best = min((peer for peer in peers if peer is not None), default=None)
            line += [
                "never" if seconds is None else f"{seconds:.2f}",
                "-" if seconds is None or best is None else f"{seconds / best:.2f}",
                "-" if seconds is None else f"{steps:.0f}",
            ]
        rows.append(line)
    common.table(header, rows)


if __name__ == "__main__":
    main()
