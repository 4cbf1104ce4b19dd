"""The command: random models in Keras and here.

usage: PYTHONPATH=tests python -m differential --dialect keras3 [--models 3000] [--seed 1] [--folder FOLDER] [--again]
       PYTHONPATH=tests python -m differential --dialect keras3 --store FILE.zip --seeds SEED...

The interpreter that has the Keras of the dialect is named by NUMBA_LSTM_KERAS2 or NUMBA_LSTM_KERAS3. All is kept under
--folder, about 150 kB a model, so that a run that was stopped goes on; with --again what Keras made is compared anew.
Models with a mismatch are copied to mismatches/, and the exit code is 1. --store makes the file of the models that
every test run compares, each with one of its files.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from differential.judge import FILES, Verdict, judge, judge_reading

VARIABLES = {"keras2": "NUMBA_LSTM_KERAS2", "keras3": "NUMBA_LSTM_KERAS3"}
BATCH = 100  # models of one process of Keras
MADE = "results.npz", "refused.txt"


def start(interpreter: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of Keras; its environment is its own."""
    command = [interpreter, str(Path(__file__).with_name("keras_side.py")), *map(str, arguments)]
    beside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return subprocess.Popen(command, env=beside, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> None:
    errors = process.communicate()[1]
    if process.returncode:
        raise SystemExit(f"Keras's process ended with {process.returncode}: {errors[-2000:]}")


def run(interpreter: str, dialect: str, seeds: Sequence[int], folder: Path) -> dict[int, Verdict]:
    """The verdicts of some seeds. While Keras makes one batch of models, the batch before is compared."""
    places = {seed: folder / f"batch-{(seed - 1) // BATCH * BATCH + 1}" / f"{seed}" for seed in seeds}
    pending = [place for place in places.values() if not (place / "verdict.json").exists()]
    batches = list(dict.fromkeys(place.parent for place in pending))
    first_looks: dict[Path, Verdict] = {}
    for turn in range(len(batches) + 2):
        arguments: list[object] = ["--read", batches[turn - 2]] if turn > 1 else []
        making = [place for place in pending if place.parent in batches[turn : turn + 1]]
        missing = [place.name for place in making if not any((place / name).exists() for name in MADE)]
        if missing:
            arguments += ["--make", making[0].parent, dialect, *missing]
        process = start(interpreter, *arguments) if arguments else None
        for place in pending:
            if turn > 0 and place.parent in batches[turn - 1 : turn]:
                first_looks[place] = judge(place)
        if process is not None:
            end(process)
        for place in pending:
            if turn > 1 and place.parent == batches[turn - 2]:
                finish(place, first_looks[place])
    return {seed: Verdict(**json.loads((place / "verdict.json").read_text())) for seed, place in places.items()}


def finish(place: Path, verdict: Verdict) -> None:
    """The verdict of one model, written down; what has a mismatch is copied."""
    if (place / "read.npz").exists():
        judge_reading(place, verdict)
    (place / "verdict.json").write_text(json.dumps(asdict(verdict)))
    if verdict.mismatches:
        shutil.copytree(place, place.parents[1] / "mismatches" / place.name, dirs_exist_ok=True)


def store(interpreter: str, dialect: str, seeds: Sequence[int], path: Path) -> None:
    """A zip of some models: the data, the inputs and results, and one of Keras's files, in turn."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        end(start(interpreter, "--make", folder, dialect, *seeds))
        for turn, seed in enumerate(seeds):
            place = Path(folder) / f"{seed}"
            there = [files for files in FILES.items() if (place / files[0]).exists()]
            name, config = there[turn % len(there)]
            for file in filter(None, ("spec.json", "results.npz", name, config)):
                zipped.writestr(zipfile.ZipInfo(f"{seed}/{file}"), (place / file).read_bytes(), zipfile.ZIP_DEFLATED, 9)


def report(verdicts: Sequence[Verdict]) -> str:
    """The counts, and the reasons of what was refused."""
    judged = [verdict for verdict in verdicts if verdict.compared]
    lines = [
        f"{len(judged):,} models compared in {sum(verdict.compared for verdict in judged):,} files, "
        f"{sum(bool(verdict.mismatches) for verdict in verdicts):,} with a mismatch; "
        f"largest error {max((verdict.worst for verdict in judged), default=0):.2f} of its limit",
        f"{sum(verdict.chaotic for verdict in verdicts):,} not judged: Keras's float32 result is more than 0.001 off",
    ]
    for title, key in (
        ("by Keras", "refused_by_keras"),
        ("here", "refused_here"),
        ("to be written", "not_written"),
        ("or changed by Keras in its own files as well", "not_reread"),
    ):
        reasons = Counter(getattr(verdict, key) for verdict in verdicts if getattr(verdict, key))
        lines.append(f"{reasons.total():,} refused {title}")
        lines += [f"  {number}: {text}" for text, number in reasons.most_common(20)]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="differential")
    parser.add_argument("--dialect", choices=list(VARIABLES), required=True)
    parser.add_argument("--models", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1, help="of the first model")
    parser.add_argument("--folder", type=Path, default=Path("differential"))
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", help="of the models to store")
    options = parser.parse_args(arguments)
    interpreter = os.environ.get(VARIABLES[options.dialect])
    if not interpreter:
        parser.error(f"set {VARIABLES[options.dialect]} to a Python that has the Keras of {options.dialect}")
    if options.store:
        store(interpreter, options.dialect, options.seeds, options.store)
        return 0
    folder = options.folder / options.dialect
    for path in folder.glob("batch-*/*/verdict.json") if options.again else ():
        path.unlink()
    begin, seeds = time.monotonic(), range(options.seed, options.seed + options.models)
    verdicts = list(run(interpreter, options.dialect, seeds, folder).values())
    print(f"{options.dialect}, seeds {seeds[0]} to {seeds[-1]}, {time.monotonic() - begin:.0f} s")
    print(report(verdicts))
    return 1 if any(verdict.mismatches for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
