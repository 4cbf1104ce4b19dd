"""The charts, as SVG written by hand: each says by itself what it shows, where, and when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from benchmarks.results import LIBRARIES, Results, shape_text, threads_text

FONT = "font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\""
INK, PALE, GRID = "#1f2328", "#59636e", "#d8dee4"
OWN_COLOUR = "#0969da"
COLOURS = {"torch": "#cf4a22", "onnxruntime": "#8250df", "OpenVINO": "#1a7f37"}
ROW = 24
LARGEST_SHOWN = 8  # ratios beyond stand at the edge, with their number


class Drawing:
    """Elements on a white ground."""

    def __init__(self, width: int, height: int, title: str, subtitle: str) -> None:
        self.width, self.height = width, height
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" {FONT} font-size="13">',
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(subtitle)}</desc>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        ]
        self.text(16, 26, title, size=16, weight="600")
        self.text(16, 46, subtitle, fill=PALE)

    def text(self, x: float, y: float, text: str, anchor: str = "start", fill: str = INK, **more: Any) -> None:
        """A line of text; y is its base."""
        style = "".join(f' font-{name}="{value}"' for name, value in more.items())
        at = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
        self.parts.append(f'<text {at} fill="{fill}"{style}>{escape(text)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, stroke: str = GRID, width: float = 1) -> None:
        """A straight line."""
        at = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        self.parts.append(f'<line {at} stroke="{stroke}" stroke-width="{width}"/>')

    def bar(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """A bar."""
        at = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height}"'
        self.parts.append(f'<rect {at} fill="{fill}"/>')

    def mark(self, x: float, y: float, peer: str) -> None:
        """A library's own mark: told apart without colours, too."""
        fill = f'fill="{COLOURS[peer]}"'
        if peer == "torch":
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" {fill}/>')
        elif peer == "onnxruntime":
            self.parts.append(f'<rect x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9" {fill}/>')
        else:
            points = f"{x:.1f},{y - 6:.1f} {x + 6:.1f},{y + 4.5:.1f} {x - 6:.1f},{y + 4.5:.1f}"
            self.parts.append(f'<polygon points="{points}" {fill}/>')

    def svg(self) -> str:
        """The file."""
        return "\n".join([*self.parts, "</svg>", ""])


def _where(results: Results) -> str:
    cpu = results.data["cpu"]
    return f"{cpu['name']} ({cpu['kind']}), {results.data['date']}"


def peers(results: Results) -> str:
    """Each library's time over this project's, a line a shape, a panel a number of threads."""
    shapes, there, tall = results.shapes("grid"), results.peers(LIBRARIES), 30
    left, panel, gap, top = 170, 330, 46, 112
    bottom = top + tall * len(shapes)
    title = "LSTM over whole sequences: each library's time as a multiple of numba_lstm's"
    subtitle = f"float32, sigmoid and tanh; shortest of many calls, all in one process; {_where(results)}"
    drawing = Drawing(left + len(results.threads) * (panel + gap), bottom + 36, title, subtitle)
    drawing.line(left, 66, left, 80, OWN_COLOUR, 2.5)
    drawing.text(left + 8, 78, "numba_lstm = 1; right of the line it is the faster one", fill=OWN_COLOUR)
    x = left + 370.0
    for peer in there:
        drawing.mark(x, 73, peer)
        drawing.text(x + 10, 78, peer)
        x += 34 + 7.5 * len(peer)
    drawing.text(16, top - 10, "batch, timesteps, input_dim, units", fill=PALE, size=11)
    low, high = math.log2(0.45), math.log2(LARGEST_SHOWN * 1.1)
    for i, number in enumerate(results.threads):
        start = left + i * (panel + gap)

        def at(ratio: float, start: int = start) -> float:
            place = min(max(math.log2(ratio), low), math.log2(LARGEST_SHOWN))
            return start + (place - low) / (high - low) * panel

        drawing.text(start + panel / 2, top - 10, threads_text(number), "middle", weight="600")
        for tick in (0.5, 0.7, 1, 1.4, 2, 3, 4, 6, LARGEST_SHOWN):
            stroke, thick = (OWN_COLOUR, 2.5) if tick == 1 else (GRID, 1)
            drawing.line(at(tick), top, at(tick), bottom, stroke, thick)
            drawing.text(at(tick), bottom + 18, f"{tick:g}x", "middle", PALE, size=11)
        for row, shape in enumerate(shapes):
            y = top + tall * row + tall / 2
            if i == 0:
                drawing.text(left - 12, y + 4, shape_text(shape), "end")
            for j, peer in enumerate(there):
                ratio = results.ratio("grid", number, shape, peer)
                if ratio is not None:
                    level = y + 8 * (j - (len(there) - 1) / 2)
                    drawing.mark(at(ratio), level, peer)
                    if ratio > LARGEST_SHOWN:
                        drawing.text(at(ratio) + 9, level + 4, f"{ratio:.0f}x", fill=COLOURS[peer], size=11)
    return drawing.svg()


