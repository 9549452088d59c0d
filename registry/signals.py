"""Holding signals back for the few milliseconds in which a command must not stop half-way.

The protocol on disk survives a kill at any point, so this is no matter of safety: it keeps Ctrl-C from ending a commit
between its acknowledgement and the words that tell of it. What arrives meanwhile takes effect at the end of the block,
by whatever handler the program has.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

HELD = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def held(patience: int | None = None) -> Iterator[None]:
    """Within the block, SIGINT and SIGTERM wait.

    Args:
        patience: After so many of them the next one takes effect at once; None: none does.
    """
    if threading.current_thread() is not threading.main_thread():  # Python hands signals to the main thread alone
        yield
        return
    arrived: list[int] = []
    before: dict[int, Any] = {}

    def keep(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)
        if patience is not None and len(arrived) > patience:
            _restore(before)
            signal.raise_signal(number)

    for number in HELD:
        handler = signal.getsignal(number)
        if handler not in (None, signal.SIG_IGN):  # None: set from C, and could not be set again
            before[number] = signal.signal(number, keep)
    try:
        yield
    finally:
        _restore(before)
        if arrived and (patience is None or len(arrived) <= patience):
            signal.raise_signal(arrived[0])


def _restore(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)
