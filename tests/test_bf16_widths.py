"""bf16 on CPUs with instructions for it and without: the arithmetic of both, and sums that stay in registers."""

from __future__ import annotations

from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
import test_bf16
import test_widths
from test_widths import Build, check_loops, on_aarch64

from numba_lstm import driver
from numba_lstm.backends.cpu import threads
from numba_lstm.kernels import simd

SHAPES = ((3, 5), (17, 16), (131, 21), (9, 150))  # (input_dim, units)


def save(folder: str, everything: bool) -> None:
    """In a process of its own: errors beside an emulation for a few rows, for many too with everything; the code."""
    threads.set_num_threads(1)
    found = {"pairs": np.array(simd.BF16_PAIRS)}
    for batch in (1, 2, 5, 9, 52) if everything else (1, 2, 5):
        for input_dim, units in SHAPES:
            rng = np.random.default_rng(units)
            weights = test_bf16.random_weights(rng, input_dim, units)
            h, c = rng.standard_normal((2, batch, units)).astype(np.float32)
            x = rng.standard_normal((batch, 7, input_dim)).astype(np.float32)
            y, _, _ = driver.sequence(test_bf16.packed_cell(weights), x, h, c, return_sequences=True)
            error = test_bf16.largest_step_error(y, x, weights, h, c, np.ones((batch, 7), bool))
            found[f"{batch} {input_dim} {units}"] = np.array(error)
    test_widths.write(folder, found)


def beside(folder: Path) -> list[Build]:
    """The builds for a few rows."""
    return test_widths.built(folder, False, 1, "test_bf16_widths")


@pytest.fixture(scope="module", params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["few", "many"])
def builds(
    request: pytest.FixtureRequest, beside: list[Build], tmp_path_factory: pytest.TempPathFactory
) -> list[Build]:
    if not request.param:
        return beside
    return test_widths.built(tmp_path_factory.mktemp("builds"), True, 2, "test_bf16_widths")


@pytest.fixture
def avx2(builds: list[Build]) -> Build:
    if len(builds) == 1:
        pytest.skip("this machine has no AVX2 with FMA")
    return builds[1]


def check_errors(build: Build) -> None:
    errors = {name: float(error) for name, error in build.arrays.items() if name != "pairs"}
    assert len(errors) >= 3 * len(SHAPES) and max(errors.values()) < test_bf16.FLOAT32_ERROR, errors


def test_on_this_machine(builds: list[Build]) -> None:
    own = builds[0]
    assert own.arrays["pairs"] == bool(llvm.get_host_cpu_features().get("avx512bf16"))
    check_errors(own)
    check_loops(own.texts("s"), 6 if own.vector_bits == 512 else 3)
    assert any("vdpbf16ps" in text for text in own.texts("s")) == own.arrays["pairs"]


def test_without_instructions_for_bf16(avx2: Build) -> None:
    assert not avx2.arrays["pairs"]
    check_errors(avx2)
    check_loops(avx2.texts("s"), 3)
    assert not any("%zmm" in text or "bf16" in text for text in avx2.texts("s"))


def test_on_aarch64(avx2: Build) -> None:
    check_loops(on_aarch64(avx2), 2 * 3)
