"""The data sets are found in the promised order, verified, and refused with a remedy."""

import ast
import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xpnet.data import datasets
from xpnet.data.datasets import Images, digits, fashion_mnist, load, mnist
from xpnet.data.idx import read_idx
from xpnet.errors import DataError, DataUnavailableError, MissingPackageError

REAL_DATA = os.environ.get("XPNET_DATA")
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = datasets._FILES
REMEDY = "set XPNET_DATA or pass path= to a folder with the files, or use the digits set"


def idx_bytes(array: np.ndarray, code: int = 0x08) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, code, array.ndim]) + sizes + array.tobytes()


def tiny_set(seed: int) -> dict[str, np.ndarray]:
    """Six training and two test images, other ones for each seed."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for images, labels, count in ((TRAIN_IMAGES, TRAIN_LABELS, 6), (TEST_IMAGES, TEST_LABELS, 2)):
        arrays[images] = rng.integers(0, 256, (count, 4, 3), dtype=np.uint8)
        arrays[labels] = rng.integers(0, 10, count, dtype=np.uint8)
    return arrays


def write_set(folder: Path, arrays: dict[str, np.ndarray], suffix: str = ".gz") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        content = idx_bytes(array)
        packed = gzip.compress(content) if suffix else content
        (folder / f"{name}{suffix}").write_bytes(packed)


def assert_same(result: tuple[Images, Images], arrays: dict[str, np.ndarray]) -> None:
    train, test = result
    for images, expected in ((train, TRAIN_IMAGES), (test, TEST_IMAGES)):
        np.testing.assert_array_equal(images.images, arrays[expected])
        assert images.images.dtype == np.uint8
    for images, expected in ((train, TRAIN_LABELS), (test, TEST_LABELS)):
        np.testing.assert_array_equal(images.labels, arrays[expected])
        assert images.labels.dtype == np.int64


def publish(monkeypatch: pytest.MonkeyPatch, name: str, arrays: dict[str, np.ndarray]) -> None:
    """Make these arrays the published content of a data set."""
    sums = tuple(hashlib.sha256(idx_bytes(array)).hexdigest() for array in arrays.values())
    monkeypatch.setitem(datasets._SHA256, name, sums)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep every test away from the user's data and cache, and from the network."""
    folder = tmp_path / "cache"
    monkeypatch.delenv("XPNET_DATA", raising=False)
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    for name in datasets._MIRRORS:
        monkeypatch.setitem(datasets._MIRRORS, name, ())
    try:
        import pooch
    except ImportError:  # then nothing can reach the cache
        return folder
    monkeypatch.setattr(pooch, "os_cache", lambda project: folder / project)
    return folder


@pytest.fixture
def pooch() -> Any:
    return pytest.importorskip("pooch")


