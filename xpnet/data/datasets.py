"""Small image sets to learn with: MNIST, Fashion-MNIST and scikit-learn's digits."""

import importlib
import importlib.util
import os
import sys
import textwrap
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xpnet.data.idx import read_idx
from xpnet.errors import DataError, DataUnavailableError, MissingPackageError

__all__ = ["Images", "digits", "fashion_mnist", "load", "mnist"]

_Path = str | os.PathLike[str] | None
_TIMEOUT = (10, 30)  # seconds to connect, seconds between two pieces of the answer
_REMEDY = "set XPNET_DATA or pass path= to a folder with the files, or use the digits set"
_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_MIRRORS = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
}
_SHA256 = {  # of the decompressed files, in the order of _FILES
    "mnist": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "fashion-mnist": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}


class Images(NamedTuple):
    """Labelled images in host memory.

    Parameters
    ----------
    images : numpy.ndarray, shape (N, H, W), uint8
        Grey values, 0 to 255.
    labels : numpy.ndarray, shape (N,), int64
        Indices of classes, from 0.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def load(name: str, path: _Path = None, *, download: bool = True) -> tuple[Images, Images]:
    """Return the training and the test images of the data set called `name`.

    Parameters
    ----------
    name : str
        ``"mnist"``, ``"fashion-mnist"`` or ``"digits"``; `digits` leaves the rest unused.
    path : str or path, optional
        A folder that holds the four IDX files, with or without ``.gz``, in a subfolder called
        `name` or directly. The default is the environment variable XPNET_DATA or, where that is
        unset or empty, a folder in the user's cache.
    download : bool
        Whether a file that is missing from the user's cache may be downloaded.

    Returns
    -------
    train, test : Images
        In the order of the files.

    Raises
    ------
    ValueError
        If no data set is called `name`.
    FileNotFoundError
        If `path` or XPNET_DATA is given and the four files are not there.
    DataError
        If a file is damaged or not what its name says. Cached and downloaded files must have the
        published content; in `path` or XPNET_DATA, other data in the same form is welcome.
    DataUnavailableError
        If a file is not in the cache, and either no mirror delivers it or `download` is false.
    MissingPackageError
        If the cache is needed without pooch installed, or `digits` without scikit-learn.
    """
    if name == "digits":
        return digits()
    if name not in _MIRRORS:
        known = ", ".join(map(repr, [*_MIRRORS, "digits"]))
        raise ValueError(f"load: expected name to be one of {known}, found {name!r}")
    sha256: tuple[str | None, ...] = (None,) * len(_FILES)
    if path is not None:
        files = _find(name, Path(path), "path")
    elif env := os.environ.get("XPNET_DATA"):
        files = _find(name, Path(env), "XPNET_DATA")
    else:
        files, sha256 = _cached(name, download=download), _SHA256[name]
    arrays = [_read(file, expected) for file, expected in zip(files, sha256, strict=True)]
    return _labelled(files[:2], arrays[:2]), _labelled(files[2:], arrays[2:])


def mnist(path: _Path = None, *, download: bool = True) -> tuple[Images, Images]:
    """Return MNIST, 60,000 + 10,000 handwritten digits of 28 x 28.

    Parameters
    ----------
    path, download
        See `load`.

    Returns
    -------
    train, test : Images
        In the order of the files.

    Raises
    ------
    FileNotFoundError, DataError, DataUnavailableError, MissingPackageError
        See `load`.
    """
    return load("mnist", path, download=download)


def fashion_mnist(path: _Path = None, *, download: bool = True) -> tuple[Images, Images]:
    """Return Fashion-MNIST, 60,000 + 10,000 pictures of clothing, 28 x 28.

    Parameters
    ----------
    path, download
        See `load`.

    Returns
    -------
    train, test : Images
        In the order of the files.

    Raises
    ------
    FileNotFoundError, DataError, DataUnavailableError, MissingPackageError
        See `load`.
    """
    return load("fashion-mnist", path, download=download)


def digits() -> tuple[Images, Images]:
    """Return the handwritten digits that come with scikit-learn, 1,437 + 360 images of 8 x 8.

    Returns
    -------
    train, test : Images
        Pixels are scaled from 0..16 to 0..255 and rounded. The test set is the last 20 % of the
        rows.

    Raises
    ------
    MissingPackageError
        If scikit-learn is not installed.

    Examples
    --------
    >>> train, test = digits()
    >>> train.images.shape, test.images.shape
    ((1437, 8, 8), (360, 8, 8))
    >>> train.labels[:5]
    array([0, 1, 2, 3, 4])
    """
    bundled = _optional("sklearn.datasets", "scikit-learn", "digits").load_digits()
    images = np.rint(bundled.images * (255 / 16)).astype(np.uint8)
    labels = bundled.target.astype(np.int64)
    split = len(labels) * 4 // 5
    return Images(images[:split], labels[:split]), Images(images[split:], labels[split:])


def _optional(module: str, package: str, where: str) -> Any:
    """Import a module that only some functions need."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f"{where}: expected the package {package}, which cannot be imported ({error}); "
            'run: pip install "xpnet[examples]"'
        ) from error


