"""The program `cns`: a table of its verbs, and the boundary where errors become exit codes.

A verb is a module of `cns_cli.commands` and is imported when it is called (or listed by --help); it imports its
porcelain inside its body, and with it whatever that needs. So `cns log` pays for neither torch nor the other verbs.
A test imports this module in a process of its own and looks for what must not be there.
"""

from __future__ import annotations

import contextlib
import keyword
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from cns_cli import __version__, output, pager
from cns_cli.errors import ExitCode, answered, boundary
from cns_cli.options import examples, verb
from cns_cli.quick import QuickCommand, quickened
from cns_cli.settings import trusted_folders
from cns_cli.signals import hush
from registry import locks, trust

# In the order of --help. A new verb is one word here and `commands/<verb>.py` with a function (or a Typer `app`) of it.
VERBS = (
    "init",
    "clone",
    "add",
    "import",
    "erase",
    "generate",
    "check",
    "report",
    "log",
    "show",
    "diff",
    "blame",
    "status",
    "checkout",
    "switch",
    "branch",
    "tag",
    "rm",
    "mv",
    "merge",
    "cherry-pick",
    "revert",
    "reset",
    "undo",
    "push",
    "pull",
    "fetch",
    "remote",
    "bundle",
    "promote",
    "bisect",
    "verify",
    "export",
    "mlflow",
    "ui",
    "reflog",
    "fsck",
    "gc",
    "purge",
    "doctor",
    "config",
    "schema",
    "completion",
)


def module_name(verb: str) -> str:
    """The Python name of a verb, of its module and of its function: `import_`, which Python keeps for itself."""
    return verb.replace("-", "_") + "_" * keyword.iskeyword(verb)


class Verbs(Mapping[str, Any]):
    """The commands by name; each is imported when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        if name not in VERBS:
            raise KeyError(name)
        word = module_name(name)
        module = import_module(f"cns_cli.commands.{word}")
        if hasattr(module, "app"):
            command = typer.main.get_command(module.app)
        else:
            alone = typer.Typer(rich_markup_mode=None, add_completion=False)
            kind = getattr(module, "Command", QuickCommand)
            verb(alone, *module.EXAMPLES, name=name, cls=kind)(getattr(module, word))
            command = typer.main.get_command(alone)
        command.name = name
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


class NoSuchVerb(typer.TyperException):
    """A word that is no verb stands in a verb's place; `hint` is the command that was meant."""

    def __init__(self, word: str, behind: Sequence[str]) -> None:
        from cns_cli.habits import command_for

        self.hint = command_for(word, behind, VERBS) or "cns --help"
        super().__init__(f"there is no command '{word}'")


class BoundaryGroup(typer.core.TyperGroup):
    """The root command: parsing and running happen inside the error boundary, so tests see a user's exit codes."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = Verbs()

    def get_params(self, ctx: Any) -> Any:
        """Return the options that stand before the verb."""
        return quickened(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what stands before the verb."""
        output.answer_in_json("--json" in args[: args.index("--") if "--" in args else None])
        with boundary("cns"):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Parse and run the verb; commands return nothing."""
        folder = ctx.params["folder"]
        typed = [*ctx._protected_args, *ctx.args]
        with boundary("cns", typed), contextlib.chdir(folder) if folder else contextlib.nullcontext():
            trust.allow(trusted_folders())
            locks.tell(output.Output().note)
            pager.allow(not ctx.params["no_pager"])
            output.speak(quiet=ctx.params["quiet"], verbose=ctx.params["verbose"])
            words = list(typed)
            if words[:1] == ["help"]:
                words = [*words[1:], "--help"]
            if ctx.params["as_json"] and words:
                end = words.index("--") if "--" in words else len(words)
                end = 2 if words[:2] == ["bisect", "run"] else end  # what follows is a program's
                words.insert(end, "--json")
            ctx._protected_args, ctx.args = words[:1], words[1:]
            super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb.

        Raises:
            NoSuchVerb: there is none of that name; it says what was meant.
        """
        if args[0] == "--help":  # `cns help`
            typer.echo(ctx.get_help())
            raise typer.Exit
        if args[0] not in VERBS and not args[0].startswith("-"):
            raise NoSuchVerb(args[0], args[1:])
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="cns",
    cls=BoundaryGroup,
    help="Teach a text-to-image model one concept after another, keep every state, check that nothing is forgotten.",
    epilog=examples(("cns add rex photos/rex", 'cns generate "a <rex> dog in the snow"', "cns log", "cns check")),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cns {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option("-C", metavar="DIR", help="Work in this folder.", exists=True, file_okay=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say answers, warnings and errors alone.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say everything: long lists in full.")] = False,
    no_pager: Annotated[bool, typer.Option("--no-pager", help="Show long answers without a pager.")] = False,
) -> None:
    """Take the options that stand before the verb."""


def main() -> None:
    """Run the program; `cns_cli.start` is the entry point of the script and prepares for signals first."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal in another encoding than UTF-8 gets escapes instead of a traceback.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    try:
        code = app(prog_name="cns", standalone_mode=False)  # standalone, it would call a Ctrl-C "Aborted" and exit by 1
    except typer.Abort:
        raise KeyboardInterrupt from None
    except BrokenPipeError:
        code = ExitCode.PIPE_CLOSED
    try:
        code = answered(code or 0)  # a help page that nobody reads to its end
    except BrokenPipeError:
        code = ExitCode.PIPE_CLOSED
    if code == ExitCode.PIPE_CLOSED:
        hush()
    sys.exit(code or 0)
