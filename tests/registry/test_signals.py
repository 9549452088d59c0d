"""Signals that are held back arrive, once, at the end; nothing of the program's own handlers is changed for good."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from registry.repository import Repository
from registry.signals import held
from tests.registry.making import add


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    after = {number: signal.getsignal(number) for number in before}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert after == before


def interrupted(times: int, patience: int | None = None) -> list[int]:
    """Send so many signals within a block, and return which of them the block survived."""
    survived: list[int] = []

    def block() -> None:
        with held(patience):
            for number in range(times):
                signal.raise_signal(signal.SIGINT)
                survived.append(number)

    with pytest.raises(KeyboardInterrupt):
        block()
    return survived


def test_held_signals_come_once_at_the_end() -> None:
    assert interrupted(3) == [0, 1, 2]


def test_patience_lets_the_next_one_through() -> None:
    assert interrupted(3, patience=1) == [0]


def test_without_a_signal_nothing_happens() -> None:
    with held():
        pass


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with held():
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_error_of_the_block_is_not_hidden_by_nothing() -> None:
    with pytest.raises(ZeroDivisionError), held():
        raise ZeroDivisionError


def test_other_threads_hold_nothing() -> None:
    done: list[bool] = []

    def work() -> None:
        with held():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done


def test_ctrl_c_within_the_lock_lets_the_commit_be(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two in a row, in the middle of it: the branch has moved when the interruption comes out."""
    swap = repository.refs.compare_and_swap

    def interrupting(name: str, old: str | None, new: str | None) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        swap(name, old, new)

    monkeypatch.setattr(repository.refs, "compare_and_swap", interrupting)
    with pytest.raises(KeyboardInterrupt):
        add(repository, "rex")
    again = Repository(repository.root)
    assert "rex" in again.tree_of("HEAD").concepts
    assert again.reflog("HEAD")[0].new == again.head().commit
    add(again, "tom")
