"""Compare xpnet with HIPS autograd on lines of array code, one for each function of the standard.

``pip install autograd && python benchmarks/hips_autograd.py`` prints a Markdown table. Each line is
written once, with functions of the Array API standard as `xp`; autograd gets it through the most
favourable reading, in which a function of the standard is the one of ``autograd.numpy`` that means
the same, whatever its name and the names of its options (`autograd_namespace`). A gradient is right
if it gives the slopes of the line along every axis and along the diagonal. They are measured by
differences, with NumPy; where those on both sides differ, any slope between them is right.
"""

import argparse
import math
import re
import sys
import textwrap
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

import xpnet as xn

# What the lines compute with; z is x * (1 + 0.5i), and a gradient of z is one of x.
INPUTS = {
    "x": [0.3, 0.7, 0.55, 0.2, 0.9, 0.4],  # nothing special
    "ties": [2.0, 0.0, 1.0, 2.0, -1.0],  # two equal maxima, one 0
    "same": [1.5, 1.5, 1.5],  # a standard deviation of 0
    "zeros": [0.0, 0.0, 0.0],
    "A": [[2.0, 0.3, 0.5], [-0.4, 1.5, 0.2], [0.1, 0.6, 1.1]],
}

# One line is one expression, or statements and an expression; its result is an array or several.
LINES = {
    "creation": """
        xp.asarray(x, copy=True) * x
        xp.asarray([x[0], x[1], 2.0])
        xp.full((2, 3), x[0])
        xp.full_like(x, x[0])
        xp.meshgrid(x[:2], x[2:], indexing="ij")
        xp.tril(A, k=-1)
        xp.triu(A)
    """,
    "data types": """
        xp.astype(x, xp.float64)
        xp.broadcast_arrays(x[:2], A[:, :2])
        xp.broadcast_to(x[:1], (6,))
        xp.broadcast_to(x, (2, 6))
    """,
    "elementwise": """
        xp.abs(x - 0.5)
        xp.acos(x)
        xp.acosh(1 + x)
        xp.add(x, x[0])
        xp.asin(x)
        xp.asinh(x)
        xp.atan(x)
        xp.atan2(x, x[0])
        xp.atanh(x)
        xp.clip(x, 0.25, 0.5)
        xp.clip(x, x[0], None)
        xp.copysign(x, x - 0.5)
        xp.cos(x)
        xp.cosh(x)
        xp.divide(x, x[0])
        xp.exp(x)
        xp.expm1(x)
        xp.hypot(x, x[0])
        xp.log(x)
        xp.log1p(x)
        xp.log2(x)
        xp.log10(x)
        xp.logaddexp(x, x[0])
        xp.maximum(x, x[0] + 0.15)
        xp.minimum(x, x[0] + 0.15)
        xp.multiply(x, x[0])
        xp.negative(x)
        xp.positive(x)
        xp.pow(x, x[0])
        xp.reciprocal(x)
        xp.remainder(x, x[0] - 0.05)
        xp.sign(x) * x
        xp.sin(x)
        xp.sinh(x)
        xp.sqrt(x)
        xp.square(x)
        xp.subtract(x, x[0])
        xp.tan(x)
        xp.tanh(x)
        1.5 ** x
        x ** -2
        xp.floor(7 * x) * x
    """,
    "complex numbers": """
        xp.abs(z)
        xp.real(z)
        xp.imag(z)
        xp.imag(xp.conj(z) * z[0])
        xp.real(xp.exp(z))
        xp.imag(xp.log(z))
        xp.real(xp.sqrt(z))
        xp.imag(z ** (2 - 1j))
        xp.real(xp.tanh(z))
        xp.real(xp.prod(z))
        xp.std(z)
        xp.imag(xp.vecdot(z, z[0] * z))
    """,
    "at ties and zeros": """
        xp.abs(ties)
        xp.maximum(ties, 1.0)
        xp.minimum(ties, 1.0)
        xp.clip(ties, 0.0, 5.0)
        xp.clip(ties, -5.0, 1.0)
        xp.max(ties)
        xp.max(zeros[:2])
        xp.min(zeros[:2])
        xp.std(same)
        xp.std(same, correction=1)
        xp.prod(ties)
        xp.cumulative_prod(ties)
        xp.hypot(zeros, zeros)
        ties ** 2
        ties ** 3.0
        xp.pow(ties, 0)
        xp.where(ties > 1.5, xp.log(xp.where(ties > 1.5, ties, 1.0)), 0.0)
        xp.linalg.vector_norm(zeros)
        xp.log1p(xp.exp(-xp.abs(ties - 0.5)))
    """,
    "statistics": """
        xp.sum(A, axis=0)
        xp.mean(A, axis=-1, keepdims=True)
        xp.max(A, axis=0)
        xp.min(A)
        xp.prod(A, axis=1)
        xp.std(A, axis=1)
        xp.std(x, correction=1)
        xp.var(A, axis=(0, 1))
        xp.var(x, correction=1.5)
        xp.cumulative_sum(A, axis=1)
        xp.cumulative_sum(x, include_initial=True)
        xp.cumulative_prod(x)
        xp.cumulative_prod(A, axis=0, include_initial=True)
    """,
    "manipulation": """
        xp.concat([x, A[0, :]], axis=0)
        xp.expand_dims(A, axis=1)
        xp.flip(A, axis=0)
        xp.moveaxis(A, 0, -1)
        xp.permute_dims(A, (1, 0))
        xp.repeat(A, 2, axis=0)
        xp.repeat(x[:3], xp.asarray([1, 0, 2]))
        xp.reshape(x, (2, 3))
        xp.roll(x, 2)
        xp.roll(A, (1, -1), axis=(0, 1))
        xp.squeeze(A[:1, :], axis=0)
        xp.stack([x, x * x], axis=-1)
        xp.tile(A, (2, 1, 1))
        xp.unstack(A, axis=1)
        xp.diff(x)
        xp.diff(A, axis=0)
        xp.diff(x, n=2)
        xp.diff(x, prepend=x[:1])
    """,
    "indexing": """
        x[1:-1:2]
        A[..., None, -1]
        x[xp.asarray([1, 1, 0])]
        A[xp.asarray([0, 2]), xp.asarray([1, 1])]
        A[A > 0.4]
        xp.take(A, xp.asarray([2, 0, 2]), axis=1)
        xp.take_along_axis(A, xp.asarray([[0, 2, 0]]), axis=0)
    """,
    "searching, sorting, sets": """
        xp.where(A > 0.4, A * A, -A)
        xp.sort(x)
        xp.sort(x, descending=True)
        xp.sort(A, axis=0, descending=True)
        xp.take(x, xp.argsort(x)[:2])
        x[xp.argmax(x)]
        xp.unique_values(x) ** 2
        xp.unique_counts(x).values
        xp.unique_inverse(x).values
        xp.unique_all(x).values
    """,
    "writing": """
        y = xp.zeros_like(x); y[0] = x[1] ** 2; y
        y = xp.asarray(x, copy=True); y[1:3] = x[:2] * x[3]; y
        y = xp.asarray(A, copy=True); y[A > 1] = 0.0; y
        y = x * x; y[0] += x[1]; y
        y = x * x; y *= x; y
    """,
    "linear algebra": """
        xp.matmul(A, A)
        xp.matrix_transpose(A)
        xp.tensordot(A, A, axes=1)
        xp.vecdot(A, A[0, :])
        A @ x[:3]
        xp.linalg.cholesky(A @ A.T)
        xp.linalg.cross(A, A @ A)
        xp.linalg.cross(x[:3], A)
        xp.linalg.det(A)
        xp.linalg.diagonal(A)
        xp.linalg.diagonal(A, offset=1)
        xp.abs(xp.linalg.eig(A)[1])
        xp.linalg.eigh(A + A.T)
        xp.abs(xp.linalg.eigvals(A))
        xp.linalg.eigvalsh(A + A.T)
        xp.linalg.inv(A)
        xp.linalg.matmul(A, A)
        xp.linalg.matrix_norm(A)
        xp.linalg.matrix_norm(A, ord=2)
        xp.linalg.matrix_norm(A, ord="nuc")
        xp.linalg.matrix_power(A, 3)
        xp.linalg.matrix_transpose(A)
        xp.linalg.outer(x, x[:2])
        xp.linalg.pinv(A[:, :2])
        xp.linalg.qr(A)
        xp.linalg.slogdet(A)
        xp.linalg.solve(A, A[0, :])
        xp.linalg.solve(A, A @ A)
        xp.linalg.svd(A, full_matrices=False)
        xp.linalg.svd(A[:2, :], full_matrices=False)
        xp.linalg.svdvals(A)
        xp.linalg.tensordot(A, A)
        xp.linalg.trace(A)
        xp.linalg.vecdot(A, A)
        xp.linalg.vector_norm(A, axis=0)
        xp.linalg.vector_norm(x, ord=3)
        xp.linalg.vector_norm(x, ord=xp.inf)
    """,
    "Fourier transforms": """
        xp.imag(xp.fft.fft(z))
        xp.real(xp.fft.ifft(z))
        xp.imag(xp.fft.fft(z, n=8, norm="ortho"))
        xp.imag(xp.fft.fftn(z))
        xp.real(xp.fft.ifftn(z))
        xp.imag(xp.fft.rfft(x))
        xp.fft.irfft(z[:4])
        xp.imag(xp.fft.rfftn(A[:, :2]))
        xp.imag(xp.fft.rfftn(A))
        xp.fft.irfftn(xp.fft.rfftn(A) ** 2, s=(3, 3), axes=(0, 1))
        xp.fft.hfft(z[:4])
        xp.imag(xp.fft.ihfft(x))
        xp.fft.fftshift(x)
        xp.fft.ifftshift(x)
    """,
    "second derivatives": """
        x ** 3
        xp.exp(x) * x[0]
        xp.tanh(x) / x[0]
        xp.hypot(x, x[0])
        xp.logaddexp(x, x[0])
        xp.std(x)
        xp.prod(ties)
        xp.cumulative_prod(ties)
        xp.max(A * A, axis=0)
        xp.sort(x) ** 2
        y = x * x; y[0] *= x[1]; y
        xp.matmul(A, A) @ A
        xp.linalg.cholesky(A @ A.T)
        xp.linalg.det(A)
        xp.linalg.eigvalsh(A + A.T)
        xp.linalg.inv(A)
        xp.linalg.slogdet(A)
        xp.linalg.solve(A, A[0, :])
        xp.linalg.vector_norm(A, axis=1)
        xp.abs(xp.fft.rfft(x) ** 2)
    """,
}

