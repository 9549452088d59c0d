"""What `cns generate` refuses before it loads a library, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import modules_after


@pytest.mark.parametrize(
    ("region", "said"),
    [
        ("rex", "'rex' is no region; expected NAME@x0,y0,x1,y1"),
        ("@0,0,1,1", "is no region"),
        ("rex@0,0,1", "'0,0,1' is no box; expected x0,y0,x1,y1"),
        ("rex@0,0,x,1", "is no box"),
        ("rex@0.5,0,0.5,1", "is empty"),
        ("rex@0,0,2,1", "2 of a box lies outside the image"),
    ],
)
def test_a_malformed_region_says_what_was_expected(lineage: Any, cns: Any, region: str, said: str) -> None:
    lineage.add("rex")
    result = cns("generate", "a dog", "--region", region)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_prompt_without_quotes_is_told_to_take_them(lineage: Any, cns: Any) -> None:
    result = cns("generate", "a", "<rex>", "dog")
    assert result.exit_code == 2
    assert 'hint: put the prompt in quotes: cns generate "a <rex> dog"' in result.stderr


@pytest.mark.parametrize("words", [["--size", "64*96"], ["--size="], ["--size"], ["--size", "big"]])
def test_a_size_that_is_none_says_what_was_expected(cns: Any, words: list[str]) -> None:
    result = cns("generate", "a dog", *words)
    assert result.exit_code == 2
    assert "'--size': " in result.stderr
    assert "is no size; expected WIDTHxHEIGHT, such as 512x768" in result.stderr


def test_a_region_of_an_unknown_concept_lists_those_that_there_are(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    lineage.add("tom", noun="cat")
    result = cns("generate", "a dog", "--region", "rox@0,0,1,1")
    assert result.exit_code == 4
    assert "no concept 'rox' in this tree: expected one of: rex, tom" in result.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--region", "nonsense"], 2),
        (["--region", "rox@0,0,1,1"], 4),
        (["--at", "nope..HEAD"], 4),
        (["--at", "HEAD~1..HEAD", "-n", "99"], 4),
        (["-o", "x.nonsense"], 4),
        (["--guidance", "inf"], 2),
        (["--guidance", "nan"], 2),
    ],
)
def test_what_cannot_be_meant_is_refused_before_torch_is_loaded(lineage: Any, words: list[str], code: int) -> None:
    lineage.add("rex")
    loaded = modules_after(["generate", "a dog", *words], lineage.repo.root, code)
    assert not loaded & {"torch", "diffusers", "transformers", "mlflow"}
