"""Random words where they are needed, by one program instead of 120 calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from xpnet._typing import Array, Device, Namespace
from xpnet.backend import Backend, owner
from xpnet.namespace import device_of
from xpnet.program.host import recorder
from xpnet.random.threefry import encrypt

__all__ = ["computed_blocks", "encrypted_blocks"]

_LARGEST = 2**18  # blocks: a program may keep a few arrays of that size
_AT_MOST = 16  # programs that are kept

_programs: dict[Any, Callable[..., list[Array]] | int] = {}  # or how often it came before
_lock = threading.Lock()  # a program computes in memory of its own


def encrypted_blocks(
    xp: Namespace, count: int, device: Device | None, keys: list[int], number: int
) -> list[Array]:
    """Return both words of the blocks ``0, ..., count - 1`` of a draw, below all differentiation.

    Parameters
    ----------
    xp : namespace
        Whose arrays are wanted.
    count : int
        How many blocks.
    device : device or None
        Where they are made.
    keys : list of int
        From `key_schedule`.
    number : int
        Of the draw.
    """
    if recorder.get() is not None:
        return computed_blocks(xp, count, device, keys, number)
    while hasattr(xp, "wrapped_namespace"):
        xp = xp.wrapped_namespace
    key = xp, count, device
    with _lock:
        known = _programs.get(key, 0)
        if not isinstance(known, int):
            return known(*keys, number)
    words = computed_blocks(xp, count, device, keys, number)
    if device_of(words[0]) is None:  # the library itself records, and a program would keep that
        return words
    backend = owner(type(words[0]))
    after = None if backend is None else backend.replay_after(integers=True)
    if backend is not None and after is not None and count <= _LARGEST:
        program = known + 1 if known + 1 < after else _recorded(backend, *key, keys, number)
        with _lock:
            _programs.pop(key, None)
            if len(_programs) >= _AT_MOST:
                del _programs[next(iter(_programs))]  # the oldest
            _programs[key] = program
    return words


def computed_blocks(
    xp: Namespace, count: int, device: Device | None, keys: list[int], number: int
) -> list[Array]:
    """Return what `encrypted_blocks` does, call by call."""
    draw = xp.full((count,), number, dtype=xp.int32, device=device)
    block = xp.arange(count, dtype=xp.int32, device=device)
    return list(encrypt(keys, (block, draw)))


def _recorded(
    backend: Backend,
    xp: Namespace,
    count: int,
    device: Device | None,
    keys: list[int],
    number: int,
) -> Callable[..., list[Array]]:
    """Return a function of keys and number that runs as one program."""
    from xpnet.program.clean import clean  # which need this module
    from xpnet.program.program import Program
    from xpnet.program.record import Recording, recorded_namespace
    from xpnet.program.source import print_program

    with Recording(xp) as recording:
        inputs: Any = recording.note_host(lambda: [keys, number])
        words = computed_blocks(recorded_namespace(xp), count, device, *inputs)
        results = [recording.reference(word) for word in words]
    program = clean(Program.of(recording, [], [], results, []))
    return (backend.engine(program) or print_program(program)).function()
