"""GPUs: `choice` finds one, `policy` decides, `run` makes the calls on a `card`; the same functions as in backends.cpu.

Plans are functions in `policy` alone. numba is imported only where a GPU is used.
"""

from __future__ import annotations
