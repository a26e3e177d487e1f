"""PyTorch, as an array library: its own autograd is not used."""

from __future__ import annotations

from typing import Any

from xpnet.backend import Backend

from .. import pip_install  # noqa: TID252 - see there

__all__ = ["TorchBackend"]


class TorchBackend(Backend):
    """Tensors of PyTorch."""

    name = "torch"
    title = "PyTorch"
    package = "torch"
    install = pip_install("torch")

    def namespace(self) -> Any:
        """See `Backend.namespace`."""
        import array_api_compat.torch as xp

        return xp

    def array_types(self, library: Any) -> tuple[type, ...]:
        """See `Backend.array_types`."""
        return (library.Tensor,)

    def devices(self) -> list[Any]:
        """See `Backend.devices`."""
        import torch

        gpus = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
        return [torch.device("cpu"), *gpus]

    def from_host(self, array: Any, *, device: Any = None) -> Any:
        """See `Backend.from_host`."""
        import torch

        return torch.tensor(array.copy(), device=device)  # strides of its own may be negative

    def to_host(self, array: Any) -> Any:
        """See `Backend.to_host`."""
        array = array.detach().resolve_conj().resolve_neg()  # which are flags until then
        return array.cpu().numpy().copy()

    def copy(self, array: Any) -> Any:
        """See `Backend.copy`; leaves PyTorch's own autograd behind."""
        return array.detach().clone()

    def engine(self, program: Any) -> Any:
        """See `Backend.engine`: the whole program is compiled where there is a compiler."""
        from .engine import print_compiled

        return print_compiled(program)

    def add_at(self, array: Any, values: Any, positions: Any) -> Any:
        """See `Backend.add_at`."""
        return array.index_add_(0, positions, values)

    def synchronize(self) -> None:
        """See `Backend.synchronize`."""
        import torch

        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
