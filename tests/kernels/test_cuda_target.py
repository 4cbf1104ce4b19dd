"""The one module that imports numba's CUDA."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from numba.cuda.cudadrv.driver import CudaAPIError

import numba_lstm as nl
from numba_lstm.kernels import cuda_target


def test_the_trial_kernel_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    class Kernel:
        def __getitem__(self, launch: tuple[int, int]) -> Callable[[], None]:
            return lambda: tried.append(launch)

    cuda_target.run_trial_kernel.cache_clear()
    monkeypatch.setattr(cuda_target.cuda, "synchronize", lambda: tried.append("synchronized"))
    monkeypatch.setattr(cuda_target, "trial", Kernel())
    for _ in range(3):
        cuda_target.run_trial_kernel()
    assert tried == [(1, 1), "synchronized"]
    cuda_target.run_trial_kernel.cache_clear()


def test_the_name_that_numpy_has_no_more_is_there_for_numba_cuda() -> None:
    command = "import numpy as np; vars(np).pop('row_stack', None); import numba_lstm.kernels.cuda_target; "
    command += "assert np.row_stack is np.vstack; import sys; assert 'numba.cuda' in sys.modules"
    subprocess.run([sys.executable, "-c", command], check=True)


def test_numbas_cuda_is_imported_in_one_module() -> None:
    package = Path(nl.__file__).parent
    importing = {
        path.name
        for path in package.rglob("*.py")
        if any(
            line.lstrip().startswith(("import ", "from "))
            and "numba" in line
            and " cuda" in line.replace(",", " ")
            and "numba_lstm" not in line
            for line in path.read_text().splitlines()
        )
    }
    assert importing == {"cuda_target.py"}


def test_errors_are_cudas_by_their_class() -> None:
    derived = type("Error", (CudaAPIError,), {"__module__": "elsewhere"})
    assert cuda_target.is_cuda_error(CudaAPIError(1, "x")) and cuda_target.is_cuda_error(derived(1, "x"))
    similar = type("Error", (Exception,), {"__module__": "cudax.numba"})
    assert not cuda_target.is_cuda_error(similar()) and not cuda_target.is_cuda_error(ValueError())
