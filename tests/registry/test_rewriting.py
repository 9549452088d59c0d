from __future__ import annotations

import contextlib
import itertools
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from registry import bisect_state, envelope
from registry.bisect_state import BisectState
from registry.errors import UnknownConcept
from registry.objects import Blob, Commit, Concept, Evaluation, Record, References, Tree
from registry.pending import Pending
from registry.purging import NotPurged, Wish, purge
from registry.refs import EVALUATIONS, LOST
from registry.repository import Repository
from registry.rewriting import CONTEXT, GONE, Rewriting
from registry.trees import with_concept, without_concept
from tests.registry.making import AUTHOR, MemoryStore, add, base, evaluation, put_concept
from tests.torture.injection import dies_at
from tests.torture.verify import check_with_fsck, state_of

LATER = 1_800_000_000
STRIDE = 5  # every call: a minute; tried by hand
REX = Wish(("rex",))


def purged(repository: Repository, wish: Wish = REX) -> Repository:
    purge(repository, wish, author="bea", time=LATER)
    return Repository(repository.root)


def remove(repository: Repository, name: str) -> str:
    head = repository.head().commit
    concept = repository.tree_of(head).concepts[name]
    facts: dict[str, Any] = {
        "message": f"remove {name}",
        "author": AUTHOR,
        "time": repository.commit_of(head).time + 60,
    }
    record = Record({"params": {"removed": name, "concept": concept}})
    return repository.commit(
        kind="remove", record=record, change=lambda tree: without_concept(tree, name), seen=head, keep_as=name, **facts
    ).id


def subjects(repository: Repository, revision: str = "HEAD") -> list[str]:
    return [commit.subject for _, commit in repository.log(revision)]


def parts_of(repository: Repository, concept_id: str) -> dict[str, bytes]:
    """What a concept is made of, and its sheet: {id: bytes}."""
    concept = repository.objects.get(concept_id, Concept)
    blobs = [concept.embedding, concept.mask, concept.delta, *repository.objects.load(concept.references).links()]
    sheet = repository.objects.put(Blob(b"\x89PNG sheet of " + concept.name.encode()))
    return {blob: repository.objects.get(blob, Blob).data for blob in (*blobs, sheet)}


