"""A promoted model in MLflow: loaded from a real store and served by a real server, the files of `cns generate`."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import numpy
import pandas
import pytest
from mlflow.exceptions import MlflowException

from cns.errors import BaseModelError
from cns_cli.porcelain.pictures.files import read_picture
from cns_cli.porcelain.pictures.serving import BadRequest, PictureService
from cns_cli.pyfunc import rows_of
from registry.mirror.mirror import MlflowMirror
from registry.mirror.served import write_registry
from registry.objects import Concept
from registry.repository import Repository
from tests.cli.conftest import ROOT, run
from tests.steps import SAMPLER

REX = "a <rex> dog and a <tom> cat"
SETTINGS = {"seed": 7, "steps": 3, "guidance": 2.5, "negative": "blue"}


@pytest.fixture
def judged(learned, mlflow_tables, monkeypatch):
    """The registry `learned`, whose check needs no image and passes; nothing is promoted yet, or mirrored.

    The mirror of a copy has the same runs, and MLflow (3.17) keeps in a process where a run's files are, by its id.
    """
    shutil.copy(mlflow_tables, learned / ".cns" / "mlflow.db")
    repo = Repository(learned)
    repo.set_config("check.metrics", ["drift"])
    repo.set_config("check.max-drop", {"drift": 10.0})
    monkeypatch.chdir(learned)
    return repo


@pytest.fixture
def promoted(judged, monkeypatch):
    """The same, its HEAD promoted as champion, and MLflow looking at its store."""
    done = run("promote", "champion")
    assert done.exit_code == 0, done.stderr
    assert "warning" not in done.stderr
    uri = f"sqlite:///{judged.folder / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    return judged


def champion(repo):
    return f"models:/{repo.config['mlflow']['name']}@champion"


def generated(prompt, **settings):
    """The file that `cns generate` writes."""
    flags = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    assert run("generate", prompt, *flags, "-o", "made.png", "--device", "cpu").exit_code == 0
    return Path("made.png").read_bytes()


def pictures(answer):
    return [base64.b64decode(row["image"]) for row in answer.to_dict("records")]


def test_the_champion_makes_the_files_of_cns_generate(promoted):
    model = mlflow.pyfunc.load_model(champion(promoted))
    answer = model.predict([REX, {"prompt": "a <tom> cat", **SETTINGS}])
    first, second = pictures(answer)
    assert first == generated(REX)
    assert second == generated("a <tom> cat", **SETTINGS)
    assert list(answer["seed"]) == [0, 7]
    assert pictures(model.predict(["a <tom> cat"], params=SETTINGS)) == [second]
    table = pandas.DataFrame([{"prompt": REX}, {"prompt": "a <tom> cat", **SETTINGS}])  # with gaps, and 7.0 for 7
    assert pictures(model.predict(table)) == [first, second]
    Path("first.png").write_bytes(first)
    record = read_picture(Path("first.png"))
    assert (record.commit, record.seed, record.steps) == (promoted.head().commit, 0, SAMPLER)
    with pytest.raises(MlflowException, match=r"steps: -1 is not a whole number of at least 1.*such as"):
        model.predict([{"prompt": REX, "steps": -1}])


def test_a_mirror_that_is_made_again_serves_again(promoted):
    shutil.rmtree(promoted.folder / "mlartifacts")
    (promoted.folder / "mlflow.db").unlink()
    MlflowMirror(promoted).sync()
    assert len(mlflow.pyfunc.load_model(champion(promoted)).predict([REX])) == 1


def test_neither_photos_nor_history_nor_a_pickle_travel_to_where_it_is_served(promoted):
    (code,) = promoted.folder.glob("mlartifacts/**/artifacts/model.py")
    model = code.parent
    assert "cns-cli==" in (model / "requirements.txt").read_text()
    assert not [path for path in model.rglob("*") if path.suffix in (".pkl", ".pickle", ".pt")]
    served = Repository(model / "artifacts" / "registry")
    tree = promoted.tree_of("HEAD")
    kinds = sorted(served.objects.kind_of(one) for one in served.objects.ids())
    assert kinds == sorted(["commit", "tree", "base"] + 2 * (["concept"] + 3 * ["blob"]))
    for concept in tree.concepts.values():
        assert not served.objects.has(promoted.objects.get(concept, Concept).references)
    assert served.tree_of("HEAD") == tree


@pytest.fixture
def alone(judged, tmp_path):
    """What a server gets of HEAD, in a folder."""
    write_registry(judged, judged.head().commit, tmp_path / "alone")
    return tmp_path / "alone"


def test_the_base_may_lie_elsewhere_and_another_one_is_refused(judged, alone, tiny_base):
    repo = Repository(alone)
    repo.set_config("base.source", "/nowhere")
    with pytest.raises(BaseModelError) as caught:
        PictureService(alone)
    assert caught.value.__notes__ == ["name the folder of the base model on this machine: export CNS_BASE=FOLDER"]
    service = PictureService(alone, str(tiny_base), "cpu")
    assert service.picture({"prompt": REX}) == (generated(REX), 0)
    with pytest.raises(BaseModelError, match="is not the one that this registry was made on"):
        PictureService(alone, "emoji-64")


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({}, "a request says nothing; expected a prompt"),
        ({"prompt": 5}, "expected a prompt, which is a text"),
        ({"prompt": "x", "sed": 1, "n": 2}, "says n, sed; expected guidance, negative, prompt, seed, steps alone"),
        ({"prompt": "x", "seed": -1}, "seed: -1 is not between 0 and"),
        ({"prompt": "x", "seed": 1.5}, "seed: 1.5 is not a whole number"),
        ({"prompt": "x", "seed": True}, "seed: True is not a whole number"),
        ({"prompt": "x", "seed": "one"}, "seed: invalid literal"),
        ({"prompt": "x", "steps": 1001}, "steps: 1001 is not a whole number of at least 1 and at most 1000"),
        ({"prompt": "x", "guidance": float("inf")}, "guidance: inf is not a finite number"),
        ({"prompt": "x", "guidance": []}, "guidance: float"),
        ({"prompt": "x", "negative": 3}, "negative: 3 is not a text"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_meant_is_refused_in_words(request_, said):
    with pytest.raises(BadRequest) as caught:
        PictureService.picture(None, request_)
    assert said in caught.value.message


@pytest.mark.parametrize(
    "given",
    [
        "a dog",
        ["a dog"],
        {"prompt": "a dog"},
        {"prompt": ["a dog"]},
        [{"prompt": "a dog", "seed": None}],
        pandas.DataFrame({"prompt": ["a dog"], "negative": [None], "seed": [float("nan")]}),
        pandas.Series(["a dog"]).to_numpy(),
        [{"prompt": numpy.array("a dog")}],
        {"prompt": numpy.array(["a dog"])},
        numpy.array("a dog"),
    ],
)
def test_a_row_may_come_in_any_form_that_mlflow_hands_on(given):
    assert rows_of(given) == [{"prompt": "a dog"}]


def asked(port, body):
    """What the server answers to a request in JSON: status and document."""
    headers = {"Content-Type": "application/json"}
    sent = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(sent) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def wait_for(port, process):
    """Ask until the server answers; it loads its libraries meanwhile."""
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping") as response:
                return response.status == 200
        except OSError:
            time.sleep(0.1)
    return False


@pytest.mark.slow
def test_mlflow_models_serve_answers_with_the_files_of_cns_generate(promoted):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    words = [sys.executable, "-m", "mlflow", "models", "serve", "-m", champion(promoted), "--port", str(port)]
    words += ["--host", "127.0.0.1", "--env-manager", "local"]
    process = subprocess.Popen(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True)
    try:
        assert wait_for(port, process)
        row = {"prompt": REX, **SETTINGS}
        status, answer = asked(port, {"inputs": [row]})
        assert status == 200, answer
        (made,) = answer["predictions"]
        assert made["seed"] == 7
        assert base64.b64decode(made["image"]) == generated(REX, **SETTINGS)
        assert asked(port, {"dataframe_records": [row]}) == (200, answer)
        assert asked(port, {"inputs": [REX], "params": SETTINGS}) == (200, answer)
        status, refused = asked(port, {"inputs": [{"prompt": REX, "steps": 0}]})
        assert status == 400
        assert "steps: 0 is not a whole number of at least 1" in refused["message"]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
