"""Fixtures of all tests: fixed seeds, and the folder with the results of the real Keras."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

# Where the CPUs are busy, threads of OpenBLAS spin for longer than small matrices take. (Said before NumPy comes.)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from support import beside as processes
from support import compile_ahead, cuda_compiler
from support.goldens import GOLDENS_VARIABLE, Goldens

from numba_lstm.backends.cuda import selection

collect_ignore = ["differential/keras_side.py"]  # which runs in Keras's interpreter
_LEFT_OUT = pytest.StashKey[dict[str, int]]()
# The number of tests from which on kernels are compiled ahead.
_MANY = 1000
# Folders of tests that have garbage collected, or test what does.
_COLLECTING = {"bench", "cuda", "runner"}
_BESIDE = pytest.StashKey[dict[ModuleType, Future[Any]]]()

# The same examples on every run; compiling a kernel inside an example is slow once, so there is no deadline.
settings.register_profile(
    "fixed",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def goldens() -> Goldens:
    """The folder named in the environment; tests that use it carry the marker ``goldens``."""
    folder = Path(os.environ[GOLDENS_VARIABLE]).expanduser()
    if not (folder / "compare.py").is_file() or not (folder / "data").is_dir():
        pytest.fail(f"{GOLDENS_VARIABLE} is {folder}; expected a folder with compare.py and data/", pytrace=False)
    return Goldens(folder)


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same on every run."""
    return np.random.default_rng(20151)


@pytest.fixture
def bench_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the measurements of ``numba-lstm bench`` to a moment."""
    from numba_lstm.backends.cpu import threads
    from numba_lstm.bench import demo, networks, short

    monkeypatch.setattr(short, "SECONDS", 0.0)
    monkeypatch.setattr(short, "SHAPES", ((1, 9, 4, 16), (3, 5, 4, 16)))
    monkeypatch.setattr(short, "STEP_UNITS", (16,))
    monkeypatch.setattr(demo, "STEP_SECONDS", 0.0)
    monkeypatch.setattr(demo, "COMMAND_TURNS", 1)
    monkeypatch.setattr(networks, "MODULES", ("this_project",))
    monkeypatch.setattr(threads, "_number", None)


@pytest.fixture(autouse=True, scope="module")
def small_heap(request: pytest.FixtureRequest) -> None:
    """Objects of the tests before are left out where garbage is collected often: there are millions of them."""
    if request.path.parent.name in _COLLECTING:
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def signals_end_nobody() -> Iterator[None]:
    """The command, run in this process, has a thread that ends the process some time after a signal: not this one."""
    yield
    signal.set_wakeup_fd(-1)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """A Ctrl-C raises KeyboardInterrupt, also where a shell runs the tests in its background and has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def one_line() -> Callable[[pytest.ExceptionInfo[BaseException]], str]:
    """The text of an error, which must be one line."""

    def text(info: pytest.ExceptionInfo[BaseException]) -> str:
        message = str(info.value)
        assert "\n" not in message and message
        return message

    return text


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    """Start the selected tests' other processes, see support/beside.py, with the first test."""
    gc.collect()
    gc.freeze()  # what is there now stays; tests that have garbage collected need not look through all of it
    waiting = [item for item in session.items if isinstance(item, pytest.Function) and "beside" in item.fixturenames]
    modules = dict.fromkeys(item.module for item in waiting if item.get_closest_marker("slow") is None)
    with ThreadPoolExecutor(1) as thread, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folders = [(module, Path(name) / module.__name__) for module in modules]
        if session.config.option.collectonly:
            folders = []
        for _, folder in folders:
            folder.mkdir()
        if len(session.items) >= _MANY and folders:
            thread.submit(compile_ahead.beside)
        going = {module: thread.submit(module.beside, folder) for module, folder in folders}
        session.config.stash[_BESIDE] = going
        try:
            return (yield)
        finally:
            thread.shutdown(wait=False, cancel_futures=True)
            processes.stop()


@pytest.fixture(scope="module")
def beside(request: pytest.FixtureRequest) -> Any:
    """The result of the module's function of that name; None where only slow tests of it were selected."""
    future = request.config.stash[_BESIDE].get(request.module)
    return None if future is None else future.result()


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Whoever was handed an array by DLPack has let go of it in the end."""
    from numba_lstm.backends.cuda import dlpack

    before = len(dlpack._handed_out)
    yield
    if len(dlpack._handed_out) > before:
        gc.collect()  # an error's traceback holds on to what its frames had
    assert len(dlpack._handed_out) == before


def _unavailable() -> dict[str, tuple[str, str]]:
    """The markers of tests that cannot run here: what these tests are, and what would let them run."""
    found = {}
    if not os.environ.get(GOLDENS_VARIABLE):
        found["goldens"] = (
            "that compare with the large stored results of Keras",
            f"set {GOLDENS_VARIABLE} to their folder",
        )
    if not cuda_compiler.is_there():
        found["cuda_compiler"] = (
            "that compile CUDA kernels without a GPU",
            "install 'numba_lstm[cuda]' 'cuda-toolkit==13.0.*' 'nvidia-cuda-nvcc==13.0.*'",
        )
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0") or selection.problem() is not None:
        found["gpu"] = "that compute on a GPU", "install 'numba_lstm[cuda]' on a machine that has one"
    return found


def _place(item: pytest.Item) -> int:
    """Modules that need few kernels come first, while others' are compiled; those that wait for processes, last."""
    if item.path.parent.name == "formats":
        return 0
    return 2 if hasattr(getattr(item, "module", None), "beside") else 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect and count the tests that cannot run here."""
    if len(items) >= _MANY:
        items.sort(key=_place)
    config.stash[_LEFT_OUT] = {}
    markers = {marker.name for item in items for marker in item.iter_markers()}
    for marker in markers.intersection(_unavailable()):
        left_out = [item for item in items if item.get_closest_marker(marker)]
        if left_out:
            items[:] = [item for item in items if not item.get_closest_marker(marker)]
            config.hook.pytest_deselected(items=left_out)
            config.stash[_LEFT_OUT][marker] = len(left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """A line each says what was left out, and how to run it."""
    unavailable = _unavailable()
    for marker, number in config.stash.get(_LEFT_OUT, {}).items():
        what, remedy = unavailable[marker]
        terminalreporter.write_line(f"{number} tests {what} were left out: {remedy} to run them")
