from __future__ import annotations

import pytest

from cns_cli.commands.check import result_lines
from cns_cli.output import Output
from cns_cli.porcelain.options import CheckResult, CheckRow, Score

KEPT = CheckRow(
    concept="rex",
    verdict="kept",
    identity=Score(now=0.79, baseline=0.795, drop=0.005, low=-0.004, high=0.014),
    clip_i=Score(now=0.7, baseline=0.7, drop=0.0, low=-0.003, high=0.003),
    drift=0.00123,
)
FORGOT = CheckRow(
    concept="tom",
    verdict="forgot",
    identity=Score(now=0.57, baseline=0.79, drop=0.22, low=0.18, high=0.26),
    clip_i=None,
    why="identity fell by 0.220, 0.180 to 0.260, allowed 0.02",
)
TABLE = """\
3fa91c02ab, 20 images a concept

concept                        now  baseline    drop  between
rex      kept    identity    0.790     0.795  +0.005  -0.004 and +0.014
                 CLIP-I      0.700     0.700  +0.000  -0.003 and +0.003
                 K/V drift  0.0012
tom      forgot  identity    0.570     0.790  +0.220  +0.180 and +0.260
tom: identity fell by 0.220, 0.180 to 0.260, allowed 0.02

not kept: tom (asked: no drop above 0.02)
"""


def printed(result: CheckResult, capsys: pytest.CaptureFixture[str]) -> str:
    Output().answer({}, result_lines(result))
    return capsys.readouterr().out


def answer(*rows: CheckRow) -> CheckResult:
    passed = all(row.verdict == "kept" for row in rows)
    return CheckResult(commit="3fa91c02ab" + "0" * 54, rows=rows, passed=passed, max_drop=0.02, images=20)


def test_one_line_a_metric_and_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(answer(KEPT, FORGOT), capsys) == TABLE


def test_all_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(answer(KEPT), capsys).endswith("\nkept: 1 concept, no drop above 0.02\n")


def test_nothing_to_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing to forget" in printed(answer(), capsys)


def test_a_concept_without_any_score_still_has_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    bare = CheckRow(concept="pip", verdict="inconclusive", identity=None, clip_i=None, why="no score")
    assert "pip      inconclusive" in printed(answer(bare), capsys)


def test_json_is_nested_plain_values() -> None:
    rows = answer(KEPT, FORGOT).to_json()["rows"]
    assert rows[0]["identity"] == {"now": 0.79, "baseline": 0.795, "drop": 0.005, "low": -0.004, "high": 0.014}
    assert rows[1]["clip_i"] is None
