"""formats/zipped.py: zip files that are traps."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from support.npz_files import bare_members, npy, zip_of

import numba_lstm as nl
from numba_lstm.errors import FileFormatError
from numba_lstm.formats import zipped


@pytest.mark.parametrize("name", ["../evil.npy", "/evil.npy", "a/../../evil.npy", "c:evil.npy", "..\\evil.npy"])
def test_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    path = zip_of(tmp_path / "w.npz", [*bare_members(), (name, npy(np.zeros(3)))])
    with pytest.raises(FileFormatError, match="points out of the file; refused"):
        nl.load(path)
    assert os.listdir(tmp_path) == ["w.npz"]


def test_a_name_that_comes_twice(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = zip_of(tmp_path / "w.npz", [*bare_members(), *bare_members()[:1]])
    with pytest.raises(FileFormatError, match=r"member 'kernel.npy' is there twice; expected each once"):
        nl.load(path)


def test_members_that_are_no_arrays(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "w.npz", [*bare_members(), ("readme.txt", b"hello")])
    with pytest.raises(FileFormatError, match=r"member 'readme.txt' is not a .npy file; expected arrays only"):
        nl.load(path)


def test_bombs_are_refused_before_they_are_read(tmp_path: Path) -> None:
    members = bare_members(kernel=np.zeros((2**20, 16), "f"))
    path = zip_of(tmp_path / "w.npz", members, zipfile.ZIP_DEFLATED)
    with pytest.raises(FileFormatError, match=r"would grow from \d+ to 67109184 bytes of weights; expected"):
        nl.load(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing(tmp_path: Path, method: int) -> None:
    path = zip_of(tmp_path / "w.npz", bare_members(), method)
    with pytest.raises(FileFormatError, match=rf"is packed by method {method}; expected stored or deflated"):
        nl.load(path)


def patched(path: Path, sign: bytes, offset: int, value: bytes, last: bool = False) -> Path:
    """The file with `value` in one of its structures."""
    content = bytearray(path.read_bytes())
    place = (content.rfind if last else content.find)(sign) + offset
    content[place : place + len(value)] = value
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("sign", "offset", "value", "message"),
    [
        (b"PK\x01\x02", 8, b"\x01\x00", "is encrypted; expected it plain"),
        (b"PK\x01\x02", 20, struct.pack("<II", 10**9, 10**9), "has a size that the file does not have"),
        (b"PK\x01\x02", 24, struct.pack("<I", 10**6), "has a size that the file does not have"),
        (b"PK\x01\x02", 16, b"\x00\x00\x00\x00", "is damaged: cannot read 'kernel.npy' (BadZipFile)"),
        (b"PK\x01\x02", 42, struct.pack("<I", 7), "is damaged: cannot read 'kernel.npy' (BadZipFile)"),
        (b"PK\x03\x04", 200, b"\x01\x02\x03", "is damaged: cannot read 'kernel.npy' (BadZipFile)"),
        (b"PK\x05\x06", 12, struct.pack("<I", 2**24), "has a directory of 16777216 bytes; expected at most"),
        (b"PK\x05\x06", 0, b"XXXX", "is not a whole zip file: it has no directory at its end"),
        (b"PK\x05\x06", 16, struct.pack("<I", 2**30), "has a size that the file does not have"),
    ],
)
def test_directories_that_lie(tmp_path: Path, sign: bytes, offset: int, value: bytes, message: str) -> None:
    path = patched(zip_of(tmp_path / "w.npz", bare_members()), sign, offset, value)
    with pytest.raises(FileFormatError) as caught:
        nl.load(path)
    assert message in str(caught.value) and str(caught.value).startswith(str(path))


def test_a_checksum_of_a_long_member(tmp_path: Path) -> None:
    kernel = np.ones((500, 16), "f")
    path = patched(zip_of(tmp_path / "w.npz", bare_members(kernel=kernel)), b"PK\x03\x04", 20_000, b"\x01")
    with pytest.raises(FileFormatError, match=r"'kernel.npy' is damaged: its checksum does not fit"):
        nl.load(path)


def test_a_checksum_of_packed_data(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "w.npz", bare_members(), zipfile.ZIP_DEFLATED)
    with pytest.raises(FileFormatError, match=r"is damaged: cannot read 'kernel.npy'"):
        nl.load(patched(path, b"PK\x01\x02", 16, b"\x00\x00\x00\x00"))


def test_members_that_overlap(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "w.npz", bare_members())
    size = path.stat().st_size
    content = bytearray(path.read_bytes())
    place = content.find(b"PK\x01\x02")
    while place >= 0:
        start = struct.unpack_from("<I", content, place + 42)[0]
        content[place + 20 : place + 28] = struct.pack("<II", size - start, size - start)
        place = content.find(b"PK\x01\x02", place + 4)
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="has members that overlap"):
        nl.load(path)


def test_a_large_zip64_directory_is_measured_too(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "w.npz", bare_members())
    content = path.read_bytes()
    end = content.rfind(b"PK\x05\x06")
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 3, 3, 2**24, 0)
    path.write_bytes(content[:end] + record + b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1) + content[end:])
    with pytest.raises(FileFormatError, match="has a directory of 16777216 bytes"):
        nl.load(path)


def test_truncated_anywhere(tmp_path: Path) -> None:
    content = zip_of(tmp_path / "w.npz", bare_members()).read_bytes()
    path = tmp_path / "cut.npz"
    for length in [*range(0, 100, 7), *range(100, len(content), 29), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(FileFormatError) as caught:
            nl.load(path)
        assert str(path) in str(caught.value)


def test_a_long_member_is_not_taken_for_a_configuration(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "w.npz", [("config.npy", npy(np.zeros(2**24, np.uint8)))], zipfile.ZIP_DEFLATED)
    with pytest.raises(FileFormatError, match=r"'config.npy' has 16777344 bytes; expected at most"):
        nl.load(path)


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "w.npz", bare_members())
    with zipped.ZipReader(path) as file:
        header = file.npy_header("bias.npy")
        os.truncate(path, 100)
        with pytest.raises(FileFormatError, match="is damaged: "):
            file.read_npy("bias.npy", header)
