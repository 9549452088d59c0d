"""Who waits for a lock is told soon for whom; who gives up says whom it waited for (issue 18)."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from registry import locks
from registry.errors import LockBusy


def test_the_holder_is_named_once_while_one_waits_and_in_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SILENT_S", 0.02)
    told: list[str] = []
    locks.tell(told.append)
    try:
        with locks.hold(tmp_path / "lock"), pytest.raises(LockBusy) as caught, locks.hold(tmp_path / "lock", 0.1):
            pass
    finally:
        locks.tell(lambda _: None)
    (said,) = told
    assert "waiting for" in said
    assert str(tmp_path / "lock") in said
    if locks.LOCKS.exists():
        assert f"process {os.getpid()} (" in said
        assert f"process {os.getpid()} (" in caught.value.message
        assert caught.value.holder


def test_a_lock_that_is_soon_free_is_taken_without_a_word(tmp_path: Path) -> None:
    told: list[str] = []
    locks.tell(told.append)
    free = threading.Event()

    def hold() -> None:
        with locks.hold(tmp_path / "lock"):
            free.set()

    other = threading.Thread(target=hold)
    other.start()
    free.wait()
    with locks.hold(tmp_path / "lock"):
        pass
    other.join()
    locks.tell(lambda _: None)
    assert not told


def test_who_does_not_wait_is_told_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    locks.tell(told.append)
    with locks.hold(tmp_path / "lock"), pytest.raises(LockBusy), locks.hold(tmp_path / "lock", timeout_s=0):
        pass
    locks.tell(lambda _: None)
    assert not told
