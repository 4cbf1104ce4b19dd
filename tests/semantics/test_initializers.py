"""initializers.py: the distributions of Keras, own reproducible streams."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numba_lstm.cell import LSTMCell
from numba_lstm.errors import ConfigError, ShapeError
from numba_lstm.semantics import initializers
from numba_lstm.semantics.dialects import DIALECTS, Dialect
from numba_lstm.semantics.names import TABLES
from numba_lstm.semantics.serialization import deserialize_object

SYSTEMS: dict[str, Dialect] = {"tf115": "tf1", "tf215": "keras2", "k3": "keras3"}
SHAPE = (200, 200)


def drawn(initializer: initializers.Initializer, shape: tuple[int, ...] = SHAPE, seed: int = 5) -> Any:
    return initializer(shape, "float64", np.random.default_rng(seed))


def statistics(weight: Any) -> dict[str, Any]:
    """The figures that the goldens hold of a weight."""
    weight = np.asarray(weight, np.float64)
    found: dict[str, Any] = {
        "shape": list(weight.shape),
        "mean": weight.mean(),
        "std": weight.std(),
        "min": weight.min(),
        "max": weight.max(),
        "fraction_zero": (weight == 0).mean(),
    }
    product = weight @ weight.T
    found["(W W^T)_00"] = product[0, 0]
    found["max|W W^T / (W W^T)_00 - I|"] = np.abs(product / max(product[0, 0], 1e-30) - np.eye(len(weight))).max()
    return found


@pytest.mark.goldens
@pytest.mark.parametrize("system", SYSTEMS)
def test_weights_are_distributed_as_keras_distributes_them(goldens: Any, system: str) -> None:
    dialect = SYSTEMS[system]
    stored = goldens.json(f"initializers__{system}.json")
    for row in stored["statistics"]:
        spec = row["initializer"]
        value = spec if isinstance(spec, str) else {"class_name": spec[0], "config": spec[1]}
        for which in ("kernel", "recurrent"):
            cell = LSTMCell(stored["units"], **{f"{which}_initializer": value}, dialect=dialect, seed=1)
            cell.build(stored["input_dim"])
            weight = cell.get_weights()[which == "recurrent"]
            assert weight.dtype == np.float32
            found, keras = statistics(weight), row[which]
            # Two samples of n elements: five standard errors each.
            n, std = weight.size, keras["std"]
            assert found["shape"] == keras["shape"]
            assert found["mean"] == pytest.approx(keras["mean"], abs=10 * std / math.sqrt(n) + 1e-12), (spec, which)
            assert found["std"] == pytest.approx(std, rel=10 / math.sqrt(2 * n), abs=1e-12), (spec, which)
            assert found["fraction_zero"] == pytest.approx(keras["fraction_zero"], abs=1e-12), (spec, which)
            spread = keras["max"] - keras["min"]
            # The ends of a normal or orthogonal sample are a matter of luck, those of a bounded one are not.
            bounded = str(spec).lower().count("normal") == str(spec).lower().count("truncated_normal")
            slack = spread * (0.005 if bounded and "rthogonal" not in str(spec) else 0.25)
            assert found["min"] == pytest.approx(keras["min"], abs=slack + 1e-12), (spec, which)
            assert found["max"] == pytest.approx(keras["max"], abs=slack + 1e-12), (spec, which)
            if keras["max|W W^T / (W W^T)_00 - I|"] < 1e-5:
                assert found["max|W W^T / (W W^T)_00 - I|"] < 1e-6
                assert found["(W W^T)_00"] == pytest.approx(keras["(W W^T)_00"], rel=1e-6)


@pytest.mark.goldens
@pytest.mark.parametrize("system", SYSTEMS)
def test_unit_forget_bias_as_in_keras(goldens: Any, system: str) -> None:
    for row in goldens.json(f"initializers__{system}.json")["forget_bias"]:
        spec = row["bias_initializer"]
        value = spec if isinstance(spec, str) else {"class_name": spec[0], "config": spec[1]}
        cell = LSTMCell(3, bias_initializer=value, unit_forget_bias=row["unit_forget_bias"], dialect=SYSTEMS[system])
        cell.build(2)
        bias, keras = cell.get_weights()[2], np.array(row["bias"])
        if spec[0] == "RandomUniform":
            fixed = keras == 1.0
            assert np.array_equal(bias == 1.0, fixed)
            assert np.all((bias[~fixed] >= 2) & (bias[~fixed] <= 3)) and len(set(bias[~fixed])) == (~fixed).sum()
        else:
            assert np.array_equal(bias, keras)


@pytest.mark.parametrize(
    ("initializer", "limit", "std"),
    [
        (initializers.GlorotUniform(), math.sqrt(6 / 400), math.sqrt(2 / 400)),
        (initializers.HeUniform(), math.sqrt(6 / 200), math.sqrt(2 / 200)),
        (initializers.LecunUniform(), math.sqrt(3 / 200), math.sqrt(1 / 200)),
        (initializers.RandomUniform(-0.25, 0.25), 0.25, 0.5 / math.sqrt(12)),
        (initializers.VarianceScaling(4.0, "fan_out", "uniform"), math.sqrt(12 / 200), math.sqrt(4 / 200)),
        (initializers.GlorotNormal(), 2 * math.sqrt(2 / 400) / 0.87962566, math.sqrt(2 / 400)),
        (initializers.HeNormal(), 2 * math.sqrt(2 / 200) / 0.87962566, math.sqrt(2 / 200)),
        (initializers.LecunNormal(), 2 * math.sqrt(1 / 200) / 0.87962566, math.sqrt(1 / 200)),
        (initializers.VarianceScaling(), 2 * math.sqrt(1 / 200) / 0.87962566, math.sqrt(1 / 200)),
        (initializers.VarianceScaling(distribution="Normal"), 2 * math.sqrt(1 / 200) / 0.87962566, math.sqrt(1 / 200)),
        (initializers.TruncatedNormal(0.0, 0.5), 1.0, 0.5 * 0.87962566),
        (initializers.RandomNormal(0.0, 0.5), math.inf, 0.5),
        (initializers.VarianceScaling(distribution="untruncated_normal"), math.inf, math.sqrt(1 / 200)),
    ],
    ids=repr,
)
def test_spread(initializer: initializers.Initializer, limit: float, std: float) -> None:
    values = drawn(initializer)
    assert np.abs(values).max() <= limit
    assert np.isinf(limit) or np.abs(values).max() > 0.99 * limit
    assert values.std() == pytest.approx(std, rel=0.02) and values.mean() == pytest.approx(0, abs=0.02 * std)


def test_means_are_kept() -> None:
    assert drawn(initializers.RandomNormal(3.0, 0.1)).mean() == pytest.approx(3, abs=0.01)
    values = drawn(initializers.TruncatedNormal(-1.0, 0.1))
    assert values.mean() == pytest.approx(-1, abs=0.01) and values.max() <= -0.8 and values.min() >= -1.2
    values = drawn(initializers.RandomUniform(2.0, 3.0))
    assert values.min() >= 2.0 and values.max() <= 3.0 and values.mean() == pytest.approx(2.5, abs=0.01)


@pytest.mark.parametrize("shape", [(6, 24), (24, 6), (5, 5), (2, 3, 24)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    matrix = drawn(initializers.Orthogonal(2.0), shape).reshape(-1, shape[-1])
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    assert np.allclose(wide @ wide.T, 4 * np.eye(len(wide)), atol=1e-12)


@pytest.mark.parametrize("shape", [(6, 3), (3, 6), (4, 4)])
def test_orthogonal_matrices_are_those_of_qr(shape: tuple[int, int]) -> None:
    """The only Q of the normal matrix that is drawn whose R has a positive diagonal."""
    for seed in range(5):
        tall = drawn(initializers.Orthogonal(), shape, seed)
        tall = tall.T if shape[0] < shape[1] else tall
        r = tall.T @ np.random.default_rng(seed).standard_normal(tall.shape)
        assert np.allclose(r, np.triu(r), atol=1e-12) and np.all(np.diag(r) > 0)


def test_orthogonal_matrices_are_spread_evenly() -> None:
    # Without the signs of R's diagonal, the first entries would all be negative.
    signs = [drawn(initializers.Orthogonal(), (3, 3), seed)[0, 0] > 0 for seed in range(200)]
    assert 60 < sum(signs) < 140


def test_identity_zeros_ones_constant() -> None:
    assert np.array_equal(drawn(initializers.Identity(3.0), (2, 3)), 3 * np.eye(2, 3))
    assert np.array_equal(drawn(initializers.Zeros(), (2, 3)), np.zeros((2, 3)))
    assert np.array_equal(drawn(initializers.Ones(), (2, 3)), np.ones((2, 3)))
    assert np.array_equal(drawn(initializers.Constant(7), (2, 3)), np.full((2, 3), 7))
    six = np.arange(6)
    for value in (six, six.tolist(), six.reshape(2, 3), six.reshape(3, 2), six.reshape(1, 2, 3)):
        assert np.array_equal(drawn(initializers.Constant(value), (2, 3)), six.reshape(2, 3))
    assert np.array_equal(drawn(initializers.Constant([1, 2, 3]), (2, 3)), [[1, 2, 3]] * 2)


def test_fans_of_more_axes_and_of_one() -> None:
    """Axes in front of the last two count for both; of a single axis both are its length."""

    def limit(mode: str, shape: tuple[int, ...], **axes: Any) -> float:
        return float(np.abs(drawn(initializers.VarianceScaling(3.0, mode, "uniform", **axes), shape)).max())

    for mode, fan in (("fan_in", 50 * 3), ("fan_out", 50 * 40), ("fan_avg", (150 + 2000) / 2)):
        assert 0.99 < limit(mode, (50, 3, 40)) / math.sqrt(9 / fan) <= 1
    for mode in ("fan_in", "fan_out", "fan_avg"):
        assert 0.99 < limit(mode, (1000,)) / math.sqrt(9 / 1000) <= 1
        assert drawn(initializers.VarianceScaling(mode=mode), (0, 1)).shape == (0, 1)
    for axes in ({"input_axes": [1]}, {"output_axes": [0]}):  # both, or neither
        assert 0.99 < limit("fan_in", (10, 400), **axes) / math.sqrt(9 / 10) <= 1


def test_small_weights_are_truncated_too() -> None:
    values = [drawn(initializers.TruncatedNormal(1.0, 0.5), (4, 4), seed) for seed in range(100)]
    assert 1.99 < np.abs((np.array(values) - 1) / 0.5).max() <= 2


def test_seeds_of_64_bits() -> None:
    assert initializers.seed_number(-1, "seed") == 2**64 - 1 and initializers.seed_number(-(2**63), "seed") == 2**63
    weights = [initializers.RandomNormal(seed=seed)((4, 4)) for seed in (5, 2**63 + 5, 2**32 + 5, -5, 2**64 - 5)]
    assert np.array_equal(weights[3], weights[4])
    assert not any(np.array_equal(weights[i], weights[j]) for i in range(4) for j in range(i))


def test_fans_of_other_axes() -> None:
    turned = initializers.VarianceScaling(1.0, "fan_in", "uniform", input_axes=[1], output_axes=[0])
    assert np.abs(drawn(turned, (4, 400))).max() <= math.sqrt(3 / 400)
    with pytest.raises(ConfigError, match=r"^input_axes and output_axes are .*; expected axes of shape \(4, 400\)$"):
        drawn(initializers.VarianceScaling(input_axes=[3], output_axes=[0]), (4, 400))


@given(
    name=st.sampled_from(sorted(TABLES["initializer"]["keras2"])),
    seed=st.integers(-(2**63), 2**64 - 1),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_a_seed_decides(name: str, seed: int, dtype: str) -> None:
    config: dict[str, Any] = {"class_name": name, "config": {}}
    random = hasattr(deserialize_object(name, "keras2", "initializer"), "seed")
    if random:
        config["config"]["seed"] = seed
    one, two = (deserialize_object(config, "keras2", "initializer") for _ in range(2))
    values = one((6, 24), dtype, np.random.default_rng(1))
    assert values.dtype == dtype and values.shape == (6, 24)
    assert np.array_equal(values, two((6, 24), dtype, np.random.default_rng(2)))
    config["config"].pop("seed", None)
    unseeded = deserialize_object(config, "keras2", "initializer")
    streams = [unseeded((6, 24), dtype, np.random.default_rng(stream)) for stream in (1, 1, 2)]
    assert np.array_equal(streams[0], streams[1])
    assert np.array_equal(streams[0], streams[2]) == (not random)


UNIFORM = [0.3064200623168074, 0.972971131166894, 0.6752892704877018, -0.6731021695086118]
TRUNCATED = [6.150766787412872e-05, 0.014937276875423495, -0.013706892768110879, -0.04452959193786371]


def test_the_streams_are_frozen() -> None:
    """Another NumPy must not change the weights of a seed; the figures were drawn with NumPy 2."""
    expected = {
        initializers.GlorotUniform(seed=7): UNIFORM,
        initializers.TruncatedNormal(seed=7): TRUNCATED,
    }
    for initializer, values in expected.items():
        assert initializer((2, 2), "float64").ravel() == pytest.approx(values, rel=1e-12)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_one_seed_gives_the_same_weights_in_every_dialect(dialect: Dialect) -> None:
    def weights(**arguments: Any) -> list[Any]:
        cell = LSTMCell(4, bias_initializer="random_uniform", **arguments)
        cell.build(3)
        return cell.get_weights()

    first, second = weights(seed=11), weights(seed=11, dialect=dialect)
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    exact = weights(seed=11, dtype="float64")
    assert all(np.array_equal(one, other.astype(np.float32)) for one, other in zip(first, exact, strict=True))
    other = weights(seed=12)
    assert not any(np.array_equal(one, other) for one, other in zip(first, other, strict=True))
    assert not np.array_equal(first[0][:3], first[1][:3])


def test_layers_of_one_seed_have_other_weights() -> None:
    one, two = LSTMCell(4, seed=11), LSTMCell(4)
    two.reseed(11, layer_number=1)
    one.build(4)
    two.build(4)
    assert not np.array_equal(one.get_weights()[0], two.get_weights()[0])


def test_a_function_makes_weights() -> None:
    def ramp(shape: tuple[int, ...], dtype: Any = None) -> Any:
        return np.arange(math.prod(shape), dtype=dtype).reshape(shape)

    cell = LSTMCell(2, kernel_initializer=ramp, bias_initializer=ramp)
    cell.build(3)
    kernel, _, bias = cell.get_weights()
    assert np.array_equal(kernel, np.arange(24).reshape(3, 8))
    assert np.array_equal(bias, [0, 1, 1, 1, 0, 1, 2, 3])
    with pytest.raises(ShapeError, match=r"^the initializer of kernel has shape \(1,\); expected \(3, 8\)$"):
        LSTMCell(2, kernel_initializer=lambda shape, dtype: np.zeros(1)).build(3)


def test_no_initializer_is_glorot_uniform() -> None:
    one, two = (
        LSTMCell(2, recurrent_initializer=None, seed=3),
        LSTMCell(2, recurrent_initializer="glorot_uniform", seed=3),
    )
    one.build(3)
    two.build(3)
    assert np.array_equal(one.get_weights()[1], two.get_weights()[1])
    assert one.get_config()["recurrent_initializer"] is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: initializers.VarianceScaling(0.0), "scale of VarianceScaling is 0.0; expected a number above 0"),
        (
            lambda: initializers.VarianceScaling(mode="fan"),
            "mode of VarianceScaling is 'fan'; expected one of 'fan_in', 'fan_out', 'fan_avg'",
        ),
        (
            lambda: initializers.VarianceScaling(distribution="beta"),
            "distribution of VarianceScaling is 'beta'; expected one of 'normal', 'truncated_normal', "
            "'untruncated_normal', 'uniform'",
        ),
        (lambda: initializers.RandomNormal(stddev="a"), "stddev of RandomNormal is 'a'; expected a finite number"),  # type: ignore[arg-type]
        (lambda: initializers.Orthogonal(gain=math.nan), "gain of Orthogonal is nan; expected a finite number"),
        (
            lambda: initializers.GlorotUniform(seed="a"),  # type: ignore[arg-type]
            f"seed of GlorotUniform is 'a'; expected an integer from {-(2**63)} to {2**64 - 1}",
        ),
        (
            lambda: initializers.HeNormal(input_axes=[9]),
            "input_axes of HeNormal is 9; expected an integer from -4 to 3",
        ),
        (
            lambda: initializers.VarianceScaling(output_axes=1),  # type: ignore[arg-type]
            "output_axes of VarianceScaling is 1; expected None or several axes",
        ),
        (lambda: initializers.Constant("a"), "value of Constant is 'a'; expected a number or an array of numbers"),
        (
            lambda: initializers.Constant([[1], [1, 2]]),
            "value of Constant is [[1], [1, 2]]; expected a number or an array of numbers",
        ),
        (
            lambda: LSTMCell(2, kernel_initializer=initializers.Constant([1, 2])).build(3),
            "the initializer of kernel: value of Constant has shape (2,); expected a number, (3, 8) or as",
        ),
        (
            lambda: LSTMCell(2, bias_initializer="orthogonal").build(3),
            "the initializer of bias: Orthogonal cannot fill the shape (2,); expected a matrix; use another",
        ),
        (
            lambda: LSTMCell(2, bias_initializer="identity", unit_forget_bias=False).build(3),
            "the initializer of bias: Identity cannot fill the shape (8,); expected a matrix; use another initializer",
        ),
    ],
)
def test_what_is_refused(make: Callable[[], Any], message: str, one_line: Callable[[Any], str]) -> None:
    with pytest.raises(ConfigError) as info:
        make()
    assert one_line(info).startswith(message)
