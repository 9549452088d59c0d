"""`cns tag [NAME] [REV]`: list tags, make one, or delete one."""

from __future__ import annotations

from typing import Annotated

from cns_cli.commands.branch import DeleteOption, list_make_or_delete
from cns_cli.optionfield import Argument
from cns_cli.options import JsonFlag, Revision
from cns_cli.output import Output

EXAMPLES = ("cns tag", "cns tag v1", "cns tag before-rex HEAD~1", "cns tag -d v1")


def tag(
    name: Annotated[str | None, Argument("Tag to make.", "NAME")] = None,
    rev: Revision = "HEAD",
    delete: DeleteOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List the tags, make one, or delete one.

    A tag is a name for a commit that does not move.
    """
    list_make_or_delete("tag", name, rev, delete, Output(as_json=as_json))
