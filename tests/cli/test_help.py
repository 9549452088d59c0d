"""Every command and option explains itself, in 80 columns, and every example on a help page can be typed."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from itertools import dropwhile
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cns_cli.main import VERBS, Verbs, app
from tests.cli.conftest import run


def commands() -> Iterator[tuple[str, Any]]:
    for name, command in Verbs().items():
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        else:
            yield from ((f"{name} {word}", inner[word]) for word in inner)


COMMANDS = dict(commands())


def test_the_program_lists_every_verb_in_full() -> None:
    text = run("--help").stdout
    for verb in VERBS:
        assert f"\n  {verb} " in text
    assert not [line for line in text.splitlines()[1:] if line.endswith("...")], "a first sentence is too long"
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_has_help(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert command.epilog, "a help page ends with examples"
    for parameter in command.params:
        assert parameter.help, f"cns {name}: {parameter.name}"
        assert parameter.help.endswith("."), f"cns {name}: {parameter.name}"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_plain_and_narrow(name: str) -> None:
    result = run(*name.split(), "--help")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert run(*name.split(), "-h").stdout == result.stdout


def example_lines() -> list[str]:
    lines = [line.strip() for command in COMMANDS.values() for line in command.epilog.splitlines()[2:]]
    root = typer.main.get_command(app)
    return lines + [line.strip() for line in (root.epilog or "").splitlines()[2:]]


@pytest.mark.parametrize("line", sorted(set(example_lines())))
def test_every_example_can_be_typed(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("photos/rex", "photos/more-of-rex", "photos/tom", "adapter"):
        (tmp_path / folder).mkdir(parents=True)
    for name in (
        "many.txt",
        "concepts.toml",
        *(f"{stem}.safetensors" for stem in ("rex", "mona", "rex-token", "learned_embeds")),
    ):
        (tmp_path / name).touch()
    words = list(dropwhile(lambda word: "=" in word, shlex.split(line)))  # a variable before the command
    assert words[0] == "cns"
    root = typer.main.get_command(app)
    command, rest = root, words[1:]
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(words[1], rest)


def test_choices_in_help_are_those_of_the_method() -> None:
    regularizers = import_module("cns.regularizers").REGULARIZERS
    scores = import_module("cns.selection").SCORES
    said = {parameter.name: parameter.help for parameter in COMMANDS["add"].params}
    for name in scores:
        assert name in said["score"]
    for name in regularizers:
        assert name in said["reg"]


def test_version_is_that_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert run("--version").stdout == f"cns {project['version']}\n"


def test_without_a_verb_the_help_goes_to_stderr() -> None:
    result = run()
    assert result.exit_code == 2
    assert "Commands:" in result.stderr
