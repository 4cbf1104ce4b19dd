"""formats/weights_h5.py: weights by class and place, as Keras 3 stores them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support.keras_files import small_model, write_h5, write_keras, write_weights_h5

import numba_lstm as nl
from numba_lstm.errors import FileFormatError
from numba_lstm.formats import open_stored


def large_model() -> nl.Sequential:
    """Every kind of layer that has weights, in parts of parts, some twice; made for 4 timesteps of 3 features."""
    k3: Any = {"dialect": "keras3"}
    model = nl.Sequential(
        [
            nl.TimeDistributed(nl.Dense(3, **k3)),
            nl.LSTM(4, return_sequences=True, use_bias=False, name="mine", **k3),
            nl.Bidirectional(nl.RNN([nl.LSTMCell(2, **k3), nl.LSTMCell(3, **k3)], return_sequences=True, **k3)),
            nl.Dropout(0.5, **k3),
            nl.RNN(nl.LSTMCell(2, **k3), return_sequences=True, **k3),
            nl.LSTM(4, **k3),
            nl.Dense(2, name="a", **k3),
            nl.Dense(3, name="b", **k3),
        ]
    )
    model.reseed(5)
    model.build((None, 4, 3))
    return model


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    write_weights_h5(tmp_path / "m.weights.h5", large_model())
    return tmp_path / "m.weights.h5"


def test_each_weight_comes_from_its_place(weights: Path) -> None:
    model = large_model()
    loaded = nl.load(weights, config=model.get_config())
    assert loaded.dialect == "keras3" and loaded.source.format == "Keras weights"
    for weight, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        assert np.array_equal(weight, other)
    assert [source.where for source in loaded.source.weights][:7] == [
        "/layers/time_distributed/layer/vars/0",
        "/layers/time_distributed/layer/vars/1",
        "/layers/lstm/cell/vars/0",
        "/layers/lstm/cell/vars/1",
        "/layers/bidirectional/forward_layer/cell/cells/lstm_cell/vars/0",
        "/layers/bidirectional/forward_layer/cell/cells/lstm_cell/vars/1",
        "/layers/bidirectional/forward_layer/cell/cells/lstm_cell/vars/2",
    ]
    assert loaded.source.weights[-1].where == "/layers/dense_1/vars/1"


def test_the_configuration_may_come_from_an_archive(weights: Path, tmp_path: Path) -> None:
    archive = write_keras(tmp_path / "other.keras", large_model(), version="3.4.1")
    loaded = nl.load(weights, config=archive)
    assert loaded.source.dialect_from == "keras_version 3.4.1 in the configuration"
    assert np.array_equal(loaded.get_weights()[-1], large_model().get_weights()[-1])


def test_without_a_configuration(weights: Path) -> None:
    with open_stored(weights) as stored:
        assert len(stored.arrays()) == len(large_model().get_weights()) and stored.config is None
    with pytest.raises(FileFormatError, match=r"give the model's JSON, or a .keras file of the same model, as config$"):
        nl.load(weights)


def edit(path: Path, change: Callable[[h5py.File], Any]) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def scalar(group: h5py.Group) -> None:
    del group["1"]
    group["1"] = np.float32(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("layers/dense"), "has weights of the layers ['bidirectional', 'dense_1', 'lstm', 'lstm_1', "),
        (lambda f: f.pop("layers/dense/vars/1"), "'dense' has 1 arrays; expected 2, ['kernel', 'bias'], for the layer"),
        (lambda f: f.pop("layers/dense/vars/0"), "'/layers/dense/vars' holds ['1']; expected arrays 0, 1 and so on"),
        (lambda f: f.pop("layers/lstm/cell"), "has no '/layers/lstm/cell', which it lists"),
        (lambda f: f.create_dataset("layers/dense_2/vars/0", data=[1.0]), "has weights of ['dense_2'] too; expected ["),
        (lambda f: f.create_dataset("layers/dense/vars/2", data=[1.0]), "'dense' has 3 arrays; expected 2"),
        (lambda f: scalar(f["layers/lstm/cell/vars"]), "layer 'mine': recurrent_kernel has shape (); expected (4, 16)"),
    ],
)  # fmt: skip
def test_files_of_another_model(weights: Path, change: Callable[[h5py.File], Any], message: str) -> None:
    with pytest.raises(nl.NumbaLSTMError) as caught:
        nl.load(edit(weights, change), config=large_model().get_config())
    assert message in str(caught.value) and str(caught.value).startswith(str(weights)) and "\n" not in str(caught.value)


def test_seeds_of_dropout_count_for_nothing(weights: Path) -> None:
    edit(weights, lambda f: f.create_dataset("layers/dropout/seed_generator/vars/0", data=np.zeros(2, "u4")))
    assert nl.load(weights, config=large_model().get_config()).count_params() == large_model().count_params()
    with open_stored(weights) as stored:
        assert not any("seed" in array.name for array in stored.arrays())


@pytest.mark.parametrize("link", [h5py.SoftLink("/layers/dense/vars"), h5py.ExternalLink("other.h5", "/x")])
def test_links_are_not_followed(weights: Path, link: Any) -> None:
    def change(file: h5py.File) -> None:
        del file["layers/dense_1/vars"]
        file["layers/dense_1/vars"] = link

    edit(weights, change)
    with pytest.raises(FileFormatError, match="which is not followed; save the model into one file"):
        nl.load(weights, config=large_model().get_config())


def test_the_legacy_layout_is_known_by_its_attribute(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "w.h5", small_model(), whole=False)
    edit(path, lambda f: f.create_group("layers"))
    assert nl.load(path, config=small_model().get_config()).source.format == "Keras HDF5 weights"
