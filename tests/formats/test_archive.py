"""Archives of Keras that somebody packed again or unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.keras_files import small_model, write_keras

import numba_lstm as nl
from numba_lstm.errors import FileFormatError
from numba_lstm.formats import from_config, open_stored
from numba_lstm.formats.archive import find_member, open_archive


@pytest.mark.parametrize("slash", ["/", "\\"])
def test_archives_that_were_packed_again(tmp_path: Path, slash: str) -> None:
    """As a whole folder, and with the slashes of old Windows programs."""
    original = write_keras(tmp_path / "m.keras", small_model("keras3"))
    with zipfile.ZipFile(original) as old, zipfile.ZipFile(tmp_path / "again.keras", "w") as new:
        for name in old.namelist():
            info = zipfile.ZipInfo("x")
            info.filename = f"my model{slash}{name}"
            new.writestr(info, old.read(name))
        new.writestr("__MACOSX/config.json", b"")
    again = nl.load(tmp_path / "again.keras")
    assert again.get_config() == nl.load(original).get_config()
    assert from_config(tmp_path / "again.keras").get_config() == again.get_config()


def test_an_archive_that_was_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(write_keras(tmp_path / "m.keras", small_model("keras3"))) as archive:
        archive.extractall(tmp_path / "unpacked")
    model = nl.load(tmp_path / "unpacked")
    assert (model.source.format, model.dialect) == ("Keras archive", "keras3")
    with open_stored(tmp_path / "unpacked") as stored:
        assert len(stored.arrays()) == 5
    (tmp_path / "unpacked/model.weights.h5").unlink()
    with pytest.raises(FileFormatError, match=r"is a folder with a config.json and no model.weights.h5 beside it; exp"):
        nl.load(tmp_path / "unpacked")


def test_an_archive_unpacked_one_level_down(tmp_path: Path) -> None:
    with zipfile.ZipFile(write_keras(tmp_path / "m.keras", small_model("keras3"))) as archive:
        archive.extractall(tmp_path / "folder" / "m")
    with pytest.raises(FileFormatError) as caught:
        nl.load(tmp_path / "folder")
    inner = tmp_path / "folder" / "m"
    assert str(caught.value) == f"{tmp_path / 'folder'} is a folder with an unpacked .keras file in m; load {inner}"
    assert nl.load(inner).source.format == "Keras archive"


def test_members_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"12345")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "x").write_bytes(b"")
    folder = open_archive(tmp_path)
    assert set(folder.members) == {"config.json"}
    assert folder.read("config.json", 5) == b"12345"
    with pytest.raises(FileFormatError, match=r"config.json has 5 bytes; expected at most 4"):
        folder.read("config.json", 4)
    with folder.open_member("config.json") as member, member.parsing("it", 5):
        assert member.read(5) == b"12345"
    member.close()


@pytest.mark.parametrize(
    ("members", "found"),
    [
        (["config.json", "a/config.json"], "config.json"),
        (["a/config.json", "a/x"], "a/config.json"),
        (["a\\config.json", "__MACOSX/config.json"], "a\\config.json"),
        (["a/config.json", "b/config.json"], None),
        (["a/b/config.json", "aconfig.json"], None),
        ([], None),
    ],
)
def test_a_member_at_the_top_or_in_the_only_folder(members: list[str], found: str | None) -> None:
    archive: Any = SimpleNamespace(members=dict.fromkeys(members))
    assert find_member(archive, "config.json") == found
