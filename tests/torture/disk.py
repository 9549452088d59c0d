"""A disk that forgets what was not synced: it records what `registry.fsio` asks of the system, and loses it again.

While a `Disk` is in place of `fsio.os`, every call goes on to the real system, so that a process sees what it wrote, as
with a page cache. Beside it stands what POSIX promises and no more: the content of a file is durable after an fsync
of that file, a name after an fsync of its folder. `after_power_cut` leaves of everything else what chance allows: a
write is kept, dropped, torn at any byte, or leaves zeros; each change of a folder is kept or not, in any combination.
So writes and renames are reordered at will. `after_kill` leaves all that was asked for, and still nothing durable.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

Luck = Literal["nothing unsynced", "all", "by chance", "all but one", "names only", "data only"]
LUCKS: tuple[Luck, ...] = ("nothing unsynced", "all", "by chance", "all but one", "names only", "data only")


@dataclass(eq=False)
class File:
    """An inode: content that is durable, and the changes since."""

    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # (offset, data), or (size, None): truncated

    def content(self, fate: Callable[[bytes], bytes | None]) -> bytes:
        """The content where each pending write has a fate: what is left of it, or None for nothing."""
        content = bytearray(self.durable)
        for offset, data in self.pending:
            left = fate(b"" if data is None else data)
            if left is None:
                continue
            content.extend(b"\0" * (offset - len(content)))
            if data is None:
                del content[offset:]
            else:
                content[offset : offset + len(left)] = left
        return bytes(content)


@dataclass(eq=False)
class Folder:
    """A folder: names that are durable, and the changes since: (name, what it is now or None, name that it had)."""

    durable: dict[str, File | Folder] = field(default_factory=dict)
    pending: list[tuple[str, File | Folder | None, str]] = field(default_factory=list)

    def names(self, kept: Callable[[], bool]) -> dict[str, File | Folder]:
        """The names where each pending change is kept or not."""
        names = dict(self.durable)
        for name, node, before in self.pending:
            if kept():
                names.pop(before or name, None)
                if node is not None:
                    names[name] = node
        return names


Event = Callable[[], object]


P = ParamSpec("P")
R = TypeVar("R")
_RECORDING = threading.Lock()


def _one_at_a_time(call: Callable[P, R]) -> Callable[P, R]:
    """Make what the system does and the record of it one step: another thread may get the number of a closed file."""

    @functools.wraps(call)
    def locked(*args: P.args, **kwargs: P.kwargs) -> R:
        with _RECORDING:
            return call(*args, **kwargs)

    return locked


class Disk:
    """Stands for `os` in `fsio`, below one folder; everything else passes through.

    Args:
        root: The folder. What is in it counts as durable.
        deaf: Kinds of fsync, "file" and "folder", that do nothing: for positive controls.
    """

    def __init__(self, root: Path, deaf: frozenset[str] = frozenset()) -> None:
        self.root = root
        self.deaf = deaf
        self.top = _read(str(root))
        self.events: list[Event] = []
        self.changes: list[int] = []  # which events change the disk
        self._handles: dict[int, File | Folder] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    @_one_at_a_time
    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        fresh = bool(flags & os.O_CREAT) and not os.path.lexists(path)
        handle = os.open(path, flags, mode)
        if fresh:
            self._change(lambda: self._link(path, File()))
        if Path(path).is_relative_to(self.root):
            self._event(lambda: self._handles.__setitem__(handle, self._node(path)))
        return handle

    @_one_at_a_time
    def close(self, handle: int) -> None:
        os.close(handle)
        self._event(lambda: self._handles.pop(handle, None))

    @_one_at_a_time
    def write(self, handle: int, data: bytes) -> int:
        offset = os.lseek(handle, 0, os.SEEK_CUR)
        count = os.write(handle, data)
        written = bytes(data)[:count]
        self._change(lambda: self._file(handle).pending.append((offset, written)))
        return count

    @_one_at_a_time
    def ftruncate(self, handle: int, size: int) -> None:
        changed = os.fstat(handle).st_size != size
        os.ftruncate(handle, size)
        if changed:
            self._change(lambda: self._file(handle).pending.append((size, None)))

    @_one_at_a_time
    def fsync(self, handle: int) -> None:
        self._change(lambda: self._synced(self._handles.get(handle)))

    @_one_at_a_time
    def rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)
        self._change(lambda: self._link(target, self._node(source), before=Path(source).name))

    @_one_at_a_time
    def link(self, source: Path, target: Path) -> None:
        os.link(source, target)
        self._change(lambda: self._link(target, self._node(source)))

    @_one_at_a_time
    def unlink(self, path: Path) -> None:
        os.unlink(path)
        self._change(lambda: self._link(path, None))

    @_one_at_a_time
    def mkdir(self, path: Path) -> None:
        os.mkdir(path)
        self._change(lambda: self._link(path, Folder()))

    def after_kill(self, events: int) -> None:
        """Make the folder what it is when the process is killed after so many events of the last operation."""
        self._play(events)
        self._show(self.top, str(self.root), lambda file: file.content(lambda data: data), _all)

    def after_power_cut(self, events: int, luck: Luck, seed: int) -> None:
        """Make the folder what it may be when the power goes after so many events, and all of that durable."""
        self._play(events)
        chance = random.Random(seed)
        fates = _Fates(luck, chance, sum(1 for _ in self._pending(self.top)))
        self.top = self._show(
            self.top,
            str(self.root),
            lambda file: file.content(fates.of_data),
            lambda folder: folder.names(fates.of_name),
        )

    def settle(self) -> None:
        """Let the last operation come to its end."""
        self._play(len(self.events))

    @property
    def points(self) -> list[int]:
        """The moments of the last operation at which it makes a difference to stop: numbers of events done."""
        return [*self.changes, len(self.events)]

    def _event(self, event: Event) -> None:
        self.events.append(event)

    def _change(self, event: Event) -> None:
        self.changes.append(len(self.events))
        self.events.append(event)

    def _play(self, count: int) -> None:
        for event in self.events[:count]:
            event()
        self.events.clear()
        self.changes.clear()

    def _file(self, handle: int) -> File:
        node = self._handles[handle]
        assert isinstance(node, File)
        return node

    def _node(self, path: Path) -> File | Folder:
        node: File | Folder = self.top
        for part in Path(path).relative_to(self.root).parts:
            assert isinstance(node, Folder)
            node = _all(node)[part]
        return node

    def _link(self, path: Path, node: File | Folder | None, before: str = "") -> None:
        parent = self._node(Path(path).parent)
        assert isinstance(parent, Folder)
        parent.pending.append((Path(path).name, node, before))

    def _synced(self, node: File | Folder | None) -> None:
        if isinstance(node, File):
            if "file" not in self.deaf:
                node.durable, node.pending = node.content(lambda data: data), []
        elif node is not None and "folder" not in self.deaf:
            node.durable, node.pending = _all(node), []

    def _pending(self, folder: Folder) -> Iterator[object]:
        yield from folder.pending
        for node in _all(folder).values():
            if isinstance(node, Folder):
                yield from self._pending(node)
            else:
                yield from node.pending

    def _show(
        self,
        folder: Folder,
        place: str,
        content: Callable[[File], bytes],
        names: Callable[[Folder], dict[str, File | Folder]],
    ) -> Folder:
        """Make the real folder say what the model says, and return a model in which all of it is durable."""
        wanted, shown = names(folder), Folder()
        for name in set(os.listdir(place)) - wanted.keys():
            path = f"{place}/{name}"
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        for name, node in wanted.items():
            path = f"{place}/{name}"
            if isinstance(node, Folder):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(path)
                shown.durable[name] = self._show(node, path, content, names)
            else:
                data = content(node)
                shown.durable[name] = File(data)
                _write_where_it_differs(path, data)
        return shown


class _Fates:
    """What chance does to each change that was not synced."""

    def __init__(self, luck: Luck, chance: random.Random, pending: int) -> None:
        self.luck, self.chance = luck, chance
        self.until_lost = chance.randrange(max(1, pending))

    def of_name(self) -> bool:
        return self._kept("names only")

    def of_data(self, data: bytes) -> bytes | None:
        if self._kept("data only"):
            return data
        if self.luck == "nothing unsynced" or not data:
            return None
        cut = self.chance.randrange(len(data) + 1)
        torn = (None, b"\0" * len(data), data[:cut], b"\0" * cut + data[cut:], data[:cut] + b"\0" * (len(data) - cut))
        return self.chance.choice(torn)

    def _kept(self, kind: Luck) -> bool:
        if self.luck == "all but one":
            self.until_lost -= 1
            return self.until_lost != -1
        if self.luck == "by chance":
            return self.chance.random() < 0.5
        return self.luck in ("all", kind)


def _all(folder: Folder) -> dict[str, File | Folder]:
    return folder.names(lambda: True)


def _read(place: str) -> Folder:
    """Return the model of a real folder, all of it durable."""
    found: dict[str, File | Folder] = {}
    for entry in os.scandir(place):
        found[entry.name] = _read(entry.path) if entry.is_dir() else File(Path(entry.path).read_bytes())
    return Folder(found)


def _write_where_it_differs(path: str, data: bytes) -> None:
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        if file.read() == data:
            return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with open(path, "xb") as file:
        file.write(data)
