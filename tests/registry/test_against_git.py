"""R16, quick: questions about random histories, asked of a registry and of git. `--size full` asks about 5,000."""

from __future__ import annotations

import random
import re
import shutil
from collections import Counter
from collections.abc import Iterable

import pytest

from registry import dag
from tests.torture.graphs import GRAPHS, compare, random_graph, run

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def test_a_registry_answers_as_git_does() -> None:
    (trial,) = run("quick")
    assert trial.corrupt == 0, trial.note
    assert trial.tried == GRAPHS["quick"]
    found = re.fullmatch(r"([\d,]+) questions, of which (\d+) have several best merge bases", trial.note)
    assert found is not None
    assert int(found.group(1)) > 400
    assert int(found.group(2)) > 5


def test_a_wrong_answer_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control: every common ancestor is taken for a best one."""

    def all_of_them(commits: Iterable[str], parents: dag.Needs) -> list[str]:
        return sorted(set(commits))

    monkeypatch.setattr(dag, "independent", all_of_them)
    assert compare(20).faults


def test_histories_are_of_every_kind() -> None:
    graphs = [random_graph(random.Random(number)) for number in range(200)]
    counts = Counter(len(parents) for graph in graphs for parents in graph.parents)
    assert all(counts[number] > 50 for number in range(5)), counts
    assert any(sorted(graph.times) != list(graph.times) for graph in graphs)
    assert any(len(set(graph.times)) < len(graph.times) for graph in graphs)
