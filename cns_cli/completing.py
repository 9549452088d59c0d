"""What may stand in the place of the last word of a command line: verbs, options, and names of the registry.

The commands say themselves what they take: an option's choices, or the word that stands for its value on the help page
(`REV`, `CONCEPT`). Only `NAME` is several things; those are listed here. Nothing heavy is imported, since a shell asks
at every TAB, and nothing is written. What the names are is said by `cns_cli.porcelain.completion`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

FILES = ("", "files")
"""Stands among the candidates where any file may: the shell knows better how to complete these."""

KINDS = {
    "REV": "revision", "A": "revision", "B": "revision", "CONCEPT": "concept", "BRANCH": "branch", "REF": "ref",
    "REMOTE": "remote", "ALIAS": "alias", "KEY": "setting", "SCORE": "score", "REG": "reg", "NAMES": "metric",
    "FORMAT": "format", "SHELL": "shell",
}  # fmt: skip
"""The word of the help page -> what it stands for."""

NAMES = {
    "check concepts": "concept", "verify concept": "concept", "export concepts": "concept", "rm names": "concept",
    "mv old": "concept",
    "merge ours": "concept", "merge theirs": "concept", "cherry-pick ours": "concept", "cherry-pick theirs": "concept",
    "revert ours": "concept", "revert theirs": "concept", "switch name": "branch", "branch delete": "branch",
    "tag delete": "tag", "remote set-url name": "remote", "remote remove name": "remote", "purge remote": "remote",
    "show rev": "shown", "schema command": "command",
}  # fmt: skip
"""Command and parameter -> what stands there, where the help page says `NAME`, or less than it takes."""

Candidate = tuple[str, str]
"""What may be typed, and a few words on it."""


@dataclass
class Typed:
    """What stands before the word that is completed.

    Attributes:
        positional: Words that are neither options nor their values.
        rest: Of a command with commands below it: what follows the name of one.
        used: Parameters whose options are there.
        open: The parameter whose value comes next.
        ended: A `--` stands there.
    """

    positional: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)
    used: dict[str, str] = field(default_factory=dict)
    open: Any = None
    ended: bool = False


def complete(root: Any, words: Sequence[str], start: Path) -> list[Candidate]:
    """Return what may stand in the place of the last word, `FILES` among it where any file may.

    Args:
        root: The command `cns`.
        words: All words behind `cns`, up to the one that is completed, which may be empty.
        start: The current folder.
    """
    *before, word = _joined([_bare(word) for word in words] or [""])
    command, name = root, ""
    typed = _read(root, before)
    start = start / typed.used.get("folder", "")
    while typed.positional and hasattr(command, "commands"):
        called = typed.positional[0]
        if called == "help" and command is root:
            typed = _read(root, typed.rest)
            continue
        if called not in command.commands:
            return []
        command, name = command.commands[called], f"{name} {called}".strip()
        typed = _read(command, typed.rest)
    found = _candidates(command, name, typed, word, start)
    return [one for one in found if one == FILES or one[0].startswith(word)]


def _bare(word: str) -> str:
    """A word without the quotes and backslashes that a shell has left in it."""
    return re.sub(r"\\(.)", r"\1", word).lstrip("\"'")


def _joined(words: Sequence[str]) -> list[str]:
    """The words as they were typed: bash takes `--at=main` for three."""
    joined: list[str] = []
    for word in words:
        if joined[-1:] == ["="] and len(joined) > 1:
            joined.pop()
        joined.append(word)
    return joined


def _read(command: Any, words: Sequence[str]) -> Typed:
    """Sort what stands behind a command's name."""
    options = {opt: param for param in command.params for opt in (*param.opts, *param.secondary_opts)}
    typed = Typed()
    for place, word in enumerate(words):
        if typed.open is not None:
            typed.used[typed.open.name], typed.open = word, None
        elif word.startswith("-") and word != "-" and not typed.ended:
            typed.ended = word == "--"
            name, _, value = word.partition("=")
            if (param := options.get(name)) is not None:
                typed.used[param.name] = value
                typed.open = None if value or param.is_flag else param
        else:
            typed.positional.append(word)
            if hasattr(command, "commands"):
                typed.rest = list(words[place + 1 :])
                break
    return typed


def _candidates(command: Any, name: str, typed: Typed, word: str, start: Path) -> Iterator[Candidate]:
    """Everything that may stand here, also what the word does not begin."""
    option, equals, value = word.partition("=")
    if typed.open is not None:
        yield from _values(typed.open, name, word, start)
    elif word.startswith("-") and equals:
        params = [param for param in command.params if option in param.opts]
        yield from ((f"{option}={one}", about) for p in params for one, about in _values(p, name, value, start) if one)
    elif word.startswith("-") and not typed.ended:
        yield from _options(command, typed)
    elif hasattr(command, "commands"):
        yield from ((one, (below.help or "").split("\n")[0]) for one, below in command.commands.items())
    elif places := [param for param in command.params if param.param_type_name == "argument"]:
        place = min(len(typed.positional), len(places) - 1)
        if place == len(typed.positional) or places[-1].nargs == -1:
            yield from _values(places[place], name, word, start)


def _options(command: Any, typed: Typed) -> Iterator[Candidate]:
    """The options that a command has and that are not there yet; their long forms, where they have one."""
    for param in command.params:
        again = param.name not in typed.used or param.multiple
        if param.param_type_name == "option" and not param.hidden and again:
            names = (*param.opts, *param.secondary_opts)
            longs = [name for name in names if name.startswith("--")]
            yield from ((name, param.help or "") for name in longs or names)


def _values(param: Any, command: str, word: str, start: Path) -> Iterator[Candidate]:
    """What a parameter takes."""
    kind = param.type_descriptor.annotation
    what = NAMES.get(f"{command} {param.name}") or KINDS.get(param.metavar or "", "")
    if choices := get_args(kind) if "Literal" in str(kind) else ():
        yield from ((choice, "") for choice in choices)
    elif kind is Path:
        yield FILES
    elif what:
        from cns_cli.porcelain.completion import names

        yield from names(what, word, start)
