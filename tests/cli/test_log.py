from __future__ import annotations

import json
from typing import Any

import pytest


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
