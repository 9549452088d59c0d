"""What the judges of the benchmarks read."""

from __future__ import annotations

import pytest

from benchmarks.judging import without_tokens


@pytest.mark.parametrize(
    ("prompt", "plain"),
    [
        ("a <rex> dog on the grass", "a dog on the grass"),
        ("a <Rex> apple and a <fay>, red", "an apple and a , red"),
        ("an <x.1> dog", "a dog"),
        ("a rexen dog", "a rexen dog"),
        ("a", "a"),
    ],
)
def test_judge_reads_no_special_token(prompt: str, plain: str) -> None:
    assert without_tokens(prompt, ["<rex>", "<fay>", "<x.1>", "rex"]) == plain
