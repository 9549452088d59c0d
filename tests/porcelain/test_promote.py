"""`cns promote` on a model: what a check by the registry's own limits passed moves an alias, and MLflow says so."""

from __future__ import annotations

import json

import pytest

from cns_cli.porcelain.check import check
from cns_cli.porcelain.options import CheckOptions
from cns_cli.porcelain.promote import promote
from cns_cli.progress import NullProgress
from registry.errors import RefMoved
from registry.mirror.mirror import MlflowMirror
from registry.refs import ALIASES
from registry.repository import Repository
from tests.cli.conftest import run

CHAMPION = ALIASES + "champion"


@pytest.fixture
def judged(learned, monkeypatch):
    """The registry `learned`, judged by the K/V drift alone, which needs no image: rex has some, tom has none."""
    repo = Repository(learned)
    repo.set_config("check.metrics", ["drift"])
    repo.set_config("check.max-drop", {"drift": 10.0})
    monkeypatch.chdir(learned)
    return repo


def forbid_drift(repo):
    """Let the limit be below what rex has lost."""
    repo.set_config("check.max-drop", {"drift": 1e-12})


def versions(repo):
    """The versions of the registered model, oldest first, and a client."""
    mirror = MlflowMirror(repo)
    client = mirror.store.connect()
    found = client.search_model_versions(f"name = '{mirror.store.name}'")
    return client, mirror.store.name, sorted(found, key=lambda version: int(version.version))


def test_what_is_kept_moves_the_alias_and_the_log_says_by_which_check(judged):
    result = run("promote", "champion", "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert (answer["moved"], answer["commit"]) == (True, judged.head().commit)
    (move,) = judged.reflog(CHAMPION)
    assert move.message.startswith(f"promote: kept under protocol {answer['check']['protocol']}; rex: drift ")
    assert "at most 10" in move.message

    client, name, found = versions(judged)
    version = client.get_model_version_by_alias(name, "champion")
    assert version.tags["cns.commit"] == judged.head().commit
    moves = [one.tags for one in found if one.tags.get("ref") == CHAMPION]
    assert [(one["old"], one["new"]) for one in moves] == [("", judged.head().commit)]
    assert moves[0]["cns.promoted"] == move.message
    assert (moves[0]["cns.promoted_by"], moves[0]["cns.promoted_at"]) == (move.author, str(move.time))


def test_what_forgot_is_refused_with_the_concept_and_what_it_lost(judged):
    birth = judged.resolve("HEAD~1")
    forbid_drift(judged)
    assert run("promote", "champion", "HEAD~1").exit_code == 0  # rex at its birth has lost nothing
    refused = run("promote", "champion")
    assert refused.exit_code == 3
    assert refused.stdout.startswith(
        f"refused: champion stays {birth[:10]}; {judged.head().commit[:10]} does not keep rex\n"
    )
    assert "rex forgot: drift grew to" in refused.stdout
    assert f"  next: cns check {judged.head().commit[:10]}" in refused.stderr
    assert [move.new for move in judged.reflog(CHAMPION)] == [birth]
    answer = json.loads(run("promote", "champion", "--json").stdout)
    assert (answer["moved"], answer["before"], answer["commit"]) == (False, birth, birth)


def test_an_alias_that_somebody_moved_during_the_check_stays_there(judged):
    birth = judged.resolve("HEAD~1")

    class Meanwhile(NullProgress):
        def stage(self, name, total=None):
            if CHAMPION not in judged.refs.names(ALIASES):
                judged.move_ref(CHAMPION, None, birth, author="bea", time=5, message="promote: kept")

    with pytest.raises(RefMoved):
        promote("champion", CheckOptions(start=judged.root, author="ann"), Meanwhile())
    assert judged.aliases() == {"champion": birth}
    assert [move.author for move in judged.reflog(CHAMPION)] == ["bea"]


def gate_tags(repo, commit):
    """What MLflow says of a commit: its run, its logged model, and its versions."""
    client, _, found = versions(repo)
    of_commit = [version for version in found if version.tags["cns.commit"] == commit]
    run_tags = client.get_run(of_commit[0].run_id).data.tags
    model = client.get_logged_model(run_tags["cns.model"])
    return {run_tags["cns.gate"], model.tags["cns.gate"], *(version.tags["cns.gate"] for version in of_commit)}


def test_the_gate_tag_says_what_the_last_check_said(judged):
    head = judged.head().commit
    MlflowMirror(judged).record(head)
    assert gate_tags(judged, head) == {"unchecked"}
    forbid_drift(judged)
    check(CheckOptions(start=judged.root))
    assert gate_tags(judged, head) == {"forgot: rex"}
    judged.set_config("check.max-drop", {"drift": 10.0})
    assert promote("champion", CheckOptions(start=judged.root), NullProgress()).moved
    assert gate_tags(judged, head) == {"passed"}  # also on the version that logs the move


def test_a_check_with_limits_of_its_own_leaves_the_gate_tag(judged):
    head = judged.head().commit
    check(CheckOptions(start=judged.root, max_drop={"drift": 1e-12}))
    assert gate_tags(judged, head) == {"unchecked"}
