"""`xpnet.interop.sklearn.MLPClassifier` beside scikit-learn's own, in one run.

``python benchmarks/sklearn_estimator.py`` trains both on Fashion-MNIST with the same
hyper-parameters, taking turns, for several seeds: without Numba and with it. A training of three
epochs before all others is not timed: kernels are compiled in it. Then a part of the data in which
one class is rare shows what ``class_weight="balanced"`` does.
"""

import argparse
import contextlib
import dataclasses
import os
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any
from unittest import mock

import common
import numpy as np
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

from xpnet import data
from xpnet.interop import sklearn as estimators

TITLES = {
    "sklearn": "scikit-learn",
    "xpnet": "xpnet",
    "xpnet-fast": "xpnet with Numba",
}
RARE = 6  # shirts, which look like pullovers and coats


@dataclasses.dataclass
class Runs:
    """Seconds and accuracies of one contestant, for each seed."""

    seconds: list[float] = dataclasses.field(default_factory=list)
    accuracies: list[float] = dataclasses.field(default_factory=list)


def make(name: str) -> Callable[..., Any]:
    """Return the estimator of a contestant."""
    kind = neural_network if name == "sklearn" else estimators
    return kind.MLPClassifier


def engine(name: str) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which a contestant computes as it is named."""
    return mock.patch.dict(os.environ, NUMBA_DISABLE_JIT=str(int(name != "xpnet-fast")))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--contestants", nargs="+", choices=list(TITLES), default=list(TITLES))
    parser.add_argument("--dataset", choices=["fashion-mnist", "digits"], default="fashion-mnist")
    parser.add_argument("--epochs", type=common.positive, default=8)
    parser.add_argument("--hidden", nargs="+", type=common.positive, default=[100])
    parser.add_argument("--batch-sizes", nargs="+", type=common.positive, default=[200, 64])
    parser.add_argument("--repetitions", type=common.positive, default=3, help="seeds")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between turns")
    common.add_output(parser)
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # there are as many epochs as asked for

    brightest = 16 if args.dataset == "digits" else 255
    train, test = (
        ((images.reshape(len(images), -1) / brightest).astype("float32"), labels)
        for images, labels in data.load(args.dataset)
    )
    settings = {"hidden_layer_sizes": args.hidden, "max_iter": args.epochs}
    settings |= {"tol": 0.0, "n_iter_no_change": np.inf}
    results: dict[str, Any] = {
        "environment": common.environment(),
        "settings": {name: getattr(args, name) for name in ("dataset", "epochs", "hidden")},
    }
    print(common.describe(results["environment"]))
    for size in args.batch_sizes:
        runs = compete(train, test, settings | {"batch_size": size}, args)
        found = {name: summary(each, runs.get("sklearn")) for name, each in runs.items()}
        results[f"batches of {size}"] = found
        report(found, size, args)
    seeds = range(args.repetitions)
    recalls = {
        str(weight): [recall(seed, weight, train, test, settings) for seed in seeds]
        for weight in (None, "balanced")
    }
    results["recall of a rare class"] = recalls
    print(f"\nrecall of class {RARE}, of which a twentieth is in the training data")
    rows = [[name, *(f"{value:.1%}" for value in values)] for name, values in recalls.items()]
    common.table(["class_weight", *(f"seed {seed}" for seed in seeds)], rows)
    common.write(args.output, results)


def compete(
    train: Any, test: Any, settings: dict[str, Any], args: argparse.Namespace
) -> dict[str, Runs]:
    """Train all, in turns, with each seed."""
    names = args.contestants
    for name in names:
        with engine(name):
            make(name)(**settings | {"max_iter": 3}).fit(*train)
    runs = {name: Runs() for name in names}
    for seed in range(args.repetitions):
        for name in common.rotated(names, seed):
            time.sleep(args.pause)  # lets the threads of the one before fall asleep
            with engine(name):
                start = time.perf_counter()
                model = make(name)(random_state=seed, **settings).fit(*train)
                runs[name].seconds.append(time.perf_counter() - start)
            runs[name].accuracies.append(float(model.score(*test)))
    return runs


def recall(seed: int, weight: str | None, train: Any, test: Any, settings: dict[str, Any]) -> float:
    """Return which share of a class is found of which training has only a twentieth."""
    x, y = train
    rows = np.arange(len(y))
    kept = (rows % 20 == 0) | (y != RARE)
    model = estimators.MLPClassifier(random_state=seed, class_weight=weight, **settings)
    predicted = model.fit(x[kept], y[kept]).predict(test[0])
    return float(np.mean(predicted[test[1] == RARE] == RARE))


def summary(runs: Runs, peer: Runs | None) -> dict[str, Any]:
    """Return medians and means over the seeds, and each run."""
    found = dataclasses.asdict(runs) | {
        "median seconds": statistics.median(runs.seconds),
        "mean accuracy": statistics.mean(runs.accuracies),
    }
    if peer is not None:
        speeds = [other / own for own, other in zip(runs.seconds, peer.seconds, strict=True)]
        found["median speed"] = statistics.median(speeds)
        found["accuracy beyond"] = found["mean accuracy"] - statistics.mean(peer.accuracies)
    return found


def report(found: dict[str, Any], size: int, args: argparse.Namespace) -> None:
    """Print the table of one size of batches."""
    widths = "-".join(map(str, args.hidden))
    print(f"\n{args.dataset}, hidden layers {widths}, {args.epochs} epochs, batches of {size}")
    rows = [
        [
            TITLES[name],
            f"{each['median seconds']:.2f}",
            f"{each['median speed']:.2f}" if "median speed" in each else "-",
            f"{each['mean accuracy']:.2%}",
            *(f"{accuracy:.2%}" for accuracy in each["accuracies"]),
        ]
        for name, each in found.items()
    ]
    seeds = [f"seed {seed}" for seed in range(args.repetitions)]
    common.table(["training", "s", "times as fast", "accuracy", *seeds], rows)


if __name__ == "__main__":
    main()
