"""cli/signals.py and start.py: signals at any moment leave nothing behind, and say so in one line."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba_lstm_cli import main, signals
from support import beside as processes
from support.paths import TESTS

from numba_lstm import LSTM, Sequential, save

NUMBA_LSTM = [sys.executable, "-m", "numba_lstm_cli.main"]
OUTPUTS = ["y.npy", "y.std.npy"]
SWEEP = [sys.executable, "-m", "stress.interrupt_sweep"]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def sweep_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(TESTS)}


def beside(folder: Path) -> list[dict[str, Any]]:
    """The sample of the sweep that every test run takes, over lines and over bytecodes."""
    if not hasattr(os, "fork"):
        return []
    commands = [[*SWEEP, "--seconds", "0.35", "--signal", "SIGTERM"], [*SWEEP, "--seconds", "0.25", "--opcodes"]]
    started = [processes.start(command, sweep_environment(), folder) for command in commands]
    return [json.loads(processes.end(process).splitlines()[-1]) for process in started]


@POSIX
def test_a_sample_of_all_places_where_a_signal_can_come(beside: list[dict[str, Any]]) -> None:
    for result in beside:
        assert result["wrong"] == 0
        assert result["tried"] >= 8
        assert all(": 143" in end or ": 130" in end or ": 0, whole" in end for end in result["ends"])


@pytest.mark.kill
@pytest.mark.parametrize("options", [[], ["--opcodes", "--step", "13"]], ids=["lines", "opcodes"])
def test_all_places_where_a_signal_can_come(options: list[str], tmp_path: Path) -> None:
    done = subprocess.run([*SWEEP, *options], env=sweep_environment(), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


@POSIX
@pytest.mark.kill
def test_real_signals_at_random_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the start of the process to its end, of runs that write two outputs."""
    monkeypatch.chdir(tmp_path)
    model = Sequential([LSTM(64, return_sequences=True, dropout=0.3, seed=1)])
    model.build((None, None, 8))
    save(model, "m.npz")
    np.save("x.npy", np.zeros((3000, 50, 8), np.float32))
    words = ["run", "m.npz", "x.npy", "-o", "y.npy", "--mc-samples", "2", "--seed", "1", "--batch-rows", "100"]
    rng, handler = random.Random(7), signal.signal(signal.SIGINT, signal.default_int_handler)
    begin = time.monotonic()
    subprocess.run([*NUMBA_LSTM, *words], check=True, capture_output=True)
    longest, whole = time.monotonic() - begin, [Path(name).read_bytes() for name in OUTPUTS]
    try:
        for _ in range(100):
            for name in OUTPUTS:
                Path(name).unlink(missing_ok=True)
            number = rng.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
            with subprocess.Popen([*NUMBA_LSTM, *words], stderr=subprocess.PIPE, text=True) as process:
                time.sleep(rng.uniform(0, 1.1 * longest))
                process.send_signal(number)
                said = process.communicate(timeout=60)[1]
            there = [Path(name).read_bytes() for name in OUTPUTS if Path(name).exists()]
            assert there in ([], whole)
            assert sorted(os.listdir()) == sorted(["m.npz", "x.npy", *(OUTPUTS if there else [])])
            if process.returncode == 128 + number:
                assert said == f"Interrupted by {number.name}; no unfinished output is left\n"
            elif process.returncode != 0:  # Python itself was still starting
                assert not there and "/cli/" not in said and "numba_lstm_cli" not in said, said
    finally:
        signal.signal(signal.SIGINT, handler)


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals for which the process would have ended."""
    found: list[int] = []
    monkeypatch.setattr(signals, "end", found.append)
    return found


@pytest.fixture
def interrupts() -> Iterator[main.Interrupts]:
    """Handlers that do their work for this test alone."""
    numbers = [getattr(signal, name) for name in signals.NAMES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield main.Interrupts()
    finally:
        pipe = signal.set_wakeup_fd(-1)
        if pipe >= 0:
            os.close(pipe)  # which ends the thread
        for number, handler in before.items():
            signal.signal(number, handler)


def test_the_second_signal_does_not_disturb_the_first(interrupts: main.Interrupts) -> None:
    with pytest.raises(main.Interrupted) as info:
        interrupts(signal.SIGTERM, None)
    assert info.value.number == signal.SIGTERM
    interrupts(signal.SIGINT, None)
    assert interrupts.number == signal.SIGTERM


# A command that is stuck, with an unfinished file, when its weights are decomposed.
STUCK = """
import hashlib, os, sys, time
import numpy as np
from numba_lstm_cli import start
from numba_lstm.formats import atomic

sys.argv = ["numba-lstm", "init", "--units", "8", "--input-dim", "3", "--seed", "1", "new.npz"]
place = atomic.AtomicFile.place

def ready():
    os.write(1, b".")

def in_one_long_call(*_):
    file = atomic.AtomicFile("whole.npz")
    ready()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2 * 10**9)  # no handler runs meanwhile

def swallowed(*_):
    file = atomic.AtomicFile("whole.npz")
    try:
        ready()
        time.sleep(60)
    except BaseException:
        time.sleep(60)

def stderr_is_full(*_):
    os.set_blocking(2, False)
    try:
        while True:
            os.write(2, b"x" * 512)
    except BlockingIOError:
        os.set_blocking(2, True)
    in_one_long_call()

