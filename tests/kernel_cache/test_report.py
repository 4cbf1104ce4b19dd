"""The folders of compiled kernels as they are shown, and what is removed of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from numba_lstm_cli.cache import lines, removal

from numba_lstm.kernel_cache import cache_folder, report

posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="this platform has no owners and modes")


def test_old_kernels_are_shown_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_LSTM_CACHE_DIR", str(tmp_path / "cache"))
    facts = report.info()
    assert facts["problem"] is None and facts["mode"] in ("0700", None) and facts["others"] == []
    old, mixed = (tmp_path / "cache" / (digit * 20) for digit in "01")
    for folder in (old, mixed):
        folder.mkdir()
        (folder / "step-1.kernel").write_bytes(bytes(1_500_000))
    (mixed / "mine.txt").write_text("")
    assert [other["name"] for other in report.info()["others"]] == [old.name, mixed.name]
    removed = report.clear(others_only=True)
    assert removed == {"folders": 1, "bytes": 1_500_000, "left": [str(mixed)], "problem": None}
    assert not old.exists() and (mixed / "mine.txt").exists()
    assert list(removal(removed)) == [
        "removed 1 folder, 1.5 MB",
        f"{mixed} stays: it holds other things, or cannot be removed",
    ]


@posix
def test_nothing_is_removed_from_a_folder_that_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_LSTM_CACHE_DIR", str(tmp_path))
    old = tmp_path / ("0" * 20)
    old.mkdir()
    tmp_path.chmod(0o757)
    removed = report.clear(others_only=True)
    assert old.exists()
    reason = f"others can write to {tmp_path} (mode 0757); chmod go-w makes it usable"
    assert list(removal(removed)) == [f"nothing is removed: {reason}"]
    facts = report.info()
    assert facts["problem"] == reason and not facts["removable"] and len(facts["others"]) == 1


@posix
@pytest.mark.parametrize("spelled", ["cache", "cache/", "link", "link/../cache"])
@pytest.mark.parametrize("mode", [0o700, 0o757, 0o777, 0o555])
def test_this_version_is_never_among_those_to_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelled: str, mode: int
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "cache")
    monkeypatch.setenv("NUMBA_LSTM_CACHE_DIR", str(tmp_path / "cache"))
    current, _ = cache_folder.prepared()
    assert current is not None
    (current / "step-1.kernel").write_bytes(bytes(1_500_000))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NUMBA_LSTM_CACHE_DIR", spelled)
    for folder in current, current.parent:
        folder.chmod(mode)
        facts = report.info()
        assert facts["others"] == [] and facts["kernels"] == 1
        assert (facts["problem"] is None) == (mode in (0o700, 0o555))
        assert "clear" not in "\n".join(lines(facts))
        report.clear(others_only=True)
        assert (current / "step-1.kernel").exists()
        folder.chmod(0o700)


def test_all_versions_are_removed_if_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_LSTM_CACHE_DIR", str(tmp_path))
    current, _ = cache_folder.prepared()
    assert current is not None
    for folder in current, tmp_path / ("0" * 20):
        folder.mkdir(exist_ok=True)
        (folder / "step-1.kernel").write_bytes(bytes(1000))
    assert report.clear() == {"folders": 2, "bytes": 2000, "left": [], "problem": None}
    assert list(tmp_path.iterdir()) == []


def test_further_folders_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, images, absent = (tmp_path / name for name in ("own", "images", "absent"))
    there = images / cache_folder.source_stamp()
    there.mkdir(parents=True, mode=0o755)
    (there / "step-1.kernel").write_bytes(bytes(1_500_000))
    monkeypatch.setenv("NUMBA_LSTM_CACHE_DIR", os.pathsep.join(map(str, (own, absent, images))))
    assert report.info()["further"] == [{"folder": str(images), "kernels": 1, "bytes": 1_500_000}]
    assert f"{images}: 1 compiled kernel, 1.5 MB" in list(lines(report.info()))
    assert report.info()["folder"] == str(own)
