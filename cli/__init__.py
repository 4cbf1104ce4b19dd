"""The command numba-lstm. It installs as the package numba_lstm_cli."""
