"""cli/terminal.py: names and versions from files, and names of files, reach no terminal as anything but text."""

from __future__ import annotations

import json
import logging
import os
import re
import struct
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numba_lstm_cli import main, progress, table, terminal
from numba_lstm_cli.main import cli

from numba_lstm import LSTM, Sequential, save
from numba_lstm.errors import ConfigError, OutputExistsError, visible

EVIL = {
    "escape": ("\x1b[2J\x1b]0;owned\x07lstm", r"\x1b[2J\x1b]0;owned\x07lstm"),
    "newline": ("lstm\nError: forged line", r"lstm\nError: forged line"),
    "return": ("lstm\rforged\x08\x7f", r"lstm\rforged\x08\x7f"),
    "c1": ("\x9b31mlstm\x85next", r"\x9b31mlstm\x85next"),
    "bidi": ("\u202elstm\u2066\u200f", r"\u202elstm\u2066\u200f"),
    "separators": ("lstm\u2028a\u2029b\ufeff", r"lstm\u2028a\u2029b\ufeff"),
}
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=list(EVIL))
def evil(request: pytest.FixtureRequest) -> tuple[str, str]:
    return EVIL[request.param]


def said(*words: str) -> list[str]:
    """The lines of a command on both streams, in none of which a character is that a terminal would obey."""
    result = CliRunner().invoke(cli, list(words))
    assert result.exit_code in (0, 1, 2, 3)
    assert not isinstance(result.exception, Exception)
    assert not RAW.search(result.output), result.output
    return result.output.splitlines()


def configuration(name: str, **entries: Any) -> dict[str, Any]:
    config = {"name": name, "units": 4, "batch_input_shape": [None, None, 3], **entries}
    layers = [{"class_name": "LSTM", "config": config}]
    return {"class_name": "Sequential", "config": {"name": name, "layers": layers}, "keras_version": "2.15.0"}


def write(name: str, document: Any) -> None:
    Path(name).write_text(json.dumps(document))


def test_a_configuration(evil: tuple[str, str], folder: Path) -> None:
    name, shown = evil
    write("tame.json", configuration("lstm"))
    write("evil.json", configuration(name))
    lines = said("inspect", "evil.json")
    assert len(lines) == len(said("inspect", "tame.json"))
    assert any(line.startswith(f"1. {shown}: LSTM(4") for line in lines)
    assert len(said("init", "--config", "evil.json", "evil.npz")) == 1
    assert len(said("inspect", "evil.npz")) == len(lines)
    np.save("x.npy", np.ones((2, 5, 3), np.float32))
    assert len(said("run", "evil.npz", "x.npy", "-o", "y.npy")) == 1
    assert len(said("check", "evil.npz", "x.npy", "y.npy")) == 2
    assert len(said("convert", "evil.npz", "evil.safetensors")) == 1
    write("version.json", {**configuration("lstm"), "keras_version": f"2.15.{name}"})
    assert shown in "".join(said("inspect", "version.json"))
    assert len(said("run", "evil.npz", "x.npy", "-o", "z.npy", "--config", "version.json", "--verbose")) == 5
    for document in (configuration("lstm", activation=name), configuration("lstm", units=name)):
        write("wrong.json", document)
        assert len(said("inspect", "wrong.json")) == 1
    document = configuration(name)
    document["config"]["layers"][0]["class_name"] = name
    write("wrong.json", document)
    assert len(said("inspect", "wrong.json")) == 1


def test_json_stays_json(evil: tuple[str, str], folder: Path) -> None:
    write("evil.json", configuration(evil[0]))
    result = CliRunner().invoke(cli, ["inspect", "evil.json", "--json"])
    assert json.loads(result.stdout)["layers"][0]["name"] == evil[0]
    assert not RAW.search(result.stdout)


