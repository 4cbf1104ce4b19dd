"""Runs over .npy files in chunks of rows: reader, compute, writer."""

from __future__ import annotations

from numba_lstm.runner.compare import Comparison, compare_npy
from numba_lstm.runner.options import RunOptions
from numba_lstm.runner.run import RunReport, run_npy

__all__ = ["Comparison", "RunOptions", "RunReport", "compare_npy", "run_npy"]
