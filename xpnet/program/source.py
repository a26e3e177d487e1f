"""Printing a program as straight-line source that a person can read."""

from __future__ import annotations

import itertools
import linecache
import math
import weakref
from collections.abc import Callable
from typing import Any

from xpnet.program.entry import Entry, Var
from xpnet.program.kernel import Kernel
from xpnet.program.operation import REDUCTIONS, operation
from xpnet.program.program import Program, references
from xpnet.scatter import copy

__all__ = ["Owning", "Printed", "Printer", "print_program"]

_MAY_SHARE = REDUCTIONS | {"same"}  # may return what they are given
_INFIX = {
    "add": "+",
    "and_": "&",
    "eq": "==",
    "floordiv": "//",
    "ge": ">=",
    "gt": ">",
    "le": "<=",
    "lshift": "<<",
    "lt": "<",
    "matmul": "@",
    "mod": "%",
    "mul": "*",
    "ne": "!=",
    "or_": "|",
    "pow": "**",
    "rshift": ">>",
    "sub": "-",
    "truediv": "/",
    "xor": "^",
}
_PREFIX = {"neg": "-", "pos": "+", "invert": "~"}
_numbers = itertools.count(1)  # of the programs


class Printed:
    """Source, and the things that it names.

    Attributes
    ----------
    source : str
        One function ``step``, whose arguments are state, inputs and host numbers.
    scope : dict
        What its global names mean.
    engine : str
        How it runs, in a few words.
    notes : list of str
        More about that, a line each, such as the reason for a fallback.
    kernels : list of (str, Kernel)
        The kernels that it calls, in this order, by their names in the source.
    alone : list of (str, str)
        The calls that are in no kernel, each with the reason.
    copied : frozenset of int
        Places of the state that the first run copies before it writes to them.
    """

    def __init__(self, source: str, scope: dict[str, Any]) -> None:
        self.source, self.scope = source, scope
        self.engine = "the functions of the library, one by one"
        self.notes: list[str] = []
        self.kernels: list[tuple[str, Kernel]] = []
        self.alone: list[tuple[str, str]] = []
        self.copied: frozenset[int] = frozenset()

    def function(self) -> Callable[..., Any]:
        """Return the function that the source defines; tracebacks show its lines."""
        scope, file = dict(self.scope), f"<xpnet program {next(_numbers)}>"
        exec(compile(self.source, file, "exec"), scope)
        step: Callable[..., Any] = scope["step"]
        lines = self.source.splitlines(keepends=True)
        linecache.cache[file] = len(self.source), None, lines, file
        weakref.finalize(step, linecache.cache.pop, file, None).atexit = False
        return step


def print_program(program: Program) -> Printed:
    """Return source that calls the functions of the library one by one."""
    return Owning(program).print()


