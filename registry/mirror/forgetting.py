"""What a purge takes from a tracking server: files of runs, the runs, their models, and the log of the registry.

Files, tags that have names of concepts, and the registered model with its versions are deleted at once. A run and a
logged model are only marked as deleted by MLflow: their params and metrics stay in its database until its administrator
runs `mlflow gc`. This module deletes what it is told to; what is left is written anew by a sync.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from registry.mirror.runs import EVALUATION_TAG
from registry.mirror.scores import experiment_of
from registry.mirror.server import PAGE, search_runs

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

COMMIT_TAG = "cns.commit"
NAMING_TAGS = ("cns.concepts", "mlflow.note.content")
REGISTRY_TAG = "cns.registry"  # of a mirror's model; that of a lineage which is shared has another


def forget(client: MlflowClient, name: str, ids: Collection[str]) -> int:
    """Delete the runs and models of some commits and evaluations, and the log of moves; return how many runs.

    Args:
        client: Of the server.
        name: Of the registry there.
        ids: Of commits and evaluations.
    """
    found = (client.get_experiment_by_name(one) for one in (name, experiment_of(name)))
    places = [str(experiment.experiment_id) for experiment in found if experiment is not None]
    wanted = set(ids)
    runs = [run for place in places for run in search_runs(client, place, "") if wanted & _named(run.data.tags)]
    for run in runs:
        _delete_files(client, run.info.artifact_uri)
        for tag in run.data.tags.keys() & NAMING_TAGS:
            client.delete_tag(run.info.run_id, tag)
        client.update_run(run.info.run_id, name="purged")  # that of scores has the name of the concept
        client.delete_run(run.info.run_id)
    for model in (model for place in places for model in _models(client, place)):
        if wanted & _named(model.tags):
            _delete_files(client, model.artifact_location)
            for tag in model.tags.keys() & NAMING_TAGS:
                client.delete_logged_model_tag(model.model_id, tag)
            client.delete_logged_model(model.model_id)
    if any(REGISTRY_TAG in model.tags for model in client.search_registered_models(f"name = '{name}'")):
        client.delete_registered_model(name)
    return len(runs)


def _named(tags: dict[str, str]) -> set[str]:
    return {tags[tag] for tag in (COMMIT_TAG, EVALUATION_TAG) if tag in tags}


def _models(client: MlflowClient, experiment: str) -> list[Any]:
    found, token = [], None
    while True:
        page = client.search_logged_models([experiment], max_results=PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _delete_files(client: MlflowClient, uri: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(uri, tracking_uri=client.tracking_uri).delete_artifacts()
