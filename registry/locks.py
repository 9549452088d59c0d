"""The lock of a folder's writers: one kernel lock on a file, which goes with the process that holds it.

Whoever waits for longer than a moment is told for whom, once; the shell says where to (`tell`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from registry import fsio
from registry.errors import DiskFailed, LockBusy, NotPlain

# Long enough for a queue of committers (one holds the lock for about 20 ms), short enough for a person.
TIMEOUT_S = 60.0
SILENT_S = 1.0
POLL_S = 0.01
LOCKS = Path("/proc/locks")

_told: list[Callable[[str], None]] = []


def tell(told: Callable[[str], None]) -> None:
    """Have a sentence of whoever waits for a lock handed to `told`, and to nobody else."""
    _told[:] = [told]


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
        try:
            lock.acquire(timeout=min(SILENT_S, timeout_s))
        except Timeout:
            if timeout_s <= SILENT_S:
                raise
            for told in _told:
                told(f"waiting for {holder(path) or 'another process'}, which holds '{path}'")
            lock.acquire(timeout=timeout_s - SILENT_S)
    except Timeout as error:
        raise LockBusy(path, round(time.monotonic() - started, 1), holder(path) or "") from error
    except OSError as error:
        raise DiskFailed("lock", path, error) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def claim(path: Path, what: str, *, patient: bool = False) -> Iterator[bool]:
    """Claim a piece of work against other processes: a kernel lock on one byte of a file, which goes with its process.

    Two pieces may share a byte, so one at a time is claimed, and refusing one that is free costs only time.

    Args:
        path: The file, in a folder that is there; it stays empty.
        what: The piece of work.
        patient: Wait until it is free.

    Yields:
        Whether it is ours.
    """
    with fsio.opened_to_lock(path) as handle:
        place = int(hashlib.sha256(what.encode()).hexdigest()[:15], 16)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | (0 if patient else fcntl.LOCK_NB), 1, place)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise DiskFailed("lock", path, error) from error
            yield False
            return
        yield True  # closing the file lets it go


def holder(path: Path, locks: Path = LOCKS) -> str | None:
    """Return who holds a lock file, as "process 123 (cns add …)"; None where nobody does or nobody can tell.

    The kernel lists its locks by inode, so nothing needs to be locked or opened to find out.
    """
    try:
        inode, lines = path.stat().st_ino, locks.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for line in lines:
        words = line.split()
        # 1: FLOCK ADVISORY WRITE 4242 08:01:1234567 0 EOF; a line of one who waits has "->" in second place
        if len(words) >= 6 and words[1] in ("FLOCK", "POSIX") and words[5].rpartition(":")[2] == str(inode):
            return _process(words[4])
    return None


def _process(number: str) -> str:
    try:
        words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return f"process {number}"
    return f"process {number} ({b' '.join(words).decode('utf-8', 'replace').strip()[:80]})"
