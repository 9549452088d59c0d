"""The gate on a real lineage of six concepts, the fourth of which was learned by a harmful commit.

The lineage is the golden registry (tests/golden/README.md): every commit was made by `cns add`. What the tests are
about is computed here, image by image: the registry's own evaluations of two older concepts at the harmful commit, and
of one at the commit beside it on the clean branch, are taken out first. Those of the baselines and of the other commits
stay, so that the file takes a minute and not five; one test makes such a stored evaluation anew and compares.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cns_cli.porcelain.check import CheckOptions, protocol_for, stored_scores
from cns_cli.porcelain.scoring.protocol import digest_of
from registry.objects import Evaluation, Tree
from registry.refs import EVALUATIONS
from registry.repository import Repository
from registry.trees import birth
from tests.embedded.conftest import cns
from tests.golden import unpack

pytestmark = pytest.mark.embedded

HARMFUL = "main~2"
OLDER = ("pip", "rex", "tom")
LIVE = {HARMFUL: ("pip", "rex"), "clean~1": ("rex",)}
"""Revisions, and the older concepts that are judged there."""

SETTINGS = """
[check]
images = 2
"""


COUNTING = """
import pathlib, subprocess, sys
with open({log!r}, "a") as log: log.write("one\\n")
sys.exit(subprocess.call([sys.executable, "-c", {program!r}, "check", "--bisect"]))
"""

MOST = 4
"""Images of each prompt at which a check of these tests ends, a sixteenth of what a user's may take."""

CHECKING = f"""
from cns_cli.porcelain.gate import verdicts
verdicts.MOST = {MOST}
from cns_cli.main import main
main()
"""


