"""The selection of the device: a check of the GPU, and the choices of the user and the environment."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from numba_lstm.backends.cuda import nvidia, policy
from numba_lstm.checks import shown
from numba_lstm.errors import Argument, DeviceError, Message, MissingPackageError, NumbaLSTMError

_INSTALL = "install it with: pip install 'numba_lstm[cuda]'"
NOT_MEASURED = Message(
    Argument("device", "auto"),
    " uses the CPU: no figures of a GPU have been measured yet; ",
    Argument("device", "cuda"),
    " asks for one",
)


# Not empty once a GPU was found to work, which is checked only once.
_found_working: list[bool] = []


def resolve(device: Any) -> str:
    """The device that computes, "cpu" or "cuda", for the argument ``device``.

    Raises `DeviceError` for an unknown name, and for "cuda" where no GPU works; `MissingPackageError` for "cuda"
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
    """The error that device "cuda" raises here, None if a GPU works."""
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
        cuda_target.run_trial_kernel()
    except Exception as error:  # of numba, its compilers, the driver, or of incompatible packages
        text = " ".join(str(error).replace("\0", " ").split())[:300]
        return DeviceError(
            f"device is 'cuda', and numba-cuda cannot run an empty kernel ({type(error).__name__}: {text}); "
            "pip install 'numba_lstm[cuda]' brings packages that fit together, or use 'cpu'"
        )
    return None


def report() -> dict[str, Any]:
    """The part of doctor's report on GPUs that does not come from the driver: the "tiers", and the choice of "auto"."""
    return {
        "tiers": {tier.name: f"{tier.cells}; {tier.description}" for tier in policy.TIERS},
        "automatic": NOT_MEASURED,
    }


def forced_tier() -> str | None:
    """The name of the tier that the environment forces, or None."""
    return os.environ.get(policy.TIER_VARIABLE)
