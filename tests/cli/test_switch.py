"""`cns switch NAME`."""

from __future__ import annotations

import json
from typing import Any

import pytest


def test_a_branch_is_followed(lineage: Any, cns: Any) -> None:
    tip = lineage.add("rex").id
    cns("branch", "dev")
    assert cns("switch", "dev").stdout == f"HEAD is now on branch dev at {tip[:10]}, which holds rex\n"
    assert lineage.repo.head().branch == "dev"


@pytest.mark.parametrize("words", [("-c", "dev"), ("--create", "dev"), ("dev", "-c"), ("-c", "dev", "HEAD~1")])
def test_a_branch_is_made_and_followed(lineage: Any, cns: Any, words: tuple[str, ...]) -> None:
    first = lineage.repo.head().commit
    tip = lineage.add("rex").id
    assert cns("switch", *words).exit_code == 0
    assert lineage.repo.branches() == {"dev": first if "HEAD~1" in words else tip, "main": tip}
    assert lineage.repo.head().branch == "dev"


def test_dash_is_the_branch_before(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    cns("switch", "-c", "dev")
    lineage.add("tom")
    for branch in ("main", "dev", "main"):
        assert json.loads(cns("switch", "-", "--json").stdout)["branch"] == branch
    cns("switch", "main")  # leads nowhere
    assert json.loads(cns("switch", "-", "--json").stdout)["branch"] == "dev"


@pytest.mark.parametrize("name", ["v1", "HEAD~1", "rex", "HEAD", "-"])
def test_what_is_no_branch_is_refused_with_the_verb_that_takes_it(lineage: Any, cns: Any, name: str) -> None:
    lineage.add("rex")
    cns("tag", "v1")
    cns("checkout", "v1")
    cns("switch", "main")
    refused = cns("switch", name)
    assert refused.exit_code == 4
    assert "is not a branch" in refused.stderr
    assert f"cns checkout {name}\n" in refused.stderr
    assert lineage.repo.head().branch == "main"


def test_a_name_that_means_nothing_is_offered_to_be_made(lineage: Any, cns: Any) -> None:
    refused = cns("switch", "winter")
    assert refused.exit_code == 4
    assert "cns switch -c winter\n" in refused.stderr


def test_there_is_no_branch_before_the_first(lineage: Any, cns: Any) -> None:
    for verb in ("switch", "checkout"):
        refused = cns(verb, "-")
        assert refused.exit_code == 4
        assert "HEAD was on no other" in refused.stderr


def test_a_revision_needs_a_branch_to_be_made(lineage: Any, cns: Any) -> None:
    assert cns("switch", "main", "HEAD").exit_code == 0
    assert cns("switch", "main", "main").exit_code == 2
    assert cns("switch", "-c", "main").exit_code == 4
    assert cns("switch", "-c", "dev", "nope").exit_code == 4
    assert lineage.repo.branches().keys() == {"main"}
