"""Object stores: one suite of promises that each of them keeps, and what only the disk can suffer."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from registry import envelope
from registry.errors import BadValue, ObjectCorrupt, ObjectMissing, UnknownFormat, WrongKind
from registry.objects import Blob, Commit, Record, Tree, object_id
from registry.store import DiskStore, ObjectStore
from tests.registry.making import DIGEST, MemoryStore, base, one_of_each


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return MemoryStore() if request.param == "memory" else DiskStore.create(tmp_path / "objects")


@pytest.fixture
def disk(tmp_path: Path) -> DiskStore:
    return DiskStore.create(tmp_path / "objects")


class TestEveryStore:
    def test_what_was_put_comes_back_equal(self, store: ObjectStore) -> None:
        for obj in one_of_each(MemoryStore()):
            new = store.put(obj)
            assert store.get(new, type(obj)) == obj == store.load(new)
            assert new == object_id(obj.object_kind, obj.payload())
            assert store.kind_of(new) == obj.object_kind
            assert store.has(new)

    def test_putting_twice_is_putting_once(self, store: ObjectStore) -> None:
        assert store.put(Blob(b"x")) == store.put(Blob(b"x"))
        assert len(list(store.ids())) == 1

    def test_ids_are_sorted_and_filtered_by_prefix(self, store: ObjectStore) -> None:
        wanted = sorted(store.put(Blob(bytes([number]))) for number in range(40))
        assert list(store.ids()) == wanted
        for prefix in ("", "a", wanted[3][:2], wanted[3][:9], wanted[3], "zz"):
            assert list(store.ids(prefix)) == [known for known in wanted if known.startswith(prefix)]

    def test_missing_object_is_named(self, store: ObjectStore) -> None:
        assert not store.has(DIGEST)
        with pytest.raises(ObjectMissing) as caught:
            store.get(DIGEST, Tree)
        assert (caught.value.object_id, caught.value.expected) == (DIGEST, "tree")
        with pytest.raises(ObjectMissing):
            store.kind_of(DIGEST)

    @pytest.mark.parametrize("wanted", ["", "../../etc/passwd", "A" * 64, "a" * 63])
    def test_what_is_no_id_is_missing(self, store: ObjectStore, wanted: str) -> None:
        assert not store.has(wanted)
        with pytest.raises(ObjectMissing):
            store.read(wanted)

    def test_other_kind_is_refused(self, store: ObjectStore) -> None:
        new = store.put(Blob(b"x"))
        with pytest.raises(WrongKind) as caught:
            store.get(new, Commit)
        assert (caught.value.found, caught.value.expected) == ("blob", "commit")

    def test_raw_payloads_travel(self, store: ObjectStore) -> None:
        other = MemoryStore()
        for obj in one_of_each(store):
            kind, payload = store.read(store.put(obj))
            assert other.write(kind, payload) == store.put(obj)

    @pytest.mark.parametrize(("kind", "payload"), [("tree", b"{}"), ("tree", b"{ }"), ("commit", b"\xff")])
    def test_payload_that_is_no_object_is_refused(self, store: ObjectStore, kind: str, payload: bytes) -> None:
        with pytest.raises(BadValue):
            store.write(kind, payload)
        assert list(store.ids()) == []

    def test_blob_may_be_empty_or_large(self, store: ObjectStore) -> None:
        for data in (b"", os.urandom(3_000_000)):
            assert store.get(store.put(Blob(data)), Blob).data == data

    def test_value_that_cannot_be_stored_is_refused(self, store: ObjectStore) -> None:
        with pytest.raises(BadValue):
            store.put(Record({"loss": float("nan")}))


def damaged(disk: DiskStore, obj: Any, change: Callable[[bytes], bytes]) -> str:
    new = disk.put(obj)
    path = disk.path(new)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(change(content))
    return new


def refused(disk: DiskStore, wanted: str) -> bool:
    try:
        disk.load(wanted)
    except (ObjectCorrupt, UnknownFormat):
        return True
    return False


@pytest.mark.parametrize("number", range(9))
def test_every_single_bit_flip_is_seen(number: int) -> None:
    obj = one_of_each(MemoryStore())[number]
    content = envelope.seal(obj.object_kind, obj.payload())
    for bit in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((ObjectCorrupt, UnknownFormat)):
            envelope.unseal(DIGEST, bytes(flipped))
    assert envelope.unseal(DIGEST, content) == (obj.object_kind, obj.payload())


def test_every_truncation_is_seen() -> None:
    content = envelope.seal("blob", bytes(range(256)) * 3)
    for changed in [*(content[:length] for length in range(len(content))), content + b"x"]:
        with pytest.raises(ObjectCorrupt):
            envelope.unseal(DIGEST, changed)


@pytest.mark.parametrize(
    "change", [lambda c: c[:-1], lambda c: c + b"x", lambda c: b"", lambda c: c[:30] + b"!" + c[31:]]
)
def test_damaged_file_is_refused_by_every_read(disk: DiskStore, change: Callable[[bytes], bytes]) -> None:
    wanted = damaged(disk, Blob(b"some bytes" * 20), change)
    with pytest.raises(ObjectCorrupt) as caught:
        disk.get(wanted, Blob)
    assert caught.value.object_id == wanted
    assert caught.value.hint


def test_file_of_another_object_is_seen(disk: DiskStore) -> None:
    other = envelope.seal("blob", b"other")
    wanted = damaged(disk, Blob(b"mine"), lambda _: other)
    with pytest.raises(ObjectCorrupt, match="another hash") as caught:
        disk.read(wanted)
    assert caught.value.object_id == wanted


def test_hash_that_matches_what_is_no_object_is_corrupt(disk: DiskStore) -> None:
    payload = b'{"base":"no id","concepts":{}}'
    wanted = object_id("tree", payload)
    path = disk.path(wanted)
    path.write_bytes(envelope.seal("tree", payload))
    with pytest.raises(ObjectCorrupt, match=r"tree\.base"):
        disk.get(wanted, Tree)


def sealed(kind: str, size: int, frame: bytes, version: int = 1) -> bytes:
    head = f"cns-object {version} {kind} {size} ".encode()
    return head + envelope._check(head, frame) + b"\n" + frame


@pytest.mark.parametrize(
    ("kind", "size", "frame"),
    [
        ("blob", 10, zstandard.compress(b"\0" * 10**7)),  # a bomb: the frame holds more than the header says
        ("blob", 10**12, zstandard.compress(b"\0" * 10)),
        ("tree", 10**9, zstandard.compress(b"\0" * 10)),
        ("blob", 10, zstandard.ZstdCompressor(write_content_size=False).compress(b"\0" * 10)),
        ("blob", 10, zstandard.compress(b"\0" * 10) + zstandard.compress(b"\0" * 10**6)),
        ("blob", 10, b"no zstd"),
        ("blob", 10, b""),
    ],
)
def test_declared_size_caps_decompression(kind: str, size: int, frame: bytes) -> None:
    with pytest.raises(ObjectCorrupt):
        envelope.unseal(DIGEST, sealed(kind, size, frame))


def test_newer_envelope_is_refused_untouched(disk: DiskStore) -> None:
    newer = sealed("blob", 1, b"x", version=2)
    wanted = damaged(disk, Blob(b"x"), lambda _: newer)
    with pytest.raises(UnknownFormat):
        disk.read(wanted)
    assert disk.path(wanted).read_bytes() == newer


def test_too_large_is_refused_before_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "MAX_JSON_BYTES", 100)
    with pytest.raises(BadValue, match="at most 100 bytes"):
        MemoryStore().put(Record({"a": "x" * 100}))


@given(st.binary(max_size=200))
def test_any_content_is_refused_or_right(content: bytes) -> None:
    with pytest.raises((ObjectCorrupt, UnknownFormat)):
        envelope.unseal(DIGEST, content)


def test_putting_a_damaged_object_again_heals_it(disk: DiskStore) -> None:
    wanted = damaged(disk, Blob(b"x" * 100), lambda content: content[:-3])
    assert refused(disk, wanted)
    assert disk.put(Blob(b"x" * 100)) == wanted
    assert disk.get(wanted, Blob).data == b"x" * 100


def test_putting_again_refreshes_the_time(disk: DiskStore) -> None:
    path = disk.path(disk.put(Blob(b"x")))
    os.utime(path, (1, 1))
    disk.put(Blob(b"x"))
    assert path.stat().st_mtime > 1_000_000


def test_stored_files_are_read_only_and_foreign_files_ignored(disk: DiskStore) -> None:
    path = disk.path(disk.put(Blob(b"x")))
    assert not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP)
    (disk.folder / "README").write_text("x")
    (disk.folder / "ab" / ".tmp-1-2").write_text("x")
    (disk.folder / "ab" / "zz").write_text("x")
    assert len(list(disk.ids())) == 1


def test_store_without_its_folders_makes_them(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path / "nothing" / "objects")
    assert list(disk.ids()) == []
    new = disk.put(base())
    assert list(disk.ids()) == [new]


def test_what_is_no_plain_file_is_no_object(disk: DiskStore) -> None:
    new = disk.put(Blob(b"x"))
    disk.path(new).unlink()
    disk.path(new).mkdir()
    for read in (disk.read, disk.kind_of):
        with pytest.raises(ObjectCorrupt, match="no regular file"):
            read(new)
