"""Every write below `.cns`, in one small module, so that one module decides what survives a crash.

A file is replaced as a whole: a temporary sibling is written, fsynced and renamed over it, then the folder is fsynced.
A log is appended to and fsynced. A reader therefore sees the old file or the new one, and after a return the new one
survives a power cut. An error of fsync is never retried: the kernel may have dropped the pages, and a second fsync
would report a success that is none. This module does not know what it writes.
"""

# The system calls themselves are the subject here.
# ruff: noqa: PTH102, PTH104, PTH108, PTH208
from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from registry.errors import DiskFailed, LockBusy

TEMPORARY = ".tmp-"
# Long enough for a queue of committers (one holds the lock for about 20 ms), short enough for a person.
LOCK_TIMEOUT_S = 60.0
LOCK_POLL_S = 0.01


def read(path: Path) -> bytes | None:
    """Return the bytes of a file, or None where there is none.

    Raises:
        DiskFailed: the file is there and cannot be read.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DiskFailed("read", path, error) from error


def replace(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Make data the content of path, atomically and durably.

    Raises:
        DiskFailed: path is as before; or, if only the last fsync (of the folder) failed, old or new, never a mixture.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{os.urandom(4).hex()}")
    try:
        _write_new(temporary, data, mode)
        with _reported("rename", path):
            os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(path.parent)


def install(temporary: Path, path: Path) -> None:
    """Put a file that another library wrote beside path in its place, atomically and durably."""
    with _reported("open", temporary):
        handle = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _sync(handle, temporary)
    finally:
        os.close(handle)
    with _reported("rename", path):
        os.rename(temporary, path)
    sync_folder(path.parent)


def append(path: Path, line: bytes) -> None:
    """Append a line, which ends in a newline, to a log, durably; first drop a tail that a crash tore.

    The caller holds the lock. A last line without its newline was never acknowledged, since the newline is written
    with it.
    """
    fresh = not path.exists()
    with _reported("open", path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        with _reported("write", path):
            end = _end_of_last_line(handle)
            os.ftruncate(handle, end)
            os.lseek(handle, end, os.SEEK_SET)
            try:
                _write_all(handle, line)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(handle, end)
                raise
        _sync(handle, path)
    finally:
        os.close(handle)
    if fresh:
        sync_folder(path.parent)


def touch(path: Path) -> bool:
    """Set the time of last change of a file to now; False where there is none."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True  # another user's object: only its owner's gc would look at the time
    return True


def make_folder(path: Path) -> None:
    """Make a folder and its parents, durably; no error where it exists."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with _reported("mkdir", path), contextlib.suppress(FileExistsError):
        os.mkdir(path)
    sync_folder(path.parent)


def make_folders(folder: Path, names: list[str]) -> None:
    """Make a folder and folders in it, durably."""
    make_folder(folder)
    for name in names:
        with _reported("mkdir", folder / name), contextlib.suppress(FileExistsError):
            os.mkdir(folder / name)
    sync_folder(folder)


def remove(path: Path) -> bool:
    """Remove a file, durably; False where there is none."""
    try:
        with _reported("remove", path):
            os.unlink(path)
    except DiskFailed as failure:
        if isinstance(failure.__cause__, FileNotFoundError):
            return False
        raise
    sync_folder(path.parent)
    return True


def move_folder(source: Path, target: Path) -> bool:
    """Rename a folder whose files are synced to a name that is free, durably; False where target is in use."""
    try:
        os.rename(source, target)
    except OSError as error:
        if target.exists():
            return False
        raise DiskFailed("rename", target, error) from error
    sync_folder(target.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    with _reported("open", folder):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _sync(handle, folder)
    finally:
        os.close(handle)


def files_in(folder: Path) -> list[str]:
    """Return the sorted names in a folder, temporaries left out; none where there is no folder."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith(TEMPORARY))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DiskFailed("read", folder, error) from error


@contextlib.contextmanager
def locked(path: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Hold the kernel lock of a lock file. It goes with the process, so a killed one leaves none behind.

    Raises:
        LockBusy: another process held it for timeout_s.
        DiskFailed: the lock file cannot be opened.
    """
    from filelock import FileLock, Timeout  # 25 ms that readers do not pay

    lock = FileLock(path, poll_interval=LOCK_POLL_S)
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


def _write_new(path: Path, data: bytes, mode: int) -> None:
    with _reported("open", path):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with _reported("write", path):
            _write_all(handle, data)
        _sync(handle, path)
    finally:
        os.close(handle)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _sync(handle: int, path: Path) -> None:
    with _reported("fsync", path):
        os.fsync(handle)


def _end_of_last_line(handle: int) -> int:
    """Return the offset behind the last newline (0 where there is none)."""
    end = os.lseek(handle, 0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 4096)
        found = os.pread(handle, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


@contextlib.contextmanager
def _reported(action: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskFailed(action, path, error) from error
