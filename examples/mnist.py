"""Train a small network on MNIST, on any array library: ``XPNET_BACKEND=cupy python mnist.py``."""

import argparse
import itertools
import math
import os
import sys
import time

from tqdm import tqdm

import xpnet as xn
from xpnet import losses, metrics, nn, optim


def main():
    args = parse_arguments()
    if args.backend or args.device:
        xn.use_backend(args.backend or xn.get_backend().name, args.device)
    backend = xn.get_backend()  # before any work: raises if it cannot be used
    xn.seed(args.seed)
    train, test = load(args.dataset, args.data)
    rng = xn.Generator(args.seed, stream=1)
    batches = xn.data.Loader(train, args.batch_size, shuffle=True, rng=rng)

    model = make_model([train[0].shape[1], *args.hidden, 10])
    optimizer = optim.Adam(args.learning_rate)
    done = 0
    if args.resume:
        done = xn.checkpoint.load(args.resume, model, optimizer, rng=rng).get("epoch", 0)
    count = sum(math.prod(parameter.shape) for parameter in model.parameters().values())
    print(
        f"{backend.title} {backend.version()}, device {backend.device_name(train[0].device)}, "
        f"{str(train[0].dtype).split('.')[-1]}, seed {args.seed}, {count:,} parameters, "
        f"{train[0].shape[0]:,} images"
    )

    def save(epoch):
        xn.checkpoint.save(args.output, model, optimizer, rng=rng, epoch=epoch)

    if not os.path.exists(args.output):
        save(done)  # so that Ctrl-C always leaves one
    step = xn.value_and_grad(loss_fn, has_aux=True)
    for epoch in range(done + 1, args.epochs + 1):
        began = time.perf_counter()
        totals = [0.0, 0.0]  # stay where the arrays are: one wait for the device an epoch
        for x, y in tqdm(batches, desc=f"epoch {epoch}", leave=False, disable=None):
            values, grads = step(model, x, y)
            optimizer.update(model, grads)
            totals = [
                total + value * x.shape[0] for total, value in zip(totals, values, strict=True)
            ]
        loss, accuracy = (float(total) / train[0].shape[0] for total in totals)
        val_loss, val_accuracy = evaluate(model, test)
        print(
            f"epoch {epoch}/{args.epochs}  loss {loss:.4f}  accuracy {accuracy:.4f}  "
            f"val_loss {val_loss:.4f}  val_accuracy {val_accuracy:.4f}  "
            f"{time.perf_counter() - began:.1f} s",
            flush=True,
        )
        save(epoch)
    print(f"test accuracy: {evaluate(model, test)[1]:.4f}")


def make_model(widths):
    layers = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def loss_fn(model, x, y):
    logits = model(x)
    return losses.cross_entropy(logits, y), metrics.accuracy(logits, y)


def evaluate(model, data):
    loss, accuracy = loss_fn(model.eval(), *data)
    model.train()
    return float(loss), float(accuracy)


def load(dataset, folder):
    """Return (images, labels) for training and for the test, on the selected device."""
    try:
        parts = xn.data.load(dataset, folder)
    except xn.DataUnavailableError as error:
        print(f"{error}\nTraining on scikit-learn's handwritten digits instead.", file=sys.stderr)
        parts = xn.data.digits()
    return [
        (xn.asarray(images.reshape(len(images), -1).astype("float32") / 255), xn.asarray(labels))
        for images, labels in parts
    ]


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--backend", help="array library; else XPNET_BACKEND, else numpy")
    parser.add_argument("--device", help="such as cuda:1; else XPNET_DEVICE, else the first one")
    parser.add_argument("--dataset", choices=["mnist", "fashion-mnist", "digits"], default="mnist")
    parser.add_argument("--data", help="folder of the data set; else XPNET_DATA, else a download")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--hidden", type=int, nargs="*", default=[512], help="layer widths")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="mnist-checkpoint", help="checkpoint to write")
    parser.add_argument("--resume", metavar="CHECKPOINT", help="checkpoint to continue from")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except (xn.BackendError, xn.DataError, xn.MissingPackageError, OSError, ValueError) as error:
        print(f"mnist.py: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; --resume continues after the last whole epoch", file=sys.stderr)
        sys.exit(130)
