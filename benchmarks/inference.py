"""How long a trained network takes to predict, beside other libraries, in one run.

``python benchmarks/inference.py`` predicts with a 784-256-128-10 network: one image at a time,
where the time of a call counts, and a thousand, where images in a second do. Images are in the
library's own arrays; logits are brought to host memory. All have the same weights and agree before
anything is timed.
"""

import argparse
import tempfile
from typing import Any

import common
import contestants
import network
import numpy as np

HIDDEN = (256, 128)
BATCHES = (1, 1000)
TITLES = contestants.TITLES | {
    "torch": "PyTorch, no_grad",
    "onnxruntime": "onnxruntime, exported by xpnet",
}


def onnxruntime(problem: network.Problem) -> network.Contestant:
    """Return our network as we export it, run by onnxruntime on the processor."""
    runtime, _ = network.require("onnxruntime"), network.require("onnx")
    from xpnet.interop.onnx import export

    with tempfile.TemporaryDirectory() as folder:
        example = problem.batches[0][0]
        made = export(contestants.model_of(problem), f"{folder}/network.onnx", example)
    session = runtime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])

    def predict(x: np.ndarray) -> np.ndarray:
        return session.run(None, {"input": x})[0]

    def step(x: Any, y: Any) -> float:
        raise NotImplementedError("onnxruntime only predicts")

    return network.Contestant(step, predict=predict)


CONTESTANTS = {
    name: contestants.CONTESTANTS[name]
    for name in ("xpnet", "xpnet-compiled", "xpnet-fast", "torch", "jax")
} | {"onnxruntime": onnxruntime}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    common.add_timing(parser, repetitions=10, seconds=0.15)
    args = parser.parse_args()

    problems = {str(batch): network.Problem.make(batch, HIDDEN, "SGD") for batch in BATCHES}
    chosen = {name: CONTESTANTS[name] for name in args.contestants}
    names, missing = contestants.available(chosen, problems["1"])
    for problem in problems.values():
        contestants.check_agreement({name: predicting(name, problem)()(0) for name in names})

    groups = {
        batch: {name: predicting(name, problem) for name in names}
        for batch, problem in problems.items()
    }
    times = common.measure(groups, **common.timing(args))
    results = {
        "environment": common.environment(),
        "settings": common.timing(args),
        "missing": missing,
        "batches": {batch: common.figures(found) for batch, found in times.items()},
    }
    print(common.describe(results["environment"]))
    print(f"\n{problems['1'].layers}")
    common.table(
        ["prediction", "one image, us", "/ PyTorch", "batch of 1000, images/s", "/ PyTorch"],
        [row(name, times) for name in names],
    )
    for name, reason in missing.items():
        print(f"\n{TITLES[name]}: left out, {reason}")
    common.write(args.output, results)


def predicting(name: str, problem: network.Problem) -> Any:
    """Return a function that makes a contestant anew, and returns a call that predicts."""

    def make() -> common.Call:
        contestant = CONTESTANTS[name](problem)
        batches = [contestant.place(x) for x, _ in problem.batches]
        count, predict = len(batches), contestant.predict
        assert predict is not None
        return lambda i: predict(batches[i % count])

    return make


def row(name: str, times: dict[str, dict[str, common.Times]]) -> list[str]:
    """Return a line of the table; a ratio of throughputs is the inverse of that of times."""
    one, many = (times[str(batch)] for batch in BATCHES)
    ratios = ["-", "-"]
    if "torch" in times["1"]:
        ratios = [
            f"{one[name].ratio(one['torch']):.2f}",
            f"{many['torch'].ratio(many[name]):.2f}",
        ]
    return [
        TITLES[name],
        f"{one[name].median * 1e6:.1f}",
        ratios[0],
        f"{BATCHES[1] / many[name].median:,.0f}",
        ratios[1],
    ]


if __name__ == "__main__":
    main()
