"""Ctrl-C and SIGTERM: both become one exception, which carries the words for the person who pressed it.

`install` is for the program; a caller from Python keeps its own handlers. An exception that is raised inside a foreign
import can get lost there or come out as another one, so the module remembers that a signal came: long work asks
`check` now and then, and the error boundary asks `came` before it calls something a bug. One that is raised inside a
destructor is lost for certain; Python tells of it, and it is raised again a moment later.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)
AGAIN_S = 0.02

_came: list[int] = []


class Interrupted(KeyboardInterrupt):
    """A signal asked the program to stop.

    Attributes:
        number: Which one.
        message: What became of the work; empty where nobody knows better.
        hint: The next command.
    """

    def __init__(self, number: int = signal.SIGINT, message: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.number = number
        self.message = message
        self.hint = hint


def install() -> None:
    """Let both signals raise `Interrupted`; one that is ignored (`nohup`, a job in the background) stays ignored."""
    for number in STOPPING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)
    sys.unraisablehook = _unraisable


def uninstall() -> None:
    """Let both signals end the process as they do by themselves: for the time after the last word was said."""
    for number in STOPPING:
        if signal.getsignal(number) == _stop:
            signal.signal(number, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0)


def came() -> int | None:
    """Return the number of the first signal that came, or None."""
    return _came[0] if _came else None


def check() -> None:
    """Raise `Interrupted` where a signal came and its exception got lost on its way."""
    if _came:
        raise Interrupted(_came[0])


def number_of(stop: BaseException) -> int:
    """Return which signal an exception stands for."""
    return stop.number if isinstance(stop, Interrupted) else signal.SIGINT


def hush() -> None:
    """Send to nowhere what is still buffered and cannot be written: flushing it at the end would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(nowhere, stream.fileno())


@contextlib.contextmanager
def explained(message: str, hint: str) -> Iterator[None]:
    """Within the block, an interruption carries these words."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Interrupted(number_of(stop), message, hint) from None


def _stop(number: int, _frame: FrameType | None) -> None:
    _came.append(number)
    raise Interrupted(number)


def _unraisable(lost: sys.UnraisableHookArgs) -> None:
    """Python could not raise an exception where it came up: raise ours elsewhere, print any other."""
    if not isinstance(lost.exc_value, Interrupted):
        sys.__unraisablehook__(lost)
        return
    signal.signal(signal.SIGALRM, _again)
    signal.setitimer(signal.ITIMER_REAL, AGAIN_S)


def _again(_number: int, _frame: FrameType | None) -> None:
    check()
