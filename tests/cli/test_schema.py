"""`cns schema`: every `--json` has a schema, every document follows it, and what a schema promised stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cns_cli import shapes
from cns_cli.main import Verbs
from cns_cli.porcelain.schema import ANSWERS, ERROR, name_of, names, schema
from tests.cli.conftest import ROOT, Lineage, modules_after, run
from tests.cli.documents import PROMISED, command_of, follow_schema, promises
from tests.cli.learned import learn

# Command lines on a registry of three commits that hold rex, tom and mug, whose origin is ./shared.
LINES = """
status
log
log --graph v1..main
show
show --curve
reflog
branch winter
branch
branch -d winter
tag v2 HEAD~1
tag
checkout v1
switch main
diff HEAD~1
blame rex
config
config user.name Ann
config preset show
doctor
fsck
gc --dry-run
remote add origin shared
remote list
remote set-url origin shared
push
fetch
pull
clone shared bob
remote remove origin
bundle create all.bundle
bundle verify all.bundle
bundle clone all.bundle carl
promote
bisect start HEAD v1
bisect log
bisect skip
bisect bad
bisect reset
bisect start
bisect bad
bisect good v1
bisect run true
bisect reset
rm mug --dry-run
rm mug
undo
mv mug cup
revert HEAD
cherry-pick HEAD~1
merge v1 --dry-run
reset HEAD
purge rex --dry-run
ui --no-browser
schema
schema log
completion bash
show nope
nonsense
""".strip().splitlines()

# What needs a model, or an MLflow: `tests/porcelain/test_documents.py`.
ELSEWHERE = {
    "init",
    "add",
    "import",
    "generate",
    "check",
    "report",
    "verify",
    "export",
    "erase",
    "mlflow sync",
    "mlflow restore",
}


def commands_with_json() -> dict[str, bool]:
    found = {}
    for verb, command in Verbs().items():
        for name, one in (getattr(command, "commands", None) or {"": command}).items():
            found[f"{verb} {name}".strip()] = any("--json" in param.opts for param in one.params)
    return found


def test_every_command_answers_in_json_and_has_a_schema() -> None:
    commands = commands_with_json()
    assert all(commands.values()), f"without --json: {[name for name, has in commands.items() if not has]}"
    lacking = set(commands) - set(ANSWERS)
    assert not lacking, f"say in cns_cli/porcelain/schema.py what these answer with: {sorted(lacking)}"
    assert set(ANSWERS) - set(commands) == {ERROR}


@pytest.mark.parametrize("command", ANSWERS)
def test_a_schema_is_one_of_its_draft_with_its_version(command: str) -> None:
    found = schema(command.split())
    jsonschema.Draft202012Validator.check_schema(found)
    assert found["$schema"] == shapes.DRAFT
    assert found["$id"] == name_of(command) == names()[command]
    assert command in found["title"] or command == ERROR
    assert json.loads(run("schema", *command.split()).stdout) == found


def test_what_was_promised_stays_until_the_version_changes() -> None:
    now = promises()
    for name, shape in json.loads(PROMISED.read_text(encoding="utf-8")).items():
        broken = {place for place, kind in shape.items() if name in now and now[name].get(place) != kind}
        assert not broken, f"give {name} a new number in VERSIONS of cns_cli/porcelain/schema.py: it lost {broken}"


def test_every_command_is_run_here_or_with_a_model() -> None:
    assert {command_of(line.split()) for line in LINES} | ELSEWHERE == set(ANSWERS) - {ERROR} | {""}


@pytest.fixture
def three(lineage: Lineage, alone: None, tmp_path: Path) -> Lineage:
    learn(lineage, "rex", {0: 1, 5: -2})
    assert run("tag", "v1").exit_code == 0
    learn(lineage, "tom", {0: 2})
    learn(lineage, "mug", {9: 1})
    (tmp_path / "shared").mkdir()
    return lineage


def test_every_document_of_a_session_follows_its_schema(three: Lineage) -> None:
    wrong = {}
    for line in LINES:
        words = line.split()
        at = words.index("run") + 1 if "run" in words else len(words)
        words.insert(at, "--json")
        result = run(*words)
        said = follow_schema(words, result)
        expected = ERROR if line in ("show nope", "nonsense") else command_of(words)
        if said != expected:
            wrong[line] = result.stderr
    assert not wrong


@pytest.mark.parametrize(
    ("words", "code", "kind", "hint"),
    [
        (["log", "nope", "--json"], 4, "registry", "cns log"),
        (["--json", "log", "nope"], 4, "registry", "cns log"),
        (["log", "--nope", "--json"], 2, "usage", "cns log --help"),
        (["lst", "--json"], 2, "usage", "cns "),
        (["bisect", "--json"], 2, "usage", "cns bisect --help"),
        (["check", "--device", "gpu", "--json"], 2, "usage", "cns check --help"),
        (["--json"], 2, "usage", "cns --help"),
    ],
)
def test_an_error_is_one_document_too(
    words: list[str], code: int, kind: str, hint: str, three: Lineage, cns: Any
) -> None:
    result = cns(*words)
    data = json.loads(result.stdout)
    assert (data["schema"], data["exit_code"], data["kind"], result.exit_code) == ("cns-error/1", code, kind, code)
    assert data["hint"].startswith(hint)
    assert data["error"].split()[0] in result.stderr


def test_json_that_a_program_asked_for_is_not_ours(three: Lineage, cns: Any) -> None:
    result = cns("bisect", "run", "no-such-program", "--json")
    assert result.exit_code != 0
    assert result.stdout == ""


def test_an_error_document_shows_no_password(three: Lineage, cns: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:hunter2@127.0.0.1:9")
    result = cns("mlflow", "sync", "--json")
    assert json.loads(result.stdout)["kind"] == "remote"
    assert "hunter2" not in result.stdout + result.stderr


def test_after_an_answer_there_is_no_second_document(three: Lineage, cns: Any) -> None:
    (next((three.repo.folder / "objects").rglob("??*/*"))).write_bytes(b"")
    result = cns("fsck", "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout)["damaged"] is True


def test_schemas_are_made_without_anything_heavy() -> None:
    loaded = modules_after(["schema", "show"], ROOT)
    assert not loaded & {"torch", "mlflow", "diffusers", "transformers"}


def test_a_command_without_a_schema_is_refused_with_one_that_is_near(cns: Any) -> None:
    assert "try: cns schema bisect run" in cns("schema", "bisct", "run").stderr
    assert "try: cns schema bundle create" in cns("schema", "bundle").stderr
