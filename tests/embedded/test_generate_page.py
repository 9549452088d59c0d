"""docs/generate.md: its pictures are those that its commands make."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from cns_cli.porcelain.pictures.files import read_picture
from registry.repository import Repository
from tests.golden import unpack

DOCS = Path(__file__).resolve().parents[2] / "docs"
PICTURES = sorted((DOCS / "images").glob("generate_*.png"))
LINES = re.findall(r"^\$ (cns .* -o generate_\w+\.png)$", (DOCS / "generate.md").read_text(encoding="utf-8"), re.M)


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("golden"))


def test_every_picture_has_a_line_and_they_are_small() -> None:
    assert {line.split()[-1] for line in LINES} == {path.name for path in PICTURES}
    assert sum(path.stat().st_size for path in PICTURES) < 200_000


@pytest.mark.embedded
@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split()[-1])
def test_a_line_makes_the_picture_below_it(golden: Path, line: str, run: Callable[..., Result]) -> None:
    result = run(golden, *shlex.split(line)[1:])
    assert result.exit_code == 0, result.output
    name = line.split()[-1]
    made, kept = (np.asarray(Image.open(path)).astype(int) for path in (golden / name, DOCS / "images" / name))
    assert made.shape == kept.shape
    assert np.abs(made - kept).max() <= 12  # sums run in another order on other processors; fonts do not


@pytest.mark.parametrize("line", [line for line in LINES if " generate " in line], ids=lambda line: line.split()[-1])
def test_a_picture_says_the_line_that_made_it(golden: Path, line: str) -> None:
    record, words = read_picture(DOCS / "images" / line.split()[-1]), shlex.split(line)
    repo, asked = Repository(golden), words[words.index("--at") + 1]
    assert record.prompt == words[2]
    assert record.at == "..".join(repo.resolve(end) for end in asked.split(".."))
    assert list(record.regions) == [words[k + 1] for k, word in enumerate(words) if word == "--region"]
    assert record.n == int(words[words.index("-n") + 1])
