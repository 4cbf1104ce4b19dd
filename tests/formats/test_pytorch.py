"""formats/pytorch.py: the child that reads pickles, with a torch that does what a test needs in place of the real one.

(The real one reads the goldens' files in the tests marked ``oracle``.)
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from support.torch_files import FAKE_TORCH, D, linear_arrays, lstm_arrays, pickled

import numba_lstm as nl
from numba_lstm.errors import FileFormatError, MissingPackageError
from numba_lstm.formats import open_stored, pytorch


@pytest.fixture
def torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "torch.py").write_text(FAKE_TORCH)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "M.PT"])
def test_a_state_dict(torch: Path, name: str) -> None:
    arrays = lstm_arrays("lstm.", 2, True) | linear_arrays(width=8)
    path = pickled(torch, "loaded = arrays", arrays, name)
    before = sorted(os.listdir(torch))
    model = nl.load(path)
    assert sorted(os.listdir(torch)) == before
    assert model.source.format == "PyTorch state dict" and len(model.source.notes) == 2
    assert np.array_equal(model.get_weights()[0], arrays["lstm.weight_ih_l0"].T)
    assert np.array_equal(model.get_weights()[-1], arrays["fc.bias"])
    assert model.predict(np.ones((1, 2, D))).shape == (1, 2)
    with open_stored(path) as stored:
        assert [array.name for array in stored.arrays()] == list(arrays)


OPTIMIZER = "{'state': {0: {'step': arrays['bias_hh_l0'], 'exp_avg': arrays['weight_hh_l0']}}, 'param_groups': [{}]}"
LIGHTNING = f"""
    number = Tensor(np.float32(0.25))
    loaded = {{
        'epoch': 3,
        'state_dict': arrays,
        'loops': {{'fit': {{'a': {{'b': {{'c': {{'d': 1}}}}}}}}}},
        'callbacks': {{'best': {{'score': number, 'k': [number]}}}},
        'optimizer_states': [{OPTIMIZER}],
        'lr_schedulers': [],
        'rng': [Tensor(np.zeros(16, 'u1'))],
        'torch_rng_state': Tensor(np.zeros(16, 'u1')),
        'loss': number,
    }}
