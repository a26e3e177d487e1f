"""Train a small network on MNIST, on any array library: ``XPNET_BACKEND=cupy python mnist.py``."""

import itertools
import math
import sys

import common

import xpnet as xn
from xpnet import callbacks, losses, nn, optim


def main():
    args = parse_arguments()
    if args.backend or args.device:
        xn.use_backend(args.backend or xn.get_backend().name, args.device)
    backend = xn.get_backend()  # before any work: raises if it cannot be used
    xn.seed(args.seed)
    train, test = load(args.dataset, args.data)
    images, device = train[0].shape[0], backend.device_name(train[0].device)

    model = make_model([train[0].shape[1], *args.hidden, 10])
    steps = args.epochs * len(xn.data.Loader(train, args.batch_size))
    optimizer = optim.Adam(optim.schedules.Cosine(args.learning_rate, steps))
    trainer = xn.Trainer(
        model, losses.cross_entropy, optimizer, metrics=["accuracy"], compile=args.compile
    )
    saving = callbacks.Checkpoint(args.output, overwrite=not args.resume)
    if args.resume and saving.latest() is None:
        raise xn.DataError(f"{args.output}: nothing to resume; leave out --resume")
    parameters = list(model.parameters().values())
    print(
        f"{backend.title} {backend.version()}, device {device}, "
        f"{str(parameters[0].dtype).split('.')[-1]}, seed {args.seed}, "
        f"{sum(math.prod(each.shape) for each in parameters):,} parameters, {images:,} images"
    )
    history = trainer.fit(
        train,
        epochs=args.epochs,
        batch_size=args.batch_size,
        validation_data=test,
        callbacks=[saving],
        resume=saving.latest() if args.resume else None,
    )
    print(f"test accuracy: {trainer.evaluate(test)['accuracy']:.4f}")
    if history.stopped:
        print(f"continue with --resume --output {args.output}", file=sys.stderr)
        sys.exit(130)


def make_model(widths):
    layers = [nn.Rescale()]  # the images stay bytes until a batch of them is computed
    for n_in, n_out in itertools.pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def load(dataset, folder):
    """Return (x, y) for training and for the test; the digits if there is no network."""
    try:
        return common.pixels(dataset, folder)
    except xn.DataUnavailableError as error:
        print(f"{error}\nTraining on scikit-learn's handwritten digits instead.", file=sys.stderr)
        return common.pixels("digits", None)


def parse_arguments():
    parser = common.parser(
        __doc__, "mnist-run", output_help="folder of checkpoints; an older run in it is replaced"
    )
    common.add_images(parser, "mnist")
    parser.add_argument("--backend", help="array library; else XPNET_BACKEND, else numpy")
    parser.add_argument("--device", help="such as cuda:1; else XPNET_DEVICE, else the first one")
    parser.add_argument("--compile", action="store_true", help="record the step, run it faster")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="at first; it ends at 0")
    parser.add_argument(
        "--hidden", type=int, nargs="*", default=[256, 128], help="widths of hidden layers, or none"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in --output, with the same other arguments",
    )
    return parser.parse_args()


if __name__ == "__main__":
    common.run(main)
