"""PyTorch's engine: the whole program through ``torch.compile``, or as it is printed."""

from __future__ import annotations

import os
import textwrap
import warnings
from collections.abc import Callable
from typing import Any

import torch

from xpnet.program.entry import Entry, Var
from xpnet.program.program import Program, references
from xpnet.program.source import Owning, Printed, print_program

__all__ = ["print_compiled"]

Step = Callable[..., Any]


def print_compiled(program: Program) -> Printed:
    """Return source that is compiled when it runs for the first time."""
    return _Compiled(program)


class _Compiled(Printed):
    """Source that runs through `torch.compile`, or as it is where that fails: `notes` says why."""

    def __init__(self, program: Program) -> None:
        printed = print_program(program)
        super().__init__(printed.source, printed.scope)
        self._program = program
        self._plainly, self.engine = self.engine, "torch.compile"
        if os.environ.get("TORCHDYNAMO_DISABLE") == "1":
            self._fall_back("TORCHDYNAMO_DISABLE=1 is set")

    def function(self) -> Step:
        """See `Printed.function`."""
        plain = super().function()
        arrays = len(self._program.state) + len(self._program.inputs)
        compiled: dict[tuple[type, ...], Step] = {}  # by types of the numbers: 1 may become 0.5

        def step(*arguments: Any) -> Any:
            if self.notes:
                return plain(*arguments)
            types = tuple(map(type, arguments[arrays:]))
            try:
                if types in compiled:
                    return compiled[types](*arguments)
                with warnings.catch_warnings(action="ignore"):  # about the compiler's own code
                    compiled[types] = _compile(_with_numbers(self._program, arguments), arguments)
                    return compiled[types](*arguments)
            except Exception as error:
                # A compiler that is missing or broken may raise anything. No argument has been
                # changed, so what is wrong with these themselves will be raised again.
                result = plain(*arguments)
                reason = textwrap.shorten(str(error), 200, placeholder="...")
                reason = f"{type(error).__name__}: {reason}"
                self._fall_back(reason)
                warnings.warn(
                    f"xn.compile: torch.compile failed, and the step runs as it is: {reason}",
                    RuntimeWarning,
                    stacklevel=2,
                )
                return result

        quiet: Step = torch.no_grad()(step)  # else it would follow what the program computes
        return quiet

    def _fall_back(self, reason: str) -> None:
        self.engine = self._plainly
        self.notes.append(f"not compiled: {reason}")


def _with_numbers(program: Program, arguments: tuple[Any, ...]) -> Program:
    """Return a program whose host numbers are those of a run."""
    kinds, numbers = list(program.kinds), program.numbers
    for place, number in zip(numbers, arguments[len(arguments) - len(numbers) :], strict=True):
        kinds[place] = number
    return program._replace(kinds=kinds)


def _compile(program: Program, arguments: tuple[Any, ...]) -> Step:
    """Return a function that compiles itself when it is called, for arguments like these."""
    from torch.fx.experimental.proxy_tensor import make_fx

    whole = _Tensors(program).print().function()
    arrays, numbers = len(program.state) + len(program.inputs), program.numbers
    device = program.kinds[(program.state + program.inputs)[0]].device
    integers = [isinstance(program.kinds[place], int) for place in numbers]
    returned = [
        (n, arrays + numbers.index(place))
        for n, place in enumerate(program.results_places)
        if place in numbers
    ]

    def enter(arguments: tuple[Any, ...]) -> list[Any]:
        """Return the arrays and two more with the numbers, which as numbers would be constants.

        Which functions are traced depends on how arrays lie, so all of them lie by rows.
        """
        pairs = list(zip(arguments[arrays:], integers, strict=True))
        floats = [number for number, is_integer in pairs if not is_integer]
        ints = [number for number, is_integer in pairs if is_integer]
        return [
            *(array.contiguous() for array in arguments[:arrays]),
            torch.tensor(floats, dtype=torch.float64, device=device),
            torch.tensor(ints, dtype=torch.int64, device=device),
        ]

    def traced(*entered: Any) -> Any:
        floats, ints = (iter(array.unbind()) for array in entered[arrays:])
        apart = (next(ints if is_integer else floats) for is_integer in integers)
        return whole(*entered[:arrays], *apart)

    # The namespace's functions run once, here: the compiler is given what they call.
    graph = make_fx(traced)(*enter(arguments))
    compiled = torch.compile(graph, dynamic=False, fullgraph=True)

    def run(*arguments: Any) -> Any:
        outputs = compiled(*enter(arguments))
        for n, argument in returned:
            outputs[n] = arguments[argument]
        return outputs

    return run


class _Tensors(Owning):
    """Prints a program whose host numbers are tensors of shape (), which promote otherwise."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self._numbers = frozenset(program.numbers)
        self._beside: list[Any] = []  # what the arrays are that an entry combines numbers with
        self._operator = False

    def call(self, entry: Entry) -> str:
        """See `Printer.call`."""
        if entry.name == "full" and isinstance(entry.args[1], Var):  # which takes no tensor
            made = self.program.kinds[entry.outs[0]]
            number, dtype = self.names[entry.args[1].place], self.bind("dtype", made.dtype)
            return f"{number}.to({dtype}).expand({made.shape!r}).clone()"
        places = references((entry.args, entry.kwargs))
        self._beside = [self.program.kinds[place] for place in places if place not in self._numbers]
        self._operator = entry.is_operator
        return super().call(entry)

    def literal(self, x: Any) -> str:
        """See `Printer.literal`."""
        printed = super().literal(x)
        if not (self._beside and isinstance(x, Var) and x.place in self._numbers):
            return printed
        number, dtypes = self.program.kinds[x.place], [array.dtype for array in self._beside]
        dtype = self.program.base.result_type(*dtypes, number)
        if self._operator and dtype in dtypes and any(array.shape for array in self._beside):
            return printed  # PyTorch's operators take it as a number, with all its digits
        return f"{printed}.to({self.bind('dtype', dtype)})"
