"""The classes that a pickle names, read from its opcodes without running any."""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from io import BytesIO

LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # what torch.save wrote before its files were zips
_MOST_PICKLES = 5  # one after the other in a legacy file
_PLAIN_ROOTS = ("torch", "collections", "builtins", "__builtin__", "numpy", "_codecs", "copyreg")


def what_is_pickled(content: bytes) -> str | None:
    """The class of the PyTorch module in a pickle, as well as can be told; None if there is no module in it."""
    names = list(_globals(content))
    if not any(name.startswith(("torch.nn.modules.", "torch.jit")) for name in names):
        return None
    own = (name for name in names if name.partition(".")[0] not in _PLAIN_ROOTS)
    return next(own, next(name for name in names if name.startswith(("torch.nn.modules.", "torch.jit"))))


def _globals(content: bytes) -> Iterator[str]:
    stream = BytesIO(content)
    texts: list[str] = []
    try:
        for _ in range(_MOST_PICKLES):
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name == "GLOBAL":
                    yield str(argument).replace(" ", ".")
                elif opcode.name == "STACK_GLOBAL" and len(texts) > 1:
                    yield ".".join(texts[-2:])
                elif isinstance(argument, str):
                    texts = [*texts[-1:], argument]
    # The end of the bytes, and anything that a damaged file may meet: its reader says so.
    except Exception:
        return
