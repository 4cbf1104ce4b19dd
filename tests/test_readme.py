"""The examples of the pages work: their Python runs, their commands succeed, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "data/README.md", ROOT / "tests/goldens/README.md"]


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """One section of the README."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGES[0].read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no section {title!r}"
    return found[1]


def commands(text: str) -> list[list[str]]:
    """The numba-lstm command lines of the sh blocks; a line that makes an environment first is for a fresh machine."""
    lines = [line for block in blocks(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("numba-lstm ")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder with a copy of data/."""
    shutil.copytree(ROOT / "data", tmp_path / "data")
    return tmp_path


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one command in the folder; the installed script does the same."""
    code = "import sys; sys.argv[0] = 'numba-lstm'; from numba_lstm_cli.main import main; main()"
    line = [sys.executable, "-c", code, *arguments[1:]]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page: Path, folder: Path) -> None:
    code = "\n".join(blocks(page.read_text(encoding="utf-8"), "python"))
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_succeed(page: Path, folder: Path) -> None:
    for arguments in commands(page.read_text(encoding="utf-8")):
        done = run(arguments, folder)
        assert done.returncode == 0, f"{shlex.join(arguments)}\n{done.stderr}"


@pytest.mark.parametrize("title", ["Quick start", "Tests"])
def test_one_line_is_enough(title: str) -> None:
    line = blocks(section(title), "sh")[0].strip()
    assert "\n" not in line
    assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")


def test_quick_start_gives_keras_accuracy(folder: Path) -> None:
    line = blocks(section("Quick start"), "sh")[0].strip()
    parts = [shlex.split(part.replace(".venv/bin/", "")) for part in line.split(" && ")]
    shown = [run(part, folder) for part in parts if part[0] == "numba-lstm"]
    assert [done.returncode for done in shown] == [0, 0], [done.stderr for done in shown]
    assert blocks(section("Quick start"), "text")[0].strip() in shown[-1].stdout
    difference = re.search(r"largest difference (\S+)", shown[-1].stdout)
    assert difference and float(difference[1]) < 1e-6


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name} links to {target}"
