"""Answers of the gate, made by hand: what the formats must carry, without a model."""

from __future__ import annotations

import math
from typing import Any

from cns_cli.porcelain.answers import CheckResult, CheckRow, MetricResult

COMMIT = "3fa91c02ab" + "0" * 54
TREE = "b" * 64
WORST = (
    "a|b & <c> \"q\" 'x' ]]> % , : é 犬 🐕 \x00\x07\x1b[31m\r\n\ud800\ufffe\uffff\u202e`_*#1 @you $e$ ~s~ \\ ![i](u)"
)


def metric(**changes: Any) -> MetricResult:
    values: dict[str, Any] = {
        "metric": "id", "verdict": "kept", "now": 0.79, "baseline": 0.795, "drop": 0.005, "low": -0.004,
        "high": 0.014, "max_drop": 0.02, "minimum": None, "images": 40, "why": "",
    }  # fmt: skip
    return MetricResult(**{**values, **changes})


def row(**changes: Any) -> CheckRow:
    values: dict[str, Any] = {
        "concept": "rex", "concept_id": "c" * 64, "verdict": "kept", "metrics": (metric(),), "baseline_tree": TREE,
    }  # fmt: skip
    return CheckRow(**{**values, **changes})


def answer(*rows: CheckRow, **changes: Any) -> CheckResult:
    verdicts = {one.verdict for one in rows}
    outcome = next((one for one in ("forgot", "inconclusive") if one in verdicts), "kept")
    values: dict[str, Any] = {
        "commit": COMMIT, "tree": TREE, "since": None, "rows": rows, "outcome": outcome, "passed": outcome == "kept",
        "prompts": 10, "images": 160, "images_made": 80, "protocol": "d" * 64, "elapsed_s": 12.3456,
    }  # fmt: skip
    return CheckResult(**{**values, **changes})


FORGOT = row(
    concept="tom",
    verdict="forgot",
    metrics=(
        metric(verdict="forgot", now=0.57, drop=0.22, low=0.18, high=0.26, why="fell by 0.220, allowed: 0.02"),
        metric(metric="clip-i", now=0.7, baseline=0.7, drop=0.0, low=-0.003, high=0.003),
    ),
    why="identity fell by 0.220, between 0.180 and 0.260; allowed: 0.02",
)
UNDECIDED = row(
    concept="mug",
    verdict="inconclusive",
    metrics=(metric(verdict="inconclusive", low=-0.02, high=0.03, why="between -0.020 and 0.030"),),
)
UNCOMPUTABLE = row(
    concept="pip",
    verdict="forgot",
    metrics=(
        metric(metric="margin", verdict="forgot", now=math.nan, baseline=None, drop=None, low=None, high=None,
               why="there is no other concept"),
    ),
)  # fmt: skip
GROWTH = row(
    concept="(base)",
    metrics=(metric(metric="zero-shot", now=0.0123, baseline=None, drop=0.0123, low=None, high=None, max_drop=0.05),),
)
EVERY = answer(row(), FORGOT, UNDECIDED, UNCOMPUTABLE, GROWTH)
