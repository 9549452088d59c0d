"""Words that people type by habit lead to what does it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from cns_cli.habits import FORMAT_OF, VERB_OF, about_option, command_for
from cns_cli.main import VERBS
from cns_cli.porcelain.exchange.formats import FORMATS
from cns_cli.porcelain.exchange.programs import PROGRAMS
from tests.cli.conftest import Lineage, modules_after, run

Cns = Callable[..., Result]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ls", "cns status"),
        ("list", "cns status"),
        ("LIST", "cns status"),
        ("remove rex", "cns rm rex"),
        ("remove", "cns rm NAME"),
        ("rename rex bello", "cns mv rex bello"),
        ("train rex photos/rex", "cns add rex photos/rex"),
        ("sample 'a <rex> dog' -n 4", "cns generate 'a <rex> dog' -n 4"),
        ("load", "cns import FILE NAME"),
        ("lora style.safetensors mona", "cns import style.safetensors mona"),
        ("gui", "cns ui"),
        ("version", "cns --version"),
        ("restore", "cns mlflow restore"),
        ("lgo", "cns log"),
        ("genrate", "cns generate"),
        ("stat", "cns status"),
        ("gen", "cns generate"),
        ("qqq", "cns --help"),
        ("HELP", "cns help"),
        ("rebase main", "cns merge main"),
        ("update", "cns pull"),
    ],
)
def test_a_word_that_is_no_verb_leads_to_the_verb(typed: str, meant: str, cns: Cns) -> None:
    result = cns(*shlex.split(typed))
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == f"  try: {meant}"
    assert "there is no command" in result.stderr


def test_every_word_leads_to_a_verb_and_is_none_itself() -> None:
    assert not set(VERB_OF) & set(VERBS)
    for word in VERB_OF:
        verb = command_for(word, (), VERBS).split()[1]
        assert verb in (*VERBS, "help", "--version"), word


def test_help_is_a_word_too(cns: Cns) -> None:
    assert cns("help").stdout == cns("--help").stdout
    assert cns("help", "add").stdout == cns("add", "--help").stdout
    assert cns("help", "mlflow", "sync").stdout == cns("mlflow", "sync", "--help").stdout
    assert cns("help", "lst").exit_code == 2


def test_a_folder_stands_before_the_verb(lineage: Lineage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = run("status").stdout
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run("-C", "..", "status").stdout == here
    assert Path.cwd() == tmp_path / "elsewhere"
    assert run("-C", "nowhere", "status").exit_code == 2


def test_json_may_stand_before_the_verb(lineage: Lineage) -> None:
    assert json.loads(run("--json", "status").stdout) == json.loads(run("status", "--json").stdout)
    assert json.loads(run("--json", "config", "base.source").stdout)
    assert run("--json", "show", "--", "HEAD").stdout.startswith("{")


@pytest.mark.parametrize("words", [("-q", "branch", "side"), ("branch", "side", "-q"), ("branch", "-q", "side")])
def test_quiet_leaves_the_answer(lineage: Lineage, words: tuple[str, ...]) -> None:
    result = run(*words)
    assert "side" in result.stdout
    assert result.stderr == ""
    assert "next:" in run("branch", "other").stderr, "the next call talks again"


def test_quiet_keeps_errors(lineage: Lineage) -> None:
    assert run("-q", "show", "nowhere").stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("add", "--num-vectors", "2"), "there is no option --num-vectors: expected --vectors"),
        (("add", "--max_train_steps", "2"), "there is no option --max_train_steps: expected --steps"),
        (("generate", "--guidance-scale", "3", "a dog"), "there is no option --guidance-scale: expected --guidance"),
        (("add", "--epochs", "3"), "expected --repeats, how often each image is seen, or --steps, "),
        (
            ("add", "--epochs", "3"),
            "EPOCHS * IMAGES / images a step (5 (emoji-64), 2 (sd-1, sd-2, sdxl, pixart, sana))",
        ),
        (("log", "--epochs", "3"), "no such option: --epochs"),
        (("reset", "--hard", "HEAD"), "there is no option --hard: cns reset needs none for that"),
        (("branch", "-a"), "there is no option -a: cns branch needs none for that"),
        (("log", "-a"), "no such option: -a"),
    ],
)
def test_an_option_of_another_program_leads_to_ours(words: tuple[str, ...], expected: str, cns: Cns) -> None:
    result = cns(*words)
    assert result.exit_code == 2
    assert expected in result.stderr


@pytest.mark.parametrize(
    ("format_", "meant"),
    [
        ("safetensors", "cns export --format checkpoint DIR"),
        ("Single-File", "cns export --format checkpoint DIR"),
        ("textual-inversion", "cns export --format embedding DIR"),
        ("a1111", "cns export --for a1111 DIR"),
        ("onnx", "cns export --help"),
    ],
)
def test_a_format_of_another_program_leads_to_ours(format_: str, meant: str, lineage: Lineage) -> None:
    result = run("export", "--format", format_, "out")
    assert result.exit_code == 4
    assert result.stderr == f"error: no export as '{format_}': formats are {', '.join(FORMATS)}\n  try: {meant}\n"


def test_every_word_for_a_format_leads_to_one_and_is_none_itself() -> None:
    assert set(FORMAT_OF.values()) <= set(FORMATS)
    assert not set(FORMAT_OF) & {*FORMATS, *PROGRAMS}


def test_an_option_is_named_only_where_the_command_has_it() -> None:
    assert about_option("--cfg", ["--steps"]) == ""


@pytest.mark.parametrize("words", [["--help"], ["lst"], ["help", "add"], ["add", "--epochs", "3"]])
def test_words_are_answered_without_anything_heavy(words: list[str], tmp_path: Path) -> None:
    loaded = modules_after(words, tmp_path, 0 if "elp" in words[0] else 2)
    assert not loaded & {"torch", "diffusers", "transformers", "mlflow", "numpy", "PIL"}


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("add", "Finetuning steps. Else 250 (emoji-64), 500 (sd-1, sd-2, sdxl, pixart, sana)."),
        ("add", "Else 0.01, in a mask 0.003 (emoji-64), 0.0003, in a mask 0.0001 (sd-1, sd-2, sdxl, pixart, sana)."),
        ("add", "Else 5.8% of K/V (emoji-64), 0.13% of the denoiser (sd-1, sd-2, sdxl, pixart, sana)."),
        ("generate", "Denoising steps. Else 15 (emoji-64)"),
    ],
)
def test_help_says_what_an_option_is_where_it_is_not_typed(verb: str, said: str, cns: Cns) -> None:
    assert "".join(said.split()) in "".join(cns(verb, "--help").stdout.split())
