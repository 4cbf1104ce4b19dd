"""The disk space of a package and of everything that pip installs for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from numba_lstm.machine import name_of

OWN = "numba_lstm"


def installed(packages: Iterable[str]) -> int | None:
    """Bytes of the installed ones of the packages and of their requirements; None if none is installed."""
    found: dict[str, Distribution] = {}
    for package in packages:
        _collect(package, found)
    return sum(map(_size, found.values())) if found else None


def _collect(name: str, found: dict[str, Distribution]) -> None:
    """Add a package and what it requires, extras aside; what its markers rule out here is not installed either."""
    key = name.lower().replace("_", "-").replace(".", "-")
    if key in found:
        return
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return
    found[key] = package
    for line in package.requires or []:
        requirement, _, marker = line.partition(";")
        if "extra" not in marker:
            _collect(name_of(requirement), found)


def _size(package: Distribution) -> int:
    paths = [Path(str(package.locate_file(file))) for file in package.files or []]
    if package.name == OWN:  # installed for development, it lies elsewhere
        paths = [*_sources()]
    return sum(path.stat().st_size for path in paths if path.is_file())


def _sources() -> Iterator[Path]:
    """This package's files, and the command's."""
    from importlib.util import find_spec

    for name in OWN, f"{OWN}_cli":
        spec = find_spec(name)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            yield from Path(folder).rglob("*")