# Differences of sixth order: positions, in steps, and weights.
CENTRAL = {-3: -1 / 60, -2: 3 / 20, -1: -3 / 4, 1: 3 / 4, 2: -3 / 20, 3: 1 / 60}
AFTER = dict(enumerate([-49 / 20, 6, -15 / 2, 20 / 3, -15 / 4, 6 / 5, -1 / 6]))
BEFORE = {-position: -weight for position, weight in AFTER.items()}

UNBROKEN = "\0"  # for a space in a line of code while text is wrapped


class Line:
    """One line of array code, as a function of one of `INPUTS` that gives a number."""

    def __init__(self, chapter: str, code: str) -> None:
        self.chapter, self.code = chapter, code
        self.order = 2 if chapter == "second derivatives" else 1
        names = [name for name in INPUTS if re.search(rf"\b{name}\b", code)]
        self.inputs = [np.asarray(INPUTS[name]) for name in names or ["x"]]
        *statements, result = code.split("; ")
        if re.search(r"\bz\b", code):
            statements.insert(0, "z = xp.astype(x, xp.complex128) * (1 + 0.5j)")
        body = "".join(f"    {statement}\n" for statement in [*statements, f"return {result}"])
        scope: dict[str, Any] = {}
        exec(f"def line(xp, {', '.join(names or ['x'])}):\n{body}", scope)
        self.call = scope["line"]

    def __call__(self, xp: Any, *inputs: Any) -> Any:
        """Return the weighted sum of the numbers in the result."""
        return total(xp, self.call(xp, *inputs))


