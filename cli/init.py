"""numba-lstm init: new weights."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from . import terminal
from .options import DIALECTS, FILE, SEED, count

if TYPE_CHECKING:
    from numba_lstm.model import Sequential

_F = TypeVar("_F", bound=Callable[..., Any])


def _named(argument: str, default: str | None = None) -> Callable[[_F], _F]:
    """An option whose values are names in Keras."""
    return click.option(f"--{argument}", metavar="NAME", default=default, show_default=True)


@click.command(short_help="Make a model with new weights.")
@click.argument("output", type=FILE)
@click.option("--units", type=click.IntRange(1), metavar="N", help="Units of the LSTM.")
@click.option("--input-dim", type=click.IntRange(1), metavar="N", help="Features of a timestep.")
@_named("activation", "tanh")
@_named("recurrent-activation", "hard_sigmoid")
@click.option("--use-bias/--no-bias", default=True, show_default=True)
@_named("kernel-initializer", "glorot_uniform")
@_named("recurrent-initializer", "orthogonal")
@_named("bias-initializer", "zeros")
@click.option("--unit-forget-bias/--no-unit-forget-bias", default=True, show_default=True)
@_named("kernel-regularizer")
@_named("recurrent-regularizer")
@_named("bias-regularizer")
@_named("kernel-constraint")
@_named("recurrent-constraint")
@_named("bias-constraint")
@click.option("--dropout", type=float, metavar="RATE", default=0.0, show_default=True)
@click.option("--recurrent-dropout", type=float, metavar="RATE", default=0.0, show_default=True)
@click.option("--implementation", type=click.Choice(("1", "2")), default="1", show_default=True)
@click.option("--return-sequences", is_flag=True, help="Return the outputs of all timesteps, not only the last.")
@click.option("--go-backwards", is_flag=True, help="The model reads the timesteps last to first.")
@click.option("--dtype", type=click.Choice(("float32", "float64")), default="float32", show_default=True)
@click.option("--dialect", type=click.Choice(DIALECTS), help="The dialect; by default tf1, or that of CONFIG.")
@click.option("--config", type=FILE, metavar="FILE", help="Make the model of this configuration (JSON) instead.")
@click.option("--seed", type=SEED, metavar="N", help="Seed of the weights; by default a new one, which is printed.")
@click.option("--force", is_flag=True, help="Replace an existing output; it keeps its mode.")
@click.pass_context
def init(ctx: click.Context, /, output: str, config: str | None, seed: int | None, force: bool, **options: Any) -> None:
    """Make a model with new weights, drawn by the initializers, and write it to OUTPUT (.npz, .safetensors or .h5).

    The model is one LSTM whose arguments are those of Keras's class, or the model of the file given with --config.

    \b
    Example, in a clone of the repository:
      numba-lstm init --units 32 --input-dim 8 --seed 1 lstm.npz
      numba-lstm run lstm.npz data/digits/x.npy -o y.npy
    """
    from numba_lstm.formats import save
    from numba_lstm.runner.jobs import check_absent, check_unread

    check_unread([output], [config])
    if not force:
        check_absent(output)
    seed = secrets.randbits(63) if seed is None else seed
    model = _single(ctx, options, seed) if config is None else _configured(ctx, config, options, seed)
    save(model, output, replace=force)
    terminal.note(f"{count(model.count_params(), 'parameter')}, dialect {model.dialect}, seed {seed} -> {output}")


def _single(ctx: click.Context, options: dict[str, Any], seed: int) -> Sequential:
    """A model of one LSTM."""
    from numba_lstm.layers import LSTM
    from numba_lstm.model import Sequential

    for name in ("units", "input_dim"):
        if options[name] is None:
            raise click.UsageError(f"Missing option '--{name.replace('_', '-')}', or '--config'.", ctx)
    input_dim = options.pop("input_dim")
    options["implementation"] = int(options["implementation"])
    options["dialect"] = options["dialect"] or "tf1"
    model = Sequential([LSTM(**options, seed=seed)])
    model.build((None, None, input_dim))
    return model


def _configured(ctx: click.Context, config: str, options: dict[str, Any], seed: int) -> Sequential:
    """The model that a file describes."""
    from numba_lstm.formats import from_config

    for name in options:
        given = ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and name not in ("dialect", "input_dim"):
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} and --config exclude each other: the file says it.", ctx)
    model = from_config(config, dialect=options["dialect"])
    model.reseed(seed)
    input_dim = options["input_dim"]
    if model.input_shape is None and not model.takes_indices and input_dim is None:
        raise click.UsageError(f"Missing option '--input-dim': {config} does not say it.", ctx)
    if model.input_shape is not None:
        if input_dim not in (None, model.input_dim):
            raise click.UsageError(f"--input-dim is {input_dim}, but {config} says {model.input_dim}.", ctx)
        model.build()
    else:
        model.build((None, None) if model.takes_indices else (None, None, input_dim))
    return model
