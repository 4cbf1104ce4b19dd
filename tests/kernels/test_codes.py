"""The numbers of activations: their places in the tables, and what is missing."""

from __future__ import annotations

import pytest

from numba_lstm.kernels import codes


def test_numbers_are_places() -> None:
    lines, rows, names = [*codes.COMMON_NAMES, *codes.RARE_NAMES], codes.ROW_NAMES, list(codes.CODES)
    assert list(codes.numbered(lines, rows, names).values()) == [*range(len(names))]
    assert codes.numbered([*lines, "cube"], rows, [*names, "cube"])["cube"] == len(lines)
    for name in "linear", "tanh", "sigmoid", "hard_sigmoid", "softmax", "log_softmax", "sparsemax":
        assert getattr(codes, name.upper()) == codes.CODES[name]
    assert codes.CODES["relu"] == codes.LAST_COMMON < codes.CODES["relu6"] < codes.SOFTMAX < codes.CUSTOM


def test_what_is_missing_of_an_activation_is_told() -> None:
    lines, rows, names = [*codes.COMMON_NAMES, *codes.RARE_NAMES], codes.ROW_NAMES, list(codes.CODES)
    for arguments, message in (
        ((lines, rows, [*names, "cube"]), r"activations that have no line in codes.py: \['cube'\]"),
        (([*lines, "cube"], rows, names), r"dialects.ACTIVATIONS gives no name: \['cube'\]"),
        (([*lines, lines[3]], rows, names), "lines for"),
    ):
        with pytest.raises(RuntimeError, match=message):
            codes.numbered(*arguments)
