"""ONNX graphs that are beyond layers in a row: how each is made, and the words that name it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.onnx_files import lstm_model, model, node, tensor, value, weights

Array = NDArray[Any]
Make = Callable[[Path], Any]
Case = tuple[Make, str]
RNG = np.random.default_rng(5)
ARRAYS, BOTH = weights(RNG), weights(RNG, 2)
SECOND = {f"{key}2": array for key, array in weights(RNG, input_dim=4).items()}
X = value("X", ["time", "batch", 3])
STATES = [value("h0", [1, "batch", 4]), value("c0", [1, "batch", 4])]
LENGTHS = value("lens", ["batch"], 6)
NUMBERS = {
    "zero": [0],
    "one": [1],
    "two": [2],
    "a": [-1],
    "b": [-(2**40)],
    "d": [1, 1],
    "three": [3],
    "four": [4],
    "five": [5],
}
NUMBERS |= {"big": [2**40], "large": [2048, 1024], "huge": [2048, 1025], "order": [1, 0]}
CONSTANTS = [tensor(name, np.array(numbers)) for name, numbers in NUMBERS.items()]
TURN = ["a", "b", "zero", "a"]  # the inputs of a Slice that turns the first axis round


def one(arrays: dict[str, Array] = ARRAYS, **options: Any) -> Make:
    """One LSTM node with `options`; see `lstm_model`."""
    return lambda path: lstm_model(path, arrays, **options)


def behind(*nodes: bytes, output: str = "z", tensors: tuple[bytes, ...] = (), **options: Any) -> Make:
    """One LSTM node, and others that make `output` of its Y."""
    return one(nodes=list(nodes), outputs=[output], tensors=[*CONSTANTS, *tensors], **options)


def lstm(inputs: list[str], outputs: list[str], **options: Any) -> bytes:
    return node("LSTM", inputs, outputs, hidden_size=4, **options)


def graph(*nodes: bytes, outputs: list[str], inputs: tuple[bytes, ...] = (X,), tensors: tuple[bytes, ...] = ()) -> Make:
    """Any nodes: the weights of two LSTM nodes and some constants are there."""
    own = [tensor(key, array) for key, array in (ARRAYS | SECOND).items()]
    content = model(list(nodes), [*own, *CONSTANTS, *tensors], list(inputs), outputs)
    return lambda path: path.write_bytes(content)


def two(first: list[str], second: list[str], *inputs: bytes, nodes: tuple[bytes, ...] = ()) -> Make:
    """Two LSTM nodes in a row, with `first` and `second` as their further inputs, and `nodes` in front."""
    made = [*nodes, lstm(["X", "W", "R", "B", *first], ["Y"]), node("Squeeze", ["Y", "one"], ["s"])]
    made.append(lstm(["s", "W2", "R2", "B2", *second], ["out"]))
    return graph(*made, outputs=["out"], inputs=(X, *inputs))


def before(*nodes: bytes, reads: str = "r", **options: Any) -> Make:
    """One LSTM node that reads what `nodes` make."""
    return graph(*nodes, lstm([reads, "W", "R", "B"], ["Y"]), outputs=["Y"], **options)


def turned(arrays: dict[str, Array], direction: str) -> Make:
    """One LSTM node that reads a sequence whose timesteps were turned round."""
    nodes = [node("Slice", ["X", *TURN], ["r"]), lstm(["r", "W", "R", "B"], ["Y"], direction=direction)]
    content = model(nodes, [*CONSTANTS, *(tensor(key, array) for key, array in arrays.items())], [X], ["Y"])
    return lambda path: path.write_bytes(content)


def states(op: str, *inputs: str, **attributes: Any) -> Make:
    """A node of both directions, whose initial states come from two inputs by way of `op`."""
    moved = [node(op, [name, *inputs], [name[0]], **attributes) for name in ("h0", "c0")]
    made = [*moved, lstm(["X", "W", "R", "B", "", "h", "c"], ["Y"], direction="bidirectional")]
    given = [X, value("h0", [2, "batch", 4]), value("c0", [2, "batch", 4])]
    content = model(made, [*CONSTANTS, *(tensor(key, array) for key, array in BOTH.items())], given, ["Y"])
    return lambda path: path.write_bytes(content)


def weighted(key: str, array: Array | None) -> Make:
    """One LSTM node with another array as its weights `key`; None: with what a node makes."""
    if array is not None:
        return one({**ARRAYS, key: array}, hidden_size=4)
    rest = [tensor(name, stored) for name, stored in ARRAYS.items() if name != key]
    content = model([node("Relu", ["X"], [key]), lstm(["X", "W", "R", "B"], ["Y"])], rest, [X], ["Y"])
    return lambda path: path.write_bytes(content)


def zeros(name: str, *shape: int, dtype: str = "f4") -> bytes:
    return tensor(name, np.zeros(shape, dtype))


def chain(count: int) -> Make:
    names = ["Y", *(f"t{i}" for i in range(count))]
    return behind(*(node("Tanh", [a], [b]) for a, b in pairwise(names)), output=names[-1])


HARD = ["HardSigmoid", "Tanh", "Tanh"]
SIX = ["Sigmoid", "Tanh", "Tanh"] * 2
S, CONCAT = node("Squeeze", ["Y", "one"], ["s"]), node("Concat", ["X", "s"], ["j"], axis=2)
LSTM_NODES: dict[str, Case] = {
    "peepholes": (one(extra=["", "", "", "P"], tensors=[zeros("P", 1, 12)]), "has peepholes, which is not"),
    "clip": (one(clip=0.0), "has clip, which is not supported"),
    "nine inputs": (one(extra=["", "", "", "", "X"]), "has 9 inputs; expected 8 at most"),
    "input_forget": (one(input_forget=1), "has input_forget set"),
    "direction": (one(direction="sideways"), "has the direction 'sideways'; expected forward, reverse, bidir"),
    "joined": (graph(lstm(["X", "W", "R", "B"], ["Y"]), S, CONCAT, lstm(["j", "W2", "R2", "B2"], ["o"]), outputs=["o"]),
               "node 'o' does not read what one node gave"),
    "indices": (before(node("Cast", ["X"], ["r"], to=7)), "does not read what one node gave"),
    "part": (before(node("Slice", ["X", "one", "two"], ["r"])), "does not read the whole sequence of what is before"),
    "turned round, both": (turned(BOTH, "bidirectional"), "is bidirectional and reads a sequence that was turned roun"),
    **{f"computed {key}": (weighted(key, None), f"has weights {key} that the graph computes") for key in "WRB"},
    **{f"integers {key}": (weighted(key, ARRAYS[key].astype("i4")), f"has weights {key} of type int32; expected floats")
       for key in "WRB"},
    "hidden_size 0": (one(hidden_size=0), "hidden_size 0; expected 1 to 65536"),
    "hidden_size 65537": (one(hidden_size=65537), "hidden_size 65537; expected 1 to 65536"),
    "W of 5 units": (one(hidden_size=5), "W has shape (1, 16, 3); expected (1, 20, 3)"),
    "W of 7 features": (one(shape=["time", "batch", 7]), "W has shape (1, 16, 3); expected (1, 16, 7)"),
    "W of rank 2": (one(shape=["batch", 3]), "W has shape (1, 16, 3); expected (1, 16, 1)"),
    "R of 5 units": (weighted("R", np.zeros((1, 20, 4), "f")), "R has shape (1, 20, 4); expected (1, 16, 4)"),
    "R of two": (weighted("R", np.zeros((2, 16, 4), "f")), "R has shape (2, 16, 4); expected (1, 16, 4)"),
    "half of B": (weighted("B", np.zeros((1, 16), "f")), "B has shape (1, 16); expected (1, 32)"),
    "projection": (weighted("R", np.zeros((1, 16, 2), "f")), "2 outputs for 4 units, a projection (proj_size)"),
    "one of two": (one(direction="bidirectional"), "W has shape (1, 16, 3); expected (2, 16, 3)"),
    "two activations": (one(activations=HARD[:2]), "has 2 activations; expected 3"),
    "three of six": (one(BOTH, direction="bidirectional", activations=SIX[:3]), "has 3 activations; expected 6"),
    "candidate": (one(activations=["Sigmoid", "Tanh", "Relu"]), "expected the same for the candidate and the output"),
    "candidate backward": (one(BOTH, direction="bidirectional", activations=[*SIX[:4], "Relu", "Tanh"]),
                           "expected the same for the candidate and the output"),
    "Affine": (one(activations=["Affine", "Tanh", "Tanh"]), "has the activation 'Affine', which is not"),
    "alpha": (one(activations=HARD, activation_alpha=[0.25]), "'HardSigmoid' with alpha and beta [0.25, 0.5], which"),
    "beta": (one(activations=HARD, activation_beta=[0.25]), "'HardSigmoid' with alpha and beta [0.2, 0.25], which"),
    "Elu": (one(activations=["Elu", "Tanh", "Tanh"], activation_alpha=[0.5]), "'Elu' with alpha and beta [0.5], which"),
    "alpha of nothing": (one(activation_alpha=[0.3]), "an alpha or beta that belongs to no activation"),
    "beta of nothing": (one(activation_beta=[0.3]), "an alpha or beta that belongs to no activation"),
    "fixed lengths": (one(extra=["l"], tensors=[tensor("l", np.array([3, 2], "i4"))]), "sequence_lens that are no inp"),
    "lengths for one size": (one(extra=["l"], tensors=[tensor("l", np.array([3, 3], "i4"))]), "sequence_lens that are"),
    "lengths turned round": (graph(node("Slice", ["lens", *TURN], ["l"]), lstm(["X", "W", "R", "B", "l"], ["Y"]),
                                   outputs=["Y"], inputs=(X, LENGTHS)), "sequence_lens that are no input of the graph"),
    "lengths of the data": (two(["X"], []), "sequence_lens that are no input of the graph"),
    "lengths joined": (graph(node("Slice", ["lens", "zero", "one"], ["p"]), node("Slice", ["l2", "one", "two"], ["q"]),
                             node("Concat", ["p", "q"], ["l"], axis=0), lstm(["X", "W", "R", "B", "l"], ["Y"]),
                             outputs=["Y"], inputs=(X, LENGTHS, value("l2", ["batch"], 6))), "sequence_lens that are"),
    "h of data": (two([], ["", "Y", "c0"], STATES[1]), "initial states that are no inputs of the graph; expected inpu"),
    "h of the sequence": (two(["", "X", "c0"], [], STATES[1]), "initial states that are no inputs of the graph"),
    "h alone": (two(["", "h0"], [], STATES[0]), "initial states that are no inputs of the graph"),
    "c alone": (two(["", "", "c0"], [], STATES[1]), "initial states that are no inputs of the graph"),
    "h of 3 units": (two(["", "h0", "c0"], [], value("h0", [1, "batch", 3]), STATES[1]),
                     "has initial states of shape (1, 2, 3); expected (1, 2, 4)"),
    "fixed h": (one(extra=["", "h"], tensors=[tensor("h", np.ones((1, 2, 4), "f"))]), "fixed initial states other tha"),
    "fixed c": (one(extra=["", "", "c"], tensors=[tensor("c", np.ones((1, 2, 4), "f"))]), "fixed initial states other"),
    "zeros of 3 units": (one(extra=["", "h"], tensors=[zeros("h", 1, 2, 3)]), "has initial states of shape (1, 2, 3)"),
    "units turned round": (two(["", "h", "c0"], [], *STATES,
                               nodes=(node("Slice", ["h0", "a", "b", "two", "a"], ["h"]),)),
                           "initial states that were rearranged, which is not supported"),
    "units in the middle": (two(["", "h", "c0"], [], value("h0", [1, "batch", 6]), STATES[1],
                                nodes=(node("Slice", ["h0", "one", "five", "two"], ["h"]),)),
                            "initial states that were rearranged, which is not supported"),
    "rows turned round": (states("Slice", "a", "b", "one", "a"), "has the initial states in another order than the ce"),
}  # fmt: skip
# What depends on the number of timesteps: 1 of 3, else the batch; and where to begin, at 0 of 3, else at 3.
STEPS = (
    node("Shape", ["X"], ["shape"]), node("Gather", ["shape", "zero"], ["T"]),
    node("Gather", ["shape", "one"], ["batch"]),
    node("Equal", ["T", "three"], ["is3"]), node("Where", ["is3", "one", "batch"], ["p"]),
    node("Where", ["is3", "batch", "one"], ["q"]), node("Concat", ["p", "q", "four"], ["pq4"], axis=0),
    node("Where", ["is3", "zero", "three"], ["start"]),
)  # fmt: skip
LAYERS: dict[str, Case] = {
    "no LSTM": (graph(node("Relu", ["X"], ["Y"]), node("GRU", ["Y"], ["Z"]), outputs=["Y"]),
                "the graph has no LSTM node, but ['GRU', 'Relu']; expected one or more"),
    "a Loop": (graph(node("Loop", ["X"], ["Y"]), outputs=["Y"]), "load the .keras or .h5 file of the model"),
    "no inputs": (graph(lstm(["X", "W", "R", "B"], ["Y"]), outputs=["Y"], inputs=()),
                  "the graph has the inputs {}; expected one of (batch, timesteps, input_dim)"),
    "four axes": (one(shape=["a", "b", "c", 3]), "expected one of (batch, timesteps, input_dim)"),
    "no outputs": (graph(lstm(["X", "W", "R", "B"], ["Y"]), outputs=[]), "the graph has the inputs {'X': "),
    "17 inputs": (two([], [], *(value(f"i{i}", ["batch", 3]) for i in range(16))), "expected one of (batch, timesteps"),
    "all or the end": (behind(S, *STEPS, node("Slice", ["s", "start", "big", "zero"], ["z"])),
                       "the graph does other things for other sizes of the batch; expected the same"),
    "axes by the timesteps": (behind(*STEPS, node("Reshape", ["Y_h", "pq4"], ["z"])), "does other things for other si"),
    "Loop behind": (behind(node("Loop", ["Y"], ["z"])), "node 'z' is the operation 'Loop', which is not supported"),
    "of others": (behind(node("Tanh", ["Y"], ["z"], domain="my.own")), "is the operation 'Tanh' of 'my.own', which is"),
    "product": (behind(node("Mul", ["Y", "Y"], ["z"])), "is the operation 'Mul', which is not supported"),
    "Softmax of timesteps": (behind(node("Softmax", ["Y"], ["z"], axis=0)), "is the operation 'Softmax' with axis 0,"),
    "Elu": (behind(node("Elu", ["Y"], ["z"], alpha=0.5)), "is the operation 'Elu' with alpha 0.5, which is not"),
    "Gelu": (behind(node("Gelu", ["Y"], ["z"], approximate="tanh")), "is the operation 'Gelu', which is not supported"),
    "joined": (graph(lstm(["X", "W", "R", "B"], ["Y"]), S, CONCAT, outputs=["j"]), "output 'j' joins what several nod"),
    "work on what is joined": (graph(lstm(["X", "W", "R", "B"], ["Y"]), S, CONCAT, node("Tanh", ["j"], ["z"]),
                                     outputs=["z"]), "node 'z' joins what several nodes gave"),
    "a constant": (one(outputs=["W"]), "output 'W' does not depend on the input"),
    "the input": (one(outputs=["X", "Y"]), "output 'X' does not come from the input through an LSTM"),
    "another input": (graph(lstm(["X", "W", "R", "B"], ["Y"]), node("Tanh", ["V"], ["z"]), outputs=["z"],
                            inputs=(X, value("V", ["batch"]))), "does not come from the input through an LSTM"),
    "lengths for the first": (two(["lens"], [], LENGTHS), "sequence_lens are given to some LSTM nodes only"),
    "lengths for the second": (two([], ["lens"], LENGTHS), "sequence_lens are given to some LSTM nodes only"),
    "other lengths": (two(["lens"], ["l2"], LENGTHS, value("l2", ["batch"], 6)), "sequence_lens are given to some"),
    "500 layers": (chain(500), "the graph has more than 500 layers; expected fewer"),
    "no end": (behind(node("Slice", ["Y", "one", "two"], ["z"])), "its output is neither a whole sequence nor its end"),
    "the carry": (one(outputs=["Y_c"]), "its output is neither a whole sequence nor its end"),
    "states for the first": (two(["", "h0", "c0"], [], *STATES), "initial states are given to some LSTM nodes only"),
    "states for the second": (two([], ["", "h0", "c0"], *STATES), "initial states are given to some LSTM nodes only"),
    "the input, too": (one(outputs=["Y", "X"]), "it has a second output, 'X'"),
    "constants, too": (one(outputs=["Y", "W"]), "it has a second output, 'W'"),
    "two sequences": (one(outputs=["Y", "Y"]), "it has a second output, 'Y'"),
    "states of another": (graph(lstm(["X", "W", "R", "B"], ["Y"]), lstm(["X", "W", "R", "B"], ["V", "h"]),
                                outputs=["Y", "h"]), "it has a second output, 'h'"),
    "order of states": (states("Gather", "order", axis=0), "has the initial states in another order than the cells"),
    "names": (one(shape=["time", "batch", "features"]), "expected a fixed number of features"),
    "large": (one(shape=[2**40, 2, 3]), "which is too large; expected open axes"),
    "empty": (one(shape=[0, 2, 3]), "which is too large; expected open axes"),
    "shapes": (behind(node("Transpose", ["Y"], ["z"], perm=[0, 1])), "node 'z', 'Transpose', does not fit its inputs"),
    "twice": (behind(node("Tanh", ["Y"], ["z"]), node("Relu", ["Y"], ["z"])), "makes 'z', which is there already"),
    "a weight": (behind(node("Tanh", ["Y"], ["W"]), output="Y"), "makes 'W', which is there already; it is damaged"),
    "nothing": (behind(node("Tanh", ["nowhere"], ["z"])), "a node takes 'nowhere', which nothing before it makes"),
    "no output": (one(outputs=["nothing"]), "a node takes 'nothing', which nothing before it makes"),
    "Dense of parts": (behind(node("Transpose", ["Y"], ["t"], perm=[3, 0, 1, 2]), node("MatMul", ["t", "K"], ["z"]),
                              tensors=(zeros("K", 2, 4),)), "takes something else than whole rows of features"),
    **{f"Dense {shape} {bias} {transposed}": (
        behind(S, node("Reshape", ["s", "rows"], ["m"]), node("Gemm", ["m", "K", "k"], ["z"], transB=transposed),
               tensors=(zeros("K", *shape), zeros("k", *bias), tensor("rows", np.array([-1, 4])))),
        f"has weights of shape {shape}; they do not fit its input")
       for shape, bias, transposed in (((4, 5), (4,), 0), ((4, 5), (5, 1), 0), ((5, 5), (5,), 0), ((4, 5), (4,), 1))},
    "integers of a Dense": (behind(node("MatMul", ["Y", "K"], ["z"]), tensors=(zeros("K", 4, 2, dtype="i4"),)),
                            "has weights 'K' of int32; expected floats"),
    "integers of a bias": (behind(node("MatMul", ["Y", "K"], ["y"]), node("Add", ["y", "k"], ["z"]),
                                  tensors=(zeros("K", 4, 2), zeros("k", 2, dtype="i4"))), "has weights 'k' of int32"),
    "parts of a sequence": (before(node("ReverseSequence", ["X", "d"], ["r"], time_axis=0, batch_axis=1)),
                            "ReverseSequence of parts of a sequence is not supported; expected whole ones"),
    "a huge value": (before(node("Expand", ["one", "huge"], ["e"]), reads="X"),
                     "a value of shape [2048, 1025] is too large to be followed"),
    "huge shapes": (before(node("ConstantOfShape", ["huge"], ["e"]), reads="X"), "is too large to be followed"),
    "two large values": (before(node("Expand", ["one", "large"], ["e"]), node("Concat", ["e", "e"], ["f"], axis=0),
                                reads="X"),
                         "the graph is too large to be followed; export it with fewer timesteps and rows"),
    "many large values": (before(node("Expand", ["one", "large"], ["e"]),
                                 *(node("Add", ["e", "one"], [f"f{i}"]) for i in range(4)), reads="X"),
                          "the graph is too large to be followed; export it with fewer timesteps and rows"),
    "a large embedding": (before(node("Gather", ["table", "I"], ["r"]), inputs=(value("I", [1024, 256], 7),),
                                 tensors=(zeros("table", 2, 64),)), "the graph is too large to be followed"),
    "columns of an embedding": (before(node("Gather", ["table", "I"], ["r"], axis=1), tensors=(zeros("table", 3, 9),),
                                       inputs=(value("I", ["time", "batch"], 7),)), "'Gather' with axis 1"),
    "a large constant": (one(extra=["l"], tensors=[tensor("l", np.zeros(2**20 + 1, "?"))]),
                         "tensor 'l' has shape (1048577,), too large for a part of the graph"),
}  # fmt: skip
