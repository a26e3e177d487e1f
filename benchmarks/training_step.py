"""How long a training step takes beside other libraries, in one run.

``python benchmarks/training_step.py`` trains multilayer perceptrons with ReLU and cross-entropy and
reads the loss after every step. All libraries that are installed have the same initial weights and
batches, and agree in their losses before anything is timed. They take turns, in repetitions each
with new models; what counts is the median. With ``--memory`` and ``--startup`` it also measures
the peak memory of each, and how long each takes to import and to its first prediction.

The products alone are the matrix products of a step, into arrays that stay warm: no step that
leaves them to the same NumPy is faster. A turn of a contestant starts with untimed steps.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import common
import contestants
import footprint
import network

ROWS = {
    "1": (32, (64,), "SGD"),
    "2": (64, (128,), "Adam"),
    "3": (128, (256, 128), "Adam"),
    "4": (512, (1024, 1024), "Adam"),
    "5": (1024, (512, 256), "SGD"),
}
# What batch, width and depth do to two hidden layers of 256 in batches of 128.
SWEEP = {
    **{f"batch {n}": (n, (256, 256), "Adam") for n in (1, 8, 64, 512)},
    **{f"width {n}": (128, (n, n), "Adam") for n in (16, 64, 512, 2048)},
    **{f"depth {n}": (128, (256,) * n, "Adam") for n in (1, 4, 8)},
}
PYTORCH = ("torch", "torch-fused", "torch-compile")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    sizes = ROWS | SWEEP
    parser.add_argument("--rows", nargs="+", choices=sizes, default=list(ROWS), metavar="ROW")
    parser.add_argument(
        "--sweep", action="store_const", const=list(SWEEP), dest="rows", help=", ".join(SWEEP)
    )
    parser.add_argument(
        "--contestants",
        nargs="+",
        choices=contestants.CONTESTANTS,
        default=list(contestants.CONTESTANTS),
    )
    common.add_timing(parser, repetitions=10, seconds=0.15)
    parser.add_argument("--picture", type=Path, help="picture to write, with matplotlib")
    parser.add_argument("--memory", action="store_true", help="also measure peak memory")
    parser.add_argument("--startup", action="store_true", help="also measure imports and sizes")
    args = parser.parse_args()

    problems = {row: network.Problem.make(*sizes[row]) for row in args.rows}
    chosen = {name: contestants.CONTESTANTS[name] for name in args.contestants}
    names, missing = contestants.available(chosen, problems[args.rows[0]])
    losses = {row: contestants.losses(names, problem) for row, problem in problems.items()}
    for values in losses.values():
        contestants.check_agreement(values)

    groups = {
        row: {name: training(name, problem) for name in names} for row, problem in problems.items()
    }
    times = common.measure(groups, **common.timing(args))
    results: dict[str, Any] = {
        "environment": common.environment(),
        "settings": common.timing(args),
        "missing": missing,
        "rows": {
            row: {
                "problem": str(problem),
                "losses": losses[row],
                "contestants": common.figures(times[row]),
            }
            for row, problem in problems.items()
        },
    }
    print(common.describe(results["environment"]))
    for row in args.rows:
        print_row(row, str(problems[row]), times[row])
    for name, reason in missing.items():
        print(f"\n{contestants.TITLES[name]}: left out, {reason}")
    if args.memory:
        results["memory"] = footprint.memory(names, {row: sizes[row] for row in args.rows})
        footprint.print_memory(results["memory"])
    if args.startup:
        results["startup"] = footprint.startup(names, args.repetitions)
        footprint.print_startup(results["startup"])
    common.write(args.output, results)
    if args.picture:
        draw(args.picture, {str(problems[row]): times[row] for row in args.rows})


def training(name: str, problem: network.Problem) -> Any:
    """Return a function that makes a contestant anew, in memory of its own."""
    return lambda: contestants.CONTESTANTS[name](problem).training(problem)


def print_row(row: str, title: str, times: Mapping[str, common.Times]) -> None:
    """Print a table: the time of a step, and its ratio to those that are there to compare with."""
    best = min(
        (name for name in PYTORCH if name in times), key=lambda n: times[n].median, default=""
    )
    against = {"products": "/ products", "jax": "/ JAX", best: "/ best PyTorch"}
    against = {name: header for name, header in against.items() if name in times}
    print(f"\nRow {row}: {title}")
    common.table(
        ["step", "us", *against.values(), "first call, ms more"],
        [
            [
                contestants.TITLES[name],
                f"{each.median * 1e6:.0f}",
                *(f"{each.ratio(times[other]):.2f}" for other in against),
                "-" if name == "products" else f"{max(0.0, each.preparation) * 1e3:.0f}",
            ]
            for name, each in times.items()
        ],
    )


def draw(path: Path, rows: Mapping[str, Mapping[str, common.Times]]) -> None:
    """Write a picture with the time of a step for each contestant, a panel for each row."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    count = max(map(len, rows.values()))
    figure, panels = plt.subplots(
        1,
        len(rows),
        figsize=(2.4 + 2.6 * len(rows), 1.2 + 0.32 * count),
        squeeze=False,
        sharey=True,
        layout="constrained",
    )
    for panel, (title, times) in zip(panels[0], rows.items(), strict=True):
        medians = [each.median * 1e6 for each in times.values()]
        colors = ["tab:orange" if name.startswith("xpnet") else "tab:gray" for name in times]
        labels = [contestants.TITLES[name] for name in times]
        bars = panel.barh(labels, medians, color=colors)
        panel.bar_label(bars, [f"{value:,.0f}" for value in medians], padding=3, fontsize=8)
        panel.set_title(title.replace(", batch", "\nbatch"), fontsize=9)
        panel.set_xlabel("microseconds a step")
        panel.locator_params(axis="x", nbins=4)
        panel.set_xlim(0, 1.25 * max(medians))
        if "products" in times:
            panel.axvline(times["products"].median * 1e6, color="black", linestyle=":", linewidth=1)
    panels[0][0].invert_yaxis()
    figure.suptitle("A training step, shorter is better; dotted: the matrix products alone")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
