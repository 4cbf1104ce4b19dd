"""exp, log and their like beside the mathematics of Python, to the last places and at the corners."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.plain_kernels import plain

with_errors_ignored = pytest.mark.filterwarnings("ignore::RuntimeWarning")
RNG = np.random.default_rng(1)
POINTS: dict[str, tuple[Callable[[float], float], Any]] = {
    "exp": (math.exp, RNG.uniform(-80, 80, 200)),
    "expm1": (math.expm1, np.concatenate([RNG.uniform(-30, 0, 200), -(2.0 ** -RNG.uniform(1, 20, 100))])),
    "log": (math.log, np.concatenate([2.0 ** RNG.uniform(0, 100, 200), 1 + RNG.uniform(0, 0.1, 100)])),
    "log1p": (math.log1p, np.concatenate([RNG.uniform(0, 1, 200), 2.0 ** -RNG.uniform(1, 60, 100)])),
    "normal_cdf": (lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), RNG.uniform(-6, 6, 200)),
}


@with_errors_ignored
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", POINTS)
def test_values(name: str, dtype: type) -> None:
    truth_of, points = POINTS[name]
    for x in points.astype(dtype):
        found = getattr(plain("elementary"), name)(x)
        truth = truth_of(float(x))
        assert found.dtype == dtype
        bound = 64 if name == "normal_cdf" else 4
        assert abs(float(found) - truth) <= bound * np.finfo(dtype).eps * abs(truth) + 1e-300, (x, found, truth)


@with_errors_ignored
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_corners(dtype: type) -> None:
    module, inf, nan = plain("elementary"), dtype(np.inf), dtype(np.nan)
    assert module.exp(inf) == inf and module.exp(-inf) == 0 and module.exp(dtype(0)) == 1
    assert module.exp(dtype(1000)) == inf and module.exp(dtype(-1000)) == 0
    assert module.expm1(-inf) == -1 and module.log(dtype(1)) == 0 and module.log1p(dtype(0)) == 0
    for name in POINTS:
        assert np.isnan(getattr(module, name)(nan)), name
    assert module.at_most(dtype(3), 2.0) == 2 and module.at_least(dtype(1), 2.0) == 2
    assert np.isnan(module.at_most(nan, 2.0)) and np.isnan(module.at_least(nan, 2.0))
