"""``examples/mnist.py`` as a user runs it, and the same training on every array library."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn
from xpnet import losses, nn, optim

SCRIPT = Path(__file__).parents[2] / "examples" / "mnist.py"
LAST = re.compile(r"test accuracy: (0\.\d{4})")

pytest.importorskip("sklearn", reason="the digits come from scikit-learn")
pytest.importorskip("safetensors", reason="the example writes checkpoints")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", str(SCRIPT), *arguments]


def environment(**changes: str) -> dict[str, str]:
    unset = {"XPNET_BACKEND", "XPNET_DEVICE", "XPNET_DATA"}
    return {name: value for name, value in os.environ.items() if name not in unset} | changes


def run(folder: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_it_says_what_it_does_and_learns(tmp_path: Path) -> None:
    done = run(tmp_path, "--dataset", "digits", "--epochs", "20")
    assert done.returncode == 0, done.stderr
    first, *epochs, last = done.stdout.splitlines()
    assert re.fullmatch(
        r"NumPy [\d.]+\S*, device cpu, float32, seed 0, 50,826 parameters, 1,437 images", first
    )
    assert len(epochs) == 20
    assert re.fullmatch(
        r"epoch 20/20  loss \d\.\d{4}  accuracy \d\.\d{4}  "
        r"val_loss \d\.\d{4}  val_accuracy \d\.\d{4}  \d+\.\d s",
        epochs[-1],
    )
    assert float(LAST.fullmatch(last)[1]) > 0.85
    assert done.stderr == ""  # no progress bar where there is no terminal


def test_without_data_and_network_it_trains_on_the_digits(tmp_path: Path) -> None:
    pytest.importorskip("pooch", reason="the download needs pooch")
    proxies = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    done = run(tmp_path, "--epochs", "1", XDG_CACHE_HOME=str(tmp_path), no_proxy="", **proxies)
    assert done.returncode == 0, done.stderr
    assert "cannot be downloaded" in done.stderr
    assert "Training on scikit-learn's handwritten digits instead." in done.stderr
    assert LAST.fullmatch(done.stdout.splitlines()[-1])


def checkpoints(folder: Path) -> dict[str, bytes]:
    """Return all files of a run's folder by their names."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def lines(printed: str) -> list[str]:
    """Return the lines of the epochs and of the end, without their times."""
    found = re.findall(r"^(?:epoch|test accuracy).*$", printed, flags=re.M)
    return [re.sub(r"  \d+\.\d s$", "", line) for line in found]


