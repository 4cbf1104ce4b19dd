"""Which device computes, and with which of its kernels: every choice about GPUs stands here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple

from numba_lstm.backends.cuda import nvidia
from numba_lstm.checks import shown
from numba_lstm.errors import ConfigError, DeviceError, MissingPackageError, NumbaLSTMError
from numba_lstm.kernels.cuda_layout import TOGETHER, Layout, Operand

# Forces the tier of this name.
TIER_VARIABLE = "NUMBA_LSTM_CUDA_TIER"

_INSTALL = "install it with: pip install 'numba_lstm[cuda]'"
NOT_MEASURED = "device='auto' uses the CPU: no figures of a GPU have been measured yet; device='cuda' asks for one"
UNBOUNDED = 2**31


class CellShape(NamedTuple):
    """What the choice of a tier depends on."""

    units: int
    input_dim: int
    dtype: str
    over_units: bool  # whether an activation needs all units of a row at once, as softmax does

    def __str__(self) -> str:
        return f"a {self.dtype} cell of {self.units} units and {self.input_dim} inputs" + (
            " with an activation over all units" if self.over_units else ""
        )


@dataclass(frozen=True)
class Tier:
    """A way to run a sequence on a GPU, and the cells that can take it; all of them give the same bits."""

    name: str
    what: str
    largest_units: Mapping[str, int]  # by dtype
    largest_input_dim: int = UNBOUNDED
    inputs_a_unit: int = UNBOUNDED
    over_units: bool = True

    @property
    def cells(self) -> str:
        """Which ones those are, in words."""
        if self.largest_input_dim == UNBOUNDED:
            return "every cell"
        units = ", ".join(f"{most} units in {dtype}" for dtype, most in self.largest_units.items())
        return f"cells of up to {units}, {self.largest_input_dim} inputs and {self.inputs_a_unit} a unit"

    def takes(self, cell: CellShape) -> bool:
        """Whether a cell can take it."""
        return (
            cell.units <= self.largest_units[cell.dtype]
            and cell.input_dim <= min(self.largest_input_dim, self.inputs_a_unit * cell.units)
            and (self.over_units or not cell.over_units)
        )


# The first one that takes a cell runs it.
TIERS = (
    Tier(
        "resident",
        "weights stay in registers and shared memory",
        {"float32": 128, "float64": 64},
        largest_input_dim=128,
        inputs_a_unit=4,
        over_units=False,
    ),
    Tier("portable", "weights are read at each timestep", {"float32": UNBOUNDED, "float64": UNBOUNDED}),
)

# Of resident cells: threads of a block, at most; bytes of its shared memory, and of those that x and h may take;
# registers of a thread for weights, fewer by so many for each dropout mask, and by two for each input beyond eight that
# the thread fetches ahead. (With more, some kernels would not have all they need in registers; the tests look for it.)
THREADS_OF_RESIDENTS, SHARED_BYTES, BUFFER_BYTES = 128, 48 << 10, 24 << 10
WEIGHT_REGISTERS, DROPOUT_REGISTERS, FREE_INPUT_REGISTERS = 112, 16, 8


# Not empty once a GPU was found to work: calls do not look for it again.
_found_working: list[bool] = []


def resolve(device: Any) -> str:
    """ "cpu" or "cuda" for a device that was asked for.

    Raises `DeviceError` for a name that is none, and for "cuda" where no GPU works; `MissingPackageError` for "cuda"
    without numba-cuda.
    """
    if isinstance(device, str):
        if device in ("auto", "cpu"):
            return "cpu"
        if device == "cuda":
            if not _found_working:
                if (error := problem()) is not None:
                    raise error
                _found_working.append(True)
            return "cuda"
    raise DeviceError(f"device is {shown(device)}; expected 'auto', 'cpu' or 'cuda'")


def problem() -> NumbaLSTMError | None:
    """Why "cuda" cannot be used here, in one line with the remedy; None if it can."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") in ("", "0"):
        if find_spec("numba_cuda") is None:
            return MissingPackageError(f"device is 'cuda', which needs the package numba-cuda; {_INSTALL}")
        if (lacking := nvidia.driver()["problem"]) is not None:
            return DeviceError(
                f"device is 'cuda', and there is {lacking}; install NVIDIA's driver, until nvidia-smi shows the GPU, "
                "or use 'cpu'"
            )
    try:
        from numba_lstm.kernels import cuda_target
    except ImportError as error:
        return MissingPackageError(f"device is 'cuda', but numba's CUDA cannot be imported ({error}); {_INSTALL}")
    if not cuda_target.cuda.is_available():
        return DeviceError(
            "device is 'cuda', and numba cannot use the GPU; numba -s says why; numba_lstm[cuda] is for drivers of "
            "CUDA 13, 'numba-cuda[cu12]' for those of CUDA 12"
        )
    try:
        cuda_target.try_out()
    except Exception as error:  # of numba's, its compilers', the driver's, or of packages that do not fit together
        text = " ".join(str(error).replace("\0", " ").split())[:300]
        return DeviceError(
            f"device is 'cuda', and numba-cuda cannot run an empty kernel ({type(error).__name__}: {text}); "
            "pip install 'numba_lstm[cuda]' brings packages that fit together, or use 'cpu'"
        )
    return None


