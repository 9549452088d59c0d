"""A lineage in one file: the same bytes for the same history, and nothing in it that is not as it says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry import canonical
from registry.errors import BadValue, RegistryError, UnknownFormat
from registry.refs import HEADS, TAGS
from registry.repository import Repository
from registry.sharing import bundle
from registry.sharing.bundle import BundleRemote
from registry.sharing.opening import open_remote
from registry.sharing.remote import RemoteReadOnly, RemoteUnavailable
from tests.registry.making import DIGEST, add, new_repository
from tests.registry.sharing.making import damage, fetch, lineage, objects, push


@pytest.fixture
def source(tmp_path: Path) -> Repository:
    return lineage(tmp_path / "dogs")


def written(repository: Repository, file: Path) -> bytes:
    bundle.create(repository, file, repository.refs.all(HEADS, TAGS))
    return file.read_bytes()


def test_what_goes_in_comes_out(source: Repository, tmp_path: Path) -> None:
    written(source, tmp_path / "x.bundle")
    other = new_repository(tmp_path / "other")
    remote = open_remote(str(tmp_path / "x.bundle"))
    came = fetch(other, remote)
    assert came.heads == source.branches()
    assert came.evaluations == 1
    assert {one: objects(source)[one] for one in objects(other)} == objects(other)
    assert damage(other) == []


def test_the_same_history_makes_the_same_bytes(source: Repository, tmp_path: Path) -> None:
    first = written(source, tmp_path / "x.bundle")
    other = new_repository(tmp_path / "other")
    fetch(other, BundleRemote(tmp_path / "x.bundle"))
    for name, commit in source.branches().items():
        if name not in other.branches():
            other.create_branch(name, commit)
    other.move(source.branches()["main"], message="m", author="a")
    assert written(other, tmp_path / "y.bundle") == first


def test_a_whole_bundle_is_verified(source: Repository, tmp_path: Path) -> None:
    written(source, tmp_path / "x.bundle")
    found = bundle.verify(BundleRemote(tmp_path / "x.bundle"))
    assert found.refs == source.refs.all(HEADS, TAGS)
    assert (found.objects, found.size_bytes > 8000) == (37, True)


def test_no_flipped_bit_passes(source: Repository, tmp_path: Path) -> None:
    file = tmp_path / "x.bundle"
    data = bytearray(written(source, file))
    for at in range(0, len(data), 61):
        data[at] ^= 4
        file.write_bytes(data)
        with pytest.raises(RegistryError):
            bundle.verify(BundleRemote(file))
        data[at] ^= 4


@pytest.mark.parametrize("size", [0, 10, 500, -1])
def test_a_cut_bundle_is_refused(source: Repository, tmp_path: Path, size: int) -> None:
    file = tmp_path / "x.bundle"
    file.write_bytes(written(source, file)[:size])
    with pytest.raises(RemoteUnavailable):
        BundleRemote(file)


def test_a_bundle_that_lacks_a_commit_is_refused(source: Repository, tmp_path: Path) -> None:
    file = tmp_path / "x.bundle"
    bundle.create(source, file, {HEADS + "main": source.resolve("main~1")})
    data = file.read_bytes()
    file.write_bytes(data.replace(source.resolve("main~1").encode(), source.resolve("main").encode(), 1))
    with pytest.raises(RemoteUnavailable, match="it lacks commit"):
        bundle.verify(BundleRemote(file))


def test_a_newer_bundle_is_refused_as_such(source: Repository, tmp_path: Path) -> None:
    file = tmp_path / "x.bundle"
    file.write_bytes(written(source, file).replace(b"cns-bundle 1", b"cns-bundle 2", 1))
    with pytest.raises(UnknownFormat):
        BundleRemote(file)


@pytest.mark.parametrize(
    "head",
    [
        [],
        {"refs": {}},
        {"refs": {"refs/evaluations/x": DIGEST}, "packs": []},
        {"refs": {"refs/heads/../x": DIGEST}, "packs": []},
        {"refs": {"refs/heads/x": "main"}, "packs": []},
        {"refs": {}, "packs": 5},
        {"refs": {}, "packs": [[DIGEST, 1]]},
        {"refs": {}, "packs": [[DIGEST, 1, -5]]},
        {"refs": {}, "packs": [[DIGEST, 1, 2**60]]},
        {"refs": {}, "packs": [[DIGEST, 1, 1], [DIGEST, 1, 1]]},
    ],
    ids=str,
)
def test_a_head_in_another_form_is_refused(head: object) -> None:
    with pytest.raises(BadValue):
        bundle.parse_head(canonical.encode(head), 0)


def test_a_bundle_is_written_as_a_whole(source: Repository, tmp_path: Path) -> None:
    file = tmp_path / "x.bundle"
    before = written(source, file)
    delta = next(iter(source.concepts(source.tree_of("main")).values())).delta
    path = source.objects.path(delta)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(RegistryError):
        written(source, file)
    assert file.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["dogs", "x.bundle"]


def test_nothing_is_sent_to_a_bundle(source: Repository, tmp_path: Path) -> None:
    written(source, tmp_path / "x.bundle")
    add(source, "kim")
    with pytest.raises(RemoteReadOnly):
        push(source, BundleRemote(tmp_path / "x.bundle"))
