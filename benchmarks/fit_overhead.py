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
    """Return seconds of an epoch by hand and by `fit`, in each round with new models.

    Where arrays happen to lie in memory makes a step up to a third slower, for as long as they
    live; so they are made anew in every round, and who is first changes.
    """
    rng = np.random.default_rng(0)
    x = xn.asarray(rng.normal(size=(samples, 784)), dtype="float32")
    data = x, xn.asarray(rng.integers(0, 10, samples))

    def run_by_hand(model, optimizer, order):
        return by_hand(model, optimizer, data, order)

    def run_fit(model, optimizer, order):
        trainer = xn.Trainer(model, losses.cross_entropy, optimizer, metrics=["accuracy"])
        history = trainer.fit(data, batch_size=BATCH, rng=order, verbose=0)
        return history["loss"][0], history["accuracy"][0]

    runs = {"by hand": run_by_hand, "fit": run_fit}
    seconds = {name: [] for name in runs}
    for turn in range(rounds):
        results = []
        for name in sorted(runs, reverse=bool(turn % 2)):
            xn.seed(turn)
            model, optimizer, order = make_model(), optim.Adam(1e-3), xn.Generator(turn)
            start = time.perf_counter()
            results.append(runs[name](model, optimizer, order))
            seconds[name].append(time.perf_counter() - start)
        np.testing.assert_allclose(*results, rtol=1e-5)  # both do the same
    return seconds


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--samples", type=int, default=6400)
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
