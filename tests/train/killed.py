"""Trainings that save every three steps and continue where they were: for test_resume.py.

For each line that it gets, a folder and a file, it forks a process that trains: only one has to
import anything. It prints the number of that process and, after one more line, how it has ended.
"""

import os
import sys
from pathlib import Path

import numpy as np
import safetensors.numpy  # noqa: F401  so that none of the processes has to

import xpnet as xn
from xpnet import callbacks, losses, nn, optim


def train(folder: Path, output: Path) -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(200, 4)).astype("float32")
    y = np.argmax(x @ rng.normal(size=(4, 3)) + rng.normal(size=(200, 3)), axis=-1)
    xn.seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.Linear(16, 3))
    trainer = xn.Trainer(model, losses.cross_entropy, optim.Adam(0.01), metrics=["accuracy"])
    saving = callbacks.Checkpoint(folder, every=3)
    history = trainer.fit(
        (x, y),
        epochs=10,
        batch_size=16,
        validation_data=(x, y),
        callbacks=[saving, callbacks.EarlyStopping(patience=9)],
        verbose=0,
        resume=saving.latest(),
    )
    arrays = {name: xn.to_host(array) for name, array in model.state_dict().items()}
    np.savez(output, loss=history["loss"], val=history["val_loss"], **arrays)


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            train(*map(Path, line.rstrip("\n").split("\t")))
            return
        print(child, flush=True)
        sys.stdin.readline()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
