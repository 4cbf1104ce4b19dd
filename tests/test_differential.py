"""Random models beside the real Keras: stored ones in every run, new ones with the marker ``oracle``."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from differential import models
from differential.__main__ import VARIABLES, run
from differential.judge import HALF_ULP, Verdict, difference, judge, judge_reading
from oracles.environment import interpreter
from support.paths import TESTS

STORED = TESTS / "differential" / "stored"


@pytest.mark.parametrize("dialect", VARIABLES)
def test_stored_models(dialect: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(STORED / f"{dialect}.zip") as zipped:
        zipped.extractall(tmp_path)
    folders = sorted(tmp_path.iterdir())
    assert len(folders) == 15
    verdicts = {folder.name: judge(folder) for folder in folders}
    assert {name: verdict.mismatches for name, verdict in verdicts.items() if verdict.mismatches} == {}
    assert [verdict.compared for verdict in verdicts.values()] == [1] * 15
    assert {verdict.not_written for verdict in verdicts.values()} == {None}


@pytest.mark.oracle
@pytest.mark.parametrize("dialect", VARIABLES)
def test_new_models(dialect: str, tmp_path: Path) -> None:
    verdicts = run(interpreter(VARIABLES[dialect]), dialect, list(range(1, 26)), tmp_path)
    assert {seed: verdict.mismatches for seed, verdict in verdicts.items() if verdict.mismatches} == {}
    assert sum(verdict.compared > 0 for verdict in verdicts.values()) > 15


def test_what_counts_as_a_mismatch() -> None:
    truth = [np.array([0.5, -3.0])]
    right = [truth[0] + [3 * HALF_ULP, -11 * HALF_ULP]]  # relative to 1, or to the value where that is larger
    limits = [4 * HALF_ULP]
    assert difference(right, truth, truth, limits)[0] is None
    assert difference([truth[0] + [5 * HALF_ULP, 0]], truth, truth, limits)[0] == "error 2.98e-07, limit 2.38e-07"
    assert difference([np.array([np.nan, -3.0])], truth, truth, limits)[0] is not None
    assert difference([truth[0][:1]], truth, truth, limits)[0] is not None


def test_what_keras_does_with_its_own_files_is_no_mismatch(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(json.dumps(models.draw("keras2", 1) | {"policy": "mixed_float16"}))
    one, other, far = np.ones(2), np.ones(2) - 2.0**-11, np.zeros(2)
    np.savez(tmp_path / "results.npz", x=one, **{f"{key}/0": one for key in ("mixed_float16", "float32", "float64")})

    def judged(**stored: object) -> tuple[list[str], str | None]:
        verdict = Verdict()
        np.savez(tmp_path / "read.npz", **{key.replace("_", ".h5/"): np.array(value) for key, value in stored.items()})
        judge_reading(tmp_path, verdict)
        return verdict.mismatches, verdict.not_reread

    assert judged(ours_0=one) == ([], None)
    assert judged(ours_0=other, model_0=other) == ([], "error *.*, limit *.*e-*")
    assert judged(ours_0=far, model_0=other) == (["ours.h5 in Keras: error 1, limit 2.38e-07"], None)
    assert judged(ours_error="Refused (1, 4)", model_error="Refused (2, 8)") == ([], "Refused (*, *)")
    assert judged(ours_error="Refused", model_error="Else", again_error="Refused") == ([], "Refused")
    assert judged(ours_error="Refused", model_0=one, again_0=far) == (["ours.h5 in Keras: Refused"], None)


def test_models_are_drawn_the_same_every_time() -> None:
    for dialect in VARIABLES:
        drawn = [models.draw(dialect, seed) for seed in range(100)]
        assert drawn == [models.draw(dialect, seed) for seed in range(100)]
        classes = {part["class"] for spec in drawn for part in models.parts(spec["layers"])}
        assert classes >= {"LSTM", "RNN", "LSTMCell", "Bidirectional", "TimeDistributed", "Masking", "Embedding"}
        assert {spec["policy"] for spec in drawn} == set(models.POLICIES)
