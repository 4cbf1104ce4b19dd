"""formats/hdf5.py and hdf5_data.py: every way h5py stores arrays, and bytes that lie."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.hdf5_bytes import LIBVERS, attribute, heap, new_header, old_header, superblock

from numba_lstm.errors import FileFormatError
from numba_lstm.formats.hdf5 import H5File, H5Object
from numba_lstm.formats.hdf5_data import H5Dataset


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.mark.parametrize("libver", LIBVERS)
@pytest.mark.parametrize("members", [1, 8, 9, 300])
def test_groups_small_and_large(tmp_path: Path, libver: str, members: int) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver=libver) as file:
        group = file.create_group("outer/inner")
        for i in range(members):
            group.create_dataset(f"weights number {i}:0", data=np.full((i % 5, 3), i, "f"))
    with H5File(path) as file:
        inner = file.root.child("/outer/inner")
        assert len(inner.links) == members
        for i in range(members):
            data = H5Dataset(inner.child(f"weights number {i}:0"))
            assert (data.shape, data.dtype) == ((i % 5, 3), np.float32)
            np.testing.assert_array_equal(data.read(), np.full((i % 5, 3), i))


@pytest.mark.parametrize("libver", LIBVERS)
def test_attributes(tmp_path: Path, libver: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        file.attrs["text"] = "h\u00e9"
        file.attrs["bytes"] = b"b" * 300
        file.attrs["list"] = [b"one", b"", b"three"]
        file.attrs["fixed"] = np.array([b"a", b"bcd"])
        file.attrs["none"] = []
        file.attrs["number"] = 3.5
    with H5File(tmp_path / "a.h5") as h5:
        root = h5.root
        assert root.attribute("text") == "h\u00e9".encode()
        assert root.attribute("bytes") == b"b" * 300
        assert root.attribute("list") == [b"one", b"", b"three"]
        assert root.attribute("fixed") == [b"a", b"bcd"]
        assert root.attribute("none") == []
        assert root.attribute("number") is None
        assert root.attribute("absent") is None


def test_many_attributes_in_a_newer_file_are_not_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        for i in range(20):
            file.attrs[f"a{i}"] = "x"
    with H5File(tmp_path / "a.h5") as h5, pytest.raises(FileFormatError, match="keeps its attributes outside"):
        h5.root.attribute("layer_names")


@pytest.fixture(scope="module", params=LIBVERS)
def refused_file(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A file of things that are not read."""
    path = tmp_path_factory.mktemp("refused") / "a.h5"
    with h5py.File(path, "w", libver=request.param) as file:
        file["good"] = np.zeros(3)
        file["group/inner"] = np.zeros(3)
        file["soft"] = h5py.SoftLink("/good")
        file["loop"] = h5py.SoftLink("/loop")
        file["external"] = h5py.ExternalLink("/etc/passwd", "/x")
        file["complex"] = np.zeros(3, complex)
        file["bool"] = np.zeros(3, bool)
        file["text"] = "abc"
        file["fixed"] = np.array([b"a", b"bc"])
        file["opaque"] = np.void(b"abcd")
        file["null"] = h5py.Empty("f")
        file.create_dataset("elsewhere", shape=(3,), dtype="f", external=[("/etc/passwd", 0, 12)])
        file.create_dataset("sparse", shape=(2**30, 1024), dtype="f", chunks=(1024, 1024))
        file.create_dataset("unwritten", shape=(2**30, 1024), dtype="f")
        file.create_dataset("partly", shape=(50, 50), dtype="f", chunks=(5, 50))[:5] = 1
        file.create_dataset("checksum", data=np.zeros((5, 5)), chunks=(5, 5), fletcher32=True)
        file.create_dataset("lzf", data=np.zeros((5, 5)), chunks=(5, 5), compression="lzf")
        file.create_dataset("bomb", data=np.zeros((2200, 2200), "f"), chunks=(2200, 2200), compression="gzip")
        special = h5py.h5t.IEEE_F32LE.copy()
        special.set_ebias(120)
        h5py.h5d.create(file.id, b"special", special, h5py.h5s.create_simple((3,)))
    return path


