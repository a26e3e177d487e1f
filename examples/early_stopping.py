"""Early stopping: watch the loss on data that is not trained on, and keep the best weights.

A network that is large for its 500 images learns them by heart: its training loss goes to zero,
while the loss on other images falls at first and then rises again. `EarlyStopping` ends the
training when the validation loss has not fallen for some epochs, and goes back to where it was
lowest.
"""

from pathlib import Path

import common

import xpnet as xn
from xpnet import callbacks, losses, nn, optim


def main():
    args = parse_arguments()
    xn.seed(args.seed)
    (x, y), test = common.images(args.dataset, args.data)
    train, validation = (x[:500, :], y[:500]), (x[500:1400, :], y[500:1400])

    width = x.shape[1]
    model = nn.Sequential(nn.Linear(width, 512), nn.ReLU(), nn.Linear(512, 10))
    trainer = xn.Trainer(model, losses.cross_entropy, optim.Adam(2e-3), metrics=["accuracy"])
    history = trainer.fit(
        train,
        epochs=args.epochs,
        batch_size=50,
        validation_data=validation,
        callbacks=[callbacks.EarlyStopping("val_loss", patience=args.patience)],
    )
    picture = Path(args.output)
    history.plot().savefig(picture)
    history.save(picture.with_suffix(".json"))
    history.to_csv(picture.with_suffix(".csv"))
    print(f"wrote {picture}, {picture.with_suffix('.json')} and {picture.with_suffix('.csv')}")

    epoch, best = history.best("val_loss")
    restored = trainer.evaluate(validation)["loss"]
    print(f"best validation loss {best:.4f} after epoch {epoch:.0f}, stopped by {history.stopped}")
    print(f"test accuracy with the weights of that epoch: {trainer.evaluate(test)['accuracy']:.4f}")
    common.check(history.stopped is not None, "training ended before its last epoch")
    common.check(history.epochs == epoch + args.patience, "it waited as long as it was told to")
    common.check(history["val_loss"][-1] > best, "the last weights were worse than the best")
    common.check(abs(restored - best) < 1e-5, "the model has its best weights")
    saved = xn.train.History.load(picture.with_suffix(".json"))
    common.check(saved["val_loss"] == history["val_loss"], "the saved history is the same")


def parse_arguments():
    parser = common.parser(__doc__, "early_stopping.png")
    common.add_images(parser, "mnist")
    parser.add_argument("--epochs", type=int, default=200, help="at most")
    parser.add_argument("--patience", type=int, default=10, help="epochs without improvement")
    return parser.parse_args()


if __name__ == "__main__":
    common.run(main)