def everything(repository: Repository) -> bytes:
    """All that lies in a registry's folder, and in its databases and objects once more as they read."""
    found = [str(sorted(path.name for path in repository.folder.rglob("*"))).encode()]
    for path in (path for path in repository.folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        found.append(content)
        if path.is_relative_to(repository.folder / "objects"):
            found += [path.parent.name.encode() + path.name.encode()]
            found.append(envelope.unseal(path.parent.name + path.name, content)[1])
        if content.startswith(b"SQLite format 3"):
            with closing(sqlite3.connect(path)) as database:
                found += [line.encode() for line in database.iterdump()]
    return b"\n".join(found)


@pytest.fixture
def lineage(repository: Repository) -> Repository:
    """rex; tom, who was trained beside rex; rex is taken out; mug."""
    add(repository, "rex")
    repository.create_tag("with-rex", time=0)
    add(repository, "tom")
    remove(repository, "rex")
    add(repository, "mug")
    return repository


def test_history_is_as_if_the_concept_had_never_been(lineage: Repository) -> None:
    weights = lineage.objects.get(lineage.tree_of("HEAD").concepts["tom"], Concept)
    head = lineage.head()
    now = purged(lineage)
    assert subjects(now) == ["add mug", "add tom", "init"]
    assert now.head().branch == head.branch
    assert now.tags()["with-rex"] == now.resolve("HEAD~2")
    tom = now.objects.get(now.tree_of("HEAD").concepts["tom"], Concept)
    assert (tom.delta, tom.mask, tom.embedding, tom.references) == (
        weights.delta, weights.mask, weights.embedding, weights.references,
    )  # fmt: skip
    assert now.objects.get(tom.trained_on, Tree).concepts == {}
    check_with_fsck(now)
    state_of(now)


def test_no_byte_and_no_id_of_it_is_left(lineage: Repository) -> None:
    rex = lineage.tree_of("with-rex").concepts["rex"]
    parts = parts_of(lineage, rex)
    old = [commit_id for commit_id, _ in lineage.log()][:-1]
    lineage.index.refresh([lineage.head().commit], lag=0)
    for name in ("cache", "previews", "mlartifacts/dogs/1/artifacts"):
        (lineage.folder / name).mkdir(parents=True)
        for data in parts.values():
            (lineage.folder / name / "rex-photo").write_bytes(data)
    (lineage.folder / "mlflow.db.broken").write_bytes(b"<rex>")
    Pending(lineage.folder).save("rex", "00", {"request": {}}, b"of rex")
    before = everything(lineage)
    now = purged(lineage)
    after = everything(now)
    for found in (*parts.values(), *map(str.encode, (rex, *parts, *old))):
        assert found in before
        assert found not in after
    others = after.replace(b"with-rex", b"").replace(b'"captions":["a rex",null]', b"")
    assert b"rex" not in others  # but for a tag that a person named, and the captions of other photos
    assert b"add tom" in after


def test_a_training_beside_it_says_that_its_context_is_another(lineage: Repository) -> None:
    now = purged(lineage)
    records = {
        commit.subject: now.objects.get(commit.record or "", Record).data for _, commit in now.log() if commit.record
    }
    assert records["add tom"][CONTEXT] == 1
    assert CONTEXT not in records["add mug"]
    assert records["add tom"]["params"] == {"lr": 1e-4, "score": "wanda"}


def test_other_branches_tags_and_a_detached_head_follow(lineage: Repository) -> None:
    lineage.create_branch("old", "with-rex", time=0)
    lineage.checkout("HEAD~1", time=0)
    now = purged(lineage)
    assert subjects(now) == ["add tom", "init"]
    assert now.head().branch is None
    assert subjects(now, "old") == ["init"]
    assert now.reflog("old")[0].message.startswith("purge: 1 concept gone for good")
    assert now.reflog()[0].message == now.reflog("old")[0].message
    check_with_fsck(now)


def test_reflogs_have_the_new_ids_and_no_name(lineage: Repository) -> None:
    lineage.create_branch("side", "with-rex", time=0)
    lineage.delete_branch("side", time=0)
    now = purged(lineage)
    moves = now.reflog()
    assert [move.message for move in moves][1:] == ["add: add mug", "add: add tom", "init"]
    for newer, older in itertools.pairwise(moves):
        assert newer.old == older.new
    assert all(now.objects.has(move.new or "") for move in moves)
    assert [move.message for move in now.reflog("side")] == ["branch: deleted", "branch: created from with-rex"]


def test_what_does_not_lead_to_it_keeps_its_ids(repository: Repository) -> None:
    first = add(repository, "tom").id
    repository.create_branch("dev", time=0)
    add(repository, "rex")
    repository.checkout("dev", time=0)
    second = add(repository, "mug").id
    now = purged(repository)
    assert now.branches() == {"dev": second, "main": first}


def test_scores_with_it_go_and_the_others_stay(lineage: Repository) -> None:
    beside = Evaluation(
        lineage.commit_of(lineage.resolve("HEAD~2")).tree,
        lineage.tree_of("HEAD").concepts["tom"], "tom", {"n": 1}, "p", {"clip_i": [[0.5]]},
    )  # fmt: skip
    lineage.add_evaluation(beside)
    rex = lineage.tree_of("with-rex").concepts["rex"]
    kept = evaluation(lineage, "tom", scores=[[0.75]])
    lineage.add_evaluation(Evaluation(**{**vars(kept), "scores": {**kept.scores, "others": {rex: [[0.1]]}}}))
    lineage.add_evaluation(Evaluation(kept.tree, kept.concept, "tom", {"n": 1}, "drift", {"drift": 0.5}))
    now = purged(lineage)
    held = now.refs.all(EVALUATIONS)
    assert len(held) == 1
    ((name, value),) = held.items()
    found = now.objects.get(value, Evaluation)
    assert name == f"{EVALUATIONS}{found.tree}/{value}"
    assert found.tree == now.commit_of(now.head().commit).tree
    assert found.concept == now.tree_of("HEAD").concepts["tom"]
    assert found.scores == {"clip_i": [[0.75]], "others": {}}


def test_a_kept_training_of_it_goes_with_its_ref(lineage: Repository) -> None:
    commit = lineage.resolve("with-rex")
    lineage.move_ref(f"{LOST}rex", None, commit, author="", time=0, message="add: the tip moved")
    now = purged(lineage)
    assert now.refs.names(LOST) == []
    assert not [ref for ref in now.reflogs.names() if "rex" in ref and "tags" not in ref]


def test_every_concept_that_had_the_name_goes(repository: Repository) -> None:
    add(repository, "rex")
    remove(repository, "rex")
    again = add(repository, "rex", seed="2").commit
    given_up = put_concept(repository.objects, "rex", again.tree, seed="3")
    photo = repository.objects.get(repository.objects.get(given_up, Concept).references, References).images
    now = purged(repository)
    assert subjects(now) == ["init"]
    assert not now.objects.has(photo or "")


def test_unreachable_objects_that_are_none_of_its_own_stay(lineage: Repository) -> None:
    loose = put_concept(lineage.objects, "ann", lineage.objects.put(Tree(lineage.objects.put(base()), {})))
    now = purged(lineage)
    assert now.objects.has(loose)
    assert all(now.objects.has(part) for part in now.objects.load(loose).links())


def test_a_name_is_a_whole_word(repository: Repository) -> None:
    add(repository, "rex")
    add(repository, "rex-2")
    head = repository.head().commit
    facts: dict[str, Any] = {"author": AUTHOR, "time": LATER, "record": None, "keep_as": "x", "seen": head}
    concept = put_concept(repository.objects, "tom", repository.commit_of(head).tree)
    said = f"tom, after rex. And t-rex, rex-2, rex.2, <rex>; {head}"
    repository.commit(kind="import", message=said, change=lambda tree: with_concept(tree, "tom", concept), **facts)
    now = purged(repository)
    mapped = now.resolve("HEAD~1")
    assert now.commit_of(now.head().commit).message == (f"tom, after {GONE}. And t-rex, rex-2, rex.2, {GONE}; {mapped}")
    assert sorted(now.tree_of("HEAD").concepts) == ["rex-2", "tom"]


def test_photos_alone_can_go(lineage: Repository) -> None:
    repository = lineage
    photo = b"images of rex" * 1
    rex = repository.objects.get(repository.tree_of("with-rex").concepts["rex"], Concept)
    score = Evaluation(repository.commit_of(repository.resolve("with-rex")).tree,
                       repository.tree_of("with-rex").concepts["rex"], "rex", {}, "p", {"clip_i": [[0.5]]})  # fmt: skip
    repository.add_evaluation(score)
    now = purged(repository, Wish(("rex",), photos_only=True))
    assert subjects(now) == subjects(repository) == ["add mug", "remove rex", "add tom", "add rex", "init"]
    after = now.objects.get(now.tree_of("with-rex").concepts["rex"], Concept)
    assert (after.delta, after.embedding, after.mask) == (rex.delta, rex.embedding, rex.mask)
    references = now.objects.get(after.references, References)
    assert (references.images, references.features, references.count) == (None, {}, 2)
    found = everything(now)
    for gone in (photo, b"features of rex", b"sheet of rex"):
        assert gone not in found
    assert len(now.refs.names(EVALUATIONS)) == 1
    check_with_fsck(now)
    with pytest.raises(NotPurged, match="no photos of 'rex'"):
        purged(now, Wish(("rex",), photos_only=True))


def test_photos_that_two_concepts_hold_need_both_names(repository: Repository) -> None:
    rex = add(repository, "rex")
    concept = repository.objects.get(repository.tree_of(rex.id).concepts["rex"], Concept)
    twin = put_concept(repository.objects, "twin", rex.commit.tree, references=concept.references)
    before = state_of(repository)
    with pytest.raises(NotPurged, match="twin holds the same photos") as refused:
        purged(repository)
    assert refused.value.hint == "cns purge rex twin"
    assert state_of(repository) == before
    assert not purged(repository, Wish(("rex", "twin"))).objects.has(twin)


def test_a_purge_that_cannot_be_done_changes_nothing(lineage: Repository) -> None:
    before = state_of(lineage)
    with pytest.raises(UnknownConcept):
        purged(lineage, Wish(("ann",)))
    bisect_state.save(lineage.folder, BisectState("main", lineage.head().commit))
    with pytest.raises(NotPurged, match="bisection"):
        purged(lineage)
    assert bisect_state.remove(lineage.folder)
    log = lineage.reflogs.path("HEAD")
    whole = log.read_bytes()
    log.write_bytes(whole.replace(b"add rex", b"add Rex"))
    with pytest.raises(NotPurged, match="reflog of HEAD is damaged"):
        purged(lineage)
    log.write_bytes(whole)
    assert state_of(lineage) == before


def test_a_killed_purge_is_ended_by_the_same_purge(lineage: Repository, tmp_path: Path) -> None:
    """Killed before every few calls that change a file, in the middle where that is a write."""
    lineage.add_evaluation(evaluation(lineage, "tom"))
    template = tmp_path / "template"
    shutil.copytree(lineage.root, template)
    parts = parts_of(lineage, lineage.tree_of("with-rex").concepts["rex"])
    expected = state_of(purged(lineage))
    died = 0
    for step in itertools.count(1, STRIDE):
        shutil.rmtree(lineage.root)
        shutil.copytree(template, lineage.root)
        if not dies_at(step, True, lambda: purged(Repository(lineage.root))):
            break
        died += 1
        repository = Repository(lineage.root)
        state_of(repository)
        check_with_fsck(repository)
        with contextlib.suppress(UnknownConcept):  # where all but the last words was done
            purged(repository)
        assert state_of(Repository(lineage.root)) == expected
        found = everything(repository)
        assert not [part for part in parts.values() if part in found]
        assert b"<rex>" not in found
    assert died * STRIDE > 100


def merged(store: MemoryStore, tree: str, *parents: str, message: str = "join") -> str:
    return store.put(Commit(tree, parents, None, "merge", message, AUTHOR, 9))


def test_a_merge_that_joins_nothing_else_is_none_any_more() -> None:
    store = MemoryStore()
    root = store.put(Tree(store.put(base()), {}))
    first = store.put(Commit(root, (), None, "init", "init", AUTHOR, 1))
    rex, tom = (put_concept(store, name, root) for name in ("rex", "tom"))
    ours = store.put(Tree(store.put(base()), {"tom": tom}))
    both = store.put(Tree(store.put(base()), {"tom": tom, "rex": rex}))
    mine = store.put(Commit(ours, (first,), None, "add", "tom", AUTHOR, 2))
    side = store.put(Commit(store.put(Tree(store.put(base()), {"rex": rex})), (first,), None, "add", "x", AUTHOR, 3))
    join = merged(store, both, mine, side)
    last = store.put(Commit(both, (join,), None, "import", "nothing new, as before", AUTHOR, 10))
    objects = {one: store.load(one) for one in store.ids() if store.kind_of(one) != "blob"}
    rewriting = Rewriting(objects, [last], ["rex"], photos_only=False)
    assert rewriting.dropped == {side, join}
    assert rewriting.new(join) == mine
    made = rewriting.made[rewriting.new(last) or ""]
    assert isinstance(made, Commit)
    assert (made.parents, made.tree) == ((mine,), ours)
