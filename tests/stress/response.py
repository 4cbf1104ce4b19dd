"""How soon a long call ends after a Ctrl-C, with work of every kind, on one thread and on two.

usage: PYTHONPATH=tests python -m stress.response [--tries N]

Prints the longest time of each, NumPy's own work on whole arrays included. The exit code is 1 if one is above 0.2 s.
"""

from __future__ import annotations

import argparse
import math
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import numpy as np

import numba_lstm as nl

LIMIT = 0.2


@numba.njit
def slow(x: Any) -> Any:
    """An activation of the user's own, with functions that are not vectorised."""
    return math.tanh(x) + 0.01 * math.erf(x)


def _model(*layers: Any, input_dim: int) -> Any:
    model = nl.Sequential(list(layers))
    model.build((None, None, input_dim))
    return model


def calls() -> dict[str, Callable[[], Any]]:
    """Calls that take seconds, or nearly."""
    x = np.random.default_rng(1).standard_normal((4000, 100, 32)).astype("f")
    long = np.tile(x[:1], (1, 400, 1))
    wide = np.tile(x[:40, :40], (1, 1, 32))

    def lstm(units: int, **options: Any) -> Any:
        return nl.LSTM(units, seed=1, return_sequences=True, **options)

    one = _model(lstm(64), input_dim=32)
    own = {"activation": slow, "recurrent_activation": slow}
    dense = _model(nl.TimeDistributed(nl.Dense(512, slow)), input_dim=32)
    return {
        "rows": lambda: one.predict(x),
        "rows, lengths": lambda: one.predict(x, lengths=np.arange(len(x)) % 101),
        "rows of few timesteps": lambda: one.predict(np.tile(x[:, :4], (20, 1, 1))),
        "units": partial(_model(lstm(256), input_dim=32).predict, long),
        "layers": partial(_model(lstm(96), lstm(97), lstm(98), input_dim=32).predict, long),
        "directions": partial(_model(nl.Bidirectional(lstm(96)), input_dim=32).predict, long),
        "wide": partial(_model(lstm(1500), input_dim=1024).predict, wide),
        "float64": partial(_model(lstm(64, dtype="float64"), input_dim=32).predict, x[:2000]),
        "bf16": lambda: one.predict(x, precision="bf16"),
        "own activation": partial(_model(lstm(32, **own), input_dim=32).predict, x[:1000]),
        "own activation, one row": partial(_model(lstm(32, **own), input_dim=32).predict, long),
        "dense": lambda: dense.predict(x[:1000]),
        "normalization": partial(_model(nl.LayerNormalization(), input_dim=32).predict, x),
        "dropout": partial(lstm(64, recurrent_dropout=0.5), x, training=True),
        "windows": lambda: one.predict(long[0], windows=(60, 1)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=10)
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    rng = np.random.default_rng(2)
    longest = 0.0
    for name, call in calls().items():
        for number in (1, 2):
            nl.set_num_threads(number)
            began = time.perf_counter()
            call()
            seconds, late = time.perf_counter() - began, [0.0]
            if number == 1:
                began = time.perf_counter()
                call()  # everything is compiled now
                seconds = time.perf_counter() - began
            for _ in range(options.tries):
                delay = rng.uniform(0, seconds)
                due = time.perf_counter() + delay
                try:
                    signal.setitimer(signal.ITIMER_REAL, max(delay, 1e-6))
                    call()
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except KeyboardInterrupt:
                    late.append(time.perf_counter() - due)
            longest = max(longest, *late)
            print(f"{name}, threads {number}: {max(late):.3f} s of {seconds:.2f} s", flush=True)
    raise SystemExit(1 if longest > LIMIT else 0)


if __name__ == "__main__":
    main()
