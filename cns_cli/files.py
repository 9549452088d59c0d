"""Files that a command writes for its user: whole or not at all, and nothing left over.

A temporary sibling is written and renamed, so that a reader, a full disk or a Ctrl-C meets the old file or the new one.
What is no plain file (`-o /dev/stdout`, a pipe) is written to as it is. The module does not know what it writes.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from registry import fsio
from registry.errors import DiskFailed, RegistryError


def write_output(path: Path, data: bytes | str) -> None:
    """Make data the content of a file; text is written as UTF-8.

    Raises:
        RegistryError: its folder does not exist. DiskFailed: the system refused; the file is as before.
    """
    content = data.encode() if isinstance(data, str) else data
    is_plain = _is_plain(path)
    target = Path(os.path.realpath(path)) if is_plain else path  # through a link, so that the link stays
    if is_plain and not target.parent.is_dir():
        raise RegistryError(
            f"there is no folder '{path.parent}' to write '{path.name}' into", f"mkdir -p {path.parent}"
        )
    with _told(path):
        if is_plain:
            fsio.replace(target, content)
        else:
            target.write_bytes(content)


def write_numbered(path: Path, data: bytes) -> Path:
    """Make data the content of a new file `…-<number>.<suffix>`: of path, or of the first number after it that is free.

    Raises:
        DiskFailed: the system refused; no file was made.
    """
    stem, _, number = path.stem.rpartition("-")
    for free in itertools.count(int(number)):
        place = path.with_name(f"{stem}-{free}{path.suffix}")
        with _told(place), contextlib.suppress(FileExistsError):
            os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
            break
    try:
        write_output(place, data)
    except BaseException:
        place.unlink(missing_ok=True)
        raise
    return place


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to fill, which takes its place at `path` when the block ends well and is removed when it does not.

    What killed processes left of earlier tries is removed first.

    Raises:
        DiskFailed: the system refused.
    """
    building = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    _remove_abandoned(path)
    try:
        with _told(path):
            building.mkdir(parents=True)
        yield building
        with _told(path):
            if path.exists():
                path.rmdir()
            os.replace(building, path)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _is_plain(path: Path) -> bool:
    """Whether a path leads to a plain file, or to nothing yet; the link `/dev/stdout` may lead to a pipe."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True  # to be made


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say of which file of the user's it is that the system refused to write it."""
    try:
        yield
    except DiskFailed as failure:  # which names the temporary file
        cause = failure.__cause__
        raise DiskFailed("write", path, cause if isinstance(cause, OSError) else OSError(str(failure))) from failure
    except OSError as error:
        raise DiskFailed("write", path, error) from error


def _remove_abandoned(path: Path) -> None:
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(\d+)\.tmp")
    with contextlib.suppress(OSError):
        for sibling in path.parent.iterdir():
            match = pattern.fullmatch(sibling.name)
            if match and not fsio.is_alive(int(match[1])):
                shutil.rmtree(sibling, ignore_errors=True)
