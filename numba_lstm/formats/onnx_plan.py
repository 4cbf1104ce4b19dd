"""The plan of a model from an ONNX graph: its layers, their weights, and notes on calling them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numba_lstm.checks import shown
from numba_lstm.errors import FileFormatError
from numba_lstm.formats.onnx_stages import (
    BIDIRECTIONAL,
    REVERSE,
    GraphStage,
    Grid,
    Joined,
    LstmNode,
    Marked,
    MisreadError,
    NotAChainError,
    Unsupported,
    settled,
)
from numba_lstm.formats.onnx_trace import Tracer
from numba_lstm.formats.onnx_wire import Graph
from numba_lstm.semantics.dialects import Dialect

# Sizes that a graph is followed with where it leaves them open.
_GRIDS = (Grid(3, 2), Grid(4, 3))
_SECONDS = 0.4  # of the thread's processor time, for following the graph
_MOST_INPUTS = 16
_MOST_STAGES = 500


@dataclass
class GraphPlan:
    """The layers of a graph, as Keras would write them, and the stages that have the weights."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    stages: list[GraphStage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    time_major: bool = False

    def dialect(self) -> tuple[Dialect, str]:
        """The dialect of the activations, and its source. Keras 3 has no sequences with timesteps first."""
        used = {name for stage in self.stages for name in stage.activations()}
        if "hard_sigmoid_keras3" in used and "hard_sigmoid" not in used and not self.time_major:
            return "keras3", "HardSigmoid has the slope of 1/6 of Keras 3"
        return "keras2", "ONNX's activations are those of Keras 2"

    def same_as(self, other: GraphPlan) -> bool:
        """Whether the other one has the same layers with the same weights."""
        return self.entries == other.entries and self.notes == other.notes


def plan_of(graph: Graph) -> GraphPlan:
    """The layers of the graph. Raises a `FileFormatError` that names the unsupported part."""
    if not any(node.op == "LSTM" for node in graph.nodes):
        found = sorted({node.op for node in graph.nodes})
        remedy = "; an LSTM that was exported as a Loop is not read: load the .keras or .h5 file of the model"
        remedy = remedy if {"Loop", "Scan"} & set(found) else ""
        raise FileFormatError(f"the graph has no LSTM node, but {shown(found)}; expected one or more{remedy}")
    for name in graph.tensors:
        graph.inputs.pop(name, None)
    roots = [name for name, axes in graph.inputs.items() if len(axes) in (2, 3)][:_MOST_INPUTS]
    if not roots or not graph.outputs or len(graph.inputs) > _MOST_INPUTS:
        shapes = shown(graph.inputs)
        raise FileFormatError(f"the graph has the inputs {shapes}; expected one of (batch, timesteps, input_dim)")
    deadline = time.thread_time() + _SECONDS
    best: list[FileFormatError] = []  # the problem with each input, taken for the sequence
    for root in roots:
        problems: list[FileFormatError] = []
        for time_first in (False, True):
            try:
                plans = [
                    _plan(graph, root, time_first, _sized(graph.inputs[root], time_first, grid), deadline)
                    for grid in _GRIDS
                ]
            except FileFormatError as error:
                problems.append(error)
                continue
            if not plans[0].same_as(plans[1]):
                raise FileFormatError("the graph does other things for other sizes of the batch; expected the same")
            return plans[0]
        best.append(min(problems, key=_vagueness))
    raise next((error for error in best if _vagueness(error) < 2), best[0])


def _vagueness(error: FileFormatError) -> int:
    """The vagueness of an error: 0 for an unsupported part, 1 for a graph that is no chain, 2 for a misread one."""
    return isinstance(error, NotAChainError) + isinstance(error, MisreadError)


def _sized(axes: list[int | str], time_first: bool, grid: Grid) -> Grid:
    """The grid, with the sizes that the graph fixes."""
    timesteps, batch = axes[:2] if time_first else axes[1::-1]
    return Grid(
        timesteps if isinstance(timesteps, int) else grid.timesteps, batch if isinstance(batch, int) else grid.batch
    )