class Mirror:
    """A server on this machine that counts what it is asked for."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.requests: list[str] = []
        requests = self.requests

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                requests.append(self.path.removeprefix("/"))
                super().do_GET()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def mirrors(pooch: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Mirror]]:
    """Two mirrors of MNIST, as yet empty."""
    both = [Mirror(tmp_path / "first"), Mirror(tmp_path / "second")]
    monkeypatch.setitem(datasets._MIRRORS, "mnist", tuple(mirror.url for mirror in both))
    yield both
    for mirror in both:
        mirror.stop()


def cached_files(cache: Path) -> list[str]:
    return sorted(str(file.relative_to(cache)) for file in cache.rglob("*"))


# Folders that the user names


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("subfolder", ["", "mnist"])
def test_path_names_the_folder_or_the_one_above(
    tmp_path: Path, suffix: str, subfolder: str
) -> None:
    arrays = tiny_set(1)
    write_set(tmp_path / subfolder, arrays, suffix)
    assert_same(mnist(tmp_path), arrays)
    assert_same(mnist(str(tmp_path)), arrays)


def test_subfolder_comes_first_and_sets_are_kept_apart(tmp_path: Path) -> None:
    for seed, subfolder in enumerate(["", "mnist", "fashion-mnist"]):
        write_set(tmp_path / subfolder, tiny_set(seed))
    assert_same(mnist(tmp_path), tiny_set(1))
    assert_same(fashion_mnist(tmp_path), tiny_set(2))
    assert_same(load("mnist", tmp_path), tiny_set(1))
    assert_same(load("fashion-mnist", tmp_path), tiny_set(2))


def test_incomplete_subfolder_is_not_mixed_with_the_folder_above(tmp_path: Path) -> None:
    write_set(tmp_path, tiny_set(0))
    write_set(tmp_path / "mnist", tiny_set(1))
    (tmp_path / "mnist" / f"{TEST_LABELS}.gz").unlink()
    assert_same(mnist(tmp_path), tiny_set(0))


def test_path_then_environment_then_cache(
    pooch: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path
) -> None:
    for seed, folder in enumerate([tmp_path / "path", tmp_path / "env", cache / "xpnet" / "mnist"]):
        write_set(folder, tiny_set(seed))
    publish(monkeypatch, "mnist", tiny_set(2))
    monkeypatch.setenv("XPNET_DATA", str(tmp_path / "env"))
    assert_same(mnist(tmp_path / "path"), tiny_set(0))
    assert_same(mnist(), tiny_set(1))
    monkeypatch.setenv("XPNET_DATA", "")
    assert_same(mnist(), tiny_set(2))


def test_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_set(tmp_path / "images", tiny_set(0))
    assert_same(mnist("~/images"), tiny_set(0))


@pytest.mark.parametrize("origin", ["path", "XPNET_DATA"])
def test_files_absent_from_a_named_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mirrors: list[Mirror], origin: str
) -> None:
    write_set(tmp_path, tiny_set(0))
    (tmp_path / f"{TRAIN_LABELS}.gz").unlink()
    (tmp_path / f"{TEST_IMAGES}.gz").unlink()
    write_set(mirrors[0].folder, tiny_set(0))
    monkeypatch.setenv("XPNET_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        mnist(tmp_path if origin == "path" else None)
    assert str(caught.value) == (
        "mnist: expected train-images-idx3-ubyte, train-labels-idx1-ubyte, "
        "t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, each with or without .gz, in one folder; "
        f"{tmp_path / 'mnist'} lacks all of them, and "
        f"{tmp_path} lacks train-labels-idx1-ubyte, t10k-images-idx3-ubyte; "
        f"correct {origin}, or leave it out to use the cache or a download"
    )
    assert not mirrors[0].requests


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        (
            TRAIN_IMAGES,
            idx_bytes(np.zeros(6, dtype=np.uint8)),
            "expected uint8 (N, H, W), found uint8 (6,)",
        ),
        (
            TRAIN_IMAGES,
            idx_bytes(np.zeros((6, 4, 3), dtype=np.int8), code=0x09),
            "expected uint8 (N, H, W), found int8 (6, 4, 3)",
        ),
        (
            TEST_LABELS,
            idx_bytes(np.zeros((2, 4, 3), dtype=np.uint8)),
            "expected uint8 (N), found uint8 (2, 4, 3)",
        ),
        (
            TEST_LABELS,
            idx_bytes(np.array([3, 10], dtype=np.uint8)),
            "expected labels 0 to 9, found 10",
        ),
        (TEST_IMAGES, b"no such thing", "is this an IDX file?"),
    ],
    ids=["images ndim", "images dtype", "labels ndim", "labels value", "not idx"],
)
def test_malformed_file_in_a_named_folder(
    tmp_path: Path, file: str, content: bytes, problem: str
) -> None:
    write_set(tmp_path, tiny_set(0), "")
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(problem)) as caught:
        mnist(tmp_path)
    assert str(tmp_path / file) in str(caught.value)
    assert "delete" not in str(caught.value)  # it may be the user's own


def test_counts_differ(tmp_path: Path) -> None:
    arrays = tiny_set(0)
    arrays[TRAIN_LABELS] = arrays[TRAIN_LABELS][:5]
    write_set(tmp_path, arrays)
    with pytest.raises(DataError) as caught:
        mnist(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / TRAIN_IMAGES}.gz: expected as many images as labels, "
        f"found 6 images and 5 labels in {TRAIN_LABELS}.gz"
    )


def test_empty_set_is_allowed(tmp_path: Path) -> None:
    write_set(tmp_path, {name: array[:0] for name, array in tiny_set(0).items()})
    train, test = mnist(tmp_path)
    assert train.images.shape == test.images.shape == (0, 4, 3)


# Cache and download


def test_download_fills_the_cache_once(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    cache: Path,
    mirrors: list[Mirror],
) -> None:
    arrays = tiny_set(0)
    publish(monkeypatch, "mnist", arrays)
    write_set(mirrors[0].folder, arrays)
    assert_same(mnist(), arrays)
    names = [f"{name}.gz" for name in datasets._FILES]
    assert mirrors[0].requests == names
    assert cached_files(cache / "xpnet" / "mnist") == sorted(names)
    assert_same(mnist(), arrays)
    assert_same(mnist(download=False), arrays)
    assert len(mirrors[0].requests) == 4
    assert not mirrors[1].requests
    assert capfd.readouterr() == ("", "")


def test_only_missing_files_are_downloaded(
    monkeypatch: pytest.MonkeyPatch, cache: Path, mirrors: list[Mirror]
) -> None:
    arrays = tiny_set(0)
    publish(monkeypatch, "mnist", arrays)
    write_set(mirrors[0].folder, arrays)
    write_set(cache / "xpnet" / "mnist", arrays)
    (cache / "xpnet" / "mnist" / f"{TEST_IMAGES}.gz").unlink()
    assert_same(mnist(), arrays)
    assert mirrors[0].requests == [f"{TEST_IMAGES}.gz"]


@pytest.mark.parametrize("fault", ["absent", "other data", "truncated", "html", "stopped"])
def test_next_mirror_takes_over(
    monkeypatch: pytest.MonkeyPatch, cache: Path, mirrors: list[Mirror], fault: str
) -> None:
    arrays = tiny_set(0)
    publish(monkeypatch, "mnist", arrays)
    for mirror in mirrors:
        write_set(mirror.folder, arrays)
    broken = mirrors[0].folder / f"{TEST_IMAGES}.gz"
    if fault == "absent":
        broken.unlink()
    elif fault == "other data":
        write_set(mirrors[0].folder, {TEST_IMAGES: tiny_set(1)[TEST_IMAGES]})
    elif fault == "truncated":
        broken.write_bytes(broken.read_bytes()[:-9])
    elif fault == "html":
        broken.write_bytes(b"<html>Please log in to this network</html>")
    else:
        mirrors[0].stop()
    assert_same(mnist(), arrays)
    expected = {f"{name}.gz" for name in datasets._FILES} if fault == "stopped" else {broken.name}
    assert set(mirrors[1].requests) == expected
    assert len(cached_files(cache / "xpnet" / "mnist")) == 4


def test_mirror_may_deliver_decompressed_content(
    monkeypatch: pytest.MonkeyPatch, mirrors: list[Mirror]
) -> None:
    arrays = tiny_set(0)
    publish(monkeypatch, "mnist", arrays)
    for name, array in arrays.items():
        (mirrors[0].folder / f"{name}.gz").write_bytes(idx_bytes(array))
    assert_same(mnist(), arrays)


def test_all_mirrors_fail(
    monkeypatch: pytest.MonkeyPatch, cache: Path, mirrors: list[Mirror]
) -> None:
    publish(monkeypatch, "mnist", tiny_set(0))
    write_set(mirrors[1].folder, tiny_set(1))
    with pytest.raises(DataUnavailableError) as caught:
        mnist()
    message = str(caught.value)
    first, second = (re.escape(mirror.url) for mirror in mirrors)
    assert re.fullmatch(
        rf"mnist: {TRAIN_IMAGES}\.gz is not in the cache and cannot be downloaded: "
        rf"{first}: HTTPError: 404 Client Error: .*; "
        rf"{second}: DataError: .* expected sha256 .*; {re.escape(REMEDY)}",
        message,
    ), message
    assert cached_files(cache / "xpnet" / "mnist") == []


def test_no_network_fails_at_the_first_file(mirrors: list[Mirror]) -> None:
    for mirror in mirrors:
        mirror.stop()
    with pytest.raises(DataUnavailableError, match=re.escape(REMEDY)) as caught:
        load("mnist")
    message = str(caught.value)
    assert all(f"{mirror.url}: ConnectionError: " in message for mirror in mirrors)
    assert "Connection refused" in message or "actively refused" in message
    assert "Max retries" not in message
    assert len(message) < 900


def test_cause_of_a_failure_is_kept_short(pooch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise OSError("no route " * 1000)

    monkeypatch.setattr(pooch, "HTTPDownloader", lambda **options: fail)
    monkeypatch.setitem(datasets._MIRRORS, "mnist", ("http://a/", "http://b/"))
    with pytest.raises(DataUnavailableError, match=r"http://b/: OSError: no route") as caught:
        mnist()
    assert len(str(caught.value)) < 900


def test_interrupted_download_leaves_nothing(
    pooch: Any, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    def interrupt(url: str, output_file: str, pooch: object) -> None:
        Path(output_file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(pooch, "HTTPDownloader", lambda **options: interrupt)
    monkeypatch.setitem(datasets._MIRRORS, "mnist", ("http://a/",))
    with pytest.raises(KeyboardInterrupt):
        mnist()
    assert cached_files(cache / "xpnet" / "mnist") == []


def test_cache_folder_cannot_be_made(mirrors: list[Mirror], cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(DataUnavailableError, match=re.escape(REMEDY)) as caught:
        mnist()
    assert f"cannot be downloaded: cache folder {cache / 'xpnet' / 'mnist'}: " in str(caught.value)


def test_download_is_not_allowed(
    cache: Path, monkeypatch: pytest.MonkeyPatch, mirrors: list[Mirror]
) -> None:
    arrays = tiny_set(0)
    publish(monkeypatch, "mnist", arrays)
    write_set(cache / "xpnet" / "mnist", {TRAIN_IMAGES: arrays[TRAIN_IMAGES]})
    with pytest.raises(DataUnavailableError) as caught:
        mnist(download=False)
    assert str(caught.value) == (
        "mnist: train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz "
        f"not found in {cache / 'xpnet' / 'mnist'}, and download=False; "
        f"allow the download, {REMEDY}"
    )
    assert not mirrors[0].requests


@pytest.mark.parametrize("damage", ["other data", "truncated"])
def test_damaged_file_in_the_cache(
    pooch: Any, monkeypatch: pytest.MonkeyPatch, cache: Path, damage: str
) -> None:
    publish(monkeypatch, "mnist", tiny_set(0))
    folder = cache / "xpnet" / "mnist"
    write_set(folder, tiny_set(0))
    file = folder / f"{TEST_LABELS}.gz"
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-9])
    else:
        write_set(folder, {TEST_LABELS: (tiny_set(0)[TEST_LABELS] + 1) % 10})
    problem = "expected sha256" if damage == "other data" else "a damaged one"
    with pytest.raises(DataError, match=problem) as caught:
        mnist()
    assert str(caught.value).startswith(f"read_idx: {file}: ")
    assert str(caught.value).endswith("; delete this file, and it is downloaded again")


def test_cache_follows_xdg_cache_home(
    pooch: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("other systems keep caches elsewhere")
    monkeypatch.undo()  # the real os_cache, which must not lead to the user's cache
    monkeypatch.delenv("XPNET_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    write_set(tmp_path / "xdg" / "xpnet" / "mnist", tiny_set(0))
    publish(monkeypatch, "mnist", tiny_set(0))
    assert_same(mnist(download=False), tiny_set(0))


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("tqdm", [True, False])
def test_progress_bar_needs_a_terminal_and_tqdm(
    pooch: Any, monkeypatch: pytest.MonkeyPatch, terminal: bool, tqdm: bool
) -> None:
    seen: list[dict[str, Any]] = []

    def downloader(**options: Any) -> Callable[..., None]:
        seen.append(options)
        return lambda *args: None

    def find_spec(name: str) -> object:
        assert name == "tqdm"
        return object() if tqdm else None

    stderr = io.StringIO()
    monkeypatch.setattr(stderr, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(pooch, "HTTPDownloader", downloader)
    monkeypatch.setattr(datasets.importlib.util, "find_spec", find_spec)
    with pytest.raises(DataUnavailableError):
        mnist()
    assert seen[0]["progressbar"] is (terminal and tqdm)
    assert seen[0]["timeout"][0] <= 10


# Optional packages and names


@pytest.mark.parametrize(
    ("call", "module", "message"),
    [
        (mnist, "pooch", "mnist without XPNET_DATA or path=: expected the package pooch, "),
        (digits, "sklearn.datasets", "digits: expected the package scikit-learn, "),
    ],
)
def test_missing_package(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[], object], module: str, message: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # makes its import fail
    with pytest.raises(MissingPackageError) as caught:
        call()
    assert str(caught.value).startswith(f"{message}which cannot be imported (")
    assert str(caught.value).endswith('; run: pip install "xpnet[examples]"')


def test_named_folder_needs_no_pooch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    write_set(tmp_path, tiny_set(0))
    assert_same(mnist(tmp_path), tiny_set(0))


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match="load: expected name") as caught:
        load("cifar")
    assert str(caught.value) == (
        "load: expected name to be one of 'mnist', 'fashion-mnist', 'digits', found 'cifar'"
    )


def test_import_loads_no_optional_package() -> None:
    code = (
        "import sys, xpnet.data.datasets\n"
        "print(sorted({'pooch', 'requests', 'sklearn', 'tqdm'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.strip() == "[]"


def test_all_lists_every_public_name() -> None:
    assert datasets.__file__ is not None
    tree = ast.parse(Path(datasets.__file__).read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert datasets.__all__ == sorted(name for name in defined if not name.startswith("_"))


# Real data


def test_digits() -> None:
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    original = sklearn_datasets.load_digits()
    train, test = load("digits")
    assert train.images.shape == (1437, 8, 8)
    assert test.images.shape == (360, 8, 8)
    images = np.concatenate([train.images, test.images])
    labels = np.concatenate([train.labels, test.labels])
    np.testing.assert_array_equal(labels, original.target)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert np.abs(images - original.images * (255 / 16)).max() <= 0.5
    assert (images.min(), images.max()) == (0, 255)
    assert set(test.labels) == set(range(10))


@pytest.mark.skipif(not REAL_DATA, reason="XPNET_DATA names no folder with the real data sets")
@pytest.mark.parametrize(
    ("name", "mean", "std"), [("mnist", 0.1307, 0.3081), ("fashion-mnist", 0.2860, 0.3530)]
)
def test_real_data(name: str, mean: float, std: float) -> None:
    assert REAL_DATA is not None
    train, test = load(name, REAL_DATA)
    assert train.images.shape == (60_000, 28, 28)
    assert test.images.shape == (10_000, 28, 28)
    assert train.images.mean() / 255 == pytest.approx(mean, abs=5e-5)
    assert train.images.std() / 255 == pytest.approx(std, abs=5e-5)
    files = datasets._find(name, Path(REAL_DATA), "XPNET_DATA")
    for file, sha256 in zip(files, datasets._SHA256[name], strict=True):
        read_idx(file, sha256=sha256)
