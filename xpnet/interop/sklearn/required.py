"""The package that the estimators are made for; importing this raises if it is missing."""

from xpnet.errors import MissingPackageError

__all__: list[str] = []

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise MissingPackageError(
        "xpnet.interop.sklearn: expected the package scikit-learn, which cannot be imported "
        f'({error}); run: pip install "xpnet[sklearn]"'
    ) from error
