"""Messages of the library name its arguments, and the command puts its options in their place.

Some phrases of loose English are kept out of the pages, docstrings, comments and messages.
"""

from __future__ import annotations

import ast
import dataclasses
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numba_lstm_cli.main import cli, describe
from numba_lstm_cli.options import in_options
from support.paths import ROOT

import numba_lstm
from numba_lstm import LSTM, Sequential
from numba_lstm.errors import Argument, ConfigError, Message, OutputExistsError
from numba_lstm.formats.atomic import AtomicFile
from numba_lstm.runner.options import RunOptions

PACKAGE = Path(numba_lstm.__file__).parent
# Files and folders, relative to the root, whose English is checked.
EDITED = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs",
    "benchmarks/README.md",
    "cli",
    "numba_lstm",
    "tests",
]
LOOSE = re.compile(r'\bso many\b|\bone a row\b|\bas it comes\b|\bwhatever\b|\bis said\b|(?-i:"""What\b)', re.IGNORECASE)
# A column of stored results, and two messages.
QUOTED = re.compile("OpenVINO, as it comes")
OPTION = re.compile(r"(?<![\w-])--[a-z]")
OPTIONS = {option for command in cli.commands.values() for one in command.params for option in one.opts}
RUN_OPTIONS = {option for one in cli.commands["run"].params for option in one.opts}


def nodes(holding: str) -> Iterator[tuple[str, ast.AST]]:
    """The nodes of all modules with `holding` in them, which is quicker than to parse every one."""
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if holding not in text or path.name == "this_project.py":  # of the benchmark: it is a run of the command
            continue
        for node in ast.walk(ast.parse(text)):
            yield f"{path.relative_to(PACKAGE).as_posix()}:{getattr(node, 'lineno', 0)}", node


def test_no_text_of_the_library_names_an_option() -> None:
    assert OPTION.search("use --force") and not OPTION.search("a--b, -- c")
    texts = [(where, node.value) for where, node in nodes("--") if isinstance(node, ast.Constant)]
    assert texts and [where for where, text in texts if isinstance(text, str) and OPTION.search(text)] == []


def test_every_argument_that_a_message_names_is_an_option() -> None:
    names = set()
    for where, node in nodes("Argument"):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Argument":
            name = node.args[0]
            assert isinstance(name, ast.Constant) or where.startswith("runner/options.py"), where
            names |= {name.value} if isinstance(name, ast.Constant) else set()
    assert {"window", "batch_rows", "force", "replace", "config", "device"} <= names
    for name in names:
        option = in_options(Message(Argument(name)))
        assert option in OPTIONS, option
    fields = {field.name for field in dataclasses.fields(RunOptions)}
    assert {in_options(Message(Argument(name))) for name in fields} <= RUN_OPTIONS


def test_a_message_in_both_worlds() -> None:
    inner = Message(Argument("batch_rows", 8), " and ", Argument("on_nan"))
    message = Message("{window} of a\nfile; ", inner, "; ", Argument("replace", True))
    assert message == "{window} of a\nfile; batch_rows=8 and on_nan; replace=True"
    assert in_options(message) == "{window} of a file; --batch-rows 8 and --on-nan; --force"
    assert in_options("a plain\x1b one") == r"a plain\x1b one"
    for error in (ConfigError(message), OutputExistsError(message)):
        copy = pickle.loads(pickle.dumps(error))
        assert str(copy) == "{window} of a file; batch_rows=8 and on_nan; replace=True"
        assert describe(copy) == "{window} of a file; --batch-rows 8 and --on-nan; --force"
    assert describe(ConfigError()) == ""


def test_outputs_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("y.npy").touch()
    with pytest.raises(OutputExistsError, match=r"^y\.npy exists; use replace=True to replace it$") as caught:
        AtomicFile("y.npy", replace=False).commit()
    assert describe(caught.value) == "y.npy exists; use --force to replace it"


def test_notes_of_every_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = Sequential([LSTM(2, stateful=True, batch_input_shape=(2, None, 3), seed=1)])
    model.build()
    numba_lstm.save(model, "m.npz")
    kernel, recurrent_kernel, bias = model.get_weights()
    np.savez("bare.npz", kernel=kernel, recurrent_kernel=recurrent_kernel, bias=bias)
    x = np.ones((2, 4, 3), np.float32)
    np.save("x.npy", x)
    np.save("m.npy", model.predict(x))
    np.save("bare.npy", numba_lstm.load("bare.npz").predict(x))
    commands = [
        "run {}.npz x.npy -o y.npy --force",
        "run {}.npz x.npy -o y.npy --force --verbose",
        "check {}.npz x.npy {}.npy",
    ]
    commands += ["run {}.npz x.npy -o y.npy --force --progress json", "inspect {}.npz", "inspect {}.npz --json"]
    for command in commands:
        result = CliRunner().invoke(cli, command.format("m", "m").split())
        said = result.stdout + result.stderr
        assert "zero states; --carry-state with --batch-rows 2 goes on" in said and "carry_state" not in said, command
        result = CliRunner().invoke(cli, command.format("bare", "bare").split())
        said = result.stdout + result.stderr
        assert "defaults; give --config if it is another" in said and "give config" not in said, command
    result = CliRunner().invoke(cli, ["convert", "bare.npz", "m.safetensors"])
    assert "note: the file has weights only" in result.stderr and "give --config if it is another" in result.stderr
    result = CliRunner().invoke(cli, ["run", "m.npz", "x.npy", "-o", "y.npy", "--force", "--verbose"])
    assert (
        "\n--device auto uses the CPU: no figures of a GPU have been measured yet; --device cuda asks" in result.stderr
    )
    report = numba_lstm.run_npy("m.npz", "x.npy", "z.npy")
    assert any("carry_state=True with batch_rows=2 goes on" in note for note in report.notes)


def texts() -> Iterator[tuple[Path, str]]:
    """The pages and modules of `EDITED`, this one left out."""
    for entry in map(ROOT.joinpath, EDITED):
        assert entry.exists(), entry
        for path in sorted(entry.rglob("*")) if entry.is_dir() else [entry]:
            if path.suffix in (".md", ".py") and path != Path(__file__):
                yield path, path.read_text(encoding="utf-8")


def test_no_loose_phrases() -> None:
    # The phrases may be broken over two lines, of a docstring or of a comment.
    assert LOOSE.search("That is said.") and LOOSE.search("so many") and not LOOSE.search("so manyfold")
    assert LOOSE.search('"""What it does."""') and not LOOSE.search('"""The rest of what it does."""')
    found = []
    for path, text in texts():
        flat = re.sub(r"\n\s*(#\s*)?", " ", QUOTED.sub("", text))
        found += [f"{path.relative_to(ROOT).as_posix()}: {match[0]}" for match in LOOSE.finditer(flat)]
    assert found == []
