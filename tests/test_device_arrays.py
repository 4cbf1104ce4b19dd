"""Arrays that lie on a GPU, as they come in and go out, with memory of NumPy's in a GPU's place."""

from __future__ import annotations

import gc
import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numba.cuda.cudadrv.driver import CudaAPIError

import numba_lstm as nl
from numba_lstm import nvidia
from numba_lstm.devices import caller, card, choice, dlpack, interface, receive
from numba_lstm.devices.arrays import DeviceArray
from numba_lstm.devices.dlpack import Description
from numba_lstm.errors import ConfigError, DeviceError, DTypeError, NumbaLSTMError, ShapeError

OneLine = Callable[[pytest.ExceptionInfo[BaseException]], str]


class Owner:
    """Keeps an array, and can be seen to end."""

    def __init__(self, array: Any) -> None:
        self.array = array


class FakeCard:
    """A GPU and a stream that write down what is asked of them."""

    dlpack_device = dlpack.CPU, 0

    def __init__(self, number: int = 0, handle: int = 7) -> None:
        self.number, self.handle = number, handle
        self.log: list[Any] = []

    def follow(self, handle: int) -> None:
        self.log.append(("follow", handle))

    def lead(self, handle: int) -> None:
        self.log.append(("lead", handle))

    def part_with(self, memory: Any) -> None:
        self.log.append(("part with", type(memory).__name__))

    def borrow(self, owner: Any) -> None:
        self.log.append(("borrow", type(owner).__name__))


class Interface:
    """An array of a library that has nothing but ``__cuda_array_interface__``."""

    def __init__(self, array: Any, **entries: Any) -> None:
        self.array = array
        own = array.__array_interface__
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "strides": array.strides,
            "typestr": own["typestr"],
            "data": own["data"],
            "version": 3,
            **entries,
        }


class Tensor:
    """One of a library that has DLPack, and says that it lies on a GPU."""

    def __init__(self, array: Any, number: int = 0, old: bool = False, broken: bool = False) -> None:
        self.array, self.device, self.old, self.broken = array, number, old, broken
        self.asked: list[dict[str, Any]] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA, self.device

    def __dlpack__(self, **arguments: Any) -> Any:
        if self.broken:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        if self.old and "max_version" in arguments:
            raise TypeError("unexpected keyword argument")
        self.asked.append(arguments)
        return dlpack.write(described(self.array), (dlpack.CUDA, self.device), not self.old)


def described(array: Any) -> Description:
    return Description(array.ctypes.data, array.shape, array.strides, array.dtype, Owner(array))


def on_card(array: Any, of: Any = None) -> DeviceArray:
    return DeviceArray(of or FakeCard(), described(array))


