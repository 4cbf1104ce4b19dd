"""numba_lstm: the Keras LSTM, run at the speed of the hardware with NumPy and Numba alone.

The public names are imported where they are first used, so that ``import numba_lstm`` takes milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numba_lstm.backends.cpu.threads import get_num_threads as get_num_threads
    from numba_lstm.backends.cpu.threads import set_num_threads as set_num_threads
    from numba_lstm.cell import LSTMCell as LSTMCell
    from numba_lstm.errors import NumbaLSTMError as NumbaLSTMError
    from numba_lstm.formats import load as load
    from numba_lstm.formats import save as save
    from numba_lstm.layers import LSTM as LSTM
    from numba_lstm.layers import RNN as RNN
    from numba_lstm.layers import Activation as Activation
    from numba_lstm.layers import BatchNormalization as BatchNormalization
    from numba_lstm.layers import Bidirectional as Bidirectional
    from numba_lstm.layers import Dense as Dense
    from numba_lstm.layers import Dropout as Dropout
    from numba_lstm.layers import Embedding as Embedding
    from numba_lstm.layers import Flatten as Flatten
    from numba_lstm.layers import LayerNormalization as LayerNormalization
    from numba_lstm.layers import Masking as Masking
    from numba_lstm.layers import RepeatVector as RepeatVector
    from numba_lstm.layers import StackedRNNCells as StackedRNNCells
    from numba_lstm.layers import TimeDistributed as TimeDistributed
    from numba_lstm.model import Sequential as Sequential
    from numba_lstm.runner import run_npy as run_npy

__version__ = "0.1.0"

_HOME = {
    "LSTMCell": "cell",
    "NumbaLSTMError": "errors",
    "load": "formats",
    "save": "formats",
    "LSTM": "layers",
    "RNN": "layers",
    "Activation": "layers",
    "BatchNormalization": "layers",
    "Bidirectional": "layers",
    "Dense": "layers",
    "Dropout": "layers",
    "Embedding": "layers",
    "Flatten": "layers",
    "LayerNormalization": "layers",
    "Masking": "layers",
    "RepeatVector": "layers",
    "StackedRNNCells": "layers",
    "TimeDistributed": "layers",
    "Sequential": "model",
    "run_npy": "runner",
    "get_num_threads": "backends.cpu.threads",
    "set_num_threads": "backends.cpu.threads",
}

__all__ = sorted(_HOME)


# What computes. `from numba_lstm import driver` comes here as long as the module is not there.
_LOADING_LLVM = ("driver", "session")


def __getattr__(name: str) -> Any:
    if name in _LOADING_LLVM:
        from numba_lstm.kernels.undisturbed import load

        return load(f"numba_lstm.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'numba_lstm' has no attribute {name!r}")
    value = getattr(import_module(f"numba_lstm.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
