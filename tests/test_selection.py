"""The selection of stored Keras results that lives in the repository: a fresh clone tests itself with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.golden_runner import run_in
from support.paths import GOLDENS
from support.selection import HALF_ULP, Case, arrays, cases, complaints, error, read_json

import numba_lstm as nl
from numba_lstm.backends.cpu import stateless
from numba_lstm.layers import layer_from_config
from numba_lstm.semantics.dialects import Dialect
from numba_lstm.semantics.serialization import deserialize_object

DIALECTS: dict[str, Dialect] = {"tf115": "tf1", "tf215": "keras2", "k3": "keras3"}

CASES = [case for system in DIALECTS for case in cases(system)]
MODELS = [entry for system in DIALECTS for entry in read_json(f"files_{system}.json")["files"]]

TRUTH = {"k3": "k3torch"}

# The class and the names of the positional arguments of the stored specifications.
ARGUMENTS = {
    "l1": ("L1L2", ("l1",)),
    "l2": ("L1L2", ("l2",)),
    "l1_l2": ("L1L2", ("l1", "l2")),
    "OrthogonalRegularizer": ("OrthogonalRegularizer", ("factor", "mode")),
    "MaxNorm": ("MaxNorm", ("max_value", "axis")),
    "MinMaxNorm": ("MinMaxNorm", ("min_value", "max_value", "rate", "axis")),
}


def made(spec: Any, dialect: Dialect, kind: Any) -> Any:
    """The object that a stored specification means: None, a name, or [name, positional arguments]."""
    if isinstance(spec, list):
        name, values = spec
        class_name, arguments = ARGUMENTS[name]
        spec = {"class_name": class_name, "config": dict(zip(arguments, values, strict=True))}
    return deserialize_object(spec, dialect, kind)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "case",
    [case for system in DIALECTS for case in cases(system)],
    ids=lambda case: f"{case.content['id']}-{case.system}",
)
def test_case(case: Case, dtype: str) -> None:
    assert complaints(case, lambda: run_in(dict(case.content), case, dtype), dtype) == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("system", ["tf215", "k3"])
def test_activations(system: str, dtype: str) -> None:
    keras, exact = arrays(f"activations__{system}.npz"), arrays(f"activations__{TRUTH.get(system, system)}.npz")
    for key in [key for key in keras if key.endswith("/f32")]:
        name = key.removesuffix("/f32")
        truth = exact[f"{name}/f64"]
        x = arrays("activations_inputs.npz")["x"].astype(dtype)
        value = stateless.activate(name, DIALECTS[system], x[: truth.size].reshape(truth.shape))
        # TF 2.15 rounds the constants of these two to float32, even in float64.
        close = 1e-7 if name in ("gelu", "leaky_relu") else 1e-12
        allowed = 2 * error(keras[key], truth) + 4 * HALF_ULP if dtype == "float32" else close
        assert error(value, truth) <= allowed, name
        assert np.array_equal(np.isnan(value), np.isnan(keras[key])), name


@pytest.mark.parametrize("entry", MODELS, ids=lambda entry: entry["file"])
def test_model_file(entry: dict[str, str]) -> None:
    folder = GOLDENS / "files"
    base, _, kind = entry["file"].partition(".")
    beside = {"weights_legacy.h5": f"{base}.json", "weights.h5": f"{base}.keras"}.get(kind)
    config = None if beside is None else folder / beside
    model = nl.load(folder / entry["file"], config=config)
    x, y, truth = (np.load(folder / entry[key]) for key in ("x", "y", "y64"))
    assert error(model.predict(x), truth) <= 2 * error(y, truth) + 4 * HALF_ULP
    assert error(model.predict(x, precision="float64"), truth) <= 1e-10


@pytest.mark.parametrize("entry", read_json("bad.json")["files"], ids=lambda entry: entry["file"])
def test_damaged_file(
    entry: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    one_line: Callable[[pytest.ExceptionInfo[BaseException]], str],
) -> None:
    monkeypatch.chdir(tmp_path)
    good = GOLDENS / "bad" / "good_weights.npz"
    path, output = Path(shutil.copy(GOLDENS / "bad" / entry["file"], tmp_path)), tmp_path / "y.npy"

    def use() -> None:
        if entry["kind"] == "npy":
            nl.run_npy(good, path, output)
        elif entry["kind"] == "json":
            nl.load(good, config=path)
        else:
            nl.load(path)

    if entry["expect"] == "error":
        with pytest.raises(nl.NumbaLSTMError) as raised:
            use()
        assert entry["file"] in one_line(raised)
        assert not output.exists()
    elif entry["expect"] == "ok":
        use()
    else:
        try:
            use()
        except nl.NumbaLSTMError as refused:
            assert "\n" not in str(refused)
    expected = arrays("bad_results.npz").get(f"{entry['file']}/y64")
    if expected is not None:
        assert error(np.load(output)[:, -1], expected[:, -1]) <= 4 * HALF_ULP
    assert sorted(p.name for p in tmp_path.iterdir()) in ([entry["file"]], sorted([entry["file"], "y.npy"]))


@pytest.mark.parametrize("system", DIALECTS)
def test_configurations_are_written_as_they_were_read(system: str) -> None:
    for entry in read_json(f"configs__{system}.json")["configs"]:
        if entry["class"] == "LSTMCell":
            assert nl.LSTMCell.from_config(entry["config"], dialect=DIALECTS[system]).get_config() == entry["config"]
        elif entry["class"] == "LSTM":
            layer = layer_from_config({"class_name": "LSTM", "config": entry["config"]}, DIALECTS[system])
            assert layer.get_config() == entry["config"]


@pytest.mark.parametrize("system", DIALECTS)
def test_regularizers(system: str) -> None:
    weights = arrays("weightops_inputs.npz")
    for case in read_json(f"regularizers__{system}.json")["cases"]:
        if case["activity"] is not None or "error" in case:
            continue
        losses = []
        for key, weight in (("kernel", "kernel"), ("recurrent", "recurrent_kernel"), ("bias", "bias")):
            regularizer = made(case[key], DIALECTS[system], "regularizer")
            if regularizer is not None:
                losses.append(regularizer(weights[weight].astype(np.float64)))
        assert losses == pytest.approx(case["losses_float64"], rel=1e-12)


def test_constraints() -> None:
    weights, stored = arrays("weightops_inputs.npz"), arrays("constraints__tf215.npz")
    for case in read_json("constraints__tf215.json")["cases"]:
        if f"{case['id']}/f64" not in stored:
            continue
        constraint = made(case["constraint"], "keras2", "constraint")
        value = constraint(weights[case["weight"]].astype(np.float64))
        np.testing.assert_allclose(value, stored[f"{case['id']}/f64"], rtol=1e-12, err_msg=case["id"])
