"""What the tests of programs share.

A comparison of a compiled run with a plain one; CUDA C without a GPU: a
CPU that runs it, thread by thread (emulated.h), and its compiler.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from xpnet import tree
from xpnet.backend import discover
from xpnet.namespace import is_array


@pytest.fixture
def assert_same() -> Callable[[Any, Any, Any], None]:
    """Return what asserts that two runs are equal, bit for bit where every operation is kept."""
    return _assert_same


def _assert_same(lib: Any, actual: Any, expected: Any) -> None:
    for a, b in tree.pairs(actual, expected):
        if not is_array(b):
            assert a == b
            continue
        assert type(a) is type(b)
        assert (a.dtype, a.shape, a.device) == (b.dtype, b.shape, b.device)
        if lib.name in ("cupy", "jax") or os.environ["NUMBA_DISABLE_JIT"] == "0":
            # Operations are fused, and sums formed in another order than one by one.
            lib.close(a, lib.to_host(b), rtol=1e-5, atol=1e-10)
        else:
            assert lib.to_host(a).tobytes() == lib.to_host(b).tobytes()


_HEAD = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)')


class Emulator:
    """Compiles CUDA C for the CPU, and launches its functions with arrays of NumPy."""

    def __init__(self, compiler: str, folder: Path) -> None:
        self._compiler, self._folder = compiler, folder

    def functions(self, source: str) -> dict[str, Callable[..., None]]:
        """Return what ``function(grid, block, arguments)`` launches, by name."""
        heads = dict(_HEAD.findall(source))
        lines = ['#include "emulated.h"', source]
        for name, parameters in heads.items():
            given = [
                f"({parameter.rpartition('*')[0]}*)arguments[{n}]"
                if "*" in parameter
                else f"*(long long*)arguments[{n}]"
                if "long long" in parameter
                else f"*(double*)arguments[{n}]"
                for n, parameter in enumerate(parameters.split(", "))
            ]
            lines += [
                f"static void call_{name}(void** arguments) {{ {name}({', '.join(given)}); }}",
                f'extern "C" int launch_{name}(int gx, int gy, int bx, int by, void** given) {{',
                "    const Dimensions grid = {(unsigned)gx, (unsigned)gy};",
                "    const Dimensions block = {(unsigned)bx, (unsigned)by};",
                f"    return launch(grid, block, call_{name}, given);",
                "}",
            ]
        library = ctypes.CDLL(str(self._compiled("\n".join(lines))))
        return {name: _launcher(library, name, heads[name].split(", ")) for name in heads}

    def _compiled(self, text: str) -> Path:
        path = self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.cpp"
        made = path.with_suffix(".so")
        if not made.exists():
            path.write_text(text)
            options = ["-O1", "-w", "-ffp-contract=off", "-std=c++17", "-shared", "-fPIC"]
            include = f"-I{Path(__file__).parent}"
            subprocess.run(
                [self._compiler, *options, include, str(path), "-o", str(made)], check=True
            )
        return made


def _launcher(library: Any, name: str, parameters: list[str]) -> Callable[..., None]:
    function = getattr(library, f"launch_{name}")

    def launch(grid: tuple[int, int], block: tuple[int, int], arguments: list[Any]) -> None:
        assert len(arguments) == len(parameters)
        pointers: list[int] = []
        alive: list[Any] = []
        for x, parameter in zip(arguments, parameters, strict=True):
            if "*" in parameter:
                alive.append(np.asarray(x))  # NumPy's scalars are none
                pointers.append(alive[-1].ctypes.data)
                continue
            number = (ctypes.c_longlong if "long long" in parameter else ctypes.c_double)(x)
            alive.append(number)
            pointers.append(ctypes.addressof(number))
        given = (ctypes.c_void_p * len(pointers))(*pointers)
        assert function(*grid, *block, given) == 0, "threads wait for others that do not come"

    return launch


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Emulator:
    compiler = shutil.which("g++")
    if compiler is None or not Path("/usr/include/ucontext.h").exists():
        pytest.skip("needs g++ and ucontext.h, to run CUDA C on the CPU")
    return Emulator(compiler, tmp_path_factory.mktemp("emulated"))


class GPU:
    """The real thing, with the arguments of an `Emulator`."""

    def __init__(self, device: Any) -> None:
        self._device = device

    def functions(self, source: str) -> dict[str, Callable[..., None]]:
        """See `Emulator.functions`."""
        made = self._device.functions(source)
        return {name: self._launcher(made[name]) for name, _ in _HEAD.findall(source)}

    def _launcher(self, function: Callable[..., None]) -> Callable[..., None]:
        import cupy

        def launch(grid: Any, block: Any, arguments: list[Any]) -> None:
            arrays = [x for x in arguments if isinstance(x, np.ndarray)]
            given = [cupy.asarray(x) if isinstance(x, np.ndarray) else x for x in arguments]
            function(grid, block, given)
            there = [x for x in given if isinstance(x, cupy.ndarray)]
            for x, y in zip(arrays, there, strict=True):
                x[...] = y.get()

        return launch


@pytest.fixture(params=["emulated", pytest.param("cupy", marks=pytest.mark.gpu)])
def machine(request: pytest.FixtureRequest) -> Any:
    """Return what runs CUDA C with arrays of NumPy."""
    if request.param == "emulated":
        return request.getfixturevalue("emulator")
    problem = discover()["cupy"].unusable()
    if problem is not None:
        pytest.skip(str(problem))
    import cupy

    return GPU(importlib.import_module("xpnet_backends.cupy.device").CudaDevice(cupy.cuda.Device()))


class NVRTC:
    """The compiler of CUDA C, which needs no device."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def compile(self, source: str, architecture: str) -> bytes:
        """Return the machine code for a device such as ``"sm_90"``."""
        library, program, size = self._library, ctypes.c_void_p(), ctypes.c_size_t()
        text = source.encode()
        made = library.nvrtcCreateProgram(ctypes.byref(program), text, b"k.cu", 0, None, None)
        assert made == 0
        device = f"--gpu-architecture={architecture}".encode()
        options = (ctypes.c_char_p * 2)(device, b"-std=c++17")
        failed = library.nvrtcCompileProgram(program, 2, options)
        library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        library.nvrtcGetProgramLog(program, log)
        assert not failed, log.value.decode()
        assert log.value == b"", log.value.decode()
        library.nvrtcGetCUBINSize(program, ctypes.byref(size))
        code = ctypes.create_string_buffer(size.value)
        library.nvrtcGetCUBIN(program, code)
        library.nvrtcDestroyProgram(ctypes.byref(program))
        return code.raw


