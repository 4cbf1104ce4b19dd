"""Processes that begin while threads of their parent compute: each computes on two threads, and gets the same bits.

usage: PYTHONPATH=tests python -m stress.processes [--each N] [--state FILE]

By fork, spawn and forkserver, and by forks in several threads at once, all of which compute as well. A child that
does not end within a minute counts as hung. What was done is kept in --state.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import numba_lstm as nl

SECONDS = 60
METHODS = ("fork", "threads", "forkserver", "spawn")


def computation() -> Callable[[], bytes]:
    """Work for two threads: rows, and units of one row."""
    rng = np.random.default_rng(3)
    rows, one = rng.standard_normal((600, 6, 8)).astype("f"), rng.standard_normal((1, 200, 64)).astype("f")
    models = []
    for units, x in ((32, rows), (128, one)):
        model = nl.Sequential([nl.LSTM(units, seed=1)])
        model.build((None, None, x.shape[2]))
        models.append((model, x))
    return lambda: b"".join(model.predict(x).tobytes() for model, x in models)


def compute_and_compare(expected: bytes) -> None:
    """The work of a child; its exit code is 0 if all is well."""
    nl.set_num_threads(2)
    os._exit(0 if computation()() == expected else 1)


def forked(compute: Callable[[], bytes], expected: bytes) -> Callable[[], int | None]:
    """Fork; returns what tells the child's exit code, None while it runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12 and later: this process has threads
        child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if compute() == expected else 2
        finally:
            os._exit(code)

    def code() -> int | None:
        pid, status = os.waitpid(child, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    return code


def started(method: str, expected: bytes) -> Callable[[], int | None]:
    """The same by multiprocessing."""
    process = multiprocessing.get_context(method).Process(target=compute_and_compare, args=(expected,))
    process.start()

    def code() -> int | None:
        process.join(0)
        return process.exitcode

    return code


def ended(code: Callable[[], int | None]) -> int | None:
    """The exit code, None if it hangs."""
    end = time.monotonic() + SECONDS
    while (found := code()) is None and time.monotonic() < end:
        time.sleep(0.002)
    return found


def run(
    each: int, state: Path | None = None, methods: tuple[str, ...] = ("fork", "threads", "forkserver", "spawn")
) -> list[str]:
    """The problems of `each` children of every kind, less those that the state counts."""
    done: Counter[str] = Counter(json.loads(state.read_text()) if state and state.exists() else {})
    before = nl.get_num_threads()
    nl.set_num_threads(2)
    compute = computation()
    expected = compute()
    wrong: list[str] = []
    stop = threading.Event()

    def keep_computing() -> None:
        while not stop.is_set():
            if compute() != expected:
                wrong.append("another result in the parent")

    def child(method: str) -> None:
        start = forked(compute, expected) if method in ("fork", "threads") else started(method, expected)
        code = ended(start)
        if code != 0:
            wrong.append(f"{method}: " + ("a child hangs" if code is None else f"a child ended with {code}"))

    calling = [threading.Thread(target=keep_computing) for _ in range(2)]
    for thread in calling:
        thread.start()
    try:
        for method in methods:
            at_once = 3 if method == "threads" else 1
            with ThreadPoolExecutor(at_once) as pool:
                while done[method] < each and not wrong:
                    count = min(12, each - done[method])
                    list(pool.map(child, [method] * count))
                    done[method] += count
                    if state:
                        state.write_text(json.dumps(done, indent=1))
    finally:
        stop.set()
        for thread in calling:
            thread.join()
        nl.set_num_threads(before)
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=500)
    parser.add_argument("--state", type=Path)
    options: Any = parser.parse_args()
    began = time.time()
    wrong = run(options.each, options.state)
    print(*wrong, sep="\n")
    print(f"{options.each} children of each kind, {len(wrong)} findings, {time.time() - began:.0f} s")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
