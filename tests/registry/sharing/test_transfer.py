"""Push and fetch: the same objects, only those that are missing, and nothing moves that others would lose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.errors import ObjectMissing, UnknownRevision
from registry.health import gc
from registry.objects import Commit, Concept
from registry.reflog import ReflogEntry
from registry.refs import EVALUATIONS, HEADS
from registry.repository import Repository
from registry.sharing import outgoing, pack
from registry.sharing.folder import FolderRemote
from registry.sharing.inventory import Inventory
from registry.sharing.outgoing import PushRefused
from registry.sharing.pack import PackCorrupt
from registry.sharing.remote import Meter, Move, RemoteUnavailable, fold
from tests.registry.making import AUTHOR, add, compose, evaluation, new_repository, score_what_is_seen
from tests.registry.sharing.making import WHO, Breaking, damage, fetch, join, lineage, objects, push, twin


@pytest.fixture
def ann(tmp_path: Path) -> Repository:
    return lineage(tmp_path / "ann")


@pytest.fixture
def bob(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "bob")


@pytest.fixture
def remote(tmp_path: Path) -> FolderRemote:
    return FolderRemote(tmp_path / "shared")


def test_a_fetch_brings_every_object_and_ref(ann: Repository, bob: Repository, remote: FolderRemote) -> None:
    push(ann, remote)
    came = fetch(bob, remote)
    needed = {one for one in objects(ann) if one in objects(bob)}
    assert objects(bob) == {one: objects(ann)[one] for one in needed}
    assert bob.refs.all("refs/remotes/") == {
        f"refs/remotes/origin/{name}": commit for name, commit in ann.branches().items()
    }
    assert bob.tags() == ann.tags()
    assert bob.refs.all(EVALUATIONS) == ann.refs.all(EVALUATIONS)
    assert (came.evaluations, came.packs) == (1, 1)
    assert bob.head().commit != ann.head().commit  # nothing of bob's moved
    assert damage(bob) == []


def test_what_is_there_is_not_sent_again(ann: Repository, remote: FolderRemote) -> None:
    first = push(ann, remote)
    again = push(ann, FolderRemote(remote.folder))
    assert (again.objects, again.packs, again.moved) == (0, 0, {})
    assert sorted(again.up_to_date) == sorted(first.moved)
    commit = add(ann, "kim").id
    third = push(ann, remote)
    assert third.moved == {"refs/heads/main": (ann.parents(commit)[0], commit)}
    assert third.objects < first.objects / 2


def test_what_is_here_is_not_fetched_again(ann: Repository, bob: Repository, remote: FolderRemote) -> None:
    push(ann, remote)
    fetch(bob, remote)
    add(ann, "kim")
    push(ann, remote)
    breaking = Breaking(remote.folder)
    assert fetch(bob, breaking).packs == 1
    assert len(breaking.packs_moved) == 1
    assert fetch(bob, breaking).moved == {}
    assert len(breaking.packs_moved) == 1


def test_scores_of_what_prompts_see_come_along(ann: Repository, bob: Repository, remote: FolderRemote) -> None:
    compose(ann, "named")
    scores = score_what_is_seen(ann)
    push(ann, remote)
    fetch(bob, remote)
    assert set(scores) <= set(bob.refs.all(EVALUATIONS).values())
    assert bob.tree_of("refs/remotes/origin/main") == ann.tree_of("HEAD")
    assert damage(bob) == []


def test_scores_join_by_union(ann: Repository, remote: FolderRemote, tmp_path: Path) -> None:
    bob = twin(ann, tmp_path / "bob")
    push(ann, remote)
    ann.add_evaluation(evaluation(ann, "rex", "p2"))
    bob.add_evaluation(evaluation(bob, "rex", "p3"))
    assert push(ann, remote).evaluations == 1  # although no ref moves
    assert push(bob, remote).evaluations == 1
    assert (fetch(ann, remote).evaluations, fetch(bob, remote).evaluations) == (1, 1)
    assert ann.refs.all(EVALUATIONS) == bob.refs.all(EVALUATIONS)
    assert len(ann.refs.all(EVALUATIONS)) == 3


def test_scores_of_a_model_that_is_not_sent_stay(ann: Repository, remote: FolderRemote) -> None:
    add(ann, "secret")
    ann.add_evaluation(evaluation(ann, "secret"))
    assert push(ann, remote, "dev").evaluations == 0


def test_a_push_that_broke_goes_on(ann: Repository, bob: Repository, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(pack, "PACK_BYTES", 1500)
    breaking = Breaking(tmp_path / "shared", after=3)
    with pytest.raises(ConnectionResetError):
        push(ann, breaking)
    assert fold(breaking.moves())[0] == {}
    sent = list(breaking.packs_moved)
    assert len(sent) == 3
    whole = Breaking(tmp_path / "shared")
    push(ann, whole)
    assert not set(sent) & set(whole.packs_moved)
    assert whole.packs_moved
    fetch(bob, whole)
    assert bob.tags() == ann.tags()
    assert damage(bob) == []


def test_a_fetch_that_broke_goes_on(ann: Repository, bob: Repository, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(pack, "PACK_BYTES", 1500)
    push(ann, Breaking(tmp_path / "shared"))
    breaking = Breaking(tmp_path / "shared", after=3)
    before = objects(bob).keys()
    with pytest.raises(ConnectionResetError):
        fetch(bob, breaking)
    came = objects(bob).keys() - before
    assert came
    assert bob.refs.all("refs/remotes/") == {}
    assert damage(bob) == []
    whole = Breaking(tmp_path / "shared")
    rest = fetch(bob, whole)
    assert not set(breaking.packs_moved) & set(whole.packs_moved)
    assert rest.objects == len(objects(bob).keys() - before - came)
    assert damage(bob) == []


def test_packs_are_read_so_that_nothing_comes_before_what_it_needs(
    ann: Repository, remote: FolderRemote, tmp_path: Path
) -> None:
    """Of two who push at once, and of one who builds on both."""
    bob = twin(ann, tmp_path / "bob")
    push(ann, remote)
    add(bob, "kim")
    add(ann, "lou")
    push(ann, remote)
    with pytest.raises(PushRefused):
        push(bob, remote)
    fetch(bob, remote)
    joined = join(bob)
    push(bob, remote)
    rounds = [index.round for index in Inventory(ann, remote).indexes]
    assert rounds == sorted(rounds)
    cid = new_repository(tmp_path / "cid")
    fetch(cid, remote)  # which would refuse what comes too early
    assert cid.resolve("origin/main") == joined
    assert sorted(cid.tree_of(joined).concepts) == ["kim", "lou", "rex", "tom"]


def test_a_branch_with_commits_that_are_not_here_stays(ann: Repository, remote: FolderRemote, tmp_path: Path) -> None:
    bob = twin(ann, tmp_path / "bob")
    theirs = add(ann, "kim").id
    push(ann, remote)
    add(bob, "lou")
    with pytest.raises(PushRefused) as refused:
        push(bob, remote)
    assert refused.value.hint == "cns pull origin"
    assert fold(remote.moves())[0]["refs/heads/main"] == theirs
    assert len(remote.packs()) == 1  # it was refused before anything was sent


def test_force_moves_what_was_seen_and_nothing_else(ann: Repository, remote: FolderRemote, tmp_path: Path) -> None:
    bob = twin(ann, tmp_path / "bob")
    push(ann, remote)
    fetch(bob, remote)
    add(ann, "kim")
    push(ann, remote)
    mine = add(bob, "lou").id
    with pytest.raises(PushRefused) as refused:
        push(bob, remote, "main", force=True)
    assert "moved there since" in refused.value.message
    assert refused.value.hint == "cns fetch origin"
    fetch(bob, remote)
    assert push(bob, remote, "main", force=True).moved["refs/heads/main"][1] == mine
    assert fold(remote.moves())[0]["refs/heads/main"] == mine


def test_who_comes_second_is_told(ann: Repository, tmp_path: Path) -> None:
    """Another push comes between the look at the log and the move."""
    bob = twin(ann, tmp_path / "bob")

    class Slow(FolderRemote):
        def send(self, *given: Any) -> None:
            super().send(*given)
            add(ann, "kim")
            push(ann, FolderRemote(self.folder), "main")

    slow = Slow(tmp_path / "shared")
    push(ann, FolderRemote(slow.folder))
    add(bob, "lou")
    with pytest.raises(PushRefused) as refused:
        push(bob, slow, "main")
    assert refused.value.found == ann.head().commit
    assert fold(slow.moves())[0]["refs/heads/main"] == ann.head().commit


def test_a_branch_is_deleted_there(ann: Repository, bob: Repository, remote: FolderRemote) -> None:
    push(ann, remote)
    fetch(bob, remote)
    outgoing.push(ann, remote, "origin", {"refs/heads/dev": None}, **WHO)
    assert "refs/remotes/origin/dev" not in ann.refs.names("refs/remotes/")
    assert fetch(bob, remote).moved == {}
    assert list(fetch(bob, remote, prune=True).moved) == ["refs/remotes/origin/dev"]
    with pytest.raises(UnknownRevision):
        outgoing.push(ann, remote, "origin", {"refs/heads/dev": None}, **WHO)


def test_a_branch_that_moved_there_is_not_deleted(ann: Repository, remote: FolderRemote, tmp_path: Path) -> None:
    bob = twin(ann, tmp_path / "bob")
    push(ann, remote)
    fetch(bob, remote)
    ann.checkout("dev")
    add(ann, "kim")
    push(ann, remote)
    with pytest.raises(PushRefused):
        outgoing.push(bob, remote, "origin", {"refs/heads/dev": None}, **WHO)


def test_tags_stay_where_they_are(ann: Repository, remote: FolderRemote, tmp_path: Path) -> None:
    bob = twin(ann, tmp_path / "bob")
    push(ann, remote)
    bob.delete_tag("v1")
    bob.create_tag("v1", "main")
    with pytest.raises(PushRefused, match="a tag stays"):
        push(bob, remote, "main")
    came = fetch(bob, remote)
    assert came.kept == ["v1"]
    assert bob.tags()["v1"] == bob.resolve("main")
    assert push(bob, remote, "main", force=True).moved.keys() == {"refs/tags/v1"}


def test_a_dry_run_changes_nothing(ann: Repository, remote: FolderRemote) -> None:
    planned = push(ann, remote, dry_run=True)
    assert not remote.folder.exists()
    done = push(ann, remote)
    assert (planned.objects, planned.size_bytes, planned.moved) == (done.objects, done.size_bytes, done.moved)


def test_photos_are_counted_and_named_once(ann: Repository, remote: FolderRemote) -> None:
    first = push(ann, remote)
    assert (first.photos, first.first_photos) == (6, True)
    add(ann, "kim")
    later = push(ann, remote)
    assert (later.photos, later.first_photos) == (2, False)


def test_bytes_are_told(ann: Repository, bob: Repository, remote: FolderRemote) -> None:
    class Counting(Meter):
        def __init__(self) -> None:
            self.begun: list[tuple[str, int]] = []
            self.done = 0

        def begin(self, what: str, size_bytes: int) -> None:
            self.begun.append((what, size_bytes))

        def moved(self, size_bytes: int) -> None:
            self.done += size_bytes

    sending, receiving = Counting(), Counting()
    size = push(ann, remote, meter=sending).size_bytes
    assert (sending.begun, sending.done) == ([("send", size)], size)
    fetch(bob, remote, meter=receiving)
    assert receiving.begun == [("receive", size)]
    assert 0.5 * size < receiving.done <= size


# What is received may come from anybody


def sent(ann: Repository, remote: FolderRemote) -> Path:
    push(ann, remote)
    (file,) = (remote.folder / "packs").glob("*.pack")
    return file


def test_a_damaged_object_is_refused_and_no_ref_moves(ann: Repository, bob: Repository, remote: FolderRemote) -> None:
    file = sent(ann, remote)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(PackCorrupt):
        fetch(bob, remote)
    assert bob.refs.all("refs/remotes/") == {}
    assert bob.tags() == {}
    assert damage(bob) == []


class Lying(FolderRemote):
    """A remote that serves packs that nobody sent there."""

    def __init__(self, folder: Path, repository: Repository, ids: list[str]) -> None:
        super().__init__(folder)
        store = repository.objects
        entries = tuple(pack.Entry(one, store.kind_of(one), store.path(one).stat().st_size) for one in ids)
        self.index = pack.Index(1, entries)
        self.store = store
        self.tip = ids[-1]

    def moves(self) -> list[Move]:
        """See Remote."""
        return [Move("refs/heads/main", None, self.tip, "x", 0, "", "0" * 32)]

    def packs(self) -> list[str]:
        """See Remote."""
        return [self.index.name]

    def index_of(self, pack: str) -> bytes:
        """See Remote."""
        return self.index.encoded

    def receive(self, pack: str) -> Iterator[bytes]:
        """See Remote."""
        from registry.sharing.pack import pack_of

        return pack_of(self.index, self.store.sealed)


def test_an_object_without_its_parts_is_refused_and_named(ann: Repository, bob: Repository, tmp_path: Path) -> None:
    with pytest.raises(PackCorrupt, match="neither here nor before it") as refused:
        fetch(bob, Lying(tmp_path / "none", ann, [ann.head().commit]))
    assert refused.value.object_id == ann.head().commit
    assert not bob.objects.has(ann.head().commit)
    assert damage(bob) == []


def test_a_part_of_another_kind_is_refused(ann: Repository, bob: Repository, tmp_path: Path) -> None:
    """A commit whose tree is a blob: whole, hashed, and no commit."""
    blob = ann.objects.get(
        next(one for one in ann.objects.ids() if ann.objects.kind_of(one) == "concept"), Concept
    ).mask
    wrong = ann.objects.put(Commit(blob, (), None, "init", "x", "x", 0))
    with pytest.raises(PackCorrupt, match="is a blob"):
        fetch(bob, Lying(tmp_path / "none", ann, [blob, wrong]))
    assert bob.refs.all("refs/remotes/") == {}


def test_a_ref_to_what_no_pack_holds_is_an_error(ann: Repository, bob: Repository, remote: FolderRemote) -> None:
    push(ann, remote)
    assert remote.append(Move("refs/heads/ghost", None, "a" * 64, "x", 0, "", "1" * 32))
    with pytest.raises(RemoteUnavailable, match="aaaaaaaaaa, which no pack of it holds"):
        fetch(bob, remote)
    assert bob.refs.all("refs/remotes/") == {}


def test_a_ref_to_something_else_than_a_commit_is_refused(
    ann: Repository, bob: Repository, remote: FolderRemote
) -> None:
    push(ann, remote)
    tree = ann.commit_of(ann.head().commit).tree
    assert remote.append(Move("refs/heads/tree", None, tree, "x", 0, "", "1" * 32))
    with pytest.raises(RemoteUnavailable, match="is a tree"):
        fetch(bob, remote)
    assert bob.refs.all("refs/remotes/") == {}
    assert damage(bob) == []


# Garbage collection


def test_what_was_collected_here_is_not_fetched_again_unless_it_is_wanted(
    ann: Repository, bob: Repository, remote: FolderRemote
) -> None:
    push(ann, remote)
    fetch(bob, remote)
    tip = ann.branches()["dev"]
    outgoing.push(ann, remote, "origin", {"refs/heads/dev": None}, **WHO)
    fetch(bob, remote, prune=True)
    gc.collect(bob, now=WHO["time"] + 10 * 365 * gc.DAY_S)
    assert not bob.objects.has(tip)
    assert fetch(bob, remote).packs == 0
    push(ann, remote)
    assert fetch(bob, remote).objects > 0
    assert bob.resolve("origin/dev") == tip
    assert damage(bob) == []


def test_refs_wait_for_all_that_their_commits_need(ann: Repository, bob: Repository, remote: FolderRemote) -> None:
    """A commit that is here by itself, as an old unreachable one whose parts are gone."""
    push(ann, remote)
    fetch(bob, remote)
    tip = bob.resolve("origin/dev")
    with bob.locked():
        bob.reflogs.append("refs/remotes/origin/dev", ReflogEntry(tip, None, AUTHOR, 0, "gone"))
        bob.refs.compare_and_swap("refs/remotes/origin/dev", tip, None)
    concept = bob.concepts(bob.tree_of(tip))["old"]
    bob.objects.path(concept.delta).unlink()
    with pytest.raises(ObjectMissing):
        fetch(bob, remote)
    assert "refs/remotes/origin/dev" not in bob.refs.names("refs/remotes/")


def test_fetched_objects_survive_a_collection_before_their_ref_moves(
    ann: Repository, bob: Repository, tmp_path: Path
) -> None:
    class Collecting(FolderRemote):
        def receive(self, pack: str) -> Iterator[bytes]:
            yield from super().receive(pack)
            gc.collect(bob)

    push(ann, Collecting(tmp_path / "shared"))
    fetch(bob, Collecting(tmp_path / "shared"))
    assert bob.resolve("origin/main") == ann.branches()["main"]
    assert damage(bob) == []


def test_the_log_says_who_moved_what(ann: Repository, bob: Repository, remote: FolderRemote) -> None:
    push(ann, remote)
    (move,) = (one for one in remote.moves() if one.ref == HEADS + "main")
    assert (move.author, move.time, move.old, move.new) == (AUTHOR, WHO["time"], None, ann.branches()["main"])
    fetch(bob, remote)
    assert bob.reflog("refs/remotes/origin/main")[0].message == "fetch: from origin"
    assert ann.reflog("refs/remotes/origin/main")[0].message == "push: to origin"
