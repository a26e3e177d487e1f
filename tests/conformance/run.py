"""Hold the differentiable namespace against data-apis/array-api-tests.

Runs the suite on each array library as it is and on `xpnet.autodiff.namespace` over it, in both
of its modes, and prints the counts side by side. A test that the library passes and the namespace
over it does not is a regression, unless ``expected/<library>.txt`` lists it with its reason.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).parent
URL = "https://github.com/data-apis/array-api-tests"
COMMIT = "55fcc60179efa2680ddd6cd926ddf17b83530e2b"
VERSION = "2024.12"
CHECKOUT = "XPNET_ARRAY_API_TESTS"
LIBRARIES = {
    "numpy": "array_api_compat.numpy",
    "array_api_strict": "array_api_strict",
    "torch": "array_api_compat.torch",
    "jax": "jax.numpy",
    "cupy": "array_api_compat.cupy",
}
# PyTorch can hardly compute with these; of the tests that it fails itself nothing can be said.
SKIPPED_DTYPES = {"torch": "uint16,uint32,uint64"}
# The bare library is wrapped too, but not used so: Hypothesis takes constants from the modules that
# are loaded, and the examples are to be the same.
MODES = {
    "bare": "xn.autodiff.namespace(base); xp = base",
    "constants": "xp = xn.autodiff.namespace(base)",
    "leaves": "xp = xn.autodiff.namespace(base, leaves=True)",
}
WRAPPED = ("constants", "leaves")
NEEDED = {  # module -> package
    "pytest": "pytest",
    "pytest_jsonreport": "pytest-json-report",
    "hypothesis": "hypothesis",
    "ndindex": "ndindex",
}
MOST_EXPECTED = 5  # distinct tests in all lists together
FULL = 100  # examples; with fewer a listed failure may stay undiscovered

Outcomes = dict[str, tuple[str, str]]  # test -> (passed, failed or skipped; message)


class ConformanceError(Exception):
    """The suite could not be run; the message says what to do."""


@dataclass(frozen=True)
class Options:
    """What is the same for every run of one comparison."""

    checkout: Path
    max_examples: int = FULL
    seed: int = 0
    select: tuple[str, ...] = ("array_api_tests",)
    expression: str = ""


@dataclass
class Comparison:
    """One library: the outcomes by mode, and what came of comparing them."""

    library: str
    outcomes: dict[str, Outcomes]
    seconds: dict[str, float]
    regressions: list[tuple[str, str, str]] = field(default_factory=list)  # mode, test, message
    expected: list[tuple[str, str, str]] = field(default_factory=list)  # mode, test, reason
    unstable: list[tuple[str, str, str]] = field(default_factory=list)  # mode, test, message
    needless: list[tuple[str, str]] = field(default_factory=list)  # mode, test

    @property
    def failed(self) -> bool:
        """Whether the namespace does worse than the lists of expected failures say, or better."""
        return bool(self.regressions or self.needless)


def script(library: str, mode: str) -> str:
    """Return the statements that make the namespace `xp`."""
    return f"import {LIBRARIES[library]} as base, xpnet as xn; {MODES[mode]}"


def environment(library: str, mode: str) -> dict[str, str]:
    """Return the environment variables for running the suite on a namespace."""
    path = [str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "ARRAY_API_TESTS_MODULE": f"exec('{script(library, mode)}')",
        "ARRAY_API_TESTS_SKIP_DTYPES": SKIPPED_DTYPES.get(library, ""),
        "ARRAY_API_TESTS_VERSION": VERSION,
        "JAX_ENABLE_X64": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
    }


def missing(library: str) -> str:
    """Return why a library cannot be tested here; nothing if it can."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {LIBRARIES[library]} as xp; xp.asarray([1.0]) + 1.0"],
        env=environment(library, "bare"),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def run_suite(library: str, mode: str, options: Options) -> Outcomes:
    """Run the suite on one library in one mode; return the outcome of each test."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "outcomes.json"
        command = [sys.executable, "-m", "pytest", *options.select, "-q", "--tb=short"]
        command += ["-p", "conformance_plugin", "-p", "no:cacheprovider"]
        command += [f"--max-examples={options.max_examples}", f"--hypothesis-seed={options.seed}"]
        if options.expression:
            command += ["-k", options.expression]
        done = subprocess.run(
            command,
            cwd=options.checkout,
            env=environment(library, mode)
            | {"XPNET_CONFORMANCE_REPORT": str(report), "HYPOTHESIS_STORAGE_DIRECTORY": folder},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        outcomes = json.loads(report.read_text()) if report.exists() else {}
    if not outcomes:
        raise ConformanceError(f"no tests ran on {library}, {mode}:\n{done.stdout[-3000:]}")
    return {test: (outcome, message) for test, (outcome, message) in outcomes.items()}


def compare(library: str, modes: Sequence[str], options: Options) -> Comparison:
    """Run the suite on one library in these modes and compare them with the bare library."""
    outcomes: dict[str, Outcomes] = {}
    seconds: dict[str, float] = {}
    for mode in modes:
        start = time.monotonic()
        outcomes[mode] = run_suite(library, mode, options)
        seconds[mode] = time.monotonic() - start
    result = Comparison(library, outcomes, seconds)
    listed = read_expected(HERE / "expected" / f"{library}.txt")
    for mode in WRAPPED:
        if "bare" in modes and mode in modes:
            _judge(result, mode, listed, options)
    return result


def _judge(
    result: Comparison, mode: str, listed: dict[tuple[str, str], str], options: Options
) -> None:
    """Sort the tests that the bare library passes and the namespace over it does not."""
    absent = ("absent", "it was not collected")
    wrapped = result.outcomes[mode]
    unlisted = {}
    for test, (bare, _) in result.outcomes["bare"].items():
        outcome, message = wrapped.get(test, absent)
        reason = listed.get((mode, test))
        if outcome == "passed":
            if reason is not None and options.max_examples >= FULL:
                result.needless.append((mode, test))
        elif bare == "passed":
            if reason is not None:
                result.expected.append((mode, test, reason))
            else:
                unlisted[test] = message or outcome
    repeatable = tuple(test for test in unlisted if test in wrapped)
    notes = _run_again(result.library, mode, repeatable, options) if repeatable else {}
    for test, message in unlisted.items():
        stable, note = notes.get(test, (True, ""))
        rows = result.regressions if stable else result.unstable
        rows.append((mode, test, f"{message}{note}"))


def _run_again(
    library: str, mode: str, tests: tuple[str, ...], options: Options
) -> dict[str, tuple[bool, str]]:
    """Run tests that only the namespace fails once more: (whether it is so again, note) for each.

    The examples are the same, so that a failure of the library on others is no excuse; but it is
    worth a note.
    """
    again = replace(options, select=tests, expression="")
    more = replace(again, max_examples=10 * options.max_examples)
    wrapped = run_suite(library, mode, again)
    bare = run_suite(library, "bare", again)
    bare_more = run_suite(library, "bare", more)
    notes = {}
    for test in tests:
        note = ""
        if bare_more[test][0] == "failed":
            note = f"\n  bare, with {more.max_examples} examples: {bare_more[test][1]}"
        stable = wrapped[test][0] != "passed" and bare[test][0] == "passed"
        notes[test] = stable, note
    return notes


def read_expected(path: Path) -> dict[tuple[str, str], str]:
    """Read a list of expected failures: (mode, test) -> reason.

    A block of lines is a comment, which is the reason, and node ids of tests, each after
    ``constants:`` or ``leaves:`` if it fails in one mode only. Blank lines part the blocks.
    """
    expected: dict[tuple[str, str], str] = {}
    for block in path.read_text().split("\n\n"):
        lines = block.splitlines()
        reason = " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))
        for line in lines:
            if line.startswith("#"):
                continue
            mode, colon, test = line.partition(": ")
            if colon and mode in WRAPPED:
                expected[mode, test] = reason
            else:
                expected |= dict.fromkeys([(each, line) for each in WRAPPED], reason)
    return expected


def count_expected() -> int:
    """Return how many distinct tests the lists name."""
    lists = map(read_expected, sorted(HERE.glob("expected/*.txt")))
    return len({test for each in lists for _, test in each})


def find_checkout() -> Path:
    """Return where array-api-tests lies; fetch it into the user's cache if nothing says where."""
    lacking = [package for name, package in NEEDED.items() if not importlib.util.find_spec(name)]
    if lacking:
        raise ConformanceError(f"array-api-tests needs: pip install {' '.join(lacking)}")
    if CHECKOUT in os.environ:
        checkout = Path(os.environ[CHECKOUT]).resolve()
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        checkout = cache / "xpnet" / f"array-api-tests-{COMMIT[:7]}"
        if not checkout.exists():
            fetch(checkout)
    if not (checkout / "array-api" / "src").is_dir():
        raise ConformanceError(
            f"{checkout} is no array-api-tests with its submodule; "
            f"make one with: git clone --recurse-submodules {URL}"
        )
    return checkout


