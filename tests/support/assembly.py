"""The use of registers in a compiled kernel, read from its assembly: x86-64 (AT&T) and aarch64."""

from __future__ import annotations

import re
from typing import NamedTuple

_LABEL = re.compile(r"([\w.$]+):")
_JUMP = re.compile(r"(?:j\w+|b|b\.\w+|cbn?z\s+\w+,|tbn?z\s+\w+,\s*#\w+,)\s+(\.?L\w+)")
_FMA = re.compile(r"vfn?m(?:add|sub)\w+p[sd]|vdpbf16ps|fmla")
# Arithmetic that inner products have no use for: what has it is a loop over activations.
_OTHER_ARITHMETIC = re.compile(
    r"v(?:add|sub|mul|div|min|max|cmp|round|rndscale|sqrt)\w*p[sd]|f(?:add|sub|mul|div|cm\w+)"
)
_SPILL = re.compile(r"%[xyz]mm\d+.*\(%rsp\)|\(%rsp\).*%[xyz]mm\d+|\b[qdv]\d+\b.*\[sp\b")


class Loop(NamedTuple):
    """An innermost loop that only multiplies and adds vectors."""

    function: str
    fmas: int
    spills: list[str]  # instructions that move a vector between a register and the stack


def product_loops(assembly: str) -> list[Loop]:
    """The innermost loops with four fused multiply-adds of vectors or more, and no other arithmetic."""
    lines = [line.strip() for line in assembly.splitlines()]
    labels: dict[str, int] = {}
    function, spans = "", []
    for at, line in enumerate(lines):
        if label := _LABEL.match(line):
            labels[label[1]] = at
            if not re.match(r"\.?L", label[1]):
                function = label[1]
        elif (jump := _JUMP.match(line)) and jump[1] in labels:
            spans.append((labels[jump[1]], at, function))
    found = []
    for first, last, name in spans:
        if any((a, b) != (first, last) and first <= a and b <= last for a, b, _ in spans):
            continue
        body = lines[first : last + 1]
        fmas = sum(1 for line in body if _FMA.match(line))
        if fmas >= 4 and not any(_OTHER_ARITHMETIC.match(line) for line in body):
            found.append(Loop(name, fmas, [line for line in body if _SPILL.search(line)]))
    return found
