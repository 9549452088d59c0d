"""`cns checkout REV`: move HEAD."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cns_cli import figures
from cns_cli.optionfield import Argument, Option
from cns_cli.options import JsonFlag, MissingArgument
from cns_cli.output import Line, Output, Styled

if TYPE_CHECKING:
    from cns_cli.porcelain.checkout import CheckoutResult

EXAMPLES = ("cns checkout main", "cns checkout HEAD~1", "cns checkout -", "cns checkout -b winter v1")


def checkout(
    rev: Annotated[
        str | None, Argument("Commit, branch, tag, concept, HEAD~2, ...; - is where HEAD was.", "REV")
    ] = None,
    create: Annotated[str | None, Option("Make this branch there (else at HEAD) first.", "NAME", flags="-b")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Move HEAD to a branch or to any other revision.

    Anything but a branch detaches HEAD. The model of that revision is what generate, check and add then work on.
    Commits that no branch or tag reaches stay for a month; cns branch NAME COMMIT keeps them.
    """
    from cns_cli.porcelain.checkout import checkout as move_head

    if rev is None and create is None:
        raise MissingArgument("REV: expected a branch or another revision", "cns log --oneline")
    answer(move_head(Path.cwd(), rev or "HEAD", create=create), Output(as_json=as_json))


def answer(result: CheckoutResult, out: Output) -> None:
    """Say where HEAD is now, and how to come back."""
    for warning in result.warnings:
        out.warn(warning)
    out.answer(result.to_json(), [checkout_line(result)])
    if result.left_behind:
        lost = figures.plural(len(result.left_behind), "commit")
        out.hint(f"cns branch NAME {figures.short_id(result.before)}", f"to keep {lost} that no branch or tag reaches")
    if result.branch is None:
        out.hint(f"cns checkout {result.before_branch or figures.short_id(result.before)}", "to go back")


def checkout_line(result: CheckoutResult) -> Line:
    """Shape where HEAD is now and what the model holds."""
    commit = Styled(figures.short_id(result.commit), "yellow")
    holds = f", which holds {', '.join(result.concepts)}" if result.concepts else ", which holds no concept"
    if result.branch is None:
        return ["HEAD is now detached at ", commit, holds]
    return ["HEAD is now on branch ", Styled(result.branch, "cyan"), " at ", commit, holds]
