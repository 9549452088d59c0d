"""How long work says where it is: stage, step, loss and time left, on stderr.

A verb that takes long is handed a `Progress` and tells it three things: a stage begins, a step is done, a remark. On
a terminal they become a live bar, elsewhere (a log file, CI) a plain line at most every few seconds; `NullProgress`
is for callers from Python who want silence. Nothing here knows what a stage is about.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self, TextIO

from cns_cli import settings, signals
from cns_cli.figures import duration, number
from cns_cli.output import is_quiet, safe

PLAIN_INTERVAL_S = 10.0  # so that a CI log of a 90 s add has about ten lines


class Progress:
    """What porcelain may say while it works. By itself it keeps silent; the classes below say what they can show."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def stage(self, name: str, total: int | None = None, written: Callable[[int], str] = str) -> None:
        """Begin a stage, which ends the one before it.

        Args:
            name: What is done in it.
            total: Its number of steps; None when nobody knows.
            written: How a number of steps is shown.
        """

    def extend(self, total: int) -> None:
        """Say that the stage turned out to be longer: it goes on where it is, with this number of steps in all."""

    def step(self, done: int, **numbers: float) -> None:
        """Say that `done` steps of the stage are over; `numbers` are shown as they are named (`loss=0.031`)."""

    def note(self, text: str) -> None:
        """Print one remark that stays on the screen."""


class NullProgress(Progress):
    """Says nothing."""


class Stages:
    """Where the time of a verb goes: seconds by stage, added up."""

    def __init__(self, *names: str) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(names, 0.0)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the time that the body takes to a stage."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began


def open_progress(stream: TextIO | None = None) -> Progress:
    """Return the progress that fits a stream (stderr by default): live on a terminal, else plain lines."""
    stream = stream or sys.stderr
    if is_quiet():
        return NullProgress()
    return LiveProgress(stream) if settings.live_wanted(stream) else PlainProgress(stream)


class PlainProgress(Progress):
    """One line when a stage begins, one every `PLAIN_INTERVAL_S` while it lasts.

    Args:
        stream: Where to write.
        clock: Seconds that only grow; a test passes its own.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._name = ""
        self._total: int | None = None
        self._written: Callable[[int], str] = str
        self._began = self._said = 0.0

    def __exit__(self, *error: object) -> None:
        self._stream.flush()

    def stage(self, name: str, total: int | None = None, written: Callable[[int], str] = str) -> None:
        """Print the stage's name and size."""
        signals.check()
        self._name, self._total, self._written = safe(name), total, written
        self._began = self._said = self._clock()
        self._write(self._name if total is None else f"{self._name} ({written(total)})" if total > 1 else self._name)

    def extend(self, total: int) -> None:
        """Count on; the next line has the new total."""
        self._total = total

    def step(self, done: int, **numbers: float) -> None:
        """Print where the stage is, when the last line is old enough."""
        signals.check()
        now = self._clock()
        if now - self._said < PLAIN_INTERVAL_S:
            return
        self._said = now
        where = _place(done, self._total, self._written)
        self._write(f"{self._name}: {', '.join([where, *_figures(numbers, done, self._total, now - self._began)])}")

    def note(self, text: str) -> None:
        """Print the remark."""
        self._write(safe(text))

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class LiveProgress(Progress):
    """A bar for each stage, drawn by rich; finished stages stay above as one line with their time.

    Args:
        stream: A terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        console = Console(
            file=stream, highlight=False, emoji=False, markup=False, no_color=not settings.colour_wanted(stream)
        )
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[steps]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[figures]}", markup=False, style="dim"),
        )
        self._bars = Bars(*columns, console=console, refresh_per_second=5)
        self._task: Any = None
        self._total: int | None = None
        self._written: Callable[[int], str] = str
        self._began = 0.0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._finish()
        self._bars.stop()

    def stage(self, name: str, total: int | None = None, written: Callable[[int], str] = str) -> None:
        """Draw a new bar; without a total it only moves."""
        signals.check()
        self._finish()
        self._total, self._written, self._began = total, written, time.monotonic()
        self._task = self._bars.add_task(f"{safe(name):<22}", total=total, steps="", figures="")

    def extend(self, total: int) -> None:
        """Lengthen the bar."""
        self._total = total
        if self._task is not None:
            self._bars.update(self._task, total=total)

    def step(self, done: int, **numbers: float) -> None:
        """Move the bar and rewrite its figures."""
        signals.check()
        if self._task is None:
            return
        figures = _figures(numbers, done, self._total, time.monotonic() - self._began)
        steps = _place(done, self._total, self._written) if self._total else ""
        self._bars.update(self._task, completed=done, steps=steps, figures=", ".join(figures))

    def note(self, text: str) -> None:
        """Print the remark above the bars."""
        from rich.text import Text

        self._bars.console.print(Text(safe(text)))

    def _finish(self) -> None:
        if self._task is not None:
            total = self._total or 1
            self._bars.update(self._task, total=total, completed=total)
            self._bars.stop_task(self._task)
            self._task = None


def _place(done: int, total: int | None, written: Callable[[int], str]) -> str:
    return f"{written(done)}/{written(total)}" if total else written(done)


def _figures(numbers: dict[str, float], done: int, total: int | None, elapsed_s: float) -> list[str]:
    """Write the numbers of a step, and the time left; a name with underscores reads as words."""
    written = [f"{safe(name).replace('_', ' ')} {number(value)}" for name, value in numbers.items()]
    if total and 0 < done < total:
        written.append(f"{duration(elapsed_s * (total - done) / done)} left")
    return written
