"""The targets of a classification: what they may be, what they weigh, which are wrong."""

from __future__ import annotations

from functools import cached_property

from xpnet._typing import Array, HostArray, Namespace
from xpnet.losses.reduction import Reduction, reduce, weigh
from xpnet.namespace import has_dtype, one_place
from xpnet.special.indices import one_hot, widen
from xpnet.transfer import to_host

__all__ = ["Labels", "check_labels"]


def check_labels(labels: Array, classes: int, *, ignore_index: int | None = None) -> None:
    """Check that every label is the index of a class.

    Meant for a whole data set, once: it copies the labels to the host and waits for the device,
    which a loss must not do at every step.

    Parameters
    ----------
    labels : array, integer
        Any shape.
    classes : int
        How many classes there are.
    ignore_index : int, optional
        A value that is allowed besides.

    Raises
    ------
    ValueError
        If a label is outside of ``[0, classes)``; the message names the first such label, its
        position, and `ignore_index` if that seems to be meant.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.losses.check_labels(xn.asarray([0, 2, 10]), 10)
    Traceback (most recent call last):
    ...
    ValueError: check_labels: expected labels in [0, 10), got 10 at position 2; 1 of 3 is wrong
    """
    flat: HostArray = to_host(labels).ravel()
    wrong = (flat < 0) | (flat >= classes)
    if ignore_index is not None:
        wrong &= flat != ignore_index
    count = int(wrong.sum())
    if count == 0:
        return
    first = int(wrong.argmax())
    value = int(flat[first])
    hint = f". If {value} marks samples to ignore, pass ignore_index={value}" if value < 0 else ""
    raise ValueError(
        f"check_labels: expected labels in [0, {classes}), got {value} at position {first}; "
        f"{count} of {flat.size} {'is' if count == 1 else 'are'} wrong{hint}"
    )


class Labels:
    """The targets of a classification loss: indices or probabilities, with their weights."""

    def __init__(
        self,
        xp: Namespace,
        loss: str,
        scores: Array,
        targets: Array,
        class_weight: Array | None,
        ignore_index: int | None,
    ) -> None:
        self.xp, self.loss, self.dtype = xp, loss, scores.dtype
        self.classes = scores.shape[-1]
        self.indexed = has_dtype(targets, "integral")
        self.ignore_index = ignore_index
        shape = tuple(scores.shape)
        if not self.indexed and not has_dtype(targets, "real floating"):
            raise TypeError(
                f"{loss}: expected integer class indices or floating-point probabilities as "
                f"targets, got dtype {targets.dtype}"
            )
        if self.indexed and tuple(targets.shape) != shape[:-1]:
            raise ValueError(
                f"{loss}: expected class indices of shape {shape[:-1]} for scores of shape "
                f"{shape}, got {tuple(targets.shape)}"
            )
        if not self.indexed and tuple(targets.shape) != shape:
            raise ValueError(
                f"{loss}: expected probabilities of the scores' shape {shape}, got "
                f"{tuple(targets.shape)}; class indices must have an integer dtype"
            )
        if not self.indexed and ignore_index is not None:
            raise ValueError(f"{loss}: ignore_index needs class indices as targets")
        if class_weight is not None:
            one_place(loss, scores, class_weight)
        targets = xp.asarray(targets)  # one that was closed over is traced like the scores
        if class_weight is not None and tuple(class_weight.shape) != (self.classes,):
            raise ValueError(
                f"{loss}: expected class_weight of shape ({self.classes},), got "
                f"{tuple(class_weight.shape)}"
            )
        self.class_weight = (
            None
            if class_weight is None
            else xp.astype(xp.asarray(class_weight), self.dtype, copy=False)
        )
        self.targets = widen(targets) if self.indexed else targets

    @cached_property
    def hard(self) -> Array:
        """The targets as probabilities: of an index, zeros with a one."""
        xp = self.xp
        if not self.indexed:
            return xp.astype(self.targets, self.dtype, copy=False)
        valid = is_class(self.targets, self.classes)
        hard = one_hot(self.targets, self.classes)
        if self.ignore_index is not None:
            kept = self.targets != self.ignore_index
            valid = valid | ~kept
            hard = hard & xp.expand_dims(kept, axis=-1)
        hard = xp.astype(hard, self.dtype)
        return xp.where(xp.expand_dims(valid, axis=-1), hard, xp.full_like(hard, xp.nan))

    def are_plain(self, smoothing: float) -> bool:
        """Tell whether these are indices, each of which counts as any other."""
        changed = smoothing or self.class_weight is not None or self.ignore_index is not None
        return self.indexed and not changed

    def distribution(self, smoothing: float) -> Array:
        """Return what the log-probabilities are multiplied by: targets, smoothed and weighted."""
        q = self.hard
        if smoothing:
            q = q * (1 - smoothing) + smoothing / self.classes
            kept = self._kept()
            if kept is not None:
                q = q * self.xp.expand_dims(kept, axis=-1)
        return q if self.class_weight is None else q * self.class_weight

    def counted(self, scores: Array) -> Array:
        """Return the scores, zeros for the samples that are ignored, whatever theirs are."""
        if self.ignore_index is None:
            return scores
        ignored = self.xp.expand_dims(self.targets == self.ignore_index, axis=-1)
        return self.xp.where(ignored, self.xp.zeros_like(scores), scores)

    def _kept(self) -> Array | None:
        """Return 0 for the samples that are ignored and 1 for the others."""
        if self.ignore_index is None:
            return None
        return self.xp.astype(self.targets != self.ignore_index, self.dtype)

    def reduce(self, values: Array, sample_weight: Array | None, reduction: Reduction) -> Array:
        """Weigh and reduce the losses of the samples."""
        xp = self.xp
        values, weight = weigh(self.loss, values, sample_weight)
        if self.class_weight is not None:
            own = xp.sum(self.hard * self.class_weight, axis=-1)
            weight = own if weight is None else own * weight
        kept = self._kept()
        if kept is not None:
            weight = kept if weight is None else kept * weight
        return reduce(self.loss, values, weight, reduction)


def is_class(indices: Array, classes: int) -> Array:
    """Tell for each index whether there is such a class.

    A wrong index makes its own loss and gradient nan, on every library and without a sync.
    """
    return (indices >= 0) & (indices < classes)
