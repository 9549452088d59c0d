from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cli.conftest import PNG


def test_shows_every_recorded_figure(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    lineage.add(
        "tom",
        noun="cat",
        metrics={"identity_before": 0.58, "identity_after": 0.79, "mystery": 3.5},
        drift={"rex": 0.00123},
        overlap={"rex": 0.12},
        series={"loss": [0.12, 0.05, 0.031]},
        params={"steps": 400, "lr": 0.002, "templates": "ab" * 32},
        versions={"torch": "2.13.0"},
    )
    shown = cns("show", "tom").stdout
    for part in (
        "added  tom", "34,567 changed weights", "5.8 %", "0.13 %", "51.2 KB", "0.580", "0.790", "mystery", "3.5",
        "0.0012", "12 %", "0.12 -> 0.031", "over 3 steps", "400", "0.002", "ababababab…", "torch  2.13.0", "<tom>",
    ):  # fmt: skip
        assert part in shown
    assert max(len(line) for line in shown.splitlines() if not line.startswith("commit ")) <= 80


def test_json_has_record_and_context(lineage: Any, cns: Any) -> None:
    added = lineage.add("rex", series={"loss": [0.2, 0.1]})
    shown = json.loads(cns("show", "--json").stdout)
    assert shown["commit"]["id"] == added.id
    assert shown["added"] == ["rex"]
    assert shown["record"]["series"] == {"loss": [0.2, 0.1]}
    assert shown["concepts"][0]["tokens"] == ["<rex>"]
    assert shown["concepts"][0]["outside_context"] is False


def test_a_removal_names_what_it_removed(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    lineage.remove("rex")
    shown = cns("show").stdout
    assert "removed  rex" in shown
    assert "no concept yet" in shown


def test_a_concept_that_was_taught_anew_is_replaced(lineage: Any, cns: Any) -> None:
    from registry.trees import with_concept

    lineage.add("rex")
    tree = lineage.repo.commit_of(lineage.repo.head().commit).tree
    again = lineage.concept("rex", trained_on=tree)
    lineage.commit("add", "rex", "again", None, lambda old: with_concept(old, "rex", again, overwrite=True))
    assert json.loads(cns("show", "--json").stdout)["replaced"] == ["rex"]


def test_the_preview_is_written_as_it_was_stored(lineage: Any, cns: Any, tmp_path: Path) -> None:
    lineage.add("rex")
    assert cns("show", "rex", "--preview", "sheet.png").exit_code == 0
    assert (tmp_path / "sheet.png").read_bytes() == PNG + b"rex"


def test_a_commit_without_picture_says_so(lineage: Any, cns: Any, tmp_path: Path) -> None:
    result = cns("show", "HEAD", "--preview", "sheet.png")
    assert result.exit_code == 4
    assert not (tmp_path / "sheet.png").exists()
    assert cns("show", "--preview", "no/such/folder.png").exit_code == 2
    assert cns("show", "--preview", str(tmp_path)).exit_code == 2


def test_a_record_of_the_wrong_shape_breaks_nothing(lineage: Any, cns: Any) -> None:
    odd = {
        "metrics": "many",
        "series": {"loss": ["x"], "y": 3},
        "previews": 7,
        "drift": [1],
        "params": None,
        "versions": 1,
    }
    _commit_odd(lineage, odd)
    for words in (["show"], ["log"], ["status"], ["show", "--json"]):
        assert cns(*words).exit_code == 0


def _commit_odd(lineage: Any, data: dict[str, Any]) -> None:
    from registry.objects import Record
    from registry.trees import with_concept

    tree = lineage.repo.commit_of(lineage.repo.head().commit).tree
    concept = lineage.concept("rex", trained_on=tree)
    lineage.commit("add", "rex", "odd", Record(data), lambda old: with_concept(old, "rex", concept))
