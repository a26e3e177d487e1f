"""The errors that are xpnet's own; everything else is a ``TypeError`` or a ``ValueError``."""

__all__ = [
    "BackendError",
    "CompileError",
    "DataError",
    "DataUnavailableError",
    "ExportError",
    "MissingPackageError",
    "MissingRuleError",
    "MixedArraysError",
    "TracedArrayError",
]


class BackendError(RuntimeError):
    """A backend that was asked for cannot be used; the message names the cause and the remedy.

    Attributes
    ----------
    cause : str
        ``"unknown name"``, ``"not installed"``, ``"import failed"`` or ``"no device"``.
    """

    def __init__(self, message: str, *, cause: str) -> None:
        super().__init__(message)
        self.cause = cause


class CompileError(TypeError):
    """A step does what a recorded program cannot do; the message names the line."""


class DataError(ValueError):
    """A file is damaged, or is not what its name or header says."""


class DataUnavailableError(OSError):
    """A data set is neither on this machine nor could be downloaded."""


class ExportError(TypeError):
    """A model does what the format cannot hold; the message names the line."""


class MissingPackageError(ImportError):
    """An optional package is needed here; the message holds the command that installs it."""


class MissingRuleError(NotImplementedError):
    """A gradient reached a function that has no differentiation rule."""


class MixedArraysError(TypeError, ValueError):
    """Arrays of two libraries, or on two devices, meet; the message names both and the remedy.

    Attributes
    ----------
    where : str
        The layer or function, with which the message begins, where that is known.
    """

    def __init__(self, message: str, *, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where


class TracedArrayError(TypeError):
    """A traced array was used where only an ordinary array can be."""