@pytest.fixture(scope="session")
def nvrtc() -> NVRTC:
    """Return the compiler of an installed toolkit, or of NVIDIA's package for Python."""
    found = importlib.util.find_spec("nvidia")
    folders = [] if found is None else [Path(path) for path in found.submodule_search_locations]
    packaged = [path for folder in folders for path in sorted(folder.glob("*/lib/libnvrtc.so.*"))]
    name = ctypes.util.find_library("nvrtc")
    for path in (*packaged, *([name] if name else [])):
        if ".alt." not in str(path):
            return NVRTC(ctypes.CDLL(str(path)))
    pytest.skip("NVRTC is not installed. Install: pip install nvidia-cuda-nvrtc-cu12")


class EmulatedDevice:
    """A device in host memory: what the engine of CuPy asks for, done by NumPy and an emulator."""

    def __init__(self, emulator: Emulator, *, keeps_nan: bool = True) -> None:
        self.keeps_nan = keeps_nan
        self.functions = emulator.functions
        self.graphs = 0
        self.launches = 0
        self.refuses = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def memory(self, size: int) -> Any:
        return np.full(size + 64, 0xA5, np.uint8)  # nobody counts on zeros

    def array(self, like: Any, memory: Any) -> Any:
        below = sum(min(0, s * (n - 1)) for s, n in zip(like.strides, like.shape, strict=True))
        return np.ndarray(like.shape, like.dtype, memory, -below, like.strides)

    def zeros(self, count: int, dtype: str) -> Any:
        return np.zeros(count, dtype)

    def product(self, x: Any, w: Any, bias: Any, relu: bool) -> Callable[..., None]:
        def multiply(x: Any, w: Any, *others: Any) -> None:
            np.matmul(x, w, out=others[-1])
            if bias is not None:
                np.add(others[-1], others[0], out=others[-1])
            if relu:
                np.maximum(others[-1], 0, out=others[-1])

        return multiply

    def copy(self, x: Any) -> Any:
        return np.array(x, order="K")

    def copy_into(self, out: Any, x: Any) -> None:
        np.copyto(out, x)

    def capture(self, function: Callable[[], list[Any]]) -> Any:
        if self.refuses:
            raise RuntimeError(self.refuses)
        self.graphs += 1
        return EmulatedGraph(self, function)

    def synchronize(self) -> None:
        pass


class EmulatedGraph:
    """Does again what a function did, with the same arrays and numbers."""

    def __init__(self, device: EmulatedDevice, function: Callable[[], list[Any]]) -> None:
        self._device, self._function = device, function
        self.outputs: list[Any] = []

    def launch(self) -> None:
        self._device.launches += 1
        self.outputs[:] = self._function()


@pytest.fixture
def device(emulator: Emulator) -> EmulatedDevice:
    return EmulatedDevice(emulator)