def numbers(*shape: int) -> Any:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which GPU memory lies on is what the driver knows."""
    monkeypatch.setattr(nvidia, "device_of", lambda address: 0)


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Whoever was handed something has let go of it in the end."""
    before = len(dlpack._handed_out)
    yield
    if len(dlpack._handed_out) > before:
        gc.collect()  # an error's traceback holds on to what its frames had
    assert len(dlpack._handed_out) == before


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("version", [None, (0, 8), (1, 0), (1, 3)])
@pytest.mark.parametrize(
    "view",
    [numbers(2, 3, 4), numbers(4, 6, 4)[::2, ::2, 1:], numbers(2, 0, 3), np.array(5.0), numbers(3).astype("?")],
    ids=lambda view: f"{view.dtype}{view.shape}{view.strides}",
)
def test_a_consumer_reads_in_place_and_lets_go(view: Any, version: Any) -> None:
    array = on_card(view)
    owner = weakref.ref(array.owner)
    if version is None:
        taken = np.from_dlpack(array)
    else:
        capsule = array.__dlpack__(max_version=version)
        assert ("versioned" in repr(capsule)) == (version >= (1, 0))
        holder = SimpleNamespace(__dlpack__=lambda **_: capsule, __dlpack_device__=lambda: (1, 0))
        taken = np.from_dlpack(holder)
        del capsule, holder
    assert np.array_equal(taken, view) and taken.dtype == view.dtype
    assert not view.size or (taken.ctypes.data == view.ctypes.data and taken.strides == view.strides)
    del array
    assert owner() is not None
    del taken
    assert owner() is None


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("versioned", [False, True])
def test_a_capsule_that_nobody_takes_ends(versioned: bool) -> None:
    array = numbers(3)
    capsule = dlpack.write(described(array), (dlpack.CPU, 0), versioned)
    assert len(dlpack._handed_out) == 1
    del capsule


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("versioned", [False, True])
def test_a_capsule_is_read_once(versioned: bool, one_line: OneLine) -> None:
    array = numbers(4, 3)[:, ::-1]
    given = described(array)
    owner = weakref.ref(given.owner)
    capsule = dlpack.write(given, (dlpack.CUDA, 0), versioned)
    found = dlpack.read(capsule, "x")
    assert found[:4] == given[:4]
    with pytest.raises(DeviceError) as info:
        dlpack.read(capsule, "x")
    assert one_line(info) == "x gave no new DLPack capsule; expected one; call its __dlpack__ once for each use"
    del capsule, given
    assert owner() is not None
    del found
    assert owner() is None


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"code": 4, "bits": 16},
            DTypeError,
            "x has bfloat16; expected floats, integers or booleans; convert it first",
        ),
        ({"lanes": 4}, DTypeError, "x has numbers of DLPack's kind 2; expected floats"),
        ({"major": 2}, DeviceError, "x came as DLPack 2.0; expected version 1; copy it"),
    ],
)
def test_capsules_that_are_refused(change: dict[str, int], error: Any, message: str, one_line: OneLine) -> None:
    capsule = dlpack.write(described(numbers(3)), (dlpack.CUDA, 0), True)
    managed = next(reversed(dlpack._handed_out.values()))[0]
    for name, value in change.items():
        setattr(managed if name == "major" else managed.tensor, name, value)
    with pytest.raises(error) as info:
        dlpack.read(capsule, "x")
    assert one_line(info).startswith(message)


def test_views_are_those_of_numpy() -> None:
    array = numbers(4, 5, 6)
    there = on_card(array)
    keys: list[Any] = [
        0,
        -1,
        slice(1, 3),
        (slice(None), 2),
        (slice(None, None, -1), slice(3, 0, -2)),
        (1, 2),
        slice(9, 9),
    ]
    for key in keys:
        view, found = array[key], there[key]
        assert (found.shape, found.strides) == (view.shape, view.strides)
        assert not view.size or found.address == view.__array_interface__["data"][0]
    with pytest.raises(BufferError, match="has a negative stride and cannot be handed on without a copy"):
        there[::-1].__dlpack__(copy=False)
    swapped = there.swapaxes(0, 2)
    assert np.array_equal(np.from_dlpack(swapped), array.swapaxes(0, 2)) and not swapped.is_contiguous
    windows = np.lib.stride_tricks.sliding_window_view(array, 3, axis=0)[::1].transpose(0, 3, 1, 2)
    assert np.array_equal(np.from_dlpack(there.windows(3, 1)), windows)
    assert (len(there), there.ndim, there.size, there.nbytes) == (4, 3, 120, 480)
    assert [each.shape for each in there] == [(5, 6)] * 4
    for key in ((0, 0, 0, 0), "name", (slice(None), [1])):
        with pytest.raises(IndexError, match="takes an integer or a slice for each"):
            there[key]


def test_the_interface_of_a_result() -> None:
    array = numbers(2, 3)
    there = on_card(array)
    expected = {"shape": (2, 3), "typestr": "<f4", "data": (array.ctypes.data, False), "version": 3, "stream": 7}
    assert there.__cuda_array_interface__ == {**expected, "strides": None}
    assert there[:, ::-1].__cuda_array_interface__["strides"] == (12, -4)
    assert there[:0].__cuda_array_interface__["data"] == (0, False)
    assert there.astype("float32", copy=False) is there


