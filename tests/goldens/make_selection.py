"""Choose from the full set of stored Keras results the small part that lives in this repository.

usage: python tests/goldens/make_selection.py GOLDENS     (GOLDENS: the folder that has data/ with the full set)

Writes tests/goldens/data in the layout of the full set, so a reader of one reads the other. Nothing is computed:
arrays and cases are copied as they are, and the same input gives the same files.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

TARGET = Path(__file__).parent / "data"

# Cases of one group and one set of systems: this many, evenly spread over the group.
PER_GROUP = 4
LARGEST_ARRAY = 1500  # elements
# Keras's own defects, and other cases that must be there.
ALWAYS = {"sequence-0098", "sequence-0102", "sequence-0103", "k3_sequence-0032"}

CATEGORIES = {
    "cell_step": ("tf215", "tf115"),
    "sequence": ("tf215", "tf115"),
    "dropout": ("tf215", "tf115"),
    "k3_cell_step": ("k3", "k3torch"),
    "k3_sequence": ("k3", "k3torch"),
    "k3_dropout": ("k3", "k3torch"),
}
WHOLE = [
    *(f"run_{system}.json" for system in ("tf115", "tf215", "k3")),
    *(f"regularizers__{system}.json" for system in ("tf115", "tf215", "k3")),
    "constraints__tf215.json",
    "constraints__tf215.npz",
    "activations__tf215.npz",
    "activations_inputs.npz",
    "weightops_inputs.npz",
]
MODELS = {
    "tf115": ("bidir_dense_v1.model.h5", "rnn_cell_v1.weights_legacy.h5"),
    "tf215": ("rnn_cell_v1.keras", "rnn_cell_v1.weights.h5", "rnn_cell_v1.model.h5"),
    "k3": ("lstm_hard_sigmoid.keras", "lstm_hard_sigmoid.model.h5"),
}
# Of the damaged files, those of the kinds that this version reads, and not the large ones.
BAD_KINDS = ("onnx", "npy", "npz", "h5", "json", "keras")
LARGEST_BAD_FILE = 11_600
CONFIGS_PER_SYSTEM = 10


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, content: Any) -> None:
    """JSON with one line an entry of each top-level list, so that a diff can be read."""
    lines = []
    for key, value in content.items():
        if isinstance(value, list):
            entries = ",\n".join(json.dumps(entry) for entry in value)
            lines.append(f"{json.dumps(key)}: [\n{entries}\n]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def copy_arrays(source: Path, name: str, keys: Iterable[str]) -> None:
    """Copy the named arrays of one .npz; keys it does not have are skipped, an empty result is not written."""
    with np.load(source / name, allow_pickle=False) as arrays:
        chosen = {key: arrays[key] for key in sorted(set(keys) & set(arrays.files))}
    if chosen:
        np.savez_compressed(TARGET / name, **chosen)


def strings(value: Any) -> Iterator[str]:
    """Every string anywhere inside a JSON value: the names of the arrays of a case are among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for entry in value.values():
            yield from strings(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from strings(entry)


def input_keys(case: dict[str, Any]) -> set[str]:
    """The names of the arrays that a case reads."""
    return set(strings([case["calls"], case["weights"]]))


def spread(cases: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """At most ``count`` of the cases, from the first to the last at even distances."""
    if len(cases) <= count:
        return cases
    return [cases[round(i * (len(cases) - 1) / (count - 1))] for i in range(count)]


def choose_cases(cases: list[dict[str, Any]], sizes: dict[str, int]) -> list[dict[str, Any]]:
    """Some of every group: small ones whose weights are stored. ``sizes``: elements of each input array."""
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for case in cases:
        stored = not any(isinstance(weights, dict) for weights in case["weights"])
        small = all(sizes.get(key, 0) <= LARGEST_ARRAY for key in input_keys(case))
        if stored and small:
            groups[case["group"], tuple(case["systems"])].append(case)
    chosen = {case["id"] for group in groups.values() for case in spread(group, PER_GROUP)} | ALWAYS
    return [case for case in cases if case["id"] in chosen]


def select_cases(source: Path) -> None:
    """The cases, their inputs, and every system's float32 and float64 outputs."""
    all_outputs: set[str] = set()
    for category, systems in CATEGORIES.items():
        content = read_json(source / f"{category}.json")
        with np.load(source / f"{category}_inputs.npz", allow_pickle=False) as inputs:
            sizes = {key: inputs[key].size for key in inputs.files}
        cases = choose_cases(content["cases"], sizes)
        ids = {case["id"] for case in cases}
        write_json(TARGET / f"{category}.json", {**content, "n_cases": len(cases), "cases": cases})
        copy_arrays(source, f"{category}_inputs.npz", set().union(*map(input_keys, cases)))
        for path in sorted(source.glob(f"{category}__*.npz")):
            if path.stem.split("__")[1].split("_")[0] in systems:
                with np.load(path, allow_pickle=False) as arrays:
                    outputs = {key for key in arrays.files if key.split("/")[0] in ids}
                all_outputs |= outputs
                copy_arrays(source, path.name, outputs)
    copy_arrays(source, "truth64.npz", all_outputs)


def select_activations(source: Path) -> None:
    """Of Keras 3 those activations that TF 2.15 lacks or has otherwise: float32 on jax, float64 on torch."""
    with np.load(source / "activations__tf215.npz", allow_pickle=False) as arrays:
        known = {key.split("/")[0] for key in arrays.files} - {"hard_sigmoid"}
    for system, dtype in (("k3", "f32"), ("k3torch", "f64")):
        with np.load(source / f"activations__{system}.npz", allow_pickle=False) as arrays:
            keys = {key for key in arrays.files if key.endswith(dtype) and key.split("/")[0] not in known}
        copy_arrays(source, f"activations__{system}.npz", keys)


def select_models(source: Path) -> None:
    """A few files of the real Keras of each kind, with their inputs, outputs and configurations."""
    folder = TARGET / "files"
    folder.mkdir()
    for system, names in MODELS.items():
        content = read_json(source / f"files_{system}.json")
        entries = [entry for entry in content["files"] if entry["file"] in {f"{system}_{name}" for name in names}]
        write_json(TARGET / f"files_{system}.json", {**content, "files": entries})
        wanted = {name for entry in entries for name in strings([entry["file"], entry["x"], entry["y"], entry["y64"]])}
        wanted |= {f"{system}_{name.split('.')[0]}.json" for name in names if name.endswith("legacy.h5")}
        for name in sorted(wanted):
            shutil.copyfile(source / "files" / name, folder / name)


def select_onnx(source: Path) -> None:
    """All ONNX files, which are small, with what they are fed with and give."""
    content = read_json(source / "files_torch_onnx.json")
    entries = [entry for entry in content["files"] if entry["file"].endswith(".onnx")]
    write_json(TARGET / "files_torch_onnx.json", {**content, "files": entries})
    for name in sorted({name for entry in entries for name in strings(list(entry.values()))}):
        if name.endswith((".onnx", ".npy")):
            shutil.copyfile(source / "files" / name, TARGET / "files" / name)


def select_bad(source: Path) -> None:
    """Damaged, hostile and unusual files, and what valid ones must give."""
    folder = TARGET / "bad"
    folder.mkdir()
    content = read_json(source / "bad.json")
    entries = [
        entry
        for entry in content["files"]
        if entry["kind"] in BAD_KINDS and (source / "bad" / entry["file"]).stat().st_size <= LARGEST_BAD_FILE
    ]
    write_json(TARGET / "bad.json", {**content, "files": entries})
    for name in sorted({entry["file"] for entry in entries} | {Path(content["weights"]).name}):
        shutil.copyfile(source / "bad" / name, folder / name)
    files = {entry["file"] for entry in entries}
    with np.load(source / "bad_results.npz", allow_pickle=False) as arrays:
        keys = [key for key in arrays.files if key.rsplit("/", 1)[0] in files]
    copy_arrays(source, "bad_results.npz", keys)


def select_configs(source: Path) -> None:
    """Some of the configurations exactly as each Keras serialises them, and all that it refused."""
    for system in ("tf115", "tf215", "k3"):
        content = read_json(source / f"configs__{system}.json")
        configs = spread(content["configs"], CONFIGS_PER_SYSTEM)
        write_json(TARGET / f"configs__{system}.json", {**content, "configs": configs})


def main(goldens: str) -> None:
    """Make the folder anew."""
    source = Path(goldens) / "data"
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir()
    select_cases(source)
    select_activations(source)
    select_models(source)
    select_onnx(source)
    select_bad(source)
    select_configs(source)
    for name in WHOLE:
        shutil.copyfile(source / name, TARGET / name)
    files = [path for path in TARGET.rglob("*") if path.is_file()]
    print(f"{len(files)} files, {sum(path.stat().st_size for path in files)} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
