"""An option is said once, beside its field: what the options dataclasses say is what the command line takes."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from cns_cli.main import Verbs
from cns_cli.options import typed_fields
from cns_cli.porcelain import options
from cns_cli.porcelain.options import Request
from cns_cli.porcelain.scoring.names import POINTS
from cns_cli.quick import OPEN
from tests.cli.conftest import ROOT, run

MAX_SIGNATURE = 40
KINDS = [kind for kind in vars(options).values() if isinstance(kind, type) and Request in kind.__bases__]
EXCUSED = {
    "Request": {"start", "author", "time", "mlflow_uri"},  # what the shell says: cns_cli.settings
    "AddOptions": {"typed"},  # which of the others were typed
}


def verb_of(kind: type) -> str:
    return kind.__name__.removesuffix("Options").lower()


@pytest.mark.parametrize("path", sorted((ROOT / "cns_cli" / "commands").glob("*.py")), ids=lambda path: path.stem)
def test_no_signature_of_a_command_is_long(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lengths = {
        node.name: node.body[0].lineno - node.lineno for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    }
    assert {name: length for name, length in lengths.items() if length > MAX_SIGNATURE} == {}


def test_every_options_object_has_its_verb() -> None:
    assert {verb_of(kind) for kind in KINDS} == {"add", "import", "erase", "generate", "check", "report", "fsck", "gc"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_field_reaches_the_command_line_or_is_excused(kind: type) -> None:
    typed = {parameter.name for parameter in Verbs()[verb_of(kind)].params}
    excused = EXCUSED["Request"] | EXCUSED.get(kind.__name__, set())
    names = {field.name for field in fields(kind)}
    assert excused <= names
    assert names - typed == excused
    assert not typed & excused


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_not_typed_is_as_by_default(kind: type) -> None:
    commands: dict[str, Any] = {parameter.name: parameter for parameter in Verbs()[verb_of(kind)].params}
    defaults = {field.name: field.default for field in fields(kind)}
    for name in typed_fields(kind):
        # name and images are required unless --resume is typed; a list is empty
        if (name in ("name", "images") and kind is options.AddOptions) or defaults[name] in ((), MISSING):
            assert commands[name].default is None
        elif name in ("pictures", "mark"):  # --no-… turns its field around
            assert commands[name].default is not defaults[name]
        else:
            assert commands[name].default == defaults[name], name


def test_options_load_the_standard_library_and_tables_of_names_only() -> None:
    program = "import sys, cns_cli.porcelain.options; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert set(done.stdout.split()) <= {*sys.stdlib_module_names, "__main__", "cns", "cns_cli"}


def test_options_that_other_packages_add_to_are_those_of_the_method() -> None:
    assert {name.removeprefix("--") for name in OPEN} == set(POINTS)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("add", "rex", ".", "--lr", "0"), "'--lr' / '--learning-rate': 0.0 is not above 0"),
        (("add", "rex", ".", "--anchor", "inf"), "'--anchor': inf is not a finite number"),
        (("add", "rex", ".", "--budget", "0"), "'--budget': '0' is not a share; expected 5.8% or 0.058"),
        (("add", "rex", ".", "--seed", "-1"), "'--seed' / '-s': -1 is not between 0 and 9223372036854775807"),
        (("generate", "a dog", "--region", "rex"), "'--region': 'rex' is no region; expected NAME@x0,y0,x1,y1"),
        (("gc", "--prune", "14"), "'--prune': '14' is no age; expected now"),
        (("report", "-o", "."), "'-o' / '--out': '.' is a folder; expected a file name"),
        (("show", "--preview", "a/b"), "'--preview': there is no folder 'a' to write into"),
        (("bisect", "start", "--below", "nan"), "'--below': nan is not a finite number"),
    ],
)
def test_what_a_check_refuses_was_typed_wrongly(words: tuple[str, ...], why: str, cns: Any) -> None:
    refused = cns(*words)
    assert refused.exit_code == 2
    assert f"error: invalid value for {why}" in " ".join(refused.stderr.split())


def test_a_share_is_read_to_the_bit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr("cns_cli.porcelain.add.add_concept", lambda request, progress: seen.append(request))
    run("add", "rex", ".", "--budget", "5.8%", "--past-vote", "0.5")
    assert (seen[0].budget, seen[0].past_vote, seen[0].typed) == (0.058, 0.5, {"name", "images", "budget", "past_vote"})
