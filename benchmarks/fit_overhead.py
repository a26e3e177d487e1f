"""What `Trainer.fit` costs beside the same loop written by hand.

``python benchmarks/fit_overhead.py`` trains a 784-256-128-10 network with both, batch 128, epochs
taking turns, and prints the ratio of their times. Both measure loss and accuracy on the way.
"""

import argparse
import json
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

import xpnet as xn
from xpnet import losses, metrics, nn, optim

BATCH = 128


def make_model():
    """Return the network."""
    return nn.Sequential(
        *(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
    )


def loss_fn(model, x, y):
    """Return the loss, and the logits for the accuracy."""
    logits = model(x)
    return losses.cross_entropy(logits, y), logits


def by_hand(model, optimizer, data, rng):
    """Train an epoch; return its mean loss and accuracy."""
    step = xn.value_and_grad(loss_fn, has_aux=True)
    loss = hits = 0.0
    for x, y in xn.data.Loader(data, BATCH, shuffle=True, rng=rng):
        (batch_loss, logits), grads = step(model, x, y)
        optimizer.update(model, grads)
        loss = loss + batch_loss * x.shape[0]
        hits = hits + metrics.accuracy(logits, y) * x.shape[0]
    return float(loss) / len(data[1]), float(hits) / len(data[1])


def measure(rounds, samples):
    """Return seconds of each epoch by hand and by `fit`, after checking that both do the same."""
    rng = np.random.default_rng(0)
    data = (
        xn.asarray(rng.normal(size=(samples, 784)), dtype="float32"),
        xn.asarray(rng.integers(0, 10, samples)),
    )
    seconds = {"by hand": [], "fit": []}
    models, results = [], []
    for _ in range(2):
        xn.seed(0)
        models.append(make_model())
    optimizers = optim.Adam(1e-3), optim.Adam(1e-3)
    trainer = xn.Trainer(models[1], losses.cross_entropy, optimizers[1], metrics=["accuracy"])
    orders = xn.Generator(1), xn.Generator(1)
    for _ in range(rounds):
        start = time.perf_counter()
        results.append(by_hand(models[0], optimizers[0], data, orders[0]))
        middle = time.perf_counter()
        history = trainer.fit(data, batch_size=BATCH, rng=orders[1], verbose=0)
        seconds["by hand"].append(middle - start)
        seconds["fit"].append(time.perf_counter() - middle)
        found = history["loss"][0], history["accuracy"][0]
        np.testing.assert_allclose(found, results[-1], rtol=1e-5)
    return seconds


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--samples", type=int, default=12800)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    args = parser.parse_args()
    seconds = measure(args.rounds, args.samples)
    ratios = [fit / hand for hand, fit in zip(*seconds.values(), strict=True)]
    result = {
        "microseconds a step": {
            name: statistics.median(times) / (args.samples / BATCH) * 1e6
            for name, times in seconds.items()
        },
        "ratio of medians": statistics.median(seconds["fit"])
        / statistics.median(seconds["by hand"]),
        "median of ratios": statistics.median(ratios),
        "rounds": args.rounds,
        "versions": {name: version(name) for name in ("xpnet", "numpy")}
        | {"python": platform.python_version()},
    }
    print(json.dumps(result, indent=2))
    if args.output:
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
