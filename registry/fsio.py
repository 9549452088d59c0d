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
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from registry.errors import DiskFailed, NotPlain

TEMPORARY = ".tmp-"
LONGEST_FILE = 64 * 2**20  # of a log, the longest file beside objects; a file that says more was not written here


def read(path: Path, most: int = LONGEST_FILE) -> bytes | None:
    """Return the bytes of a plain file, or None where there is none.

    A registry may come from anybody: no link is followed, no pipe is waited for, no endless file is begun.

    Raises:
        NotPlain: it is a link, a pipe, a device or a folder, or has more than `most` bytes.
        DiskFailed: the file is there and cannot be read.
    """
    with opened_plain(path) as handle:
        if handle is None:
            return None
        size = os.fstat(handle).st_size
        if size > most:
            raise NotPlain(path, f"a file of {size:,} bytes, where at most {most:,} can be")
        parts: list[bytes] = []
        left = most + 1  # one more than can be: a file that grows meanwhile is seen
        while left and (part := os.read(handle, min(left, max(65536, size + 1)))):
            parts.append(part)
            left -= len(part)
    if not left:
        raise NotPlain(path, f"a file of more than {most:,} bytes")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_start(path: Path, size: int) -> bytes | None:
    """Return the first bytes of a plain file, or None where there is none; raises as `read` does."""
    with opened_plain(path) as handle:
        return None if handle is None else os.read(handle, size)


def replace(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Make data the content of path, atomically and durably.

    Raises:
        DiskFailed: path is as before; or, if only the last fsync (of the folder) failed, old or new, never a mixture.
    """
    place(path, data, mode=mode)
    sync_folder(path.parent)


def place(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Do as `replace` does, but for syncing the folder: for many files, whose folders are synced once, after them."""
    with _written_beside(path, [data], mode) as temporary, _reported("rename", path):
        os.rename(temporary, path)


def stream(path: Path, pieces: Iterable[bytes]) -> None:
    """Make pieces the content of path, as `replace` does, with one of them in memory at a time."""
    with _written_beside(path, pieces, 0o666) as temporary, _reported("rename", path):
        os.rename(temporary, path)
    sync_folder(path.parent)


def create(path: Path, data: bytes) -> bool:
    """Make a file with these bytes, as a whole and durably, where there is none; False where there is one.

    A name appears with its content: what is linked is synced already, and a kill leaves no empty file. Of two who
    create at once the file system lets one, also over NFS.

    Raises:
        DiskFailed: also where the file system has no hard links.
    """
    with _written_beside(path, [data], 0o666) as temporary, _reported("link", path):
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            os.unlink(temporary)
    sync_folder(path.parent)
    return True


@contextlib.contextmanager
def _written_beside(path: Path, pieces: Iterable[bytes], mode: int) -> Iterator[Path]:
    """Yield a synced temporary sibling of path that holds pieces; it goes where the body fails."""
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{os.urandom(4).hex()}")
    try:
        with _opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode) as handle:
            for piece in pieces:
                with _reported("write", temporary):
                    _write_all(handle, piece)
            _sync(handle, temporary)
        yield temporary
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def install(temporary: Path, path: Path) -> None:
    """Put a file that another library wrote beside path in its place, atomically and durably."""
    sync(temporary)
    with _reported("rename", path):
        os.rename(temporary, path)
    sync_folder(path.parent)


def append(path: Path, line: bytes) -> None:
    """Append a line, which ends in a newline, to a log, durably; first drop a tail that a crash tore.

    The caller holds the lock. A last line without its newline was never acknowledged, since the newline is written
    with it; nor was one that begins with a zero byte, which is what a power cut makes of a page that was not synced.
    """
    fresh = not path.exists()
    with _opened(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW) as handle:
        with _reported("write", path):
            end = _end_of_whole_lines(handle)
            os.ftruncate(handle, end)
            os.lseek(handle, end, os.SEEK_SET)
            try:
                _write_all(handle, line)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(handle, end)
                raise
        _sync(handle, path)
    if fresh:
        sync_folder(path.parent)


def touch(path: Path) -> bool:
    """Set the time of last change of a file to now; False where there is none."""
    with _reported("touch", path):
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        except PermissionError:
            return True  # another user's object: only its owner's gc would look at the time
    return True