def lines() -> list[Line]:
    """Return all lines."""
    chapters = {
        name: [x.strip() for x in text.strip().splitlines()] for name, text in LINES.items()
    }
    return [Line(chapter, code) for chapter, codes in chapters.items() for code in codes]


def total(xp: Any, result: Any) -> Any:
    """Return the sum of the numbers in one array or several, each with a weight of its own."""
    parts = [result] if hasattr(result, "shape") else list(result)
    weights = [np.cos(1.0 + np.arange(math.prod(x.shape))) for x in parts]
    pairs = zip(parts, weights, strict=True)
    return sum(xp.sum(x * xp.asarray(np.reshape(w, x.shape))) for x, w in pairs)


def differences(
    function: Callable[..., Any],
    inputs: list[np.ndarray],
    directions: np.ndarray,
    stencil: dict[int, float],
    h: float,
) -> np.ndarray:
    """Return the slopes of a function of arrays, which are moved as one vector."""
    flat = np.concatenate([np.reshape(x, -1) for x in inputs])
    ends = np.cumsum([x.size for x in inputs])[:-1]

    def at(flat: np.ndarray) -> Any:
        parts = zip(np.split(flat, ends), inputs, strict=True)
        return function(*(np.reshape(part, x.shape) for part, x in parts))

    return np.asarray(
        [sum(c * at(flat + k * h * d) for k, c in stencil.items()) / h for d in directions]
    )


