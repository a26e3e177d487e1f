"""Trainer: the training loop, with hooks."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Literal

from xpnet import checkpoint, program
from xpnet import metrics as metrics_
from xpnet._typing import Array
from xpnet.autodiff import value_and_grad
from xpnet.callbacks.callback import Callback, arranged
from xpnet.checks import positive
from xpnet.data.loader import Loader
from xpnet.metrics import Metric
from xpnet.namespace import array_namespace
from xpnet.nn import Module
from xpnet.nn.modes import evaluating
from xpnet.optim import Optimizer
from xpnet.random import Generator
from xpnet.random.generator import undrawn
from xpnet.train.batches import Batch, Batches, class_weights
from xpnet.train.history import History
from xpnet.train.interrupt import interruptible
from xpnet.train.measures import Measures, read
from xpnet.train.place import place
from xpnet.train.progress import progress
from xpnet.train.random_state import generators, load_random_state, random_state

__all__ = ["Trainer"]

CTRL_C = "Ctrl-C"
_LARGE = 1024  # samples at a time where no gradient is taken


class Trainer:
    """Train a model: a loop over epochs and batches, with named hooks.

    Parameters
    ----------
    model : Module
        What is trained. Computing happens where its arrays are.
    loss : callable
        ``loss(outputs, targets)`` returns the mean loss of a batch, as those in `xpnet.losses`
        do; it must take ``sample_weight=`` too if weights are used.
    optimizer : Optimizer
        Makes the updates.
    metrics : sequence of str, Metric or callable, optional
        Such as ``["accuracy"]``; see `xpnet.metrics`. A function of outputs and targets is
        averaged over the samples.
    compile : bool, optional
        Whether the step is recorded and run by the engine of the array library; see
        `xpnet.compile`. The numbers are the same. Callbacks that look at gradients need False.

    Attributes
    ----------
    epoch, batch, steps : int
        Whole epochs that are done, batches of the present one, and batches of all epochs.
    history : History
        Of the last training.
    batch_data : Batch
        The batch that is being computed: ``x``, ``y`` and ``weight``.
    keys : list of str
        What is going to be measured.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If no metric has that name, or two have the same.

    Notes
    -----
    Data may be a pair of arrays ``(x, y)``, three with the weights of the samples, a
    `xpnet.data.Loader`, or anything that yields such tuples batch by batch. Arrays are moved to
    where the model is, and floating-point ones are converted to its dtype.

    Losses and metrics are summed up where the arrays are; their values are read once an epoch, in
    one copy to the host. Metrics count every sample alike, whatever its weight. The model is called
    with one array, and with the weights that the optimizer updates: those of `xpnet.optim.Average`
    are measured within ``with optimizer.averaged(model)``.

    Examples
    --------
    >>> import xpnet as xn
    >>> from xpnet import losses, nn, optim
    >>> train, test = xn.data.digits()
    >>> x, y = xn.asarray(train.images / 255, dtype="float32"), xn.asarray(train.labels)
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    >>> trainer = xn.Trainer(model, losses.cross_entropy, optim.Adam(1e-2), metrics=["accuracy"])
    >>> history = trainer.fit((x, y), epochs=2, verbose=0)
    >>> history["loss"][1] < history["loss"][0]
    True
    >>> sorted(trainer.evaluate((test.images / 255, test.labels)))
    ['accuracy', 'loss']
    """

    epoch: int
    batch: int
    steps: int
    history: History
    stopped: str | None
    batch_data: Batch
    _order: dict[str, dict[str, int]]  # where the generators were before this epoch's order
    _generators: dict[str, Generator]
    _measures: Measures

    def __init__(
        self,
        model: Module,
        loss: Callable[..., Array],
        optimizer: Optimizer,
        *,
        metrics: Sequence[str | Metric | Callable[[Array, Array], Array]] = (),
        compile: bool = False,
    ) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"Trainer: expected a Module as model, got {type(model).__name__}")
        if not callable(loss):
            raise TypeError(
                "Trainer: expected a function as loss, such as losses.cross_entropy, got "
                f"{type(loss).__name__}"
            )
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                "Trainer: expected an optimizer such as optim.Adam(1e-3), got "
                f"{type(optimizer).__name__}"
            )
        if isinstance(metrics, str):
            raise TypeError(f"Trainer: expected a list of metrics, got {metrics!r}; [{metrics!r}]?")
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self._metrics = [metrics_.get(metric) for metric in metrics]
        self._names = ["loss", *(metric.name for metric in self._metrics)]
        if len(set(self._names)) != len(self._names):
            raise ValueError(f"Trainer: two metrics have the same name: {', '.join(self._names)}")
        self.keys = self._names
        self._compiled = program.compile(self._whole_step) if compile else None
        self._callbacks: dict[str, Callback] = {}
        self._classes: int | None = None
        self._begin(None)

    def fit(
        self,
        data: Any,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        rng: Generator | None = None,
        validation_data: Any = None,
        validation_freq: int = 1,
        validation_unit: Literal["epoch", "step"] = "epoch",
        class_weight: Array | Mapping[int, float] | None = None,
        sample_weight: Array | None = None,
        callbacks: Iterable[Callback | Callable[..., Any]] = (),
        verbose: str | int = "auto",
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train the model.

        Parameters
        ----------
        data : tuple of array, Loader or iterable
            What to train on; see Notes of the class.
        epochs : int, optional
            How often all of it is used, those before `resume` included.
        batch_size, shuffle, rng : optional
            How arrays are made into batches; see `xpnet.data.Loader`, which has its own.
        validation_data : optional
            As `data`; measured without training on it, and without `class_weight`.
        validation_freq : int, optional
            How many epochs, or steps, lie between two validations.
        validation_unit : {"epoch", "step"}, optional
            What `validation_freq` counts.
        class_weight : array or dict, optional
            Weight of each class: the weights of samples are multiplied by that of their class.
            A batch whose weights are all 0 has no mean, so its loss and gradients are nan.
        sample_weight : array, shape (samples,), optional
            Weight of each sample, where `data` is a pair of arrays.
        callbacks : iterable of Callback or callable, optional
            Their hooks are called; a function ``f(trainer, logs)`` is called after every epoch.
        verbose : {"auto", 0, 1, 2}, optional
            Nothing, a progress bar and a line for each epoch, or the lines only. By default the
            bar is there on a terminal, if rich is installed.
        resume : path, optional
            A checkpoint that `xpnet.callbacks.Checkpoint` has written in a training with the
            same arguments; this one continues it as if it had never been interrupted.

        Returns
        -------
        History
            What was measured; its attribute `stopped` tells why training ended early, if it did.

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong; where it can be known, before anything is changed.
        DataError
            If the checkpoint is missing or damaged; nothing is changed then.

        Notes
        -----
        The model is switched to training. Ctrl-C lets the step be finished, then the training
        ends as usual: callbacks are told, the best weights are restored by `EarlyStopping`, the
        history is returned. A second Ctrl-C raises KeyboardInterrupt at once.
        """
        where = "Trainer.fit"
        positive(where, epochs=epochs, validation_freq=validation_freq)
        if validation_unit not in ("epoch", "step"):
            raise ValueError(
                f'{where}: validation_unit must be "epoch" or "step", got {validation_unit!r}'
            )
        if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
            raise TypeError(
                f"{where}: expected a list of callbacks, got {type(callbacks).__name__}; write "
                "callbacks=[...]"
            )
        of_classes = class_weights(where, class_weight)
        batches = Batches(
            where,
            data,
            place=self._place,
            batch_size=batch_size,
            shuffle=shuffle,
            rng=rng,
            sample_weight=sample_weight,
            class_weight=of_classes,
        )
        if validation_unit == "step" and not len(batches):
            raise ValueError(f'{where}: validation_unit="step" needs data with a length')
        validation = None
        if validation_data is not None:
            size = max(batch_size, _LARGE)
            validation = Batches(where, validation_data, place=self._place, batch_size=size)
        self._validation, self._freq, self._unit = validation, validation_freq, validation_unit
        self.epochs, self.batches = epochs, len(batches)
        self._classes = None if of_classes is None else of_classes.shape[0]
        self.keys = self._names + [f"val_{name}" for name in self._names if validation is not None]
        self._callbacks = arranged([*progress(verbose), *callbacks])
        if self._compiled is not None:
            _check_gradients_are_not_asked_for(self._callbacks)
        self._begin(batches.rng)
        if resume is not None:
            if any(module.is_waiting() for _, module in self.model.modules()):
                with undrawn():
                    self._initialize(batches.from_(0))
            checkpoint.load(resume, self.model, self.optimizer, trainer=self)
        self.model.train()
        with interruptible() as wishes, ExitStack() as ends:
            for callback in self._callbacks.values():
                callback.on_fit_begin(self)
                ends.callback(callback.on_fit_end, self)  # even if that of another one fails
            while self.epoch < epochs and self._going_on():
                self._call("on_epoch_begin")
                if self._train(batches, wishes):
                    self._end_epoch()
                    if wishes:  # during the validation, or in a callback
                        self.stop(CTRL_C)
        self.history.stopped = self.stopped
        return self.history

    def _train(self, batches: Batches, wishes: list[bool]) -> bool:
        """Train on the batches of an epoch; return whether it was done to its end."""
        step = self._step
        for batch in self._ordered(batches):
            self.batch_data = batch
            if self._compiled is not None:
                loss, outputs = self._compiled(self.model, self.optimizer, *batch)
            else:
                (loss, outputs), grads = step(self.model, *batch)
                self._call("on_gradients", loss, grads)
                if not self._going_on():
                    return False  # before anything is changed
                self.optimizer.update(self.model, grads)
            self._measures.add(batch, loss, outputs)
            self.batch += 1
            self.steps += 1
            validation = self._validation
            if self._unit == "step" and validation is not None and self.steps % self._freq == 0:
                self._validate_within_epoch(validation)
            self._call("on_batch_end", loss)
            if wishes:
                self.stop(CTRL_C)
            if not self._going_on():
                return False
        if self.batch == 0:
            again = "; an iterator can be used once, a list or a class with __iter__ every epoch"
            raise ValueError(f"Trainer.fit: the data has no batches{again if self.steps else ''}")
        return True

    def _ordered(self, batches: Batches) -> Iterator[Batch]:
        """Yield the batches of an epoch, after a resume those that are left of it."""
        now = random_state(self._generators)
        if self.batch:
            load_random_state(self._generators, self._order)  # to draw the same order again
        else:
            self._order = now
        rest = batches.from_(self.batch)
        if self.batch:
            load_random_state(self._generators, now)
        return itertools.chain(self._initialize(rest), rest)

    def _initialize(self, batches: Iterator[Batch]) -> list[Batch]:
        """Let layers take their width from the first batch; return it, if there is one."""
        first = list(itertools.islice(batches, 1))
        for batch in first:
            self.model.initialize(batch.x)
        return first

    def _validate_within_epoch(self, validation: Batches) -> None:
        logs = read(self._evaluate(validation, "val_"))
        self.history.record(logs, self.epoch + self.batch / self.batches)
        self._call("on_validation_end", logs)

    def _end_epoch(self) -> None:
        """Validate, note what was measured and start counting anew."""
        results = self._measures.compute()
        self.epoch += 1
        validation = self._validation
        if self._unit == "epoch" and validation is not None and self.epoch % self._freq == 0:
            results |= self._evaluate(validation, "val_")
        logs = read(results)  # the only wait for the device in an epoch
        self.history.record(logs, float(self.epoch))
        self.batch, self._measures = 0, Measures(self._metrics)
        self._call("on_epoch_end", logs)

    def stop(self, reason: str) -> None:
        """End the training after the step, or the hook, that is being done.

        Parameters
        ----------
        reason : str
            What stopped it, for the history and the user.
        """
        self.stopped = reason

    def evaluate(
        self, data: Any, *, batch_size: int = _LARGE, sample_weight: Array | None = None
    ) -> dict[str, float]:
        """Measure loss and metrics, with the model switched to evaluation meanwhile.

        Parameters
        ----------
        data : tuple of array, Loader or iterable
            What to measure on; see Notes of the class.
        batch_size : int, optional
            Samples that are computed together, for arrays.
        sample_weight : array, shape (samples,), optional
            Weight of each sample in the loss, where `data` is a pair of arrays.

        Returns
        -------
        dict from str to float
            The ``"loss"`` and each metric.

        Raises
        ------
        TypeError, ValueError
            If the data are none, or without a batch, or do not fit the model.
        """
        options: dict[str, Any] = {"batch_size": batch_size, "sample_weight": sample_weight}
        return read(self._evaluate(Batches("Trainer.evaluate", data, place=self._place, **options)))

    def predict(self, x: Array, *, batch_size: int = _LARGE) -> Array:
        """Compute the outputs of the model, switched to evaluation meanwhile.

        Parameters
        ----------
        x : array, shape (samples, ...)
            Inputs, of any library.
        batch_size : int, optional
            Samples that are computed together.

        Returns
        -------
        array, shape (samples, ...)
            Of the library and device of the model: what its last layer computes, such as logits.

        Raises
        ------
        TypeError, ValueError
            If `x` is no array of samples, or does not fit the model.
        """
        samples = Loader((self._place(x),), batch_size)
        if not samples:
            raise ValueError(f"Trainer.predict: expected samples, got none: shape {tuple(x.shape)}")
        with evaluating(self.model):
            outputs = [self.model(part) for (part,) in samples]
        return outputs[0] if len(outputs) == 1 else array_namespace(*outputs).concat(outputs)

    def state_dict(self) -> dict[str, Any]:
        """Return all that a training must know to be continued, besides model and optimizer.

        Returns
        -------
        dict
            Position, history, random generators, sums of this epoch, and the callbacks' states.
        """
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "steps": self.steps,
            "stopped": None if self.stopped == CTRL_C else self.stopped,
            "history": self.history.state_dict(),
            "order": self._order,
            "random": random_state(self._generators),
            "measures": self._measures.state_dict(),
            "callbacks": {name: each.state_dict() for name, each in self._callbacks.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the training that gave `state`; `fit` does this, for its argument `resume`.

        Parameters
        ----------
        state : mapping
            From `state_dict`.

        Raises
        ------
        ValueError
            If it belongs to a training with other metrics or random generators.

        Notes
        -----
        Callbacks that were not there when it was saved start anew, the state of those that are
        not there any more is left out.
        """
        self.history.load_state_dict(state["history"])
        load_random_state(self._generators, state["random"])
        self._measures.load_state_dict(state["measures"], self._place)
        for name in self._callbacks.keys() & state["callbacks"].keys():
            self._callbacks[name].load_state_dict(state["callbacks"][name])
        self.epoch, self.batch, self.steps = (int(state[k]) for k in ("epoch", "batch", "steps"))
        self.stopped, self._order = state["stopped"], state["order"]

    def _begin(self, order: Generator | None) -> None:
        """Forget the last training, and get ready for another."""
        self.epoch = self.batch = self.steps = 0
        self.stopped = None
        self.history = History()
        self._measures = Measures(self._metrics)
        self._generators = generators(self.model, order)
        self._order = random_state(self._generators)

    def _going_on(self) -> bool:
        return self.stopped is None

    def _call(self, hook: str, *args: Any) -> None:
        for callback in self._callbacks.values():
            getattr(callback, hook)(self, *args)

    def _place(self, array: Array) -> Array:
        return place(array, self.model)

    def _forward(
        self, model: Module, x: Array, y: Array, weight: Array | None
    ) -> tuple[Array, Array]:
        outputs = model(x)
        if self._classes is not None and outputs.ndim == 2 and y.ndim == 1:
            _check_classes(self._classes, outputs.shape[1])
        weights = {} if weight is None else {"sample_weight": weight}
        return self.loss(outputs, y, **weights), outputs

    @property
    def _step(self) -> Any:
        """What returns loss and outputs, and the gradients; it is no part of a copy or pickle."""
        return value_and_grad(self._forward, has_aux=True)

    def _whole_step(
        self, model: Module, optimizer: Optimizer, x: Array, y: Array, weight: Array | None
    ) -> tuple[Array, Array]:
        """Make one step; what `compile` records."""
        (loss, outputs), grads = self._step(model, x, y, weight)
        optimizer.update(model, grads)
        return loss, outputs

    def _evaluate(self, batches: Batches, prefix: str = "") -> dict[str, Array]:
        """Return the loss and the metrics, where the arrays are."""
        measures, batch = Measures(self._metrics), None
        with evaluating(self.model):
            for batch in batches.from_(0):
                measures.add(batch, *self._forward(self.model, *batch))
        if batch is None:
            raise ValueError(
                "Trainer: the data to measure on has no batches; an iterator can be used once, a "
                "list or a class with __iter__ for every validation"
            )
        return measures.compute(prefix)


def _check_gradients_are_not_asked_for(callbacks: Mapping[str, Callback]) -> None:
    for name, callback in callbacks.items():
        if type(callback).on_gradients is not Callback.on_gradients:
            raise ValueError(
                f"Trainer.fit: {name} looks at gradients, which a compiled step keeps to itself; "
                "make the Trainer without compile=True"
            )


def _check_classes(weights: int, outputs: int) -> None:
    if weights != outputs:
        raise ValueError(
            f"Trainer.fit: expected a class_weight for each of the {outputs} classes of the "
            f"outputs, got {weights}"
        )
