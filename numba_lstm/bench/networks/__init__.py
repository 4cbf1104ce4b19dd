"""The demonstration's network in each library, one small file each.

A module imports its library where it is used, and has

    NAME, IMPORTS           as in peers/
    PACKAGES                the packages that pip would install for it; of several names of one, the installed ones
    run_of(network)         a function x (rows, timesteps, input_dim) -> outputs (rows, classes)
    stepper_of(network)     a function x (1, input_dim) -> outputs (1, classes) that keeps the state, and one of no
                            arguments that sets it to zero, as it is at first
    write(network, folder)  writes the model's file
    SCRIPT                  the shortest program that reads the file and x.npy in the current folder and writes y.npy

All of it on one thread; the script with as many as the library takes.
"""

from __future__ import annotations

from collections.abc import Callable

from numba_lstm.bench.problem import Array

Stepper = tuple[Callable[[Array], Array], Callable[[], None]]

# In the order of the table.
MODULES = (
    "tensorflow_keras",
    "pytorch",
    "onnx_runtime",
    "open_vino_as_it_comes",
    "open_vino",
    "plain_numba",
    "this_project",
)
