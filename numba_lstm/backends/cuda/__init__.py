"""The CUDA backend: `selection` checks for a GPU, `policy` decides, `run` makes the kernel calls on a `stream`.

It has the same functions as backends.cpu. Plans are functions in `policy` alone; numba is imported at the first use of
a GPU.
"""

from __future__ import annotations
