"""Puts the table of speeds into README.md: the figures that have an aim, as a run of the suite has measured them.

    unimmu bench --json bench.json && python docs/show_speed.py bench.json

A test holds that the table has a row for each figure of the suite that has an aim, but for what grows (docs/scale.md).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- what docs/show_speed.py writes: -->\n", "<!-- until here -->\n"


def table(report: dict[str, Any]) -> str:
    """The lines between the two marks."""
    host = report["host"]
    where = f"{host['cpus']} × {host['cpu']} and Python {host['python']}"
    lines = [
        f"As `unimmu bench` measured it on {report['date']}, with {where}:",
        "",
        "| what | figure | aim |",
        "|---|---|---|",
    ]
    before = ""
    for figure in report["figures"]:
        if figure["aim"] is not None and not figure["name"].endswith("_growth"):
            what = f"{before}: {figure['what']}" if figure["indented"] else figure["what"]
            lines.append(f"| {what} | {_value(figure)} | {_aim(figure)} |")
        if not figure["indented"]:
            before = figure["what"]
    return "\n".join(lines) + "\n"


def _value(figure: dict[str, Any]) -> str:
    value = figure["value"]
    number = f"{value:.0f}" if value >= 100 else f"{value:.2f}"
    return f"{number} {figure['unit'] or '×'}"


def _aim(figure: dict[str, Any]) -> str:
    aim = figure["aim"]
    return f"{aim['limit']} {aim['value']:g}{'' if figure['met'] else ', **missed**'}"


def main(path: str) -> None:
    """Write README.md anew."""
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    report = json.loads(Path(path).read_text(encoding="utf-8"))
    README.write_text(before + BEGIN + table(report) + END + after, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
