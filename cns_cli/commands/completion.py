"""`cns completion [SHELL]`: let a shell complete verbs, options, revisions, concepts and pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer.main

from cns_cli import figures
from cns_cli.optionfield import Argument, Option
from cns_cli.options import JsonFlag
from cns_cli.output import Output, safe

EXAMPLES = ("cns completion --install", "cns completion bash", "cns completion fish -- generate --at ma")


def completion(
    shell: Annotated[str | None, Argument("bash, zsh or fish; yours, when absent.", "SHELL")] = None,
    words: Annotated[
        list[str] | None,
        Argument("Behind --: a command line; say what may stand in the place of its last word.", "WORD", repeated=True),
    ] = None,
    install: Annotated[bool, Option("Write it where the shell looks for it.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Print what makes a shell complete command lines of cns.

    Verbs, options and their choices, revisions, concepts, remotes, and pictures for cns show. With --install, bash and
    zsh get one line in .bashrc or .zshrc, too.
    """
    if words:
        _say_candidates(words)
        return
    from cns_cli.porcelain.completion import completion as completing

    out = Output(as_json=as_json)
    result = completing(shell, install=install)
    wrote = [f"wrote {figures.place(path)}" for path in result.written]
    out.answer(result.to_json(), wrote if install else result.script.splitlines())
    if install:
        out.note(f"a new {result.shell} has it")


def _say_candidates(words: list[str]) -> None:
    """Answer a shell's script: a candidate a line, a tab, and what it is."""
    from cns_cli.completing import complete
    from cns_cli.main import app

    root: Any = typer.main.get_command(app)
    for word, about in complete(root, words, Path.cwd()):
        sys.stdout.write(f"{safe(word)}\t{safe(about)}\n")
