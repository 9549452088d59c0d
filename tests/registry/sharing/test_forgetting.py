from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import UnknownConcept
from registry.objects import Concept
from registry.purging import NotPurged, Purge, Wish, purge
from registry.refs import EVALUATIONS, HEADS, TAGS
from registry.repository import Repository
from registry.sharing import incoming, outgoing
from registry.sharing.folder import FolderRemote
from registry.sharing.forgetting import bring_all, forget
from registry.sharing.inventory import Inventory
from registry.sharing.remote import Meter, fold
from tests.registry.making import add, new_repository
from tests.registry.sharing.making import WHO, lineage, twin
from tests.torture.verify import check_with_fsck, state_of

REX = Wish(("rex",))


def pushed(repository: Repository, remote: FolderRemote, **refs: str) -> None:
    asked = refs or {HEADS + name: at for name, at in repository.branches().items()}
    asked |= {TAGS + name: at for name, at in repository.tags().items()}
    outgoing.push(repository, remote, "origin", asked, **WHO)


def purged_there(repository: Repository, remote: FolderRemote) -> tuple[Purge, int]:
    bring_all(repository, remote, "origin", **WHO, meter=Meter())
    done = purge(repository, REX, **WHO)
    return done, forget(repository, remote, "origin", done, **WHO, meter=Meter())


@pytest.fixture
def shared(tmp_path: Path) -> tuple[Repository, FolderRemote]:
    """A lineage that was pushed in three rounds: rex came with the first."""
    repository, remote = lineage(tmp_path / "dogs"), FolderRemote(tmp_path / "remote")
    pushed(repository, remote)
    add(repository, "mug")
    pushed(repository, remote)
    add(repository, "ann")
    pushed(repository, remote)
    return repository, remote


def test_nothing_of_it_is_left_on_a_remote(shared: tuple[Repository, FolderRemote], tmp_path: Path) -> None:
    repository, remote = shared
    rex = repository.objects.get(repository.tree_of("v1").concepts["rex"], Concept)
    photo = repository.objects.sealed(repository.objects.load(rex.references).links()[0])
    before = b"".join(path.read_bytes() for path in (remote.folder / "packs").iterdir())
    assert photo in before
    done, packs = purged_there(repository, remote)
    assert packs == 3
    left = b"".join(path.read_bytes() for path in (remote.folder / "packs").iterdir())
    assert photo not in left
    assert rex.delta.encode() not in left
    assert fold(FolderRemote(remote.folder).moves())[0] == {
        **{HEADS + name: at for name, at in repository.branches().items()},
        **{TAGS + name: at for name, at in repository.tags().items()},
    }
    assert not [one for turn in done.doomed for one in turn if one.encode() in left]
    clone = new_repository(tmp_path / "clone")
    fetched = incoming.fetch(clone, FolderRemote(remote.folder), "origin", **WHO)
    assert fetched.heads == repository.branches()
    check_with_fsck(clone)
    with pytest.raises(UnknownConcept):
        Purge(clone, REX)


def test_a_purge_of_a_remote_that_died_is_ended_by_the_same(
    shared: tuple[Repository, FolderRemote], monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, remote = shared

    class Died(Exception):
        pass

    def dies(_pack: str) -> None:
        raise Died

    monkeypatch.setattr(remote, "remove", dies)
    with pytest.raises(Died):
        purged_there(repository, remote)
    state = state_of(repository)
    again = FolderRemote(remote.folder)
    _, packs = purged_there(repository, again)
    assert packs >= 3
    assert dict(state_of(repository).refs) == dict(state.refs)
    left = {entry.kind for entry in Inventory(repository, again).entries()}
    assert "concept" in left
    check_with_fsck(repository)


def test_what_others_pushed_is_purged_with_it_and_stays_theirs(
    shared: tuple[Repository, FolderRemote], tmp_path: Path
) -> None:
    repository, remote = shared
    theirs = twin(repository, tmp_path / "theirs")
    add(theirs, "eve")
    pushed(theirs, FolderRemote(remote.folder))
    purged_there(repository, remote)
    main = fold(FolderRemote(remote.folder).moves())[0][f"{HEADS}main"]
    assert sorted(repository.tree_of(main).concepts) == ["ann", "eve", "mug", "tom"]
    assert repository.refs.get("refs/remotes/origin/main") == main
    assert all("rex" not in name for name in repository.refs.names(EVALUATIONS))


def test_a_push_in_between_is_noticed(shared: tuple[Repository, FolderRemote], tmp_path: Path) -> None:
    repository, remote = shared
    theirs = twin(repository, tmp_path / "theirs")
    bring_all(repository, remote, "origin", **WHO, meter=Meter())
    done = purge(repository, REX, **WHO)
    add(theirs, "eve")
    pushed(theirs, FolderRemote(remote.folder))
    packs = remote.packs()
    with pytest.raises(NotPurged, match="moved meanwhile") as refused:
        forget(repository, remote, "origin", done, **WHO, meter=Meter())
    assert refused.value.hint == "cns purge rex --remote origin"
    assert remote.packs() == packs
