"""Keras's own archives: ``.keras``, a zip of the configuration, the version and the weights.

Nothing is unpacked to disk: weights that are stored as they are, as Keras does it, are read in place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from numba_lstm.errors import FileFormatError
from numba_lstm.formats.archive import find_member, open_archive
from numba_lstm.formats.config_json import CONFIG_MEMBER, read_archived
from numba_lstm.formats.hdf5 import H5File
from numba_lstm.formats.stored import StoredModel
from numba_lstm.formats.weights_h5 import all_arrays, match_arrays

_WEIGHTS = "model.weights.h5"


@contextmanager
def open_keras(path: str | os.PathLike[str]) -> Iterator[StoredModel]:
    """The model in a ``.keras`` file of Keras 3 or TensorFlow 2.15, or in the folder it was unpacked to.

    Raises `FileFormatError` for files that are damaged, hostile or not Keras's, `MissingPackageError` without pyfive.
    """
    with open_archive(path) as archive:
        config, version = read_archived(archive)
        weights_member = find_member(archive, _WEIGHTS)
        if weights_member is None:
            raise FileFormatError(
                f"{archive.name} has no member {_WEIGHTS}; expected all weights in one file, as model.save writes them"
            )
        with archive.open_member(weights_member) as member, H5File(member) as weights:
            notes: list[str] = []
            yield StoredModel(
                format="Keras archive",
                producer="Keras, of an unknown version" if version is None else f"Keras {version}",
                arrays=lambda: all_arrays(weights),
                match=lambda model: match_arrays(model, weights, notes),
                notes=notes,
                config=config,
                config_name=f"{archive.name}: {CONFIG_MEMBER}",
                keras_version=version,
            )