def bounds(line: Line) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return directions, and between which slopes those that a gradient gives must lie."""
    xp = xn.get_backend("numpy").namespace()
    axes = np.eye(sum(x.size for x in line.inputs))
    directions = np.concatenate([axes, np.ones((1, len(axes)))])

    def function(*inputs: np.ndarray) -> Any:
        return line(xp, *inputs)

    def slope(*inputs: np.ndarray) -> Any:
        return total(xp, differences(function, list(inputs), axes, CENTRAL, 3e-3))

    if line.order == 2:
        slopes = differences(slope, line.inputs, directions, CENTRAL, 3e-3)
        return directions, slopes, slopes
    before, after = (
        differences(function, line.inputs, directions, stencil, 1e-3) for stencil in (BEFORE, AFTER)
    )
    return directions, np.minimum(before, after), np.maximum(before, after)


def differentiate(
    grad: Callable[..., Any], line: Line, namespace: Callable[[Any], Any]
) -> np.ndarray:
    """Return the gradient of a line, or that of the weighted sum of its gradient, as one vector."""
    argnums = tuple(range(len(line.inputs)))

    def function(*inputs: Any) -> Any:
        return line(namespace(inputs[0]), *inputs)

    def slope(*inputs: Any) -> Any:
        xp = namespace(inputs[0])
        gradients = grad(function, argnums)(*inputs)
        return total(xp, xp.concat([xp.reshape(x, (-1,)) for x in gradients]))

    gradients = grad(function if line.order == 1 else slope, argnums)(*line.inputs)
    return np.concatenate([np.reshape(x, -1) for x in gradients])


def judge(line: Line, differentiate: Callable[[Line], np.ndarray]) -> str:
    """Return "right", "wrong" and how, or "error" and which."""
    directions, low, high = bounds(line)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gradient = differentiate(line)
    except Exception as error:
        return f"error ({type(error).__name__})"
    slopes = directions @ gradient
    off = float(np.max(np.maximum(low - slopes, slopes - high)))
    if off <= 1e-7 * max(1.0, float(np.max(np.abs(low)))):
        return "right"
    return f"wrong ({'nan' if math.isnan(off) else f'off by {off:.2g}'})"


def ours(line: Line) -> str:
    """Judge xpnet."""
    return judge(line, lambda line: differentiate(xn.grad, line, xn.array_namespace))


def theirs(line: Line) -> str:
    """Judge autograd."""
    import autograd

    xp = autograd_namespace()
    return judge(line, lambda line: differentiate(autograd.grad, line, lambda _: xp))


class Reading:
    """A module some of whose functions go by other names."""

    def __init__(self, module: Any, **functions: Any) -> None:
        self.module = module
        vars(self).update(functions)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)


def autograd_namespace() -> Any:
    """Return ``autograd.numpy`` under the names of the standard.

    Where it has no rule for a function under that name, but a call of another function or an index
    says the same, that is taken.
    """
    import autograd.numpy as np

    def along(x: Any, axis: int, key: Any) -> Any:
        return x[(slice(None),) * (axis % x.ndim) + (key,)]

    def broadcast_arrays(*arrays: Any) -> list[Any]:
        shape = np.broadcast_shapes(*(x.shape for x in arrays))
        return [np.broadcast_to(x, shape) for x in arrays]

    def sort(x: Any, axis: int = -1, descending: bool = False) -> Any:
        out = np.sort(x, axis=axis)
        return along(out, axis, slice(None, None, -1)) if descending else out

    same = {
        "matrix_transpose": lambda x: np.swapaxes(x, -1, -2),
        "vecdot": lambda a, b: np.einsum("...i,...i->...", np.conj(a), b),
    }
    linalg = Reading(
        np.linalg,
        **same,
        cross=lambda a, b, axis=-1: np.cross(a, b, axis=axis),
        diagonal=lambda x, offset=0: np.diagonal(x, offset=-offset, axis1=-1, axis2=-2),
        eigvals=lambda x: np.linalg.eig(x)[0],
        eigvalsh=lambda x: np.linalg.eigh(x)[0],
        matmul=np.matmul,
        matrix_norm=np.linalg.norm,
        outer=np.outer,
        svdvals=lambda x: np.linalg.svd(x, compute_uv=False),
        tensordot=np.tensordot,
        trace=np.trace,
        vector_norm=np.linalg.norm,
    )
    return Reading(
        np,
        **same,
        acos=np.arccos,
        acosh=np.arccosh,
        asarray=lambda x, copy=None: np.array(x),
        asin=np.arcsin,
        asinh=np.arcsinh,
        astype=lambda x, dtype: x.astype(dtype),
        atan=np.arctan,
        atan2=np.arctan2,
        atanh=np.arctanh,
        broadcast_arrays=broadcast_arrays,
        concat=np.concatenate,
        cumulative_prod=np.cumprod,
        cumulative_sum=np.cumsum,
        flip=lambda x, axis: along(x, axis, slice(None, None, -1)),
        full_like=lambda x, value: np.full(x.shape, value),
        linalg=linalg,
        permute_dims=np.transpose,
        positive=lambda x: 1 * x,
        pow=np.power,
        sort=sort,
        std=lambda x, axis=None, correction=0: np.std(x, axis=axis, ddof=correction),
        take=lambda x, indices, axis=0: along(x, axis, indices),
        unstack=lambda x, axis=0: list(np.moveaxis(x, axis, 0)),
        var=lambda x, axis=None, correction=0: np.var(x, axis=axis, ddof=correction),
    )


def table(headings: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [headings, ["---"] * len(headings), *rows])


def counts(results: list[tuple[Line, str, str]], versions: list[str]) -> str:
    """Return how many lines of each chapter are right."""
    rows = []
    for chapter in [*LINES, "all"]:
        chosen = [row for row in results if chapter in (row[0].chapter, "all")]
        right = [sum(row[column] == "right" for row in chosen) for column in (1, 2)]
        rows.append([chapter, *map(str, (len(chosen), *right))])
    return table(["chapter", "lines", *versions], rows)


def failures(results: list[tuple[Line, str, str]]) -> str:
    """Return the lines that autograd does not get right, by what it does instead."""
    found: dict[str, list[str]] = {}
    for line, _, verdict in results:
        if verdict != "right":
            second = "second derivative of " if line.order == 2 else ""
            found.setdefault(verdict, []).append(f"{second}`{line.code.replace(' ', UNBROKEN)}`")
    return "\n".join(
        textwrap.fill(
            f"- {verdict}: {', '.join(codes)}",
            100,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        ).replace(UNBROKEN, " ")
        for verdict, codes in sorted(found.items())
    )


def main() -> int:
    """Print how many lines of each chapter are right, and which are not with autograd."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="print the table of all lines instead")
    arguments = parser.parse_args()
    results = [(line, ours(line), theirs(line)) for line in lines()]
    versions = [f"{name} {version(name)}" for name in ("xpnet", "autograd")]
    if arguments.all:
        rows = [[line.chapter, f"`{line.code}`", *verdicts] for line, *verdicts in results]
        print(table(["chapter", "line", *versions], rows))
    else:
        print(counts(results, versions))
        print(f"\nNot right with {versions[1]}:\n\n{failures(results)}")
    wrong = [line.code for line, verdict, _ in results if verdict != "right"]
    if wrong:
        print("xpnet is not right:", *wrong, sep="\n", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
