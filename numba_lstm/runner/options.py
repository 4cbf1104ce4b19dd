"""The options of a run, checked once."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from numba_lstm.checks import check_choice, check_int, check_seed
from numba_lstm.errors import Argument, ConfigError, Message
from numba_lstm.semantics.dialects import Dialect

_LARGEST = 2**62


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of a run over .npy files. Raises `ConfigError` for values and combinations that make no sense."""

    config: str | os.PathLike[str] | None = None  # the model's configuration, where its file holds weights alone
    dialect: Dialect | None = None  # None: as the file says
    device: str = "auto"
    precision: str | None = None  # None: the model's dtype
    threads: int | None = None
    mask: str | os.PathLike[str] | None = None  # .npy of the input's shape without input_dim; 0 or False skips a step
    lengths: str | os.PathLike[str] | None = None  # .npy (batch,): the steps that count in each row
    window: int | None = None
    stride: int = 1
    initial_state: str | os.PathLike[str] | None = None  # .npy (rows, states): h and c of each layer side by side
    final_state: str | os.PathLike[str] | None = None  # the same layout, written
    carry_state: bool = False  # stateful layers go on from each batch of batch_rows to the next, as in Keras's predict
    last_only: bool = False
    time_major: bool = False
    training: bool = False
    seed: int | None = None
    mc_samples: int | None = None
    rows: tuple[int, int | None] | None = None  # first and one past the last; None: to the end
    batch_rows: int | None = None
    max_memory: int | None = None  # bytes, the program itself included
    force: bool = False
    on_nan: Literal["keep", "error"] = "keep"
    progress: Callable[[int, int], None] | None = None  # called with rows done and rows in all

    def __post_init__(self) -> None:
        for name in ("threads", "window", "stride", "batch_rows", "max_memory"):
            if (value := getattr(self, name)) is not None:
                check_int(value, name, 1, _LARGEST)
        if self.mc_samples is not None:
            check_int(self.mc_samples, "mc_samples", 2, 2**31)
        check_choice(self.on_nan, "on_nan", ("keep", "error"))
        check_seed(self.seed)
        self._check_rows()
        self._check_together()

    def _check_rows(self) -> None:
        if self.rows is not None:
            first, last = self.rows
            check_int(first, "rows", 0, _LARGEST)
            if last is not None and check_int(last, "rows", 0, _LARGEST) <= first:
                raise ConfigError(f"rows is {first}:{last}; expected the first row and one past the last, as 0:100")

    def _check_together(self) -> None:
        for first, second in (
            ("mask", "lengths"),
            ("window", "lengths"),
            ("window", "time_major"),
            ("mc_samples", "final_state"),
            ("carry_state", "mc_samples"),
            ("carry_state", "initial_state"),
        ):
            if getattr(self, first) and getattr(self, second):
                raise ConfigError(
                    Message(Argument(first), " and ", Argument(second), " exclude each other; give one of them")
                )
        if self.carry_state and self.batch_rows is None:
            raise _needs("carry_state", "batch_rows", "how many rows a batch has, from which the next goes on")
        if self.stride != 1 and self.window is None:
            raise _needs("stride", "window", "it is the distance from one window to the next")
        if self.seed is not None and not self.draws_masks:
            needed = Message(Argument("training"), " or ", Argument("mc_samples"))
            raise _needs("seed", needed, "without them nothing is drawn")

    @property
    def draws_masks(self) -> bool:
        """Whether dropout is at work."""
        return self.training or self.mc_samples is not None


def _needs(option: str, other: str, why: str) -> ConfigError:
    needed = other if isinstance(other, Message) else Argument(other)
    return ConfigError(Message(Argument(option), " needs ", needed, f": {why}"))
