from __future__ import annotations

import io
import itertools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cns_cli.commands.log import graph_lines
from cns_cli.output import Output
from cns_cli.porcelain.log import log_graph
from cns_cli.porcelain.views.commits import CommitView
from registry.objects import Commit
from tests.cli.test_graph import read


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_newest_first_with_refs(lineage: Any, cns: Any) -> None:
    first = lineage.add("rex").id
    lineage.repo.create_tag("v1")
    lineage.repo.create_branch("side")
    second = lineage.add("tom", message="add tom\n\nthe neighbours' cat").id
    lines = cns("log", "--oneline").stdout.splitlines()
    assert lines[0] == f"{second[:10]} (HEAD -> main) add tom"
    assert lines[1] == f"{first[:10]} (side, tag: v1) add rex"
    assert len(lines) == 3
    full = cns("log").stdout
    assert full.startswith(f"commit {second} (HEAD -> main)\nkind    add\nauthor  ann\ndate    2026-05-28 20:28 UTC\n")
    assert "    the neighbours' cat\n" in full
    assert "34,567 neurons (5.8 % of K/V)" in full


def test_limit_and_start(lineage: Any, cns: Any) -> None:
    ids = [lineage.add(name).id for name in ("rex", "tom", "pip")]
    assert len(cns("log", "--oneline", "-n", "2").stdout.splitlines()) == 2
    assert cns("log", "-n", "0").stdout == ""
    assert cns("log", "--oneline", "tom").stdout.splitlines()[0].startswith(ids[1][:10])
    assert [entry["id"] for entry in json.loads(cns("log", "HEAD~1", "--json").stdout)][:2] == ids[1::-1]


def test_json_carries_every_field(lineage: Any, cns: Any) -> None:
    added = lineage.add("rex", metrics={"identity_after": 0.79})
    newest, oldest = json.loads(cns("log", "--json").stdout)
    assert newest["id"] == added.id
    assert newest["parents"] == [oldest["id"]]
    assert newest["refs"] == ["HEAD -> main"]
    assert newest["metrics"]["identity_after"] == 0.79
    assert (newest["kind"], newest["author"], newest["time"]) == ("add", "ann", added.commit.time)
    assert oldest["record"] is None
    assert oldest["metrics"] == {}


