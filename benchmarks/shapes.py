"""Which shapes are timed, as (batch, timesteps, input_dim, units), and for how long."""

from __future__ import annotations

from dataclasses import dataclass

Shape = tuple[int, int, int, int]

ONE_ROW: tuple[Shape, ...] = (
    (1, 10000, 1, 16),
    (1, 1000, 64, 64),
    (1, 1000, 128, 128),
    (1, 500, 256, 256),
    (1, 200, 512, 512),
    (1, 100, 1024, 1024),
)
MANY_ROWS: tuple[Shape, ...] = (
    (8, 200, 128, 256),
    (32, 100, 128, 256),
    (32, 100, 512, 512),
    (64, 1000, 8, 32),
    (128, 100, 256, 512),
    (256, 50, 64, 128),
)
GRID = ONE_ROW + MANY_ROWS

NEIGHBOURS: tuple[Shape, ...] = (
    *((1, steps, units, units) for units, steps in ((96, 500), (192, 300), (384, 200), (768, 100))),
    *((32, steps, units, units) for units, steps in ((96, 100), (192, 50), (384, 40), (768, 20))),
    *((rows, 100, 128, 128) for rows in (2, 3, 4, 12, 48)),
    *((rows, 40, 512, 512) for rows in (2, 3, 4, 12, 48)),
)

# A size and the multiple of 16 that it is compared with.
ODD: tuple[tuple[Shape, Shape], ...] = (
    ((1, 500, 100, 100), (1, 500, 112, 112)),
    ((32, 100, 100, 100), (32, 100, 112, 112)),
    ((1, 300, 257, 257), (1, 300, 256, 256)),
    ((32, 50, 257, 257), (32, 50, 256, 256)),
)
FLOAT64: tuple[Shape, ...] = ((1, 1000, 128, 128), (32, 100, 128, 256), (32, 100, 512, 512))
OPTIONS: tuple[Shape, ...] = ((1, 1000, 64, 64), (1, 500, 256, 256), (32, 100, 128, 256))
STACKS: tuple[tuple[str, int, tuple[int, ...]], ...] = (
    ("two layers", 500, (128, 128)),
    ("3x256", 200, (256, 256, 256)),
    ("bidirectional", 500, (128,)),
)
# What one step a call is timed with: units of the cells, from the lowest; input_dim is that of the first.
STEPS: tuple[tuple[int, ...], ...] = ((16,), (64,), (128,), (128, 128), (256, 256, 256))
WINDOWS: tuple[Shape, ...] = ((2000, 60, 64, 32), (2000, 60, 128, 128))  # windows, their length
RAGGED: Shape = (64, 100, 64, 128)


@dataclass(frozen=True)
class Plan:
    """How much is measured. Seconds are for one candidate of one row of a table."""

    name: str
    grid: tuple[Shape, ...]
    neighbours: tuple[Shape, ...]
    extras: bool  # everything that is about this project alone, single steps and whole commands
    seconds: float
    seconds_extra: float
    step_calls: int
    commands: int  # times that a whole command is run
    limits: float


FULL = Plan("full", GRID, NEIGHBOURS, True, 0.8, 0.3, 10_000, 5, 0.4)
QUICK = Plan("quick", GRID, (), True, 0.15, 0.08, 3_000, 3, 0.1)
TINY = Plan("tiny", ((1, 7, 3, 20), (4, 5, 3, 16)), (), False, 0.002, 0.002, 10, 0, 0.002)
PLANS = {plan.name: plan for plan in (FULL, QUICK, TINY)}
