"""Refs, HEAD and the reflog: every flipped bit is seen, every move is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import registry.reflog as module
from registry.errors import BadName, RefCorrupt, RefMoved
from registry.reflog import Reflog, ReflogEntry
from registry.refs import HEADS, NAMESPACES, TAGS, Refs, check_line, read_checked_line
from tests.registry.making import DIGEST, OTHER

MAIN = HEADS + "main"
THIRD = "c" * 64


@pytest.fixture
def refs(tmp_path: Path) -> Refs:
    return Refs(tmp_path)


@pytest.fixture
def logs(tmp_path: Path) -> Reflog:
    return Reflog(tmp_path / "logs")


def test_swap_moves_only_from_the_expected_value(refs: Refs) -> None:
    refs.compare_and_swap(MAIN, None, DIGEST)
    with pytest.raises(RefMoved) as caught:
        refs.compare_and_swap(MAIN, OTHER, THIRD)
    assert (caught.value.name, caught.value.expected, caught.value.found) == (MAIN, OTHER, DIGEST)
    with pytest.raises(RefMoved):
        refs.compare_and_swap(MAIN, None, THIRD)
    assert refs.get(MAIN) == DIGEST
    refs.compare_and_swap(MAIN, DIGEST, DIGEST)
    refs.compare_and_swap(MAIN, DIGEST, OTHER)
    assert refs.get(MAIN) == OTHER
    refs.compare_and_swap(MAIN, OTHER, None)
    assert refs.get(MAIN) is None


def test_refs_are_listed_by_namespace(refs: Refs) -> None:
    names = [HEADS + "Main", MAIN, HEADS + "a/b", TAGS + "v1.0"]
    for name in names:
        refs.compare_and_swap(name, None, DIGEST)
    (refs.folder / "refs/heads/.tmp-1-2").write_text("x")
    (refs.folder / "refs/heads/NOTES").write_text("x")
    assert refs.names(HEADS) == sorted(names[:3])
    assert refs.all(TAGS) == {TAGS + "v1.0": DIGEST}
    assert refs.all(*NAMESPACES) == dict.fromkeys(names, DIGEST)


@pytest.mark.parametrize("name", ["main", "refs/heads/", "refs/heads/../x", "refs/other/x", "HEAD"])
def test_other_names_are_no_refs(refs: Refs, name: str) -> None:
    with pytest.raises(BadName):
        refs.get(name)


def test_head_is_on_a_branch_or_detached(refs: Refs) -> None:
    refs.set_head(ref=MAIN)
    assert refs.head() == (MAIN, None)
    refs.set_head(commit=DIGEST)
    assert refs.head() == (None, DIGEST)


def test_missing_head_is_corrupt(refs: Refs) -> None:
    with pytest.raises(RefCorrupt):
        refs.head()


def flips(content: bytes) -> list[bytes]:
    changed = [bytearray(content) for _ in range(len(content) * 8)]
    for bit, flipped in enumerate(changed):
        flipped[bit // 8] ^= 1 << bit % 8
    return [*map(bytes, changed), content[:-1], content + b"x", b"", content * 2]


@pytest.mark.parametrize(("name", "text"), [(MAIN, DIGEST), ("HEAD", f"ref: {MAIN}"), ("HEAD", f"commit: {DIGEST}")])
def test_every_single_bit_flip_is_seen(name: str, text: str) -> None:
    line = check_line(name, text)
    assert read_checked_line(name, line) == text
    assert [changed for changed in flips(line) if read_checked_line(name, changed) is not None] == []


@pytest.mark.parametrize("change", [lambda line: line[:-1], lambda line: b"", lambda line: b"x" + line[1:]])
def test_damaged_line_is_refused(refs: Refs, change: Callable[[bytes], bytes]) -> None:
    refs.compare_and_swap(MAIN, None, DIGEST)
    refs.set_head(ref=MAIN)
    for path, read in ((refs.path(MAIN), lambda: refs.get(MAIN)), (refs.folder / "HEAD", refs.head)):
        path.write_bytes(change(path.read_bytes()))
        with pytest.raises(RefCorrupt) as caught:
            read()
        assert caught.value.path == path


@pytest.mark.parametrize("text", ["ref: refs/tags/x", "ref: main", "commit: abc", "else: x", "x"])
def test_checked_head_that_means_nothing_is_corrupt(refs: Refs, text: str) -> None:
    (refs.folder / "HEAD").write_bytes(check_line("HEAD", text))
    with pytest.raises(RefCorrupt):
        refs.head()


def test_ref_copied_over_another_is_seen(refs: Refs) -> None:
    refs.compare_and_swap(MAIN, None, DIGEST)
    refs.path(HEADS + "other").write_bytes(refs.path(MAIN).read_bytes())
    with pytest.raises(RefCorrupt):
        refs.get(HEADS + "other")


def entry(old: str | None, new: str | None, message: str = "m") -> ReflogEntry:
    return ReflogEntry(old, new, "Ada", 5, message)


def test_reflog_is_read_newest_first(logs: Reflog) -> None:
    entries = [entry(None, DIGEST), entry(DIGEST, OTHER, "line\nbreak ü"), entry(OTHER, None)]
    for one in entries:
        logs.append(MAIN, one)
    assert logs.read(MAIN, None) == entries[::-1]
    assert logs.read(HEADS + "none", None) == []


def test_move_that_never_came_is_left_out(logs: Reflog) -> None:
    logs.append("HEAD", entry(None, DIGEST))
    logs.append("HEAD", entry(DIGEST, THIRD, "killed before the ref moved"))
    assert [one.new for one in logs.read("HEAD", DIGEST)] == [DIGEST]
    logs.append("HEAD", entry(DIGEST, OTHER))
    assert [one.new for one in logs.read("HEAD", OTHER)] == [OTHER, DIGEST]


def test_every_single_bit_flip_of_the_reflog_is_seen(logs: Reflog) -> None:
    logs.append(MAIN, entry(None, DIGEST))
    logs.append(MAIN, entry(DIGEST, OTHER))
    path = logs.path(MAIN)
    content = path.read_bytes()
    assert logs.damaged(MAIN) == []
    line = content.splitlines()[1]
    assert module._parse(MAIN, line) == entry(DIGEST, OTHER)
    assert [changed for changed in flips(line) if module._parse(MAIN, changed) is not None] == []
    for changed, damaged in ((content[:9] + b"x" + content[10:], [1]), (content[:-1], [2]), (content[:-5], [2])):
        path.write_bytes(changed)
        assert logs.damaged(MAIN) == damaged


def test_checked_line_of_another_shape_is_damaged(logs: Reflog) -> None:
    logs.append(MAIN, entry(None, DIGEST))
    for text in (b'{"a":1}', b"[]", b"5", b'{"author":"","message":"","new":"x","old":null,"time":0}'):
        with logs.path(MAIN).open("ab") as file:
            file.write(module._check(MAIN, text) + b" " + text + b"\n")
    assert logs.damaged(MAIN) == [2, 3, 4, 5]
    assert len(logs.read(MAIN, DIGEST)) == 1