def test_ctrl_c_then_resume_equals_never_having_stopped(tmp_path: Path) -> None:
    digits = ("--dataset", "digits", "--hidden", "16", "--batch-size", "16", "--epochs", "40")
    whole = run(tmp_path, *digits, "--output", "whole")
    assert whole.returncode == 0, whole.stderr

    process = subprocess.Popen(
        command(*digits, "--output", "part"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if line.startswith("epoch 2/"):
            break
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    printed += rest
    assert process.returncode == 130, errors
    assert errors == "continue with --resume --output part\n"
    stopped = re.search(r"^stopped after (\d+) epochs by Ctrl-C$", printed, flags=re.M)
    assert stopped is not None
    assert int(stopped[1]) < 40

    resumed = run(tmp_path, *digits, "--output", "part", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    # The accuracy at the moment of Ctrl-C is only in the interrupted one.
    assert lines(printed)[:-1] + lines(resumed.stdout) == lines(whole.stdout)
    last = f"step-{40 * 90:08}"  # 90 batches of 1,437 images
    files = ("model.safetensors", "optimizer.safetensors", "state.json")
    expected, found = (checkpoints(tmp_path / folder) for folder in ("whole", "part"))
    for name in files:
        assert found[f"{last}/{name}"] == expected[f"{last}/{name}"]
        assert found[f"best/{name}"] == expected[f"best/{name}"]


def test_a_new_run_replaces_the_old_one(tmp_path: Path) -> None:
    digits = ("--dataset", "digits", "--hidden", "16", "--epochs")
    assert run(tmp_path, *digits, "2").returncode == 0
    assert run(tmp_path, *digits, "1", "--seed", "1").returncode == 0
    assert {path.name for path in (tmp_path / "mnist-run").iterdir()} == {"step-00000012", "best"}


def test_without_hidden_widths_it_is_linear(tmp_path: Path) -> None:
    done = run(tmp_path, "--dataset", "digits", "--hidden", "--epochs", "1")
    assert done.returncode == 0, done.stderr
    assert "650 parameters" in done.stdout  # 64 x 10 weights and 10 biases


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "nonsense"], "no backend is called 'nonsense'. Known: .*numpy"),
        (["--device", "cuda:7"], "NumPy has no device 'cuda:7'; it has: cpu"),
        (["--data", "nowhere"], "expected train-images-idx3-ubyte.* nowhere"),
        (["--dataset", "digits", "--batch-size", "0"], "batch_size must be at least 1, got 0"),
        (["--dataset", "digits", "--epochs", "0"], "steps must be an integer from 1, got 0"),
        (["--dataset", "digits", "--hidden", "0"], "must be positive, got 64 and 0"),
        (
            ["--dataset", "digits", "--resume", "--output", "nowhere"],
            "nowhere: nothing to resume; leave out --resume",
        ),
    ],
)
def test_what_cannot_be_done_is_one_message(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert re.search(message, done.stderr)
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_the_same_run_on_every_library(lib) -> None:
    def start(dtype: str) -> tuple[dict[str, np.ndarray], np.ndarray, list[float]]:
        """Train three steps; return the initial weights, the order of labels and the losses."""
        xn.seed(3)
        train, _ = xn.data.digits()
        x = xn.asarray(train.images.reshape(-1, 64).astype(dtype) / 255)
        y = xn.asarray(train.labels)
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))
        weights = {name: xn.to_host(array) for name, array in model.parameters().items()}
        optimizer = optim.Adam(1e-2)
        labels, values = [], []
        for x_batch, y_batch in xn.data.Loader((x, y), 64, shuffle=True):
            loss, grads = xn.value_and_grad(loss_fn)(model, x_batch, y_batch)
            optimizer.update(model, grads)
            labels.append(xn.to_host(y_batch))
            values.append(float(loss))
        return weights, np.concatenate(labels), values

    def loss_fn(model, x, y):
        return losses.cross_entropy(model(x), y)

    weights, labels, values = start("float32")
    with xn.use_backend("numpy"):
        expected_weights, expected_labels, expected_values = start("float32")
    for name, expected in expected_weights.items():
        np.testing.assert_array_equal(weights[name], expected, strict=True)
    np.testing.assert_array_equal(labels, expected_labels)
    np.testing.assert_allclose(values[0], expected_values[0], rtol=1e-6)
    # Rounding differs from then on, and training spreads the difference.
    np.testing.assert_allclose(values, expected_values, rtol=1e-3)


@pytest.fixture
def real_data() -> str:
    """Return the folder with the real data sets."""
    if "XPNET_DATA" not in os.environ:
        pytest.skip("XPNET_DATA names no folder with the real data sets")
    return os.path.abspath(os.environ["XPNET_DATA"])


@pytest.mark.parametrize(
    ("arguments", "accuracy", "seconds"),
    [
        (["--hidden", "--epochs", "5", "--learning-rate", "0.005"], 0.92, 15),
        (["--hidden", "256", "128", "--epochs", "6"], 0.98, 60),
    ],
    ids=["linear", "784-256-128-10"],
)
def test_real_mnist_in_time(
    tmp_path: Path, real_data: str, arguments: list[str], accuracy: float, seconds: float
) -> None:
    began = time.perf_counter()
    done = run(tmp_path, *arguments, XPNET_DATA=real_data)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - began < seconds
    assert float(LAST.fullmatch(done.stdout.splitlines()[-1])[1]) >= accuracy


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax", "array_api_strict"])
def test_one_epoch_of_real_mnist(tmp_path: Path, real_data: str, backend: str) -> None:
    if backend not in xn.available_backends():
        pytest.skip(f"{backend} is not usable here")
    few_steps = ("--epochs", "1", "--batch-size", "512", "--learning-rate", "0.005")
    done = run(tmp_path, *few_steps, XPNET_BACKEND=backend, XPNET_DATA=real_data)
    assert done.returncode == 0, done.stderr
    assert float(LAST.fullmatch(done.stdout.splitlines()[-1])[1]) >= 0.92
