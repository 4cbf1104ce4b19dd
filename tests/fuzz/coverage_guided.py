"""A coverage-guided fuzzer over one target, with atheris (which needs CPython 3.11 to 3.13 on Linux).

usage: PYTHONPATH=tests python -m fuzz.coverage_guided TARGET [CORPUS_FOLDER] [libFuzzer's options]

for example  PYTHONPATH=tests python -m fuzz.coverage_guided safetensors-header -max_total_time=600

What is found new goes to CORPUS_FOLDER, where one is given; the corpus in tests/fuzz is read in any case. The process
ends at the first execution that breaks a limit of `fuzz.limits`, and the input is kept beside it, as libFuzzer does.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path


def main(arguments: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["numba_lstm.formats", "pyfive", "zipfile"], enable_loader_override=False):
        import pyfive  # noqa: F401 - imported to be instrumented
        from fuzz.limits import execute, limit_memory
        from fuzz.mutation import CORPUS
        from fuzz.readers import TARGETS

        import numba_lstm.formats.h5
        import numba_lstm.formats.keras_archive
        import numba_lstm.formats.npz
        import numba_lstm.formats.safetensors  # noqa: F401

    name, *rest = arguments
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"mutant{target.suffix}"
        seeds = Path(folder) / "seeds"
        seeds.mkdir()
        seed = target.seed(Path(folder))
        (seeds / "good").write_bytes(seed)
        for stored in (CORPUS / name).glob("*"):
            (seeds / stored.name).write_bytes(stored.read_bytes())
        path.write_bytes(target.wrap(seed))
        target.use(path)
        limit_memory()

        def execute_one(data: bytes) -> None:
            path.write_bytes(target.wrap(data))
            _, wrong = execute(target, path)
            if wrong is not None:
                raise AssertionError(f"{name}: {wrong}")

        own = [one for one in rest if not one.startswith("-")]
        options = [one for one in rest if one.startswith("-")]
        atheris.Setup([sys.argv[0], *own, str(seeds), *options], execute_one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
