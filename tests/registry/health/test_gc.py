"""What a name reaches stays, what nothing reaches goes in its time, and a kill or a race in between does no harm."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from registry import fsio, layout
from registry.errors import ObjectMissing, RegistryError
from registry.health.fsck import fsck
from registry.health.gc import DAY_S, GcReport, NotCollected, collect
from registry.mirror.runs import closure
from registry.objects import Blob, Commit, Concept, Evaluation, Record, References, Tree
from registry.pending import Pending
from registry.refs import ALIASES, EVALUATIONS, HEADS
from registry.repository import Repository
from registry.trees import birth, with_concept, without_concept
from tests.registry.making import AUTHOR, DIGEST, add, compose, evaluation, put_concept, score_what_is_seen
from tests.registry.test_crash import steps

MAIN = HEADS + "main"
NOW = 2_000_000_000.0


def age_all(repository: Repository, days: float = 1000, *, before: float = NOW) -> None:
    """Make every object and ref old."""
    for name in ("objects", "refs"):
        for path in (repository.folder / name).rglob("*"):
            if path.is_file():
                os.utime(path, (before - days * DAY_S,) * 2)


def age_logs(repository: Repository, days: float) -> None:
    """Let every move of the reflogs have happened that long ago."""
    for ref in repository.reflogs.names():
        entries = [
            type(move)(move.old, move.new, move.author, int(NOW - days * DAY_S), move.message)
            for move in repository.reflogs.entries(ref)
        ]
        repository.reflogs.rewrite(ref, entries)


def run(repository: Repository, grace_days: float = 14, **more: bool) -> GcReport:
    return collect(Repository(repository.root), grace_s=grace_days * DAY_S, now=NOW, **more)  # type: ignore[arg-type]


def ids(repository: Repository) -> set[str]:
    return set(repository.objects.ids())


def whole(repository: Repository) -> bool:
    found = fsck(repository.folder)[0]
    return not [finding for finding in found.findings if finding.level != "info"]


@pytest.fixture
def lineage(repository: Repository) -> Repository:
    """rex and tom on main; pip was committed and left behind, so that only the reflogs name it. All is old."""
    add(repository, "rex")
    add(repository, "tom")
    kept = repository.head().commit
    add(repository, "pip")
    repository.move_ref(MAIN, repository.head().commit, kept, author="", time=int(NOW), message="reset")
    age_all(repository)
    age_logs(repository, 1)
    return repository


def left_behind(repository: Repository) -> str:
    return repository.resolve("HEAD@{1}")


def test_what_a_reflog_names_stays(lineage: Repository) -> None:
    before = ids(lineage)
    found = run(lineage)
    assert (found.removed, found.freed_bytes, found.moves) == ({}, 0, {})
    assert found.reachable == len(before)
    assert ids(lineage) == before


def test_after_thirty_days_the_move_and_what_only_it_named_go(lineage: Repository) -> None:
    gone = set(closure(lineage.objects, [left_behind(lineage)])) - set(
        closure(lineage.objects, [lineage.head().commit, lineage.resolve("HEAD~1")])
    )
    size = sum(lineage.objects.path(one).stat().st_size for one in gone)
    before, tip = ids(lineage), lineage.head().commit
    age_logs(lineage, 29)
    assert run(lineage).removed == {}
    age_logs(lineage, 31)
    planned = run(lineage, dry_run=True)
    assert ids(lineage) == before
    assert planned.dry_run
    found = run(lineage)
    assert (found.removed, found.freed_bytes, found.moves) == (planned.removed, planned.freed_bytes, planned.moves)
    assert before - ids(lineage) == gone
    assert sum(found.removed.values()) == len(gone)
    assert found.removed["commit"] == found.removed["concept"] == 1
    assert found.freed_bytes == size
    assert found.moves == {"HEAD": 1, MAIN: 1}
    assert [move.new for move in lineage.reflog()] == [tip, tip, lineage.resolve("HEAD~1"), lineage.resolve("HEAD~2")]
    assert whole(lineage)
    assert run(lineage).removed == {}


def test_moves_of_an_alias_and_the_models_that_it_named_stay_for_good(lineage: Repository) -> None:
    lost, kept, champion = left_behind(lineage), lineage.head().commit, ALIASES + "champion"
    for old, new in ((None, lost), (lost, kept)):
        lineage.move_ref(champion, old, new, author="ann", time=1, message="promote: kept")
    age_logs(lineage, 1000)
    found = run(lineage)
    assert champion not in found.moves
    assert [move.new for move in lineage.reflog(champion)] == [kept, lost]
    assert lineage.resolve("champion@{1}") == lost
    assert whole(lineage)  # the model that only the log of the alias names among it


def test_moves_to_what_is_reachable_go_after_ninety_days_but_the_newest(lineage: Repository) -> None:
    age_logs(lineage, 89)
    assert run(lineage).moves == {"HEAD": 1, MAIN: 1}
    age_logs(lineage, 91)
    run(lineage)
    assert [move.new for move in lineage.reflog("main")] == [lineage.head().commit]
    assert whole(lineage)


@pytest.mark.parametrize("hold", ["branch", "tag", "lost", "remote", "detached"])
def test_every_name_holds_its_commit(lineage: Repository, hold: str) -> None:
    wanted = left_behind(lineage)
    if hold == "branch":
        lineage.create_branch("side", wanted)
    elif hold == "tag":
        lineage.create_tag("v1", wanted)
    elif hold == "detached":
        lineage.checkout(wanted)
    else:
        lineage.refs.overwrite(f"refs/{'lost' if hold == 'lost' else 'remotes'}/x", wanted)
    age_all(lineage)
    before = ids(lineage)
    age_logs(lineage, 1000)
    run(lineage, 0)
    assert ids(lineage) == before
    assert whole(lineage)


def test_state_of_something_in_progress_holds_what_it_names(lineage: Repository) -> None:
    wanted = left_behind(lineage)
    before = ids(lineage)
    age_logs(lineage, 1000)
    (lineage.folder / "bisect.json").write_text(json.dumps({"good": [wanted], "bad": DIGEST}))
    run(lineage, 0)
    assert ids(lineage) == before
    (lineage.folder / "bisect.json").unlink()
    run(lineage, 0)
    assert wanted not in ids(lineage)


def test_id_across_two_reads_of_a_large_state_is_seen(lineage: Repository) -> None:
    wanted = left_behind(lineage)
    age_logs(lineage, 1000)
    (lineage.folder / "resume").mkdir()
    (lineage.folder / "resume" / "x.state").write_bytes(b" " * (2**20 - 30) + wanted.encode() + b"\0" * 2**20)
    run(lineage, 0)
    assert wanted in ids(lineage)


def test_young_objects_stay_and_so_does_what_they_need(lineage: Repository) -> None:
    wanted = left_behind(lineage)
    before = ids(lineage)
    age_logs(lineage, 1000)
    os.utime(lineage.objects.path(wanted), (NOW - 13 * DAY_S,) * 2)
    found = run(lineage)
    assert ids(lineage) == before
    assert found.young == len(before) - found.reachable > 1
    os.utime(lineage.objects.path(wanted), (NOW - 15 * DAY_S,) * 2)
    assert sum(run(lineage).removed.values()) == found.young
    assert whole(lineage)


def test_young_object_whose_parts_are_gone_stays(lineage: Repository) -> None:
    commit = Commit(DIGEST, (), None, "add", "half of something", AUTHOR, 5)
    loose = lineage.objects.put(commit)
    os.utime(lineage.objects.path(loose), (NOW, NOW))
    run(lineage)
    assert loose in ids(lineage)


def test_putting_again_starts_the_grace_anew(lineage: Repository) -> None:
    loose = lineage.objects.put(Blob(b"loose"))
    os.utime(lineage.objects.path(loose), (1, 1))
    lineage.objects.put(Blob(b"loose"))
    collect(lineage)
    assert loose in ids(lineage)
    os.utime(lineage.objects.path(loose), (1, 1))
    collect(lineage)
    assert loose not in ids(lineage)


def test_now_removes_what_is_older_than_now(lineage: Repository) -> None:
    old, new = lineage.objects.put(Blob(b"old")), lineage.objects.put(Blob(b"new"))
    now = lineage.objects.path(new).stat().st_mtime + 1
    os.utime(lineage.objects.path(old), (now - 5,) * 2)
    collect(lineage, grace_s=0, now=now)
    assert old not in ids(lineage)
    assert new in ids(lineage), "written within the margin of the clocks"


class TestEvaluations:
    def test_scores_of_a_reachable_model_stay(self, lineage: Repository) -> None:
        new = lineage.add_evaluation(evaluation(lineage, "rex"))
        age_all(lineage)
        assert run(lineage, 0).evaluations == []
        assert new in ids(lineage)

    def test_scores_of_a_model_that_went_go_with_it(self, lineage: Repository) -> None:
        lineage.checkout(left_behind(lineage))
        new = lineage.add_evaluation(evaluation(lineage, "pip"))
        lineage.checkout("main")
        age_logs(lineage, 31)
        (name,) = lineage.refs.names(EVALUATIONS)
        os.utime(lineage.refs.path(name), (NOW, NOW))
        assert run(lineage).evaluations == [], "the scores are young, so they hold their model"
        age_all(lineage)
        assert run(lineage, dry_run=True).evaluations == [name]
        found = run(lineage)
        assert found.evaluations == [name]
        assert found.removed["evaluation"] == 1
        assert new not in ids(lineage)
        assert lineage.refs.names(EVALUATIONS) == []
        assert whole(lineage)

    def test_scores_of_a_baseline_stay_while_its_concept_is_reachable(self, lineage: Repository) -> None:
        """The tree that a concept is compared with may be in no commit, when it was put on top of another tip."""
        first = lineage.resolve("HEAD~1")
        added = add(lineage, "zoe", seen=first)
        concept = lineage.tree_of(added.id).concepts["zoe"]
        tree = birth(lineage.objects, concept).id
        born = Tree(lineage.tree_of("HEAD").base, {**lineage.tree_of(first).concepts, "zoe": concept})
        assert lineage.objects.put(born) == tree
        new = lineage.add_evaluation(Evaluation(tree, concept, "zoe", {}, "p", {"clip_i": [0.5]}))
        age_all(lineage)
        run(lineage, 0)
        assert new in ids(lineage)
        assert whole(lineage)

    def test_scores_of_what_prompts_see_stay_while_the_concepts_are_reachable(self, lineage: Repository) -> None:
        compose(lineage, "named")
        add(lineage, "zoe")
        scores = score_what_is_seen(lineage)
        age_all(lineage)
        run(lineage, 0)
        assert set(scores) <= ids(lineage)
        assert whole(lineage)
        lineage.move(lineage.resolve("HEAD~1"), message="back", author=AUTHOR)
        age_logs(lineage, 1000)
        run(lineage, 0)
        assert len(set(scores) & ids(lineage)) < len(scores), "what nothing reaches any more goes"
        assert whole(lineage)

    def test_scores_of_what_is_not_there_are_refused(self, lineage: Repository) -> None:
        with pytest.raises(ObjectMissing):
            lineage.add_evaluation(Evaluation(DIGEST, DIGEST, "rex", {}, "p", {}))
        assert lineage.refs.names(EVALUATIONS) == []


class TestDamage:
    @pytest.mark.parametrize(
        "part", ["HEAD", "refs/heads/main", "logs/HEAD", "logs/refs/heads/main", "tree", "concept"]
    )
    def test_nothing_is_removed_while_it_cannot_be_told_what_is_needed(self, lineage: Repository, part: str) -> None:
        age_logs(lineage, 1000)
        lineage.objects.put(Blob(b"loose"))
        age_all(lineage)
        tip = lineage.commit_of(lineage.head().commit)
        chosen = {"tree": tip.tree, "concept": lineage.tree_of("HEAD").concepts["rex"]}
        path = lineage.objects.path(chosen[part]) if part in chosen else lineage.folder / part
        content = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(b"x" + content[1:])
        before = ids(lineage)
        with pytest.raises(NotCollected) as caught:
            run(lineage, 0)
        assert caught.value.hint == "cns fsck"
        assert ids(lineage) == before
        path.write_bytes(content)
        assert run(lineage, 0).removed

    def test_lost_branch_of_head_stops_it(self, lineage: Repository) -> None:
        lineage.refs.path(MAIN).unlink()
        with pytest.raises(NotCollected):
            run(lineage, 0)

    def test_torn_end_of_a_reflog_does_not(self, lineage: Repository) -> None:
        path = lineage.reflogs.path(MAIN)
        path.write_bytes(path.read_bytes() + b"0123456789abcdef {")
        run(lineage)

    def test_damaged_object_that_nothing_needs_is_removed(self, lineage: Repository) -> None:
        loose = lineage.objects.put(Blob(b"loose"))
        path = lineage.objects.path(loose)
        path.chmod(0o644)
        path.write_bytes(b"garbage")
        age_all(lineage)
        assert run(lineage).removed == {"damaged": 1}


class TestLeftovers:
    def test_states_of_trainings_stay_two_weeks_whatever_the_grace(self, lineage: Repository) -> None:
        pending = Pending(lineage.folder)
        for key, days in (("old", 15), ("young", 13)):
            pending.save("rex", key, {}, b"state")
            os.utime(pending.path("rex", key), (NOW - days * 86_400,) * 2)
        assert run(lineage, 0, dry_run=True).temporaries == [pending.path("rex", "old")]
        assert run(lineage, 0).temporaries == [pending.path("rex", "old")]
        assert [state.key for state in pending.all()] == ["young"]

    def test_old_temporaries_go_and_young_ones_stay(self, lineage: Repository) -> None:
        old, young = (lineage.folder / "objects" / "ab" / f".tmp-1-{name}" for name in ("old", "young"))
        cached = lineage.folder / "cache" / ".tmp-1-cached"
        cached.parent.mkdir()
        for path, hours in ((old, 2), (young, 0.5), (cached, 2000)):
            path.write_text("four")
            os.utime(path, (NOW - hours * 3600,) * 2)
        assert run(lineage).temporaries == []
        found = run(lineage, 0, dry_run=True)
        assert found.temporaries == [old]
        assert old.exists()
        assert run(lineage, 0).freed_bytes == 4
        assert not old.exists()
        assert young.exists()
        assert cached.exists()

    def test_what_a_killed_init_left_goes(self, lineage: Repository) -> None:
        half = lineage.root / ".cns.tmp-1-2"
        half.mkdir()
        os.utime(half, (1, 1))
        assert run(lineage, dry_run=True).temporaries == [half]
        assert half.exists()
        assert run(lineage).temporaries == [half]
        assert not half.exists()
        assert layout.abandoned(lineage.root) == []

    def test_index_forgets_what_is_gone(self, lineage: Repository) -> None:
        gone = left_behind(lineage)
        lineage.index.rebuild([lineage.head().commit, gone])
        age_logs(lineage, 31)
        assert run(lineage).removed["commit"] == 1
        index = Repository(lineage.root).index
        assert not index.covers(gone)
        assert index.covers(lineage.head().commit)
        assert whole(lineage)


class TestRaces:
    """A writer puts objects without the lock and commits under it; a collection may come at any moment between."""

    def concept(self, lineage: Repository, name: str = "zoe") -> str:
        return put_concept(lineage.objects, name, lineage.commit_of(lineage.head().commit).tree)

    def commit(self, lineage: Repository, concept: str, record: Record | None = None) -> str:
        return lineage.commit(
            kind="add",
            message="m",
            author=AUTHOR,
            time=5,
            record=record,
            change=lambda tree: with_concept(tree, "zoe", concept),
            seen=lineage.head().commit,
            keep_as="zoe",
        ).id

    def parts(self, lineage: Repository, concept: str) -> list[str]:
        found = lineage.objects.get(concept, Concept)
        return [concept, *found.links()[:4], *lineage.objects.get(found.references, References).links()]

    def test_what_was_just_put_survives_until_its_commit(self, lineage: Repository) -> None:
        concept = self.concept(lineage)
        collect(lineage)
        self.commit(lineage, concept)
        collect(lineage)
        assert whole(lineage)

    def test_commit_that_came_too_late_is_refused_whatever_is_gone(self, lineage: Repository) -> None:
        before = lineage.head().commit
        for part in self.parts(lineage, self.concept(lineage)):
            concept = self.concept(lineage)
            os.utime(lineage.objects.path(part), (1, 1))
            lineage.objects.path(part).unlink()
            with pytest.raises(ObjectMissing) as caught:
                self.commit(lineage, concept)
            assert caught.value.object_id == part
            assert lineage.head().commit == before
        concept = self.concept(lineage)
        self.commit(lineage, concept)
        assert whole(lineage)

    def test_record_whose_preview_is_gone_is_refused(self, lineage: Repository) -> None:
        with pytest.raises(ObjectMissing):
            self.commit(lineage, self.concept(lineage), Record({"previews": {"sheet": DIGEST}}))

    def test_put_between_the_look_and_the_removal_wins(
        self, lineage: Repository, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The narrowest moment: the file was found old, and is put again before it is moved aside."""
        loose = lineage.objects.put(Blob(b"loose"))
        os.utime(lineage.objects.path(loose), (1, 1))
        discard = fsio.discard

        def put_first(path: Path, before: float) -> bool:
            lineage.objects.put(Blob(b"loose"))
            return discard(path, before)

        monkeypatch.setattr(fsio, "discard", put_first)
        found = collect(lineage)
        assert found.removed == {}
        assert found.young == 1
        assert lineage.objects.get(loose, Blob).data == b"loose"

    def test_put_while_it_is_moved_aside_writes_anew(
        self, lineage: Repository, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loose = lineage.objects.put(Blob(b"loose"))
        os.utime(lineage.objects.path(loose), (1, 1))
        unlink = os.unlink

        def put_first(path: Path) -> None:
            monkeypatch.setattr(os, "unlink", unlink)
            lineage.objects.put(Blob(b"loose"))
            unlink(path)

        monkeypatch.setattr(os, "unlink", put_first)
        collect(lineage)
        assert lineage.objects.get(loose, Blob).data == b"loose"

    def test_commit_between_marking_and_removing_is_seen(
        self, lineage: Repository, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is reachable is found before the lock is taken; a commit may take the lock first."""
        concept = self.concept(lineage)
        age_all(lineage)
        locked = Repository.locked
        made: list[str] = []

        def commit_first(repository: Repository) -> object:
            monkeypatch.setattr(Repository, "locked", locked)
            made.append(self.commit(Repository(lineage.root), concept))
            age_all(lineage)
            return locked(repository)

        monkeypatch.setattr(Repository, "locked", commit_first)
        run(lineage, 0)
        assert lineage.head().commit == made[0]
        assert whole(lineage)

    def test_branch_on_what_was_collected_meanwhile_is_refused(
        self, lineage: Repository, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted = left_behind(lineage)
        age_logs(lineage, 1000)
        run(lineage, 0)
        monkeypatch.setattr(Repository, "resolve", lambda repository, revision: wanted)
        with pytest.raises(ObjectMissing):
            lineage.create_branch("side", wanted)
        with pytest.raises(ObjectMissing):
            lineage.move_ref(HEADS + "side", None, wanted, author="", time=0, message="")
        assert list(lineage.branches()) == ["main"]


@pytest.mark.parametrize("torn", [False, True], ids=["between", "torn"])
def test_collection_survives_a_kill_at_every_step(lineage: Repository, torn: bool) -> None:
    """What is left of the garbage is whole at every point: what needs goes before what is needed."""
    lineage.checkout(left_behind(lineage))
    lineage.add_evaluation(evaluation(lineage, "pip"))
    lineage.commit(
        kind="remove",
        message="rm rex",
        author=AUTHOR,
        time=6,
        record=None,
        change=lambda tree: without_concept(tree, "rex"),
        seen=lineage.head().commit,
        keep_as="rex",
    )
    lineage.checkout("main")
    age_all(lineage)
    age_logs(lineage, 1000)
    needed = set(closure(lineage.objects, [commit for commit, _ in lineage.log()]))
    died = 0
    for _ in steps(torn, lambda: run(lineage, 0)):
        died += 1
        assert needed <= ids(lineage)
        assert whole(lineage)
        assert half_there(lineage) == []
    assert died > 10
    assert ids(lineage) == needed


def half_there(repository: Repository) -> list[str]:
    """Return the objects of which something that they need is gone."""

    def needs(wanted: str) -> Callable[[], list[str]] | list[str]:
        try:
            return list(repository.objects.load(wanted).links())
        except RegistryError:
            return []

    there = ids(repository)
    return [wanted for wanted in there if not set(needs(wanted)) <= there]  # type: ignore[arg-type]
