"""A mutation fuzzer over all readers: damaged copies of good files, in a process with limits on memory and time.

usage: PYTHONPATH=tests python -m fuzz.mutation [--executions N] [--seconds S] [--target NAME]... [--seed N]
                                                [--failures FOLDER] [--log FILE]

The targets take turns. Every execution must end in a model or in one of the package's own errors, in one line, within
two seconds and 200 MB. Mutants that break this are kept under --failures; then the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from fuzz.limits import execute, limit_memory, watching
from fuzz.readers import TARGETS

TURN = 200  # executions of one target before the next one's
CORPUS = Path(__file__).with_name("corpus")

# Bytes with a meaning in the formats, put in besides random ones.
SPICE = [b"\x00" * 8, b"\xff" * 8, b"\xff", b"\x7f", b"\x80", b"\x01\x00\x00\x00", b"TREE", b"SNOD", b"HEAP", b"GCOL"]
SPICE += [b"OHDR", b"FRHP", b"PK\x01\x02", b"PK\x05\x06", b"null", b"{", b"[", b'"', b"-1", b"1e5", b"\\ud800"]
SPICE += [b"true", b"999999999999999999", b"0", b"}", b"]", b",", b":", b"[[", b"{}", b'"config"', b'"class_name"']
SPICE += [b'"LSTM"', b'"F64"', b"BF16", b"_reverse", b"weight_hr", b"\x00", b"../", b"__metadata__", b"float64"]


def mutant(content: bytes, rng: np.random.Generator) -> bytes:
    """One to eight changes: bytes replaced, pieces copied over others, put in or left out, or the end cut off."""
    changed = bytearray(content)
    for _ in range(1 if rng.integers(0, 2) else rng.integers(2, 9)):  # one alone often goes deepest
        if not changed:
            break
        place, other = (int(i) for i in rng.integers(0, len(changed), 2))
        length = int(rng.integers(1, 33))
        kind = rng.integers(0, 12)
        if kind < 4:
            changed[place] = rng.integers(0, 256)
        elif kind < 6:
            spice = SPICE[rng.integers(0, len(SPICE))]
            changed[place : place + (0 if kind == 4 else len(spice))] = spice
        elif kind < 8:
            changed[place : place + length] = changed[other : other + length]
        elif kind < 9:
            del changed[place : place + length]
        elif kind < 10:
            changed[place:place] = changed[other : other + length] * int(rng.integers(1, 4))
        elif kind < 11:
            changed[place] = (changed[place] + int(rng.integers(0, 2)) * 2 - 1) % 256
        else:
            del changed[max(place, len(changed) // 2) :]
    return bytes(changed)


class Fuzzer:
    """Mutants of every target's seed and of the files in its corpus, executed and counted."""

    def __init__(self, names: list[str], seed: int, folder: Path, failures: Path | None) -> None:
        self.folder, self.failures = folder, failures
        self.rng = np.random.default_rng(seed)
        self.executed: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.seeds = {}
        for name in names:
            own = TARGETS[name].seed(folder)
            stored = [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]
            self.seeds[name] = [own, *stored]
            # The seed must be good; this also imports what the reader needs, before memory is limited.
            (folder / f"good{TARGETS[name].suffix}").write_bytes(TARGETS[name].wrap(own))
            TARGETS[name].use(folder / f"good{TARGETS[name].suffix}")

    def turn(self, name: str, count: int) -> None:
        """Execute `count` mutants of one target."""
        target, seeds = TARGETS[name], self.seeds[name]
        path = self.folder / f"mutant{target.suffix}"
        before = sorted(os.listdir(self.folder))
        for _ in range(count):
            seed = seeds[0] if self.rng.integers(0, 2) else seeds[self.rng.integers(0, len(seeds))]
            path.write_bytes(target.wrap(mutant(seed, self.rng)))
            accepted, wrong = execute(target, path)
            self.executed[name] += 1
            self.accepted[name] += accepted
            if wrong is not None:
                self._keep(name, path, wrong)
        path.unlink()
        if sorted(os.listdir(self.folder)) != before:
            self._keep(name, None, f"files were written: {sorted(os.listdir(self.folder))}")

    def _keep(self, name: str, path: Path | None, wrong: str) -> None:
        self.wrong.append(f"{name}: {wrong}")
        print(self.wrong[-1], file=sys.stderr, flush=True)
        if self.failures is not None and path is not None:
            self.failures.mkdir(parents=True, exist_ok=True)
            (self.failures / f"{name}-{len(self.wrong)}{path.suffix}").write_bytes(path.read_bytes())

    def report(self) -> dict[str, object]:
        """The counts so far."""
        total = sum(self.executed.values())
        return {"executions": total, "wrong": len(self.wrong), "by_target": dict(self.executed)}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="fuzz.mutation")
    parser.add_argument("--executions", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--target", action="append", choices=list(TARGETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--failures", type=Path)
    parser.add_argument("--log", type=Path, help="rewritten after each round with what was done so far, as JSON")
    options = parser.parse_args(arguments)
    names = options.target or list(TARGETS)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(names, options.seed, Path(folder), options.failures)
        limit_memory()
        warnings.simplefilter("error")
        done = 0
        while done < options.executions and time.monotonic() - begin < options.seconds:
            name = names[done // TURN % len(names)]
            count = min(TURN, options.executions - done)
            with watching():
                fuzzer.turn(name, count)
            done += count
            if options.log is not None:
                beside = options.log.with_suffix(".part")
                beside.write_text(json.dumps(fuzzer.report()))
                beside.replace(options.log)  # whoever looks meanwhile sees a whole one
    report = fuzzer.report()
    seconds = time.monotonic() - begin
    print(
        f"{report['executions']:,} executions over {len(names)} targets in {seconds:.0f} s, {len(fuzzer.wrong)} wrong"
    )
    for name, count in sorted(fuzzer.executed.items()):
        print(f"  {name}: {count:,}, of which {fuzzer.accepted[name]:,} were accepted")
    return 1 if fuzzer.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
