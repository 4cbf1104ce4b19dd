"""numba-lstm doctor: the working parts of this installation, and packages to install."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from . import cache, terminal
from .options import in_options


@click.command(short_help="Show what works on this machine, and what to install.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> None:
    """Show the CPU and its vectors, threads, the folder of compiled kernels, CUDA, and the extras.

    A small layer is run and checked, which compiles its kernels the first time. Missing parts are listed with the
    remedy. The exit code is always 0.

    \b
    Example:
      numba-lstm doctor
    """
    from numba_lstm.doctor import diagnose

    from .notices import show_notices

    show_notices()
    found = diagnose()
    found["cuda"]["automatic"] = in_options(found["cuda"]["automatic"])
    if as_json:
        terminal.out_json(found)
        return
    for line in lines(found):
        terminal.out(line)


def lines(found: dict[str, Any]) -> Iterator[str]:
    """All findings as lines of text."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    yield _line("version", f"numba_lstm {found['version']} in {found['folder']}")
    yield _line("", versions)
    yield from _cpu_lines(found)
    yield from _thread_lines(found["threads"], found["cpu"])
    for i, line in enumerate(cache.lines(found["cache"])):
        yield _line("" if i else "cache", line)
    yield from _cuda_lines(found["cuda"])
    yield from _extra_lines(found["extras"])
    for name, value in found["variables"].items():
        yield _line("variable", f"{name}={value}")


def _line(name: str, text: str) -> str:
    return f"{name:<10}{text}"


def _cpu_lines(found: dict[str, Any]) -> Iterator[str]:
    kernels, check = found["kernels"], found["check"]
    yield _line("CPU", f"{found['cpu']['name']}, {found['system']}")
    if kernels["problem"]:
        yield _line("kernels", f"none: {kernels['problem']}")
        return
    bits = kernels["vector_bits"]
    fma = "with FMA" if kernels["fma"] else "without FMA"
    yield _line("kernels", f"for {kernels['target']}: vectors of {bits // 32} float32 or {bits // 64} float64, {fma}")
    if kernels["same_bits"]:
        yield _line("bits", "a row's result is the same bits however it is run: the promise holds here")
    else:
        yield _line("bits", f"not promised here: {kernels['why_not']}; results are within tolerance")
    if check:
        same = "the same bits" if check["same_bits"] else "DIFFERENT BITS"
        error = f"{check['error']:.1e} from float64"
        yield _line("check", f"rows together, alone and step by step: {same}, {error}; {check['seconds']:.2f} s")


def _thread_lines(threads: dict[str, Any], cpu: dict[str, Any]) -> Iterator[str]:
    if threads["problem"]:
        yield _line("threads", threads["problem"])
        return
    why = f"of the machine's {cpu['of']} CPUs, this process may run on {cpu['cpus']}"
    if threads["from"] != "CPUs":
        why = f"{threads['from']} is set; {why}"
    yield _line("threads", f"{threads['number']}: {why}")
    if threads["quota"] and threads["number"] > threads["quota"]:
        advice = f"NUMBA_LSTM_NUM_THREADS={max(1, round(threads['quota']))} may be faster"
        yield _line("", f"the container grants the time of {threads['quota']:g} CPUs: {advice}")


def _cuda_lines(cuda: dict[str, Any]) -> Iterator[str]:
    there = [
        f"{device['name']} ({device['memory'] / 2**30:.0f} GiB, compute capability {device['compute_capability']})"
        for device in cuda["devices"]
    ]
    if cuda["version"]:
        there.append(f"driver for CUDA {cuda['version']}")
    if cuda["package"]:
        there.append(f"numba-cuda {cuda['package']}")
    shown = ", ".join(there)
    if not cuda["usable"]:
        shown = "; ".join(["none: " + "; ".join(cuda["missing"]), *([f"there are {shown}"] if there else [])])
    yield _line("CUDA", shown)
    yield _line("", cuda["automatic"])
    if cuda["usable"]:
        for name, what in cuda["tiers"].items():
            yield _line("", f"kernels {name}: {what}")


def _extra_lines(extras: dict[str, dict[str, str | None]]) -> Iterator[str]:
    if not extras:
        yield _line("extras", "unknown: numba_lstm runs from its sources and was not installed by pip")
    # An extra that asks for nothing is one that needs nothing any more.
    asking = {name: packages for name, packages in extras.items() if packages}
    for i, (name, packages) in enumerate(asking.items()):
        shown = [f"{package} {number}" if number else f"no {package}" for package, number in packages.items()]
        remedy = "" if all(packages.values()) else f": pip install 'numba_lstm[{name}]'"
        yield _line("" if i else "extras", f"{name}: {', '.join(shown)}{remedy}")