def facts() -> dict[str, Any]:
    """What doctor says of GPUs beside the driver and its cards: "tiers", name and meaning, and what "auto" does."""
    return {"tiers": {tier.name: f"{tier.cells}; {tier.what}" for tier in TIERS}, "automatic": NOT_MEASURED}


def tier_for(cell: CellShape) -> Tier:
    """The tier for a cell, or the one that the environment forces. Raises `ConfigError` for one that does not fit."""
    fitting = [tier for tier in TIERS if tier.takes(cell)]
    forced = os.environ.get(TIER_VARIABLE)
    if not forced:
        return fitting[0]
    found = next((tier for tier in fitting if tier.name == forced), None)
    if found is None:
        names = ", ".join(tier.name for tier in fitting)
        raise ConfigError(f"{TIER_VARIABLE} is {forced!r}; expected one of {names} for {cell}")
    return found


def rows_of_block(rows: int, processors: int, most: int) -> int:
    """Rows that threads take: the more, the fewer readings of the weights, and the fewer blocks.

    rows: of the batch. processors: multiprocessors of the card. most: 1, 2 or 4; with more, sums would leave the
    registers.
    """
    fitting = [count for count in (2, 4) if count <= most and -(-rows // count) >= processors]
    return max(fitting, default=1)


def most_rows(tier: Tier, dtype: str, dropout: bool, over_units: bool) -> int:
    """The most rows of a thread for which the compiled kernels have all sums in registers."""
    if tier.name == "resident":
        return 4 // (2 if dtype == "float64" else 1) // (2 if dropout else 1)
    return 2 if dropout or over_units else 4


def layout_for(cell: CellShape, block_length: int, rows: int, dropout: int, recurrent_dropout: int) -> Layout:
    """Where a resident cell's numbers are: as many weights as fit in registers, then in shared memory; h's first.

    rows: of a thread; fewer are taken if their x and h were too much. dropout, recurrent_dropout: masks of each.
    """
    words = 2 if cell.dtype == "float64" else 1
    size, units = 4 * words, cell.units

    def of(rows: int, groups: int) -> Layout:
        x, h = Operand.of(cell.input_dim, dropout), Operand.of(units, recurrent_dropout)
        return Layout.of(units, block_length, rows, groups, x, h)

    while rows > 1 and of(rows, 1).buffers * size > BUFFER_BYTES:
        rows //= 2
    groups = min(THREADS_OF_RESIDENTS // units, BUFFER_BYTES // (of(rows, 1).buffers * size))
    found = of(rows, max(1, groups))
    fetched = words * rows * found.inputs
    registers = WEIGHT_REGISTERS - 2 * max(0, fetched - FREE_INPUT_REGISTERS)
    registers -= DROPOUT_REGISTERS * max(dropout, recurrent_dropout)
    kept = max(0, registers) // (4 * words)
    of_h = min(units, kept)
    of_x = _whole(cell.input_dim, kept - of_h, 2 * TOGETHER)
    room = (SHARED_BYTES // size - found.buffers) // (4 * units)
    h_shared = _whole(units - of_h, room, TOGETHER)
    x_shared = _whole(cell.input_dim - of_x, room - h_shared, TOGETHER)
    x = found.x._replace(in_registers=of_x, in_shared=x_shared)
    return found._replace(x=x, h=found.h._replace(in_registers=of_h, in_shared=h_shared))


def _whole(wanted: int, room: int, multiple: int) -> int:
    """All that is wanted if there is room for it, otherwise as much as is a multiple of something."""
    return wanted if wanted <= room else max(0, room) // multiple * multiple
