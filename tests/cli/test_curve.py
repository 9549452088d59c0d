"""Losses as a curve of plain characters."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from cns_cli.curve import HEIGHT, curve_lines
from registry.objects import Record


def test_a_falling_loss_falls_from_left_to_right_within_80_columns() -> None:
    lines = list(curve_lines({"loss": [1 - step / 500 for step in range(250)]}, {}))
    drawn = [line.split("|")[1] for line in lines[:HEIGHT]]
    assert max(map(len, lines)) <= 80
    assert all(ord(letter) < 128 for line in lines for letter in line)
    starts = [row.index(".") for row in drawn]
    assert starts == sorted(starts)
    assert float(lines[0].split()[0]) > 0.99
    assert float(lines[HEIGHT - 1].split()[0]) < 0.51
    assert lines[-2].split() == ["0", "250", "steps"]


def test_validation_stands_at_its_own_steps_above_the_loss() -> None:
    series = {"loss": [0.5] * 100, "validation_loss": [1.0, 0.5, 0.0], "penalty": [9.0] * 100}
    lines = list(curve_lines(series, {"validation_loss": [0, 50, 100]}))
    assert lines[0].split("|")[1] == "o"  # before the first step
    assert len(lines[HEIGHT - 1].split("|")[1]) == 70  # at the last
    assert sum(line.count("o") for line in lines[:HEIGHT]) == 3
    assert lines[-1].split() == [".", "loss", "o", "validation", "loss"]


@pytest.mark.parametrize("series", [{}, {"loss": []}, {"penalty": [1.0]}])
def test_nothing_is_drawn_of_nothing(series: dict[str, list[float]]) -> None:
    assert list(curve_lines(series, {})) == []


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5], [float("nan"), 0.5]])
def test_a_flat_or_broken_loss_is_drawn(values: list[float]) -> None:
    assert (
        sum(
            line.count(".") for line in [row.split("|")[-1] for row in list(curve_lines({"loss": values}, {}))[:HEIGHT]]
        )
        >= 1
    )


def commit(lineage: Any, **record: Any) -> None:
    """A commit with this record: it takes away what the one before brought."""
    lineage.add("rex")
    repo = lineage.repo
    repo.commit(
        kind="remove", message="rm rex", author="ann", time=1, record=Record(record), seen=repo.head().commit,
        keep_as="rex", change=lambda now: replace(now, concepts={}),
    )  # fmt: skip


def test_show_draws_what_was_recorded(lineage: Any, cns: Any) -> None:
    series, steps = {"loss": [3.0, 2.5, 2.0], "validation_loss": [2.5, 2.0]}, {"validation_loss": [0, 3]}
    commit(lineage, series=series, series_steps=steps)
    shown = cns("show", "--curve")
    recorded = json.loads(cns("show", "--curve", "--json").stdout)
    assert (recorded["series"], recorded["series_steps"]) == (series, steps)
    assert shown.stdout.splitlines() == list(curve_lines(series, steps))
    losses = [line.split() for line in cns("show").stdout.splitlines() if " over " in line]
    assert [row[0] for row in losses] == ["loss", "validation_loss"]
    assert [row[-2:] for row in losses] == [["3", "steps"]] * 2
    assert cns("show", "--curve", "--provenance").exit_code == 2


def test_a_commit_that_trained_nothing_has_no_curve(lineage: Any, cns: Any) -> None:
    shown = cns("show", "--curve")
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert "trained nothing" in shown.stderr


def test_a_record_from_others_may_hold_anything(lineage: Any, cns: Any) -> None:
    series = {"loss": [1, "x"], "warmup_loss": 5, "validation_loss": [3.0, 2.0]}
    commit(lineage, series=series, series_steps={"validation_loss": [0]})
    shown = json.loads(cns("show", "--curve", "--json").stdout)
    assert shown["series"] == {"validation_loss": [3.0, 2.0]}
    assert shown["series_steps"] == {}
