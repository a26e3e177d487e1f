"""``python -m xpnet info``: versions, backends, devices, and what is missing for the others."""

from __future__ import annotations

import argparse
import platform

import xpnet
from xpnet.backend import Backend, registry
from xpnet.errors import BackendError

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m xpnet", description=__doc__)
    parser.add_argument("command", choices=["info"], help="what to print")
    parser.parse_args()
    print(f"xpnet {xpnet.__version__}, Python {platform.python_version()}, {platform.platform()}")
    try:
        print(f"selected: {xpnet.get_backend().name}")
    except (BackendError, ValueError) as error:
        print(f"selected: none ({error})")
    for name, found in registry().items():
        print(f"{name:>18}  {_describe(found)}")


def _describe(found: Backend | BackendError) -> str:
    problem = found if isinstance(found, BackendError) else found.unusable()
    if problem is not None:
        return f"not usable: {problem}"
    assert isinstance(found, Backend)
    try:
        devices = ", ".join(found.device_name(device) for device in found.devices())
        return f"{found.title} {found.version()} on {devices}"
    except Exception as error:  # somebody else's adapter must not take the report down
        return f"{found.title}, usable ({type(error).__name__}: {error})"


if __name__ == "__main__":
    main()
