"""A remote in a folder of this machine, or of a file server that is mounted here: `file://…`, or its path.

What is written is synced before it counts. Two writers are kept apart by `link`, which file systems do not let two
processes do to one name. fsspec's own local file system offers less: its `put_file(mode="create")` overwrites.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from registry import fsio
from registry.errors import DiskFailed
from registry.layout import FOLDER
from registry.sharing.logremote import LogRemote
from registry.sharing.remote import Moved, RemoteUnavailable

PIECE_BYTES = 2**20


class FolderRemote(LogRemote):
    """A remote below a folder; the first push makes what is missing of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = folder
        if (folder / FOLDER).is_dir() and not (folder / "log").is_dir():
            reason = "it holds a registry; expected a folder that registries push to"
            raise RemoteUnavailable(self.shown, reason, f"cns push FOLDER   (in '{folder}'; then from FOLDER here)")

    def _require_exclusive(self) -> None:
        pass

    def _names(self, folder: str) -> list[str]:
        with self._reported():
            return fsio.files_in(self.folder / folder)

    def _read_all(self, paths: Sequence[str], most: int) -> list[bytes]:
        with self._reported():
            contents = [fsio.read(self.folder / path, most) for path in paths]
        for path, content in zip(paths, contents, strict=True):
            if content is None:
                raise RemoteUnavailable(self.shown, f"'{path}' in it is gone")
        return [content for content in contents if content is not None]

    def _pieces(self, path: str) -> Iterator[bytes]:
        with self._reported(), fsio.opened_plain(self.folder / path) as handle:
            if handle is None:
                raise RemoteUnavailable(self.shown, f"'{path}' in it is gone")
            while piece := os.read(handle, PIECE_BYTES):
                yield piece

    def _create(self, path: str, data: bytes) -> bool:
        with self._reported():
            fsio.make_folder((self.folder / path).parent)
            return fsio.create(self.folder / path, data)

    def _write(self, path: str, data: bytes) -> None:
        with self._reported():
            fsio.make_folder((self.folder / path).parent)
            fsio.replace(self.folder / path, data)

    def _upload(self, path: str, source: Path, moved: Moved) -> None:
        with self._reported(), source.open("rb") as read:
            fsio.make_folder((self.folder / path).parent)
            fsio.stream(self.folder / path, _told(iter(lambda: read.read(PIECE_BYTES), b""), moved))

    def _delete(self, path: str) -> None:
        with self._reported():
            fsio.remove(self.folder / path)

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except DiskFailed as error:
            raise RemoteUnavailable(self.shown, error.message, error.hint) from error
        except OSError as error:
            raise RemoteUnavailable(self.shown, error.strerror or str(error)) from error


def _told(pieces: Iterable[bytes], moved: Moved) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        moved(len(piece))
