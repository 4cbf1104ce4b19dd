"""Run by a Python that has the package safetensors: read a file and write its arrays again, the package's own way.

Arguments: the file, the copy.
"""

from __future__ import annotations

import sys


def main(source: str, copy: str) -> None:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(source, "numpy") as file:
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - a file is no mapping
        save_file(arrays, copy, file.metadata())


if __name__ == "__main__":
    main(*sys.argv[1:])
