"""The HDF5 reader's refusals: a crafted file for each, and what it says; none is without a file."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support.hdf5_bytes import (
    ATTRIBUTE,
    ATTRIBUTE_INFO,
    DATA,
    DATASPACE,
    DATATYPE,
    EXTERNAL,
    FILTERS,
    LAYOUT,
    LINK,
    LINK_INFO,
    UNDEFINED,
    Message,
    attribute,
    chunked,
    contiguous,
    dataset,
    file,
    filters,
    floats,
    kind,
    link,
    strings,
    tree,
)
from support.refusals import unreached

from numba_lstm.errors import NumbaLSTMError
from numba_lstm.formats import bounded, hdf5, hdf5_data
from numba_lstm.formats.hdf5 import H5File
from numba_lstm.formats.hdf5_data import H5Dataset

VALUES = np.arange(12, dtype="<f4").reshape(3, 4)
RAW = VALUES.tobytes()


def read(h5: H5File) -> Any:
    return H5Dataset(h5.root.child("x")).read()


def names(h5: H5File) -> Any:
    return h5.root.attribute("names")


def of_dataset(*messages: Message, data: bytes = RAW) -> tuple[bytes, Callable[[H5File], Any]]:
    return file(x=messages, data=data), read


def of_attribute(content: bytes, *more: Message, flags: int = 0) -> tuple[bytes, Callable[[H5File], Any]]:
    return file((ATTRIBUTE, content, flags), *more), names


def of_link(*content: bytes) -> tuple[bytes, Callable[[H5File], Any]]:
    return file(*((LINK, one) for one in content)), lambda h5: h5.root.child("x")


def shared(which: int) -> tuple[Message, ...]:
    return tuple((one[0], one[1], 2 if one[0] == which else 0) for one in dataset(3, 4))


def lacking(which: int) -> tuple[Message, ...]:
    return tuple(one for one in dataset(3, 4) if one[0] != which)


def chunks(
    *corners: int, layout: bytes | None = None, more: tuple[Message, ...] = (), size: int = 48, shape: Any = (3, 4)
) -> Any:
    """A dataset in chunks of (2, 4) or others, whose tree lists `corners` of the first axis, behind the data."""
    listed = tree(*(((row, 0), DATA, size) for row in corners))
    made = dataset(*shape, layout=layout or chunked(DATA + 48, 2, 4), more=more)
    return of_dataset(*made, data=RAW + listed)


INFO = struct.pack("<BB", 0, 0)
SPECIAL = {"offset": 1, "precision": 31, "exponent": 22, "width": 9, "mantissa": 1, "length": 22, "bias": 126}
LEVELS = b"BTHD" + bytes(8) + b"\x09\0" + bytes(64)
LONG = strings(b"names", 4097, b"a" * 4097, 1)
Case = tuple[tuple[bytes, Callable[[H5File], Any]], str]
CASES: dict[str, Case] = {
    "another file": ((b"PK\3\4" + bytes(60), read), "is not an HDF5 file: it does not begin with"),
    "a shifted base": ((file(x=dataset(3, 4), data=RAW, base=512), read), "addresses shifted by 512 bytes, which is n"),
    "cut short": ((file(x=dataset(3, 4), data=RAW, end=1), read), "; it was cut short: copy or write it again"),
    "a version of its own": ((file()[:8] + b"\7" + file()[9:], read), "cannot read the superblock (NotImplementedErro"),
    "no such value in the heap": (
        (file((ATTRIBUTE, attribute(b"names", None, struct.pack("<IQI", 5, DATA, 9))),
              data=b"GCOL" + struct.pack("<BxxxQ", 1, 48) + struct.pack("<HHIQ", 1, 0, 0, 5) + bytes(16)), names),
        "is damaged: a value is missing from its heap"),
    "4097 messages": ((file(*[(0, b"")] * 4097), names), "has 4097 parts; it is damaged: copy or write it again"),
    "attributes elsewhere": ((file((ATTRIBUTE_INFO, INFO + struct.pack("<QQ", 96, 96))), names), "outside its header"),
    "attributes elsewhere, in order": ((file((ATTRIBUTE_INFO, b"\0\1\0\0" + struct.pack("<QQ", 96, 96))), names),
                                       "keeps its attributes outside its header, which is not read"),
    "names cut short": (of_attribute(strings(b"names", 8, bytes(23), 3)), "its attribute names is cut short"),
    "a name cut short": (of_attribute(strings(b"names", 8, bytes(7))), "its attribute names is cut short"),
    "references cut short": (of_attribute(attribute(b"names", 2, bytes(31))), "its attribute names is cut short"),
    "endless names": (of_attribute(LONG), "its attribute names holds endless names"),
    "a shared attribute": (of_attribute(strings(b"names", 8, bytes(8)), flags=2), "an attribute is of a kind that is"),
    "an attribute of version 4": (of_attribute(strings(b"names", 8, bytes(8), version=4)), "an attribute is of a kind"),
    "an attribute of version 0": (of_attribute(strings(b"names", 8, bytes(8), version=0)), "an attribute is of a kind"),
    "a shared type": (of_attribute(strings(b"names", 8, bytes(8), version=3, flags=1)), "an attribute is of a kind th"),
    "a shared space": (of_attribute(strings(b"names", 8, bytes(8), version=2, flags=2)), "an attribute is of a kind t"),
    "nine levels": ((file((LINK_INFO, INFO + struct.pack("<QQ", DATA, DATA)), data=LEVELS),
                     lambda h5: h5.root.child("x")), "is damaged: its index has 9 levels"),
    "no such member": (of_link(link(b"y", 4096)), "has no '/x', which it lists; it is damaged"),
    "a soft link": (of_link(link(b"x", 0, kind=1)), "'/x' is a soft link, which is not followed; save the model into"),
    "an external link": (of_link(link(b"x", 0, kind=64)), "'/x' is an external link, which is not followed"),
    "another link": (of_link(link(b"x", 0, kind=65)), "'/x' is a link of an unknown kind, which is not followed"),
    "a link of version 2": (of_link(link(b"x", 0, version=2)), "a link has version 2"),
    "a link cut short": (of_link(link(b"x", 0, length=10)), "a link is cut short"),
    "a soft link cut short": (of_link(link(b"x", 0, kind=1, length=10)), "a link is cut short"),
    **{f"without {which}": (of_dataset(*lacking(which)), "'/x' is not a dataset; expected an array of numbers")
       for which in (DATASPACE, DATATYPE, LAYOUT)},
    **{f"shared {which}": (of_dataset(*shared(which)), "'/x' shares its description with others, which is not read")
       for which in (DATASPACE, DATATYPE, LAYOUT)},
    "no space": (of_dataset((DATASPACE, b"\2\0\0\2"), *lacking(DATASPACE)), "'/x' has the shape None; expected an arr"),
    "2**62 rows": (of_dataset(*dataset(2**62, 0)), "'/x' has the shape (4611686018427387904, 0); expected an array of"),
    "33 axes": (of_dataset(*dataset(*[1] * 33)), "'/x' has the shape (1, 1, 1, 1, 1, 1, ...); expected an array of"),
    **{f"class {number}": (of_dataset(*dataset(3, 4, dtype=kind(number))), f"'/x' holds {held}; expected floats or int")
       for number, held in {2: "no numbers", 3: "strings", 4: "bit fields", 5: "opaque bytes", 6: "compounds",
                            7: "no numbers", 8: "enumerations", 9: "strings", 10: "no numbers"}.items()},
    **{f"floats with {key} {value}": (of_dataset(*dataset(3, 4, dtype=floats(**{key: value}))), "floats of a special k")
       for key, value in SPECIAL.items()},
    "VAX order": (of_dataset(*dataset(3, 4, dtype=floats(bits=0x61))), "'/x' holds floats of a special kind; expected"),
    "VAX order alone": (of_dataset(*dataset(3, 4, dtype=floats(bits=0x60))), "'/x' holds floats of a special kind; ex"),
    "16 bytes": (of_dataset(*dataset(3, dtype=floats(16))), "'/x' holds floats of a special kind; expected IEEE 754"),
    "external": (of_dataset(*dataset(3, 4, more=((EXTERNAL, b""),))), "'/x' keeps its data in another file, which is"),
    "virtual": (of_dataset(*dataset(3, 4, layout=b"\4\3" + bytes(12))), "'/x' is virtual, which is not read; write it"),
    "newer chunks": (of_dataset(*dataset(3, 4, layout=b"\4\2" + bytes(12))), "'/x' is laid out in a newer way, which"),
    "old and compact": (of_dataset(*dataset(3, 4, layout=b"\2\2\0" + bytes(20))), "'/x' is laid out in a newer way, w"),
    "a byte too few": (of_dataset(*dataset(3, 4), data=RAW[:-1]), "48 bytes, of which the file holds 47; it is damage"),
    "behind the end": (of_dataset(*dataset(3, 4, layout=contiguous(48, 9999))), "48 bytes, of which the file holds 0;"),
    "never written": (of_dataset(*dataset(3, 4, layout=contiguous(48, UNDEFINED))), "of which the file holds 0"),
    "compact": (of_dataset(*dataset(3, 4, layout=b"\3\0\x2f\0" + RAW)), "48 bytes, of which the file holds 47; it is"),
    "axes of chunks": (chunks(0, 2, layout=chunked(DATA + 48, 2)), "'/x' has 2 axes and chunks of 1"),
    "old axes of chunks": (chunks(0, 2, layout=b"\1\4\2" + bytes(5) + struct.pack("<Q4I", DATA, 2, 4, 1, 4)), "chunks"),
    "no axes": (chunks(0, layout=chunked(DATA + 48), shape=()), "'/x' has 0 axes and chunks of 0"),
    "no tree": (chunks(layout=chunked(UNDEFINED, 2, 4)), "48 bytes, of which the file holds 0; it is damaged"),
    "chunks of nothing": (chunks(0, 2, layout=chunked(DATA + 48, 0, 4)), "48 bytes, of which the file holds 0; it is"),
    "one chunk of two": (chunks(0), "48 bytes, of which the file holds 0; it is damaged"),
    "another chunk": (chunks(2, 4), "48 bytes, of which the file holds 0; it is damaged"),
    "too large chunks": (chunks(0, 2, size=2**14), "48 bytes, of which the file holds 0; it is damaged"),
    "chunks behind the end": (of_dataset(*dataset(3, 4, layout=chunked(DATA, 3, 4)), data=tree(((0, 0), 9000, 48))),
                              "48 bytes, of which the file holds 0; it is damaged"),
    "chunks over each other": (chunks(*range(0, 600, 2), size=8000, shape=(600, 4)), "of which the file holds 0"),
    "checksums": (chunks(0, 2, more=((FILTERS, filters(3)),)), "'/x' is packed with filters other than gzip and shuff"),
    "gzip and another": (chunks(0, 2, more=((FILTERS, filters(1, 4)),)), "is packed with filters other than gzip and"),
    "a bomb": (chunks(0, shape=(2**22 + 2**15, 1), layout=chunked(DATA + 48, 2, 1)), "would grow from 48 to 1690"),
    "a large chunk": (chunks(0, layout=chunked(DATA + 48, 2**23, 4)), "would grow from 48 to 48 bytes; refused"),
    "bytes that are not packed": (chunks(0, layout=chunked(DATA + 48, 3, 4), more=((FILTERS, filters(1)),)),
                                  "is damaged: cannot read the data of '/x' (error); copy or write it again"),
}  # fmt: skip


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NumbaLSTMError]:
    """The error raised for each case."""
    path = tmp_path_factory.mktemp("refused") / "a.h5"
    found = {}
    for name, ((content, use), _) in CASES.items():
        path.write_bytes(content)
        try:
            with H5File(path) as h5:
                found[name] = NumbaLSTMError(f"no error: {use(h5)!r}")
        except NumbaLSTMError as error:
            found[name] = error
    return found


@pytest.mark.parametrize("name", CASES)
def test_refusals(errors: dict[str, NumbaLSTMError], name: str) -> None:
    message, words = str(errors[name]), CASES[name][1]
    assert words in message and "\n" not in message and len(message) < 500
    assert "refused" in message.partition("a.h5")[0]  # every message names the file


def caught(path: Path, use: Callable[[H5File], Any], words: str) -> NumbaLSTMError:
    with pytest.raises(NumbaLSTMError) as info, H5File(path) as h5:
        use(h5)
    assert words in str(info.value) and str(info.value).startswith(str(path))
    return info.value


def test_every_refusal_has_a_file(
    errors: dict[str, NumbaLSTMError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as made:
        for number in range(9):
            made[("x" if number else "x" * 9000) + str(number)] = number
    others = [caught(path, lambda h5: h5.root.links, "is damaged: it has a link without end")]
    whole = file(x=dataset(3, 4), data=RAW)
    path.write_bytes(whole)

    def shrink(h5: H5File) -> None:
        data = H5Dataset(h5.root.child("x"))
        path.write_bytes(whole[:-1])
        data.read()

    others.append(caught(path, shrink, "became shorter while it was read"))
    path.write_bytes(whole)
    with monkeypatch.context() as patch:
        patch.setattr(hdf5, "_HEADER_BYTES", 15)
        others.append(caught(path, read, "has metadata beyond all measure; it is damaged or not a model"))
    with monkeypatch.context() as patch:
        patch.setattr(bounded, "_METADATA_SECONDS", -1.0)
        others.append(caught(path, read, "takes too long to make sense of; it is damaged or not a model"))
    monkeypatch.setitem(sys.modules, "pyfive", None)
    with pytest.raises(NumbaLSTMError, match="needs the package pyfive") as missing:
        H5File(path)
    assert unreached((hdf5, hdf5_data, bounded), [*errors.values(), *others, missing.value]) == []


# -- and what looks like it is read --


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (of_dataset(*dataset(3, 4)), VALUES),
        ((file(x=dataset(3, 4), data=RAW + b"more", end=-4), read), VALUES),
        (of_dataset(*dataset(3, 4, dtype=floats(bits=0x21))), VALUES.view(">f4")),
        (of_dataset(*dataset(3, 4, layout=b"\3\0\x30\0" + RAW)), VALUES),
        (of_dataset(*dataset(3, 4, layout=b"\2\2\1" + bytes(5) + struct.pack("<QIII", DATA, 3, 4, 4))), VALUES),
        (of_dataset(*dataset(*[1] * 32)), np.zeros([1] * 32, "f")),
        (of_dataset(*dataset(0, 4, layout=contiguous(0, UNDEFINED))), np.zeros((0, 4), "f")),
        (chunks(0, 2), np.concatenate([VALUES[:2], VALUES[:1]])),
        (chunks(0, layout=b"\1\3\2" + bytes(5) + struct.pack("<Q3I", DATA + 48, 3, 4, 4)), VALUES),
        (of_attribute(strings(b"names", 8, b"a".ljust(8, b"\0") * 3, 3)), [b"a"] * 3),
        (of_attribute(strings(b"names", 4096, b"a" * 4096, 1)), [b"a" * 4096]),
        (of_attribute(strings(b"names", 8, b"abcdefgh", version=2)), b"abcdefgh"),
        (of_attribute(strings(b"names", 8, b"abcdefgh", version=3)), b"abcdefgh"),
        (of_attribute(strings(b"names", 8, b"abcdefgh", flags=3)), b"abcdefgh"),
        (of_attribute(strings(b"other", 8, b"abcdefgh")), None),
        ((file(*[(0, b"")] * 4096), names), None),
        ((file((ATTRIBUTE_INFO, INFO + b"\xff" * 16)), names), None),
        ((file((ATTRIBUTE_INFO, b"\0\1\0\0" + b"\xff" * 16)), names), None),
    ],
)  # fmt: skip
def test_what_is_read(tmp_path: Path, made: Any, expected: Any) -> None:
    (tmp_path / "a.h5").write_bytes(made[0])
    with H5File(tmp_path / "a.h5") as h5:
        found = made[1](h5)
    assert type(found) is type(expected) and np.array_equal(found, expected)
    assert getattr(found, "dtype", None) == getattr(expected, "dtype", None)


@pytest.mark.parametrize("width", range(4))
@pytest.mark.parametrize("ordered", [0, 4])
@pytest.mark.parametrize("encoded", [0, 16])
def test_links_of_every_form(tmp_path: Path, width: int, ordered: int, encoded: int) -> None:
    """Without a kind, with an order of creation and an encoding, and with the length of the name in 1 to 8 bytes."""
    head = struct.pack("<BB", 1, width | ordered | encoded) + bytes(2 * ordered) + bytes(bool(encoded))
    made = head + (1).to_bytes(1 << width, "little") + b"y" + struct.pack("<Q", 1234)
    (tmp_path / "a.h5").write_bytes(file((LINK, made)))
    with H5File(tmp_path / "a.h5") as h5:
        assert h5.root.links == {"y": 1234}
