"""The skill for coding agents: where these look for it, and its command lines, run word for word."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cns.families import FAMILIES
from cns_cli.errors import ExitCode
from cns_cli.main import VERBS
from tests.cli.conftest import ROOT, run
from tests.cli.documents import follow_schema
from tests.porcelain.conftest import new_registry

PLACES = [ROOT / folder / "skills" / "cns" / "SKILL.md" for folder in (".agents", ".claude")]
TEXT = PLACES[0].read_text(encoding="utf-8")
LINES = re.findall(r"^\$ (cns .*)$", TEXT, re.M)


def test_agents_find_one_short_file() -> None:
    assert all(place.read_text(encoding="utf-8") == TEXT for place in PLACES)
    _, head, _ = TEXT.split("---\n", 2)
    facts = yaml.safe_load(head)
    assert facts.keys() == {"name", "description"}
    assert facts["name"] == PLACES[0].parent.name
    assert 100 < len(facts["description"]) <= 1024
    assert len(TEXT.splitlines()) < 110


def test_it_names_every_exit_code_and_only_verbs_that_there_are() -> None:
    codes = TEXT.partition("## Exit codes")[2].partition("## Never")[0]
    assert {int(word) for word in re.findall(r"\b\d+\b", codes)} == {int(code) for code in ExitCode}
    assert set(re.findall(r"cns ([a-z][a-z-]+)", TEXT.partition("# cns\n")[2])) - {"is"} <= set(VERBS)


def test_its_command_lines_run_word_for_word(
    tmp_path: Path, tiny_base: Path, photos: dict[str, Path], mlflow_tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = replace(FAMILIES["sd-1"].defaults, steps=2, warmup_steps=1, sampler_steps=1, score="wanda")
    monkeypatch.setitem(FAMILIES, "sd-1", replace(FAMILIES["sd-1"], defaults=few))
    new_registry(tmp_path, tiny_base, mlflow_tables, "named")
    shutil.copytree(photos["rex"], tmp_path / "photos" / "rex")
    (tmp_path / "prompts.txt").write_text("a <rex> dog\na <rex> dog at night --d 3\n")
    monkeypatch.chdir(tmp_path)
    for line in LINES:
        words = shlex.split(line)[1:]
        result = run(*words)
        assert result.exit_code == 0, f"{line}\n{result.output}"
        if words[0] != "schema":
            assert follow_schema(words, result)
    assert {"rex-7.png", "rex-8.png", "out", "report.html"} <= {path.name for path in tmp_path.iterdir()}
    assert len(json.loads(run("log", "--json").stdout)) >= 2
