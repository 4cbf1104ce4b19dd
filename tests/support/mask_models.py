"""Models with masks, as plain data: run by the real Keras (make_keras_masks.py) and by the tests, with equal numbers.

Each has its layers, as [class, arguments..., {keyword arguments}], the shape of a row, and
`words`: indices come in; `mask`: a mask is given to a call; `called`: called, not run by predict; `sequential`: a
Sequential, not a functional model. Nothing but NumPy is needed, of any version.
"""

import zlib

import numpy as np

MASKING = ["Masking", 0.0]
SEQUENCE = ["LSTM", 4, {"return_sequences": True}]
LAST = ["LSTM", 3]
WORDS, PLAIN = ["Embedding", 7, 3, {"mask_zero": True}], ["Embedding", 7, 3]


def each(layer):
    return ["TimeDistributed", layer]


def both(layer, merge_mode="concat"):
    return ["Bidirectional", layer, {"merge_mode": merge_mode}]


def specs():
    found = {}

    def add(name, layers, shape=(6, 3), **options):
        found[name] = dict(layers=layers, shape=shape, **options)

    add("two maskings", [MASKING, ["Masking", 0.5], SEQUENCE])
    add("masking again", [MASKING, SEQUENCE, MASKING, LAST])
    add(
        "masking of zeroed outputs",
        [MASKING, ["LSTM", 4, {"return_sequences": True, "zero_output_for_mask": True}], MASKING, LAST],
    )
    add("masking of a dense layer", [MASKING, ["Dense", 3, {"activation": "relu"}], MASKING, LAST])
    for mode in ("concat", "sum", "mul", "ave"):
        add("both ways, " + mode, [MASKING, both(SEQUENCE, mode), LAST])
    add("both ways and masking", [MASKING, both(SEQUENCE), MASKING, LAST])
    add("backwards", [MASKING, ["LSTM", 4, {"return_sequences": True, "go_backwards": True}], LAST])
    add("flatten", [MASKING, SEQUENCE, ["Flatten"], ["Dense", 2]])
    add("flatten at once", [MASKING, ["Flatten"], ["Dense", 2]])
    add("flatten and repeat", [MASKING, ["Dense", 2], ["Flatten"], ["RepeatVector", 3], SEQUENCE])
    add(
        "normalization and flatten",
        [MASKING, ["BatchNormalization"], ["LayerNormalization"], ["Flatten"], ["Dense", 2]],
    )
    add(
        "layers that pass a mask on",
        [MASKING, ["LayerNormalization"], ["Activation", "tanh"], ["Dropout", 0.3], ["SpatialDropout1D", 0.2], LAST],
    )
    four = (4, 6, 3)
    add("each masking", [each(MASKING), LAST], called=True)
    add("each masking of sequences", [each(MASKING), each(LAST)], four, called=True)
    add("each masking again", [MASKING, each(["Masking", 0.5]), LAST], called=True)
    add("each lstm", [MASKING, each(LAST)], four)
    add("each lstm, lstm", [MASKING, each(SEQUENCE), each(LAST), ["LSTM", 2]], four)
    add("each both ways", [MASKING, each(both(["LSTM", 3]))], four)
    add("each both ways, lstm", [MASKING, each(both(SEQUENCE)), each(LAST), ["LSTM", 2]], four)
    add("each dense, each lstm", [MASKING, each(["Dense", 3]), each(LAST)], four)
    add("each each dense, each lstm", [MASKING, each(each(["Dense", 3])), each(LAST)], four)
    add("dense, each lstm", [MASKING, ["Dense", 3], each(LAST)], four)
    add("each normalization", [MASKING, each(["BatchNormalization"]), each(LAST)], four)
    add("each flatten", [MASKING, each(["Flatten"]), LAST], four)
    add("each repeat", [MASKING, each(["RepeatVector", 2]), ["Flatten"]])
    add("each dense", [MASKING, each(["Dense", 3]), LAST])
    add("open timesteps", [MASKING, each(LAST)], (None, 6, 3))
    add("words", [WORDS, LAST], (6,), words=True)
    add("words, flatten", [WORDS, both(SEQUENCE), ["BatchNormalization"], ["Flatten"], ["Dense", 2]], (6,), words=True)
    add("words, masking", [WORDS, ["Masking", 0.0], LAST], (6,), words=True)
    add("words, each dense", [WORDS, each(["Dense", 2]), LAST], (6,), words=True)
    add("words without masks, flatten", [PLAIN, ["Flatten"], ["Dense", 2]], (6,), words=True)
    add("sentences", [WORDS, each(LAST)], (4, 6), words=True)
    add("sentences, lstm", [WORDS, each(LAST), ["LSTM", 2]], (4, 6), words=True)
    add("sentences without masks", [PLAIN, each(LAST), ["LSTM", 2]], (4, 6), words=True)
    add("sentences both ways", [WORDS, each(both(["LSTM", 3])), ["LSTM", 2]], (4, 6), words=True)
    add("each words", [each(WORDS), each(LAST)], (4, 6), words=True, called=True)
    add("each words without masks", [each(PLAIN), each(LAST)], (4, 6), words=True)
    for sequential in (False, True):
        kind = "sequential" if sequential else "functional"
        options = dict(mask=True, sequential=sequential)
        add("given, " + kind, [SEQUENCE, LAST], **options)
        add("given to masking, " + kind, [MASKING, SEQUENCE, LAST], **options)
        add("given to words, " + kind, [WORDS, SEQUENCE, LAST], (6,), words=True, **options)
        add("given to words without masks, " + kind, [PLAIN, SEQUENCE, LAST], (6,), words=True, **options)
        add("given to flatten, " + kind, [["Flatten"], ["Dense", 2]], **options)
        add("given to dense, " + kind, [["Dense", 3], LAST], **options)
        add("given to each dense, " + kind, [each(["Dense", 3]), LAST], **options)
        add("given to normalization, " + kind, [["BatchNormalization"], LAST], **options)
    return found


def inputs(name, spec):
    """x, (5, *shape), and a mask (5, timesteps), or None."""
    random = np.random.RandomState(zlib.crc32(name.encode()) % 2**31)
    shape = (5, *(axis or 4 for axis in spec["shape"]))
    if spec.get("words"):
        x = random.randint(0, 7, shape) * (random.rand(*shape) < 0.7)
    else:
        x = random.randn(*shape) * (random.rand(*([*shape[:-1], 1])) < 0.6)
    mask = random.rand(*shape[:2]) < 0.6 if spec.get("mask") else None
    return x.astype("float32"), mask


def weights(shapes):
    """Numbers for weights of these shapes, none of which is negative in one that is a variance."""
    random = np.random.RandomState(7)
    return [
        np.abs(random.randn(*shape) * 0.7).astype("float32")
        if len(shape) == 1
        else (random.randn(*shape) * 0.7).astype("float32")
        for shape in shapes
    ]