"""


@pytest.mark.parametrize(
    ("code", "place", "unused"),
    [
        (f"loaded = {{'epoch': 3, 'optimizer': {OPTIMIZER}, 'model': arrays}}", "model", ["epoch", "optimizer"]),
        ("loaded = {'a': {'b': arrays, 'c': [1]}}", "a.b", ["a.c"]),
        ("loaded = {'a': [1, {7: {'c': arrays}}], 'loss': Tensor(np.array(0.5))}", "a.1.7.c", ["a.0", "loss"]),
        ("loaded = dict(arrays, _extra_state=None)", "", ["_extra_state"]),
        (
            LIGHTNING,
            "state_dict",
            ["epoch", "loops", "callbacks", "optimizer_states", "lr_schedulers", "rng", "torch_rng_state", "loss"],
        ),
    ],
)  # fmt: skip
def test_a_checkpoint(torch: Path, code: str, place: str, unused: list[str]) -> None:
    path = pickled(torch, code)
    notes = nl.load(path).source.notes
    expected = [f"the state dict is the one under {place!r}"] if place else []
    named = ", ".join(map(repr, unused))
    assert notes[2:] == [*expected, f"what the file holds beside the weights is not used: {named}"]
    config = {"class_name": "LSTM", "config": {"units": 4, "recurrent_activation": "sigmoid"}}
    assert nl.load(path, config=config).source.notes == notes[2:]


def test_parts_are_put_together(torch: Path) -> None:
    """An LSTM and a Linear that were saved each by itself are those of one state dict."""
    arrays = lstm_arrays() | linear_arrays()
    code = """
    fc = {k[3:]: v for k, v in arrays.items() if k.startswith('fc.')}
    loaded = {'net': {'lstm': {k: v for k, v in arrays.items() if k[:3] != 'fc.'}, 'fc': fc}, 'epoch': 3}
    """
    model = nl.load(pickled(torch, code, arrays))
    assert [type(layer).__name__ for layer in model.layers] == ["LSTM", "Dense"]
    assert np.array_equal(model.get_weights()[-1], arrays["fc.bias"])
    assert "'fc' is taken for a Linear behind the last output of 'lstm'" in model.source.notes[1]
    assert model.source.notes[2] == "the state dict is the one under 'net'"


@pytest.mark.parametrize(
    ("rest", "named"),
    [
        ("'norm': {'weight': four, 'bias': four}", "'norm.weight (4,)', 'norm.bias (4,)'"),
        ("'heads': [{'weight': Tensor(np.ones((2, 4))), 'bias': four}, {'weight': four}]", "'heads.1.weight (4,)'"),
        ("'scaler': {'mean': four}", "'scaler.mean (4,)'"),
        ("'mean': four", "'mean (4,)'"),
        ("3: {'weight': four}", "'3.weight (4,)'"),
        ("'deep': {'a': {'b': {'c': {'d': {'e': four}}}}}", "'deep.a.b.c.d.e (4,)'"),
        ("'optimizer': {'state': {'fc': four}, 'extra': 1}", "'optimizer.state.fc (4,)'"),
        ("'optimizer': {'state': {}, 'param_groups': [], 'fc': four}", "'optimizer.fc (4,)'"),
        ("'shadow_params': [four, four]", "'shadow_params.0 (4,)'"),
    ],
)
def test_parts_are_never_dropped(torch: Path, rest: str, named: str) -> None:
    code = f"four = Tensor(np.ones(4)); loaded = {{'lstm': arrays, {rest}}}"
    with pytest.raises(FileFormatError, match="beside its LSTM, which gives 4 features; expected one") as caught:
        nl.load(pickled(torch, code))
    assert named in str(caught.value) and "\n" not in str(caught.value)


def test_a_number_among_weights_is_one_of_them(torch: Path) -> None:
    code = "loaded = dict(arrays, temperature=Tensor(np.float32(2)))"
    with pytest.raises(FileFormatError, match=r"\['temperature \(\)'\] beside its LSTM"):
        nl.load(pickled(torch, code))


def test_bfloat16(torch: Path) -> None:
    halves = "{k: Tensor((v.array.view('u4') >> 16).astype('u2'), 'bf16') for k, v in arrays.items()}"
    model = nl.load(pickled(torch, f"loaded = {halves}", {k: v.round() for k, v in lstm_arrays().items()}))
    assert np.array_equal(model.get_weights()[0], lstm_arrays()["weight_ih_l0"].round().T)
    assert "weights stored as bfloat16 were converted to float32" in model.source.notes


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "raise KeyError('x')",
            r"is damaged or no state dict: torch's weights_only loader ends in a 'KeyError'; save it with torch.save",
        ),
        ("raise ValueError('one\\ntwo \\x1b[1m')", "loader ends in a 'ValueError'; save it with"),
        (
            "raise ValueError('Weights \\x1b[1mfailed.\\n error: Unsupported global: GLOBAL numpy._core.x was not')",
            r"m.pt holds a NumPy array or number \('numpy._core.x'\) beside tensors, which torch's weights_only loader "
            r"refuses; save it with torch.save\(model.state_dict\(\), 'model.pt'\)$",
        ),
        ("raise ValueError('Unsupported class __main__.A')", r"holds an object \('__main__.A'\) beside tensors, which"),
        ("loaded = [1]", "holds a list without an LSTM; save it with"),
        ("import os; os._exit(3)", r"torch ended while it read it \(exit code 3\)"),
        ("import os; os.abort()", r"torch ended while it read it \(exit code -6\)"),
        ("x = bytearray(10**9); loaded = arrays", "MemoryError"),
        ("arrays.clear(); arrays['weight_ih_l0'] = Tensor(np.ones(4)); loaded = arrays", "both biases"),
    ],
)
def test_what_the_loader_may_meet(torch: Path, code: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=message) as caught:
        nl.load(pickled(torch, code))
    assert (
        "\n" not in str(caught.value)
        and "x1b" not in str(caught.value)
        and str(caught.value).startswith(str(torch / "m.pt"))
    )


def test_what_takes_too_long_is_ended(torch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch, "_SECONDS", 0.2)
    monkeypatch.setattr(pytorch, "_PATIENCE", 5)
    start = time.monotonic()
    for code in ("while True: pass", "import time; time.sleep(60)"):
        with pytest.raises(FileFormatError, match=r"torch (took too long to|ended while it) read it"):
            nl.load(pickled(torch, code))
    assert time.monotonic() - start < 60


def test_what_torch_prints_does_no_harm(torch: Path) -> None:
    assert nl.load(pickled(torch, "print('hello ' * 20000, flush=True); loaded = arrays")).count_params() == 128


def test_a_torch_that_cannot_be_imported(torch: Path) -> None:
    (torch / "site" / "torch.py").write_text("raise OSError('no libtorch')")
    with pytest.raises(FileFormatError, match=r"torch cannot be imported \('OSError: no libtorch'\)"):
        nl.load(pickled(torch, ""))
    (torch / "site" / "torch.py").write_text("import os; os._exit(1)")
    with pytest.raises(FileFormatError, match=r"torch ended while it read it"):
        nl.load(pickled(torch, ""))


def test_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "m.pt").write_bytes(b"\x80\x02cos\nsystem\n(S'touch x'\ntR.")
    with pytest.raises(MissingPackageError) as caught:
        nl.load(tmp_path / "m.pt")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'm.pt'} is a pickle, which only torch reads, and torch is not installed")
    assert "s.save_file(torch.load('model.pt', weights_only=True), 'model.safetensors')" in message
    assert "\n" not in message and os.listdir(tmp_path) == ["m.pt"]