def limits(results: Results) -> str:
    """The share of the limit, a bar a shape."""
    shapes = results.shapes("grid")
    left, span, top = 170, 420, 74
    number = results.threads[0]
    limit = results.data["limits"][str(number)]["float32"]
    subtitle = (
        f"{threads_text(number)}, float32: {limit['fma'] / 1e9:.0f} GFLOP/s, "
        f"L2 {limit['reads']['L2'] / 1e9:.0f} GB/s; {_where(results)}"
    )
    drawing = Drawing(
        left + span + 190, top + ROW * len(shapes) + 34, "How much of the machine's limit numba_lstm reaches", subtitle
    )
    bottom = top + ROW * len(shapes)
    for tick in (0, 25, 50, 75, 100):
        drawing.line(left + span * tick / 100, top, left + span * tick / 100, bottom)
        drawing.text(left + span * tick / 100, bottom + 18, f"{tick} %", "middle", PALE, size=11)
    for row, shape in enumerate(shapes):
        y, own = top + ROW * row, results.entry("grid", number, shape)
        drawing.text(left - 12, y + 16, shape_text(shape), "end")
        if own:
            share = own["floor"] / own["min"]
            drawing.bar(left, y + 4, span * min(share, 1.1), ROW - 8, OWN_COLOUR)
            label = "a step's latency" if own["limit"] == "latency" else own["limit"]
            drawing.text(left + span * min(share, 1.1) + 8, y + 16, f"{share:.0%} of {label}")
    return drawing.svg()


def _bars(title: str, subtitle: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """Bars with their values: (name, value, the value as text)."""
    left, span, top = 200, 420, 66
    drawing = Drawing(left + span + 170, top + ROW * len(rows) + 16, title, subtitle)
    longest = max((value for _, value, _ in rows), default=1.0)
    for row, (name, value, text) in enumerate(rows):
        y = top + ROW * row
        drawing.text(left - 12, y + 16, name, "end")
        drawing.bar(left, y + 4, span * value / longest, ROW - 8, OWN_COLOUR if name.startswith("numba_lstm") else PALE)
        drawing.text(left + span * value / longest + 8, y + 16, text)
    return drawing.svg()


def commands(results: Results) -> str:
    """Whole commands."""
    rows = [(e["name"], e["median"], f"{e['median']:.2f} s") for e in results.data["commands"]]
    subtitle = f"360 digits of 8 x 8, 32 units, start to end of the process, median; {_where(results)}"
    return _bars("From the command to the file: a whole process", subtitle, rows)


def steps(results: Results) -> str:
    """One step a call, 64 units."""
    rows = [
        (e["peer"], e["p50"], f"{e['p50'] * 1e6:.1f} us (p99 {e['p99'] * 1e6:.1f})")
        for e in results.data["steps"]
        if e["units"] == [64]
    ]
    subtitle = f"from Python, one row, 64 units, the state kept, median of single calls; {_where(results)}"
    return _bars("One step a call", subtitle, rows)


CHARTS = {"peers.svg": peers, "limits.svg": limits, "commands.svg": commands, "steps.svg": steps}


def drawn(data: dict[str, Any]) -> dict[str, str]:
    """All of them by file name."""
    return {name: draw(Results(data)) for name, draw in CHARTS.items()}
