"""How long the slowest calls take beside busy processes: on two threads at most twice as long as on one.

usage: PYTHONPATH=tests python -m stress.latency [--runs N] [--seconds N] [--busy N]

Calls on one thread and on two alternate, so that both meet the same machine. Prints the 99.9th percentile and the
longest call of either, and the ratios' medians over the runs; the exit code is 1 if one is above 2. The machine has to
be quiet otherwise.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from stress.busy import busy

import numba_lstm as nl
from numba_lstm.backends.cpu import threads

LIMIT = 2.0


def measured(seconds: float) -> dict[int, list[float]]:
    """Seconds of many calls, by number of threads: short ones for which threads share units, and rows."""
    rng = np.random.default_rng(0)
    model = nl.Sequential([nl.LSTM(128, seed=1)])
    model.build((None, None, 64))
    inputs = [rng.standard_normal(shape).astype("f") for shape in ((1, 200, 64), (64, 20, 64))]
    took: dict[int, list[float]] = {1: [], 2: []}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for x in inputs:
            for number, times in took.items():
                threads.set_num_threads(number)
                began = time.perf_counter()
                model.predict(x)
                times.append(time.perf_counter() - began)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--busy", type=int, default=2)
    options = parser.parse_args()
    measured(1)  # kernels are compiled, helpers are there
    ratios: dict[str, list[float]] = {"99.9th percentile": [], "longest": []}
    for run in range(options.runs):
        with busy(options.busy):
            time.sleep(0.5)
            took = {number: np.array(times) * 1e3 for number, times in measured(options.seconds).items()}
        for name, of in (("99.9th percentile", lambda t: np.quantile(t, 0.999)), ("longest", np.max)):
            one, two = float(of(took[1])), float(of(took[2]))
            ratios[name].append(two / one)
            print(f"run {run}, {len(took[1])} calls: {name} {one:.1f} ms on one thread, {two:.1f} ms on two")
    medians = {name: statistics.median(values) for name, values in ratios.items()}
    print(", ".join(f"{name}: {value:.2f} times as long on two threads" for name, value in medians.items()))
    raise SystemExit(1 if max(medians.values()) > LIMIT else 0)


if __name__ == "__main__":
    main()
