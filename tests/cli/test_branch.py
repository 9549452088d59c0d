"""`cns branch` and `cns tag`."""

from __future__ import annotations

import json
from typing import Any

import pytest


@pytest.mark.parametrize("verb", ["branch", "tag"])
def test_made_where_asked_and_listed(lineage: Any, cns: Any, verb: str) -> None:
    first = lineage.add("rex").id
    lineage.add("tom")
    assert cns(verb, "old", "HEAD~1").exit_code == 0
    listed = json.loads(cns(verb, "--json").stdout)
    assert listed["refs"]["old"] == first
    assert listed["current"] == ("main" if verb == "branch" else None)
    assert f"{first[:10]} old" in cns(verb).stdout


@pytest.mark.parametrize("verb", ["branch", "tag"])
def test_a_name_is_given_once(lineage: Any, cns: Any, verb: str) -> None:
    cns(verb, "old")
    result = cns(verb, "old")
    assert result.exit_code == 4
    assert "'old' is taken" in result.stderr
    assert cns(verb, "no such").exit_code == 4
    assert cns(verb, "new", "nowhere").exit_code == 4


def test_head_stays_and_has_the_star(lineage: Any, cns: Any) -> None:
    tip = lineage.repo.head().commit[:10]
    made = cns("branch", "side")
    assert made.stdout == f"* {tip} main\n  {tip} side\n"
    assert made.stderr == "  next: cns checkout side\n"
