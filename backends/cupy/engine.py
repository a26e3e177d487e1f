"""CuPy's engine: printed kernels and products, launched one by one or as one graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpnet.program.c import PRELUDE
from xpnet.program.cuda import print_cuda
from xpnet.program.entry import Entry, Like
from xpnet.program.fuse import fuse
from xpnet.program.kernel import Kernel
from xpnet.program.plan import Kind, is_view, plan
from xpnet.program.products import Product, join_epilogues
from xpnet.program.program import Program, references
from xpnet.program.source import Printed, Printer, print_program
from xpnet.program.walks import is_printable, overwritable

from .protocol import Device
from .step import Step, describe

__all__ = ["print_launched"]


def print_launched(program: Program, device: Device) -> Printed:
    """Return source that launches kernels and products; where that fails, it says why.

    It is then the source that calls the functions of the library one by one.
    """
    try:
        return _print_launched(program, device)
    except Exception as error:  # whatever a library raises
        printed = print_program(program)
        reason = f"called one by one: {describe(error)}"
        printed.source = f"# {reason}\n{printed.source}"
        printed.notes.append(reason)
        return printed


def _print_launched(program: Program, device: Device) -> Printed:
    for place in program.inputs:
        like = program.kinds[place]
        if 0 in like.strides and math.prod(like.shape) > 1:
            raise ValueError(f"an input of shape {like.shape} is broadcast; copy it")
    with device:
        program = join_epilogues(_spread(program, device), relu=device.keeps_nan)
        fused = fuse(program, _obstacle, least=1)
        printed = _Launched(fused.program, device).print()
        printed.alone = fused.alone
        return printed


def _spread(program: Program, device: Device) -> Program:
    """Give constants that are broadcast memory for all elements, as kernels want them."""
    kinds, constants = list(program.kinds), dict(program.constants)
    for place in constants:
        like = kinds[place]
        if 0 in like.strides and not like.is_contiguous:
            kinds[place] = like.by_rows()
            array = device.array(kinds[place], device.memory(like.nbytes))
            device.copy_into(array, constants[place])
            constants[place] = array
    return program._replace(kinds=kinds, constants=constants)


def _obstacle(kernel: Kernel) -> str | None:
    """Return why a kernel is not printed, or None."""
    places = (*kernel.inputs, *(op.out for op in kernel.operations))
    likes = [kernel.kinds[place] for place in places]
    if not all(like.is_contiguous for like in likes if isinstance(like, Like)):
        return "its elements do not follow one another in memory"
    return None if is_printable(kernel) else "its dtypes or sums are none that kernels have"


class _Launch:
    """A kernel with all but its arrays."""

    def __init__(self, grid: Any, block: Any, sizes: tuple[int, int], scratch: list[Any]) -> None:
        self.function: Callable[..., None]
        self._is_checked = False
        self._grid, self._block, self._sizes, self._scratch = grid, block, sizes, scratch

    def __call__(self, *arrays: Any) -> None:
        if not self._is_checked:  # where it was recorded they were; a library may think otherwise
            if not all(x.flags.c_contiguous for x in arrays):
                raise RuntimeError("xn.compile: an array lies otherwise than where it was recorded")
            self._is_checked = True
        self.function(self._grid, self._block, [*self._sizes, *arrays, *self._scratch])


class _Launched(Printer):
    """Prints launches with the arrays that they read and write."""

    def __init__(self, program: Program, device: Device) -> None:
        super().__init__(program)
        self.device = device
        self.scope |= {"copy": device.copy, "copy_into": device.copy_into}
        self.plan = plan(program, self._kind, self._over)
        memory = [device.memory(size) for size in self.plan.buffers]
        for place, number in self.plan.places.items():
            buffer = device.array(program.kinds[place], memory[number])
            self.scope[self.names[place]] = buffer
        self.numbers = device.zeros(len(program.numbers), "float64") if program.numbers else None
        self._number = {place: n for n, place in enumerate(program.numbers)}
        self._sources: dict[str, str] = {}  # of a kernel -> its name
        self._launches: list[tuple[str, _Launch]] = []
        self.kernels: list[tuple[str, Kernel]] = []
        self._kept: dict[int, str] = {}
        self.obstacle = ""  # why this cannot be a graph

    def print(self) -> Printed:
        """Return the source, which shows the body of a step."""
        printed = super().print()
        texts = [text.replace(" kernel(", f" {name}(", 1) for text, name in self._sources.items()]
        functions = self.device.functions("\n".join([PRELUDE, *texts])) if texts else {}
        for name, launch in self._launches:
            launch.function = functions[name]
        return _Stepping(printed, self)

    def statement(self, entry: Entry) -> str | None:
        """See `Printer.statement`."""
        for out in entry.outs:
            if out in self.plan.donated:
                self.names[out] = self.names[self.plan.donated[out]]
        function = entry.function
        if isinstance(function, Kernel):
            return self._launch(function)
        if isinstance(function, Product) and self._is_planned(entry):
            x, w, *bias = (self.program.kinds[place] for place in function.inputs)
            product = self.device.product(x, w, bias[0] if bias else None, function.relu)
            names = [self.names[place] for place in (*function.inputs, *entry.outs)]
            return f"{self.bind('product', product)}({', '.join(names)})"
        if any(place in self._number for place in references((entry.args, entry.kwargs))):
            self.obstacle = f"{entry.name} takes a number that changes from run to run"
        if isinstance(function, Product):  # as it was recorded
            return "; ".join(filter(None, map(super().statement, function.entries)))
        return super().statement(entry)

    def _launch(self, kernel: Kernel) -> str:
        """Return the statement that launches a kernel."""
        same = {x for x in kernel.inputs for out in kernel.outputs if self.plan.is_over(out, x)}
        printed = print_cuda(kernel, same)
        counts = printed.scratch(*kernel.shape) if printed.totals else ()
        scratch = [
            self.device.zeros(count, dtype)
            for count, dtype in zip(counts, ("float64", "uint32"), strict=False)
        ]
        launch = _Launch(*printed.launch(*kernel.shape), kernel.shape, scratch)
        name = self._sources.setdefault(printed.source, f"kernel{len(self._sources)}")
        self._launches.append((name, launch))
        self.kernels.append((name, kernel))
        names = [self._operand(place) for place in (*kernel.inputs, *kernel.outputs)]
        return f"{self.bind(name, launch)}({', '.join(names)})"

    def _operand(self, place: int) -> str:
        """Return the name of an array; that of a number is where it is on the device."""
        if place not in self._number or self.numbers is None:
            return self.names[place]
        n = self._number[place]
        name = f"at_{self.names[place]}"
        self.scope.setdefault(name, self.numbers[n : n + 1])
        return name

    def ending(self) -> list[str]:
        """See `Printer.ending`: old values of the state that leave are copied, then overwritten."""
        overwritten = frozenset(self.plan.copied)
        lines = []
        leaving = [*self.program.results_places, *self.plan.copied.values()]
        leaving += [
            new
            for old, new in zip(self.program.state, self.program.updates, strict=True)
            if old != new and not self.is_in_place(old, new)
        ]
        for place in dict.fromkeys(leaving):
            if self.plan.roots[place] & overwritten:
                self._kept[place] = f"r{len(self._kept)}"
                lines.append(f"{self._kept[place]} = copy({self.names[place]})")
        for old, new in self.plan.copied.items():
            lines.append(f"copy_into({self.names[old]}, {self.result(new)})")
        return lines

    def result(self, place: int) -> str:
        """See `Printer.result`."""
        return self._kept.get(place, self.names[place])

    def update(self, old: int, new: int) -> str:
        """See `Printer.update`."""
        return self.names[old] if self.is_in_place(old, new) else self.result(new)

    def is_in_place(self, old: int, new: int) -> bool:
        """Tell whether an array of the state has its new values, or those that it had."""
        return old == new or self.plan.stays(old, new)

    def _is_planned(self, entry: Entry) -> bool:
        """Tell whether a product is one that devices compute into a buffer."""
        places = (*references(entry.args), *entry.outs)
        likes = [self.program.kinds[place] for place in places]
        x, w, *others = likes
        real = str(x.dtype) in ("float32", "float64") and len({like.dtype for like in likes}) == 1
        lie = all(like.is_contiguous or _transposed(like).is_contiguous for like in (x, w))
        some = all(0 not in like.shape for like in likes)
        return real and lie and some and all(like.is_contiguous for like in others)

    def _kind(self, entry: Entry) -> Kind:
        """Return how this engine computes an entry."""
        if isinstance(entry.function, Kernel):
            return "buffer"
        if isinstance(entry.function, Product):
            return "buffer" if self._is_planned(entry) else "other"
        return "view" if is_view(entry) and len(entry.outs) == 1 else "other"

    def _over(self, entry: Entry, out: int) -> list[int]:
        """Return the operands in whose memory an entry may be computed."""
        return overwritable(entry.function, out) if isinstance(entry.function, Kernel) else []


def _transposed(like: Like) -> Like:
    return like._replace(shape=like.shape[::-1], strides=like.strides[::-1])


class _Stepping(Printed):
    """Source whose function is run as a `Step`; it says in its first line how."""

    def __init__(self, printed: Printed, launched: _Launched) -> None:
        super().__init__(printed.source, printed.scope)
        self.engine, self.kernels = "CuPy, kernels and products", launched.kernels
        self._body, self._launched = printed, launched

    def function(self) -> Callable[..., Any]:
        """See `Printed.function`."""
        made = self._launched
        program = made.program
        in_place = list(map(made.is_in_place, program.state, program.updates))

        def show(how: str) -> None:
            self.source, self.notes = f"# {how}\n{self._body.source}", [how]

        kernels = [kernel for _, kernel in made.kernels]
        function, device, numbers = self._body.function(), made.device, made.numbers
        return Step(function, program, device, in_place, numbers, kernels, made.obstacle, show)
