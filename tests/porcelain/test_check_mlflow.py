"""Scores of a check in MLflow: on the run of the commit that they are about, at once, and again by a sync."""

from __future__ import annotations

import os
import shutil

import pytest

from cns_cli.porcelain.check import check
from cns_cli.porcelain.mlflow import sync
from cns_cli.porcelain.options import CheckOptions, Request
from registry.mirror.mirror import MlflowMirror
from registry.repository import Repository


def metrics_by_commit(folder) -> dict[str, dict[str, float]]:
    """{commit id: metrics of its run that a check made}."""
    mirror = MlflowMirror(Repository(folder))
    client = mirror.store.connect()
    experiment = client.get_experiment_by_name(mirror.store.name)
    found = {}
    for run in client.search_runs([experiment.experiment_id]):
        commit = run.data.tags.get("cns.commit")
        scores = {name: value for name, value in run.data.metrics.items() if name.startswith("check/")}
        if commit and scores:
            found[commit] = scores
    return found


@pytest.mark.slow
def test_scores_land_on_the_commits_run_and_a_sync_makes_the_same(learned):
    result = check(CheckOptions(start=learned, images=2, max_drop={"": 2.0}))  # as many as `cns add` judged
    assert not result.warnings
    found = metrics_by_commit(learned)
    now = found[result.commit]
    short = result.protocol[:8]
    rows = {row.concept: row for row in result.rows}
    for name, metric in (("identity", "id"), ("clip_i", "clip-i")):
        assert now[f"check/{short}/rex.{name}"] == pytest.approx(rows["rex"].metric(metric).now, abs=1e-12)
    assert [value for name, value in now.items() if name.endswith("/rex.drift")] == [rows["rex"].drift]
    birth = Repository(learned).resolve("HEAD~1")
    assert found[birth][f"check/{short}/rex.identity"] == pytest.approx(rows["rex"].metric("id").baseline, abs=1e-12)

    sync(Request(start=learned))
    assert metrics_by_commit(learned) == found  # nothing twice, nothing else

    for name in ("mlflow.db", "mlartifacts"):
        path = learned / ".cns" / name
        shutil.rmtree(path) if path.is_dir() else os.unlink(path)
    sync(Request(start=learned))
    assert metrics_by_commit(learned) == found


def test_mlflow_out_of_reach_is_a_warning_and_the_answer_stands(learned, tmp_path):
    (tmp_path / "file").write_text("in the way")
    uri = f"sqlite:///{tmp_path}/file/mlflow.db"
    result = check(CheckOptions(start=learned, images=1, concepts=("tom",), max_drop={"": 2.0}, seed=2, mlflow_uri=uri))
    assert result.passed
    assert any("cns mlflow sync" in warning for warning in result.warnings)
