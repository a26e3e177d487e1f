"""One level of differentiation: how arguments enter it, and how everything is put back."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

from xpnet import tree
from xpnet._typing import Array, Namespace, Tree
from xpnet.aliasing import OUTSIDE
from xpnet.autodiff.tape import CONSTANT, Opened, TracedArray, differentiable, lift, raw
from xpnet.namespace import dtype_kind, is_array, one_library
from xpnet.program.state import state_of
from xpnet.state import BUFFER, FROZEN, PARAMETER, Slot, Stateful

__all__ = ["Level", "Variables"]


class Variables(NamedTuple):
    """A differentiated argument: as the function sees it, and how its gradient is put together."""

    inside: Tree
    collect: Callable[[list[Array | None]], Tree]


class Level:
    """A tape, and the arguments of one call lifted onto it.

    A context manager: on leaving it every module has its own arrays again, except for the buffers
    that the function wrote if `succeeded` was set.
    """

    def __init__(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # The slots of each module that can be reached through the arguments; one walk for all.
        self._slots: dict[int, list[Slot]] = {}
        arrays = []
        for leaf in tree.leaves((args, kwargs)):
            if is_array(leaf):
                arrays.append(leaf)
            elif isinstance(leaf, Stateful):
                slots = self._slots[id(leaf)] = state_of(leaf).slots
                arrays += [slot.array for slot in slots]
        if not arrays:
            raise TypeError(f"{name}: expected an array to differentiate, got none; see xn.asarray")
        self.name = name
        self.succeeded = False
        self.namespace = differentiable(one_library(name, *arrays))
        self.leaves = 0
        traced = self.namespace.array
        levels = [array.tape.level for array in arrays if type(array) is traced]
        self._opened = Opened(above=max(levels, default=0))
        self._saved: list[tuple[Slot, Array, TracedArray]] = []
        self._lifted: dict[int, TracedArray] = {}  # by id of the array in the slot

    def __enter__(self) -> Self:
        self.tape = self._opened.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._opened.__exit__(kind, error, traceback)
        for (_, owner, key, role), original, traced in self._saved:
            written = role == BUFFER and owner[key] is not traced
            owner[key] = self.lower(owner[key]) if self.succeeded and written else original

    @property
    def below(self) -> Namespace:
        """The namespace of the values on this level's tape."""
        return self.namespace.wrapped_namespace if self.tape.level == 1 else self.namespace

    def variables(self, argument: Tree, where: str) -> Variables:
        """Lift an argument to differentiate: its arrays, and its modules' trainable parameters."""
        found: list[Any] = []  # for each leaf of the argument, the leaf or leaves of the tape

        def enter(leaf: Any) -> Any:
            if isinstance(leaf, Stateful):
                found.append(self._lift_state(leaf, trainable=True))
                return leaf
            found.append(self._lift_variable(leaf, where))
            return found[-1]

        inside = tree.map(enter, argument)

        def collect(arrived: list[Array | None]) -> Tree:
            each = iter(found)

            def gradient(_: Any) -> Tree:
                leaf = next(each)
                if isinstance(leaf, dict):
                    return {name: self.gradient(arrived, x) for name, x in leaf.items()}
                return self.gradient(arrived, leaf)

            return tree.map(gradient, argument)

        return Variables(inside, collect)

    def constants(self, argument: Tree) -> Tree:
        """Lift an argument that is not differentiated, so that it answers to the same namespace."""

        def enter(leaf: Any) -> Any:
            if isinstance(leaf, Stateful):
                self._lift_state(leaf, trainable=False)
                return leaf
            return self._constant(leaf) if is_array(leaf) else leaf

        return tree.map(enter, argument)

    def lower(self, x: Any) -> Any:
        """Return `x` as the code outside of this level is to see it."""
        if isinstance(x, TracedArray):
            ends = x.tape is self.tape or (x.tape is CONSTANT and self.tape.level == 1)
            return x.value if ends else x
        return lift(self.namespace, x) if self.tape.level > 1 and is_array(x) else x

    def gradient(self, arrived: list[Array | None], leaf: TracedArray) -> Array:
        """Return the gradient that arrived at a leaf; zeros where none did."""
        found = arrived[leaf.index]
        if found is None:
            return self.below.zeros_like(leaf.value)
        if not is_array(found):
            kind = type(found).__name__
            raise TypeError(
                f"{self.name}: a {kind} has met the arrays that are differentiated, of which it "
                "computes something else; make an array of it first, for example with xn.asarray"
            )
        return found

    def _lift_variable(self, x: Any, where: str) -> TracedArray:
        if not is_array(x):
            raise TypeError(
                f"{self.name}: expected arrays to differentiate, {where} is or holds a "
                f"{type(x).__name__}; make an array of it first, for example with xn.asarray"
            )
        if not dtype_kind(x):
            raise TypeError(
                f"{self.name}: expected floating-point arrays to differentiate, {where} is "
                f"or holds one of dtype {x.dtype}; convert it first: xp.astype(x, xp.float32)"
            )
        return self.leaf(x)

    def leaf(self, x: Array) -> TracedArray:
        """Lift an array to differentiate."""
        # On the lowest level all values are ordinary arrays, above it all are traced themselves:
        # not every library lets the two meet in an operator.
        tape = self.tape
        x = raw(x) if tape.level == 1 else lift(self.namespace, x)
        leaf: TracedArray = self.namespace.array(x, tape, len(tape))
        leaf.group = OUTSIDE
        tape.append(None)
        self.leaves = len(tape)
        return leaf

    def _constant(self, x: Array) -> TracedArray:
        constant = lift(self.namespace, x)
        constant.group = OUTSIDE
        return constant

    def _lift_state(self, stateful: Stateful, *, trainable: bool) -> dict[str, TracedArray]:
        """Put traced arrays in the place of the state; return its leaves by name.

        Tied parameters, one array object in several slots, become one leaf under the first name;
        frozen in one place, they are frozen in all.
        """
        slots, lifted = self._slots[id(stateful)], self._lifted
        frozen = {id(slot.array) for slot in slots if slot.role == FROZEN}
        leaves = {}
        for slot in slots:
            name, owner, key, role = slot
            original = owner[key]
            traced = lifted.get(id(original))
            if traced is original:
                continue  # another argument has brought the same module
            if traced is None:
                if trainable and role == PARAMETER and id(original) not in frozen:
                    traced = leaves[name] = self.leaf(original)
                else:
                    traced = self._constant(original)
                lifted[id(original)] = lifted[id(traced)] = traced
            self._saved.append((slot, original, traced))
            owner[key] = traced
        return leaves