def _plan(graph: Graph, root: str, time_first: bool, grid: Grid, deadline: float) -> GraphPlan:
    tracer = Tracer(graph, root, time_first, grid, deadline)
    tracer.run()
    output, *others = (tracer.value(name) for name in graph.outputs)
    if isinstance(output, Unsupported):
        raise output.error()
    if isinstance(output, Joined):
        raise NotAChainError(f"output {shown(graph.outputs[0])} joins what several nodes gave")
    if not isinstance(output, Marked):
        raise NotAChainError(f"output {shown(graph.outputs[0])} does not depend on the input")
    output = settled(output)
    chain = _chain(output.stage)
    nodes = [stage.lstm for stage in chain if stage.lstm is not None]
    if chain[0].name != root or not nodes:
        raise NotAChainError(f"output {shown(graph.outputs[0])} does not come from the input through an LSTM")
    if len({lstm.lengths for lstm in nodes}) > 1:
        raise NotAChainError("sequence_lens are given to some LSTM nodes only")
    plan = GraphPlan(stages=chain[1:], time_major=time_first)
    ends, turned, arrangement = _ending(output, chain)
    _add_entries(plan, chain, time_first, ends, turned)
    _add_notes(plan, graph, nodes, time_first, arrangement, others, chain)
    return plan


def _chain(last: GraphStage) -> list[GraphStage]:
    chain = [last]
    while chain[-1].parent is not None and len(chain) <= _MOST_STAGES:
        chain.append(chain[-1].parent)
    if len(chain) > _MOST_STAGES:
        raise FileFormatError(f"the graph has more than {_MOST_STAGES} layers; expected fewer")
    return chain[::-1]


def _ending(output: Marked, chain: list[GraphStage]) -> tuple[str, bool, str]:
    """The part of the last LSTM's output that the graph gives: "all", "last" or "final"; whether reversed; its axes."""
    stage, grid = output.stage, output.stage.grid
    steps, batch, features = grid.timesteps, grid.batch, stage.features
    last = next(one.lstm for one in reversed(chain) if one.lstm is not None)
    directions, units = (last.directions, last.units) if stage.lstm is last else (1, features)
    parts = {
        "all": stage.sequence(),
        "last": stage.marks((steps - 1) * batch, batch)[np.newaxis],
        "final": stage.marks(grid.rows, batch)[np.newaxis],
    }
    for ends, marks in parts.items():
        for turned in (False, True):
            rows = marks[::-1] if turned else marks
            split = rows.reshape(len(rows), batch, directions, units)
            shapes = {
                "(timesteps, batch, features)": rows,
                "(batch, timesteps, features)": rows.swapaxes(0, 1),
                "(timesteps, directions, batch, units)": split.transpose(0, 2, 1, 3),
                "(batch, timesteps, directions, units)": split.swapaxes(0, 1),
            }
            if ends != "all":
                shapes = {
                    "(batch, features)": rows[0],
                    "(1, batch, features)": rows,
                    "(batch, 1, features)": rows.swapaxes(0, 1),
                    "(directions, batch, units)": split[0].swapaxes(0, 1),
                    "(batch, directions, units)": split[0],
                }
            for axes, expected in shapes.items():
                if expected.shape == output.ids.shape and (expected == output.ids).all():
                    return ends, turned, axes
    raise NotAChainError("its output is neither a whole sequence nor its end")


def _add_entries(plan: GraphPlan, chain: list[GraphStage], time_major: bool, ends: str, turned: bool) -> None:
    root, last = chain[0], next(stage for stage in reversed(chain) if stage.lstm is not None)
    width = [root.features] if chain[1].kind != "embedding" else []
    plan.entries.append(
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, None, *width], "name": "input"}}
    )
    for stage in chain[1:]:
        config: dict[str, Any] = {"name": f"{stage.kind}_{len(plan.entries)}"}
        if stage.lstm is not None:
            whole = stage is not last or ends != "final"
            plan.entries.append(_lstm_entry(stage.lstm, config, time_major, whole))
            if stage.lstm.direction == REVERSE and whole:
                _add_timesteps(plan, "ReverseTimesteps", time_major)
            if stage is last and ends == "last":
                _add_timesteps(plan, "LastTimestep", time_major)
        elif stage.kind == "dense":
            config |= {"units": stage.features, "use_bias": stage.bias is not None}
            plan.entries.append({"class_name": "Dense", "config": config})
        elif stage.kind == "embedding" and stage.kernel is not None:
            config |= {"input_dim": stage.kernel.shape[0], "output_dim": stage.features}
            plan.entries.append({"class_name": "Embedding", "config": config})
        else:
            plan.entries.append({"class_name": "Activation", "config": {**config, "activation": stage.activation}})
    if turned:
        _add_timesteps(plan, "ReverseTimesteps", time_major)


