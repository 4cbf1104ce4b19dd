"""GPUs: which device computes, memory on a card, and sequences run there. numba is imported only where one is used."""

from __future__ import annotations
