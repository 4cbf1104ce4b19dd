"""Files of real Kerases with the numbers that these computed; see data/keras_cases."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support.paths import DATA

import numba_lstm as nl
from numba_lstm.errors import ConfigError, FileFormatError
from numba_lstm.formats import from_config

ARCHIVE = DATA / "keras_cases/cases.zip"


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder)
    return folder


def close(value: Any, expected: Any) -> None:
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-6)


FROZEN = [
    f"{dialect}_{name}"
    for dialect in ("tf1", "keras2", "keras3")
    for name in ("bidi_forward_frozen", "forward_frozen_after", "stack_first_frozen", "td_frozen")
    if (dialect, name) != ("tf1", "stack_first_frozen")
]


@pytest.mark.parametrize("suffix", [".h5", ".keras", ".weights.h5"])
@pytest.mark.parametrize("name", FROZEN)
def test_frozen_parts_have_their_own_weights(cases: Path, tmp_path: Path, name: str, suffix: str) -> None:
    file = cases / f"frozen_order/{name}{suffix}"
    if not file.exists():
        pytest.skip("TensorFlow 1.15 writes no such file")
    config = cases / f"frozen_order/{name}.json" if suffix == ".weights.h5" else None
    model = nl.load(file, config=config)
    x, y = (np.load(cases / f"frozen_order/{one}.npy") for one in ("x", f"{name}.y"))
    close(model.predict(x), y)
    # Keras writes the flag of a direction that was frozen afterwards into no configuration, but Keras 3.
    told = [note for note in model.source.notes if "where Keras, loading this file, exchanges them" in note]
    legacy = suffix == ".h5" or name.startswith("tf1")
    assert len(told) == (name in ("tf1_forward_frozen_after", "keras2_forward_frozen_after") and legacy)
    nl.save(model, tmp_path / "m.h5")
    again = nl.load(tmp_path / "m.h5")
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert again.source.notes == []


def test_a_file_that_tensorflow_broke_off(cases: Path) -> None:
    with pytest.raises(
        FileFormatError, match=r"has no '/model_weights/d', which it lists: Keras broke off while it wr"
    ):
        nl.load(cases / "frozen_order/tf1_stack_first_frozen.h5")


def test_frozen_weights_are_written_where_keras_looks_for_them(cases: Path, tmp_path: Path) -> None:
    """The trained weights first: Keras 2.15 and 3.15 give the same numbers for these files (tests marked oracle)."""
    for dialect in ("keras2", "keras3"):
        nl.save(nl.load(cases / f"frozen_order/{dialect}_stack_first_frozen.keras"), tmp_path / "m.h5")
        with h5py.File(tmp_path / "m.h5") as file:
            names = [name.decode() for name in file["model_weights/st"].attrs["weight_names"]]
        cells = [name.split("/")[1] for name in names]
        assert cells == ["cell_1"] * 3 + ["cell_0"] * 3
    nl.save(nl.load(cases / "frozen_order/keras3_bidi_forward_frozen.keras"), tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        names = [name.decode() for name in file["model_weights/bi"].attrs["weight_names"]]
    assert [name.split("/")[1] for name in names] == ["backward"] * 3 + ["forward"] * 3


EMBEDDING = ["keras2_functional", "keras2_input_length", "keras2_sequential", "keras3_functional", "keras3_sequential"]


@pytest.mark.parametrize("name", [*EMBEDDING, "tf1_functional", "tf1_input_length", "tf1_sequential"])
def test_inputs_of_fixed_length_before_an_embedding(cases: Path, tmp_path: Path, name: str) -> None:
    x, y = (np.load(cases / f"embedding_flatten/{one}.npy") for one in ("x", f"{name}.y"))
    for file in (cases / "embedding_flatten").glob(f"{name}.[hk]*"):
        model = nl.load(file)
        assert model.input_shape == (None, 6)
        close(model.predict(x), y)
        # TensorFlow 1.15 writes an InputLayer of a Sequential nowhere: the weights tell its length.
        assert len(model.source.notes) == (name == "tf1_sequential")
        nl.save(model, tmp_path / "m.npz")
        np.testing.assert_array_equal(nl.load(tmp_path / "m.npz").predict(x), model.predict(x))


@pytest.mark.parametrize("version", ["ks", "ks3"])
def test_standalone_keras(cases: Path, tmp_path: Path, version: str) -> None:
    """Bidirectional repeats the output before at masked timesteps, in every format of the model."""
    for name, folder in (("masking_bidi", "keras224_bidi"), ("rnn_cell", "keras_standalone_rnn_cells")):
        file = cases / f"{folder}/{version}_{name}.h5"
        stored = np.load(file.with_suffix(".npz"))
        model = nl.load(file)
        assert model.dialect == "tf1"
        assert [note.startswith("of standalone Keras 2.") for note in model.source.notes] == [True] * ("bidi" in name)
        close(model.predict(stored["x"]), stored["y0"])
        for kind in ("m.h5", "m.npz", "m.safetensors"):
            nl.save(model, tmp_path / kind)
            again = nl.load(tmp_path / kind)
            np.testing.assert_array_equal(again.predict(stored["x"]), model.predict(stored["x"]))
            assert again.get_config() == model.get_config()
    zeros = nl.load(cases / f"keras224_bidi/{version}_masking_bidi.h5", dialect="tf1")
    assert zeros.source.notes == []  # as TensorFlow would run it, if that is asked for


def test_standalone_keras_without_a_version(cases: Path) -> None:
    """The format tells it: no time_major, initializers without a dtype."""
    for version in ("ks", "ks3"):
        file = cases / f"keras224_bidi/{version}_masking_bidi.h5"
        stored = np.load(file.with_suffix(".npz"))
        with h5py.File(file) as opened:
            text = opened.attrs["model_config"]
        path = cases / f"{version}.json"
        path.write_text(text)
        model = nl.load(file, config=path)
        assert model.source.dialect_from == "the format of the configuration, that of Keras 2.0 to 2.3"
        close(model.predict(stored["x"]), stored["y0"])
        assert from_config(path).dialect == "tf1"


@pytest.mark.parametrize(
    "name",
    [
        *("bidi_two", "bidi_back", "unroll", "emb", "bidi_frozen", "stack_frozen", "stack_equal"),
        *("stack_equal_last", "stack_back", "stateful"),
    ],
)
def test_keras_2_2_4(cases: Path, name: str) -> None:
    """Masks: the outputs of masked timesteps are h of the lowest cell, at the start of a row the initial one."""
    model = nl.load(cases / f"keras224/{name}.h5")
    stored = np.load(cases / f"keras224/{name}.npz")
    x = np.load(cases / f"keras224/{'xi' if name == 'emb' else 'x'}.npy")
    close(model(x), stored["y"])
    if name == "stateful":
        close(model(x), stored["y2"])


def test_operations_that_make_masks_under_a_mixed_policy(cases: Path) -> None:
    model = nl.load(cases / "functional_cast/c000327.h5")
    stored = np.load(cases / "functional_cast/c000327.data.npz")
    # In half precision Keras is seven off, of up to 430; t0_0 is what it computes in float64. (The kernel for few rows
    # is compiled already.)
    np.testing.assert_allclose(model.predict(stored["x0"], batch_size=4), stored["t0_0"], rtol=1e-5, atol=1e-4)
    assert model.source.notes == ["dtype mixed_float16 is computed in float32"]


def test_all_outputs_of_the_last_layer(cases: Path) -> None:
    folder = cases / "functional_return_state"
    model = nl.load(folder / "c000145.weights.h5", config=folder / "c000145_c.json")
    stored = np.load(folder / "c000145.data.npz")
    outputs = model(stored["x0"])
    assert len(outputs) == 5
    for i, output in enumerate(outputs):
        close(output, stored[f"y0_{i}"])


def test_mixed_policies_survive(cases: Path, tmp_path: Path) -> None:
    model = nl.load(cases / "mixed_saved/c000348.h5")
    stored = np.load(cases / "mixed_saved/c000348.data.npz")
    np.testing.assert_allclose(model.predict(stored["x0"]), stored["t0_0"], rtol=1e-4, atol=1e-5)
    nl.save(model, tmp_path / "m.h5")
    cell = nl.load(tmp_path / "m.h5").get_config()["layers"][3]["config"]["cell"]["config"]
    assert cell["dtype"]["config"] == {"name": "mixed_float16"}


def test_the_states_of_a_stack_of_one(cases: Path) -> None:
    stored = np.load(cases / "stack_of_one/c000263.data.npz")
    cell = nl.LSTMCell(
        33, "sigmoid", "tanh", unit_forget_bias=False, recurrent_dropout=0.5, implementation=2, dialect="keras3"
    )
    layer = nl.RNN([cell], return_sequences=True, return_state=True, dialect="keras3")
    layer.set_weights([stored[f"w{i}"] for i in range(3)])
    states = [stored["s0"], stored["s1"]]
    masks = {"recurrent_dropout_mask": [stored["e0"]], "training": True}
    outputs, (h, c) = layer(stored["x0"], initial_state=states, **masks)
    for value, expected in zip((outputs, h, c), ("t0_0", "t0_1", "t0_2"), strict=True):
        np.testing.assert_allclose(value, stored[expected], rtol=1e-4, atol=1e-5)


NAMED = {
    "07_windows_keras_archive": "model.keras",
    "15_custom_initializer": "model.h5",
    "30_implementation_0": "model.h5",
    "31_embedding_dtype_int32": "model.h5",
    "32_keras_named_h5": "model.h5",
    "33_keras_unzipped": "model.keras",
    "35_keras2_embedding_flatten": "model.h5",
    "35b_keras3_embedding_flatten_ok": "model.h5",
}


@pytest.mark.parametrize(("case", "file"), NAMED.items())
def test_files_as_they_lie_about(cases: Path, tmp_path: Path, case: str, file: str) -> None:
    model = nl.load(cases / case / file)
    x, y = (np.load(cases / case / f"{one}.npy") for one in "xy")
    close(model.predict(x), y)
    nl.save(model, tmp_path / "m.h5")
    np.testing.assert_array_equal(nl.load(tmp_path / "m.h5").predict(x), model.predict(x))


def test_both_ways_of_saving_an_embedding_before_flatten(cases: Path) -> None:
    for case in ("35_keras2_embedding_flatten", "35b_keras3_embedding_flatten_ok"):
        x, y = (np.load(cases / case / f"{one}.npy") for one in "xy")
        close(nl.load(cases / case / "model.keras").predict(x), y)


def test_initializers_of_ones_own_are_kept_as_text(cases: Path, tmp_path: Path) -> None:
    model = nl.load(cases / "15_custom_initializer/model.h5")
    assert model.source.notes == [
        f"{one}, is not Keras's own: it is kept as text, and has no part in what a model with weights computes"
        for one in ("kernel_regularizer of 'dense', a lambda", "kernel_initializer of 'lstm', 'myinit'")
    ]
    own = {"module": "builtins", "class_name": "function", "config": "myinit", "registered_name": "function"}
    for kind in ("m.npz", "m.h5"):
        nl.save(model, tmp_path / kind)
        assert nl.load(tmp_path / kind).layers[0].get_config()["kernel_initializer"] == own
    with pytest.raises(ConfigError, match=r"a lambda is no object of Keras and is not run; expected one of Keras's"):
        _ = model.losses


def test_the_weights_of_a_class_of_ones_own(cases: Path) -> None:
    folder = cases / "19_subclassed_weights"
    x, y = (np.load(folder / f"{one}.npy") for one in "xy")
    for file in ("m.weights.h5", "w.h5"):
        close(nl.load(folder / file, config=folder / "model.json").predict(x), y)
    notes = nl.load(folder / "m.weights.h5", config=folder / "model.json").source.notes
    pairs = "'lstm' for 'lstm_2', 'lstm2' for 'lstm_3', 'layers/dense' for 'dense_1'"
    assert notes == [f"the groups of weights were told by their shapes and names: {pairs}"]


def test_a_folder_as_config(cases: Path, tmp_path: Path) -> None:
    folder = cases / "33_keras_unzipped/model.keras"
    shutil.copy(folder / "model.weights.h5", tmp_path / "m.weights.h5")
    x, y = (np.load(cases / f"33_keras_unzipped/{one}.npy") for one in "xy")
    close(nl.load(tmp_path / "m.weights.h5", config=folder).predict(x), y)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        *[
            (
                f"34_lfs_pointer/model.{kind}",
                "is a Git LFS pointer for a file of 8194948 bytes, not the file itself; run",
            )
            for kind in ("h5", "keras", "onnx", "pt")
        ],
        ("34_lfs_pointer/model_empty.h5", "is empty: it has 0 bytes; expected an HDF5 file; copy or download it again"),
        ("26_pt_whole_module/model.pt", "is a pickled PyTorch module, of the class '__main__.M', which may hold code"),
        ("26b_torchscript/model.pt", "is a TorchScript program, which this version does not read"),
    ],
)
def test_what_stands_where_a_model_should_be(cases: Path, file: str, words: str) -> None:
    with pytest.raises(FileFormatError) as caught:
        nl.load(cases / file)
    message = str(caught.value)
    assert message.startswith(f"{cases / file} {words}") and message.isprintable()