@pytest.fixture
def refused(refused_file: Path) -> Iterator[H5Object]:
    with H5File(refused_file) as h5:
        yield h5.root


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", "has no '/absent', which it lists; it is damaged"),
        ("group/absent", "has no '/group/absent', which it lists"),
        ("group", ": '/group' is not a dataset; expected an array of numbers"),
        ("soft", ": '/soft' is a soft link, which is not followed"),
        ("loop", ": '/loop' is a soft link, which is not followed"),
        ("external", ": '/external' is an external link, which is not followed"),
        ("complex", ": '/complex' holds compounds; expected floats or integers"),
        ("bool", ": '/bool' holds enumerations; expected floats or integers"),
        ("text", ": '/text' holds strings; expected floats or integers"),
        ("fixed", ": '/fixed' holds strings; expected floats or integers"),
        ("opaque", ": '/opaque' holds opaque bytes; expected floats or integers"),
        ("null", ": '/null' has the shape None; expected an array of numbers"),
        ("special", ": '/special' holds floats of a special kind; expected IEEE 754"),
        ("elsewhere", ": '/elsewhere' keeps its data in another file, which is not opened"),
        ("unwritten", ": '/unwritten' has shape (1073741824, 1024), 4398046511104 bytes, of which the file holds 0"),
    ],
)
def test_refusals(refused: H5Object, name: str, message: str) -> None:
    with pytest.raises(FileFormatError) as caught:
        H5Dataset(refused.child(name))
    assert message in str(caught.value) and str(caught.value).startswith(refused.h5.name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sparse", "of which the file holds 0; it is damaged"),
        ("partly", "of which the file holds 0; it is damaged"),
        ("checksum", "is packed with filters other than gzip and shuffle"),
        ("lzf", "is packed with filters other than gzip and shuffle"),
        ("bomb", "would grow from "),
    ],
)
def test_refused_chunks(refused: H5Object, name: str, message: str) -> None:
    with pytest.raises(FileFormatError) as caught:
        H5Dataset(refused.child(name))
    newer = "is laid out in a newer way, which is not read; write it again without chunks"
    assert message in str(caught.value) or newer in str(caught.value)


def test_the_same_object_by_two_names_is_parsed_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a/x"] = np.zeros(3)
        file["b"] = file["a"]
        file["a/back"] = file["/"]
    with H5File(tmp_path / "a.h5") as h5:
        assert h5.root.child("a") is h5.root.child("b")
        assert h5.root.child("a/back/" * 50 + "a/x").messages


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an HDF5 file: it does not begin with"),
        (b"\x89HDF\r\n\x1a", "is not an HDF5 file"),
        (b"\x89HDF\r\n\x1a\n", "is damaged: cannot read the superblock"),
        (b"\x89HDF\r\n\x1a\n\x07" + bytes(100), "is damaged: cannot read the superblock (NotImplementedError)"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(FileFormatError) as caught:
        H5File(tmp_path / "a.h5")
    assert message in str(caught.value)


def test_a_user_block_and_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["x"] = np.zeros(3)
    with pytest.raises(FileFormatError, match="is not an HDF5 file"):
        H5File(path)
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(300)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(FileFormatError, match=f"has {len(content) - 1} bytes; expected {len(content)}; it was cut"):
        H5File(path)


# -- bytes made to cost much --


COSTLY = {
    "many empty messages": new_header(bytes(639 * 1024)),
    "endless continuations": old_header(*[(16, struct.pack("<QQ", 0, 4096))] * 20_000, count=65_535),
    "a huge list of names": old_header((12, attribute(b"layer_names", 2**33, bytes(64)))),
    "overlapping links": new_header((struct.pack("<BHB", 6, 10, 0) + struct.pack("<BBQ", 1, 3, 600_000)) * 40_000),
    "a large heap": old_header((12, attribute(b"layer_names", None, struct.pack("<IQI", 5, 4096, 1)))).ljust(4048)
    + heap(4 * 2**20 - 64),
    "too large a heap": old_header((12, attribute(b"layer_names", None, struct.pack("<IQI", 5, 4096, 1)))).ljust(4048)
    + heap(8 * 2**20),
    "the same header as its own continuation": old_header(*[(16, struct.pack("<QQ", 48, 2000))] * 100, count=60_000),
}  # fmt: skip


@pytest.mark.parametrize("kind", COSTLY)
def test_costly_metadata_is_given_up(tmp_path: Path, kind: str) -> None:
    content = superblock(48, 48 + len(COSTLY[kind])) + COSTLY[kind]
    (tmp_path / "a.h5").write_bytes(content)
    start = time.thread_time()
    with pytest.raises(FileFormatError) as caught, H5File(tmp_path / "a.h5") as h5:
        h5.root.attribute("layer_names")
        h5.root.child("x")
    assert time.thread_time() - start < 2
    assert str(tmp_path / "a.h5") in str(caught.value) and "\n" not in str(caught.value)


MEASURE = """
import sys
from pathlib import Path
import pyfive.dataobjects
from numba_lstm.errors import FileFormatError
from numba_lstm.formats.hdf5 import H5File

def most():
    # Not resource.getrusage: its peak may be that of the process that started this one.
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

before = most()
for path in sys.argv[1:]:
    try:
        with H5File(path) as h5:
            h5.root.attribute("layer_names")
            h5.root.child("x")
    except FileFormatError:
        pass
print(most() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kilobytes of memory as on Linux")
def test_costly_metadata_takes_little_memory(tmp_path: Path) -> None:
    paths = []
    for number, content in enumerate(COSTLY.values()):
        paths.append(tmp_path / f"{number}.h5")
        paths[-1].write_bytes(superblock(48, 48 + len(content)) + content)
    command = [sys.executable, "-c", MEASURE, *map(str, paths)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert int(result.stdout) < 150_000
