"""Cases whose arrays lie on the GPU from the beginning, for CUDA's simulator, a GPU and the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

import numba_lstm as nl
from numba_lstm.backends.cuda.arrays import DeviceArray

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


class GpuArray:
    """An array of another library on the GPU, with nothing but ``__cuda_array_interface__``; any strides."""

    def __init__(self, array: Any, stream: int | None = None) -> None:
        from numba_lstm.backends.cuda.stream import Stream, address

        base = array if array.base is None else array.base
        self.memory = Stream().upload(np.ascontiguousarray(base))
        offset = array.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "strides": None if array.flags.c_contiguous else array.strides,
            "typestr": array.dtype.str,
            "data": (address(self.memory) + offset, True),
            "version": 3,
            "stream": stream,
        }


def numbers(seed: int, *shape: int, dtype: Any = "float32") -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def of_arrays_on_the_gpu(device: str) -> Arrays:
    """Layers and models, their inputs, masks and states on the device from the beginning; the results stay there."""
    found: Arrays = {}
    x, mask = numbers(1, 2, 3, 2), np.array([[1, 1, 0], [0, 1, 1]], bool)
    h, c = numbers(2, 2, 3), numbers(3, 2, 3)
    options = {"return_sequences": True, "return_state": True}

    def on_device(value: Any) -> Any:
        if isinstance(value, list):
            return [on_device(each) for each in value]
        return GpuArray(value) if device != "cpu" and isinstance(value, np.ndarray) else value

    def keep(name: str, results: Any) -> None:
        if isinstance(results, list):
            for number, each in enumerate(results):
                keep(f"{name} {number}", each)
            return
        assert isinstance(results, np.ndarray if device == "cpu" else DeviceArray), (name, type(results))
        found[name] = np.asarray(results)
        if results.__dlpack_device__() == (1, 0):  # in the simulator
            assert np.array_equal(np.from_dlpack(results), found[name]), name

    def ask(name: str, layer: Any, inputs: Any, **given: Any) -> None:
        arrays = {key: on_device(value) for key, value in given.items()}
        keep(name, layer(on_device(inputs), device=device, **arrays))

    lstm = nl.LSTM(3, seed=1, **options)
    ask("all given", lstm, x, mask=mask, initial_state=[h, c], dropout_mask=numbers(4, 4, 2, 2))
    ask("recurrent masks", lstm, x, recurrent_dropout_mask=numbers(5, 1, 2, 3), initial_state=[-0.0 * abs(h), c])
    ask("strides", lstm, numbers(6, 4, 5, 2)[::2, ::-2], mask=numbers(7, 4, 3)[1:3, ::-1])
    ask("numbers apart", lstm, numbers(6, 2, 2, 3).swapaxes(1, 2))
    for dtype in ("float64", "float16", "int32", "bool"):
        ask(dtype, lstm, numbers(1, 1, 2, 2, dtype=dtype))
    ask("mask of numbers", lstm, x, mask=mask[..., np.newaxis].astype("int64"))
    ask("last", nl.LSTM(3, seed=2, return_state=True), x)
    ask("nobody", lstm, x[:0])
    for mode in ("concat", "sum", "mul", "ave", None):
        both = nl.Bidirectional(nl.LSTM(3, seed=3, return_sequences=mode == "concat"), merge_mode=mode)
        ask(f"merged by {mode}", both, x, mask=mask)
    unrolled = nl.LSTM(2, seed=4, return_sequences=True, go_backwards=True, unroll=True, zero_output_for_mask=True)
    ask("zeros where the mask has them", unrolled, x, mask=mask)
    ask("time first", nl.LSTM(2, seed=4, return_sequences=True, time_major=True), x)
    stateful = nl.LSTM(3, seed=5, stateful=True)
    ask("stateful", stateful, x)
    keep("stateful 2", stateful(on_device(x), device=device))
    found["stateful 3"] = stateful(x)
    layers = [nl.Masking(), nl.LSTM(3, return_sequences=True), nl.Dropout(0.5), nl.LSTM(2, return_sequences=True)]
    chain = nl.Sequential([*layers, nl.Dense(2), nl.LSTM(2, return_sequences=True), nl.Dense(1)])
    chain.reseed(6)
    ask("with other layers", chain, x, mask=mask)
    ask(
        "indices",
        nl.Sequential([nl.Embedding(5, 2, embeddings_initializer="ones"), nl.LSTM(2, seed=7)]),
        mask[:, :2] * 3,
    )
    stack = nl.Sequential(layers[1:])
    ask("pieces", stack.predict, x, batch_size=1)
    ask("lengths", stack.predict, x, lengths=np.array([3, 1]))
    ask("windows", stack.predict, numbers(8, 5, 2), windows=(3, 2))
    ask("windows of records", stack.predict, numbers(8, 2, 4, 2), windows=(3, 1), batch_size=1)
    rows, states = stack.run_rows(
        on_device(x), initial_state=on_device([h, c, h[:, :2], c[:, :2]]), return_state=True, device=device
    )
    keep("rows", [rows, *states])
    # What a model returned goes into another one as it is.
    ended = stack(on_device(x), device=device)
    keep("one model after another", nl.LSTM(2, seed=9)(ended, device="auto"))
    return found


class _Event:
    log: list[tuple[int, int]]

    def record(self, stream: Any) -> None:
        self.first = stream.handle

    def wait(self, stream: Any) -> None:
        self.log.append((self.first, stream.handle))


class _Stream:
    def __init__(self, handle: int) -> None:
        self.handle = handle


def order_of_work() -> Arrays:
    """In the simulator: the streams that a model runs on, their order, and the number of waits and allocations."""
    from numba_lstm.backends.cuda import caller_stream
    from numba_lstm.backends.cuda.stream import Stream

    model = nl.Sequential([nl.LSTM(3, return_sequences=True), nl.Bidirectional(nl.LSTM(2, return_sequences=True))])
    x, mask = numbers(1, 2, 3, 2), np.ones((2, 3), bool)
    x_on_gpu, mask_on_gpu = GpuArray(x, 7), GpuArray(mask, 9)
    for _ in range(3):  # the weights are there from now on, and memory
        model(x_on_gpu, mask=mask_on_gpu, device="cuda")
    launched: list[int] = []
    made: list[int] = []
    waits: list[str] = []

    def empty(stream: Any, size: int, dtype: Any, usual: Any = Stream.empty) -> Any:
        made.append(size)
        return usual(stream, size, dtype)

    def wait(stream: Any, *rest: Any) -> None:
        waits.append(type(stream).__name__)

    def launch(stream: Any, *rest: Any, usual: Any = Stream.launch) -> None:
        launched.append(stream.handle)
        usual(stream, *rest)

    _Event.log = []
    changed = {"synchronize": wait, "download": wait, "upload": wait, "launch": launch, "empty": empty}
    usual = {name: getattr(Stream, name) for name in changed}
    before = caller_stream.numba_stream_of, caller_stream.cuda.event
    caller_stream.numba_stream_of, caller_stream.cuda.event = _Stream, _Event
    for name, function in changed.items():
        setattr(Stream, name, function)
    try:
        y = model(x_on_gpu, mask=mask_on_gpu, device="cuda")
        for stream in (7, 5, -1, None):
            y.__dlpack__(stream=stream)
        interface = y.__cuda_array_interface__
    finally:
        caller_stream.numba_stream_of, caller_stream.cuda.event = before
        for name, function in usual.items():
            setattr(Stream, name, function)
    return {
        "who waits for whom": np.array(_Event.log),
        "streams": np.unique(launched),
        "waits": np.array(len(waits)),
        "memory made": np.array(len(made)),
        "told": np.array(interface["stream"]),
    }
