"""The same over S3: a server in a process of its own, and the real client."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.sharing.opening import open_remote
from registry.sharing.remote import RemoteUnavailable
from tests.registry.making import DIGEST, OTHER, add, new_repository
from tests.registry.sharing.making import damage, fetch, lineage, objects, push
from tests.registry.sharing.racing import race
from tests.registry.sharing.s3 import s3_server
from tests.registry.sharing.test_folder import MAIN, move

# Clients that are left to the garbage collector close their connections there, and say so.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*unclosed.*:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="session")
def store() -> Iterator[dict[str, str]]:
    with s3_server() as variables:
        yield variables


@pytest.fixture
def address(store: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A folder of its own in a new bucket."""
    import s3fs

    for name, value in store.items():
        monkeypatch.setenv(name, value)
    bucket = f"b{abs(hash(request.node.name)):x}"
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(bucket)
    return f"s3://{bucket}/studio"


def test_a_lineage_goes_there_and_back(address: str, tmp_path: Path) -> None:
    ann, bob = lineage(tmp_path / "ann"), new_repository(tmp_path / "bob")
    sent = push(ann, open_remote(address))
    assert push(ann, open_remote(address)).objects == 0
    came = fetch(bob, open_remote(address))
    assert came.heads == ann.branches()
    assert objects(bob) == {one: objects(ann)[one] for one in objects(bob)}
    assert came.size_bytes == sent.size_bytes
    assert damage(bob) == []


def test_a_reader_sees_what_was_written_since_it_looked(address: str, tmp_path: Path) -> None:
    """s3fs keeps listings for the life of a process: a new object is not found by its exact name, unless told."""
    ann, bob = lineage(tmp_path / "ann"), new_repository(tmp_path / "bob")
    reader, writer = open_remote(address), open_remote(address)
    assert reader.moves() == []
    assert reader.packs() == []
    push(ann, writer)
    fetch(bob, reader)
    commit = add(ann, "kim").id
    push(ann, writer)
    fetch(bob, reader)
    assert bob.resolve("origin/main") == commit


def test_the_store_itself_lets_one_of_two_writers_be_first(address: str) -> None:
    ann, bob = open_remote(address), open_remote(address)
    assert ann.append(move(None, DIGEST, 1))
    assert not bob.append(move(None, OTHER, 2))
    assert bob.append(move(DIGEST, OTHER, 3))
    assert [one.new for one in ann.moves()] == [DIGEST, OTHER]


def test_a_store_without_conditions_is_read_only(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a server that takes `If-None-Match` for a header that it need not know."""
    from registry.sharing.remote import RemoteReadOnly

    remote = open_remote(address)
    put = remote._files.pipe_file  # type: ignore[attr-defined]
    monkeypatch.setattr(remote._files, "pipe_file", lambda path, data, mode="": put(path, data))  # type: ignore[attr-defined]
    with pytest.raises(RemoteReadOnly):
        remote.append(move(None, DIGEST))
    assert open_remote(address).moves() == []


def test_two_who_push_at_once_lose_nothing(address: str, store: dict[str, str], tmp_path: Path) -> None:
    merges = race(tmp_path, address, 4, os.environ | store)
    assert merges > 0


def test_a_pack_is_removed(address: str, tmp_path: Path) -> None:
    remote = open_remote(address)
    push(lineage(tmp_path / "ann"), remote)
    for pack in remote.packs():
        remote.remove(pack)
    assert open_remote(address).packs() == []


def test_errors_name_the_store_and_no_key(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RemoteUnavailable, match="s3://nobucket/x: FileNotFoundError"):
        push(lineage(tmp_path / "ann"), open_remote("s3://nobucket/x"))
    push(lineage(tmp_path / "bob"), open_remote(address))
    remote = open_remote(address)
    remote.append(move(None, DIGEST, 9, "refs/tags/x"))
    remote._files.pipe_file(remote._path("log/00000005"), b"x" * 100_000)  # type: ignore[attr-defined]
    with pytest.raises(RemoteUnavailable, match="more than 65,536 bytes"):
        remote.moves()
    assert MAIN