@pytest.mark.usefixtures("nothing_left")
def test_the_order_that_a_consumer_asks_for(one_line: OneLine) -> None:
    here = FakeCard()
    there = on_card(numbers(2), here)
    for stream, log in (
        (7, [("lead", 7)]),
        (None, [("part with", "Owner"), ("lead", 1)]),
        (1, [("part with", "Owner"), ("lead", 1)]),
        (4711, [("part with", "Owner"), ("lead", 4711)]),
        (-1, [("part with", "Owner")]),
    ):
        here.log.clear()
        there.__dlpack__(stream=stream)
        assert here.log == log
    for stream in (0, -2):
        with pytest.raises(ConfigError) as info:
            there.__dlpack__(stream=stream)
        assert one_line(info).startswith(f"stream is {stream}; expected None, -1, 1, 2 or the address")
    with pytest.raises(BufferError, match="cannot be handed to device"):
        there.__dlpack__(dl_device=(2, 3))
    with pytest.raises(ValueError, match="NumPy takes nothing without a copy"):
        np.asarray(there, copy=False)


@pytest.mark.parametrize(
    ("entries", "error", "message"),
    [
        ({"mask": Interface(numbers(2))}, DTypeError, "x is a masked array; expected a plain array; fill it, and give"),
        ({"typestr": None}, DeviceError, "x has a __cuda_array_interface__ that cannot be read: TypeError"),
        ({"typestr": "nonsense"}, DeviceError, "x has a __cuda_array_interface__ that cannot be read: TypeError"),
        ({"shape": 4}, DeviceError, "x has a __cuda_array_interface__ that cannot be read: TypeError"),
        ({"data": None}, DeviceError, "x has a __cuda_array_interface__ that cannot be read: TypeError"),
        ({"strides": (4,)}, DeviceError, "x has a __cuda_array_interface__ of shape (2, 3), strides (4,) and address"),
        (
            {"data": (0, True)},
            DeviceError,
            "x has a __cuda_array_interface__ of shape (2, 3), strides (12, 4) and addr",
        ),
        ({"stream": 0}, DeviceError, "x has stream 0 in its __cuda_array_interface__; expected None, 1, 2 or the addr"),
        ({"stream": "7"}, DeviceError, "x has stream '7' in its __cuda_array_interface__; expected None, 1, 2 or the"),
        ({"typestr": ">f4"}, DTypeError, "x has dtype >f4 on a GPU; expected the GPU's order of bytes"),
        ({"typestr": "<c8"}, DTypeError, "x has dtype complex64 on a GPU; expected floats of 16 to 64 bits, integers"),
        ({"typestr": "|V0"}, DTypeError, "x has dtype |V0 on a GPU; expected floats of 16 to 64 bits, integers"),
        ({"strides": (10, 4)}, DeviceError, "x lies across the GPU's words: address"),
    ],
    ids=str,
)
def test_interfaces_that_are_refused(entries: Any, error: Any, message: str, one_line: OneLine) -> None:
    value = Interface(numbers(2, 3), **entries)
    with pytest.raises(error) as info:
        take(value, FakeCard(handle=1))
    assert one_line(info).startswith(message)


def take(value: Any, of: Any) -> DeviceArray:
    return receive.taken(receive.offered(value, "x"), of)


def test_interfaces_are_read_in_place_and_in_order() -> None:
    array = numbers(4, 6)[::2, ::2]
    for stream, log in (
        (7, [("follow", 7)]),
        (9, [("follow", 9), ("borrow", "Interface")]),
        (None, [("follow", 1), ("borrow", "Interface")]),
    ):
        here = FakeCard(handle=7)
        there = take(Interface(array, stream=stream), here)
        assert here.log == log
        assert np.array_equal(np.from_dlpack(there), array) and there.address == array.ctypes.data
    plain = Interface(numbers(2, 3), strides=None, version=2)
    assert take(plain, FakeCard()).strides == (12, 4)
    assert take(Interface(np.zeros((0, 3)), data=(0, False)), FakeCard()).shape == (0, 3)


@pytest.mark.usefixtures("nothing_left")
def test_dlpack_is_asked_to_let_our_stream_wait() -> None:
    for old in (False, True):
        tensor, here = Tensor(numbers(2, 3), old=old), FakeCard()
        there = take(tensor, here)
        assert here.log == [("borrow", "_Owner")] and [each["stream"] for each in tensor.asked] == [7]
        assert np.array_equal(np.from_dlpack(there), tensor.array)
        del there


