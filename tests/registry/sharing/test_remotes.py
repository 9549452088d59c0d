"""Remotes by name: an address that came with a folder is not contacted, and none holds a password."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import pytest

from registry import trust
from registry.errors import BadName
from registry.mirror.remote import MlflowRemote
from registry.repository import Repository
from registry.sharing import remotes
from registry.sharing.folder import FolderRemote
from registry.sharing.fsspec_remote import FsspecRemote
from registry.sharing.opening import local_path, open_remote
from registry.sharing.remote import RemoteUnavailable
from registry.sharing.remotes import RemoteTaken, RemoteUntrusted, UnknownRemote
from tests.registry.sharing.making import WHO, fetch, lineage, push


def test_a_remote_is_named_and_found(repository: Repository) -> None:
    remotes.add(repository, "origin", "s3://bucket/studio")
    assert remotes.get(repository).address == "s3://bucket/studio"
    assert remotes.get(repository, "origin").here
    with pytest.raises(RemoteTaken):
        remotes.add(repository, "origin", "s3://other")
    remotes.set_address(repository, "origin", "s3://other")
    assert remotes.get(repository).address == "s3://other"


def test_the_only_one_or_origin_is_meant(repository: Repository) -> None:
    with pytest.raises(UnknownRemote) as none:
        remotes.get(repository)
    assert none.value.hint == "cns remote add origin URL"
    remotes.add(repository, "disk", "/mnt/x")
    assert remotes.get(repository).name == "disk"
    remotes.add(repository, "s3", "s3://x/y")
    with pytest.raises(UnknownRemote, match="disk, s3"):
        remotes.get(repository)
    remotes.add(repository, "origin", "s3://x/z")
    assert remotes.get(repository).name == "origin"


@pytest.mark.parametrize("name", ["", "a/b", "a.b", "-x", "..", "a b", "x" * 65])
def test_a_name_that_is_none_is_refused(repository: Repository, name: str) -> None:
    with pytest.raises(BadName):
        remotes.add(repository, name, "s3://x/y")
    assert remotes.named(repository) == {}


def test_a_path_is_kept_whole(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    remotes.add(repository, "disk", "../shared")
    assert remotes.get(repository).address == str((tmp_path / "../shared").resolve())


def test_an_address_that_came_with_a_copy_is_not_contacted(repository: Repository, tmp_path: Path) -> None:
    remotes.add(repository, "origin", "s3://evil/studio")
    shutil.copytree(repository.root, tmp_path / "received")
    received = Repository(tmp_path / "received")
    with pytest.raises(RemoteUntrusted) as refused:
        remotes.get(received)
    assert refused.value.hint == "cns remote set-url origin s3://evil/studio"
    assert not remotes.named(received)["origin"].here
    remotes.set_address(received, "origin", "s3://evil/studio")
    assert remotes.get(received).here


def test_an_address_that_was_edited_by_hand_is_not_contacted(repository: Repository) -> None:
    remotes.add(repository, "origin", "s3://bucket/studio")
    path = repository.folder / "config.toml"
    path.write_text(path.read_text().replace("bucket", "evil"))
    with pytest.raises(RemoteUntrusted):
        remotes.get(repository)


def test_a_trusted_folder_is_taken_at_its_word(repository: Repository, tmp_path: Path) -> None:
    remotes.add(repository, "origin", "s3://bucket/studio")
    shutil.copytree(repository.root, tmp_path / "received")
    trust.allow([tmp_path / "received"])
    try:
        assert remotes.get(Repository(tmp_path / "received")).here
    finally:
        trust.allow([])


def test_a_folder_that_is_moved_keeps_its_remotes(repository: Repository, tmp_path: Path) -> None:
    remotes.add(repository, "origin", "s3://bucket/studio")
    repository.root.rename(tmp_path / "moved")
    assert remotes.get(Repository(tmp_path / "moved")).here


@pytest.mark.parametrize(
    "settings", ["remote = 5", "[remote]\norigin = 5", "[remote.origin]\nurl = 5", "[remote]\n'a/b' = {url = 's3://x'}"]
)
def test_settings_of_any_form_are_borne(repository: Repository, settings: str) -> None:
    (repository.folder / "config.toml").write_text(settings)
    assert remotes.named(repository) == {}


def test_a_remote_is_forgotten_with_its_branches(tmp_path: Path) -> None:
    repository = lineage(tmp_path / "dogs")
    remotes.add(repository, "origin", str(tmp_path / "shared"))
    push(repository, FolderRemote(tmp_path / "shared"))
    fetch(repository, FolderRemote(tmp_path / "shared"))
    assert sorted(remotes.seen(repository, "origin")) == ["dev", "main"]
    remotes.remove(repository, "origin", **WHO)
    assert remotes.named(repository) == {}
    assert remotes.seen(repository, "origin") == {}
    assert repository.branches().keys() == {"dev", "main"}
    with pytest.raises(UnknownRemote):
        remotes.remove(repository, "origin", **WHO)


SECRET = [
    "https://ann:secret@host/mlflow#studio",
    "https://secret@host/mlflow#studio",
    "s3://key:secret@bucket/studio",
    "s3://bucket/studio?secret=1",
]


@pytest.mark.parametrize("address", SECRET)
def test_credentials_reach_no_settings_and_no_error(repository: Repository, address: str) -> None:
    for act in (open_remote, lambda one: remotes.add(repository, "origin", one)):
        with pytest.raises(RemoteUnavailable) as refused:
            act(address)
        assert "secret" not in refused.value.message + refused.value.hint
    assert "secret" not in (repository.folder / "config.toml").read_text()


def test_an_address_says_what_kind_of_remote_it_is(tmp_path: Path) -> None:
    assert isinstance(open_remote(str(tmp_path)), FolderRemote)
    assert isinstance(open_remote(tmp_path.as_uri()), FolderRemote)
    assert local_path("file:///a%20b") == Path("/a b")
    assert isinstance(open_remote("memory://x"), FsspecRemote)
    with pytest.raises(RemoteUnavailable, match="another machine"):
        open_remote("file://host/x")
    assert isinstance(open_remote("https://mlflow.example.org#studio"), MlflowRemote)
    assert isinstance(open_remote("mlflow+http://host:5000/at#studio"), MlflowRemote)
    for address in ("s4://bucket", "sqlite:////db#studio"):
        with pytest.raises(RemoteUnavailable, match="Protocol not known"):
            open_remote(address)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.import_module("fsspec.registry") and sys.modules["fsspec.registry"]
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(known._registry, "s3", raising=False)  # where another test has found it
    with pytest.raises(RemoteUnavailable) as refused:
        open_remote("s3://bucket/x")
    assert refused.value.hint == "pip install 'cns-cli[s3]'"
