"""Softmax regression: a linear classifier of images, with its training loop written out.

One layer, ``logits = x W + b``, turns the pixels of an image into a score for each class. The
weights start as random numbers from N(0, 0.01), the biases at zero, and stochastic gradient
descent does the rest. ``XPNET_BACKEND=torch python softmax_regression.py`` runs it elsewhere.
"""

from pathlib import Path

import common

import xpnet as xn
from xpnet import losses, metrics

CLASSES = {
    "fashion-mnist": [
        *("t-shirt", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ]
}
EPOCHS = {"mnist": 10, "fashion-mnist": 10, "digits": 100}  # 1,437 digits make few steps an epoch


def predict(parameters, x):
    return x @ parameters["weight"] + parameters["bias"]


def loss_fn(parameters, x, y):
    """Return what is minimised and, beside it, what people want to know."""
    logits = predict(parameters, x)
    return losses.cross_entropy(logits, y), metrics.accuracy(logits, y)


def main():
    args = parse_arguments()
    epochs = args.epochs or EPOCHS[args.dataset]
    rng = xn.Generator(args.seed)
    train, test = common.images(args.dataset, args.data)
    batches = xn.data.Loader(train, args.batch_size, shuffle=True, rng=rng)
    parameters = {
        "weight": rng.normal((train[0].shape[1], 10), std=0.01),
        "bias": xn.asarray([0.0] * 10),
    }
    step = xn.value_and_grad(loss_fn, has_aux=True)

    pictures = Path(args.output)
    with xn.plots.LiveCurves(f"Softmax regression on {args.dataset}", pictures) as curves:
        for epoch in range(1, epochs + 1):
            loss = accuracy = 0.0  # stay where the arrays are: one wait for the device an epoch
            for x, y in batches:
                (batch_loss, batch_accuracy), grads = step(parameters, x, y)
                parameters = {
                    name: parameter - args.learning_rate * grads[name]
                    for name, parameter in parameters.items()
                }
                loss = loss + batch_loss * x.shape[0]
                accuracy = accuracy + batch_accuracy * x.shape[0]
            train_loss, train_accuracy = (float(t) / train[0].shape[0] for t in (loss, accuracy))
            test_accuracy = float(loss_fn(parameters, *test)[1])
            curves.add(
                epoch,
                train_loss=train_loss,
                train_accuracy=train_accuracy,
                test_accuracy=test_accuracy,
            )
            print(
                f"epoch {epoch}/{epochs}  train loss {train_loss:.4f}  "
                f"train accuracy {train_accuracy:.4f}  test accuracy {test_accuracy:.4f}",
                flush=True,
            )

    x, y = test[0][:24, :], test[1][:24]
    guessed = xn.array_namespace(x).argmax(predict(parameters, x), axis=-1)
    grid = pictures.with_stem(f"{pictures.stem}_predictions")
    xn.plots.images(
        x, labels=y, predictions=guessed, class_names=CLASSES.get(args.dataset)
    ).savefig(grid)
    print(f"wrote {pictures} and {grid}")

    common.check(train_loss < args.max_loss, f"train loss {train_loss:.4f} < {args.max_loss}")
    for name, value in {"train": train_accuracy, "test": test_accuracy}.items():
        common.check(
            args.min_accuracy < value <= 1, f"{name} accuracy {value:.4f} > {args.min_accuracy}"
        )


def parse_arguments():
    parser = common.parser(__doc__, "softmax_regression.png")
    common.add_images(parser, "fashion-mnist")
    parser.add_argument("--epochs", type=int, help="by default 10, for digits 100")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--max-loss", type=float, default=0.5, help="checked in the end")
    parser.add_argument("--min-accuracy", type=float, default=0.8, help="checked in the end")
    return parser.parse_args()


if __name__ == "__main__":
    common.run(main)
