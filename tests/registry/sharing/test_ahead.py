from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from registry.sharing.ahead import PIECES, read_ahead


def test_pieces_keep_their_order_and_are_all_there() -> None:
    sent = [bytes([n % 256]) * n for n in range(3 * PIECES)]
    assert list(read_ahead(iter(sent))) == sent
    assert list(read_ahead(())) == []


def test_the_next_pieces_are_read_while_one_is_worked_on() -> None:
    """The second one is there without having been asked for."""
    read = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield b"one"
        read.set()
        yield b"two"

    ahead = read_ahead(pieces())
    assert next(ahead) == b"one"
    assert read.wait(timeout=30)
    assert list(ahead) == [b"two"]


def test_an_error_comes_where_its_piece_would_have_come() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"one"
        raise OSError("the line is cut")

    ahead = read_ahead(pieces())
    assert next(ahead) == b"one"
    with pytest.raises(OSError, match="the line is cut"):
        next(ahead)


def test_whoever_stops_early_leaves_no_thread_that_reads_on() -> None:
    read: list[int] = []
    ended = threading.Event()

    def pieces() -> Iterator[bytes]:
        try:
            for number in range(10**6):
                read.append(number)
                yield b"x"
        finally:
            ended.set()

    ahead = read_ahead(pieces())
    next(ahead)
    ahead.close()
    assert ended.wait(timeout=30)
    assert len(read) < 10**6
