"""From what fields and parameters say of themselves to Typer's command line, and the options that commands share.

A command's parameter, or the field of an options dataclass that it `takes`, says by an `Option` how it is typed. So an
option reads the same everywhere, and what it may hold is checked before anything heavy is imported.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from cns_cli import output
from cns_cli.optionfield import PLACE, REV, Argument, Option, option_of

_Command = TypeVar("_Command", bound=Callable[..., Any])

JsonFlag = Annotated[bool, Option("Print the answer as JSON on stdout.", flags="--json", check=output.answer_in_json)]
NoPagerFlag = Annotated[bool, Option("Show a long answer without a pager.", flags="--no-pager")]
DeviceOption = Annotated[str, PLACE]
Revision = Annotated[str, REV]


class MissingArgument(typer.TyperException):
    """An argument is missing that this use of a command needs; `hint` is what to type."""

    def __init__(self, name: str, hint: str) -> None:
        super().__init__(f"missing argument {name}")
        self.hint = hint


# Also behind every verb, where people type them; the program's own help page has them, once.
_TALK = [
    inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option(f"-{name[0]}", f"--{name}", help=about, hidden=True)],
    )
    for name, about in (("quiet", "Warnings and errors alone."), ("verbose", "Long lists in full."))
]


def takes(kind: type, **behind: str) -> Callable[[_Command], _Command]:
    """Let a command take the options of a dataclass: they come as its `**given`, and its own parameters behind them.

    Args:
        kind: An options class of `cns_cli.porcelain.options`. A repeated option is given as a list of texts or None.
        behind: Field -> the one that it stands behind on the help page, which else has the dataclass's order.
    """

    def taking(command: _Command) -> _Command:
        made = typed_fields(kind)
        names = [name for name in made if name not in behind]
        for name, before in behind.items():
            names.insert(names.index(before) + 1, name)
        signature = inspect.signature(command, eval_str=True)
        own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
        parameters = [*map(made.__getitem__, names), *(one.replace(kind=one.KEYWORD_ONLY) for one in own)]
        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return command

    return taking


def typed_fields(kind: type) -> dict[str, inspect.Parameter]:
    """Return the fields of an options class that can be typed, as keyword parameters of a command."""
    hints = get_type_hints(kind, include_extras=True)
    found = {}
    for field in fields(kind):
        option = option_of(hint := hints[field.name])
        if option is not None:
            default = None if option.repeated else field.default if option.absent is ... else option.absent
            default = inspect.Parameter.empty if default is MISSING else default
            found[field.name] = inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
            )
    return found


def verb(app: typer.Typer, *lines: str, **settings: Any) -> Callable[[_Command], _Command]:
    """Let a function be a command of an app: its options are said in Typer's words, and examples end its help page.

    Args:
        app: The app.
        lines: The examples.
        settings: Of `typer.Typer.command`.
    """

    def naming(command: _Command) -> _Command:
        signature = inspect.signature(command, eval_str=True)
        parameters = [one.replace(annotation=_for_typer(one)) for one in signature.parameters.values()]

        @functools.wraps(command)
        def spoken(quiet: bool, verbose: bool, **given: Any) -> None:
            output.speak(quiet=quiet or output.is_quiet(), verbose=verbose or output.is_verbose())
            command(**given)

        spoken.__signature__ = signature.replace(parameters=[*parameters, *_TALK])  # type: ignore[attr-defined]
        app.command(epilog=examples(lines), **settings)(spoken)
        return command

    return naming


def verbs(help_text: str) -> typer.Typer:
    """Return the app of a verb that has verbs of its own."""
    return typer.Typer(help=help_text, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


def examples(lines: Sequence[str]) -> str:
    """Return the end of a help page; the mark keeps the lines as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _for_typer(parameter: inspect.Parameter) -> Any:
    """The annotation of a parameter, with Typer's words in the place of an `Option`."""
    option = option_of(parameter.annotation)
    if option is None:
        return parameter.annotation
    same = ("help", "metavar", "min", "max", "parser", "exists", "file_okay", "dir_okay")
    words: dict[str, Any] = {name: getattr(option, name) for name in same}
    words["callback"] = option.check and _refusing(option.check)
    flags = (option.flags or f"--{parameter.name.replace('_', '-')}").split()
    kind = list[str] if option.repeated else option.choices or parameter.annotation.__origin__
    return Annotated[kind, typer.Argument(**words) if isinstance(option, Argument) else typer.Option(*flags, **words)]


def _refusing(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a check as Typer's callback: what it refuses was typed wrongly."""

    def callback(value: Any) -> Any:
        try:
            return check(value)
        except ValueError as error:
            refused = typer.BadParameter(str(error))
            refused.hint = getattr(error, "hint", "")  # type: ignore[attr-defined]
            raise refused from None

    return callback
