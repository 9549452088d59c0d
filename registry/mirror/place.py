"""Where in MLflow a registry is mirrored: its name there, its experiment and its registered model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from registry import config
from registry.errors import MlflowUnavailable
from registry.mirror.busy import unless_there
from registry.mirror.server import NAME_KEY, REMOTE_TAG, SOURCE_KEY, SOURCE_TAG
from registry.repository import Repository

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.entities.model_registry import RegisteredModel
    from mlflow.tracking import MlflowClient


def new_name(repository: Repository) -> str:
    """Choose the name of experiment and model, readable and unlike another registry's, and keep it."""
    first = [commit_id for commit_id, commit in repository.log() if not commit.parents][-1]
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", repository.root.name).strip("-") or "registry"
    name = f"{plain[:60]}-{first[:8]}"
    repository.set_config(NAME_KEY, name)
    return name


def experiment(client: MlflowClient, name: str, place: str | None) -> Experiment:
    """Return the experiment of that name, made where there is none.

    Args:
        client: Of MLflow.
        name: Never that of the default one, whose artifacts would land in the current folder.
        place: Where its artifacts go; None where MLflow chooses.
    """
    unless_there(client.create_experiment, name, artifact_location=place)
    found = client.get_experiment_by_name(name)
    if found.lifecycle_stage == "deleted":  # in MLflow's own interface; it keeps the name, so none can be made
        client.restore_experiment(found.experiment_id)
    return found


def model(client: MlflowClient, name: str, repository: Repository) -> RegisteredModel:
    """Return the registered model of that name, made where there is none; it is told where the base model lies.

    Raises:
        MlflowUnavailable: a lineage is shared under that name, whose log of moves is not ours.
    """
    known = client.search_registered_models(f"name = '{name}'")
    if not known:
        unless_there(client.create_registered_model, name, tags={"cns.registry": name})
    found: RegisteredModel = known[0] if known else client.get_registered_model(name)
    if REMOTE_TAG in found.tags:
        reason = f"its model '{name}' is a shared lineage; expected another name for this registry's record"
        raise MlflowUnavailable(reason, client.tracking_uri, f"cns config {NAME_KEY} OTHER; then: cns mlflow sync")
    source = config.lookup(repository.config, SOURCE_KEY)
    if isinstance(source, str) and found.tags.get(SOURCE_TAG) != source:
        client.set_registered_model_tag(name, SOURCE_TAG, source)
    return found
