"""Which device computes, and with which of its kernels: every choice about GPUs stands here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from numba_lstm import nvidia
from numba_lstm.checks import shown
from numba_lstm.errors import ConfigError, DeviceError, MissingPackageError, NumbaLSTMError

# Forces the tier of this name.
TIER_VARIABLE = "NUMBA_LSTM_CUDA_TIER"

_INSTALL = "install it with: pip install 'numba_lstm[cuda]'"
NOT_MEASURED = "device='auto' uses the CPU: no figures of a GPU have been measured yet; device='cuda' asks for one"


@dataclass(frozen=True)
class Tier:
    """A way to run a sequence on a GPU; all of them give the same bits."""

    name: str
    what: str
    largest_units: int  # cells up to so many units can take it


# The first one that a cell fits into is taken.
TIERS = (Tier("portable", "a block of threads runs a few rows through the whole sequence", 2**31),)


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
    if cuda_target.cuda.is_available():
        return None
    return DeviceError(
        "device is 'cuda', and numba cannot use the GPU; numba -s says why; numba_lstm[cuda] is for drivers of CUDA "
        "13, 'numba-cuda[cu12]' for those of CUDA 12"
    )


def facts() -> dict[str, Any]:
    """What doctor says of GPUs beside the driver and its cards: "tiers", name and meaning, and what "auto" does."""
    return {"tiers": {tier.name: tier.what for tier in TIERS}, "automatic": NOT_MEASURED}


def tier_for(units: int) -> Tier:
    """The tier for a cell, or the one that the environment forces. Raises `ConfigError` for one that does not fit."""
    forced = os.environ.get(TIER_VARIABLE)
    if not forced:
        return next(tier for tier in TIERS if units <= tier.largest_units)
    for tier in TIERS:
        if tier.name == forced and units <= tier.largest_units:
            return tier
    fitting = ", ".join(tier.name for tier in TIERS if units <= tier.largest_units)
    raise ConfigError(f"{TIER_VARIABLE} is {forced!r}; expected one of {fitting} for a cell of {units} units")


def rows_of_block(rows: int, processors: int, heavy: bool) -> int:
    """Rows that a block of threads takes: the more, the fewer readings of the weights, and the fewer blocks.

    rows: of the batch. processors: multiprocessors of the card. heavy: whether there are dropout masks or an
    activation over all units, whose code takes registers: with more rows sums would leave them.
    """
    fitting = [count for count in (2, 4) if count <= (2 if heavy else 4) and -(-rows // count) >= processors]
    return max(fitting, default=1)
