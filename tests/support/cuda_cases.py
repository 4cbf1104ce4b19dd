"""The cases that CUDA's simulator and the CPU both compute: small, for the simulator is plain Python.

In a process with NUMBA_ENABLE_CUDASIM=1 and NUMBA_DISABLE_JIT=1:  python -m support.cuda_cases RESULTS.npz
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np

import numba_lstm as nl
from numba_lstm.backends.cpu import packing
from numba_lstm.backends.cpu import run as cpu
from numba_lstm.backends.cuda import policy
from numba_lstm.kernels.codes import CODES, LAST_COMMON
from numba_lstm.kernels.normalizations import SOFTMAX
from support import golden_runner, gpu_array_cases, selection, simulator

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]

# Multiplications of a stored case of Keras that the simulator takes within a tenth of a second or so.
LARGEST_GOLDEN = 700

KINDS = (
    "plain",
    "last backwards",
    "mask",
    "mask zero last backwards",
    "drop shared",
    "drop recurrent mask",
    "recurrent shared backwards",
)
# Blocks of 8 and of 128 in the sums, several of them.
SHAPES = ((19, 5), (130, 17))
# The same for residents, whose weights are in all their places then.
SHAPES_OF_RESIDENTS = ((19, 5), (67, 17))


def random(seed: int, *shape: int, dtype: str = "float32") -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def weights(input_dim: int, units: int, dtype: str) -> list[Any]:
    shapes = (input_dim, 4 * units), (units, 4 * units), (4 * units,)
    return [random(7 + n, *shape, dtype=dtype) / 2 for n, shape in enumerate(shapes)]


def arguments(dtype: str, kind: str, batch: int = 5, input_dim: int = 3, units: int = 4) -> dict[str, Any]:
    """The arguments of run.sequence beside the cell, for 3 timesteps."""
    found: dict[str, Any] = {
        "inputs": random(1, batch, 3, input_dim, dtype=dtype),
        "h": random(2, batch, units, dtype=dtype),
        "c": random(3, batch, units, dtype=dtype),
        "return_sequences": "last" not in kind,
        "go_backwards": "backwards" in kind,
        "zero_output_for_mask": "zero" in kind,
    }
    if "mask" in kind:
        found["mask"] = np.random.default_rng(4).random((batch, 3)) < 0.6
        found["mask"][1] = False
    masks = 1 if "shared" in kind else 4
    factor = np.dtype(dtype).type(1.7)
    if "drop" in kind:
        found["dropout_mask"] = (random(5, masks, batch, input_dim, dtype=dtype) > 0) * factor
    if "recurrent" in kind:
        found["recurrent_dropout_mask"] = (random(6, masks, batch, units, dtype=dtype) > 0) * factor
    return found


@numba.njit(error_model="numpy")
def of_ones_own(x: Any) -> Any:
    """A sum of products, which is to stay one."""
    return x / (x * x + x / (x - x * x))


def of_a_cell(
    dtype: str, kind: str, activation: Any, recurrent: Any, device: str, shape: tuple[int, int] = (3, 4), batch: int = 5
) -> Arrays:
    cell = packing.pack_cell(
        *weights(*shape, dtype),
        activation=activation,
        # Keras 3 has another function of that name.
        recurrent_activation=recurrent.removesuffix("_keras3"),
        dialect="tf1" if recurrent == "hard_sigmoid" else "keras3",
        dtype=dtype,
    )
    given = arguments(dtype, kind, batch, *shape)
    if device == "cpu":
        y, h, c = cpu.sequence(cell, **given)
    else:
        from numba_lstm.backends.cuda import run as cuda  # late: it imports numba's CUDA

        y, h, c = cuda.sequence(cell, **given)
    return {"y": y if isinstance(y, np.ndarray) else y.copy_to_host(), "h": h, "c": c}


def of_layers(device: str) -> Arrays:
    """Stacks, both directions, drawn masks, and a chain with layers that the GPU does not compute."""
    x, mask = random(1, 3, 4, 2), np.array([[1, 1, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0]], bool)
    stack = nl.RNN([nl.LSTMCell(3, seed=1, dropout=0.4), nl.LSTMCell(2, seed=2)], return_state=True, go_backwards=True)
    both = nl.Bidirectional(nl.LSTM(3, seed=3, recurrent_dropout=0.3, return_sequences=True), merge_mode="sum")
    chain = nl.Sequential([nl.LSTM(3, return_sequences=True, seed=4), nl.Dense(2), nl.LSTM(2, seed=5)])
    chain.reseed(6)
    more = {"return_sequences": True, "go_backwards": True, "zero_output_for_mask": True}
    layers = [nl.LSTM(3, seed=8, **more), nl.Dropout(0.3, seed=9), nl.LSTM(2, seed=10, **more), nl.LSTM(2, seed=11)]
    found = {
        "both": both(x, training=True, mask=mask, device=device),
        "lengths": chain.predict(x, lengths=[4, 1, 3], device=device),
        "windows": chain.predict(random(2, 7, 2), windows=(4, 1), device=device),
        "pieces": chain.predict(x, batch_size=2, device=device),
        "one after the other": nl.Sequential(layers)(x, mask=mask, device=device),
        "nobody": chain.predict(x[:0], device=device),
        "time first": nl.LSTM(2, seed=7, time_major=True, return_sequences=True)(x, device=device),
    }
    for number, array in enumerate(stack(x, mask=mask, training=True, device=device)):
        arrays = array if isinstance(array, list) else [array]
        found.update({f"stack {number} {place}": each for place, each in enumerate(arrays)})
    return found


def of_a_run(words: str, device: str) -> Arrays:
    """The files that the command writes, bytes and all, in several chunks."""
    from numba_lstm_cli.run import run

    model = nl.Sequential([nl.LSTM(3, return_sequences=True, seed=1, dropout=0.2)])
    model.add(nl.LSTM(2, return_sequences=True, seed=2))
    if "dense" in words:
        model.add(nl.Dense(2))
    model.reseed(6)
    model.build((None, None, 2))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        x, mask = random(1, 4, 2, 2), np.random.default_rng(4).random((4, 2)) < 0.7
        arrays = {"x": x, "mask": mask, "record": x.reshape(8, 2)[:6], "time": x.swapaxes(0, 1).copy()}
        arrays |= {"start": random(3, 4, 10)}
        for key, array in arrays.items():
            np.save(folder / f"{key}.npy", array)
        nl.save(model, folder / "model.npz")
        given = [str(folder / word) if "." in word else word for word in words.removeprefix("dense ").split()]
        line = [str(folder / "model.npz"), *given, "-o", str(folder / "y.npy"), "--device", device]
        with contextlib.redirect_stderr(io.StringIO()):
            run([*line, "--final-state", str(folder / "end.npy"), "--progress", "none"], standalone_mode=False)
        return {name: np.fromfile(folder / f"{name}.npy", np.uint8) for name in ("y", "end")}


RUNS = (
    "x.npy --batch-rows 2 --training --seed 3",
    "x.npy --batch-rows 1 --mask mask.npy --initial-state start.npy",
    "dense x.npy --batch-rows 2 --mask mask.npy --last-only",
    "dense record.npy --window 3 --batch-rows 2",
    "time.npy --time-major --max-memory 50GB",
)


def pairs(dtype: str) -> list[tuple[Any, str]]:
    """Activations and recurrent ones: every one in float32, some in float64.

    Rare ones are with rare ones, so that the CPU compiles one kernel for all of them.
    """
    rare = sorted(name for name, code in CODES.items() if LAST_COMMON < code < SOFTMAX)
    together = list(zip(rare, reversed(rare), strict=True))[: (len(rare) + 1) // 2]
    normalizing = [("softmax", "log_softmax"), ("sparsemax", "softmax"), ("softmax", "gelu"), ("mish", "softmax")]
    if dtype == "float64":
        return [*together[::4], *normalizing]
    return [
        *together,
        *normalizing,
        ("relu", "hard_sigmoid"),
        ("linear", "hard_sigmoid_keras3"),
        (of_ones_own, "tanh"),
    ]


@contextmanager
def forced(tier: str) -> Iterator[None]:
    """Kernels of this tier."""
    before = os.environ.get(policy.TIER_VARIABLE)
    os.environ[policy.TIER_VARIABLE] = tier
    try:
        yield
    finally:
        del os.environ[policy.TIER_VARIABLE]
        if before is not None:
            os.environ[policy.TIER_VARIABLE] = before


def by(tier: str, case: Callable[[str], Arrays]) -> Callable[[str], Arrays]:
    def of(device: str) -> Arrays:
        with forced(tier):
            return case(device)

    return of


def own_cases() -> dict[str, Callable[[str], Arrays]]:
    """Each computes on the device whose name it is given."""
    found: dict[str, Callable[[str], Arrays]] = {
        "layers": of_layers,
        "arrays on the GPU": gpu_array_cases.of_arrays_on_the_gpu,
    }
    found |= {f"run {words}": partial(of_a_run, words) for words in RUNS}
    for dtype in ("float32", "float64"):
        cases: dict[str, Callable[[str], Arrays]] = {}
        for kind in KINDS:
            cases[f"{dtype}, {kind}"] = partial(of_a_cell, dtype, kind, "tanh", "sigmoid")
        for activation, recurrent in pairs(dtype):
            shown = getattr(activation, "__name__", activation)
            cases[f"{dtype}, {shown} and {recurrent}"] = partial(
                of_a_cell, dtype, "plain", activation, recurrent, batch=2
            )
        for shape in SHAPES:
            cases[f"{dtype}, {shape}"] = partial(of_a_cell, dtype, "last", "tanh", "sigmoid", shape=shape, batch=1)
        found.update({name: by("portable", case) for name, case in cases.items()})
    return {**found, **resident_cases()}


def resident_cases() -> dict[str, Callable[[str], Arrays]]:
    """The same by the tier for small cells: one group of threads, several, and weights in all their places."""
    cases: dict[str, Callable[[str], Arrays]] = {}
    for dtype, kinds in (("float32", KINDS), ("float64", KINDS[-2:])):
        for kind in kinds:
            cases[f"{dtype}, {kind}"] = partial(of_a_cell, dtype, kind, "tanh", "sigmoid")
        cases[f"{dtype}, rows"] = partial(of_a_cell, dtype, "recurrent mask last", "tanh", "sigmoid", batch=17)
        for shape in SHAPES_OF_RESIDENTS:
            cases[f"{dtype}, {shape}"] = partial(of_a_cell, dtype, "last", "tanh", "sigmoid", shape=shape, batch=1)
    cases["float32, of_ones_own"] = partial(of_a_cell, "float32", "plain", of_ones_own, "tanh", batch=2)
    return {f"resident {name}": by("resident", case) for name, case in cases.items()}


def oracle_cases() -> dict[str, Callable[[str], Arrays]]:
    """Activations over all units with masks: kernels that would take the CPU long to compile."""
    kind = "drop recurrent mask"
    return {
        f"{dtype}, {kind}, {activation} and {recurrent}": partial(of_a_cell, dtype, kind, activation, recurrent)
        for dtype in ("float32", "float64")
        for activation, recurrent in (("softmax", "sigmoid"), ("tanh", "log_softmax"))
    }


def multiplications(case: selection.Case) -> int:
    """About how many there are in a stored case."""
    layer, calls = case.content["layer"], case.content["calls"]
    units = sum(cell["units"] for cell in layer["cells"])
    rows = sum(np.prod(np.shape(case(call["x"]))) for call in calls)
    return int(rows * 4 * units * (2 if "bidirectional" in layer else 1))


def goldens() -> dict[str, selection.Case]:
    """The small ones of Keras's stored cases, by name."""
    chosen = [case for system in selection.CATEGORIES for case in selection.cases(system)]
    return {
        f"{case.content['id']}-{case.system}": case
        for case in chosen
        if case.content["layer"]["kind"] != "cell" and multiplications(case) <= LARGEST_GOLDEN
    }


