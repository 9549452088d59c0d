"""Writing: old or new and never a mixture, and every refusal of the system said."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from registry import fsio, locks
from registry.errors import DiskFailed, LockBusy


def failing(number: int, call: Callable[..., object], error: int) -> Callable[..., object]:
    """Return a system call that fails the number-th time, from 1."""
    calls = 0

    def wrapper(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls == number:
            raise OSError(error, os.strerror(error))
        return call(*args, **kwargs)

    return wrapper


def test_replace_makes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"one", b"", b"x" * 100_000):
        fsio.replace(path, data)
        assert fsio.read(path) == data
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize(("name", "number"), [("open", 1), ("write", 1), ("fsync", 1), ("rename", 1)])
def test_failed_replace_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int, error: int
) -> None:
    path = tmp_path / "file"
    fsio.replace(path, b"old")
    monkeypatch.setattr(os, name, failing(number, getattr(os, name), error))
    with pytest.raises(DiskFailed) as caught:
        fsio.replace(path, b"new")
    monkeypatch.undo()
    assert caught.value.errno == error
    assert caught.value.action == name
    assert ("space" in caught.value.hint) == (error != errno.EIO)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
    fsio.replace(path, b"new")
    assert path.read_bytes() == b"new"


def test_failed_fsync_is_not_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fsync(handle: int) -> None:
        calls.append(handle)
        raise OSError(errno.EIO, "lost")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DiskFailed):
        fsio.replace(tmp_path / "file", b"new")
    assert len(calls) == 1


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, bytes(data)[:3]))
    fsio.replace(tmp_path / "file", b"0123456789")
    monkeypatch.undo()
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_append_drops_a_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "log"
    fsio.append(path, b"one\n")
    with path.open("ab") as file:
        file.write(b"torn" * 3000)
    fsio.append(path, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    path.write_bytes(b"torn")
    fsio.append(path, b"one\n")
    assert path.read_bytes() == b"one\n"


def test_append_drops_lines_whose_first_page_a_power_cut_left_as_zeros(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\n" + b"\0" * 5000 + b"end of two\n" + b"\0three\n")
    fsio.append(path, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    path.write_bytes(b"\0one\n")
    fsio.append(path, b"one\n")
    assert path.read_bytes() == b"one\n"


def test_failed_append_leaves_no_tail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    fsio.append(path, b"one\n")
    write = os.write
    calls = []

    def full(handle: int, data: bytes) -> int:
        calls.append(data)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "full")
        return write(handle, bytes(data)[:2])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DiskFailed):
        fsio.append(path, b"two\n")
    monkeypatch.undo()
    assert path.read_bytes() == b"one\n"


def test_links_are_not_followed_by_logs(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DiskFailed):
        fsio.append(tmp_path / "log", b"one\n")
    assert not (tmp_path / "elsewhere").exists()


def test_remove_touch_and_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    fsio.make_folder(path.parent)
    assert not fsio.touch(path)
    assert not fsio.remove(path)
    assert fsio.files_in(tmp_path / "nowhere") == []
    fsio.replace(path, b"")
    (path.parent / ".tmp-1-2").touch()
    assert fsio.files_in(path.parent) == ["file"]
    assert fsio.touch(path)
    assert fsio.remove(path)
    assert fsio.read(path) is None


def test_every_refusal_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DiskFailed):
        fsio.read(tmp_path / "folder")
    with pytest.raises(DiskFailed):
        fsio.remove(tmp_path / "folder")
    with pytest.raises(DiskFailed):
        fsio.make_folder(tmp_path / "file" / "below")
    assert fsio.files_in(tmp_path / "file") == []
    with pytest.raises(DiskFailed), locks.hold(tmp_path / "folder"):
        pass
    with pytest.raises(DiskFailed):
        fsio.move_folder(tmp_path / "nothing", tmp_path / "target")
    with pytest.raises(DiskFailed):
        fsio.install(tmp_path / "nothing", tmp_path / "target")
    for name, error in (("listdir", errno.EIO), ("utime", errno.EPERM)):
        monkeypatch.setattr(os, name, failing(1, getattr(os, name), error))
    with pytest.raises(DiskFailed):
        fsio.files_in(tmp_path)
    assert fsio.touch(tmp_path / "file")


def test_move_folder_takes_no_used_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "below").mkdir(parents=True)
    assert not fsio.move_folder(tmp_path / "one", tmp_path / "two")
    assert fsio.move_folder(tmp_path / "one", tmp_path / "three")


def test_install_puts_a_foreign_file_in_place(tmp_path: Path) -> None:
    (tmp_path / "made").write_bytes(b"new")
    (tmp_path / "target").write_bytes(b"old")
    fsio.install(tmp_path / "made", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["target"]


HOLDER = """
import sys
from pathlib import Path
from registry import locks
with locks.hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_lock_is_busy_while_held_and_free_once_its_holder_is_killed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=os.getcwd()
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockBusy) as caught, locks.hold(lock, timeout_s=0.05):
            pass
        assert caught.value.path == lock
        holder.kill()
        holder.wait()
    started = time.monotonic()
    with locks.hold(lock):
        assert time.monotonic() - started < 5
