"""A promoted model in MLflow: loaded from a real store and served by a real server, the pictures of `cns generate`."""

from __future__ import annotations

import base64
from pathlib import Path

import mlflow
import pytest

from cns_cli.porcelain.pictures.files import read_picture
from registry.repository import Repository
from tests.cli.conftest import run
from tests.steps import SAMPLER

REX = "a <rex> dog and a <tom> cat"


@pytest.fixture
def promoted(learned, monkeypatch):
    """The registry `learned`, its HEAD promoted as champion, and MLflow looking at its store."""
    repo = Repository(learned)
    repo.set_config("check.metrics", ["drift"])
    repo.set_config("check.max-drop", {"drift": 10.0})
    monkeypatch.chdir(learned)
    done = run("promote", "champion")
    assert done.exit_code == 0, done.stderr
    assert "warning" not in done.stderr
    uri = f"sqlite:///{repo.folder / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    return repo


def champion(repo):
    return mlflow.pyfunc.load_model(f"models:/{repo.config['mlflow']['name']}@champion")


def generated(*words):
    """The file that `cns generate` writes."""
    assert run("generate", *words, "-o", "made.png", "--device", "cpu").exit_code == 0
    return Path("made.png").read_bytes()


def pictures(answer):
    return [base64.b64decode(row["image"]) for row in answer.to_dict("records")]


def test_the_champion_makes_the_files_of_cns_generate(promoted):
    model = champion(promoted)
    settings = {"seed": 7, "steps": 3, "guidance": 2.5, "negative": "blue"}
    first, second = pictures(model.predict([REX, {"prompt": "a <tom> cat", **settings}]))
    assert first == generated(REX)
    flags = ["--seed", "7", "--steps", "3", "--guidance", "2.5", "--negative", "blue"]
    assert second == generated("a <tom> cat", *flags)
    assert pictures(model.predict(["a <tom> cat"], params=settings)) == [second]
    Path("first.png").write_bytes(first)
    record = read_picture(Path("first.png"))
    assert (record.commit, record.seed, record.steps) == (promoted.head().commit, 0, SAMPLER)
