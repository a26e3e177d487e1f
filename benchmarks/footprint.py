"""What libraries take from the machine: peak memory, time to import and to predict, disk space.

Each is measured in a process of its own, which runs this file.
"""

import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distribution, files, requires
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import common
import contestants
import network

STEPS = 50
NETWORK = (128, (256, 128), "Adam")
# What a contestant imports, and the package that brings it.
IMPORTS = {
    "numpy": ("numpy", "numpy"),
    "xpnet": ("xpnet", "xpnet"),
    "torch": ("torch", "torch"),
    "jax": ("jax", "jax"),
    "sklearn": ("sklearn.neural_network", "scikit-learn"),
    "thinc": ("thinc.api", "thinc"),
    "autograd": ("autograd", "autograd"),
}
IMPORT = """
import time
start = time.perf_counter()
import {}
print(time.perf_counter() - start)
"""
MIB = 2**20


def memory(names: Iterable[str], rows: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return MiB that a process holds before its first step, and at most until its last."""
    return {
        row: {name: _child(__file__, name, json.dumps(rows[row])) for name in names} for row in rows
    }


def startup(names: Iterable[str], repetitions: int) -> dict[str, dict[str, float]]:
    """Return seconds to import, seconds of a whole process that predicts, and MiB on the disk."""
    names = list(names)
    imports: dict[str, list[float]] = {
        name: [] for name in IMPORTS if name == "numpy" or name in names
    }
    predictions: dict[str, list[float]] = {name: [] for name in names if _predicts(name)}
    for turn in range(repetitions):
        for name in common.rotated(imports, turn):
            imports[name].append(_child("-c", IMPORT.format(IMPORTS[name][0])))
        for name in common.rotated(predictions, turn):
            start = time.perf_counter()
            _child(__file__, name)
            predictions[name].append(time.perf_counter() - start)
    results: dict[str, dict[str, float]] = {name: {} for name in {**imports, **predictions}}
    for name, seconds in imports.items():
        results[name]["import"] = statistics.median(seconds)
        results[name]["installed_mib"] = installed_size(IMPORTS[name][1]) / MIB
    for name, seconds in predictions.items():
        results[name]["first_prediction"] = statistics.median(seconds)
    return results


def _predicts(name: str) -> bool:
    problem = network.Problem.make(*NETWORK, batches=1)
    return contestants.CONTESTANTS[name](problem).predict is not None


def installed_size(package: str) -> int:
    """Return the bytes of a package and of all that it requires, without compiled Python."""
    found: set[str] = set()
    waiting = [package]
    total = 0
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        try:
            requirements = requires(name) or []
        except PackageNotFoundError:
            continue  # only required on other systems
        total += _size(name)
        for requirement in requirements:
            if "extra ==" not in requirement:
                waiting.append(re.match(r"[\w.-]+", requirement).group())  # type: ignore[union-attr]
    return total


def _size(package: str) -> int:
    if package == "xpnet":  # may be installed as a link to its folder
        folders = [
            Path(folder)
            for name in ("xpnet", "xpnet_backends")
            for folder in find_spec(name).submodule_search_locations or ()  # type: ignore[union-attr]
        ]
        paths = [path for folder in folders for path in folder.rglob("*")]
    else:
        folder = distribution(package)
        paths = [Path(str(folder.locate_file(path))) for path in files(package) or ()]
    return sum(
        path.stat().st_size for path in paths if path.is_file() and "__pycache__" not in path.parts
    )


def print_memory(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Print a table for each row."""
    for row, found in results.items():
        print(f"\nRow {row}: memory of a process that trains for {STEPS} steps")
        common.table(
            ["MiB", "before the first step", "peak", "difference"],
            [
                [
                    contestants.TITLES[name],
                    f"{each['before_mib']:.0f}",
                    f"{each['peak_mib']:.0f}",
                    f"{each['peak_mib'] - each['before_mib']:.0f}",
                ]
                for name, each in found.items()
            ],
        )


def print_startup(results: Mapping[str, Mapping[str, float]]) -> None:
    """Print a table, with dashes for what a contestant does not have."""

    def text(found: Mapping[str, float], key: str, factor: float) -> str:
        return f"{found[key] * factor:.0f}" if key in found else "-"

    print("\nStart")
    common.table(
        ["library", "import, ms", "process that predicts once, ms", "installed, MiB"],
        [
            [
                contestants.TITLES.get(name, name),
                text(found, "import", 1e3),
                text(found, "first_prediction", 1e3),
                text(found, "installed_mib", 1),
            ]
            for name, found in results.items()
        ],
    )


def _child(*arguments: str) -> Any:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"python {' '.join(arguments)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _held(field: str) -> float:
    """Return MiB that this process holds (VmRSS) or has held at most (VmHWM).

    What `getrusage` says of a child starts, on Linux, with what its parent held.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(rf"^{field}:\s+(\d+) kB", status.read_text(), flags=re.M)
        if found:
            return int(found.group(1)) * 1024 / MIB
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def run_steps(name: str, row: str) -> dict[str, float]:
    """Train in this process; return what it holds before, and the peak."""
    problem = network.Problem.make(*json.loads(row))
    call = contestants.CONTESTANTS[name](problem).training(problem)
    before = _held("VmRSS")
    for i in range(STEPS):
        call(i)
    return {"before_mib": before, "peak_mib": _held("VmHWM")}


def run_prediction(name: str) -> None:
    """Make a model in this process and predict one sample."""
    problem = network.Problem.make(*NETWORK, batches=1)
    contestant = contestants.CONTESTANTS[name](problem)
    assert contestant.predict is not None
    contestant.predict(contestant.place(problem.batches[0][0][:1]))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    print(json.dumps(run_prediction(*arguments) if len(arguments) == 1 else run_steps(*arguments)))
