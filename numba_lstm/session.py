"""Sessions: a model one timestep a call, its states kept in between."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from numba_lstm.backends.cpu import policy, threads
from numba_lstm.backends.cpu.packing import PackedCell, PackedDense
from numba_lstm.backends.cpu.streaming import StreamingPlan
from numba_lstm.checks import check_int, shown
from numba_lstm.errors import ConfigError, ShapeError
from numba_lstm.inputs import as_array, as_float_array
from numba_lstm.layers import RNN
from numba_lstm.layers.call import Array
from numba_lstm.layers.layer import Layer
from numba_lstm.layers.stages import stages_of
from numba_lstm.layers.states import checked_states

if TYPE_CHECKING:
    from numba_lstm.model import Sequential


class Session:
    """A model that takes one timestep a call and keeps its states in between; made by `Sequential.session`.

    It has the weights that the model had when it was made, and states of its own, zeros at first: other sessions of
    the model, and the recorded states of stateful layers, have nothing to do with it. Outputs and states are those of
    the model called with the whole sequence, bit for bit. One session belongs to one thread at a time: used from a
    second one meanwhile, it raises `ConfigError` there. After a Ctrl-C its states are those before or after the step
    that it came in, for all cells and rows alike.
    """

    def __init__(self, model: Sequential, batch: int = 1) -> None:
        self._name = f"{model.name}: session"
        self.batch = check_int(batch, "batch", 1, 2**24)
        self._dtype = np.dtype(model.dtype)
        self.state_units = model.state_units
        stages = list(_stages(model))
        if not self.state_units:
            raise ConfigError(f"{model.name} has no LSTM or RNN layer; expected one or more; call the model instead")
        first, last = stages[0], stages[-1]
        self.input_dim = first.input_dim if isinstance(first, PackedDense) else first.cell.input_dim
        self.output_dim = last.units if isinstance(last, PackedDense) else last.cell.units
        self._inputs = np.zeros((self.batch, self.input_dim), self._dtype)
        self._outputs = np.zeros((self.batch, self.output_dim), self._dtype)
        self._places = {self._inputs.shape: (self._inputs, self._outputs)}
        if self.batch == 1:
            self._places[self._inputs[0].shape] = self._inputs[0], self._outputs[0]
        self._ranges = self._split(stages)
        self._parts = [
            StreamingPlan(stages, self._inputs[first:last], self._outputs[first:last], policy.GROUP)
            for first, last in self._ranges
        ]
        # Empty while a thread has the session. Taking the entry and putting it back are single instructions without a
        # call, between which and a `try` no Ctrl-C comes; a lock takes longer.
        self._free: list[None] = [None]
        self._finish: Callable[[], None] | None = None  # brings to its end what a Ctrl-C has interrupted
        _sessions.add(self)
        is_one_call = len(self._parts) == 1 and self._parts[0].is_one_call
        self._run = self._parts[0].run if is_one_call else self._run_several

    def step(self, x: Any) -> Array:
        """The outputs (batch, output_dim) for one timestep `x` (batch, input_dim), an array of their own.

        In a session of one row `x` may be (input_dim,), and the outputs are (output_dim,) then. An array of the model's
        dtype is taken as it is; others are cast as in a call of the model. Raises `ShapeError`, `DTypeError` and
        `DeviceError`, and leaves the states alone then.
        """
        place = self._places.get(x.shape) if type(x) is np.ndarray and x.dtype == self._dtype else None
        if place is None:
            x, place = self._checked(x)
        inputs, outputs = place
        free = self._free
        try:
            del free[0]
        except IndexError:
            raise self._used_elsewhere() from None
        try:
            if self._finish is not None:
                self._finish()
            inputs[...] = x
            self._run()
            return outputs.copy()
        finally:
            free += FREE

    def _run_several(self) -> None:
        """A step of several kernel calls, on several threads where there are several parts."""
        self._finish = partial(self._finish_step, self._parts[0].turn)
        threads.run(self._run_parts, [(number, number + 1) for number in range(len(self._parts))])
        self._finish = None

    def _run_parts(self, first: int, last: int) -> None:
        for part in self._parts[first:last]:
            part.run()

    def _finish_step(self, turn: int) -> None:
        for part in self._parts:
            part.finish(turn)
        self._finish = None

    def _used_elsewhere(self) -> ConfigError:
        return ConfigError(
            f"{self._name} is used by another thread at this moment; expected one thread at a time; "
            "make a session for each thread"
        )

    def _refuse_torn(self) -> None:
        raise ConfigError(
            f"{self._name} was in the midst of a step in another thread when this process was forked; expected one at "
            "rest; reset() it or set its state"
        )

    def _after_fork(self) -> None:
        """In a child: who held the guard is not there any more."""
        if not self._free:
            self._free, self._finish = [None], self._refuse_torn

    @contextmanager
    def _at_rest(self, begin_anew: Callable[[], None] | None = None) -> Iterator[list[list[Array]]]:
        """The states of each part, for reading, while no step changes them.

        begin_anew: writes all states first.
        """
        free = self._free
        try:
            del free[0]
        except IndexError:
            raise self._used_elsewhere() from None
        try:
            if begin_anew is not None:
                self._finish = begin_anew
            if self._finish is not None:
                self._finish()
            yield [part.states() for part in self._parts]
        finally:
            free += FREE

    def _write(self, chosen: Array, states: Sequence[Array] | None) -> None:
        """Set the states of the rows that are chosen, (batch,) booleans, to zero or to `states`."""
        for (first, last), part in zip(self._ranges, self._parts, strict=True):
            if chosen.all():
                part.align()
            for number, kept in enumerate(part.states()):
                rows = chosen[first:last]
                kept[rows] = 0 if states is None else states[number][first:last][rows]
        self._finish = None

    @property
    def state(self) -> list[Array]:
        """The states h, c, h, c, ... of every cell, the lowest first, (batch, units) each: copies.

        Setting it takes the same, or one pair [h, c] a cell, of any real dtype. Raises `ShapeError`, `DTypeError`.
        """
        with self._at_rest() as parts:
            return [np.concatenate(states) for states in zip(*parts, strict=True)]

    @state.setter
    def state(self, value: Any) -> None:
        states = checked_states(value, f"{self._name}: state", self.state_units, self.batch, self._dtype.name)
        with self._at_rest(partial(self._write, np.ones(self.batch, np.bool_), states)):
            pass

    def reset(self, rows: Any = None) -> None:
        """Set the states of all rows to zero, or of some: a row's number, several, or booleans (batch,).

        Raises `ConfigError` for numbers outside the batch and for what is neither, `ShapeError` for other booleans.
        """
        if rows is None:
            with self._at_rest(partial(self._write, np.ones(self.batch, np.bool_), None)):
                return
        chosen = self._chosen(rows)
        with self._at_rest():
            self._finish = partial(self._write, chosen, None)
            self._finish()

    def __reduce__(self) -> Any:
        """The compiled step knows its memory by address, which a copy or another process does not have."""
        raise TypeError(
            f"{self._name} cannot be copied or pickled; make another one with model.session() and set its state"
        )

    def _checked(self, x: Any) -> tuple[Array, tuple[Array, Array]]:
        name = f"{self._name}: x"
        array = as_float_array(x, name, self._dtype.name)
        if array.shape not in self._places:
            single = f" or ({self.input_dim},)" if self.batch == 1 else ""
            raise ShapeError(
                f"{name} has shape {array.shape}; expected {(self.batch, self.input_dim)}{single} = "
                "(batch, input_dim), one timestep"
            )
        return array, self._places[array.shape]

    def _chosen(self, rows: Any) -> Array:
        name = f"{self._name}: rows"
        array = as_array(rows, name)
        if array.dtype.kind == "b":
            if array.shape != (self.batch,):
                raise ShapeError(
                    f"{name} has shape {array.shape}; expected booleans of shape ({self.batch},) = (batch,)"
                )
            return array
        if array.size and array.dtype.kind not in "iu":
            raise ConfigError(f"{name} is {shown(rows)}; expected numbers of rows, booleans (batch,) or None")
        if array.size and not 0 <= array.min() <= array.max() < self.batch:
            raise ConfigError(f"{name} is {shown(rows)}; expected numbers of rows from 0 to {self.batch - 1}")
        chosen = np.zeros(self.batch, np.bool_)
        chosen[array.astype(np.intp)] = True
        return chosen

    def _split(self, stages: list[Any]) -> list[tuple[int, int]]:
        """Ranges of rows, one per thread if the step of a cell is long enough to share, more if it is very long."""
        shapes = [stage if isinstance(stage, PackedDense) else stage.cell for stage in stages]
        work = self.batch * sum(4 * shape.units * (shape.input_dim + shape.units) for shape in shapes)
        return policy.session_ranges(self.batch, work, threads.get_num_threads())


FREE = [None]  # see Session._free
_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


def _begin_anew() -> None:
    for session in _sessions:
        session._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def _stages(model: Sequential) -> Iterator[PackedCell | PackedDense]:
    """The stages of a `StreamingPlan`. Raises `ConfigError` for a layer that cannot go timestep by timestep."""
    width = model.input_dim or 0
    for layer in model.layers:
        if isinstance(layer, RNN) and layer.go_backwards:
            raise ConfigError(
                f"{layer.name} has go_backwards=True; expected a layer that reads forward in a session; "
                "call the model with whole sequences instead"
            )
        stages = stages_of(layer, width, model.dtype)
        if stages is None:
            raise ConfigError(_refusal(layer))
        for stage in stages:
            yield stage if isinstance(stage, PackedDense) else stage.cell
            width = stage.units


def _refusal(layer: Layer) -> str:
    return (
        f"{layer.name} is a layer {type(layer).__name__}; expected LSTM, RNN, Dense, TimeDistributed(Dense), "
        "Activation and Dropout in a session; call the model with whole sequences instead"
    )
