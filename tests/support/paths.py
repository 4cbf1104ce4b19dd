"""Where things are."""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
DATA = TESTS / "data"
GOLDENS = TESTS / "goldens" / "data"  # the selection of stored results that is in the repository
