"""What a run's file is called: the date and the CPU."""

from __future__ import annotations

import datetime
import re


def slug(name: str) -> str:
    """The CPU's name as part of a file's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower().replace("(r)", "").replace("(tm)", "")).strip("-")


def today() -> str:
    """The date."""
    return datetime.date.today().isoformat()