class Printer:
    """Prints a program; an engine overrides how it does its statements.

    Attributes
    ----------
    program : Program
        What is printed.
    names : dict from int to str
        For each place a name: s of state, x of inputs, h of host numbers, c of constants, t of
        what is computed.
    scope : dict
        What the global names of the source mean.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.names = _names(program)
        self.scope: dict[str, Any] = {"xp": program.base, "inf": math.inf, "nan": math.nan}
        self.scope |= {self.names[place]: array for place, array in program.constants.items()}
        self._bound: dict[int, str] = {}  # id of an object in the scope -> its name

    def print(self) -> Printed:
        """Return the source."""
        program, names = self.program, self.names
        statements = [self.statement(entry) for entry in program.entries]
        lines = [line for line in statements if line is not None]
        lines = [*self.beginning(), *lines, *self.ending()]
        outputs = [self.result(place) for place in program.results_places]
        outputs += [
            self.update(old, new)
            for old, new in zip(program.state, program.updates, strict=True)
            if old != new
        ]
        lines.append(f"return [{', '.join(outputs)}]")
        arguments = ", ".join(names[p] for p in (*program.state, *program.inputs, *program.numbers))
        body = "\n".join(f"    {line}" for line in lines)
        return Printed(f"def step({arguments}):\n{body}\n", self.scope)

    def statement(self, entry: Entry) -> str | None:
        """Return the line that computes an entry, or None if nothing is left to do."""
        names = ", ".join(self.names[place] for place in entry.outs)
        return f"{names}{',' * (entry.several and len(entry.outs) == 1)} = {self.call(entry)}"

    def beginning(self) -> list[str]:
        """Return the lines before the first statement."""
        return []

    def ending(self) -> list[str]:
        """Return the lines before the end."""
        return []

    def result(self, place: int) -> str:
        """Return the expression of a result."""
        return self.names[place]

    def update(self, old: int, new: int) -> str:
        """Return the expression of what a place of the state holds afterwards."""
        return self.names[new]

    def call(self, entry: Entry) -> str:
        """Return the expression that computes an entry by the function that was recorded."""
        arguments = [self.literal(x) for x in entry.args]
        function = entry.function
        if entry.is_operator:
            if function.__name__ in _INFIX:
                if arguments[0].startswith("-"):  # than which ** binds tighter
                    arguments[0] = f"({arguments[0]})"
                return f" {_INFIX[function.__name__]} ".join(arguments)
            if function.__name__ in _PREFIX:
                return _PREFIX[function.__name__] + arguments[0]
            if function.__name__ == "getitem":
                return f"{arguments[0]}[{arguments[1]}]"
        arguments += [f"{key}={self.literal(x)}" for key, x in entry.kwargs.items()]
        target: Any = self.program.base
        for part in entry.name.split("."):
            target = getattr(target, part, None)
        name = f"xp.{entry.name}"
        if target is not function:
            name = self.bind(function.__name__.strip("_"), function)
        return f"{name}({', '.join(arguments)})"

    def literal(self, x: Any) -> str:
        """Return an argument as source."""
        if isinstance(x, Var):
            return self.names[x.place]
        if x is Ellipsis:
            return "..."
        if x is None or isinstance(x, (bool, int, float, complex, str)):
            return repr(x)
        if type(x) is slice:
            return f"slice({', '.join(map(self.literal, (x.start, x.stop, x.step)))})"
        if type(x) is list:
            return f"[{', '.join(map(self.literal, x))}]"
        if type(x) is tuple:
            return f"({', '.join(map(self.literal, x))}{',' * (len(x) == 1)})"
        return self.bind("k", x)

    def bind(self, name: str, thing: Any) -> str:
        """Return a global name that means `thing`, such as `name`."""
        if id(thing) not in self._bound:
            while name in self.scope:
                stem = name.rstrip("0123456789")
                name = f"{stem}{int(name[len(stem) :] or 0) + 1}"
            self._bound[id(thing)] = name
            self.scope[name] = thing
        return self._bound[id(thing)]


class Owning(Printer):
    """Prints a program whose results and new state are arrays of their own.

    Whoever writes to one changes neither a constant of the program nor an input nor another one.
    """

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.scope["copy"] = copy
        self._roots = _roots(program)
        self._kept = frozenset((*program.state, *program.inputs, *program.constants))
        pairs = zip(program.state, program.updates, strict=True)
        self._state = frozenset[int]().union(
            *(self._roots[new] for old, new in pairs if old != new)
        )
        self._stored: frozenset[int] = frozenset()

    def result(self, place: int) -> str:
        """See `Printer.result`."""
        return self._own(place, self._kept | self._state)

    def update(self, old: int, new: int) -> str:
        """See `Printer.update`."""
        others, self._stored = self._kept | self._stored, self._stored | self._roots[new]
        return self._own(new, others)

    def _own(self, place: int, others: frozenset[int]) -> str:
        """Return an expression of what shares no memory with these."""
        name = self.names[place]
        return f"copy({name})" if self._roots[place] & others else name


def _roots(program: Program) -> dict[int, frozenset[int]]:
    """Return for each place those whose memory it may share, itself included."""
    roots = {place: frozenset((place,)) for place in range(len(program.kinds))}
    for entry in program.entries:
        op = operation(entry, program.kinds)
        is_new = entry.name == "matmul" if op is None else op.axes or op.name not in _MAY_SHARE
        for out in () if is_new else entry.outs:
            given = references((entry.args, entry.kwargs))
            roots[out] = roots[out].union(*(roots[place] for place in given))
    return roots


def _names(program: Program) -> dict[int, str]:
    computed = [place for entry in program.entries for place in entry.outs]
    groups = {
        "t": computed,
        "s": program.state,
        "x": program.inputs,
        "h": program.numbers,
        "c": list(program.constants),
    }
    return {place: f"{x}{n}" for x, places in groups.items() for n, place in enumerate(places)}
