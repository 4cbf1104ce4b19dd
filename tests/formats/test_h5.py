"""formats/h5.py and assemble.py: models and weights in Keras's HDF5 files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support.keras_files import small_model, write_h5

import numba_lstm as nl
from numba_lstm.errors import ConfigError, FileFormatError, NumbaLSTMError, ShapeError

KERNEL, BIAS = "first/kernel:0", "first/bias:0"


def equal(one: nl.Sequential, other: nl.Sequential) -> None:
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("libver", [None, "earliest", "v108", "latest"])
@pytest.mark.parametrize("fixed_strings", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_whole_model(tmp_path: Path, libver: str | None, fixed_strings: bool, dtype: str) -> None:
    model = small_model(dtype=dtype)
    path = write_h5(tmp_path / "m.h5", model, libver=libver, fixed_strings=fixed_strings)
    again = nl.load(path)
    equal(model, again)
    assert again.get_config() == model.get_config()
    source = again.source
    assert (source.format, source.producer) == ("Keras HDF5 model", "Keras 2.15.0")
    assert (source.dialect, source.dialect_from) == ("keras2", "keras_version 2.15.0 in the file")
    assert source.notes == []
    assert source.weights[0] == ("first/kernel", (3, 16), dtype, "/model_weights/first/first/kernel:0")


@pytest.mark.parametrize(
    ("version", "dialect", "producer"),
    [
        ("2.2.4-tf", "tf1", "TensorFlow 1.15 or 2.0 (Keras 2.2.4-tf)"),
        ("2.2.5", "tf1", "Keras 2.2.5"),
        ("2.10.0", "keras2", "Keras 2.10.0"),
        ("3.15.1", "keras3", "Keras 3.15.1"),
        (None, "keras2", "Keras, of an unknown version"),
    ],
)
def test_the_version_in_the_file_tells_the_dialect(
    tmp_path: Path, version: str | None, dialect: str, producer: str
) -> None:
    path = write_h5(tmp_path / "m.h5", small_model(), version=version)
    model = nl.load(path)
    assert (model.dialect, model.source.producer) == (dialect, producer)
    assert nl.load(path, dialect="keras2").source.dialect_from == "as given"
    assert nl.load(path, dialect="tf1").dialect == "tf1"


def test_weights_alone_need_a_configuration(tmp_path: Path) -> None:
    model = small_model()
    path = write_h5(tmp_path / "w.h5", model, whole=False)
    with pytest.raises(FileFormatError, match="holds weights without a configuration; expected one beside it"):
        nl.load(path)
    config = {"class_name": "Sequential", "config": model.get_config()}
    (tmp_path / "c.json").write_text(json.dumps(config))
    for given in (config, tmp_path / "c.json", str(tmp_path / "c.json"), model.get_config()):
        again = nl.load(path, config=given)
        equal(model, again)
        assert again.source.format == "Keras HDF5 weights"
        assert again.source.dialect_from == "the format of the configuration"
    assert nl.load(path, config={**config, "keras_version": "2.2.4-tf"}).dialect == "tf1"


def test_a_configuration_beside_a_whole_model_goes_first(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "m.h5", small_model())
    config = small_model("tf1").get_config()
    config["layers"][1]["config"]["activation"] = "relu"
    model = nl.load(path, config=config)
    assert model.dialect == "tf1"
    assert model.layers[0].get_config()["activation"] == "relu"


def test_names_that_keras_cut_into_pieces(tmp_path: Path) -> None:
    model = small_model()
    path = write_h5(tmp_path / "m.h5", model)
    with h5py.File(path, "r+") as file:
        for node, key in ((file["model_weights"], "layer_names"), (file["model_weights/first"], "weight_names")):
            names = list(node.attrs[key])
            del node.attrs[key]
            node.attrs[f"{key}0"], node.attrs[f"{key}1"] = names[:1], names[1:]
    equal(model, nl.load(path))


@pytest.mark.parametrize("options", [{"chunks": True}, {"compression": "gzip", "shuffle": True}])
def test_packed_weights(tmp_path: Path, options: dict[str, Any]) -> None:
    equal(small_model(), nl.load(write_h5(tmp_path / "m.h5", small_model(), options=options, libver="earliest")))


@pytest.mark.parametrize(
    ("replaced", "error", "message"),
    [
        ({BIAS: None}, FileFormatError, " has no '/model_weights/first/first/bias:0', which it lists; it is damaged"),
        ({KERNEL: np.zeros((3, 15), "f")}, ShapeError, ": layer 'first': kernel has shape (3, 15); expected (3, 16)"),
        ({KERNEL: np.zeros((2, 16), "f")}, ShapeError, ": first: inputs have shape (None, None, 3); expected 2 feat"),
        ({BIAS: np.zeros((16, 1), "f")}, ShapeError, ": layer 'first': bias has shape (16, 1); expected (16,)"),
        ({BIAS: np.array([b"x"] * 16)}, FileFormatError, ": '/model_weights/first/first/bias:0' holds strings"),
        ({BIAS: np.zeros(16, "c8")}, FileFormatError, ": '/model_weights/first/first/bias:0' holds compounds"),
        ({BIAS: np.float32(1)}, ShapeError, ": layer 'first': bias has shape (); expected (16,)"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit(tmp_path: Path, replaced: Any, error: type[Exception], message: str) -> None:
    path = write_h5(tmp_path / "m.h5", small_model(), replaced=replaced)
    with pytest.raises(error) as caught:
        nl.load(path)
    assert str(caught.value).startswith(f"{path}{message}") and "\n" not in str(caught.value)


def edited(tmp_path: Path, change: Any, **options: Any) -> Path:
    path = write_h5(tmp_path / "m.h5", small_model(), **options)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def set_attribute(node: str, key: str, value: Any) -> Any:
    def change(file: Any) -> None:
        if value is None:
            del file[node].attrs[key]
        else:
            file[node].attrs[key] = value

    return change


WEIGHTS = "model_weights"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_attribute("/", "model_config", b"{not json"), ": model_config is not JSON: Expecting property name"),
        (set_attribute("/", "model_config", b"\xff"), "expected text in UTF-8"),
        (set_attribute("/", "model_config", [b"{}", b"{}"]), "several values in its attribute model_config"),
        (set_attribute("/", "model_config", b"{}"), ": model_config: the configuration of LSTMCell lacks units"),
        (set_attribute("/", "model_config", b"[]"), ": model_config holds []; expected the configuration of a model"),
        (set_attribute("/", "keras_version", b"1.2.2"), "keras_version is '1.2.2'; expected 2 or 3"),
        (set_attribute(WEIGHTS, "layer_names", None), " lists no layers (no attribute layer_names)"),
        (set_attribute(WEIGHTS, "layer_names", b"first"), " has no list of names in its attribute layer_names"),
        (set_attribute(WEIGHTS, "layer_names", [b"first"]), " has weights of 1 layers, ['first']; expected 2, ["),
        (set_attribute(WEIGHTS, "layer_names", [b"first", b"no"]), " has no '/model_weights/no', which it lists"),
        (set_attribute(WEIGHTS, "layer_names", [b"out", b"first"]), "layer 'out' has the weights ['kernel', 'bias']"),
        (set_attribute(WEIGHTS, "layer_names", [b"\xff"]), "expected text in UTF-8"),
        (set_attribute(WEIGHTS, "layer_names", [b"x" * 5000]), "its attribute layer_names holds endless names"),
        (set_attribute(f"{WEIGHTS}/out", "weight_names", None), "/out' has no list of names in its attribute"),
        (set_attribute(f"{WEIGHTS}/out", "weight_names", [b"out/kernel:0"]), "layer 'out' has the weights ['kernel']"),
        (set_attribute(f"{WEIGHTS}/out", "weight_names", [b"out", b"out"]), "/model_weights/out/out' is not a dataset"),
        (
            set_attribute(f"{WEIGHTS}/first", "weight_names", [b"../out/out/kernel:0"] * 3),
            " has no '/model_weights/first/..', which it lists; it is damaged",
        ),
    ],
)  # fmt: skip
def test_files_that_do_not_hold_together(tmp_path: Path, change: Any, message: str) -> None:
    path = edited(tmp_path, change)
    with pytest.raises(NumbaLSTMError) as caught:
        nl.load(path)
    assert message in str(caught.value) and str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_the_layout_of_keras_2_12(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file.create_group("_layer_checkpoint_dependencies/lstm/vars")
    with pytest.raises(FileFormatError, match=r"has a layout that Keras 2.12 had for a while, which is not read; in"):
        nl.load(tmp_path / "m.weights.h5", config={"units": 4})


def test_lambda_layers_are_refused_before_anything_else(tmp_path: Path) -> None:
    config = small_model().get_config()
    config["layers"].insert(2, {"class_name": "Lambda", "config": {"name": "l", "function": ["4wEAAAA=", None, None]}})
    text = json.dumps({"class_name": "Sequential", "config": config}).encode()
    path = edited(tmp_path, set_attribute("/", "model_config", text))
    with pytest.raises(ConfigError) as caught:
        nl.load(path)
    assert str(caught.value).startswith(
        f"{path}: model_config: layer 3 of 4, 'l': layer Lambda holds code, which is never run from a file; expected"
    )


def test_one_dataset_listed_a_thousand_times_is_no_thousand_arrays(tmp_path: Path) -> None:
    cells = [nl.LSTMCell(64) for _ in range(100)]
    model = nl.Sequential([nl.RNN(cells, name="r")])
    config = {"class_name": "Sequential", "config": model.get_config()}
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["layer_names"] = [b"r"]
        group = file.create_group("r")
        group["kernel"] = np.zeros((64, 256), "f")
        group["r/recurrent_kernel"] = group["kernel"]
        group["bias"] = np.zeros(256, "f")
        group.attrs["weight_names"] = [b"kernel", b"r/recurrent_kernel", b"bias"] * 100
    assert nl.load(tmp_path / "m.h5", config=config).count_params() == 100 * (2 * 64 * 256 + 256)
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        file["r"].attrs["weight_names"] = [b"kernel", b"r/recurrent_kernel", b"bias"] * 1000
    config["config"]["layers"][0]["config"]["cell"]["config"]["cells"] *= 10
    with pytest.raises(FileFormatError, match="would grow from"):
        nl.load(tmp_path / "m.h5", config=config)
