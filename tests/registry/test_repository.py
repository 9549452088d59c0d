"""The repository: making one, finding one, committing, moving HEAD, and what happens when the tip moved."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from registry import fsio, layout, locks
from registry.errors import (
    AlreadyARegistry,
    BadName,
    DeltaTaken,
    NameTaken,
    NotARegistry,
    NothingToDo,
    ObjectMissing,
    RefCorrupt,
    RefMoved,
    TipMoved,
    TokenTaken,
    UnknownConcept,
    UnknownFormat,
    UnknownRevision,
)
from registry.objects import Commit, Concept, Record, References, Tree
from registry.reflog import ReflogEntry
from registry.refs import HEADS, LOST, TAGS, Head
from registry.repository import Committed, Repository
from registry.trees import Change, with_concept, without_concept
from tests.registry.making import (
    AUTHOR,
    DIGEST,
    add,
    base,
    evaluation,
    evaluations,
    new_repository,
    put_concept,
    snapshot,
)


def remove(repository: Repository, name: str, seen: str | None = None) -> str:
    done = repository.commit(
        kind="remove",
        message=f"remove {name}",
        author=AUTHOR,
        time=1_800_000_000,
        record=None,
        change=lambda tree: without_concept(tree, name),
        seen=seen or repository.head().commit,
        keep_as=name,
    )
    return done.id


class TestMaking:
    def test_new_repository_has_one_commit_of_an_empty_tree(self, repository: Repository) -> None:
        head = repository.head()
        assert head.branch == "main"
        commit = repository.commit_of(head.commit)
        assert (commit.kind, commit.parents, commit.author, commit.time) == ("init", (), AUTHOR, 1_700_000_000)
        tree = repository.tree_of("HEAD")
        assert tree.concepts == {}
        assert repository.objects.load(tree.base) == base()
        assert repository.config == {"base": {"source": "emoji-64"}}
        assert [entry.message for entry in repository.reflog()] == ["init"]
        assert [entry.message for entry in repository.reflog("main")] == ["init"]

    def test_same_base_gives_the_same_ids_wherever_it_lies(self, tmp_path: Path) -> None:
        one, other = (new_repository(tmp_path / name) for name in ("one", "other"))
        assert one.head() == other.head()

    def test_folder_is_made_and_nothing_else_is_left(self, tmp_path: Path) -> None:
        repository = new_repository(tmp_path / "a" / "b")
        assert os.listdir(repository.root) == [".cns"]

    def test_second_init_is_refused(self, repository: Repository) -> None:
        before = snapshot(repository)
        with pytest.raises(AlreadyARegistry) as caught:
            new_repository(repository.root)
        assert caught.value.folder == repository.root
        assert snapshot(repository) == before

    def test_init_that_loses_the_race_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os.path, "lexists", lambda path: False)  # as if the other made it just after
        new_repository(tmp_path)
        with pytest.raises(AlreadyARegistry):
            new_repository(tmp_path)
        assert os.listdir(tmp_path) == [".cns"]

    def test_remains_of_a_killed_init_are_removed_once_they_are_old(self, tmp_path: Path) -> None:
        for name in ("old", "young", "held"):
            folder = tmp_path / f".cns{fsio.TEMPORARY}{name}"
            folder.mkdir()
            if name != "young":
                os.utime(folder, (1, 1))
        with locks.hold(tmp_path / f".cns{fsio.TEMPORARY}held" / "lock"):
            os.utime(tmp_path / f".cns{fsio.TEMPORARY}held", (1, 1))
            new_repository(tmp_path)
        assert sorted(os.listdir(tmp_path)) == [".cns", f".cns{fsio.TEMPORARY}held", f".cns{fsio.TEMPORARY}young"]

    def test_settings_may_be_dotted_or_nested(self, tmp_path: Path) -> None:
        settings = {"base.source": "/models/x", "mlflow": {"required": True}}
        made = Repository.init(tmp_path, base(), settings, author="", time=0)
        assert made.config == {"base": {"source": "/models/x"}, "mlflow": {"required": True}}
        made.set_config("mlflow.tracking_uri", "http://team:5000")
        assert Repository(tmp_path).config["mlflow"] == {"required": True, "tracking_uri": "http://team:5000"}


class TestFinding:
    def test_found_from_any_folder_below(self, repository: Repository) -> None:
        below = repository.root / "a" / "b"
        below.mkdir(parents=True)
        assert Repository.discover(below).root == repository.root
        assert Repository.discover(repository.root).folder == repository.folder

    def test_nothing_found_names_the_folder_and_init(self, tmp_path: Path) -> None:
        with pytest.raises(NotARegistry) as caught:
            Repository.discover(tmp_path)
        assert caught.value.folder == tmp_path.resolve()
        assert caught.value.hint == "cns init"

    def test_newer_format_is_refused_untouched(self, repository: Repository) -> None:
        (repository.folder / "format").write_text("cns registry 2\n")
        with pytest.raises(UnknownFormat) as caught:
            Repository.discover(repository.root)
        assert caught.value.found == "2"
        (repository.folder / "format").unlink()
        with pytest.raises(NotARegistry):
            layout.check_format(repository.folder)

    def test_opening_is_light(self) -> None:
        code = "import sys, registry.repository; print(*sys.modules)"
        loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        heavy = {"torch", "numpy", "mlflow", "sqlite_utils", "pandas", "safetensors", "filelock", "asyncio"}
        assert not heavy & {name.split(".")[0] for name in loaded}


class TestCommitting:
    def test_commit_moves_the_branch_and_is_logged(self, repository: Repository) -> None:
        before = repository.head().commit
        done = add(repository, "rex")
        assert repository.head().commit == done.id
        assert repository.head().branch == "main"
        assert done.commit == repository.commit_of(done.id)
        assert done.commit.parents == (before,)
        assert not done.rebased
        assert list(repository.concepts(repository.tree_of("HEAD"))) == ["rex"]
        for entry in (repository.reflog()[0], repository.reflog("main")[0]):
            assert (entry.old, entry.new, entry.message) == (before, done.id, "add: add rex")

    def test_record_is_no_part_of_a_concept(self, repository: Repository) -> None:
        done = add(repository, "rex")
        record = repository.objects.get(done.commit.record or "", Record)
        assert record.data["metrics"] == {"clip_i": 0.5, "identity": 0.79}

    def test_removing_gives_the_old_tree_back(self, repository: Repository) -> None:
        one = add(repository, "rex")
        add(repository, "tom")
        remove(repository, "tom")
        assert repository.commit_of(repository.head().commit).tree == one.commit.tree

    def test_name_that_is_taken_is_refused_and_nothing_moves(self, repository: Repository) -> None:
        add(repository, "rex")
        before = repository.head()
        with pytest.raises(NameTaken) as caught:
            add(repository, "rex", seed="other")
        assert caught.value.name == "rex"
        assert repository.head() == before
        assert repository.refs.names(LOST) == []

    def test_concept_that_replaces_another_is_no_clash(self, repository: Repository) -> None:
        done = add(repository, "rex")
        other = put_concept(repository.objects, "rex", done.commit.tree, "other")
        tree = with_concept(repository.tree_of("HEAD"), "rex", other, overwrite=True)
        assert tree.concepts == {"rex": other}
        assert with_concept(tree, "rex", other) is tree

    def test_token_or_delta_of_another_concept_is_refused(self, repository: Repository) -> None:
        done = add(repository, "rex")
        rex = repository.objects.get(repository.tree_of(done.id).concepts["rex"], Concept)
        with pytest.raises(TokenTaken) as token:
            add(repository, "tom", tokens=rex.tokens)
        assert (token.value.token, token.value.name, token.value.holder) == ("<rex>", "tom", "rex")
        with pytest.raises(TokenTaken) as vector:  # "<rex>" in a prompt would read both
            add(repository, "tom", tokens=("<rex>_1",))
        assert (vector.value.token, vector.value.name, vector.value.holder) == ("<rex>_1", "tom", "rex")
        with pytest.raises(DeltaTaken) as delta:
            add(repository, "tom", delta=rex.delta)
        assert (delta.value.name, delta.value.holder) == ("tom", "rex")
        concept = repository.tree_of(done.id).concepts["rex"]
        with pytest.raises(NameTaken) as name:
            with_concept(repository.tree_of(done.id), "tom", concept)
        assert (name.value.name, name.value.holder) == ("tom", "rex")
        assert repository.head().commit == done.id

    def test_tree_with_a_missing_part_is_refused(self, repository: Repository) -> None:
        before = repository.head()
        with pytest.raises(ObjectMissing) as caught:
            add(repository, "rex", mask=DIGEST)
        assert caught.value.object_id == DIGEST
        with pytest.raises(ObjectMissing):
            commit_change(repository, lambda tree: dataclasses.replace(tree, base=DIGEST))
        assert repository.head() == before

    def test_change_that_changes_nothing_is_said(self, repository: Repository) -> None:
        with pytest.raises(NothingToDo):
            commit_change(repository, lambda tree: tree)
        with pytest.raises(UnknownConcept) as caught:
            remove(repository, "rex")
        assert (caught.value.name, caught.value.known) == ("rex", ())

    def test_detached_head_moves_alone(self, repository: Repository) -> None:
        first = add(repository, "rex").id
        repository.checkout(first)
        second = add(repository, "tom").id
        assert repository.head().branch is None
        assert repository.head().commit == second
        assert repository.branches() == {"main": first}

    def test_message_of_many_lines_is_logged_by_its_first(self, repository: Repository) -> None:
        concept = put_concept(repository.objects, "rex", repository.commit_of(repository.head().commit).tree)
        commit_change(repository, lambda tree: with_concept(tree, "rex", concept), message="one\ntwo\x1b[0m")
        assert repository.reflog()[0].message == "add: one"


def commit_change(repository: Repository, change: object, message: str = "m", seen: str | None = None) -> str:
    return repository.commit(
        kind="add",
        message=message,
        author=AUTHOR,
        time=1_800_000_000,
        record=None,
        change=change,  # type: ignore[arg-type]
        seen=seen or repository.head().commit,
        keep_as="kept",
    ).id


class TestTipMoved:
    def test_change_that_fits_is_put_on_the_new_tip(self, repository: Repository) -> None:
        seen = repository.head().commit
        first = add(repository, "rex").id
        done = add(repository, "tom", seen=seen)
        assert done.rebased
        assert done.commit.parents == (first,)
        concepts = repository.concepts(repository.tree_of("HEAD"))
        assert list(concepts) == ["rex", "tom"]
        assert concepts["tom"].trained_on == repository.commit_of(seen).tree

    def test_training_whose_name_was_taken_is_kept(self, repository: Repository) -> None:
        seen = repository.head().commit
        first = add(repository, "rex").id
        for expected in ("refs/lost/rex", "refs/lost/rex-2", "refs/lost/rex-3"):
            with pytest.raises(TipMoved) as caught:
                add(repository, "rex", seen=seen, seed=expected)
            assert caught.value.lost_ref == expected
            kept = repository.commit_of(caught.value.commit)
            assert kept.parents == (seen,)
            assert repository.resolve(expected) == caught.value.commit
            assert list(repository.concepts(repository.tree_of(expected))) == ["rex"]
        assert repository.head().commit == first

    def test_clash_of_a_token_is_kept_too(self, repository: Repository) -> None:
        seen = repository.head().commit
        add(repository, "rex")
        with pytest.raises(TipMoved, match="'<rex>'"):
            add(repository, "tom", seen=seen, tokens=("<rex>",))

    def test_tip_on_another_base_is_no_place(self, repository: Repository) -> None:
        seen = repository.head().commit
        other = repository.objects.put(Tree(repository.objects.put(base("sd-1")), {}))
        commit = Commit(other, (seen,), None, "import", "other base", AUTHOR, 5)
        new = repository.objects.put(commit)
        repository.move_ref(HEADS + "main", seen, new, author=AUTHOR, time=5, message="import")
        with pytest.raises(TipMoved, match="base"):
            add(repository, "rex", seen=seen)

    def test_removal_that_came_first_leaves_nothing_to_do(self, repository: Repository) -> None:
        seen = add(repository, "rex").id
        remove(repository, "rex")
        with pytest.raises(TipMoved):
            remove(repository, "rex", seen=seen)

    def test_kept_name_must_be_a_name(self, repository: Repository) -> None:
        with pytest.raises(BadName):
            repository.commit(
                kind="add",
                message="",
                author="",
                time=0,
                record=None,
                change=lambda tree: tree,
                seen=DIGEST,
                keep_as="../x",
            )


class TestMoving:
    def test_checkout_of_a_branch_is_symbolic_else_detached(self, repository: Repository) -> None:
        first = add(repository, "rex").id
        add(repository, "tom")
        assert repository.checkout("HEAD~1", author="Ada", time=9) == repository.head()
        assert repository.head() == dataclasses.replace(repository.head(), branch=None, commit=first)
        entry = repository.reflog()[0]
        assert (entry.author, entry.time, entry.message) == ("Ada", 9, "checkout: moving from main to HEAD~1")
        assert repository.checkout("main").branch == "main"
        assert repository.checkout("HEAD").branch == "main"
        assert len(repository.reflog("main")) == 3

    def test_checkout_of_nothing_moves_nothing(self, repository: Repository) -> None:
        before = repository.head(), repository.reflog()
        with pytest.raises(UnknownRevision):
            repository.checkout("nope")
        assert (repository.head(), repository.reflog()) == before

    def test_checkout_needs_the_commit(self, repository: Repository) -> None:
        head = repository.head().commit
        commit = repository.objects.put(Commit(DIGEST, (), None, "import", "", "", 0))
        repository.move_ref(HEADS + "broken", None, commit, author="", time=0, message="x")
        repository.objects.path(commit).unlink()
        with pytest.raises(ObjectMissing):
            repository.checkout("broken")
        assert repository.head().commit == head

    def test_branches_and_tags_are_made_once(self, repository: Repository) -> None:
        first = repository.head().commit
        second = add(repository, "rex").id
        assert repository.create_branch("dev/Rex", "HEAD~1") == first
        assert repository.create_tag("v1", author="Ada", time=7) == second
        assert repository.branches() == {"dev/Rex": first, "main": second}
        assert repository.tags() == {"v1": second}
        assert repository.reflog(TAGS + "v1")[0].time == 7
        for make in (repository.create_branch, repository.create_tag):
            with pytest.raises(NameTaken):
                make("dev/Rex" if make == repository.create_branch else "v1")
            with pytest.raises(BadName):
                make("HEAD")
        assert repository.checkout("dev/Rex").branch == "dev/Rex"
        add(repository, "tom")
        assert repository.branches()["main"] == second

    def test_move_ref_swaps_and_logs(self, repository: Repository) -> None:
        first = repository.head().commit
        second = add(repository, "rex").id
        name = HEADS + "dev"
        repository.move_ref(name, None, first, author=AUTHOR, time=1, message="made")
        with pytest.raises(RefMoved):
            repository.move_ref(name, second, None, author=AUTHOR, time=2, message="from nowhere")
        repository.move_ref(name, first, second, author=AUTHOR, time=3, message="on")
        assert [entry.message for entry in repository.reflog("dev")] == ["on", "made"]
        repository.move_ref(name, second, None, author=AUTHOR, time=4, message="gone")
        assert "dev" not in repository.branches()
        assert [entry.message for entry in repository.reflog("dev")] == ["gone", "on", "made"]

    def test_head_on_a_branch_that_is_gone_is_named(self, repository: Repository) -> None:
        repository.refs.path(HEADS + "main").unlink()
        with pytest.raises(RefCorrupt, match="missing") as caught:
            repository.head()
        assert caught.value.name == "refs/heads/main"


class TestMerging:
    """Commits with several parents."""

    def sides(self, repository: Repository) -> tuple[str, str]:
        """Make two commits on one base, each with a concept of its own; HEAD is on the first, on main."""
        first = repository.head().commit
        ours = add(repository, "rex").id
        repository.create_branch("dev", first)
        repository.checkout("dev")
        theirs = add(repository, "tom").id
        repository.checkout("main")
        return ours, theirs

    def merge(self, repository: Repository, change: Change, *merged: str, seen: str | None = None) -> Committed:
        return repository.commit(
            kind="merge",
            message="merge dev",
            author=AUTHOR,
            time=1_800_000_000,
            record=None,
            change=change,
            seen=seen or repository.head().commit,
            keep_as="dev",
            merged=merged,
        )

    def test_the_tip_is_the_first_parent_and_what_is_merged_follows(self, repository: Repository) -> None:
        ours, theirs = self.sides(repository)
        tom = repository.tree_of(theirs).concepts["tom"]
        done = self.merge(repository, lambda tree: with_concept(tree, "tom", tom), theirs)
        assert repository.parents(done.id) == done.commit.parents == (ours, theirs)
        assert set(repository.tree_of("HEAD").concepts) == {"rex", "tom"}
        assert repository.reflog()[0].message == "merge: merge dev"
        assert repository.index.introduced(done.id) == {}
        repository.index.refresh([done.id], 0)
        assert repository.index.introduced(done.id) == {}

    def test_histories_may_be_joined_without_a_change_of_the_tree(self, repository: Repository) -> None:
        ours, theirs = self.sides(repository)
        done = self.merge(repository, lambda tree: tree, theirs)
        assert repository.commit_of(done.id).tree == repository.commit_of(ours).tree
        with pytest.raises(NothingToDo):
            self.merge(repository, lambda tree: tree, done.id)  # the tip is no second parent of itself
        assert repository.head().commit == done.id

    def test_only_what_no_parent_has_is_looked_for_again(self, repository: Repository) -> None:
        ours, theirs = self.sides(repository)
        tom = repository.tree_of(theirs).concepts["tom"]
        pip = put_concept(repository.objects, "pip", repository.commit_of(ours).tree)
        for one in (tom, pip):
            references = repository.objects.get(repository.objects.get(one, Concept).references, References)
            repository.objects.path(references.images or "").unlink()
        with pytest.raises(ObjectMissing, match="reference image"):
            self.merge(repository, lambda tree: with_concept(tree, "pip", pip), theirs)
        assert repository.head().commit == ours
        self.merge(repository, lambda tree: with_concept(tree, "tom", tom), theirs)  # held by the other parent

    def test_a_commit_that_is_gone_is_not_merged(self, repository: Repository) -> None:
        ours, _ = self.sides(repository)
        with pytest.raises(ObjectMissing):
            self.merge(repository, lambda tree: tree, DIGEST)
        assert repository.head().commit == ours

    def test_a_merge_that_does_not_fit_on_a_moved_tip_is_kept_with_both_parents(self, repository: Repository) -> None:
        ours, theirs = self.sides(repository)
        add(repository, "tom", seed="other")
        tom = repository.tree_of(theirs).concepts["tom"]
        with pytest.raises(TipMoved) as caught:
            self.merge(repository, lambda tree: with_concept(tree, "tom", tom), theirs, seen=ours)
        assert repository.parents(caught.value.commit) == (ours, theirs)
        assert repository.refs.get(LOST + "dev") == caught.value.commit


class TestMove:
    def test_the_branch_of_head_goes_anywhere_and_the_log_keeps_where_it_was(self, repository: Repository) -> None:
        first = repository.head().commit
        second = add(repository, "rex").id
        assert repository.move(first, message="reset: moving to HEAD~1", author=AUTHOR, time=7) == Head("main", first)
        assert repository.branches() == {"main": first}
        for ref in ("HEAD", "main"):
            assert repository.reflog(ref)[0] == ReflogEntry(second, first, AUTHOR, 7, "reset: moving to HEAD~1")
        assert repository.resolve("HEAD@{1}") == second

    def test_a_detached_head_moves_alone(self, repository: Repository) -> None:
        first = repository.head().commit
        second = add(repository, "rex").id
        repository.checkout(second)
        assert repository.move(first, message="reset", author=AUTHOR) == Head(None, first) == repository.head()
        assert repository.branches() == {"main": second}

    def test_a_caller_who_looked_is_told_that_head_moved(self, repository: Repository) -> None:
        first = repository.head().commit
        second = add(repository, "rex").id
        logged = repository.reflog()
        with pytest.raises(RefMoved):
            repository.move(first, message="reset", author=AUTHOR, old=first)
        with pytest.raises(ObjectMissing):
            repository.move(DIGEST, message="reset", author=AUTHOR, old=second)
        repository.move(second, message="reset", author=AUTHOR, old=second)
        assert (repository.head().commit, repository.reflog()) == (second, logged)


class TestLog:
    def test_newest_first_and_limited(self, repository: Repository) -> None:
        ids = [repository.head().commit, *(add(repository, name).id for name in ("a", "b", "c"))]
        assert [found for found, _ in repository.log()] == ids[::-1]
        assert [found for found, _ in repository.log("HEAD~1", limit=2)] == [ids[2], ids[1]]
        assert [found for found, _ in repository.log(ids[1])] == [ids[1], ids[0]]
        assert list(repository.log(limit=0)) == []

    def test_merges_show_both_sides_once(self, repository: Repository) -> None:
        first = repository.head().commit
        left = add(repository, "left").id
        repository.checkout(first)
        right = add(repository, "right").id
        tree = repository.commit_of(left).tree
        merge = repository.objects.put(Commit(tree, (left, right), None, "merge", "", AUTHOR, 1_900_000_000))
        order = [found for found, _ in repository.log(merge)]
        assert order[0] == merge
        assert set(order[1:3]) == {left, right}
        assert order[3:] == [first]

    def test_unknown_start_is_said_at_once(self, repository: Repository) -> None:
        with pytest.raises(UnknownRevision):
            repository.log("nope")


class TestEvaluations:
    def test_found_by_tree_concept_and_protocol(self, repository: Repository) -> None:
        add(repository, "rex")
        add(repository, "tom")
        stored = [evaluation(repository, "rex"), evaluation(repository, "rex", "p2"), evaluation(repository, "tom")]
        ids = [repository.add_evaluation(one) for one in stored]
        assert repository.add_evaluation(stored[0]) == ids[0]
        for one in stored:
            assert evaluations(repository, one.tree, one.concept, one.protocol_digest) == [one]
        assert evaluations(repository, stored[0].tree, stored[0].concept, "p3") == []
        assert evaluations(repository, DIGEST, stored[0].concept, "p1") == []

    def test_more_scores_of_one_protocol_are_all_kept(self, repository: Repository) -> None:
        add(repository, "rex")
        more = [evaluation(repository, "rex", scores=[number / 10]) for number in range(3)]
        for one in more:
            repository.add_evaluation(one)
        assert sorted(
            found.scores["clip_i"] for found in evaluations(repository, more[0].tree, more[0].concept, "p1")
        ) == [
            [0.0],
            [0.1],
            [0.2],
        ]


def test_nothing_is_written_outside(repository: Repository) -> None:
    add(repository, "rex")
    list(repository.log())
    assert os.listdir(repository.root) == [".cns"]
    assert not list(repository.folder.rglob(f"{fsio.TEMPORARY}*"))


def test_a_commit_of_a_concept_whose_parts_are_missing_changes_nothing(repository: Repository) -> None:
    before = (repository.head(), list(repository.log()), repository.refs.names(LOST))
    with pytest.raises(ObjectMissing):
        add(repository, "rex", mask=DIGEST)
    assert (repository.head(), list(repository.log()), repository.refs.names(LOST)) == before
