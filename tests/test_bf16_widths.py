"""bf16 on CPUs with instructions for it and without: the arithmetic of both, and sums that stay in registers."""

from __future__ import annotations

from pathlib import Path

import llvmlite.binding as llvm
import pytest
from support import bf16
from support.bf16 import SHAPES
from support.builds import Build, built, check_loops, on_aarch64


def beside(folder: Path) -> list[Build]:
    """The builds for a few rows."""
    return built(folder, False, 1, "support.bf16")


@pytest.fixture(scope="module", params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["few", "many"])
def builds(
    request: pytest.FixtureRequest, beside: list[Build], tmp_path_factory: pytest.TempPathFactory
) -> list[Build]:
    if not request.param:
        return beside
    return built(tmp_path_factory.mktemp("builds"), True, 2, "support.bf16")


@pytest.fixture
def avx2(builds: list[Build]) -> Build:
    if len(builds) == 1:
        pytest.skip("this machine has no AVX2 with FMA")
    return builds[1]


def check_errors(build: Build) -> None:
    errors = {name: float(error) for name, error in build.arrays.items() if name != "pairs"}
    assert len(errors) >= 3 * len(SHAPES) and max(errors.values()) < bf16.FLOAT32_ERROR, errors


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
