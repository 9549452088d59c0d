"""A long answer on a terminal, shown by a program that turns pages: `CNS_PAGER`, `PAGER`, else `less -FRX`.

The pager is started when the answer begins and is fed as the answer comes, so that the first page of a long history is
there at once. Whoever quits it early has read enough: the rest is not computed, and that is no error. The module knows
streams and programs, nothing of answers.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING

from cns_cli import settings

if TYPE_CHECKING:  # 10 ms, for those alone who have a terminal
    from subprocess import Popen

_allowed = [True]


def allow(wanted: bool) -> None:
    """Say whether this call of the program may start a pager: not after `cns --no-pager`."""
    _allowed[0] = wanted


def write_paged(lines: Iterable[str]) -> None:
    """Write lines to stdout, through a pager where that is a terminal and a pager is wanted and installed."""
    pager = _started()
    if pager is None or pager.stdin is None:
        sys.stdout.writelines(lines)
        return
    with _waited_for(pager), contextlib.suppress(BrokenPipeError):
        _feed(pager.stdin, lines)


def _started() -> Popen[str] | None:
    """Start the pager; None where there is none."""
    command = settings.pager(sys.stdout) if _allowed[0] else []
    if not command:
        return None
    from subprocess import PIPE, Popen

    sys.stdout.flush()
    try:
        return Popen(
            command, stdin=PIPE, text=True, encoding=sys.stdout.encoding, errors=sys.stdout.errors,
            env=settings.pager_environment(),
        )  # fmt: skip
    except OSError:
        return None


@contextlib.contextmanager
def _waited_for(pager: Popen[str]) -> Iterator[None]:
    """Let the pager have the terminal until it is quit, whatever became of the answer: Ctrl-C there is the pager's."""
    try:
        yield
    finally:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            pager.wait()
        finally:
            signal.signal(signal.SIGINT, before)


def _feed(stream: IO[str], lines: Iterable[str]) -> None:
    try:
        stream.writelines(lines)
    finally:
        stream.close()
