"""A remote at any address that fsspec knows: `s3://bucket/folder`, `hf://…`, and others.

What a store needs, such as keys, an endpoint, a proxy or CA files, its library reads from the environment. Two writers
are kept apart by a put that the store refuses where the object is there: S3's `If-None-Match: *`. fsspec's own
`mode="create"` asks first and writes then, which two can do at once and which a probe, one after the other, does not
see. So only schemes of `EXCLUSIVE` can be written to, and these only after the probe; all others can be read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from registry.addresses import shown
from registry.sharing.logremote import LogRemote
from registry.sharing.opening import scheme_of
from registry.sharing.remote import Moved, RemoteReadOnly, RemoteUnavailable

EXCLUSIVE = ("s3", "s3a")  # whose put with mode="create" is one request with a condition
PIECE_BYTES = 4 * 2**20
MISSING = {"s3": "pip install 'cns-cli[s3]'", "s3a": "pip install 'cns-cli[s3]'"}


class FsspecRemote(LogRemote):
    """A remote below a folder of a file system that fsspec opens."""

    def __init__(self, address: str) -> None:
        super().__init__(shown(address).rstrip("/"))
        self.scheme = scheme_of(address)
        self._files, self._root = _open(address, self.shown, self.scheme)

    def _require_exclusive(self) -> None:
        if self.scheme not in EXCLUSIVE:
            reason = f"it is read-only: nothing is known of {self.scheme}:// that keeps two writers apart"
            raise RemoteReadOnly(self.shown, reason, f"expected {', '.join(EXCLUSIVE)}, a folder, or MLflow")

    def _names(self, folder: str) -> list[str]:
        with self._reported():
            self._files.invalidate_cache()
            try:
                found = self._files.ls(self._path(folder), detail=False)
            except FileNotFoundError:
                return []
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)

    def _read_all(self, paths: Sequence[str], most: int) -> list[bytes]:
        """See LogRemote. Of each one byte more than can be is asked for, so that a long file is seen, not read."""
        if not paths:
            return []
        whole = [self._path(path) for path in paths]
        with self._reported():
            self._files.invalidate_cache()
            contents = self._files.cat_ranges(whole, 0, most + 1, on_error="raise")
        for path, content in zip(paths, contents, strict=True):
            if len(content) > most:
                raise RemoteUnavailable(self.shown, f"'{path}' in it has more than {most:,} bytes")
        return list(contents)

    def _pieces(self, path: str) -> Iterator[bytes]:
        with self._reported():
            self._files.invalidate_cache()
            with self._files.open(self._path(path), "rb", cache_type="none") as read:
                while piece := read.read(PIECE_BYTES):
                    yield piece

    def _create(self, path: str, data: bytes) -> bool:
        with self._reported():
            try:
                self._files.pipe_file(self._path(path), data, mode="create")
            except FileExistsError:
                return False
        return True

    def _write(self, path: str, data: bytes) -> None:
        with self._reported():
            self._files.pipe_file(self._path(path), data)

    def _upload(self, path: str, source: Path, moved: Moved) -> None:
        from fsspec.callbacks import Callback

        class Told(Callback):
            def relative_update(self, inc: int = 1) -> None:
                moved(inc)

        with self._reported():
            self._files.put_file(str(source), self._path(path), callback=Told())

    def _delete(self, path: str) -> None:
        with self._reported(), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(path))

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        """Put what a store's library raises in our words: an OSError, or an error class of its own for each."""
        try:
            yield
        except (RemoteUnavailable, KeyboardInterrupt, GeneratorExit):
            raise
        except Exception as error:  # a library for each scheme, each with errors of its own
            raise RemoteUnavailable(self.shown, f"{type(error).__name__}: {_plain(error)}") from error


def _open(address: str, said: str, scheme: str) -> tuple[Any, str]:
    import fsspec

    try:
        # Listings that are kept would hide what another client has written since; so would a shared instance.
        options = {"use_listings_cache": False, "skip_instance_cache": True}
        files, root = fsspec.core.url_to_fs(address, **options)
    except ImportError as error:
        hint = MISSING.get(scheme, f"install what fsspec needs for {scheme}://")
        raise RemoteUnavailable(said, f"a package for {scheme}:// is not installed: {error}", hint) from error
    except Exception as error:  # as above; an unknown scheme is a ValueError
        expected = "expected a folder, s3://, hf://, an MLflow server or a bundle"
        raise RemoteUnavailable(said, f"{_plain(error)}; {expected}") from error
    return files, str(root).rstrip("/")


def _plain(error: Exception) -> str:
    """Return the first line of an error, without what follows a question mark: a signed address holds a signature."""
    lines = str(error).splitlines() or [""]
    return lines[0].partition("?")[0][:200]