def require_writable(folder: Path) -> None:
    """Refuse to begin long work whose result could not be written.

    Raises:
        DiskFailed: the folder is on a disk that may only be read, or belongs to somebody else.
    """
    if not os.access(folder, os.W_OK):
        raise DiskFailed("write into", folder, OSError(errno.EACCES, "nothing may be written there"))


def make_folder(path: Path) -> None:
    """Make a folder and its parents, durably; no error where it exists.

    One that is there and empty may be of a process that was killed before it could sync the folder above.
    """
    if path.is_dir():
        if not files_in(path) and os.access(path.parent, os.R_OK):
            sync_folder(path.parent)
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


def remove(path: Path, *, durably: bool = True) -> bool:
    """Remove a file, durably unless the caller syncs the folder itself; False where there is none."""
    with _reported("remove", path):
        try:
            os.unlink(path)
        except FileNotFoundError:
            return False
    if durably:
        sync_folder(path.parent)
    return True


def discard(path: Path, before: float) -> bool:
    """Remove a file, unless it was changed or touched at or after a time, also while this looks; True where it is gone.

    It is moved aside first and looked at then: whoever touches it by its name later finds that it is not there, and
    whoever did so earlier is seen. The folder is not synced: a file that comes back after a power cut does no harm.
    """
    aside = path.with_name(f"{TEMPORARY}{os.getpid()}-{os.urandom(4).hex()}")
    with _reported("rename", path):
        try:
            os.rename(path, aside)
        except FileNotFoundError:
            return False
    with _reported("remove", path):
        if aside.lstat().st_mtime >= before:
            os.rename(aside, path)  # over an equal file, if one was written meanwhile
            return False
        os.unlink(aside)
    return True


def mark(path: Path) -> None:
    """Make an empty file that shall outlive this process; a power cut it need not outlive, so nothing is synced."""
    with _opened(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW):
        pass


@contextlib.contextmanager
def opened_to_lock(path: Path) -> Iterator[int]:
    """Open a file whose bytes are locks, which nobody writes; made where there is none."""
    with _opened(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW) as handle:
        yield handle


def unmark(path: Path) -> None:
    """Remove such a file. Where that fails it stays, and somebody will look for what was left unfinished in vain."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def is_alive(process: int) -> bool:
    """Whether a process of this machine has this id: its temporary files may still be wanted."""
    try:
        with contextlib.suppress(PermissionError, OverflowError):  # another user's, or no number to ask for
            os.kill(process, 0)
    except ProcessLookupError:
        return False
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
    sync(folder, os.O_DIRECTORY)


def sync(path: Path, kind: int = os.O_NOFOLLOW | os.O_NONBLOCK) -> None:
    """Make what is in a file, or with os.O_DIRECTORY the names in a folder, durable."""
    with _opened(path, os.O_RDONLY | kind) as handle:
        _sync(handle, path)


def files_in(folder: Path) -> list[str]:
    """Return the sorted names in a folder, temporaries left out; none where there is no folder."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith(TEMPORARY))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DiskFailed("read", folder, error) from error


@contextlib.contextmanager
def _opened(path: Path, flags: int, mode: int = 0o666) -> Iterator[int]:
    with _reported("open", path):
        handle = os.open(path, flags | os.O_CLOEXEC, mode)
    try:
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def opened_plain(path: Path) -> Iterator[int | None]:
    """Open a regular file for reading, by a descriptor that follows no link and waits for nothing."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a socket cannot be opened
            raise NotPlain(path, "a symbolic link" if error.errno == errno.ELOOP else "no regular file") from error
        raise DiskFailed("read", path, error) from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise NotPlain(path, "no regular file")
        with _reported("read", path):
            yield handle
    finally:
        os.close(handle)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _sync(handle: int, path: Path) -> None:
    with _reported("fsync", path):
        os.fsync(handle)


def _end_of_whole_lines(handle: int) -> int:
    """Return the offset behind the last newline (0 where there is none) of lines that no crash tore."""
    end = _behind_newline(handle, os.lseek(handle, 0, os.SEEK_END))
    while end > 0:
        start = _behind_newline(handle, end - 1)
        if os.pread(handle, 1, start) != b"\0":
            break
        end = start
    return end


def _behind_newline(handle: int, end: int) -> int:
    """Return the offset behind the last newline before an offset, 0 where there is none."""
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
