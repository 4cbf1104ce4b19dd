"""Layers in a row: their shapes, weights and configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from numba_lstm.cell import LSTMCell
from numba_lstm.checks import check_keys, shown
from numba_lstm.errors import ConfigError, one_line
from numba_lstm.layers.base import Shape, check_batch_shape, check_weight_count, choose_dialect
from numba_lstm.layers.bidirectional import Bidirectional
from numba_lstm.layers.call import Array
from numba_lstm.layers.dropout import Dropout
from numba_lstm.layers.layer import Layer
from numba_lstm.layers.recurrent import Recurrent
from numba_lstm.layers.registry import layer_from_config, to_entry
from numba_lstm.layers.shaping import Flatten, InputLayer
from numba_lstm.semantics.config import serialize_dtype
from numba_lstm.semantics.dialects import Dialect
from numba_lstm.semantics.settled import Settled
from numba_lstm.semantics.sizes import check_outputs, check_weights, walk


class ModelLayers(Settled):
    """The layers, weights and configuration of `Sequential`, without the computation."""

    def __init__(self, layers: Iterable[Layer] | None = None, name: str | None = None) -> None:
        self.name = name or "sequential"
        self._layers: list[Layer] = []
        self._recurrent: list[Recurrent] = []  # those of them that have states
        self.input_layer: InputLayer | None = None
        self.source: Any = None  # what a file reader says about where the model came from
        self._batch_shape: Shape | None = None
        self._shape_behind: Any = None  # of the outputs of the last layer, as far as _batch_shape tells
        self._any_timesteps = False  # those of _batch_shape are the ones of a first call, no others were asked for
        self._built = False
        self._dtype = "float32"
        self._fitting: tuple[int, ...] | None = None  # a shape of inputs that was found to fit the model, and memory
        for layer in layers or ():
            self.add(layer)

    def add(self, layer: Layer) -> None:
        """Put `layer` at the end. Raises `ConfigError` for another dialect or a name that is taken."""
        if not isinstance(layer, Layer):
            raise ConfigError(f"{self.name}: layer is {shown(layer)}; expected a layer, such as LSTM(32)")
        if self._layers and layer.dialect != self.dialect:
            raise ConfigError(
                f"{layer.name} is of the dialect {layer.dialect!r}; expected {self.dialect!r}, that of the layers "
                "before it; make them with the same dialect="
            )
        # An InputLayer says more than the layer behind it, to which Keras 2 gives an open shape of its own.
        if not self._layers and layer.batch_input_shape is not None and self._batch_shape is None:
            self._batch_shape = layer.batch_input_shape
        if isinstance(layer, InputLayer):
            if self._layers or self.input_layer:
                raise ConfigError(f"{self.name}: InputLayer {layer.name} comes late; expected it first and once")
            self._settle(input_layer=layer)
            return
        self._settle_name(layer)
        shape = _first(self._shape_behind) if self._layers else self._batch_shape
        if shape is not None:
            with _naming(layer):
                self._shape_behind = layer.output_shape(shape)
                layer.expect(shape)
        self._layers.append(layer)
        self._changed()
        if isinstance(layer, Recurrent):
            self._recurrent.append(layer)
        if layer.dtype == "float64":
            self._dtype = "float64"
        self._built = False

    def _changed(self) -> None:
        """Forget what was found out about the layers and shapes of before."""
        self._fitting = None

    def _settle_name(self, layer: Layer) -> None:
        taken = {other.name for other in self._layers}
        if layer.name in taken:
            if layer.is_named:
                raise ConfigError(f"{self.name} has two layers named {layer.name!r}; expected each name once")
            names = (f"{layer.name}_{i}" for i in range(1, len(taken) + 1))
            layer._settle(name=next(name for name in names if name not in taken))

    # -- what the model is --

    @property
    def layers(self) -> list[Layer]:
        """The layers in order; the list is a copy: `add` puts layers at the end."""
        return list(self._layers)

    @property
    def trainable(self) -> bool:
        """Whether a layer is trained. Setting it sets that of all layers, and of what is in them, as in Keras."""
        return any(layer.trainable for layer in self._layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self._layers:
            layer.trainable = value

    @property
    def timesteps(self) -> int | None:
        """How many timesteps the model was made for; None: any number."""
        return None if self.row_shape is None or self._any_timesteps else self.row_shape[0]

    @property
    def fixed_batch(self) -> int | None:
        """How many rows a batch had when the model was made; None: any number."""
        return None if self._batch_shape is None else self._batch_shape[1 if self.time_major else 0]

    @property
    def first_layer(self) -> Layer:
        """The layer that the inputs meet. Raises `ConfigError` if there are no layers."""
        layers = self._layers
        if not layers:
            raise ConfigError(f"{self.name} has no layers; expected one or more; add(...) them")
        return layers[0]

    @property
    def dialect(self) -> Dialect:
        """The dialect of the layers."""
        return self._layers[0].dialect if self._layers else "tf1"

    @property
    def dtype(self) -> str:
        """ "float64" if a layer is, "float32" otherwise."""
        return self._dtype

    @property
    def time_major(self) -> bool:
        """Whether the layers take and give (timesteps, batch, ...)."""
        return any([layer.time_major for layer in self._recurrent])

    @property
    def stateful(self) -> bool:
        """Whether a layer keeps its states from call to call."""
        return any([layer.stateful for layer in self._recurrent])

    @property
    def takes_indices(self) -> bool:
        """Whether the inputs are indices (batch, timesteps) for an `Embedding`."""
        return bool(self._layers) and self._layers[0].takes_indices

    @property
    def input_shape(self) -> Shape | None:
        """The shape of the inputs with the batch axis, None where an axis is open; None if nothing is known yet."""
        return self._batch_shape

    @property
    def row_shape(self) -> Shape | None:
        """(timesteps, input_dim), the shape of one row of the inputs, None where it is open or not known yet."""
        shape = self._batch_shape
        return shape and ((shape[0], *shape[2:]) if self.time_major else shape[1:])

    @property
    def input_dim(self) -> int | None:
        """The number of features that go in; None for indices, or if it is not known yet."""
        return None if self.takes_indices or not self.row_shape else self.row_shape[-1]

    @property
    def output_shape(self) -> Any:
        """The shape of the outputs with the batch axis, in a list where there are several; None if not known."""
        shape: Any = self._batch_shape
        for layer in self._layers if shape is not None else ():
            shape = layer.output_shape(_first(shape))
        return shape

    @property
    def recurrent_layers(self) -> list[Recurrent]:
        """The layers that have states."""
        return list(self._recurrent)

    @property
    def state_units(self) -> list[int]:
        """The units of every cell, in the order of the states: two arrays (batch, units) for each."""
        return [cell.units for cell in self.cells]

    @property
    def cells(self) -> list[LSTMCell]:
        """All cells, in the order of the states."""
        return [cell for layer in self.recurrent_layers for cell in layer.cells]

    # -- weights --

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Make the weights for inputs of `input_shape`, batch axis included, or of the shape that is known already.

        Raises `ShapeError` where a layer does not fit the one before it.
        """
        _ = self.first_layer
        shape: Any = input_shape if input_shape is not None else self._batch_shape
        if shape is None:
            raise ConfigError(f"{self.name}: the input shape is not known; call build((None, timesteps, input_dim))")
        batch_shape = shape = check_batch_shape(shape, self.name)
        self._check_time_axes()
        check_outputs(self._layers, shape, self.dtype)
        new = 0
        for layer, before, _ in walk(self._layers, shape):  # all of them, before a weight of any is drawn
            with _naming(layer):
                new = check_weights(layer, before, self.dtype, new)
        for layer in self._layers:
            with _naming(layer):
                layer.build(shape)
            shape = layer.output_shape(shape)
            if layer is not self._layers[-1]:
                self.check_one_output(layer)
                shape = _first(shape)
        self._batch_shape, self._shape_behind, self._built = batch_shape, shape, True
        self._changed()
        self._any_timesteps = self._any_timesteps and input_shape is None

    def check_one_output(self, layer: Layer) -> None:
        """Raise `ConfigError` where `layer` gives two outputs and one is needed."""
        if isinstance(layer, Bidirectional) and layer.merge_mode is None:
            raise ConfigError(
                f"{layer.name} has two outputs (merge_mode=None); expected one; use a merge_mode such as 'concat'"
            )

    def _check_time_axes(self) -> None:
        if len({layer.time_major for layer in self.recurrent_layers}) > 1:
            raise ConfigError(f"{self.name}: time_major differs between the layers; expected the same in all of them")
        if self.time_major and any(isinstance(layer, Dropout) and layer.rate > 0 for layer in self._layers):
            raise ConfigError(
                f"{self.name}: Dropout beside layers with time_major=True is not supported; "
                "expected time_major=False; swap the first two axes of the inputs"
            )

    def weight_names(self) -> list[str]:
        """``layer/weight``, in the order of `get_weights`."""
        return [f"{layer.name}/{name}" for layer in self._layers for name in layer.weight_names()]

    def get_weights(self) -> list[Array]:
        """Copies of the weights of all layers, in order."""
        return [weight for layer in self._layers for weight in layer.get_weights()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Take over the weights of all layers, in the order of `get_weights`; a model need not be built for that."""
        check_weight_count(self.name, weights, self.weight_names())
        start = 0
        for layer in self._layers:
            stop = start + len(layer.weight_names())
            if stop > start:
                layer.set_weights(weights[start:stop])
            start = stop
        if self._batch_shape is None and isinstance(self._layers[0], Recurrent):
            self._batch_shape = (None, None, self._layers[0].cells[0].input_dim)

    def count_params(self) -> int:
        """How many numbers the weights hold together. Raises `ConfigError` before there are weights."""
        return sum(layer.count_params() for layer in self._layers)

    @property
    def losses(self) -> list[float]:
        """The penalties of the weight regularizers of all layers."""
        return [loss for layer in self._layers for loss in layer.losses]

    def apply_constraints(self) -> None:
        """Project the weights of all layers onto their constraints."""
        for layer in self._layers:
            layer.apply_constraints()

    def reseed(self, seed: int) -> None:
        """Draw weights that are not made yet, and all dropout masks, from `seed`: the layers are numbered."""
        number = 0
        for layer in self._layers:
            number = layer.reseed(seed, number)

    # -- configuration --

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it, the input shape as an InputLayer."""
        entries = [to_entry(layer, self.dialect) for layer in self._layers]
        input_layer = self.input_layer
        if input_layer is None and self._batch_shape is not None and self._layers[0].batch_input_shape is None:
            input_layer = InputLayer(
                batch_input_shape=self._stated_shape(),
                name=f"{self._layers[0].name}_input",
                dtype=self.dtype,
                dialect=self.dialect,
            )
        if input_layer is not None:
            entries.insert(0, to_entry(input_layer, self.dialect))
        if self.dialect == "keras3":
            policy = serialize_dtype(self.dtype, "keras3")
            config = {"name": self.name, "trainable": True, "dtype": policy, "layers": entries}
            shape = self._stated_shape()
            return config if shape is None else {**config, "build_input_shape": list(shape)}
        return {"name": self.name, "layers": entries}

    def _stated_shape(self) -> Shape | None:
        """The input shape as it is written: the timesteps of a first call are none of it, unless they are flattened."""
        shape = self._batch_shape
        if shape is None or not self._any_timesteps or any(isinstance(layer, Flatten) for layer in self._layers):
            return shape
        time = int(not self.time_major)
        return (*shape[:time], None, *shape[time + 1 :])

    @classmethod
    def from_config(cls, config: Any, dialect: Dialect | None = None) -> Self:
        """A model from what `get_config` of any dialect wrote, without weights. Raises `ConfigError`."""
        if isinstance(config, list):
            config = {"layers": config}  # how Keras before 2.2.3 wrote a Sequential
        dialect = choose_dialect(config, dialect)
        check_keys(config, "Sequential", ("name", "layers", "trainable", "dtype", "build_input_shape"))
        entries, name = config.get("layers"), config.get("name")
        if not isinstance(entries, list | tuple) or not (name is None or isinstance(name, str)):
            raise ConfigError(f"Sequential's configuration is {shown(config)}; expected a name and a list of layers")
        model = cls(name=name)
        layers = [_entry_to_layer(entry, dialect) for entry in entries]
        if layers and layers[0].batch_input_shape is None and config.get("build_input_shape") is not None:
            model._batch_shape = check_batch_shape(config["build_input_shape"], model.name)
            model._any_timesteps = True
        for layer in layers:
            model.add(layer)
        return model


def _entry_to_layer(entry: Any, dialect: Dialect) -> Layer:
    if isinstance(entry, Mapping) and entry.get("class_name") in ("Sequential", "Model", "Functional"):
        raise ConfigError(f"layer {entry['class_name']} is a model in a model; expected the layers in one row")
    return layer_from_config(entry, dialect)


@contextmanager
def _naming(layer: Layer) -> Iterator[None]:
    """Names `layer` in errors: a cell knows nothing of the layer that it is in."""
    try:
        yield
    except ConfigError as error:
        if str(error).startswith(one_line(layer.name)):
            raise
        raise ConfigError(f"{layer.name}: {error}") from error


def _first(shape: Any) -> Any:
    return shape[0] if isinstance(shape, list) else shape
