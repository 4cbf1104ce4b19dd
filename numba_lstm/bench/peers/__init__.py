"""The libraries that are compared, one small file each.

A peer's module imports its library where it is used, and has

    NAME          as the tables show it
    PRECISION     "float32", or "bf16" for those that do not keep float32's
    IMPORTS       its imports: if one of them is not installed, the peer is left out by name
    VERSIONS      the packages whose versions matter
    sequence(problem, threads)     a function of no arguments that returns all outputs, (batch, timesteps, units) or
                                   (timesteps, batch, units) as the library prefers, and TIME_MAJOR, which of the two
    stepper(cells, threads)        optional: a function x (1, input_dim) -> h (1, units) that keeps the state
    check()                        optional: raises UnavailableError where the peer cannot do this

Inputs and weights are prepared beforehand, in the layout that the library prefers; this is not timed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

# In the order of the tables. The first one is this project.
MODULES = (
    "this_project",
    "this_project_bf16",
    "pytorch",
    "pytorch_bf16",
    "onnx_runtime",
    "open_vino",
    "open_vino_as_it_comes",
    "tensorflow_keras",
    "plain_numba",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence stderr, for C++ as well: TensorFlow reports there what it finds, and no setting prevents it."""
    if sys.stderr is None:  # it was closed from the start
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


class UnavailableError(Exception):
    """An installed peer that cannot run here; the message names the reason."""


def load(names: Sequence[str], package: str = __name__) -> tuple[list[ModuleType], dict[str, str]]:
    """The modules whose libraries are installed, and the reason why each of the others is left out, by name."""
    found, left_out = [], {}
    for name in names:
        peer = import_module(f"{package}.{name}")
        try:
            with quiet():
                for library in peer.IMPORTS:
                    import_module(library)
                if hasattr(peer, "check"):
                    peer.check()
            found.append(peer)
        except ModuleNotFoundError as error:
            left_out[peer.NAME] = f"{error.name} is not installed"
        except UnavailableError as error:
            left_out[peer.NAME] = str(error)
        except Exception as error:  # other people's libraries; one that is broken must not cost the others' figures
            left_out[peer.NAME] = f"it fails when imported: {error}"
    return found, left_out
