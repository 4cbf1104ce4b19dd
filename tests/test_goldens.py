"""The full set of stored Keras results, judged by the set's own compare.py."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.goldens import Goldens

pytestmark = pytest.mark.goldens

# A line of compare.py's table: group, arrays, ..., rms/K, failures.
LINE = re.compile(r"^(?P<group>\S.*?)\s+\d+ \|.*\|\s+(?P<ratio>[\d.]+|nan)\s+(?P<failures>\d+)$")


def largest_ratio(group: str) -> float:
    """How far the rms error may be above Keras's own: a few elements decide in the groups of activations."""
    if "gain" in group:
        return 2.0
    return 1.25 if group.split()[0].endswith(("/activation_pairs", "/activations")) else 1.0


@pytest.fixture
def table(
    goldens: Goldens, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, str], list[dict[str, Any]]]:
    """Run compare.py over all categories of a system; its groups, and no failure."""

    def judged(system: str, dtype: str) -> list[dict[str, Any]]:
        runner = "support.golden_runner:run" if dtype == "float32" else "support.golden_runner:run64"
        monkeypatch.setattr(sys, "argv", ["compare.py", "--runner", runner, "--system", system, "--dtype", dtype])
        code = goldens.compare().main()
        text = capsys.readouterr().out
        assert "\n0 failures, 0 missing" in text, text
        assert code == 0
        return list(groups(text))

    return judged


def groups(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        match = LINE.match(line)
        if match:
            yield {"group": match["group"], "ratio": float(match["ratio"]), "failures": int(match["failures"])}


@pytest.mark.parametrize("system", ["tf115", "tf215", "k3"])
def test_float32(system: str, table: Callable[[str, str], list[dict[str, Any]]]) -> None:
    rows = table(system, "float32")
    assert len(rows) > 10
    for row in rows:
        assert row["failures"] == 0, row
        if not row["group"].endswith("chaotic"):
            assert row["ratio"] <= largest_ratio(row["group"]), row


@pytest.mark.parametrize("system", ["tf115", "tf215", "k3"])
def test_float64(system: str, table: Callable[[str, str], list[dict[str, Any]]]) -> None:
    # compare.py asks for 1e-10 here; the error is some ulp of float64.
    assert all(row["failures"] == 0 for row in table(system, "float64"))