def fetch(checkout: Path) -> None:
    """Clone the pinned commit of array-api-tests with its submodule."""
    checkout.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=checkout.parent) as folder:
        clone = Path(folder) / "clone"
        for command in (
            ["git", "clone", "--quiet", URL, str(clone)],
            ["git", "-C", str(clone), "checkout", "--quiet", COMMIT],
            ["git", "-C", str(clone), "submodule", "--quiet", "update", "--init"],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ConformanceError(
                    f"array-api-tests could not be fetched ({done.stderr.strip()}); clone {URL} "
                    f"with its submodule at {COMMIT[:7]} and set {CHECKOUT} to where it lies"
                )
        clone.rename(checkout)


def report(comparisons: Sequence[Comparison], modes: Sequence[str]) -> Iterator[str]:
    """Yield the lines of the report."""
    columns = ("passed", "failed", "skipped", "s")
    yield " " * 18 + "".join(f"{mode:^34}" for mode in modes)
    yield " " * 18 + "".join("".join(f"{name:>8}" for name in columns) + "  " for _ in modes)
    for each in comparisons:
        line = f"{each.library:18}"
        for mode in modes:
            counts = Counter(outcome for outcome, _ in each.outcomes[mode].values())
            line += "".join(f"{counts[name]:8}" for name in columns[:3])
            line += f"{each.seconds[mode]:8.0f}  "
        yield line.rstrip()
    for each in comparisons:
        for title, rows in (
            ("fails wrapped, passes bare", each.regressions),
            ("fails wrapped, passes bare, but not in a second run", each.unstable),
            ("expected to fail", each.expected),
            ("listed as a failure, but passes", [(*row, "") for row in each.needless]),
        ):
            for mode, test, note in rows:
                yield f"\n{each.library}, {mode}: {title}\n  {test}\n  {note}".rstrip()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument(
        "--modes",
        nargs="+",
        choices=MODES,
        default=list(MODES),
        help="bare: the library itself; constants: wrapped, nothing is differentiated; leaves: "
        "every array is differentiated, and every rule is run (default: all)",
    )
    parser.add_argument("--max-examples", type=int, default=FULL, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the examples (default: 0)")
    parser.add_argument(
        "--tests", nargs="+", default=["array_api_tests"], help="files or node ids, as in pytest"
    )
    parser.add_argument("-k", dest="expression", default="", help="as in pytest")
    parser.add_argument("--jobs", type=int, default=1, help="libraries tested at once (default: 1)")
    parser.add_argument("--json", type=Path, help="a file to write every outcome to")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; return the exit status."""
    chosen = parse(arguments)
    try:
        checkout = find_checkout()
        libraries = []
        for library in chosen.libraries:
            reason = missing(library)
            if reason:
                print(f"{library}: not tested, {reason}")
            else:
                libraries.append(library)
        options = Options(
            checkout, chosen.max_examples, chosen.seed, tuple(chosen.tests), chosen.expression
        )
        with ThreadPoolExecutor(chosen.jobs) as pool:
            comparisons = list(
                pool.map(lambda library: compare(library, chosen.modes, options), libraries)
            )
    except ConformanceError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(report(comparisons, chosen.modes)))
    if chosen.json:
        chosen.json.write_text(
            json.dumps({each.library: each.outcomes for each in comparisons}, indent=1)
        )
    listed = count_expected()
    if listed > MOST_EXPECTED:
        print(f"\n{listed} tests are listed as expected failures, {MOST_EXPECTED} at most may be")
    return int(listed > MOST_EXPECTED or any(each.failed for each in comparisons))


if __name__ == "__main__":
    sys.exit(main())