def test_arrays_in_other_files(evil: tuple[str, str], folder: Path) -> None:
    name, _ = evil
    shapes = {"weight_ih_l0": [16, 3], "weight_hh_l0": [16, 4], "bias_ih_l0": [16], "bias_hh_l0": [16]}
    header, end = {}, 0
    for key, shape in shapes.items():
        size = 4 * int(np.prod(shape))
        header[f"{name}.{key}"] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    Path("a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
    assert len(said("inspect", "a.safetensors")) > 4
    np.savez("a.npz", kernel=np.zeros((3, 16), "f"), recurrent_kernel=np.zeros((4, 16), "f"), **{name: np.zeros(3)})
    assert len(said("inspect", "a.npz")) == 1


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such names")
def test_names_of_files(evil: tuple[str, str], folder: Path) -> None:
    name, shown = evil
    model = Sequential([LSTM(4, seed=1)])
    model.build((None, None, 3))
    save(model, f"{name}.npz")
    np.save(f"{name}.npy", np.ones((2, 5, 3)))
    for words in (
        ["inspect", f"{name}.npz"],
        ["run", f"{name}.npz", f"{name}.npy", "-o", f"{name}y.npy"],
        ["run", f"{name}.npz", f"{name}.npy", "-o", f"{name}z.npy", "--verbose"],
        ["convert", f"{name}.npz", f"{name}.h5"],
    ):
        assert shown in " ".join(said(*words))
    for words in (
        ["run", f"{name}.npz", f"{name}.npy", "-o", f"{name}y.npy"],
        ["run", f"{name}.npz", f"{name}.missing.npy", "-o", "y.npy"],
        ["inspect", f"{name}.missing"],
    ):
        (line,) = said(*words)
        assert line.startswith("Error: ")
    assert said("run", "m.npz", "x.npy", "-o", "y.npy", f"--{name}")[-1].startswith("Error: ")
    assert len(said("run", "m.npz", "x.npy", "-o", "y.npy", f"--{name}")) == 4
    assert len(said(name)) == 4


@pytest.mark.skipif(os.name != "posix", reason="a terminal of POSIX")
def test_on_a_terminal(folder: Path) -> None:
    import pty

    write("evil.json", configuration("".join(name for name, _ in EVIL.values())))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "numba_lstm_cli.main", "inspect", "evil.json"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        try:
            while part := os.read(ours, 65536):
                seen += part
        except OSError:  # Linux says so where there is no more
            pass
        assert process.wait(60) == 0
    os.close(ours)
    text = seen.decode().replace("\r\n", "\n")
    assert "1. \\x1b[2J" in text and not RAW.search(text)


def test_tables_are_as_wide_as_what_they_show() -> None:
    assert list(table.table([["\x1b[2J\n", "b"], ["x", "y"]])) == [r"\x1b[2J\n  b", r"x          y"]


def test_terminal_lines(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.out("a\nb\x1b[2J\x9b\u202e\u2028\r\té")
    terminal.note("c\nd\x07")
    terminal.out_json({"name": "a\nb\x1b\u202e"})
    out, err = capsys.readouterr()
    assert out == 'a\\nb\\x1b[2J\\x9b\\u202e\\u2028\\r\\té\n{\n  "name": "a\\nb\\u001b\\u202e"\n}\n'
    assert err == "c\\nd\\x07\n"


def test_what_others_write_to_stderr(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.Escaping(sys.stderr))
    monkeypatch.setattr(warnings, "showwarning", main._warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", main._warn)
        warnings.warn("a\n\x1b[2J", stacklevel=1)
    assert capsys.readouterr().err == "warning: a\\n\\x1b[2J\n"
    handler = logging.StreamHandler(sys.stderr)
    handler.emit(logging.LogRecord("numba_lstm", logging.WARNING, "", 1, "%s", ("\x1b[2J",), None))
    assert capsys.readouterr().err == "\\x1b[2J\n"
    monkeypatch.setattr("time.monotonic", iter([0.0, 3.0]).__next__)
    progress.Bar()(1, 2)
    assert capsys.readouterr().err.startswith("\r[###")


def test_errors_of_the_library() -> None:
    assert visible("plain ä 漢 🙂") == "plain ä 漢 🙂"
    for name, _ in EVIL.values():
        for error in (ConfigError(f"{name} is wrong"), OutputExistsError(f"{name} exists")):
            assert not RAW.search(str(error)) and "\n" not in str(error)