@pytest.fixture(scope="module", autouse=True)
def short_checks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cns_cli.porcelain.gate.verdicts.MOST", MOST)
        yield


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden registry without the evaluations that are made here."""
    folder = unpack(tmp_path_factory.mktemp("golden"))
    with (folder / ".cns" / "config.toml").open("a") as config:
        config.write(SETTINGS)
    repo = Repository(folder)
    for rev, judged in LIVE.items():
        tree = repo.tree_of(repo.resolve(rev))
        forget_evaluations(repo, tree, [tree.concepts[name] for name in judged])
    return folder


@pytest.fixture(scope="module")
def answers(golden: Path) -> dict[str, dict[str, Any]]:
    """Revision -> what `cns check --json` said of it, with the exit code as `code`."""
    said = {}
    for rev in ("main~5", "main~4", "main~3", HARMFUL, "main~1", "main", "clean~1", "clean"):
        result = cns(golden, "check", rev, "--json")
        assert result.exit_code in (0, 3), result.output
        said[rev] = {**json.loads(result.stdout), "code": result.exit_code}
    return said


def forget_evaluations(repo: Repository, tree: Tree, concepts: list[str]) -> None:
    for name in repo.refs.names(EVALUATIONS):
        stored = repo.objects.get(repo.refs.get(name) or "", Evaluation)
        if stored.tree == tree.id and stored.concept in concepts:
            repo.refs.compare_and_swap(name, repo.refs.get(name), None)


def row(answer: dict[str, Any], concept: str) -> dict[str, Any]:
    return next(one for one in answer["rows"] if one["concept"] == concept)


def metric(answer: dict[str, Any], concept: str, name: str) -> dict[str, Any]:
    return next(one for one in row(answer, concept)["metrics"] if one["metric"] == name)


def test_every_commit_before_the_harmful_one_passes(answers):
    for rev in ("main~5", "main~4", "main~3"):
        assert (answers[rev]["code"], answers[rev]["outcome"]) == (0, "kept"), answers[rev]["rows"]


def test_the_harmful_commit_fails_and_names_what_it_harmed(answers):
    answer = answers[HARMFUL]
    assert (answer["code"], answer["outcome"]) == (3, "forgot")
    assert answer["images_made"] > 0
    verdicts = {one["concept"]: one["verdict"] for one in answer["rows"]}
    fell = {name for name in OLDER if metric(answer, name, "id")["drop"] > 0.04}
    assert {"rex", "pip"} <= fell
    assert verdicts["rex"] == "forgot"  # it fell most; the others may leave a doubt, and none may pass
    assert all(verdicts[name] != "kept" for name in fell)
    assert verdicts["koko"] == "kept"


def test_the_harm_is_small(answers):
    """A harm that anybody would see proves nothing about the gate."""
    drops = [metric(answers[HARMFUL], name, "id")["drop"] for name in OLDER]
    assert 0.03 <= float(np.mean(drops)) <= 0.08


def test_the_commits_behind_it_fail_too_but_not_through_their_own_doing(golden, answers):
    for rev in ("main~1", "main"):
        assert answers[rev]["code"] == 3
        assert row(answers[rev], "jet")["verdict"] == "kept"
    result = cns(golden, "check", "main~1", "--since", HARMFUL)
    assert result.exit_code == 0, result.stdout


def test_the_lineage_without_the_harmful_commit_passes(answers):
    for rev in ("clean~1", "clean"):
        assert (answers[rev]["code"], answers[rev]["outcome"]) == (0, "kept"), answers[rev]["rows"]
    assert answers["clean~1"]["images_made"] > 0
    assert {one["concept"] for one in answers["clean"]["rows"]} == {"tom", "rex", "pip", "jet", "hop"}


def test_a_stored_evaluation_is_what_the_images_say(golden, answers, tmp_path):
    shutil.copytree(golden, tmp_path / "copy")
    repo = Repository(tmp_path / "copy")
    concept = repo.tree_of(repo.resolve("main")).concepts["rex"]
    options = CheckOptions(start=repo.root)
    digest = digest_of(protocol_for(repo, repo.tree_of(repo.resolve("main")), options).scores)
    born = birth(repo.objects, concept)
    before = stored_scores(repo, born.id, concept, digest)
    forget_evaluations(repo, born, [concept])
    assert cns(repo.root, "check", "main~4", "--concept", "rex", "--images", "1", "--json").exit_code == 0
    again = stored_scores(Repository(repo.root), born.id, concept, digest)
    assert before is not None
    assert again is not None
    # One grey level of rounding moves a cosine by far less than this.
    np.testing.assert_allclose(before.first(1).identity, again.first(1).identity, atol=1e-3)
    np.testing.assert_allclose(before.first(1).clip_i, again.first(1).clip_i, atol=1e-3)


@pytest.fixture
def bisected(golden: Path, answers: dict[str, Any], tmp_path: Path) -> Path:
    """A copy, in which HEAD may move, with the evaluations that the checks above stored."""
    shutil.copytree(golden, tmp_path / "copy")
    return tmp_path / "copy"


def most(commits: int) -> int:
    """Evaluations that a bisection may take."""
    return math.ceil(math.log2(commits)) + 1


def harmful(folder: Path) -> str:
    return Repository(folder).resolve(HARMFUL)


def test_bisect_run_with_the_check_finds_it(bisected, tmp_path):
    log, program = tmp_path / "runs", tmp_path / "counting.py"
    program.write_text(COUNTING.format(log=str(log), program=CHECKING))
    assert cns(bisected, "bisect", "start", "main", "main~6").exit_code == 0
    result = cns(bisected, "bisect", "run", "--json", sys.executable, str(program))
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["status"], found["commit"]["id"]) == ("found", harmful(bisected))
    assert found["added"] == ["koko"]
    assert len(log.read_text().splitlines()) <= most(6)


@pytest.mark.parametrize(
    "watch",
    [
        lambda born: ("rex.id", "--below", str(born - 0.03)),
        lambda born: ("rex.id.drop", "--above", "0.03"),
    ],
    ids=["score", "drop"],
)
def test_bisect_by_metric_finds_it(bisected, answers, watch: Callable[[float], tuple[str, ...]]):
    born = metric(answers["main~4"], "rex", "id")["now"]
    assert cns(bisected, "bisect", "start", "--metric", *watch(born)).exit_code == 0
    result = cns(bisected, "bisect", "run", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["status"], found["commit"]["id"]) == ("found", harmful(bisected))
    assert len(found["values"]) <= most(4)  # rex came four commits ago
