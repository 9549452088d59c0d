"""Units of work in several processes: each opens once what its units need, and takes the next one when it has done.

A process that dies loses nothing but its time: its unit goes to another one. What raises, and what no process lived to
do, is not answered: the caller does it itself, and meets the error where it belongs. Ctrl-C ends all, and so does the
end of the caller, however it comes. Nothing here knows what a unit is.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, Self

Work = Callable[[Any, Callable[[int], None]], Any]
"""Does a unit, and says now and then how many steps more of it are done; what it returns is sent to the caller."""


PATIENCE_S = 2.0


class Workers:
    """Processes that work through units.

    Args:
        opened: Called once in each process, with a place and the number of processes, when its first unit comes.
            Functions, units and answers must be what pickle takes.
        places: What tells the processes from each other, such as devices; one process each.
        method: How they start; "spawn": fresh.
        patience_s: Until one that was asked to end is killed.
    """

    def __init__(
        self,
        opened: Callable[[str, int], Work],
        places: Sequence[str],
        method: str = "spawn",
        patience_s: float = PATIENCE_S,
    ) -> None:
        context: Any = get_context(method)
        self._patience_s = patience_s
        self._processes: dict[Connection, Any] = {}
        with _deaf():
            for place in places:
                ours, theirs = context.Pipe()
                task = partial(opened, place, len(places))
                process = context.Process(target=_serve, args=(theirs, task), daemon=True)
                process.start()
                theirs.close()
                self._processes[ours] = process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes.values():
            process.terminate()
        for link in [*self._processes]:
            self._end(link)

    def each(self, units: Sequence[Any], told: Callable[[int], None]) -> Iterator[tuple[int, Any]]:
        """Yield the number of each unit and its answer, in the order in which they are done.

        Args:
            units: In the order in which they shall begin.
            told: Called with how many steps more were done.
        """
        waiting, busy = deque(enumerate(units)), dict[Connection, tuple[int, Any]]()
        while self._processes:
            for link in [one for one in self._processes if one not in busy]:
                if waiting:
                    busy[link] = waiting.popleft()
                    with contextlib.suppress(OSError):  # it is dead, which is seen below
                        link.send(busy[link][1])
            if not busy:
                return
            ready = wait([*busy])
            for link in [one for one in busy if one in ready]:
                try:
                    kind, answer = link.recv()
                except (EOFError, OSError):  # it was killed
                    waiting.append(busy.pop(link))
                    self._end(link)
                    continue
                if kind == "steps":
                    told(answer)
                    continue
                number, _ = busy.pop(link)
                if kind == "done":
                    yield number, answer

    def _end(self, link: Connection) -> None:
        process = self._processes.pop(link)
        process.terminate()
        process.join(self._patience_s)
        process.kill()  # every write is atomic, and a kernel lock goes with its process
        process.join()
        link.close()


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Within the block, Ctrl-C is ignored, and so it is by what starts there, from its first moment on."""
    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(link: Connection, opened: Callable[[], Work]) -> None:
    """Do what comes, until the caller is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the caller ends us
    signal.signal(signal.SIGTERM, _stop)
    work: Work | None = None
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            unit = link.recv()
            try:
                work = work or opened()
                answer = ("done", work(unit, lambda steps: link.send(("steps", steps))))
            except ConnectionError:
                return
            except Exception:  # noqa: BLE001  the caller does the unit itself, and meets the error there
                answer = ("undone", None)
            link.send(answer)


def _stop(*_: object) -> None:
    """End, once: a second signal would be raised in what libraries do at the end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit()
