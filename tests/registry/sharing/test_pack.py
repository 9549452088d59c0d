"""Packs bring back the same bytes, an object at a time, and whatever was changed in one is refused and named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry import envelope
from registry.errors import ObjectCorrupt, UnknownFormat
from registry.objects import Blob
from registry.repository import Repository
from registry.sharing import pack
from registry.sharing.inventory import to_send
from registry.sharing.pack import Entry, Index, PackCorrupt, opened, pack_of, parse_index, split, unpacked
from tests.registry.making import DIGEST
from tests.registry.sharing.making import lineage, objects


@pytest.fixture
def source(tmp_path):
    return lineage(tmp_path / "dogs")


def index_of(repository: Repository) -> Index:
    return Index(3, tuple(to_send(repository, repository.branches().values(), ())))


def whole(repository: Repository, index: Index) -> bytes:
    return b"".join(pack_of(index, repository.objects.sealed))


def read(index: Index, data: bytes) -> dict[str, bytes]:
    found = {}
    for entry, content in unpacked(index, [data]):
        opened(entry, content, index.name)
        found[entry.object_id] = content
    return found


def test_a_pack_brings_back_the_same_files(source: Repository) -> None:
    index = index_of(source)
    data = whole(source, index)
    assert len(data) == index.pack_bytes
    assert parse_index(index.name, index.encoded) == index
    assert read(index, data) == objects(source)


def test_everything_comes_before_what_needs_it(source: Repository) -> None:
    seen: set[str] = set()
    for entry in index_of(source).entries:
        assert seen.issuperset(source.objects.load(entry.object_id).links())
        seen.add(entry.object_id)


def test_the_same_objects_make_the_same_name(source: Repository) -> None:
    assert index_of(source).name == index_of(Repository(source.root)).name


def test_pieces_of_any_size_are_the_same_pack(source: Repository) -> None:
    index = index_of(source)
    data = whole(source, index)
    pieces = [data[at : at + 7] for at in range(0, len(data), 7)]
    assert {entry.object_id: content for entry, content in unpacked(index, pieces)} == objects(source)


def test_no_more_than_an_object_and_a_piece_is_in_memory(source: Repository) -> None:
    index = index_of(source)
    data = whole(source, index)
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        for at in range(0, len(data), 64):
            taken += 64
            yield data[at : at + 64]

    given = 0
    for entry, content in unpacked(index, pieces()):
        given += len(content) + len(f"{entry.object_id} {entry.size}\n")
        assert taken - given < 128 + len("cns-pack 1 99\n")


@pytest.mark.parametrize("step", [1, 97])
def test_no_changed_byte_of_a_pack_passes(source: Repository, step: int) -> None:
    index = index_of(source)
    if step == 1:  # every byte of two objects
        index = Index(1, index.entries[:2])
    data = bytearray(whole(source, index))
    for at in range(0, len(data), step):
        data[at] ^= 1
        with pytest.raises((PackCorrupt, UnknownFormat)):
            read(index, bytes(data))
        data[at] ^= 1


def test_a_damaged_object_is_named(source: Repository) -> None:
    index = index_of(source)
    data = bytearray(whole(source, index))
    data[-1] ^= 1
    with pytest.raises(PackCorrupt) as refused:
        read(index, bytes(data))
    last = index.entries[-1]
    assert refused.value.object_id == last.object_id
    assert last.object_id[:10] in refused.value.message
    assert last.kind in refused.value.message


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b""])
def test_a_pack_of_another_length_is_refused(source: Repository, change) -> None:
    index = index_of(source)
    with pytest.raises(PackCorrupt):
        read(index, change(whole(source, index)))


def test_an_object_that_was_announced_as_another_kind_is_refused(source: Repository) -> None:
    entry = next(one for one in index_of(source).entries if one.kind == "tree")
    with pytest.raises(PackCorrupt, match="it is a tree and was announced as a blob"):
        opened(entry._replace(kind="blob"), source.objects.sealed(entry.object_id), DIGEST)


def test_the_content_of_another_object_is_refused(source: Repository) -> None:
    one, other = [entry for entry in index_of(source).entries if entry.kind == "blob"][:2]
    with pytest.raises(PackCorrupt, match="another hash"):
        opened(one, source.objects.sealed(other.object_id), DIGEST)


def test_an_object_that_is_not_canonical_is_refused() -> None:
    payload = b'{"concepts": {}}'
    from registry.objects import object_id

    entry = Entry(object_id("tree", payload), "tree", 1)
    with pytest.raises(PackCorrupt, match="canonical"):
        opened(entry, envelope.seal("tree", payload), DIGEST)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text + b"\n",
        lambda text: text.replace(b"index 1 3", b"index 1 0"),
        lambda text: text.replace(b"index 1 3", b"index 1 03"),
        lambda text: text.replace(b" blob ", b" blob  ", 1),
        lambda text: text + text.splitlines(keepends=True)[1],
        lambda text: text.replace(b"index 1 3", b"index 1 9999999999"),
        lambda text: text.replace(b" blob ", b" blob 9999999", 1),
        lambda text: b"",
    ],
)
def test_an_index_in_another_form_is_refused(source: Repository, change) -> None:
    import hashlib

    text = change(index_of(source).encoded)
    with pytest.raises(PackCorrupt):
        parse_index(hashlib.sha256(text).hexdigest(), text)


def test_an_index_that_does_not_hash_to_its_name_is_refused(source: Repository) -> None:
    with pytest.raises(PackCorrupt, match="another hash than its name"):
        parse_index(DIGEST, index_of(source).encoded)


@pytest.mark.parametrize(("old", "new"), [(b"cns-index 1", b"cns-index 2"), (b" blob ", b" cloud ")])
def test_a_newer_format_is_refused_as_such(source: Repository, old: bytes, new: bytes) -> None:
    import hashlib

    text = index_of(source).encoded.replace(old, new, 1)
    with pytest.raises(UnknownFormat):
        parse_index(hashlib.sha256(text).hexdigest(), text)


def test_packs_are_split_by_size_and_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [Entry(f"{number:064x}", "blob", 10) for number in range(10)]
    monkeypatch.setattr(pack, "PACK_BYTES", 35)
    packs = list(split(entries, 5))
    assert [(one.round, len(one.entries)) for one in packs] == [(5, 3), (6, 3), (7, 3), (8, 1)]
    monkeypatch.setattr(pack, "MOST_OBJECTS", 2)
    assert [len(one.entries) for one in split(entries, 1)] == [2] * 5
    assert [entry for one in packs for entry in one.entries] == entries


def test_a_damaged_file_is_not_packed(source: Repository) -> None:
    blob = source.objects.put(Blob(b"x" * 100))
    path = source.objects.path(blob)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ObjectCorrupt):
        whole(source, Index(1, (Entry(blob, "blob", path.stat().st_size),)))