def of_a_golden(case: selection.Case, device: str) -> Arrays:
    return golden_runner.run_in(dict(case.content), case, "float32", device)


def golden_cases() -> dict[str, Callable[[str], Arrays]]:
    """Most by the portable kernels, and every fourth as it is chosen."""
    cases = [(name, partial(of_a_golden, case)) for name, case in goldens().items()]
    return {name: by("portable", case) if turn % 4 else case for turn, (name, case) in enumerate(cases)}


def simulate(path: str) -> None:
    """All of it in the simulator; few threads a block, and little of what residents have."""
    policy.THREADS, policy.WARPS = 3, 2  # of the threads each has several units
    policy.RESIDENT_THREADS, policy.SHARED_BYTES = 12, 6 << 10
    policy.WEIGHT_REGISTERS, policy.DROPOUT_REGISTERS = 36, 0
    sys.setswitchinterval(1e-4)  # the simulator waits for its threads by asking them again and again
    warnings.simplefilter("ignore", RuntimeWarning)  # overflow and NaN, which compiled kernels do not mention
    cases = {**own_cases(), **oracle_cases(), **golden_cases()}
    found = {f"{name}/{part}": array for name, case in cases.items() for part, array in case("cuda").items()}
    found |= {f"order of work/{part}": array for part, array in gpu_array_cases.order_of_work().items()}
    np.savez(path, **found)


if __name__ == "__main__":
    simulator.mend()
    simulate(sys.argv[1])
