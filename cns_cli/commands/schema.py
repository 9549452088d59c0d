"""`cns schema [COMMAND]`: what a command prints with `--json`, as a JSON Schema."""

from __future__ import annotations

from typing import Annotated

from cns_cli.optionfield import Argument
from cns_cli.options import JsonFlag
from cns_cli.output import Output, Styled, table

EXAMPLES = ("cns schema", "cns schema log", "cns schema bisect run", "cns schema error")


def schema(
    command: Annotated[
        list[str] | None, Argument("A command, such as log or bisect run; or error.", "COMMAND", repeated=True)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print the JSON Schema of a command's --json, or list all.

    A version is part of its $id: a field that is renamed, removed or of another type makes a new one, one more does
    not. `error` is what every command prints with --json when it fails.
    """
    from cns_cli.porcelain import schema as porcelain

    if command:
        Output(as_json=True).answer(porcelain.schema(command), ())
    else:
        names = porcelain.names()
        Output(as_json=as_json).answer(names, table([name, Styled(found, "dim")] for name, found in names.items()))
