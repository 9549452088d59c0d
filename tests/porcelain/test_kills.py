"""Whole commands in processes of their own: stopped at random moments, and two at the same time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.refs import LOST
from registry.repository import Repository
from tests.torture import kills
from tests.torture.fork_server import ForkServer
from tests.torture.verify import check_with_fsck, state_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """A process that has loaded everything and forks one for each command."""
    with ForkServer() as started:
        yield started


@pytest.fixture(scope="module")
def scene(server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> kills.Scene:
    return kills.make_scene(tmp_path_factory.mktemp("kills"), server)


@pytest.fixture
def place(scene: kills.Scene) -> Iterator[Path]:
    """A registry that holds rex, beside the photos."""
    shutil.copytree(scene.template, scene.place)
    yield scene.place
    shutil.rmtree(scene.place)


def test_add_survives_ten_stops_at_random_moments(scene: kills.Scene, server: ForkServer) -> None:
    tally = kills.stopped_at_random(scene, server, kills.STOPS["quick"], seed=1)
    assert (tally.lost, tally.corrupt) == ([], [])
    assert tally.seen.total() == kills.STOPS["quick"]


def test_a_stop_while_torch_is_imported_shows_no_traceback(scene: kills.Scene) -> None:
    tally = kills.stopped_in_imports(scene, 1, seed=1)
    assert (tally.lost, tally.corrupt) == ([], [])


def add(name: str, *more: str) -> list[str]:
    return ["add", name, "../photos", "--class", "cat", "--steps", "3", "--score", "wanda", "--json", *more]


def test_two_terminals_that_add_at_once_both_succeed(server: ForkServer, place: Path) -> None:
    answers = server.run_together([add("tom"), add("pip", "--seed", "1")], place)
    assert [answer["code"] for answer in answers] == [0, 0], [answer["stderr"] for answer in answers]
    repo = Repository(place)
    assert set(repo.tree_of("HEAD").concepts) == {"rex", "tom", "pip"}
    added = [commit for commit, _ in repo.log()][:2]
    assert {json.loads(answer["stdout"])["commit"] for answer in answers} == set(added)
    state_of(repo)
    check_with_fsck(repo)


def test_of_two_terminals_that_add_one_name_the_second_is_kept_aside(server: ForkServer, place: Path) -> None:
    answers = server.run_together([add("tom"), add("tom", "--seed", "1")], place)
    assert sorted(answer["code"] for answer in answers) == [0, 4]
    said = next(answer["stderr"] for answer in answers if answer["code"] == 4)
    assert "nothing is lost" in said
    assert "cns show refs/lost/tom" in said
    repo = Repository(place)
    assert set(repo.tree_of("HEAD").concepts) == {"rex", "tom"}
    kept = repo.refs.get(LOST + "tom")
    assert kept is not None
    assert set(repo.tree_of(kept).concepts) == {"rex", "tom"}
    assert kills._states(place) == []
    state_of(repo)
    check_with_fsck(repo)


def test_two_terminals_that_type_the_same_command_make_one_concept(server: ForkServer, place: Path) -> None:
    answers = server.run_together([kills.ADD, kills.ADD], place)
    assert sorted(answer["code"] for answer in answers)[0] == 0
    assert all(answer["code"] in (0, 4) for answer in answers), [answer["stderr"] for answer in answers]
    assert set(Repository(place).tree_of("HEAD").concepts) == {"rex", "tom"}
