"""What a purge takes from a real `mlflow server`, and what MLflow keeps until its administrator's `mlflow gc`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import ViewType

from registry.mirror.mirror import MlflowMirror
from registry.objects import Tree
from registry.purging import Purge, Wish, purge
from registry.repository import Repository
from tests.registry.making import add, evaluation, new_repository

WHO: dict[str, Any] = {"author": "bea", "time": 1_800_000_000}


def runs_of(client: MlflowClient, name: str, view: int = ViewType.ACTIVE_ONLY) -> list[Any]:
    found = [client.get_experiment_by_name(one).experiment_id for one in (name, f"{name}-scores")]
    return list(client.search_runs(found, run_view_type=view))


def test_a_server_lets_files_runs_and_versions_go_and_is_told_anew(tracking_server: str, tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "purged-dogs")
    first = add(repository, "ann").id
    rex = add(repository, "rex").id
    repository.add_evaluation(evaluation(repository, "rex"))
    add(repository, "tom")
    mirror = MlflowMirror(repository, tracking_server)
    mirror.sync()
    client, name = MlflowClient(tracking_server), repository.config["mlflow"]["name"]
    files = {run.info.run_id: client.list_artifacts(run.info.run_id) for run in runs_of(client, name)}
    assert all(files.values())

    wish = Wish(("rex",))
    again = MlflowMirror(Repository(repository.root), tracking_server)
    assert again.forget(Purge(repository, wish).rewriting.led_to_it()) == 3  # rex, tom beside it, a score
    purge(repository, wish, **WHO)
    MlflowMirror(Repository(repository.root), tracking_server).sync()

    alive = {run.data.tags.get("cns.commit") for run in runs_of(client, name)}
    here = {commit_id for commit_id, _ in Repository(repository.root).log()}
    assert alive - {None} == here
    assert {first} < here
    deleted = runs_of(client, name, ViewType.DELETED_ONLY)
    assert len(deleted) == 3
    assert all(client.list_artifacts(run.info.run_id) == [] for run in deleted)
    assert rex in {run.data.tags.get("cns.commit") for run in deleted}  # MLflow marks, and its admin's gc removes
    assert not [
        text for run in deleted for text in run.data.tags.values() if "rex" in text and "evaluation" not in text
    ]
    versions = client.search_model_versions(f"name = '{name}'")
    assert {version.tags["cns.commit"] for version in versions} == here
    restored = tmp_path / "restored"
    MlflowMirror.restore(restored, tracking_server, name)
    found = Repository(restored)
    assert found.resolve("HEAD") == Repository(repository.root).resolve("HEAD")
    trees = [found.objects.get(one, Tree) for one in found.objects.ids() if found.objects.kind_of(one) == "tree"]
    assert {concept for tree in trees for concept in tree.concepts} == {"ann", "tom"}
