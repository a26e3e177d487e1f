"""A training that saves every three steps and continues where it was: for test_resume.py."""

import sys
from pathlib import Path

import numpy as np

import xpnet as xn
from xpnet import callbacks, losses, nn, optim


def main(folder: Path, output: Path) -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(200, 4)).astype("float32")
    y = np.argmax(x @ rng.normal(size=(4, 3)) + rng.normal(size=(200, 3)), axis=-1)
    xn.seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.Linear(16, 3))
    trainer = xn.Trainer(model, losses.cross_entropy, optim.Adam(0.01), metrics=["accuracy"])
    saving = callbacks.Checkpoint(folder, every=3)
    print("begin", flush=True)
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


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
