"""Which refusals of some modules, their `raise` statements, no error of a test came from."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType


def unreached(modules: Iterable[ModuleType], errors: Iterable[BaseException]) -> list[str]:
    """The statements of `modules` that raise an error of their own and that none of `errors` was raised by."""
    lines = {place for error in errors for place in _places(error)}
    return [
        f"{file.name}:{node.lineno}: {ast.unparse(node)}"
        for file in (Path(str(module.__file__)) for module in modules)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise) and node.exc is not None and not _never(node)
        if not any((file.name, line) in lines for line in range(node.lineno, (node.end_lineno or node.lineno) + 1))
    ]


def _never(node: ast.Raise) -> bool:
    """Whether it stands for a method that subclasses have."""
    return ast.unparse(node.exc or node) == "NotImplementedError"


def _places(error: BaseException | None) -> Iterator[tuple[str, int]]:
    """File and line of every frame that the error went through, and what it was made of."""
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            yield Path(trace.tb_frame.f_code.co_filename).name, trace.tb_lineno
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
