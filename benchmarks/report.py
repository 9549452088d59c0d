"""What a benchmark returns, how it is printed, and how it is kept: tables of plain values."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"
Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """One table; `note` is a sentence under it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


@dataclass(frozen=True)
class Report:
    """The tables of one benchmark, and the commands that its numbers come from.

    Attributes:
        name: Name of the JSON file, and of the argument to `nox -s bench --`.
        tables: In the order in which they are shown.
        commands: What was run, as typed.
        figures: Numbers by name that other pages and the summary quote; raw, not rounded.
    """

    name: str
    tables: Sequence[Table]
    commands: Sequence[str] = ()
    figures: Mapping[str, Cell] = field(default_factory=dict)

    def save(self) -> Path:
        """Write docs/benchmarks/NAME.json with the machine and the day."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / f"{self.name}.json"
        content = dataclasses.asdict(self) | {"machine": machine(), "date": datetime.date.today().isoformat()}
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    def show(self) -> None:
        """Print the tables with aligned columns."""
        for table in self.tables:
            cells = [[str(cell) for cell in row] for row in [table.columns, *table.rows]]
            widths = [max(len(row[i]) for row in cells) for i in range(len(table.columns))]
            print(f"\n{table.title}")
            for row in cells:
                print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
            if table.note:
                print(f"  {table.note}")


def load_figures(name: str) -> dict[str, Cell]:
    """Return the figures of a benchmark that was kept; empty if it has not been run."""
    path = FOLDER / f"{name}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))["figures"]) if path.exists() else {}


def machine() -> str:
    """Return the machine in words: cores, processor architecture, Python."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
