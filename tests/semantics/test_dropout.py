"""dropout.py, and the masks of a cell: the counter behind them, and what each dialect does with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numba_lstm.cell import LSTMCell
from numba_lstm.errors import ConfigError, DTypeError, ShapeError
from numba_lstm.semantics.dialects import DIALECTS, Dialect
from numba_lstm.semantics.dropout import DROPOUT, RECURRENT_DROPOUT, Draw, MaskSource, draw_masks, philox

SYSTEMS: dict[str, Dialect] = {"tf115": "tf1", "tf215": "keras2", "k3": "keras3"}
TENSORFLOW: tuple[Dialect, ...] = ("tf1", "keras2")
BATCH, INPUT_DIM, UNITS = 64, 50, 40


def states(rng: np.random.Generator, batch: int = BATCH, units: int = UNITS) -> list[Any]:
    return [rng.standard_normal((batch, units)).astype("f"), rng.standard_normal((batch, units)).astype("f")]


# The vectors that Random123 distributes with its generators (kat_vectors, philox4x32 10).
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_known_answers_of_philox(counter: str, key: str, expected: str) -> None:
    words = [int(word, 16) for word in counter.split()], [int(word, 16) for word in key.split()]
    assert [f"{word:08x}" for word in philox(*words)] == expected.split()


def test_philox_takes_arrays_of_counters() -> None:
    columns, rows = np.arange(3), np.arange(2)[:, None]
    together = philox((columns, rows, 5, 6), (7, 8))
    assert together.shape == (2, 3, 4) and together.dtype == np.uint32
    for row in range(2):
        for column in range(3):
            assert np.array_equal(together[row, column], philox((column, row, 5, 6), (7, 8)))


def test_the_layout_of_the_counter_is_frozen() -> None:
    """One value of one mask, computed from the counter as the module's docstring lays it out."""
    seed, draw, layer, gate, row, unit, rate = 0x0123456789ABCDEF, 3, 5, 2, 70_000, 6, 0.4
    numbers = philox((unit // 4, row, draw, layer << 8 | RECURRENT_DROPOUT << 4 | gate), (0x89ABCDEF, 0x01234567))
    masks = draw_masks(rate, 3, 9, Draw(seed, draw, layer, RECURRENT_DROPOUT), first_row=row - 1)
    assert (masks[gate, 1, unit] != 0) == (int(numbers[unit % 4]) >= round(rate * 2**32))
    bits = "".join(str(int(value != 0)) for value in draw_masks(0.5, 2, 8, Draw(42, 0, 0, DROPOUT)).ravel())
    assert bits == FROZEN_BITS


@pytest.mark.parametrize("offset", [-0.6, -0.5, -0.4, 0.0, 0.4, 0.5, 0.6])
def test_the_threshold_is_rounded_and_itself_kept(offset: float) -> None:
    """Rates by the number of one unit: it is kept from round(rate * 2**32) on; halves are rounded to the even one."""
    source, unit = Draw(42, 0, 0, DROPOUT), 5
    number = int(philox((unit // 4, 0, 0, 0), (42, 0))[unit % 4])
    for value in (number, number + 1):
        rate = (value + offset) / 2**32
        assert rate * 2**32 == value + offset
        mask = draw_masks(rate, 1, 8, source, gates=1, dtype="float64")[0, 0, unit]
        assert mask == (1 / (1 - rate) if number >= round(value + offset) else 0)


FROZEN_BITS = "1000101000000011010100010011000000000110011000001101011111001110"


@given(
    rate=st.floats(0.05, 0.95),
    batch=st.integers(0, 40),
    width=st.integers(1, 20),
    first=st.integers(0, 2**31),
    seed=st.integers(0, 2**64 - 1),
    data=st.data(),
)
def test_a_slice_of_a_batch_has_its_part_of_the_masks(
    rate: float, batch: int, width: int, first: int, seed: int, data: Any
) -> None:
    source = Draw(seed, 1, 2, DROPOUT)
    whole = draw_masks(rate, batch, width, source, first_row=first)
    start = data.draw(st.integers(0, batch))
    stop = data.draw(st.integers(start, batch))
    part = draw_masks(rate, stop - start, width, source, first_row=first + start)
    assert np.array_equal(whole[:, start:stop], part)
    narrow = data.draw(st.integers(1, width))
    assert np.array_equal(whole[:, :, :narrow], draw_masks(rate, batch, narrow, source, first_row=first))
    assert np.array_equal(whole[:1], draw_masks(rate, batch, width, source, gates=1, first_row=first))


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_shares(rate: float, dtype: str) -> None:
    masks = draw_masks(rate, 500, 101, Draw(9, 0, 0, DROPOUT), dtype=dtype)
    assert masks.dtype == dtype and masks.shape == (4, 500, 101)
    assert set(np.unique(masks)) == {0, np.dtype(dtype).type(1 / (1 - rate))}
    kept = (masks != 0).mean(axis=(1, 2))
    assert np.all(np.abs(kept - (1 - rate)) < 5 * math.sqrt(rate * (1 - rate) / (500 * 101)))
    # Neither rows nor columns nor gates share anything: correlations are those of independent draws.
    flat = (masks != 0).reshape(4, -1).astype(float)
    for lag in (1, 2, 3, 4, 101, 102):
        assert abs(np.corrcoef(flat[0][:-lag], flat[0][lag:])[0, 1]) < 0.025
    assert np.abs(np.corrcoef(flat) - np.eye(4)).max() < 0.025


def test_everything_in_the_counter_matters() -> None:
    base = Draw(1, 2, 3, DROPOUT)
    others = [Draw(2, 2, 3, 0), Draw(1 + 2**32, 2, 3, 0), Draw(1, 3, 3, 0), Draw(1, 2, 4, 0), Draw(1, 2, 3, 1)]
    masks = [draw_masks(0.5, 8, 32, source) for source in (base, *others)]
    masks.append(draw_masks(0.5, 8, 32, base, first_row=8))
    gates = [mask[gate] for mask in masks for gate in range(4)]
    assert not any(np.array_equal(one, other) for i, one in enumerate(gates) for other in gates[:i])


def test_the_counter_has_limits() -> None:
    with pytest.raises(ConfigError, match=r"^first_row is 4294967296; expected an integer from 0 to 4294967294$"):
        draw_masks(0.5, 2, 2, Draw(0, 0, 0, 0), first_row=2**32)
    with pytest.raises(ConfigError, match=r"^draw is -1; expected an integer from 0 to 4294967295$"):
        draw_masks(0.5, 2, 2, Draw(0, -1, 0, 0))
    with pytest.raises(ConfigError, match=r"^layer is 16777216; expected an integer from 0 to 16777215$"):
        draw_masks(0.5, 2, 2, Draw(0, 0, 2**24, 0))
    for wrong in ({"first_row": -1}, {"first_row": 2**32 - 1}):
        with pytest.raises(ConfigError, match=r"^first_row is "):
            draw_masks(0.5, 2, 2, Draw(0, 0, 0, 0), **wrong)
    with pytest.raises(ConfigError, match=r"^draw is 4294967296; "):
        draw_masks(0.5, 2, 2, Draw(0, 2**32, 0, 0))
    assert draw_masks(0.5, 2, 2, Draw(0, 2**32 - 1, 2**24 - 1, 0), first_row=2**32 - 2).shape == (4, 2, 2)


def test_a_source_keeps_masks_until_reset() -> None:
    source = MaskSource(3)
    one = source.masks(DROPOUT, 0.5, 4, 6)
    assert source.masks(DROPOUT, 0.5, 4, 6) is one and not one.flags.writeable
    recurrent = source.masks(RECURRENT_DROPOUT, 0.5, 4, 6)
    source.reset(DROPOUT)
    assert not np.array_equal(source.masks(DROPOUT, 0.5, 4, 6), one)
    assert source.masks(RECURRENT_DROPOUT, 0.5, 4, 6) is recurrent
    assert np.array_equal(source.masks(DROPOUT, 0.5, 4, 6, draw=0), one)


def test_a_source_keeps_masks_for_the_same_question_only() -> None:
    source, plain = MaskSource(5, layer=2), {"which": DROPOUT, "rate": 0.5, "batch": 3, "width": 8, "gates": 4}
    others: list[dict[str, Any]] = [{"which": 1}, {"rate": 0.25}, {"batch": 2}, {"width": 5}, {"gates": 1}]
    others += [{"first_row": 1}, {"dtype": "float64"}, {"draw": 3}]
    for other in others:
        for question in (plain, {**plain, **other}, plain):
            keys = dict(question)
            which, rate, batch, width = (keys.pop(key) for key in ("which", "rate", "batch", "width"))
            found = source.masks(which, rate, batch, width, **keys)
            expected = draw_masks(rate, batch, width, Draw(5, keys.pop("draw", 0), 2, which), **keys)
            assert found.dtype == expected.dtype and np.array_equal(found, expected)
    for which in (DROPOUT, RECURRENT_DROPOUT):
        before = [source.masks(one, 0.5, 3, 8) for one in (0, 1)]
        source.reset(which)
        assert np.array_equal(source.masks(which, 0.5, 3, 8), draw_masks(0.5, 3, 8, Draw(5, 1, 2, which)))
        assert source.masks(1 - which, 0.5, 3, 8) is before[1 - which]


# The facts that dropout_facts__*.json states, system by system.


@pytest.mark.goldens
@pytest.mark.parametrize("system", SYSTEMS)
def test_facts_of_cells(goldens: Any, system: str, rng: np.random.Generator) -> None:
    dialect, facts = SYSTEMS[system], goldens.json(f"dropout_facts__{system}.json")
    x, state = rng.standard_normal((BATCH, INPUT_DIM)), states(rng)
    for row in facts["cells"]:
        rates = {"dropout": row["dropout"], "recurrent_dropout": row["recurrent_dropout"]}
        cell = LSTMCell(UNITS, **rates, implementation=row["impl_requested"], dialect=dialect, seed=3)
        assert cell.implementation == row["impl_effective"]
        one, two = cell(x, state, training=True)[0], cell(x, state, training=True)[0]
        same = row.get("second_call_same_output_without_reset", row.get("second_call_same_without_reset"))
        assert np.array_equal(one, two) == same
        mask = cell.get_dropout_mask_for_cell(x, True, count=4)
        recurrent = cell.get_recurrent_dropout_mask_for_cell(state[0], True, count=4)
        drawn = cell.masks_for_call(BATCH, True)
        for masks, used, rate, width, fact in (
            (mask, drawn[0], row["dropout"], INPUT_DIM, row.get("dp", row.get("mask"))),
            (recurrent, drawn[1], row["recurrent_dropout"], UNITS, row.get("rec", row.get("recurrent_mask"))),
        ):
            if fact is None:
                assert masks is None and used is None and rate == 0
                continue
            assert isinstance(masks, list) and masks[0].shape == (BATCH, width) and used is not None
            assert len(used) == (1 if cell.implementation == 2 else 4)
            assert np.array_equal(np.stack(masks)[: len(used)], used)
            values = fact["distinct_values"] if isinstance(fact, dict) else [0.0, float(np.float32(1 / (1 - rate)))]
            assert np.unique(np.stack(masks)).tolist() == values
            assert not any(np.array_equal(masks[i], masks[j]) for i in range(4) for j in range(i))
        cell.reset_dropout_mask()
        cell.reset_recurrent_dropout_mask()
        assert np.array_equal(one, cell(x, state, training=True)[0]) != row["after_reset_differs"]


@pytest.mark.goldens
@pytest.mark.parametrize("system", SYSTEMS)
def test_facts_of_rates(goldens: Any, system: str, rng: np.random.Generator) -> None:
    dialect, facts = SYSTEMS[system], goldens.json(f"dropout_facts__{system}.json")
    x, state = rng.standard_normal((BATCH, INPUT_DIM)), states(rng)
    for rate in (1.0, 1.5, -0.5):
        fact = facts[f"dropout={rate:g}"]
        cell = LSTMCell(UNITS, dropout=rate, dialect=dialect)
        plain = LSTMCell(UNITS, dialect=dialect)
        cell.build(INPUT_DIM)
        plain.set_weights(cell.get_weights())
        if isinstance(fact, str):
            assert "`rate` must be" in fact or "rate must be" in fact
            with pytest.raises(ConfigError):
                cell(x, state, training=True)
        else:
            assert cell.dropout == fact["stored"] and fact["equals_no_dropout"]
            assert np.array_equal(cell(x, state, training=True)[0], plain(x, state)[0])
        assert np.array_equal(cell(x, state)[0], plain(x, state)[0])


@pytest.mark.goldens
@pytest.mark.parametrize("system", ["tf115", "tf215", "k3"])
def test_outputs_with_the_masks_keras_used(goldens: Any, system: str) -> None:
    category = "k3_dropout" if system == "k3" else "dropout"
    inputs, keras = goldens.arrays(f"{category}_inputs.npz"), goldens.arrays(f"{category}__{system}_f32.npz")
    reference = "k3torch" if system == "k3" else system
    truth = goldens.arrays(f"{category}__{reference}_f64.npz")
    for case in goldens.json(f"{category}.json")["cases"]:
        if case["layer"]["kind"] != "cell":
            continue
        arguments = case["layer"]["cells"][0]
        if system == "k3":
            arguments = {"recurrent_activation": "sigmoid", **arguments}
        call = case["calls"][0]
        masks = [keras.get(f"{case['id']}/{name}") for name in ("dp_mask", "rec_mask")]
        for dtype, tolerance in (("float32", 3e-7), ("float64", 1e-12)):
            cell = LSTMCell(**arguments, dialect=SYSTEMS[system], dtype=dtype)
            cell.set_weights([inputs[key] for key in case["weights"][0]])
            out, (h, c) = cell(inputs[call["x"]], [inputs[call["h0"]], inputs[call["c0"]]], True, *masks)
            assert np.array_equal(out, h)
            for name, value in (("h", h), ("c", c)):
                expected = truth[f"{case['id']}/{name}"]
                error = np.abs(value - expected) / np.maximum(1, np.abs(expected))
                assert error.max() <= tolerance, case["id"]


# What the masks of a call are.


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("implementation", [1, 2])
def test_masks_multiply_inputs_and_state(dialect: Dialect, implementation: int, rng: np.random.Generator) -> None:
    """By hand: gate g sees x * mask[g] and h * recurrent_mask[g]; with implementation 2 all see the first."""
    cell = LSTMCell(
        5, "tanh", "sigmoid", dropout=0.3, recurrent_dropout=0.4, implementation=implementation, dialect=dialect
    )
    x, (h, c) = rng.standard_normal((7, 3)), states(rng, 7, 5)
    cell.build(3)
    kernel, recurrent_kernel, bias = (weight.astype("d") for weight in cell.get_weights())
    masks = cell.get_dropout_mask_for_cell(x, True, count=4)
    recurrent_masks = cell.get_recurrent_dropout_mask_for_cell(h, True, count=4)
    assert masks is not None and recurrent_masks is not None
    one = dialect == "tf1" and implementation == 2
    z = []
    for gate in range(4):
        part = slice(5 * gate, 5 * gate + 5)
        which = 0 if one else gate
        z.append(
            x * masks[which] @ kernel[:, part] + h * recurrent_masks[which] @ recurrent_kernel[:, part] + bias[part]
        )
    i, f, o = (1 / (1 + np.exp(-z[gate])) for gate in (0, 1, 3))
    new_c = f * c + i * np.tanh(z[2])
    out, (_, out_c) = cell(x, [h, c], training=True)
    assert np.allclose(out_c, new_c, atol=1e-6) and np.allclose(out, o * np.tanh(new_c), atol=1e-6)


@given(cut=st.integers(0, 9), draw=st.integers(0, 3))
def test_cutting_a_batch_changes_no_bit(cut: int, draw: int) -> None:
    rng = np.random.default_rng(4)
    x, (h, c) = rng.standard_normal((9, 4)), states(rng, 9, 6)
    cell = LSTMCell(6, dropout=0.4, recurrent_dropout=0.4, seed=8)
    for _ in range(draw):
        cell.reset_dropout_mask()
        cell.reset_recurrent_dropout_mask()
    whole = cell(x, [h, c], training=True)[1]
    first = cell(x[:cut], [h[:cut], c[:cut]], training=True)[1]
    second = cell(x[cut:], [h[cut:], c[cut:]], training=True, first_row=cut)[1]
    assert all(
        np.array_equal(one, np.concatenate(two))
        for one, two in zip(whole, zip(first, second, strict=True), strict=True)
    )
    again = LSTMCell(6, dropout=0.4, recurrent_dropout=0.4, seed=8)
    again.build(4)
    for mask, drawn in zip(cell.masks_for_call(9, True), again.masks_for_call(9, True, draw=draw), strict=True):
        assert np.array_equal(mask, drawn)  # type: ignore[arg-type]


def test_training_decides(rng: np.random.Generator) -> None:
    x, state = rng.standard_normal((4, 3)), states(rng, 4, 5)
    cell, plain = LSTMCell(5, dropout=0.5), LSTMCell(5)
    cell.build(3)
    plain.set_weights(cell.get_weights())
    expected = plain(x, state)[0]
    # TensorFlow would keep masks of ones here, and drop nothing in the call that trains.
    for training in (False, None):
        assert np.array_equal(cell(x, state, training=training)[0], expected)
        assert np.array_equal(cell.get_dropout_mask_for_cell(x, training), np.ones((4, 3)))  # type: ignore[arg-type]
        assert not np.array_equal(cell(x, state, training=True)[0], expected)
    assert cell.get_recurrent_dropout_mask_for_cell(state[0], True) is None


def test_given_masks_are_used_as_they_are(rng: np.random.Generator) -> None:
    x, state = rng.standard_normal((4, 3)), states(rng, 4, 5)
    cell = LSTMCell(5, seed=2)
    mask, recurrent_mask = 2 * rng.integers(0, 2, (4, 4, 3)), rng.integers(0, 2, (1, 4, 5)).astype(bool)
    for training in (False, True):
        with_masks = cell(x, state, training, mask, recurrent_mask)[0]
        spread = cell(x, state, training, mask, np.repeat(recurrent_mask, 4, axis=0))[0]
        assert np.array_equal(with_masks, spread)
        assert not np.array_equal(with_masks, cell(x, state, training)[0])
    # Implementation 2 has one mask for all gates: the first.
    second = LSTMCell(5, implementation=2)
    second.set_weights(cell.get_weights())
    four = [cell(x, state, True, one)[0] for one in (np.repeat(mask[:1], 4, axis=0), mask[:1])]
    assert np.array_equal(four[0], four[1])
    assert np.array_equal(second(x, state, True, mask)[0], second(x, state, True, mask[:1])[0])
    assert np.array_equal(second(x, state, True, mask)[0], four[0])


def test_seeds(rng: np.random.Generator) -> None:
    x, state = rng.standard_normal((4, 30)), states(rng, 4, 5)

    def masks(cell: LSTMCell) -> Any:
        return cell.get_dropout_mask_for_cell(x, True, count=4)

    one, two = LSTMCell(5, dropout=0.5, seed=1), LSTMCell(5, dropout=0.5, seed=1)
    assert one.seed == 1 and np.array_equal(masks(one), masks(two))
    free = LSTMCell(5, dropout=0.5)
    assert 0 <= free.seed < 2**64 and free.seed == free.seed != LSTMCell(5).seed
    two.reseed(free.seed)
    assert two.seed == free.seed and np.array_equal(masks(two), masks(free))
    two.reseed(free.seed, layer_number=1)
    assert two.layer_number == 1 and not np.array_equal(masks(two), masks(free))
    assert LSTMCell(5, seed=-1).seed == 2**64 - 1
    two.reseed()
    assert two.seed != free.seed
    assert one(x, state, training=True)[0].shape == (4, 5)


@pytest.mark.parametrize("dialect", TENSORFLOW)
def test_rate_one_is_refused_when_training(dialect: Dialect, one_line: Callable[[Any], str]) -> None:
    cell = LSTMCell(5, recurrent_dropout=1.0, dialect=dialect)
    cell.build(3)
    system = {"tf1": "TensorFlow 1.15", "keras2": "TensorFlow 2.15 (Keras 2)", "keras3": ""}[dialect]
    with pytest.raises(ConfigError) as info:
        cell.masks_for_call(2, True)
    assert one_line(info) == f"recurrent_dropout is 1.0; {system} trains only with rates below 1; choose a lower one"
    assert cell.masks_for_call(2, False) == (None, None)
    assert cell.masks_for_call(2, True, recurrent_dropout_mask=np.ones((4, 2, 5)))[0] is None


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("which", ["dropout", "recurrent_dropout"])
def test_rates_at_the_ends(dialect: Dialect, which: Any) -> None:
    """No rate makes no mask; a rate of 1 and more is none in Keras 3 and an error in TensorFlow, when training."""
    x, get = np.ones((2, 3), "f"), f"get_{which}_mask_for_cell"
    for rate in (0.0, -1.0, 1.0, 1.5, 0.5):
        cell = LSTMCell(3, **{which: rate}, dialect=dialect, seed=1)
        cell.build(3)
        other = get.replace("get_", "get_recurrent_") if which == "dropout" else get.replace("recurrent_", "")
        assert getattr(cell, other)(x, True) is None
        found = getattr(cell, get)(x, False)
        if rate <= 0 or (rate >= 1 and dialect == "keras3"):
            assert found is None and getattr(cell, get)(x, True) is None
            assert cell.masks_for_call(2, True) == (None, None)
        else:
            assert np.array_equal(found, np.ones((2, 3))) and found.dtype == np.float32
            if rate >= 1:
                with pytest.raises(ConfigError, match=f"^{which} is 1.0; .* trains only with rates below 1; choose a"):
                    getattr(cell, get)(x, True)
            else:
                assert set(np.unique(getattr(cell, get)(x, True))) == {0.0, 2.0}


def test_shares_of_rates_near_the_ends() -> None:
    source = Draw(1, 0, 0, DROPOUT)
    assert (draw_masks(0.0, 9, 9, source) == 1).all()
    assert (draw_masks(2.0**-33, 9, 9, source) != 0).all()
    assert (draw_masks(1 - 2.0**-32, 9, 9, source) == 0).all()
    assert draw_masks(0.25, 2, 3, source, dtype="float32")[0].max() == np.float32(1 / 0.75)


def test_masks_that_do_not_fit(one_line: Callable[[Any], str]) -> None:
    cell = LSTMCell(5)
    cell.build(3)
    for mask in (np.ones((2, 4, 3)), np.ones((4, 1, 3)), np.ones((4, 4, 5))):
        with pytest.raises(ShapeError) as info:
            cell.masks_for_call(4, True, dropout_mask=mask)
        assert one_line(info) == f"dropout_mask has shape {mask.shape}; expected (4, 4, 3) or (1, ...)"
    with pytest.raises(
        ShapeError, match=r"^recurrent_dropout_mask has shape \(4, 5\); expected \(4 or 1, batch, width\)$"
    ):
        cell.masks_for_call(4, True, recurrent_dropout_mask=np.ones((4, 5)))
    with pytest.raises(DTypeError, match=r"^dropout_mask has dtype complex128; expected floats"):
        cell.masks_for_call(4, True, dropout_mask=np.ones((4, 4, 3), complex))
    with pytest.raises(ConfigError, match=r"^count is 5; expected an integer from 1 to 4$"):
        cell.get_dropout_mask_for_cell(np.ones((4, 3)), True, count=5)
