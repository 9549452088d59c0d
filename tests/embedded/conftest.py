"""One lineage on the embedded base, made by the commands as a user types them; every test here looks at it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cns.families import FAMILIES
from cns_cli.main import app

CONCEPTS = Path(__file__).resolve().parents[2] / "examples" / "concepts"
SHORT = ("--steps", "60", "--warmup", "30", "--batch-size", "4")
"""Less than the defaults: enough to be learned, little enough for a test."""
FEW = replace(FAMILIES["emoji-64"].defaults, sampler_steps=7)
"""Half the steps of a picture: what was learned is seen as well."""
VOTING = property(lambda calibration: calibration.prompts[::8])
"""A quarter of the calibration prompts that vote for general neurons: all of them would, for most of a minute."""


def cns(folder: Path, *words: str) -> Result:
    """Run one command line in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        return CliRunner().invoke(app, list(words), prog_name="cns")
    finally:
        os.chdir(before)


@dataclass(frozen=True)
class Lineage:
    """The lineage.

    Attributes:
        folder: Where the registry is.
        added: What `cns add --json` said, by concept.
    """

    folder: Path
    added: dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def _lineage(tmp_path_factory: pytest.TempPathFactory) -> Lineage:
    folder = tmp_path_factory.mktemp("lineage")
    assert cns(folder, "init", "--compose", "all").exit_code == 0  # one set of weights, where one can harm another
    added = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cns.prompts.Calibration.selection", VOTING)
        patch.setitem(FAMILIES, "emoji-64", replace(FAMILIES["emoji-64"], defaults=FEW))
        for name, noun in (("rex", "dog"), ("pip", "penguin")):
            result = cns(folder, "add", name, str(CONCEPTS / noun), *SHORT, "--json")
            assert result.exit_code == 0, result.output
            added[name] = json.loads(result.stdout)
    return Lineage(folder, added)


@pytest.fixture
def few_steps_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn in few steps."""
    monkeypatch.setitem(FAMILIES, "emoji-64", replace(FAMILIES["emoji-64"], defaults=FEW))


@pytest.fixture
def lineage(_lineage: Lineage, few_steps_a_picture: None) -> Lineage:
    """The lineage itself; a test that changes it takes `copy_of_lineage`."""
    return _lineage


@pytest.fixture
def copy_of_lineage(lineage: Lineage, tmp_path: Path) -> Lineage:
    """A copy that a test may change."""
    shutil.copytree(lineage.folder, tmp_path / "copy")
    return Lineage(tmp_path / "copy", lineage.added)


@pytest.fixture
def run() -> Callable[..., Result]:
    """`cns(folder, *words)`."""
    return cns
