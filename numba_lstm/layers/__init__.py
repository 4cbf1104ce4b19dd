"""The layers of an ordinary Keras LSTM model, and the way from a configuration to them."""

from __future__ import annotations

from numba_lstm.layers.bidirectional import Bidirectional
from numba_lstm.layers.dense import Activation, Dense
from numba_lstm.layers.dropout import Dropout, SpatialDropout1D
from numba_lstm.layers.embedding import Embedding, Masking
from numba_lstm.layers.layer import Layer
from numba_lstm.layers.lstm import LSTM
from numba_lstm.layers.normalization import BatchNormalization, LayerNormalization
from numba_lstm.layers.recurrent import Recurrent
from numba_lstm.layers.registry import cell_from_config, layer_from_config, supported_layers, to_entry
from numba_lstm.layers.rnn import RNN
from numba_lstm.layers.shaping import Flatten, InputLayer, RepeatVector, TimeDistributed
from numba_lstm.layers.stacked import StackedRNNCells
from numba_lstm.layers.timesteps import LastTimestep, ReverseTimesteps

__all__ = [
    "LSTM",
    "RNN",
    "Activation",
    "BatchNormalization",
    "Bidirectional",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "InputLayer",
    "LastTimestep",
    "Layer",
    "LayerNormalization",
    "Masking",
    "Recurrent",
    "RepeatVector",
    "ReverseTimesteps",
    "SpatialDropout1D",
    "StackedRNNCells",
    "TimeDistributed",
    "cell_from_config",
    "layer_from_config",
    "supported_layers",
    "to_entry",
]
