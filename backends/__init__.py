"""The adapters: the only place in xpnet that names an array library, one module for each."""

__all__ = ["pip_install"]


def pip_install(extra: str) -> str:
    """Return the command that installs an optional array library with xpnet.

    The modules beside this one import it relatively, so that one of them run from inside this
    folder, where ``import numpy`` would find the adapter, stops with an ImportError.
    """
    return f'pip install "xpnet[{extra}]"'