def placing(file):
    ready()
    time.sleep(3)
    place(file)

def after_a_fork(*_):
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
    ready()
    time.sleep(0.2)
    os.kill(child, 15)
    time.sleep(2.8)  # the signal was the child's, which has ended in the ordinary way
    os._exit(7 if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 143 else 8)

case = CASE
if case == "placing":
    atomic.AtomicFile.place = placing
else:
    np.linalg.qr = globals()[case]
start.main()
"""


@POSIX
def test_a_command_that_is_stuck_ends_all_the_same(tmp_path: Path) -> None:
    """Within two seconds and what the machine needs, or when outputs have their names, or when nobody reads stderr."""

    def tried(case: str) -> tuple[int, float, str, list[str]]:
        folder, command = tmp_path / case, [sys.executable, "-c", STUCK.replace("CASE", repr(case))]
        folder.mkdir()
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stderr is not None and process.stdout.read(1) == b"."
            begin = time.monotonic()
            if case != "after_a_fork":
                process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(timeout=30)
            finally:
                process.kill()
            took = time.monotonic() - begin
            return code, took, process.stderr.read().lstrip(b"x").decode(), os.listdir(folder)

    seconds = {"in_one_long_call": 2, "swallowed": 2, "placing": 3, "stderr_is_full": 4, "after_a_fork": 3}
    with ThreadPoolExecutor() as pool:
        ends = dict(zip(seconds, pool.map(tried, seconds), strict=True))
    line = "Interrupted by SIGTERM; no unfinished output is left\n"
    assert {case: (code, said, left) for case, (code, _, said, left) in ends.items()} == {
        "in_one_long_call": (143, line, []),
        "swallowed": (143, line, []),
        "placing": (143, line, ["new.npz"]),
        "stderr_is_full": (143, "", []),
        "after_a_fork": (7, line, []),
    }
    assert all(ends[case][1] < seconds[case] + 1.5 for case in seconds), ends


@POSIX
def test_an_interrupt_in_a_finalizer(monkeypatch: pytest.MonkeyPatch, ends: list[int]) -> None:
    class Finalized:
        def __del__(self) -> None:
            raise main.Interrupted(signal.SIGTERM)

    monkeypatch.setattr(sys, "unraisablehook", signals.unraisable)
    monkeypatch.setattr(sys, "__unraisablehook__", lambda problem: None)
    Finalized()
    assert ends == [signal.SIGTERM]


@POSIX
def test_signals_that_are_ignored_stay_so(interrupts: main.Interrupts) -> None:
    asked = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    for ignored in asked:
        for number in asked:
            signal.signal(number, signal.SIG_IGN if number == ignored else signal.SIG_DFL)
        interrupts.listen()
        assert [signal.getsignal(number) for number in asked] == [
            signal.SIG_IGN if number == ignored else interrupts for number in asked
        ]
        os.close(signal.set_wakeup_fd(-1))


@POSIX
def test_an_error_that_something_made_of_an_interrupt(interrupts: main.Interrupts) -> None:
    interrupts.listen()
    assert signals.came() is None
    with pytest.raises(main.Interrupted):
        interrupts(signal.SIGTERM, None)
    assert signals.came() == signal.SIGTERM


EARLY = """
import os, signal, sys
count, at, number = [0], int(sys.argv[1]), int(sys.argv[2])
def trace(frame, event, _):
    name = frame.f_code.co_filename
    if "numba_lstm" not in name and "/cli/" not in name and "/click/" not in name:
        return None
    if event == "line":
        count[0] += 1
        if count[0] == at:
            signal.raise_signal(number)
    return trace
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["numba-lstm", "--version"]
sys.settrace(trace)
from numba_lstm_cli.start import main
main()
"""


@POSIX
@pytest.mark.parametrize(
    ("name", "lines"), [("SIGINT", (40, 3000)), ("SIGTERM", (40, 100, 400, 3000)), ("SIGHUP", (40,))]
)
def test_signals_while_the_command_is_imported(name: str, lines: tuple[int, ...]) -> None:
    """From the lines on that make this so to the last one of all modules: here, in signals.py, in click, in ours."""
    number = getattr(signal, name)
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("the signal is ignored here, as under nohup")
    for at in lines:
        done = subprocess.run(
            [sys.executable, "-c", EARLY, str(at), str(int(number))], capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stdout) == (128 + number, "")
        assert done.stderr == f"Interrupted by {name}; no unfinished output is left\n"


@POSIX
def test_a_signal_after_the_work_changes_nothing() -> None:
    code = (
        "import atexit, os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from numba_lstm_cli.start import main\n"
        "atexit.register(signal.raise_signal, signal.SIGTERM)\n"
        "sys.argv = ['numba-lstm', '--version']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("numba-lstm ")


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_too_little_memory_is_one_line(tmp_path: Path) -> None:
    """The error is one line for anything that memory is short for: a module, a thread, an array."""
    import resource

    model = Sequential([LSTM(8, seed=1)])
    model.build((None, None, 3))
    save(model, tmp_path / "m.npz")

    def limited(size: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "numba_lstm_cli.main", "init", "--units", "2000", "--input-dim", "2000", "a.npz"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
            timeout=60,
        )

    for size in (40, 250, 350):
        done = limited(size * 10**6)
        assert done.returncode == 1
        assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1
        assert "defect" not in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["m.npz"]
