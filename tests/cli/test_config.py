"""`cns config`: what is listed, what can be set, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry.trees import composing
from tests.cli.conftest import modules_after


def test_set_looked_up_listed_and_removed(lineage: Any, cns: Any) -> None:
    assert cns("config", "user.name", "Ann Other").stdout == "Ann Other\n"
    assert cns("config", "user.name").stdout == "Ann Other\n"
    assert cns("config").stdout == "base.source = emoji-64\ncompose = all\nuser.name = Ann Other\n"
    listed = json.loads(cns("config", "--json").stdout)
    assert listed["settings"] == {"base.source": "emoji-64", "compose": "all", "user.name": "Ann Other"}
    assert listed["file"] == str(lineage.repo.folder / "config.toml")
    assert cns("config", "--unset", "user.name").exit_code == 0
    assert lineage.repo.config["base"] == {"source": "emoji-64"}
    assert "name" not in lineage.repo.config.get("user", {})


def test_the_author_of_the_settings_commits(lineage: Any, cns: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CNS_AUTHOR", raising=False)
    lineage.add("rex")
    cns("config", "user.name", "Ann Other")
    assert cns("rm", "rex").exit_code == 0
    assert lineage.repo.commit_of(lineage.repo.head().commit).author == "Ann Other"


def test_values_have_their_types(lineage: Any, cns: Any) -> None:
    for key, typed in (
        ("mlflow.required", "true"),
        ("check.images", "8"),
        ("check.max-drop.id", "0.03"),
        ("check.metrics", '["id", "clip-t"]'),
        ("check.prompts", "our prompts.txt"),
    ):
        assert cns("config", key, typed).stdout == f"{typed}\n"
    settings = lineage.repo.config
    assert settings["mlflow"]["required"] is True
    assert settings["check"] == {
        "images": 8,
        "max-drop": {"id": 0.03},
        "metrics": ["id", "clip-t"],
        "prompts": "our prompts.txt",
    }
    assert cns("config", "check.max-drop").stdout == "check.max-drop.id = 0.03\n"


def test_a_base_that_moved_is_named_by_any_path(
    lineage: Any, cns: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved, inner = tmp_path / "moved", tmp_path / "inner"
    moved.mkdir()
    inner.mkdir()
    monkeypatch.chdir(inner)
    assert cns("config", "base.source", "../moved").stdout == f"{moved}\n"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("user.nmae", "Ann"), "user.name"),
        (("check.imagse", "8"), "images"),
        (("check.images", "none"), "images"),
        (("check.max-drop.id", "small"), "a number from 0"),
        (("mlflow.required", "yes"), "true or false"),
        (("mlflow.name", "../elsewhere"), "letters, digits"),
        (("user.name", " "), "--unset"),
        (("user.name.first", "Ann"), "user.name"),
        (("check", "8"), "check.…"),
    ],
)
def test_what_no_command_could_read_is_refused(lineage: Any, cns: Any, words: tuple[str, ...], what: str) -> None:
    before = (lineage.repo.folder / "config.toml").read_bytes()
    result = cns("config", *words)
    assert result.exit_code == 4
    assert what in result.stderr
    assert "try: cns config --help" in result.stderr
    assert (lineage.repo.folder / "config.toml").read_bytes() == before


def test_what_is_not_set(lineage: Any, cns: Any) -> None:
    for words in (("user.name",), ("--unset", "user.name")):
        result = cns("config", *words)
        assert result.exit_code == 4
        assert result.stdout == ""
        assert "'user.name' is not set" in result.stderr
    assert cns("config", "--unset").exit_code == 2
    assert cns("config", "--unset", "user.name", "Ann").exit_code == 2


def test_it_loads_no_model(lineage: Any, tmp_path: Path) -> None:
    assert not {"torch", "mlflow", "diffusers", "transformers"} & modules_after(["config"], tmp_path)


def test_what_prompts_see_is_part_of_the_model_and_setting_it_is_a_commit(lineage: Any, cns: Any, alone: None) -> None:
    lineage.add("rex")
    before, file = lineage.repo.tree_of("HEAD"), (lineage.repo.folder / "config.toml").read_bytes()
    assert cns("config", "compose").stdout == "all\n"
    result = cns("config", "compose", "named")
    assert (result.exit_code, result.stdout) == (0, "named\n"), result.output
    head = lineage.repo.commit_of(lineage.repo.head().commit)
    assert (head.kind, head.message) == ("compose", "compose named")
    assert lineage.repo.tree_of("HEAD") == composing(before, "named")
    assert (lineage.repo.folder / "config.toml").read_bytes() == file
    assert cns("config", "compose").stdout == "named\n"
    assert "this compose" in cns("config", "compose", "named").stderr
    assert cns("undo").exit_code == 0
    assert cns("config", "compose").stdout == "all\n"


def test_it_says_who_was_learned_for_prompts_that_saw_more(lineage: Any, cns: Any, alone: None) -> None:
    for name in ("rex", "tom", "max"):
        lineage.add(name)
    said = " ".join(cns("config", "compose", "named").stderr.split())
    assert "max, tom learned beside other concepts" in said
    assert "cns add max IMAGES/ --replace" in said
    assert "every prompt sees all concepts now" in " ".join(cns("config", "compose", "all").stderr.split())


@pytest.mark.parametrize("words", [("compose", "some"), ("--unset", "compose")])
def test_another_way_to_compose_is_refused(lineage: Any, cns: Any, words: tuple[str, ...]) -> None:
    before = lineage.repo.head()
    result = cns("config", *words)
    assert result.exit_code != 0
    assert "all or named" in result.stderr
    assert lineage.repo.head() == before


def test_the_presets_are_listed_for_the_base_of_the_registry_and_chosen_elsewhere(lineage: Any, cns: Any) -> None:
    lines = cns("config", "preset", "show").stdout.splitlines()
    assert lines[0].split() == ["preset", "steps", "warm-up", "time", "gain", "drop"]
    assert lines[2].split()[:5] == ["balanced", "250", "60", "1", "x"]
    assert cns("config", "preset").stdout.splitlines() == lines
    listed = json.loads(cns("config", "preset", "--json").stdout)
    assert [row["name"] for row in listed["presets"]] == ["fast", "balanced", "thorough"]
    for words in (("preset", "fast"), ("preset", "--unset")):
        refused = cns("config", *words)
        assert refused.exit_code == 2
        assert "--preset" in refused.stderr


def test_presets_are_listed_without_a_registry(tmp_path: Path, cns: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cns("config", "preset").stdout.splitlines()[2].split()[:3] == ["balanced", "250", "60"]
