"""`show PICTURE`: how a generated picture was made, and the command that makes it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cns_cli.porcelain.pictures.files import SUFFIXES, read_picture
from cns_cli.porcelain.pictures.record import PictureRecord
from cns_cli.porcelain.result import Result
from registry.errors import NotARegistry, RegistryError
from registry.objects import Commit
from registry.repository import Repository


@dataclass(frozen=True, kw_only=True)
class PictureResult(Result):
    """What a picture says of itself.

    Attributes:
        command: Makes the same pixels again; of several pictures of one command, all of them.
        alone: Makes this one of several alone; None where `command` does.
        commit_here: The registry of the current folder has the commit; None where there is no registry.
    """

    record: PictureRecord
    command: str
    alone: str | None
    commit_here: bool | None


def is_picture(text: str) -> bool:
    """Whether an argument means a picture rather than a revision: a file that is there and is called like one."""
    return Path(text).suffix.lower() in SUFFIXES and Path(text).is_file()


def show_picture(path: Path, start: Path) -> PictureResult:
    """Read a picture's record.

    Args:
        path: The picture; it may come from anybody.
        start: Folder to look for a registry from.

    Raises:
        NoRecord: It does not say how it was made.
    """
    record = read_picture(path)
    several = record.n > 1 and not record.grid
    return PictureResult(
        record=record,
        command=record.command(),
        alone=record.alone() if several else None,
        commit_here=_has(start, record.commit),
    )


def _has(start: Path, commit: str) -> bool | None:
    try:
        Repository.discover(start).objects.get(commit, Commit)
    except NotARegistry:
        return None
    except RegistryError:
        return False
    return True
