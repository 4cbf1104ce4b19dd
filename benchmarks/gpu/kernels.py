"""Kernel times by CUDA's events, beside torch's LSTM, which is cuDNN's."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.gpu.bits import cell_of, forced, inputs_of, tiers_of
from numba_lstm.backends.cuda.run import prepare
from numba_lstm.backends.cuda.stream import Stream
from numba_lstm.kernels.cuda_target import cuda

SHAPES = (
    (4096, 100, 32, 64),
    (1024, 100, 64, 128),
    (4096, 100, 16, 16),
    (64, 500, 256, 512),
    (256, 200, 512, 1024),
    (1, 1000, 256, 256),
)
TINY = ((2, 1, 2, 2),)
ROWS = (1, 2, 4, 8)  # of a thread; the last one is more than policy.rows_of_block takes
TIMES = 30


def by_events(start: Callable[[], object], times: int) -> float:
    """The median of seconds between two events around a launch."""
    start()
    cuda.synchronize()
    found = []
    for _ in range(times):
        before, after = cuda.event(), cuda.event()
        before.record()
        start()
        after.record()
        after.synchronize()
        found.append(float(before.elapsed_time(after)) / 1e3)
    return statistics.median(found)


def own(shape: tuple[int, ...], times: int, rows: int | None = None, **options: Any) -> float:
    """The kernel alone: inputs, weights and states are on the GPU."""
    activations = options.pop("activations", ("tanh", "sigmoid"))
    dtype = options.pop("dtype", "float32")
    cell, given = cell_of(shape, dtype, 1, activations), inputs_of(shape, dtype, 1)
    job = prepare(Stream(), cell, *given, return_sequences=True, rows=rows, **options)
    return by_events(job.start, times)


def variants(shape: tuple[int, ...]) -> dict[str, dict[str, Any]]:
    """What cuDNN cannot do, or not without another way of running."""
    batch, timesteps, _, units = shape
    rng = np.random.default_rng(2)
    return {
        "hard_sigmoid": {"activations": ("tanh", "hard_sigmoid")},
        "a mask with holes": {"mask": rng.random((batch, timesteps)) < 0.9},
        "recurrent dropout": {"recurrent_dropout_mask": rng.random((4, batch, units)).astype(np.float32)},
        "float64": {"dtype": "float64"},
    }


def torchs(shape: tuple[int, ...], times: int) -> dict[str, float]:
    """torch.nn.LSTM in each of its precisions."""
    import torch

    batch, timesteps, input_dim, units = shape
    found = {}
    for name, dtype, tf32 in (
        ("float32", torch.float32, False),
        ("tf32", torch.float32, True),
        ("float16", torch.float16, False),
        ("bf16", torch.bfloat16, False),
    ):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        lstm = torch.nn.LSTM(input_dim, units, batch_first=True).to("cuda", dtype).eval()
        x = torch.randn(batch, timesteps, input_dim, device="cuda", dtype=dtype)
        with torch.inference_mode():
            lstm(x)
            torch.cuda.synchronize()
            taken = []
            for _ in range(times):
                before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                before.record()
                lstm(x)
                after.record()
                after.synchronize()
                taken.append(before.elapsed_time(after) / 1e3)
        found[name] = statistics.median(taken)
    return found


def measured(tiny: bool) -> list[dict[str, Any]]:
    """Seconds for each shape: the kernels as chosen, by tier and rows of a thread, their variants, and torch."""
    found = []
    for shape in TINY if tiny else SHAPES:
        # Large shapes take their time: a second or so for each entry will do.
        times = 1 if tiny else max(5, min(TIMES, int(3e13 / (8 * shape[0] * shape[1] * shape[3] * sum(shape[2:])))))
        entry: dict[str, Any] = {"shape": shape, "times": times, "own": own(shape, times)}
        entry["tiers"] = {}
        for tier in tiers_of(shape, "float32"):
            with forced(tier):
                entry["tiers"][tier] = {str(rows): own(shape, times, rows) for rows in ROWS}
        entry["variants"] = {name: own(shape, times, **options) for name, options in variants(shape).items()}
        try:
            entry["torch"] = torchs(shape, times)
        except Exception as error:  # without torch, or with one that fails, the rest is worth having
            entry["torch"], entry["torch_problem"] = {}, " ".join(str(error).split())[:200]
        found.append(entry)
    return found
