"""Which registries may do more than hold models: lead out of their own folder, name a server, belong to somebody else.

A `.cns` folder can be received from anybody, in an archive or on a shared machine. What it says is then not what its
user said: a link in it would have its files written elsewhere, its `config.toml` could name a server that is sent the
training images of the next `cns add`, and a `.cns` that another user put in a folder above is found by every command
below it. So all of that is refused, unless the user names the folder as trusted (the shell reads `CNS_TRUST`).
Nothing is remembered on disk. This module reads no environment and follows no link.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from registry.errors import RegistryError

EVERYWHERE = "*"
# Whose entries are looked at as well, beside those of the registry's folder itself.
FOLDERS = ("objects", "refs", "logs", "logs/refs", "cache", "previews", "mlartifacts")

_trusted: set[str] = set()


class Untrusted(RegistryError):
    """A registry that came from elsewhere wants more than to be read; see `registry.trust`."""

    def __init__(self, folder: Path, reason: str) -> None:
        self.folder = folder
        self.reason = reason
        super().__init__(
            f"the registry in '{folder}' is not trusted: {reason}; expected one of your own, without links",
            f"if you know where it comes from: export CNS_TRUST={shlex.quote(str(folder.parent))}",
        )


def allow(folders: Iterable[str | Path]) -> None:
    """Trust the registries in these folders (each holds a `.cns`), and in no others; `*` stands for all."""
    _trusted.clear()
    _trusted.update(EVERYWHERE if str(folder) == EVERYWHERE else str(Path(folder).resolve()) for folder in folders)


def is_trusted(root: Path) -> bool:
    """True where the user said so of the folder that holds `.cns`."""
    return EVERYWHERE in _trusted or str(Path(root).resolve()) in _trusted


def check(folder: Path) -> None:
    """Look at a `.cns` folder before anything in it is read.

    Raises:
        Untrusted: it belongs to another user (root excepted), or a link in it leads elsewhere.
    """
    if is_trusted(folder.parent):
        return
    try:
        owner = folder.stat().st_uid
        odd = next(_odd(folder), None)
    except OSError:
        return  # not there, or not to be read: whoever reads it says so
    if hasattr(os, "geteuid") and owner not in (os.geteuid(), 0):
        raise Untrusted(folder, f"it belongs to user {owner}, who could make it do harm in your name")
    if odd is not None:
        raise Untrusted(folder, f"'{odd.relative_to(folder)}' in it is {_kind(odd)}, which leads out of it")


def _odd(folder: Path) -> Iterator[Path]:
    """Yield what is neither a plain file nor a folder."""
    for place in (folder, *(folder / name for name in FOLDERS)):
        if place.is_dir():
            with os.scandir(place) as entries:
                for entry in entries:
                    if not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)):
                        yield Path(entry.path)


def _kind(path: Path) -> str:
    return "a symbolic link" if stat.S_ISLNK(path.lstat().st_mode) else "a pipe, a socket or a device"
