"""`cns log [REV]`: the history, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cns_cli import figures
from cns_cli.optionfield import Option
from cns_cli.options import JsonFlag, Revision
from cns_cli.output import Line, Output, Piece, Styled

if TYPE_CHECKING:
    from cns_cli.porcelain.views.commits import CommitView

EXAMPLES = ("cns log", "cns log --oneline -n 10", "cns log rex", "cns log main~2 --json")


def log(
    rev: Revision = "HEAD",
    oneline: Annotated[bool, Option("One line a commit.")] = False,
    limit: Annotated[int | None, Option("At most N commits.", "N", flags="-n", min=0)] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the commits that a revision reaches, newest first."""
    from cns_cli.porcelain.log import log as history

    out = Output(as_json=as_json)
    commits = history(Path.cwd(), rev, limit, figures=as_json or not oneline)
    if as_json:
        out.answer([commit.to_json() for commit in commits], ())
    else:
        out.answer((), oneline_lines(commits) if oneline else full_lines(commits))


def oneline_lines(commits: Iterable[CommitView]) -> Iterator[Line]:
    """Shape a commit as its id, what points at it and the first line of its message."""
    for commit in commits:
        yield [Styled(figures.short_id(commit.id), "yellow"), *refs_pieces(commit), " ", commit.subject]


def full_lines(commits: Iterable[CommitView]) -> Iterator[Line]:
    """Shape a commit as a block: id, author, time, message, figures."""
    for i, commit in enumerate(commits):
        if i:
            yield ""
        yield from header_lines(commit)
        yield from message_lines(commit)
        figure = figure_line(commit)
        if figure:
            yield from [""] * ("\n" in commit.message.strip())
            yield [Styled(f"    {figure}", "dim")]


def header_lines(commit: CommitView) -> Iterator[Line]:
    """Shape who committed what kind of change, and when."""
    yield [Styled(f"commit {commit.id}", "yellow"), *refs_pieces(commit)]
    if len(commit.parents) > 1:
        yield f"merge   {' '.join(figures.short_id(parent) for parent in commit.parents)}"
    yield f"kind    {commit.kind}"
    yield f"author  {commit.author}"
    yield f"date    {figures.moment(commit.time)}"
    yield ""


def message_lines(commit: CommitView) -> Iterator[Line]:
    """Shape the message, indented, without blank lines around it."""
    yield from (f"    {line}".rstrip() for line in commit.message.strip().split("\n"))


def refs_pieces(commit: CommitView) -> list[Piece]:
    """Shape what points at a commit: ` (HEAD -> main, tag: v1)`."""
    return [" (", Styled(", ".join(commit.refs), "cyan"), ")"] if commit.refs else []


def figure_line(commit: CommitView) -> str:
    """Sum up what was recorded; empty when nothing was."""
    metrics = commit.metrics
    parts = []
    if "neurons" in metrics:
        share = f" ({figures.percent(metrics['share_kv'])} of K/V)" if "share_kv" in metrics else ""
        parts.append(f"{metrics['neurons']:,.0f} neurons{share}")
    for label, key in (("identity", "identity"), ("CLIP-I", "clip_i")):
        if f"{key}_after" in metrics:
            parts.append(
                f"{label} {figures.cosine(metrics.get(f'{key}_before'))} -> {figures.cosine(metrics[f'{key}_after'])}"
            )
    return ", ".join(parts)
