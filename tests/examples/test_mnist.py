"""``examples/mnist.py`` as a user runs it, and the same training on every array library."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn
from xpnet import losses, nn, optim

SCRIPT = Path(__file__).parents[2] / "examples" / "mnist.py"
LAST = re.compile(r"test accuracy: (0\.\d{4})")

pytest.importorskip("sklearn", reason="the digits come from scikit-learn")
pytest.importorskip("safetensors", reason="the example writes checkpoints")
pytest.importorskip("tqdm", reason="the example shows progress")


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(SCRIPT), *arguments]


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    unset = {"XPNET_BACKEND", "XPNET_DEVICE", "XPNET_DATA"}
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=inherited | environment,
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
        r"NumPy [\d.]+\S*, device cpu, float32, seed 0, 38,410 parameters, 1,437 images", first
    )
    assert len(epochs) == 20
    assert re.fullmatch(
        r"epoch 20/20  loss \d\.\d{4}  accuracy \d\.\d{4}  "
        r"val_loss \d\.\d{4}  val_accuracy \d\.\d{4}  \d+\.\d s",
        epochs[-1],
    )
    assert float(LAST.fullmatch(last)[1]) > 0.85
    assert "epoch" not in done.stderr  # no progress bar where there is no terminal


def test_without_data_and_network_it_trains_on_the_digits(tmp_path: Path) -> None:
    pytest.importorskip("pooch", reason="the download needs pooch")
    proxies = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    done = run(tmp_path, "--epochs", "1", XDG_CACHE_HOME=str(tmp_path), no_proxy="", **proxies)
    assert done.returncode == 0, done.stderr
    assert "cannot be downloaded" in done.stderr
    assert "Training on scikit-learn's handwritten digits instead." in done.stderr
    assert LAST.fullmatch(done.stdout.splitlines()[-1])


def test_resuming_equals_never_having_stopped(tmp_path: Path) -> None:
    digits = ("--dataset", "digits", "--hidden", "16")
    assert run(tmp_path, *digits, "--epochs", "3", "--output", "whole").returncode == 0
    assert run(tmp_path, *digits, "--epochs", "1", "--output", "part").returncode == 0
    resumed = run(tmp_path, *digits, "--epochs", "3", "--resume", "part", "--output", "rest")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.splitlines()[1].startswith("epoch 2/3")
    rest, whole = (
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}
        for name in ("rest", "whole")
    )
    assert "model.safetensors" in whole
    assert rest == whole


def test_ctrl_c_leaves_a_checkpoint_to_resume_from(tmp_path: Path) -> None:
    digits = ("--dataset", "digits", "--output", "model")
    process = subprocess.Popen(
        command(*digits, "--epochs", "100000"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 2/"):
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume continues after the last whole epoch" in errors
    assert "Traceback" not in errors
    resumed = run(tmp_path, *digits, "--resume", "model", "--epochs", "0")
    assert resumed.returncode == 0, resumed.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "nonsense"], "no backend is called 'nonsense'. Known: .*numpy"),
        (["--device", "cuda:7"], "NumPy has no device 'cuda:7'; it has: cpu"),
        (["--data", "nowhere"], "expected train-images-idx3-ubyte.* nowhere"),
        (["--dataset", "digits", "--batch-size", "0"], "batch_size must be positive, got 0"),
        (["--dataset", "digits", "--resume", "nowhere"], "expected a checkpoint at nowhere"),
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


def test_five_epochs_of_real_mnist(tmp_path: Path) -> None:
    if "XPNET_DATA" not in os.environ:
        pytest.skip("XPNET_DATA names no folder with the real data sets")
    data = os.path.abspath(os.environ["XPNET_DATA"])
    done = run(tmp_path, "--epochs", "5", XPNET_DATA=data)
    assert float(LAST.fullmatch(done.stdout.splitlines()[-1])[1]) >= 0.975


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax", "array_api_strict"])
def test_one_epoch_of_real_mnist(tmp_path: Path, backend: str) -> None:
    if "XPNET_DATA" not in os.environ:
        pytest.skip("XPNET_DATA names no folder with the real data sets")
    if backend not in xn.available_backends():
        pytest.skip(f"{backend} is not usable here")
    data = os.path.abspath(os.environ["XPNET_DATA"])
    done = run(tmp_path, "--epochs", "1", XPNET_BACKEND=backend, XPNET_DATA=data)
    assert done.returncode == 0, done.stderr
    assert float(LAST.fullmatch(done.stdout.splitlines()[-1])[1]) >= 0.92