@pytest.mark.usefixtures("nothing_left")
def test_pytorch_is_asked_for_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = {0: SimpleNamespace(cuda_stream=0), 1: SimpleNamespace(cuda_stream=4711)}
    fake = SimpleNamespace(Tensor=Tensor, cuda=SimpleNamespace(current_stream=streams.__getitem__))
    monkeypatch.setitem(sys.modules, "torch", fake)
    for number, stream in ((0, 1), (1, 4711)):
        tensor, here = Tensor(numbers(2, 3), number), FakeCard(number, stream)
        assert receive.offered(tensor, "x").stream == stream
        take(tensor, here)
        # It is the same stream: there is nothing to wait for.
        assert [each["stream"] for each in tensor.asked] == [-1] and here.log == []


def test_what_cannot_be_taken(one_line: OneLine) -> None:
    cases: list[tuple[Any, type[Exception], str]] = [
        (
            Tensor(numbers(2), broken=True),
            DeviceError,
            "x is a Tensor on a GPU that cannot be read where it is; convert",
        ),
        (Tensor(numbers(2), 3), DeviceError, "x is on GPU 3; expected GPU 0, where the first of the call's arrays is;"),
        (
            Interface(numbers(1, 1, 1, 1, 1)),
            ShapeError,
            "x has shape (1, 1, 1, 1, 1); expected at most 4 axes on a GPU",
        ),
        (Interface(np.zeros(2, np.longdouble)), DTypeError, "x has dtype"),
        (on_card(numbers(2), FakeCard(1)), DeviceError, "x is on GPU 1; expected GPU 0"),
    ]
    for value, error, message in cases:
        with pytest.raises(error) as info:
            take(value, FakeCard())
        assert one_line(info).startswith(message)


class Property:
    """What PyTorch's tensors are like: the interface raises for those that it is not for."""

    def __init__(self, kind: int, error: type[Exception]) -> None:
        self.kind, self.error = kind, error

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, 0

    @property
    def __cuda_array_interface__(self) -> Any:
        raise self.error("Can't get __cuda_array_interface__ on Variable that requires grad.")


def test_what_lies_on_a_gpu(one_line: OneLine) -> None:
    there = [Interface(numbers(2)), Tensor(numbers(2)), Property(dlpack.CUDA, RuntimeError)]
    here = [numbers(2), 1, [1], None, "x", Property(dlpack.CPU, AttributeError), np.float32(1), object(), Tensor]
    assert all(map(interface.is_on_gpu, there)) and not any(map(interface.is_on_gpu, here))
    with pytest.raises(DeviceError) as info:
        receive.offered(there[-1], "x")
    assert one_line(info).startswith("x is a Property on a GPU that cannot be read where it is; convert it first, for")


class Memory:
    """What numba has for memory of a GPU."""

    __cuda_ndarray__ = True

    def __init__(self, array: Any) -> None:
        self.array = array
        self.__cuda_array_interface__ = {"data": array.__array_interface__["data"]}

    def __getitem__(self, key: Any) -> Memory:
        return Memory(self.array[key])

    def view(self, dtype: Any) -> Memory:
        return Memory(self.array.view(dtype))


class FakeCuda:
    """numba's CUDA, as far as streams and events go."""

    def __init__(self) -> None:
        self.log: list[tuple[str, Any]] = []
        self.done = self.full = False
        self.made = 0
        self.gpus = [nullcontext(), nullcontext()]

    def legacy_default_stream(self) -> str:
        return "legacy"

    def per_thread_default_stream(self) -> str:
        return "per thread"

    def external_stream(self, handle: int) -> str:
        return f"stream {handle}"

    def get_current_device(self) -> Any:
        return SimpleNamespace(id=1)

    def device_array(self, size: int, dtype: Any, stream: Any) -> Memory:
        if self.full:
            self.full = False
            raise CudaAPIError(2, "CUDA_ERROR_OUT_OF_MEMORY")
        self.made += 1
        return Memory(np.empty(size, dtype))

    def event(self, timing: bool) -> Any:
        assert not timing
        return SimpleNamespace(
            record=lambda stream: self.log.append(("record", stream)),
            wait=lambda stream: self.log.append(("wait", stream)),
            query=lambda: self.done,
        )


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    for module in (caller, card):
        monkeypatch.setattr(module, "cuda", fake)
    return fake


