"""Opening files of a folder that may hold anything.

A folder of images can come from a stranger: a link to a private file, a pipe that never ends, a device. A file is
therefore opened by a descriptor that follows no link and waits for nothing, and looked at before it is read.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any


def typed_path(text: str | Path) -> Path:
    """The path that somebody typed, `~` read as the home folder; `~name` of no user of this machine stays as it is."""
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def read_regular_file(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file that is a plain file in its own folder.

    Raises:
        OSError: it is a link, a pipe or a device, is empty, or is larger than `max_bytes`.
    """
    # O_NONBLOCK: opening a pipe must not wait for its writer. Windows has neither flag, and no pipes in folders.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    if path.is_symlink():
        raise OSError("it is a symbolic link: put the file itself in the folder")
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is no regular file")
        if status.st_size > max_bytes:
            raise OSError(f"it has {status.st_size:,} bytes, the limit is {max_bytes:,}")
        data = file.read(max_bytes + 1)
    if not data:
        raise OSError("it is empty")
    if len(data) > max_bytes:  # it grew while being read
        raise OSError(f"it has more than {max_bytes:,} bytes")
    return data


def open_plain(path: Path) -> BufferedReader:
    """Open a regular file for reading; links are followed: a hub's cache is made of them.

    Raises:
        OSError: it is not there, or is a pipe, a device or a folder. Nothing is waited for.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is no regular file")
    return os.fdopen(descriptor, "rb")


def reason_of(error: BaseException) -> str:
    """One line that says why a file could not be read."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a config, whose bytes follow from what it says, into a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")
