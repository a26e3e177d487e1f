"""What the examples share: arguments, images, checks, and how errors end the program."""

import argparse
import sys
from pathlib import Path

import xpnet as xn
from xpnet import nn


def parser(description, output, *, output_help="picture to write"):
    """Return a parser with the arguments that every example has."""
    found = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    found.add_argument("--output", default=output, help=output_help)
    found.add_argument("--seed", type=int, default=0, help="of all random numbers")
    return found


def add_images(found, dataset):
    """Add the arguments of an example that uses images."""
    names = ["mnist", "fashion-mnist", "digits"]
    found.add_argument("--dataset", choices=names, default=dataset, help="digits is the small one")
    found.add_argument("--data", help="folder of the data set; else XPNET_DATA, else a download")


def pixels(dataset, folder):
    """Return (x, y) for training and for the test: rows of bytes, 0 to 255, and labels."""
    return [
        (xn.asarray(part.reshape(len(part), -1)), xn.asarray(labels))
        for part, labels in xn.data.load(dataset, folder)
    ]


def images(dataset, folder):
    """Return (x, y) for training and for the test: rows of pixels in [0, 1], and labels."""
    rescale = nn.Rescale()
    return [(rescale(x), y) for x, y in pixels(dataset, folder)]


def check(holds, claim):
    """Say that a claim holds, or end the program with exit code 1."""
    if not holds:
        raise SystemExit(f"{Path(sys.argv[0]).name}: check failed: {claim}")
    print(f"checked: {claim}")


def run(main):
    """Run the program, and turn what a user can mend into one line instead of a traceback."""
    try:
        main()
    except (xn.BackendError, xn.DataError, xn.MissingPackageError, OSError, ValueError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell says it