def _find(name: str, given: Path, origin: str) -> list[Path]:
    """Find the four files in one folder, so that images never meet the labels of another set."""
    looked = []
    for folder in (given.expanduser() / name, given.expanduser()):
        found = {
            file: path
            for file in _FILES
            for path in (folder / file, folder / f"{file}.gz")
            if path.is_file()
        }
        missing = [file for file in _FILES if file not in found]
        if not missing:
            return [found[file] for file in _FILES]
        looked.append(f"{folder} lacks {', '.join(missing) if found else 'all of them'}")
    raise FileNotFoundError(
        f"{name}: expected {', '.join(_FILES)}, each with or without .gz, in one folder; "
        f"{', and '.join(looked)}; correct {origin}, or leave it out to use the cache or a download"
    )


def _cached(name: str, *, download: bool) -> list[Path]:
    """Find the four files in the user's cache, after downloading those that are missing."""
    pooch = _optional("pooch", "pooch", f"{name} without XPNET_DATA or path=")
    folder = Path(pooch.os_cache("xpnet")) / name
    files = [folder / f"{file}.gz" for file in _FILES]
    missing = [file for file in files if not file.is_file()]
    if missing and not download:
        names = ", ".join(file.name for file in missing)
        raise DataUnavailableError(
            f"{name}: {names} not found in {folder}, and download=False; "
            f"allow the download, {_REMEDY}"
        )
    for file, sha256 in zip(files, _SHA256[name], strict=True):
        if file in missing:
            _download(pooch, name, file, sha256)
    return files


def _download(pooch: Any, name: str, file: Path, sha256: str) -> None:
    """Try each mirror in turn; only a complete and verified file gets its final name."""
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    progress = on_terminal and importlib.util.find_spec("tqdm") is not None
    fetch = pooch.HTTPDownloader(progressbar=progress, chunk_size=2**16, timeout=_TIMEOUT)
    failures = []
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=file.parent) as scratch:
            part = Path(scratch) / file.name
            for mirror in _MIRRORS[name]:
                try:
                    fetch(mirror + file.name, str(part), None)
                    read_idx(part, sha256=sha256)
                except (OSError, ValueError) as error:  # every error of requests is an OSError
                    # requests wraps the cause, which is what helps, into a page of detail.
                    cause = f"{type(error).__name__}: {str(error).rpartition('Caused by ')[2]}"
                    failures.append(f"{mirror}: {textwrap.shorten(cause, 300)}")
                else:
                    part.replace(file)
                    return
    except OSError as error:
        failures.append(f"cache folder {file.parent}: {error}")
    raise DataUnavailableError(
        f"{name}: {file.name} is not in the cache and cannot be downloaded: "
        f"{'; '.join(failures)}; {_REMEDY}"
    )


def _read(file: Path, sha256: str | None) -> npt.NDArray[Any]:
    """Read a file, and compare it with its published checksum if it has one."""
    try:
        return read_idx(file, sha256=sha256)
    except DataError as error:
        if sha256 is None:
            raise
        raise DataError(f"{error}; delete this file, and it is downloaded again") from error


def _labelled(files: list[Path], arrays: list[npt.NDArray[Any]]) -> Images:
    """Put images and labels together once they are known to fit."""
    (images_file, labels_file), (images, labels) = files, arrays
    for file, array, form in zip(files, arrays, (("N", "H", "W"), ("N",)), strict=True):
        if array.dtype != np.uint8 or array.ndim != len(form):
            raise DataError(
                f"{file}: expected uint8 ({', '.join(form)}), found {array.dtype} {array.shape}"
            )
    if len(images) != len(labels):
        raise DataError(
            f"{images_file}: expected as many images as labels, found {len(images)} images and "
            f"{len(labels)} labels in {labels_file.name}"
        )
    if labels.max(initial=0) > 9:
        raise DataError(f"{labels_file}: expected labels 0 to 9, found {labels.max()}")
    return Images(images, labels.astype(np.int64))
