"""formats/npy.py and formats/atomic.py: reading by windows, refusing damaged files, writing whole files only."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from numba_lstm.errors import DTypeError, FileFormatError, NumbaLSTMError, ShapeError
from numba_lstm.formats import atomic, npy
from numba_lstm.formats.atomic import AtomicFile
from numba_lstm.formats.npy import NpyWriter, open_npy, write_npy

RNG_SEED = 20


def save(path: Path, array: NDArray[Any]) -> Path:
    np.save(path, array)
    return path


def npy_bytes(array: NDArray[Any], version: tuple[int, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version)
    return buffer.getvalue()


def with_header(header: str, data: bytes = b"", version: int = 1) -> bytes:
    width = 2 if version == 1 else 4
    return b"\x93NUMPY" + bytes([version, 0]) + len(header).to_bytes(width, "little") + header.encode() + data


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", "<f2", "|b1", "|u1", "|i1", "<i2", ">i4", "<i8", ">u8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("slab", [64, 4 * 2**20])
def test_reads_every_window_of_every_axis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, order: str, slab: int
) -> None:
    monkeypatch.setattr(npy, "_SLAB", slab)
    monkeypatch.setattr(npy, "_FAR_APART", slab)
    values = np.random.default_rng(RNG_SEED).integers(0, 100, (5, 4, 3)).astype(dtype)
    stored = np.asarray(values, order=order)  # type: ignore[call-overload]
    with open_npy(save(tmp_path / "x.npy", stored)) as reader:
        assert reader.shape == (5, 4, 3)
        assert reader.dtype == np.dtype(dtype)
        for axis in range(3):
            for start in range(values.shape[axis] + 1):
                for stop in range(start, values.shape[axis] + 1):
                    window = [slice(None)] * 3
                    window[axis] = slice(start, stop)
                    expected = values[tuple(window)]
                    for target in (None, np.float32, np.float64):
                        rows = reader.read_rows(start, stop, axis=axis, dtype=target)
                        assert rows.flags.c_contiguous and rows.flags.writeable and rows.dtype.isnative
                        assert rows.dtype == (target or values.dtype.newbyteorder("="))
                        np.testing.assert_array_equal(rows, expected.astype(rows.dtype))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("start", "stop", "axis"),
    [(-1, 1, 0), (0, 4, 0), (2, 1, 0), (4, 4, 0), (0, 5, 1), (-2, -1, 1), (0, 1, 2), (0, 1, -1), (3, 6, 1)],
)
def test_rows_that_are_not_there(tmp_path: Path, order: Any, start: int, stop: int, axis: int) -> None:
    values = np.asarray(np.arange(12.0).reshape(3, 4), order=order)
    with open_npy(save(tmp_path / "x.npy", values)) as reader:
        words = rf"has shape \(3, 4\); it has no rows {start} to {stop} of axis {axis}"
        with pytest.raises(ShapeError, match=words):
            reader.read_rows(start, stop, axis=axis)
        assert reader.read_rows(3, 3).shape == (0, 4) and reader.read_rows(0, 3, axis=1).shape == (3, 3)
        assert np.array_equal(reader.read_rows(2, 3), values[2:]) and reader.read_rows(4, 4, axis=1).shape == (3, 0)


def test_scalar_and_empty(tmp_path: Path) -> None:
    with open_npy(save(tmp_path / "scalar.npy", np.array(2.5))) as reader:
        assert reader.shape == ()
        assert reader.read() == 2.5
        with pytest.raises(ShapeError, match="has no rows"):
            reader.read_rows(0, 1)
    with open_npy(save(tmp_path / "empty.npy", np.zeros((0, 4, 3), "f"))) as reader:
        assert reader.read().shape == (0, 4, 3)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_format_versions_and_bytes_after_the_end(tmp_path: Path, version: tuple[int, int]) -> None:
    values = np.arange(6, dtype="f").reshape(2, 3)
    path = tmp_path / "x.npy"
    path.write_bytes(npy_bytes(values, version) + b"more bytes")
    with open_npy(path) as reader:
        np.testing.assert_array_equal(reader.read(), values)


def test_header_variants(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    for header in (
        "{'shape': (2L, 3L), 'fortran_order': False, 'descr': '<f4'}\n",
        '{"descr":"<f4","fortran_order":False,"shape":(2,3,),}',
    ):
        path.write_bytes(with_header(header, np.arange(6, dtype="f").tobytes()))
        with open_npy(path) as reader:
            np.testing.assert_array_equal(reader.read(), np.arange(6).reshape(2, 3))


def test_values_beyond_float32_become_infinite(tmp_path: Path) -> None:
    with open_npy(save(tmp_path / "x.npy", np.array([[1e300, -1e300, np.nan]]))) as reader:
        np.testing.assert_array_equal(reader.read_rows(0, 1, dtype="float32"), [[np.inf, -np.inf, np.nan]])


def test_odd_booleans_count_as_true(tmp_path: Path) -> None:
    path = tmp_path / "mask.npy"
    raw = npy_bytes(np.array([True, False, True]))
    path.write_bytes(raw[:-3] + b"\x02\x00\xff")
    with open_npy(path) as reader:
        assert reader.read().tobytes() == b"\x01\x00\x01"
        np.testing.assert_array_equal(reader.read("float32"), [1, 0, 1])


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((2, 3), "<f4"), None),
        (np.zeros((2, 3), ">f4"), "big-endian float32 read as float32"),
        (np.zeros((2, 3), "<f4", order="F"), "Fortran-ordered float32 read as float32"),
        (np.zeros((2, 3), ">i2", order="F"), "big-endian Fortran-ordered int16 read as float32"),
        (np.zeros((2, 3), bool), "bool read as float32"),
    ],
)
def test_conversion_is_told(tmp_path: Path, array: NDArray[Any], text: str | None) -> None:
    with open_npy(save(tmp_path / "x.npy", array)) as reader:
        told = reader.conversion("float32")
        assert told == (None if text is None else f"{tmp_path / 'x.npy'}: {text}")


GOOD = with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", np.zeros(6, "f").tobytes())


def header_with(descr: str = "'<f4'", fortran: str = "False", shape: str = "(2, 3)") -> bytes:
    return with_header(f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}", b"\0" * 64)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: it has 0 bytes; expected a .npy file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n",
            "is a Git LFS pointer for a file of 12345 bytes, not the file itself; run 'git lfs pull'",
        ),
        (b"<!DOCTYPE html><html>", "is an HTML page, not a .npy file: a web page was downloaded in its place"),
        (b"<?xml version='1.0'?><Error/>", "is an XML text, not a .npy file; download or export the array again"),
        (b"\x89HDF\r\n\x1a\n" + bytes(90), "is an HDF5 file, not a .npy file; give the array that was meant"),
        (b"\x80\x04K\x01.", "is not a .npy file: it begins with"),
        (GOOD[:4], "ends inside its header"),
        (GOOD[:9], "ends inside its header"),
        (GOOD[:40], "ends inside its header"),
        (GOOD[:-1], "holds 23 bytes of data; expected 24 for shape"),
        (GOOD.replace(b"NUMPY\x01", b"NUMPY\x09"), "format version 9; expected 1, 2 or 3"),
        (with_header("x" * 70000, version=2), "claims a header of 70000 bytes"),
        (with_header("{'a': 1}"), "has the header"),
        (with_header("__import__('os').abort()"), "has the header"),
        (with_header("{" + " " * 60000), "has the header"),
        (with_header("{'descr': '<f4', 'descr': '<f4', 'shape': (2,)}"), "has the header"),
        (header_with(fortran="(2,)"), "has fortran_order"),
        (header_with(shape="True"), "has fortran_order"),
        (header_with(shape="(1 2,)"), "expected integers"),
        (header_with(shape=f"({'9' * 5000},)"), "expected integers"),
        (header_with(shape="(-2, 3)"), "has the header"),
        (header_with(shape="(2.0, 3)"), "has the header"),
        (header_with(shape="(True, 3)"), "has the header"),
        (header_with(shape="(4294967296, 4294967296, 3)"), "cut short"),
        (header_with(shape="(0, 4294967296, 4294967296)"), "larger than any array can be"),
        (header_with(shape=f"({2**63}, 0)"), "larger than any array can be"),
        (header_with(shape=f"({'1, ' * 33})"), "larger than any array can be"),
    ],
)
def test_damaged_files_end_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(FileFormatError) as caught:
        open_npy(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("descr", "message"),
    [
        ("'|O'", "holds objects, which need pickle"),
        ("'<c8'", "holds complex numbers"),
        ("[('a', '<f4'), ('b', '<f4')]", "several fields"),
        ("'|V8'", "raw bytes"),
        ("'|S4'", "text"),
        ("'<U4'", "text"),
        ("'<M8[s]'", "holds dates"),
        ("'<f16'", "has dtype '<f16'"),
        ("'<f'", "has dtype '<f'"),
        ("'<f99999999999'", "has dtype '<f99999999999'"),
        ("'float32'", "has dtype 'float32'"),
        ("''", "has dtype ''"),
    ],
)
def test_element_types_that_cannot_be_used(tmp_path: Path, descr: str, message: str) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(header_with(descr))
    with pytest.raises(DTypeError) as caught:
        open_npy(path)
    assert message in str(caught.value) and "expected floats of 16, 32 or 64 bits" in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="is a folder; expected a file"):
        open_npy(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_npy(tmp_path / "absent.npy")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.npy")
        with pytest.raises(FileFormatError, match="is a pipe or a device"):
            open_npy(tmp_path / "pipe.npy")
        with pytest.raises(FileFormatError, match="is a device or a pipe"):
            NpyWriter(tmp_path / "pipe.npy", (1,), "f")


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npy", np.zeros((100, 3)))
    with open_npy(path) as reader:
        os.truncate(path, 1000)
        with pytest.raises(FileFormatError, match="became shorter while it was read"):
            reader.read_rows(50, 100)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_mutants_give_only_our_errors(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = bytearray(npy_bytes(np.arange(12, dtype="f").reshape(2, 2, 3)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 127))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "mutant.npy"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        with open_npy(path) as reader:
            reader.read("float32")
    except NumbaLSTMError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_writes_the_bytes_that_numpy_writes(tmp_path: Path, axis: int) -> None:
    values = np.random.default_rng(RNG_SEED).standard_normal((7, 5, 4)).astype("f")
    path = tmp_path / "y.npy"
    with NpyWriter(path, values.shape, values.dtype, axis=axis) as output:
        for rows in np.split(values, [1, 1, 3], axis=axis):
            output.write_rows(rows)
            assert not path.exists()
    assert path.read_bytes() == npy_bytes(values)
    assert os.listdir(tmp_path) == ["y.npy"]


def test_write_npy_and_empty_arrays(tmp_path: Path) -> None:
    for values in (np.zeros((0, 3)), np.zeros((3, 0), ">i4"), np.asfortranarray(np.eye(3))):
        write_npy(tmp_path / "y.npy", values)
        np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), values)


def test_failures_leave_nothing_and_keep_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "y.npy"
    path.write_bytes(b"before")
    for error in (KeyboardInterrupt, ValueError):
        with pytest.raises(error), NpyWriter(path, (2, 3), "f") as output:
            output.write_rows(np.zeros((1, 3), "f"))
            raise error
    with pytest.raises(ShapeError, match="got 1 rows; expected 2"), NpyWriter(path, (2, 3), "f") as output:
        output.write_rows(np.zeros((1, 3), "f"))
    message = r"got rows of shape \(1, 4\) after 0; expected parts of \(2, 3\)"
    with pytest.raises(ShapeError, match=message), NpyWriter(path, (2, 3), "f") as output:
        output.write_rows(np.zeros((1, 4), "f"))
    with pytest.raises(ShapeError), NpyWriter(path, (2, 3), "f") as output:
        output.write_rows(np.zeros((3, 3), "f"))
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["y.npy"]


def test_a_failing_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_npy(tmp_path / "y.npy", np.zeros(3))
    assert os.listdir(tmp_path) == []


def test_an_output_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        NpyWriter(tmp_path / "none" / "y.npy", (1,), "f")
    assert caught.value.filename == str(tmp_path / "none" / "y.npy")
    with pytest.raises(FileFormatError, match="is a folder"):
        NpyWriter(tmp_path, (1,), "f")


@pytest.mark.skipif(os.name != "posix", reason="links and permissions as on POSIX")
def test_links_stay_and_permissions_follow_the_umask(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "y.npy").symlink_to(tmp_path / "real" / "y.npy")
    write_npy(tmp_path / "y.npy", np.zeros(3))
    assert (tmp_path / "y.npy").is_symlink()
    (tmp_path / "plain").write_bytes(b"")
    assert stat.S_IMODE((tmp_path / "real" / "y.npy").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "plain").stat().st_mode
    )


def test_discard_after_commit_keeps_the_file(tmp_path: Path) -> None:
    output = AtomicFile(tmp_path / "a")
    output.file.write(b"x")
    output.commit()
    output.discard()
    assert (tmp_path / "a").read_bytes() == b"x"


@pytest.mark.parametrize("made", [False, True])
def test_ctrl_c_when_the_file_is_being_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: bool) -> None:
    """Before anybody has it: in the call that makes it, or right after that."""

    def interrupted(path: Path, mode: str) -> None:
        open(path, mode).close()
        raise KeyboardInterrupt

    def make() -> None:
        AtomicFile(tmp_path / "a")
        raise KeyboardInterrupt

    if not made:
        monkeypatch.setattr(atomic, "open", interrupted, raising=False)
    with pytest.raises(KeyboardInterrupt):
        make()
    assert list(tmp_path.iterdir()) == []
