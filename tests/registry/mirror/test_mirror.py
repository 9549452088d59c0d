"""The mirror, on a real MLflow store: what is in it, that it repairs itself, and that it gives everything back."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from safetensors.numpy import load, save

from registry import canonical, trust
from registry.errors import BadValue, MlflowUnavailable, ObjectCorrupt, ObjectMissing
from registry.health.fsck import fsck
from registry.mirror import runs, scores
from registry.mirror.mirror import MlflowMirror
from registry.mirror.server import MlflowStore
from registry.objects import Blob, Commit, Evaluation, Record
from registry.refs import HEADS
from registry.repository import Repository
from registry.trees import birth, with_concept
from tests.registry.making import AUTHOR, DIGEST, add, evaluation, evaluations, new_repository, put_concept, snapshot


@pytest.fixture
def dogs(repository: Repository, mlflow_template: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A registry whose first use of MLflow copies a migrated database; the last tests here run the migrations."""
    monkeypatch.setattr(MlflowStore, "_make_database", lambda store: shutil.copy(mlflow_template, store.file))
    return repository


@pytest.mark.parametrize("call", ["create_run", "log_artifacts", "set_terminated"])
def test_a_ctrl_c_leaves_no_run_open(dogs: Repository, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right after the server has done what was asked, before we know of it: the moment in which a run would leak."""
    add(dogs, "rex")
    asked = getattr(MlflowClient, call)

    def interrupting(client: MlflowClient, *words: object, **more: object) -> object:
        if call != "set_terminated":
            answer = asked(client, *words, **more)
        signal.raise_signal(signal.SIGINT)
        return asked(client, *words, **more) if call == "set_terminated" else answer

    monkeypatch.setattr(MlflowClient, call, interrupting)
    with pytest.raises(KeyboardInterrupt):
        MlflowMirror(dogs).record(dogs.head().commit)
    monkeypatch.undo()
    client = MlflowClient(f"sqlite:///{dogs.folder / 'mlflow.db'}")
    found = client.search_runs([one.experiment_id for one in client.search_experiments()])
    assert {run.info.status for run in found} <= {"FAILED", "FINISHED"}
    assert found
    MlflowMirror(dogs).sync()


@pytest.fixture(scope="module")
def mirrored(scratch: Path, mlflow_template: Path) -> tuple[Path, Path]:
    """A mirrored lineage in `home/dogs`, and a copy of it: MLflow keeps absolute paths, so it is put back there."""
    home, saved = (Path(tempfile.mkdtemp(dir=scratch)) for _ in range(2))
    repository = new_repository(home / "dogs")
    shutil.copy(mlflow_template, repository.folder / "mlflow.db")
    grow(repository)
    shutil.copytree(home, saved, dirs_exist_ok=True)
    return home, saved


@pytest.fixture
def lineage(mirrored: tuple[Path, Path], dogs: Repository) -> Repository:
    """Three concepts, a tag, branches, a lost commit and scores, all mirrored; fresh for each test."""
    home, saved = mirrored
    shutil.rmtree(home)
    shutil.copytree(saved, home)
    return Repository(home / "dogs")


def grow(dogs: Repository) -> None:
    for name in ("rex", "tom"):
        add(dogs, name)
    dogs.create_tag("v1.0")
    dogs.create_branch("Dev/x", "HEAD~1")
    dogs.checkout("Dev/x", time=0)
    add(dogs, "kim")
    dogs.move_ref("refs/lost/ann", None, dogs.resolve("main"), author=AUTHOR, time=0, message="lost")
    dogs.move_ref("refs/aliases/champion", None, dogs.resolve("main"), author=AUTHOR, time=9, message="promote: kept")
    dogs.add_evaluation(evaluation(dogs, "rex"))
    MlflowMirror(dogs).sync()


def client_of(repository: Repository) -> MlflowClient:
    return MlflowClient(f"sqlite:///{repository.folder / 'mlflow.db'}")


def name_of(repository: Repository) -> str:
    return str(repository.config["mlflow"]["name"])


def runs_of(repository: Repository, of: str = "") -> list[Any]:
    """The runs of commits; of="-scores": of evaluations."""
    client = client_of(repository)
    experiment = client.get_experiment_by_name(name_of(repository) + of)
    return list(client.search_runs([experiment.experiment_id]))


class TestRecording:
    def test_commit_is_a_run_a_model_and_a_version(self, dogs: Repository) -> None:
        first = dogs.head().commit
        done = add(dogs, "rex")
        mirror = MlflowMirror(dogs)
        report = mirror.record(done.id)
        assert report.commits == [first, done.id]
        assert mirror.tracking_uri.endswith(".cns/mlflow.db")

        client, name = client_of(dogs), name_of(dogs)
        assert re.fullmatch(f"dogs-{first[:8]}", name)
        version = client.get_model_version_by_alias(name, "HEAD")
        assert version.tags["cns.commit"] == done.id
        assert version.tags["cns.parents"] == first
        assert version.tags["cns.concepts"] == "rex"
        assert (version.tags["ref"], version.tags["new"]) in {(HEADS + "main", done.id), ("HEAD", f"ref: {HEADS}main")}
        assert client.get_model_version_by_alias(name, "branch-main").version == version.version

        run = client.get_run(version.run_id)
        assert run.info.status == "FINISHED"
        assert run.data.params == {"lr": "0.0001", "score": "wanda"}
        assert run.data.metrics == {"clip_i": 0.5, "identity": 0.79, "loss": 0.25}
        assert [point.value for point in client.get_metric_history(version.run_id, "loss")] == [1.0, 0.5, 0.25]
        assert run.info.start_time == done.commit.time * 1000
        assert {file.path for file in client.list_artifacts(version.run_id)} >= {
            "commit.json",
            "concept.json",
            "mask.safetensors",
            "delta.safetensors",
            "previews",
        }
        model = client.get_logged_model(run.data.tags["cns.model"])
        assert (model.tags["cns.commit"], model.source_run_id, model.status) == (done.id, version.run_id, "READY")
        assert model.params["score"] == "wanda"
        assert {metric.key for metric in model.metrics} == {"clip_i", "identity"}

    def test_plain_client_and_safetensors_read_mask_and_delta(self, dogs: Repository) -> None:
        import numpy as np

        values = {"mask": [0, 1, 2], "delta": [3, -1, 2]}
        arrays = {part: save({"to_k": np.array(numbers, np.int16)}) for part, numbers in values.items()}
        add(dogs, "rex", **{part: dogs.objects.put(Blob(data)) for part, data in arrays.items()})
        MlflowMirror(dogs).record(dogs.head().commit)
        client = client_of(dogs)
        version = client.get_model_version_by_alias(name_of(dogs), "branch-main")
        for part in ("mask", "delta"):
            path = client.download_artifacts(version.run_id, f"{part}.safetensors")
            assert load(Path(path).read_bytes())["to_k"].tolist() == values[part]

    def test_recording_twice_is_recording_once(self, dogs: Repository) -> None:
        commit = add(dogs, "rex").id
        MlflowMirror(dogs).record(commit)
        before = runs_of(dogs), client_of(dogs).search_model_versions(f"name = '{name_of(dogs)}'")
        report = MlflowMirror(dogs).record(commit)
        assert (report.commits, report.refs) == ([], [])
        assert len(runs_of(dogs)) == len(before[0])
        assert len(client_of(dogs).search_model_versions(f"name = '{name_of(dogs)}'")) == len(before[1])

    def test_each_commit_after_the_first_is_one_run_and_one_version(self, dogs: Repository) -> None:
        MlflowMirror(dogs).record(add(dogs, "rex").id)
        before = len(client_of(dogs).search_model_versions(f"name = '{name_of(dogs)}'"))
        report = MlflowMirror(dogs).record(add(dogs, "tom").id)
        assert report.refs == [HEADS + "main"]
        assert len(client_of(dogs).search_model_versions(f"name = '{name_of(dogs)}'")) == before + 1
        assert MlflowMirror(dogs).sync().refs == []

    def test_default_experiment_stays_empty_and_the_current_folder_clean(self, lineage: Repository) -> None:
        client = client_of(lineage)
        assert list(client.search_runs(["0"])) == []
        assert os.listdir(lineage.root) == [".cns"]
        experiment = client.get_experiment_by_name(name_of(lineage))
        assert experiment.artifact_location == f"{(lineage.folder / 'mlartifacts').as_uri()}/{name_of(lineage)}"

    def test_long_curves_go_in_batches(self, dogs: Repository) -> None:
        head = dogs.head().commit
        concept = put_concept(dogs.objects, "rex", dogs.commit_of(head).tree)
        record = Record({"series": {"long": [float(step) for step in range(2500)]}})
        done = dogs.commit(
            kind="add",
            message="",
            author=AUTHOR,
            time=1,
            record=record,
            change=lambda tree: with_concept(tree, "rex", concept),
            seen=head,
            keep_as="rex",
        )
        MlflowMirror(dogs).record(done.id)
        run = client_of(dogs).get_model_version_by_alias(name_of(dogs), "HEAD").run_id
        assert len(client_of(dogs).get_metric_history(run, "long")) == 2500


class TestSync:
    def test_nothing_is_left_to_do(self, lineage: Repository) -> None:
        report = MlflowMirror(lineage).sync()
        assert (report.commits, report.evaluations, report.refs, report.rebuilt) == ([], [], [], False)

    def test_aliases_follow_refs_that_moved_without_a_commit(self, lineage: Repository) -> None:
        client, name = client_of(lineage), name_of(lineage)
        assert set(client.get_registered_model(name).aliases) == {
            "HEAD",
            "branch-main",
            "branch-Dev_2fx",
            "tag-v1_2e0",
            "lost-ann",
            "champion",
        }
        lineage.checkout("main", time=0)
        tip = lineage.resolve("Dev/x")
        lineage.move_ref(HEADS + "Dev/x", tip, None, author=AUTHOR, time=0, message="deleted")
        report = MlflowMirror(lineage).sync()
        assert sorted(report.refs) == ["HEAD", HEADS + "Dev/x"]
        aliases = client.get_registered_model(name).aliases
        assert "branch-Dev_2fx" not in aliases
        assert client.get_model_version_by_alias(name, "HEAD").tags["cns.commit"] == lineage.resolve("main")
        assert MlflowMirror(lineage).sync().refs == []

    def test_scores_are_metrics(self, lineage: Repository) -> None:
        assert [run.data.metrics for run in runs_of(lineage, "-scores")] == [{"rex.clip_i": 0.5}]

    def test_scores_stand_in_an_experiment_of_their_own(self, lineage: Repository) -> None:
        """There are many; the other one, on which MLflow's interface opens, shows a line for each commit."""
        assert all("cns.commit" in run.data.tags for run in runs_of(lineage))
        assert all("cns.evaluation" in run.data.tags for run in runs_of(lineage, "-scores"))

    def test_run_of_a_killed_process_is_made_again(self, dogs: Repository) -> None:
        MlflowMirror(dogs).sync()
        commit = add(dogs, "rex").id
        client = client_of(dogs)
        experiment = client.get_experiment_by_name(name_of(dogs)).experiment_id
        killed = client.create_run(experiment, tags={"cns.commit": commit}).info.run_id
        assert MlflowMirror(dogs).sync().commits == [commit]
        assert client.get_run(killed).info.status == "KILLED"

    def test_files_that_are_gone_are_written_again(self, lineage: Repository) -> None:
        tip = lineage.head().commit
        run = client_of(lineage).get_model_version_by_alias(name_of(lineage), "HEAD").run_id
        shutil.rmtree(lineage.folder / "mlartifacts" / name_of(lineage) / run)
        assert MlflowMirror(lineage).sync().commits == [tip]
        assert client_of(lineage).get_model_version_by_alias(name_of(lineage), "HEAD").run_id != run
        restored(lineage)

    def test_commits_that_only_the_reflog_names_are_mirrored(self, dogs: Repository) -> None:
        first = dogs.head().commit
        gone = add(dogs, "rex").id
        dogs.move_ref(HEADS + "main", gone, first, author=AUTHOR, time=0, message="reset")
        assert set(MlflowMirror(dogs).sync().commits) == {first, gone}

    def test_a_model_that_was_deleted_in_mlflow_is_written_anew(self, dogs: Repository) -> None:
        """Its versions count from 1 again, and what was read of the old ones must not be believed."""
        MlflowMirror(dogs).record(add(dogs, "rex").id)
        client_of(dogs).delete_registered_model(name_of(dogs))
        tip = add(dogs, "tom").id
        report = MlflowMirror(dogs).record(tip)
        assert {"HEAD", HEADS + "main"} <= set(report.refs)
        assert client_of(dogs).get_model_version_by_alias(name_of(dogs), "branch-main").tags["cns.commit"] == tip

    def test_move_that_another_client_lost_does_not_count(self, lineage: Repository) -> None:
        client, name = client_of(lineage), name_of(lineage)
        run = client.get_model_version_by_alias(name, "HEAD").run_id
        stale = {"cns.commit": DIGEST, "ref": HEADS + "main", "old": DIGEST, "new": DIGEST}
        client.create_model_version(name, f"runs:/{run}", run, tags=stale, await_creation_for=0)
        assert MlflowMirror(lineage).sync().refs == []
        restored(lineage)

    @pytest.mark.parametrize("content", [b"", b"garbage" * 1000, None])
    def test_database_that_is_none_is_rebuilt(self, lineage: Repository, content: bytes | None) -> None:
        database = lineage.folder / "mlflow.db"
        if content is None:
            os.truncate(database, database.stat().st_size // 2)
        else:
            database.write_bytes(content)
        broken = database.read_bytes()
        assert len(MlflowMirror(lineage).sync().commits) == 4
        assert database.with_name("mlflow.db.broken").read_bytes() == broken
        restored(lineage)

    def test_what_was_set_aside_is_not_written_over(self, lineage: Repository) -> None:
        database = lineage.folder / "mlflow.db"
        for content in (b"first" * 1000, b"second" * 1000):
            database.write_bytes(content)
            MlflowMirror(lineage).sync()
        assert database.with_name("mlflow.db.broken").read_bytes() == b"first" * 1000
        assert database.with_name("mlflow.db.broken2").read_bytes() == b"second" * 1000


def restored(repository: Repository, *, also: tuple[str, ...] = ()) -> None:
    """Delete the objects, restore, and compare every byte."""
    before = snapshot(repository)
    shutil.rmtree(repository.folder / "objects")
    for name in also:
        path = repository.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    report = MlflowMirror.restore(repository.root)
    assert report.damaged == []
    assert snapshot(repository) == before


def added_at_once(dogs: Repository) -> None:
    """Two concepts, both trained on the first commit, each scored beside what it was trained on; mirrored."""
    first = dogs.head().commit
    for name in ("rex", "tom"):
        add(dogs, name, seen=first)
        concept = dogs.tree_of("HEAD").concepts[name]
        born = birth(dogs.objects, concept)
        dogs.objects.put(born)
        dogs.add_evaluation(Evaluation(born.id, concept, name, {"images": 2}, "p1", {"clip_i": [0.5]}))
    MlflowMirror(dogs).sync()


class TestRestore:
    def test_every_object_comes_back_bit_for_bit(self, lineage: Repository) -> None:
        restored(lineage)

    def test_scores_of_concepts_that_were_added_at_once_come_back(self, dogs: Repository) -> None:
        """The tree of the second one's birth is no commit's: its commit holds both."""
        added_at_once(dogs)
        restored(dogs)
        assert not fsck(dogs.folder)[0].damaged

    def test_recording_a_commit_records_the_scores_that_are_there(self, dogs: Repository) -> None:
        add(dogs, "rex")
        dogs.add_evaluation(evaluation(dogs, "rex"))
        MlflowMirror(dogs).record(dogs.head().commit)
        restored(dogs)

    def test_a_mirror_that_lacks_trees_of_births_is_made_whole(
        self, dogs: Repository, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As 0.1 wrote it before: scores among the commits, without their trees."""
        monkeypatch.setattr(scores, "experiment_of", lambda name: name)

        def without_tree(_store: Any, evaluation_id: str) -> runs.RunFiles:
            return runs.RunFiles({evaluation_id: ("evaluation", "evaluation.json")})

        monkeypatch.setattr(runs, "evaluation_files", without_tree)
        added_at_once(dogs)
        monkeypatch.undo()
        restored(dogs)
        assert not fsck(dogs.folder)[0].damaged
        assert MlflowMirror(dogs).sync().evaluations == []

    def test_scores_that_mlflow_never_had_are_named(self, lineage: Repository) -> None:
        new = lineage.add_evaluation(evaluation(lineage, "kim"))
        shutil.rmtree(lineage.folder / "objects")
        report = MlflowMirror.restore(lineage.root)
        assert [(ref.rpartition("/")[2], lacks) for ref, lacks in report.lacking.items()] == [(new, new)]
        assert report.refs.keys().isdisjoint(report.lacking)

    def test_every_ref_comes_back_too(self, lineage: Repository) -> None:
        restored(lineage, also=("refs", "HEAD", "logs"))
        again = Repository(lineage.root)
        assert again.head().branch == "Dev/x"
        assert again.tags() == {"v1.0": again.resolve("main")}
        assert len(evaluations(again, again.commit_of(again.head().commit).tree, *found(again))) == 1

    def test_all_but_mlflow_may_be_gone(self, lineage: Repository) -> None:
        restored(lineage, also=("refs", "HEAD", "format", "config.toml", "logs"))
        assert list(Repository(lineage.root).log())
        config = Repository(lineage.root).config
        assert config["mlflow"]["name"].startswith("dogs-")
        assert config["base"] == {"source": "emoji-64"}

    def test_detached_head_comes_back(self, lineage: Repository) -> None:
        lineage.checkout("HEAD~1", time=0)
        MlflowMirror(lineage).sync()
        restored(lineage, also=("HEAD",))
        assert Repository(lineage.root).head().branch is None

    def test_only_what_is_missing_is_touched(self, lineage: Repository) -> None:
        report = MlflowMirror.restore(lineage.root)
        assert {name for name in report.refs if not name.startswith("refs/evaluations/")} == set()
        assert report.kept == []

    def test_corrupt_refs_are_replaced_and_newer_ones_kept(self, lineage: Repository) -> None:
        newer = add(lineage, "new").id  # MLflow was out of reach
        lineage.refs.path(HEADS + "main").write_text("garbage")
        report = MlflowMirror.restore(lineage.root)
        assert HEADS + "main" in report.refs
        assert report.kept == [HEADS + "Dev/x"]
        assert Repository(lineage.root).head().commit == newer

    def test_ref_whose_commit_is_gone_goes_back(self, lineage: Repository) -> None:
        tip = lineage.head().commit
        newer = add(lineage, "new").id
        lineage.objects.path(newer).unlink()
        report = MlflowMirror.restore(lineage.root)
        assert report.refs[HEADS + "Dev/x"] == tip
        assert Repository(lineage.root).head().commit == tip

    def test_file_that_was_changed_in_mlflow_is_reported(self, lineage: Repository) -> None:
        run = client_of(lineage).get_model_version_by_alias(name_of(lineage), "HEAD").run_id
        mask = lineage.folder / "mlartifacts" / name_of(lineage) / run / "artifacts" / "mask.safetensors"
        mask.write_bytes(b"changed")
        report = MlflowMirror.restore(lineage.root)
        assert len(report.damaged) == 1
        assert "mask.safetensors" in report.damaged[0]

    @pytest.mark.parametrize("lost", ["mask.safetensors", "objects.json"])
    def test_a_sync_writes_files_again_that_are_gone(self, lineage: Repository, lost: str) -> None:
        run = client_of(lineage).get_model_version_by_alias(name_of(lineage), "branch-Dev_2fx").run_id
        place = lineage.folder / "mlartifacts" / name_of(lineage) / run / "artifacts"
        content = (place / lost).read_bytes()
        (place / lost).unlink()
        report = MlflowMirror(lineage).sync()
        if lost != "objects.json":  # without it a run of a file counts as none, and is written anew
            assert len(report.mended) == 1
            assert (place / lost).read_bytes() == content
        again = MlflowMirror(lineage).sync()
        assert (again.mended, again.commits, again.refs) == ([], [], [])
        restored(lineage)

    def test_of_a_damaged_run_the_whole_files_come_back(self, lineage: Repository) -> None:
        run = client_of(lineage).get_model_version_by_alias(name_of(lineage), "branch-Dev_2fx").run_id
        place = lineage.folder / "mlartifacts" / name_of(lineage) / run / "artifacts"
        (place / "mask.safetensors").unlink()
        objects = canonical.decode((place / "objects.json").read_bytes())["objects"]
        shutil.rmtree(lineage.folder / "objects")
        with pytest.raises(MlflowUnavailable):
            MlflowMirror.restore(lineage.root)
        lost = {one for one, entry in objects.items() if entry["path"] == "mask.safetensors"}
        assert {one for one in objects if not lineage.objects.has(one)} == lost

    def test_where_an_object_is_missing_no_ref_moves(self, lineage: Repository) -> None:
        """Not even those that are whole: HEAD must not end at nothing, and half a registry looks like a whole one."""
        run = client_of(lineage).get_model_version_by_alias(name_of(lineage), "branch-Dev_2fx").run_id
        (lineage.folder / "mlartifacts" / name_of(lineage) / run / "artifacts" / "mask.safetensors").unlink()
        shutil.rmtree(lineage.folder / "objects")
        shutil.rmtree(lineage.folder / "refs")
        before = (lineage.folder / "HEAD").read_bytes()
        with pytest.raises(
            MlflowUnavailable, match=r"mask\.safetensors is missing in MLflow; no ref was moved"
        ) as lacks:
            MlflowMirror.restore(lineage.root)
        assert lacks.value.hint == "where the registry is whole: cns mlflow sync", "there may be none here"
        assert [file for file in (lineage.folder / "refs").rglob("*") if file.is_file()] == []
        assert (lineage.folder / "HEAD").read_bytes() == before

    def test_moved_folder_restores_and_mirrors_anew(self, lineage: Repository) -> None:
        elsewhere = lineage.root.with_name("cats")
        lineage.root.rename(elsewhere)
        moved = Repository(elsewhere)
        restored(moved)
        report = MlflowMirror(moved).record(moved.head().commit)
        assert report.rebuilt
        assert len(report.commits) == 4
        restored(moved)

    @pytest.mark.parametrize("kind", ["blob", "evaluation"])
    @pytest.mark.parametrize("gone", [True, False], ids=["gone", "damaged"])
    def test_moved_folder_that_lacks_an_object_is_not_mirrored_over(
        self, lineage: Repository, kind: str, gone: bool
    ) -> None:
        lineage.add_evaluation(evaluation(lineage, "rex"))
        MlflowMirror(lineage).sync()
        elsewhere = lineage.root.with_name("cats")
        lineage.root.rename(elsewhere)
        moved = Repository(elsewhere)
        wanted = next(known for known in moved.objects.ids() if moved.objects.kind_of(known) == kind)
        path = moved.objects.path(wanted)
        content = path.read_bytes()
        path.unlink()
        if not gone:
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises((ObjectMissing, ObjectCorrupt)):
            MlflowMirror(moved).sync()
        assert MlflowMirror.restore(elsewhere).damaged == []
        moved.objects.read(wanted)

    def test_nothing_to_restore_from_is_said(self, repository: Repository, tmp_path: Path) -> None:
        with pytest.raises(MlflowUnavailable, match="nothing to restore from; expected a store that holds"):
            MlflowMirror.restore(repository.root)
        assert not (repository.folder / "mlflow.db").exists()

    def test_name_that_mlflow_does_not_know_is_said(self, lineage: Repository) -> None:
        lineage.set_config("mlflow.name", "other")
        with pytest.raises(MlflowUnavailable, match="'other'"):
            MlflowMirror.restore(lineage.root)

    def test_choice_between_registries_is_left_to_the_person(self, lineage: Repository) -> None:
        client_of(lineage).create_registered_model("other", tags={"cns.registry": "other"})
        lineage.set_config("mlflow.name", None)
        with pytest.raises(MlflowUnavailable, match=r"several registries: dogs-.*, other") as caught:
            MlflowMirror.restore(lineage.root)
        assert caught.value.hint.startswith("cns mlflow restore --name dogs-")


def found(repository: Repository) -> tuple[str, str]:
    return repository.tree_of("HEAD").concepts["rex"], "p1"


@pytest.fixture
def server(tmp_path: Path, mlflow_template: Path) -> Iterator[str]:
    """A tracking server's stand-in that needs no port: another database, with artifacts of its own."""
    database = tmp_path / "team" / "mlflow.db"
    database.parent.mkdir()
    shutil.copy(mlflow_template, database)
    here = Path.cwd()
    os.chdir(database.parent)  # where a store without an artifact root puts its files
    yield f"sqlite:///{database}"
    os.chdir(here)


class TestElsewhere:
    def test_lineage_travels_to_an_empty_folder(self, repository: Repository, server: str, tmp_path: Path) -> None:
        add(repository, "rex")
        repository.set_config("mlflow.tracking_uri", server)
        trust.allow([repository.root])
        mirror = MlflowMirror(repository)
        assert mirror.tracking_uri == server
        mirror.record(repository.head().commit)
        assert not (repository.folder / "mlflow.db").exists()
        clone = tmp_path / "clone"
        report = MlflowMirror.restore(clone, server)
        assert report.refs["HEAD"] == "ref: refs/heads/main"
        assert snapshot(Repository(clone)) == snapshot(repository)

    def test_two_registries_share_a_server(self, repository: Repository, server: str, tmp_path: Path) -> None:
        other = new_repository(tmp_path / "other" / "cats")
        for one in (repository, other):
            MlflowMirror(one, server).record(add(one, "rex").id)
        assert name_of(repository) != name_of(other)
        with pytest.raises(MlflowUnavailable):
            MlflowMirror.restore(tmp_path / "clone", server)
        assert not (tmp_path / "clone" / ".cns").exists()  # nothing half-made is left
        MlflowMirror.restore(tmp_path / "clone", server, name_of(other))
        assert snapshot(Repository(tmp_path / "clone")) == snapshot(other)
        with pytest.raises(BadValue, match="another folder"):
            MlflowMirror.restore(tmp_path / "clone", server, name_of(repository))
        assert snapshot(Repository(tmp_path / "clone")) == snapshot(other)

    def test_argument_wins_over_config(self, repository: Repository, server: str) -> None:
        repository.set_config("mlflow.tracking_uri", "http://127.0.0.1:1")
        assert MlflowMirror(repository, server).tracking_uri == server


class TestUnavailable:
    def test_commit_stands_and_sync_repairs(self, dogs: Repository) -> None:
        done = add(dogs, "rex")
        with pytest.raises(MlflowUnavailable) as caught:
            MlflowMirror(dogs, "http://127.0.0.1:1").record(done.id)
        assert caught.value.hint == "cns mlflow sync"
        assert caught.value.tracking_uri == "http://127.0.0.1:1"
        assert dogs.head().commit == done.id
        assert MlflowMirror(dogs).sync().commits[-1] == done.id

    def test_garbage_in_the_place_of_the_database(self, dogs: Repository) -> None:
        done = add(dogs, "rex")
        (dogs.folder / "mlflow.db").write_bytes(b"garbage" * 1000)
        with pytest.raises(MlflowUnavailable):
            MlflowMirror(dogs).record(done.id)
        assert MlflowMirror(dogs).sync().commits[-1] == done.id

    def test_lock_that_cannot_be_had(self, dogs: Repository) -> None:
        (dogs.folder / "mlflow.lock").mkdir()
        with pytest.raises(MlflowUnavailable):
            MlflowMirror(dogs).record(dogs.head().commit)

    def test_mlflow_that_is_not_installed(self, dogs: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "mlflow", None)
        with pytest.raises(MlflowUnavailable, match="mlflow"):
            MlflowMirror(dogs).record(dogs.head().commit)

    def test_failure_in_the_middle_leaves_a_failed_run(self, dogs: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
        MlflowMirror(dogs).record(dogs.head().commit)
        done = add(dogs, "rex")
        with monkeypatch.context() as broken:
            broken.setattr(MlflowClient, "log_artifacts", lambda *words: Path("no\0name").touch())
            for _ in range(2):
                with pytest.raises(MlflowUnavailable):
                    MlflowMirror(dogs).record(done.id)
        statuses = [run.info.status for run in runs_of(dogs)]  # type: ignore[attr-defined]
        assert sorted(statuses) == ["FAILED", "FAILED", "FINISHED"]
        assert MlflowMirror(dogs).sync().commits == [done.id]

    def test_commit_that_is_damaged_is_no_fault_of_mlflow(self, dogs: Repository) -> None:
        missing = Commit(DIGEST, (), None, "import", "", "", 0)
        with pytest.raises(ObjectMissing):
            MlflowMirror(dogs).record(dogs.objects.put(missing))


FIRST_USE = """
import sys
import tempfile
from pathlib import Path
from registry.mirror.mirror import MlflowMirror
from registry.repository import Repository
repository = Repository.discover(Path(sys.argv[1]))
MlflowMirror(repository).record(repository.head().commit)
"""


def test_first_use_by_several_processes_at_once(repository: Repository) -> None:
    commit = add(repository, "rex").id
    command = [sys.executable, "-c", FIRST_USE, str(repository.root)]
    root = Path(__file__).resolve().parents[3]
    started = [subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in started:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert err == ""  # nothing of MLflow's talk reaches the user
    assert len(runs_of(repository)) == 2
    assert client_of(repository).get_model_version_by_alias(name_of(repository), "HEAD").tags["cns.commit"] == commit
    assert not list(repository.folder.glob(".tmp-*"))


def test_store_tells_what_is_its_own(repository: Repository) -> None:
    own, other = MlflowStore(repository.folder, None), MlflowStore(repository.folder, "http://team:5000")
    assert own.is_default
    assert own.artifact_root == (repository.folder / "mlartifacts").as_uri()
    assert not other.is_default
    assert other.artifact_root is None
    other.repair()
    own.repair()
    assert other.local_files(None) is None


def test_using_the_mirror_leaves_the_environment_as_it_was(dogs: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow writes the variable, and the next command in this process would take it for the user's wish."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    MlflowMirror(dogs).sync()
    assert "MLFLOW_TRACKING_URI" not in os.environ
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:1")
    MlflowMirror(dogs).sync()
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://localhost:1"
