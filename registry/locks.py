"""The lock of a folder's writers: one kernel lock on a file, which goes with the process that holds it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from registry.errors import DiskFailed, LockBusy, NotPlain

# Long enough for a queue of committers (one holds the lock for about 20 ms), short enough for a person.
TIMEOUT_S = 60.0
POLL_S = 0.01


@contextlib.contextmanager
def hold(path: Path, timeout_s: float = TIMEOUT_S) -> Iterator[None]:
    """Hold the kernel lock of a lock file. It goes with the process, so a killed one leaves none behind.

    Raises:
        LockBusy: another process held it for timeout_s.
        DiskFailed: the lock file cannot be opened.
    """
    from filelock import FileLock, Timeout  # 25 ms that readers do not pay

    if path.is_symlink():  # older versions of filelock would empty the file that it leads to
        raise NotPlain(path, "a symbolic link")
    lock = FileLock(path, poll_interval=POLL_S)
    started = time.monotonic()
    try:
        lock.acquire(timeout=timeout_s)
    except Timeout as error:
        raise LockBusy(path, round(time.monotonic() - started, 1)) from error
    except OSError as error:
        raise DiskFailed("lock", path, error) from error
    try:
        yield
    finally:
        lock.release()
