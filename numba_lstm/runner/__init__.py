"""Runs over .npy files in chunks of rows: reader, compute, writer."""

from __future__ import annotations

from numba_lstm.runner.options import RunOptions
from numba_lstm.runner.run import RunReport, run_npy

__all__ = ["RunOptions", "RunReport", "run_npy"]
