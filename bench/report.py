"""RESULTS.md: tables and ratios as they are found."""

import sys
import time
from pathlib import Path

import pygal


class Report:
    """Collects what the measurements found and prints it as it comes."""

    def __init__(self, folder: Path, made_by: str, machine: str) -> None:
        self._folder = folder
        self._parts = [
            f"# Results\n\nMade by `{made_by}`. A figure is a ratio from one run on one machine.\n",
            machine + "\n",
        ]
        self._started = time.monotonic()

    def progress(self, text: str) -> None:
        """Says on standard error what is going on."""
        print(f"[{time.monotonic() - self._started:4.0f} s] {text}", file=sys.stderr, flush=True)

    def section(self, title: str, text: str) -> None:
        self._add(f"## {title}\n\n{text}\n")

    def text(self, text: str) -> None:
        self._add(text + "\n")

    def table(self, head: list[str], rows: list[list[str]]) -> None:
        lines = [head, ["---"] * len(head), *rows]
        self._add("\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n")

    def bars(self, title: str, values: dict[str, float], name: str) -> None:
        chart = pygal.HorizontalBar(title=title, show_legend=True, width=700, height=260)
        for label, value in values.items():
            chart.add(label, round(value, 2))
        self._picture(chart, name, title)

    def lines(self, title: str, x: list[str], series: dict[str, list[float]], name: str) -> None:
        chart = pygal.Line(title=title, x_labels=x, width=700, height=350)
        for label, values in series.items():
            chart.add(label, [round(value, 2) for value in values])
        self._picture(chart, name, title)

    def write(self) -> Path:
        path = self._folder / "RESULTS.md"
        path.write_text("\n".join(self._parts))
        return path

    def _picture(self, chart: pygal.Graph, name: str, title: str) -> None:
        # Without the script that the library would load from elsewhere.
        chart.config.js = []
        (self._folder / name).write_bytes(chart.render())
        self._add(f"![{title}]({name})\n")

    def _add(self, text: str) -> None:
        self._parts.append(text)
        print(text, file=sys.stderr, flush=True)
