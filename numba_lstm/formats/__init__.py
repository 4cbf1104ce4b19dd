"""Models from files and back: `load` and `save`, with one module per format."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numba_lstm.checks import check_dialect
from numba_lstm.errors import ConfigError, FileFormatError
from numba_lstm.formats.detection import check_stand_in, detect_format
from numba_lstm.formats.stored import LoadReport, StoredModel, WeightSource
from numba_lstm.semantics.dialects import Dialect

if TYPE_CHECKING:
    from numba_lstm.model import Sequential

__all__ = ["LoadReport", "WeightSource", "from_config", "load", "open_stored", "save", "written_format"]

Opener = Callable[[str | os.PathLike[str]], AbstractContextManager[StoredModel]]
Writer = Callable[..., None]  # (model, path, *, replace)

# Format -> module and function that open it. Modules are imported when they are needed.
_READERS = {
    "h5": ("h5", "open_h5"),
    "keras": ("keras_archive", "open_keras"),
    "npz": ("npz", "open_npz"),
    "onnx": ("onnx", "open_onnx"),
    "safetensors": ("safetensors", "open_safetensors"),
    "torch": ("pytorch", "open_pt"),
}

# Format -> module and function that write it, and the suffix that stands for it.
_WRITERS = {
    "npz": ("npz", "save_npz"),
    "safetensors": ("safetensors", "save_safetensors"),
    "h5": ("h5_writer", "save_h5"),
    "torch": ("pytorch_writer", "save_state_dict"),
}
_WRITTEN_SUFFIXES = {".npz": "npz", ".safetensors": "safetensors", ".h5": "h5", ".hdf5": "h5"}
_WRITABLE = ".npz, .safetensors, .h5"


def load(
    path: str | os.PathLike[str],
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    format: str | None = None,
    dialect: Dialect | None = None,
) -> Sequential:
    """The model in a file, with its weights; ``model.source`` is a `LoadReport`.

    `config` is the configuration to use if the file has none, or in place of the file's: a mapping, or the path of a
    JSON or ``.keras`` file; of a whole model, one layer or one cell. `format` ("h5", "keras", "npz", "onnx",
    "safetensors" or "torch") and `dialect` ("tf1", "keras2" or "keras3") override the file's. The model is of float64
    if its weights or its configuration are, of float32 otherwise. No code from the file is run and nothing is written.

    Raises `FileFormatError`, `ConfigError`, `ShapeError` and `DTypeError`, each in one line that names the file,
    `MissingPackageError` where the format needs a package that is not installed, and `OSError`.
    """
    name = os.fspath(path)
    dialect = None if dialect is None else check_dialect(dialect)
    opened = open_stored(path, format)
    # Late, for --help and the array files of this package need none of the layers.
    from numba_lstm.formats.assemble import assemble

    with opened as stored:
        return assemble(stored, name, config, dialect)


def open_stored(path: str | os.PathLike[str], format: str | None = None) -> AbstractContextManager[StoredModel]:
    """The content of a file before a model is made of it, as for files without a configuration.

    Raises what `load` raises.
    """
    module, function = _READERS[_choose_format(Path(path), format)]
    opener: Opener = getattr(import_module(f"numba_lstm.formats.{module}"), function)
    return opener(path)


def from_config(config: Mapping[str, Any] | str | os.PathLike[str], dialect: Dialect | None = None) -> Sequential:
    """The model that a configuration describes, a mapping or the path of a JSON or ``.keras`` file, without weights.

    Raises `FileFormatError`, `ConfigError` and `OSError`.
    """
    from numba_lstm.formats.configured import read_configuration

    return read_configuration(config, dialect)


def save(model: Sequential, path: str | os.PathLike[str], format: str | None = None, *, replace: bool = True) -> None:
    """Write a model to a file from which `load` makes the same model, to the bit.

    The suffix chooses the format (.npz and .safetensors are the project's own, .h5 is for Keras), unless `format`
    does: "npz", "safetensors", "h5", or "torch" for a PyTorch state dict as safetensors. A .h5 is for the Keras of the
    model's dialect. The file appears whole or not at all. With `replace` it replaces an existing file and keeps
    its mode; otherwise `OutputExistsError` is raised, even for a file that appears during the writing.

    Raises `ConfigError` for a model that has no weights yet, that no configuration can describe, or that the format
    cannot express; `FileFormatError` for another kind of file, `MissingPackageError` for .h5 without h5py, `OSError`.
    """
    module, function = _WRITERS[written_format(path, format)]
    writer: Writer = getattr(import_module(f"numba_lstm.formats.{module}"), function)
    writer(model, path, replace=replace)


def written_format(path: str | os.PathLike[str], format: str | None = None) -> str:
    """The format that `save` would write. Raises `ConfigError` and `FileFormatError`."""
    if format is not None:
        if format not in _WRITERS:
            raise ConfigError(f"format is {format!r}; expected one of: {', '.join(map(repr, _WRITERS))}")
        return format
    suffix = Path(path).suffix.lower()
    if suffix in (".pt", ".pth"):
        raise FileFormatError(
            f"{os.fspath(path)} would be a pickle, which is not written; expected one of: {_WRITABLE}; for PyTorch "
            "write model.safetensors with the format 'torch', which torch.nn.LSTM loads"
        )
    if suffix not in _WRITTEN_SUFFIXES:
        raise FileFormatError(f"{os.fspath(path)} is of a kind that is not written; expected one of: {_WRITABLE}")
    return _WRITTEN_SUFFIXES[suffix]


def _choose_format(path: Path, format: str | None) -> str:
    """The caller's choice, else the format of the file."""
    if format is not None:
        if format not in _READERS:
            raise ConfigError(f"format is {format!r}; expected one of: {', '.join(map(repr, _READERS))}")
        check_stand_in(path)
        return format
    return detect_format(path)
