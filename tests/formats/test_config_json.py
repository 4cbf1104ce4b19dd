"""formats/config_json.py: JSON that nobody vouches for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numba_lstm.errors import FileFormatError
from numba_lstm.formats.config_json import MAX_BYTES, parse_json, read_json


@pytest.mark.parametrize("content", [b'{"units": 4}', b'\xef\xbb\xbf{"units": 4}', b' {"units":\n4}\n'])
def test_reads_utf8_with_and_without_a_mark(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    assert read_json(path) == {"units": 4}


def test_values_come_as_python_has_them() -> None:
    text = '{"a": [1, -2.5, true, null, "h\u00e9\\u20ac\\ud83d\\ude00"], "b": {}}'
    expected = {"a": [1, -2.5, True, None, "h\u00e9\u20ac\U0001f600"], "b": {}}
    assert parse_json(text.encode(), "config") == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "config is empty; expected JSON"),
        (b" \n", "config is empty; expected JSON"),
        (b"{not json", "config is not JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
        (b'{"units": 4} 5', "config is not JSON: Extra data"),
        (b"\xff\xfe{\x00}\x00", "config is not text in UTF-8 (byte 0)"),
        (b'{"a": NaN}', "config holds the number 'NaN'; expected finite numbers of ordinary size"),
        (b"[-Infinity]", "config holds the number '-Infinity'"),
        (b"[1e999]", "config holds the number '1e999'"),
        (b"[" + b"9" * 30 + b"]", "config holds the number '99999"),
        (b"[" + b"9" * 100_000 + b"]", "config holds the number '99999"),
        (b'{"units": 4, "units": 5}', "config gives 'units' twice in one object; expected it once"),
        (b"[" * 100 + b"]" * 100, "config is nested beyond 64 levels"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "config is nested beyond 64 levels"),
        (b'["\\ud800"]', "config holds half of a surrogate pair in '\\ud800'; expected text"),
        (b'{"\\udfff": 1}', "config holds half of a surrogate pair"),
        (b" " * (MAX_BYTES + 1), f"expected a configuration of at most {MAX_BYTES}"),
    ],
)
def test_refusals(content: bytes, message: str) -> None:
    with pytest.raises(FileFormatError) as caught:
        parse_json(content, "config")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(FileFormatError, match="has 1099511627776 bytes"):
        read_json(path)


def test_the_deepest_nesting_that_is_accepted() -> None:
    assert parse_json(b"[" * 64 + b"]" * 64, "config")


@settings(max_examples=300)
@given(st.binary(max_size=60) | st.text('[]{}:,"\\0123456789.eE+-truefalsnNaI dD8uU\n').map(str.encode))
def test_any_bytes_give_a_value_or_our_error(content: bytes) -> None:
    try:
        parse_json(content, "config")
    except FileFormatError as error:
        assert "\n" not in str(error)
