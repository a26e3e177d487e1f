"""What the benchmarks share: calls that take turns, and what is printed and written about them."""

import dataclasses
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # all compute on the processor

PACKAGES = (
    *("xpnet", "numpy", "array-api-compat", "numba", "torch", "jax", "jaxlib", "optax"),
    *("scikit-learn", "thinc", "autograd", "onnxruntime"),
)
LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS")

Call = Callable[[int], Any]  # takes the number of the call, by which it chooses its batch
Groups = Mapping[str, Mapping[str, Callable[[], Call]]]


@dataclasses.dataclass
class Times:
    """Seconds that one contestant took, for every time that it was made anew."""

    first: list[float] = dataclasses.field(default_factory=list)  # of its first call
    turns: list[list[float]] = dataclasses.field(default_factory=list)  # of a call, in each turn

    @property
    def median(self) -> float:
        """Seconds of a call."""
        return statistics.median(seconds for turns in self.turns for seconds in turns)

    @property
    def preparation(self) -> float:
        """Seconds that the first call took beyond a later one: recording, compiling, warming."""
        return statistics.median(self.first) - self.median

    def ratio(self, other: "Times") -> float:
        """Median, over the times that both were made anew, of the ratio of their medians."""
        return statistics.median(
            statistics.median(own) / statistics.median(others)
            for own, others in zip(self.turns, other.turns, strict=True)
        )


def measure(
    groups: Groups, *, repetitions: int, rounds: int, seconds: float, pause: float
) -> dict[str, dict[str, Times]]:
    """Return the times of calls that take turns, for each group of them.

    Where arrays happen to lie in memory makes a step up to a third slower, for as long as they
    live; so all are made anew in each repetition. The groups come by once in a repetition, so
    that each of them is spread over the whole run, and who is first changes from round to round.
    """
    times = {group: {name: Times() for name in makes} for group, makes in groups.items()}
    for repetition in range(repetitions):
        for group, makes in groups.items():
            calls = {}
            for name in rotated(makes, repetition):
                calls[name] = makes[name]()
                time.sleep(pause)
                start = time.perf_counter()
                calls[name](0)
                times[group][name].first.append(time.perf_counter() - start)
                times[group][name].turns.append([])
            for turn in range(rounds):
                for name in rotated(makes, repetition + turn):
                    # The threads of the one before spin for a while when they have nothing to do.
                    time.sleep(pause)
                    _mean(calls[name], seconds / 4)  # wakes the threads and fills the caches
                    times[group][name].turns[-1].append(_mean(calls[name], seconds))
    return times


def rotated(names: Iterable[str], by: int) -> list[str]:
    """Return the names in order, from another one on for each number."""
    names = list(names)
    by %= max(1, len(names))
    return names[by:] + names[:by]


def _mean(call: Call, seconds: float) -> float:
    """Return the seconds of a call, called over and over for so many seconds, at least once."""
    count = 0
    start = time.perf_counter()
    while True:
        call(count)
        count += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return elapsed / count


def add_timing(parser: Any, *, repetitions: int, seconds: float) -> None:
    """Add the options of `measure` to a parser, and the one of the file to write."""
    parser.add_argument(
        "--repetitions", type=positive, default=repetitions, help="how often all are made anew"
    )
    parser.add_argument("--rounds", type=positive, default=3, help="turns of each, as often")
    parser.add_argument("--seconds", type=float, default=seconds, help="of a turn")
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between turns")
    add_output(parser)


def add_output(parser: Any) -> None:
    """Add the option of the file to write."""
    parser.add_argument("--output", type=Path, help="JSON file to write")


def positive(text: str) -> int:
    """Return a positive integer given as an argument."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def timing(args: Any) -> dict[str, Any]:
    """Return the settings of `measure` from parsed arguments."""
    return {name: getattr(args, name) for name in ("repetitions", "rounds", "seconds", "pause")}


def figures(times: Mapping[str, Times]) -> dict[str, Any]:
    """Return what is written about a group: seconds, and the ratio of ours to each."""
    results: dict[str, Any] = {}
    for name, each in times.items():
        results[name] = {
            "seconds": each.median,
            "preparation": each.preparation,
            "ratios": {other: each.ratio(times[other]) for other in times if other != name},
            "turns": each.turns,
            "first": each.first,
        }
    return results


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a Markdown table whose columns are aligned, the first one to the left."""
    lines = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    for line in (lines[0], rule, *lines[1:]):
        first, *others = zip(line, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        print(f"| {' | '.join(cells)} |")


def environment() -> dict[str, Any]:
    """Return what the figures depend on; a load beyond the own threads spoils them."""
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "threads": _threads(),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := installed(name)) is not None},
    }


def installed(package: str) -> str | None:
    """Return the version of a package, or None if it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe(machine: Mapping[str, Any]) -> str:
    """Return an environment as a line to print above a table."""
    threads = ", ".join(f"{name} {count}" for name, count in machine["threads"].items())
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"{machine['processor']}, {machine['cpus']} CPUs, load {machine['load']}; "
        f"threads: {threads or 'not limited'}\n"
        f"Python {machine['python']}, {versions}"
    )


def _cpus() -> int | None:
    """Return how many this process may use, where the system says that."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _processor() -> str:
    lines = Path("/proc/cpuinfo")
    if lines.exists():
        for line in lines.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _threads() -> dict[str, Any]:
    """Return how many threads each has that is loaded, and the variables that limit them."""
    threads: dict[str, Any] = {name: os.environ[name] for name in LIMITS if name in os.environ}
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        pass
    else:
        for pool in threadpool_info():
            threads[f"{pool['internal_api']} of {Path(pool['filepath']).parent.name}"] = pool[
                "num_threads"
            ]
    if "torch" in sys.modules:
        threads["PyTorch"] = sys.modules["torch"].get_num_threads()
    return threads


def write(path: Path | None, results: Mapping[str, Any]) -> None:
    """Write the results as JSON, if there is a path."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")
