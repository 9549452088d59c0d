"""`cns completion`: what a TAB offers, in real shells, and that it costs little."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cns_cli.completing import FILES, KINDS, NAMES, complete
from cns_cli.main import VERBS, app
from cns_cli.porcelain.completion import SCRIPTS
from tests.cli.conftest import PNG, ROOT, Lineage, modules_after, run
from tests.cli.test_help import COMMANDS
from tests.cli.test_imports import HEAVY

MODULES = 250
"""Modules, the standard library's too, that a TAB may load. Measured: 221."""


@pytest.fixture
def pets(lineage: Lineage, tmp_path: Path) -> Lineage:
    lineage.add("rex")
    assert run("branch", "winter").exit_code == 0
    assert run("tag", "v1").exit_code == 0
    lineage.repo.set_config("remote.origin.url", "https://ann:hunter2@example.org/x")
    (tmp_path / "my rex.png").write_bytes(PNG)
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "old.webp").write_bytes(PNG)
    (tmp_path / "notes.txt").touch()
    return lineage


def offered(line: str, folder: Path) -> list[str]:
    """What stands in the place of a line's last word; a blank at its end begins a new one."""
    words = shlex.split(line) + ([""] if line.endswith(" ") else [])
    return [word for word, _ in complete(typer.main.get_command(app), words[1:], folder)]


REVISIONS = ["HEAD", "main", "winter", "v1", "rex"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cns ", list(VERBS)),
        ("cns che", ["check", "checkout", "cherry-pick"]),
        ("cns help sho", ["show"]),
        ("cns -q bisect re", ["reset"]),
        ("cns nonsense ", []),
        ("cns --no-", ["--no-pager"]),
        ("cns generate x --at ", REVISIONS),
        ("cns generate x --at=w", ["--at=winter"]),
        ("cns generate x --at = w", ["winter"]),
        ("cns generate x --at w -n 2 --at", []),
        ("cns generate x --compose ", ["all", "named"]),
        ("cns generate --prompts ", [FILES[0]]),
        ("cns generate 'a dog' ", []),
        ("cns log v1..w", ["v1..winter"]),
        ("cns log v1...w", ["v1...winter"]),
        ("cns show ", ["my rex.png", "pics/", *REVISIONS]),
        ("cns show my", ["my rex.png"]),
        ("cns show pics/", ["pics/old.webp"]),
        ("cns show 'my\\ r'", ["my rex.png"]),
        ("cns switch ", ["main", "winter"]),
        ("cns switch main w", ["winter"]),
        ("cns rm rex ", ["rex"]),
        ("cns check -- w", ["winter"]),
        ("cns check --concept ", ["rex"]),
        ("cns tag -d ", ["v1"]),
        ("cns tag ", []),
        ("cns bisect start HEAD v", ["v1"]),
        ("cns push ", ["origin"]),
        ("cns config comp", ["compose"]),
        ("cns add x y --score fis", ["fisher"]),
        ("cns add ", []),
        ("cns merge w --ours ", ["rex"]),
        ("cns schema bis", ["bisect"]),
        ("cns completion f", ["fish"]),
    ],
)
def test_what_a_tab_offers(line: str, expected: list[str], pets: Lineage, tmp_path: Path) -> None:
    assert offered(line, tmp_path) == expected


def test_an_option_is_offered_once_and_a_repeated_one_again(pets: Lineage, tmp_path: Path) -> None:
    found = offered("cns check --fast --concept rex --", tmp_path)
    assert "--fast" not in found
    assert {"--concept", "--since", "--json"} <= set(found)
    assert "--quiet" not in found


def test_in_another_folder_by_c(pets: Lineage, tmp_path: Path) -> None:
    assert offered("cns -C pics switch ", tmp_path) == ["main", "winter"]  # looks upwards
    assert offered(f"cns -C {tmp_path} rm ", Path("/")) == ["rex"]
    assert offered("cns rm ", Path("/")) == []


