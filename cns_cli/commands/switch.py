"""`cns switch NAME`: put HEAD on a branch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cns_cli.commands.checkout import answer
from cns_cli.optionfield import Argument, Option
from cns_cli.options import JsonFlag, Revision
from cns_cli.output import Output

EXAMPLES = ("cns switch main", "cns switch -c winter", "cns switch -c before-rex HEAD~1", "cns switch -")


def switch(
    name: Annotated[str, Argument("A branch; - is the one before.", "NAME")],
    rev: Revision = "HEAD",
    create: Annotated[bool, Option("Make the branch first, at REV.", flags="-c --create")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Put HEAD on a branch, or make one and put HEAD on it.

    Unlike cns checkout it takes branches alone, so that HEAD is never detached by a slip.
    """
    from cns_cli.porcelain.switch import switch as move_head

    if rev != "HEAD" and not create:
        raise typer.BadParameter(f"a branch lies where it lies: expected no {rev!r} without --create")
    answer(move_head(Path.cwd(), name, rev, create=create), Output(as_json=as_json))
