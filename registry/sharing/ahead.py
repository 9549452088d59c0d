"""Reading ahead: a thread waits for the network while what came is hashed and written."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Iterable

PIECES = 32  # of a mebibyte at most: what waits in memory


def read_ahead(pieces: Iterable[bytes]) -> Generator[bytes, None, None]:
    """Yield pieces in their order, the next ones read meanwhile; an error comes where its piece would have come.

    Whoever stops early leaves the thread to end by itself: it may be waiting for a server.
    """
    waiting: queue.Queue[bytes | BaseException | None] = queue.Queue(PIECES)
    stopped = threading.Event()

    def put(what: bytes | BaseException | None) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(what, timeout=1)
                return

    def read() -> None:
        try:
            for piece in pieces:
                put(piece)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001  it is raised where the pieces are read
            put(error)

    threading.Thread(target=read, name="read-ahead", daemon=True).start()
    try:
        while (piece := waiting.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        stopped.set()