def test_detached_head_is_named(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    cns("checkout", "HEAD~1")
    assert " (HEAD) init" in cns("log", "--oneline").stdout


@pytest.mark.parametrize("rev", ["nope", "HEAD~9", "abcdef0123", "main@{7}", ""])
def test_an_unknown_revision_is_a_registry_error(lineage: Any, cns: Any, rev: str) -> None:
    result = cns("log", rev)
    assert (result.exit_code, result.stdout) == (4, "")
    assert "  try: cns " in result.stderr


def test_messages_of_others_cannot_control_the_terminal(lineage: Any, cns: Any) -> None:
    lineage.add("rex", message="\x1b]0;owned\x07 \u202egnp.exe\n\x9b2J")
    for words in (["log"], ["log", "--oneline"], ["show"], ["log", "--json"]):
        assert not set("\x1b\x07\x9b\u202e") & set(cns(*words).output)


def test_a_number_alone_is_how_many(lineage: Any, cns: Any) -> None:
    for name in ("rex", "tom", "pip"):
        lineage.add(name)
    assert cns("log", "--oneline", "-2").stdout == cns("log", "--oneline", "-n", "2").stdout
    assert len(cns("log", "-1", "--oneline", "HEAD~1").stdout.splitlines()) == 1


def crossed(lineage: Any) -> dict[str, tuple[str, ...]]:
    """Make two branches that merge each other, and an octopus of both and a root of its own; HEAD is the octopus."""
    put, repo = lineage.repo.objects.put, lineage.repo
    root = repo.head().commit
    tree = repo.commit_of(root).tree

    def commit(message: str, *parents: str) -> str:
        lineage.time += 60
        kind = "merge" if len(parents) > 1 else "add"
        return str(
            put(Commit(tree, parents, None, kind, f"{message}{' word' * 30}\n\n{'word ' * 30}", "ann", lineage.time))
        )

    one, two, alone = commit("one", root), commit("two", root), commit("alone")
    left, right = commit("left", one, two), commit("right", two, one)
    tip = commit("octopus", left, right, alone)
    repo.move_ref("refs/heads/main", root, tip, author="ann", time=lineage.time, message="test")
    return {one: repo.commit_of(one).parents for one in (tip, left, right, alone, one, two, root)}


@pytest.mark.parametrize("form", [["--oneline"], []])
def test_a_graph_draws_every_commit_with_its_parents(form: list[str], lineage: Any, cns: Any) -> None:
    history = crossed(lineage)
    lines = cns("log", "--graph", *form).stdout.splitlines()
    rows = [re.match(r"[*|/\\_ ]*", line)[0].rstrip() for line in lines]  # type: ignore[index]
    assert not [line for line in lines if re.match(r"[ *|/\\_]*[*|/\\_][^ *|/\\_]", line)], "text touches a line"
    named = [re.search(r"\*[|\\/ ]* (?:commit )?([0-9a-f]{10})", line) for line in lines]
    order = [next(one for one in history if one.startswith(found[1])) for found in named if found]
    assert read(rows, order) == {one: set(parents) for one, parents in history.items()}
    if not form:
        assert "    octopus" in "\n".join(lines)
        assert sum("author  ann" in line for line in lines) == len(history)
    assert [entry["id"] for entry in json.loads(cns("log", "--graph", "--json").stdout)] == order


def test_a_graph_that_ends_early_leaves_its_lines_open(lineage: Any, cns: Any) -> None:
    crossed(lineage)
    assert cns("log", "--graph", "--oneline", "-1").stdout.split(" ")[0] == "*"
    assert cns("log", "--graph", "--oneline", "-1").stdout.splitlines()[1:] == ["|\\", "| |\\"]


def test_a_graph_is_drawn_as_the_history_comes() -> None:
    """Of a history without an end the first lines are there at once."""

    def endless() -> Iterator[tuple[CommitView, list[str]]]:
        for number in itertools.count():
            one, parents = f"{number:064x}", [f"{number + 1:064x}"]
            fields: dict[str, Any] = {"tree": "", "record": None, "kind": "add", "author": "ann", "time": 0}
            yield CommitView(id=one, parents=tuple(parents), message="again", **fields), parents

    assert len(list(itertools.islice(graph_lines(endless(), oneline=True), 50))) == 50


def test_on_a_terminal_text_stays_beside_its_graph(lineage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    crossed(lineage)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    for oneline in (True, False):
        monkeypatch.setattr(sys, "stdout", shown := Terminal())
        drawn = log_graph(Path.cwd(), figures=False)
        Output().answer((), graph_lines(drawn, oneline=oneline))
        lines = shown.getvalue().splitlines()
        assert max(map(len, lines)) <= 60
        assert lines[0].endswith("…") is oneline


def test_ranges_have_gits_meanings(lineage: Any, cns: Any) -> None:
    tip, left, right, alone, one, two, root = crossed(lineage)
    for words in ([], ["--graph"]):

        def shown(rev: str, words: list[str] = words) -> set[str]:
            return {entry["id"] for entry in json.loads(cns("log", rev, "--json", *words).stdout)}

        assert shown(f"{left}..{right}") == {right}
        assert shown(f"{one}..{right}") == {right, two}
        assert shown(f"{one}...{two}") == {one, two}
        assert shown(f"{left}..") == {tip, right, alone}
        assert shown(f"{root}..HEAD") == {tip, left, right, one, two, alone}
        assert shown("HEAD..main") == set()
    assert cns("log", "--graph", "--oneline", f"{one}...{two}").stdout.count("\n") == 3  # two stars, apart
    assert cns("log", "main..nope").exit_code == 4
