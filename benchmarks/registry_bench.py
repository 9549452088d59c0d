"""What the registry costs: acknowledging a commit, a long log, an index built anew."""

from __future__ import annotations

import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import shell, synthetic_registry
from benchmarks.report import Report, Table

COMMIT_BAR_MS = 60
PLAIN_BYTES = 4_000  # one block: what the disk asks for being flushed at all
LONG = 10_000


def run(quick: bool) -> Report:
    """Measure in temporary folders; `quick` shortens histories."""
    commits, long = (5, 500) if quick else (50, LONG)
    rows, figures = [], {}
    with tempfile.TemporaryDirectory() as name:
        added_ms, plain_ms = _commits(Path(name), commits)
        over_ms = statistics.median(added_ms) - statistics.median(plain_ms)
        rows.append(("commit of a ready concept", _ms(added_ms), ""))
        rows.append((f"{PLAIN_BYTES:,} bytes in one file, fsynced", _ms(plain_ms), ""))
        rows.append(("price of the commit protocol", f"{over_ms:.1f} ms", f"{COMMIT_BAR_MS} ms"))
        figures["commit over plain write ms"] = over_ms
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthetic_registry.make_long(folder, long)
        (folder / ".cns" / "index.db").unlink(missing_ok=True)
        rows.append(
            (f"first `cns log` of {long:,} commits, index missing", _ms(_log(folder, "cns log --oneline", 1)), "")
        )
        every = _log(folder, "cns log --oneline", 3)
        rows.append((f"`cns log --oneline`, all {long:,}", _ms(every), ""))
        rows.append(("`cns log -n 20` of them", _ms(_log(folder, "cns log -n 20", 5)), "150 ms"))
        figures["log all ms"] = statistics.median(every)
    table = Table(
        "The registry", ["what", "median", "bar"], rows, "Start-up of Python and of `cns` is in the last three."
    )
    return Report("registry", [table], (), figures)


def _commits(folder: Path, count: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each commit, and of writing some bytes plainly, one beside the other."""
    repository = synthetic_registry.new_repository(folder)
    added_ms, plain_ms = [], []
    for number in range(1, count + 1):
        prepared = synthetic_registry.put_concept(repository, number)
        added_ms.append(_timed(functools.partial(synthetic_registry.commit, repository, number, prepared)))
        plain_ms.append(_timed(functools.partial(_write_durably, folder / "plain", os.urandom(PLAIN_BYTES))))
    return added_ms, plain_ms


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _log(folder: Path, line: str, repeats: int) -> list[float]:
    return [1000 * shell.cns(line, folder).elapsed_s for _ in range(repeats)]


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - started)


def _ms(times_ms: list[float]) -> str:
    return f"{statistics.median(times_ms):.1f} ms"