def _add_timesteps(plan: GraphPlan, class_name: str, time_major: bool) -> None:
    config = {"name": f"timesteps_{len(plan.entries)}", "time_major": time_major}
    plan.entries.append({"class_name": class_name, "config": config})


def _lstm_entry(lstm: LstmNode, config: dict[str, Any], time_major: bool, whole: bool) -> dict[str, Any]:
    entries = []
    for number, (recurrent_activation, activation) in enumerate(lstm.activations):
        backward = lstm.direction == REVERSE or number == 1
        entries.append(
            {
                "class_name": "LSTM",
                "config": {
                    "name": ("forward", "backward")[number],
                    "units": lstm.units,
                    "activation": activation,
                    "recurrent_activation": recurrent_activation,
                    "use_bias": lstm.bias is not None,
                    "implementation": 2,
                    "return_sequences": whole,
                    "go_backwards": backward != lstm.backwards,
                    "time_major": time_major,
                    # Behind a row's end ONNX gives zeros, as Bidirectional does by itself.
                    "zero_output_for_mask": whole and lstm.lengths is not None,
                },
            }
        )
    if lstm.direction == BIDIRECTIONAL:
        both: dict[str, Any] = {"layer": entries[0], "backward_layer": entries[1], "merge_mode": "concat"}
        return {"class_name": "Bidirectional", "config": {**config, **both}}
    own: Any = entries[0]["config"]
    return {"class_name": "LSTM", "config": {**own, **config}}


def _add_notes(
    plan: GraphPlan,
    graph: Graph,
    nodes: list[LstmNode],
    time_major: bool,
    arrangement: str,
    others: list[Any],
    chain: list[GraphStage],
) -> None:
    if time_major:
        plan.notes.append("sequences have the timesteps first, as in the graph: (timesteps, batch, features)")
    usual = ("(timesteps, batch, features)" if time_major else "(batch, timesteps, features)", "(batch, features)")
    if arrangement not in usual:
        plan.notes.append(
            f"output {shown(graph.outputs[0])} has the axes {arrangement} in the graph; the model gives "
            f"{usual[1] if 'timesteps' not in arrangement else usual[0]}"
        )
    if nodes[0].lengths is not None:
        plan.notes.append(f"input {shown(nodes[0].lengths)} is the rows' lengths: predict takes it as lengths")
    given = [name for lstm in nodes for states in lstm.states or () for name, _ in states]
    if given:
        if any(lstm.states is None for lstm in nodes):
            raise NotAChainError("initial states are given to some LSTM nodes only")
        _check_states(nodes)
        names = ", ".join(map(shown, dict.fromkeys(given)))
        plan.notes.append(f"inputs {names} are the initial states: run_rows takes h, c of each cell as initial_state")
    for name, value in zip(graph.outputs[1:], others, strict=True):
        parts = value.parts() if isinstance(value, Joined) else [value]
        if not all(isinstance(part, Marked) and part.stage in chain and _is_state(part) for part in parts):
            raise NotAChainError(f"it has a second output, {shown(name)}")
    if others:
        names = ", ".join(map(shown, graph.outputs[1:]))
        plan.notes.append(f"outputs {names} are final states: run_rows gives h, c of each cell with return_state=True")


def _check_states(nodes: list[LstmNode]) -> None:
    """The states must come in the order of the cells, within every input that holds some."""
    for which in (0, 1):
        places = [states[which] for lstm in nodes for states in lstm.states or ()]
        for name in {name for name, _ in places}:
            numbers = [number for other, number in places if other == name]
            if numbers != list(range(len(numbers))):
                raise NotAChainError(f"input {shown(name)} has the initial states in another order than the cells")


def _is_state(value: Marked) -> bool:
    return value.stage.lstm is not None and bool((value.ids >= value.stage.grid.rows * value.stage.features).all())