def test_a_damaged_registry_offers_nothing_and_says_nothing(pets: Lineage, tmp_path: Path, cns: Any) -> None:
    (pets.repo.folder / "HEAD").write_bytes(b"\0")
    result = cns("completion", "bash", "--", "rm", "")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_no_password_is_offered(pets: Lineage, cns: Any) -> None:
    said = cns("completion", "zsh", "--", "push", "").stdout
    assert said.startswith("origin\t")
    assert "hunter2" not in said


def test_every_name_of_the_table_is_a_parameter() -> None:
    for name in NAMES:
        command, _, parameter = name.rpartition(" ")
        assert parameter in {one.name for one in COMMANDS[command].params}, name
    metavars = {one.metavar for command in COMMANDS.values() for one in command.params}
    assert set(KINDS) <= metavars


@pytest.mark.parametrize("line", ["", "show ", "rm r", "generate x --at w", "generate --", "config "])
def test_a_tab_loads_nothing_heavy(line: str, pets: Lineage, tmp_path: Path) -> None:
    words = ["completion", "bash", "--", *line.split(" ")]
    assert not modules_after(words, tmp_path) & set(HEAVY)


def test_a_tab_is_within_its_import_budget(pets: Lineage, tmp_path: Path) -> None:
    program = (
        "import sys; from cns_cli.main import main\ntry: main()\nfinally: print(len(sys.modules), file=sys.stderr)"
    )
    words = [sys.executable, "-c", program, "completion", "bash", "--", "show", ""]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert "rex\tconcept" in done.stdout
    assert int(done.stderr) <= MODULES


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a program `cns` on the path."""
    folder = tmp_path / "home of ann"
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "cns"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {sys.executable} -m cns_cli "$@"\n')
    program.chmod(0o755)
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return folder


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_after_an_installation(pets: Lineage, home: Path, tmp_path: Path, cns: Any) -> None:
    assert cns("completion", "bash", "--install").exit_code == 0
    tab = """
    tab() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cns; printf '%s|' "${COMPREPLY[@]}"; echo; }
    complete -p cns; tab cns bise; tab cns show my; tab cns rm ''; tab cns generate x --at = w
    """
    words = ["bash", "--norc", "-c", f". {shlex.quote(str(home / '.bashrc'))}\n{tab}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines() == ["complete -F _cns cns", "bisect|", "my\\ rex.png|", "rex|", "winter|"]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_script_is_one_of_its_shell(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    (tmp_path / "script").write_text(SCRIPTS[shell])
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_fish_completes(pets: Lineage, home: Path, tmp_path: Path, cns: Any) -> None:
    if shutil.which("fish") is None:
        pytest.skip("there is no fish")
    assert cns("completion", "fish", "--install").exit_code == 0
    words = ["fish", "-c", "complete -C 'cns rm '"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "rex\tconcept\n"


@pytest.mark.parametrize(
    ("shell", "files"),
    [
        ("bash", [".local/share/bash-completion/completions/cns", ".bashrc"]),
        ("zsh", [".local/share/zsh/site-functions/_cns", ".zshrc"]),
        ("fish", [".config/fish/completions/cns.fish"]),
    ],
)
def test_installing_twice_adds_nothing(
    shell: str, files: list[str], home: Path, cns: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    begins = home / files[-1]
    begins.parent.mkdir(parents=True, exist_ok=True)
    begins.write_bytes(b"alias x=y # \xff no line end")
    assert cns("completion", "--install").exit_code == 0
    said = [(home / file).read_bytes() for file in files]
    assert said[0].decode() == SCRIPTS[shell]
    assert len(files) == 1 or said[1].startswith(b"alias x=y # \xff no line end\n[ -r ")
    assert cns("completion", shell, "--install").exit_code == 0
    assert [(home / file).read_bytes() for file in files] == said


def test_a_shell_that_is_none_is_refused(cns: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert "no completion for 'tcsh'; expected bash, zsh, fish" in cns("completion").stderr
    monkeypatch.delenv("SHELL")
    assert "try: cns completion bash" in cns("completion").stderr
    assert cns("completion", "bash").stdout == SCRIPTS["bash"]