def test_streams_wait_by_events(fake_cuda: FakeCuda) -> None:
    here = caller.Caller(4711)
    assert (here.number, here.stream, here.dlpack_device) == (1, "stream 4711", (dlpack.CUDA, 1))
    here.follow(4711)
    here.lead(4711)
    assert fake_cuda.log == []
    here.follow(interface.LEGACY)
    here.lead(interface.PER_THREAD)
    assert fake_cuda.log == [
        ("record", "legacy"),
        ("wait", "stream 4711"),
        ("record", "stream 4711"),
        ("wait", "per thread"),
    ]


def test_what_was_borrowed_is_kept_until_the_work_is_done(fake_cuda: FakeCuda) -> None:
    here, owner = caller.Caller(), Owner(None)
    end = weakref.ref(owner)
    here.borrow(owner)
    del owner
    here.give_back()
    assert fake_cuda.log == [("record", "legacy")]
    here.give_back()
    assert end() is not None and len(fake_cuda.log) == 1
    fake_cuda.done = True
    here.give_back()
    assert end() is None


def test_memory_is_used_again_on_its_stream(fake_cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = np.dtype(np.float32)
    monkeypatch.setattr(caller, "_pools", OrderedDict())
    here = caller.Caller(4711)
    first, second = here.empty(10, kind), here.empty(10, kind)
    place = card.address(first)
    assert fake_cuda.made == 2
    del first
    third = here.empty(8, kind)
    assert card.address(third) == place and fake_cuda.made == 2
    del second
    caller.Caller(5).empty(8, kind)
    assert fake_cuda.made == 3
    # Somebody else reads it: it does not come back.
    here.part_with(third)
    here.part_with(Owner(None))
    del third
    again = here.empty(8, kind), here.empty(8, kind)
    assert fake_cuda.made == 4
    # Where memory is short, what nobody uses is freed.
    del again
    fake_cuda.full = True
    assert here.empty(1000, kind).array.size == 1000 and fake_cuda.made == 5
    monkeypatch.setattr(caller, "_LARGEST", 100)
    here.empty(1000, kind)
    assert fake_cuda.made == 6
    caller.Caller(interface.PER_THREAD).empty(1, kind)
    assert fake_cuda.made == 7 and (1, interface.PER_THREAD) not in caller._pools
    for handle in range(100, 120):
        caller.Caller(handle).empty(1, kind)
    assert len(caller._pools) == caller._STREAMS


def test_calls_that_compute_on_the_cpu(one_line: OneLine) -> None:
    there, x = Interface(np.zeros((1, 2, 3), np.float32)), np.zeros((1, 2, 3), np.float32)
    lstm = nl.LSTM(2)
    model = nl.Sequential([lstm])
    state = [there, np.zeros((1, 2), np.float32)]
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("lstm: inputs is on a GPU, and device is 'cpu'", lambda: lstm(there)),
        ("sequential: inputs is on a GPU, and device is 'cpu'", lambda: model(there)),
        ("sequential: inputs is on a GPU, and device is 'cpu'", lambda: model.predict(there, device="cpu")),
        ("dense: inputs is on a GPU, and device is 'cpu'", lambda: nl.Dense(2)(there)),
        ("lstm: mask is on a GPU, and device is 'auto'", lambda: lstm(x, there, device="auto")),
        ("lstm: initial_state is on a GPU, and device is 'cpu'", lambda: lstm(x, initial_state=state)),
        ("inputs is on a GPU; expected an array in main memory", lambda: nl.LSTMCell(2)(there, [x[0], x[0]])),
        ("inputs is on a GPU; expected an array in main memory", lambda: nl.LSTMCell(2)(on_card(x[0]), [x[0], x[0]])),
        ("kernel is on a GPU; expected an array in main memory", lambda: nl.LSTMCell(2).set_weights([there, x, x])),
    ]
    for message, call in calls:
        with pytest.raises(DeviceError) as info:
            call()
        assert one_line(info).startswith(message)


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_without_the_package(device: str, monkeypatch: pytest.MonkeyPatch, one_line: OneLine) -> None:
    """What is missing is said in the same line as for device="cuda"."""
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    there, model = Interface(np.zeros((1, 2, 3), np.float32)), nl.Sequential([nl.LSTM(2)])
    for call in (model.predict, model.layers[0], model):
        with pytest.raises(NumbaLSTMError) as info:
            call(there, device=device)
        assert one_line(info).startswith("device is 'cuda', which needs the package numba-cuda; install it with: pip")
