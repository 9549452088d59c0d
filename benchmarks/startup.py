"""How long `cns` takes before it does anything: the price of typing a command that needs no model."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks import shell, synthetic_registry
from benchmarks.report import Report, Table

# command, bar in milliseconds, exit code
COMMANDS = (
    ("cns --version", 80, 0),
    ("cns --help", 150, 0),
    ("cns log -n 20", 150, 0),
    ("cns status", 150, 0),
    ("cns add --steps many x y", 300, 2),
)


def run(quick: bool) -> Report:
    """Time each command in a registry of 100 commits: median and worst of several runs."""
    repeats = 3 if quick else 15
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthetic_registry.make(folder, commits=20 if quick else 100)
        rows, figures = [], {}
        python_ms = [1000 * shell.program([sys.executable, "-c", "pass"], folder).elapsed_s for _ in range(repeats)]
        for line, bar_ms, code in COMMANDS:
            shell.cns(line, folder, expect=(code,))  # warm the file cache
            times_ms = [1000 * shell.cns(line, folder, expect=(code,)).elapsed_s for _ in range(repeats)]
            median_ms = statistics.median(times_ms)
            rows.append((f"`{line}`", f"{median_ms:.0f} ms", f"{max(times_ms):.0f} ms", f"{bar_ms} ms"))
            figures[f"{line} ms"] = median_ms
    note = f"Median of {repeats}; Python alone takes {statistics.median(python_ms):.0f} ms of it."
    return Report("startup", [Table("Start-up", ["command", "median", "worst", "bar"], rows, note)], (), figures)
