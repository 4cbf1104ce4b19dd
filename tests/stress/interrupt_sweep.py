"""A signal at the k-th line, or bytecode, that the command executes in this package: what is left?

usage: PYTHONPATH=tests python -m stress.interrupt_sweep [--command NAME]... [--signal NAME]... [--opcodes] [--step N]
                                                         [--seconds S] [--seed N] [--failures FILE]

Each place is a forked child of a process that has everything imported and compiled. The child must end with the
signal's exit code and one line - or with 0 where its work was done -, leave no unfinished file or folder, and have each
output absent or whole (with --force: old or whole), several outputs together or not at all. With --seconds places are
drawn at random, otherwise every N-th is tried. The last line is a JSON object with the counts; the exit code is 1 if
anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

os.environ["NUMBA_LSTM_NUM_THREADS"] = "1"  # a forked child would wait for threads that it does not have

import numpy as np

import numba_lstm

ROOT = str(Path(numba_lstm.__file__).parent)
RUN = ["run", "m.npz", "x.npy", "--batch-rows", "3", "-o"]
NEW = ["--units", "4", "--input-dim", "3", "--seed", "1"]
# Name -> the words, and the outputs; those that begin with "old" are there before.
COMMANDS: dict[str, tuple[list[str], list[str]]] = {
    "run": ([*RUN, "y.npy"], ["y.npy"]),
    "force": ([*RUN, "old.npy", "--force"], ["old.npy"]),
    "several": ([*RUN, "y.npy", "--mc-samples", "2", "--seed", "1"], ["y.npy", "y.std.npy"]),
    "states": ([*RUN, "old.npy", "--final-state", "old.s.npy", "--force"], ["old.npy", "old.s.npy"]),
    "folder": ([*RUN[:3], "x2.npy", *RUN[3:], "out"], ["out/x.npy", "out/x2.npy"]),
    "init": (["init", *NEW, "new.npz"], ["new.npz"]),
    "safetensors": (["convert", "m.npz", "new.safetensors"], ["new.safetensors"]),
    "convert": (["convert", "m.npz", "old.h5", "--force"], ["old.h5"]),
}
OLD = b"old"
TOGETHER = {"several", "states"}


def tracer(at: int, number: int, opcodes: bool, count: list[int]) -> Any:
    """Counts the events in this package and in the command; at the one of number `at` the signal comes."""

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if not (name.startswith(ROOT) or "/cli/" in name or "numba_lstm_cli" in name):
            return None
        frame.f_trace_opcodes = opcodes
        if event in ("line", "opcode"):
            count[0] += 1
            if count[0] == at:
                Path("where").write_text(f"{name}:{frame.f_lineno} {frame.f_code.co_name}")
                signal.raise_signal(number)
        return trace

    return trace


def child(words: list[str], at: int, number: int, opcodes: bool) -> None:
    """The command, with a signal on its way; at 0: none, and the number of events is written to a file."""
    from numba_lstm_cli import main, signals

    os.dup2(os.open("err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    sys.argv = ["numba-lstm", *words]
    count = [0]
    try:
        if at:
            from numba_lstm_cli import start

            sys.settrace(tracer(at, number, opcodes, count))
            start.main()
        else:
            sys.settrace(tracer(at, number, opcodes, count))
            main.main()
    except SystemExit as ended:
        sys.settrace(None)
        Path("count").write_text(str(count[0]))
        os._exit(ended.code or 0)  # type: ignore[arg-type]
    except BaseException as error:  # what Python does with it
        signals.uncaught(type(error), error, error.__traceback__)
        os._exit(99)


def forked(target: Callable[[], None]) -> int:
    """The exit code of a child; -9 if it had to be killed."""
    process = os.fork()
    if not process:
        try:
            target()
        finally:
            os._exit(98)
    end = time.monotonic() + 300
    while time.monotonic() < end:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return -9


def prepare(outputs: list[str]) -> None:
    """The folder as it is before a command."""
    shutil.rmtree("out", ignore_errors=True)
    for name in os.listdir():
        if name.startswith(("y.", "new.", "old.", ".", "where", "err")):
            os.unlink(name)
    for name in outputs:
        if name.startswith("old"):
            Path(name).write_bytes(OLD)


def states(outputs: list[str], whole: dict[str, bytes]) -> list[str]:
    found = []
    for name in outputs:
        content = Path(name).read_bytes() if Path(name).exists() else None
        before = OLD if name.startswith("old") else None
        found.append("before" if content == before else "whole" if content == whole[name] else "BROKEN")
    return found


def problem(name: str, code: int, number: int, found: list[str], files: set[str]) -> str | None:
    """The problem of how a child ended, or None."""
    left = {file for file in os.listdir() if file not in files and file not in COMMANDS[name][1]} - {"out"}
    said = Path("err").read_text(errors="replace") if Path("err").exists() else ""
    if left:
        return f"left {sorted(left)}"
    if os.path.isdir("out") and not os.listdir("out"):
        return "left an empty folder"
    if os.path.isdir("out") and any(file.endswith(".part") for file in os.listdir("out")):
        return "left a part in the folder"
    if "BROKEN" in found or (name in TOGETHER and len(set(found)) > 1):
        return f"outputs {found}"
    if code == 0:
        return None if set(found) == {"whole"} else f"exit code 0 and outputs {found}"
    line = f"Interrupted by {signal.Signals(number).name}; no unfinished output is left"
    if code != 128 + number:
        return f"exit code {code}: {said[-300:]!r}"
    if said.splitlines().count(line) != 1 or "Traceback" in said or "ignored" in said:
        return f"said {said[-600:]!r}"
    return None


def places(total: int, step: int, seconds: float | None, rng: random.Random) -> Iterator[int]:
    if seconds is None:
        yield from range(1, total + 1, step)
        return
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield rng.randint(1, total)


def make_files() -> None:
    model = numba_lstm.Sequential([numba_lstm.LSTM(4, dropout=0.5, seed=1)])
    model.build((None, None, 3))
    numba_lstm.save(model, "m.npz")
    for name in ("x.npy", "x2.npy"):
        np.save(name, np.ones((6, 4, 3), np.float32))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", action="append", choices=COMMANDS)
    parser.add_argument("--signal", action="append", choices=["SIGINT", "SIGTERM", "SIGHUP"])
    parser.add_argument("--opcodes", action="store_true")
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="for each command and signal")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--failures", type=Path)
    options = parser.parse_args()
    folder = tempfile.mkdtemp()  # not TemporaryDirectory: a child's end would remove it
    try:
        os.chdir(folder)
        tally, wrong = sweep(options)
    finally:
        os.chdir("/")
        shutil.rmtree(folder)
    if options.failures and wrong:
        options.failures.write_text("\n".join(wrong))
    print(json.dumps({"tried": sum(tally.values()), "wrong": len(wrong), "ends": tally}))
    return int(bool(wrong))


def sweep(options: argparse.Namespace) -> tuple[Counter[str], list[str]]:
    """How often which end was seen, and what was wrong."""
    import h5py  # noqa: F401 - all that a child would import
    import numba_lstm_cli.main  # noqa: F401

    rng, tally, wrong = random.Random(options.seed), Counter[str](), []
    make_files()
    files = {*os.listdir(), "err", "count", "where"}
    numba_lstm.run_npy("m.npz", "x.npy", "y.npy", mc_samples=2, seed=1)
    numba_lstm.run_npy("m.npz", "x.npy", "old.npy", final_state="old.s.npy")
    for name in options.command or COMMANDS:
        words, outputs = COMMANDS[name]
        prepare(outputs)
        code = forked(partial(child, words, 0, 0, options.opcodes))
        assert code == 0, Path("err").read_text()
        total, whole = int(Path("count").read_text()), {file: Path(file).read_bytes() for file in outputs}
        for kind in options.signal or ["SIGINT", "SIGTERM"]:
            number = signal.Signals[kind]
            for at in places(total, options.step, options.seconds, rng):
                prepare(outputs)
                code = forked(partial(child, words, at, number, options.opcodes))
                found = states(outputs, whole)
                tally[f"{name} {kind}: {code}, {' '.join(sorted(set(found)))}"] += 1
                if text := problem(name, code, number, found, files):
                    where = Path("where").read_text() if Path("where").exists() else "nowhere"
                    wrong.append(f"{name} {kind} at {at} of {total} ({where}): {text}")
                    print(wrong[-1], flush=True)
    return tally, wrong


if __name__ == "__main__":
    sys.exit(main())
