"""`cns log [REV]`: the history, newest first, or drawn."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cns_cli import figures
from cns_cli.optionfield import Argument, Option
from cns_cli.options import JsonFlag, NoPagerFlag
from cns_cli.output import Line, Output, Piece, Styled, columns_of
from cns_cli.quick import QuickCommand

if TYPE_CHECKING:
    from cns_cli.porcelain.views.commits import CommitView

EXAMPLES = (
    "cns log",
    "cns log --oneline -n 10",
    "cns log --graph",
    "cns log rex",
    "cns log v1..main",
    "cns log main~2 --json",
)


class Command(QuickCommand):
    """`-3` means `-n 3`, as people type it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line."""
        said = (("-n", word[1:]) if re.fullmatch(r"-\d+", word, re.ASCII) else (word,) for word in args)
        return super().parse_args(ctx, [word for words in said for word in words])


def log(
    rev: Annotated[str, Argument("Commit, branch, tag, concept, ...; or a range, A..B or A...B.", "REV")] = "HEAD",
    oneline: Annotated[bool, Option("One line a commit.")] = False,
    graph: Annotated[bool, Option("Draw the history beside it; children come before their parents.")] = False,
    limit: Annotated[int | None, Option("At most N commits; -3 is -n 3.", "N", flags="-n", min=0)] = None,
    as_json: JsonFlag = False,
    no_pager: NoPagerFlag = False,
) -> None:
    """Show the commits that a revision reaches, newest first.

    A..B: those that B reaches and A does not. A...B: those that only one reaches.
    """
    from cns_cli.porcelain import log as history

    out = Output(as_json=as_json, paged=not no_pager)
    asked: dict[str, Any] = {"rev": rev, "limit": limit, "figures": as_json or not oneline}
    drawn = history.log_graph(Path.cwd(), **asked) if graph else None
    commits = history.log(Path.cwd(), **asked) if drawn is None else (commit for commit, _ in drawn)
    if as_json:
        out.answer([commit.to_json() for commit in commits], ())
    elif drawn is not None:
        out.answer((), graph_lines(drawn, oneline=oneline))
    else:
        out.answer((), oneline_lines(commits) if oneline else full_lines(commits))


def oneline_lines(commits: Iterable[CommitView]) -> Iterator[Line]:
    """Shape a commit as its id, what points at it and the first line of its message."""
    for commit in commits:
        yield [*_head(commit), " ", commit.subject]


def full_lines(commits: Iterable[CommitView]) -> Iterator[Line]:
    """Shape a commit as a block: id, author, time, message, figures."""
    for i, commit in enumerate(commits):
        if i:
            yield ""
        yield from header_lines(commit)
        yield from body_lines(commit)


def graph_lines(drawn: Iterable[tuple[CommitView, list[str]]], *, oneline: bool) -> Iterator[Line]:
    """Draw commits with the parents that are shown; their ids are short, so that 80 columns hold line and text."""
    from cns_cli.commands.log_graph import beside_graph

    def text(commit: CommitView) -> list[Line]:
        if oneline:
            return [[*_head(commit), " ", commit.subject]]
        return [[Styled("commit ", "yellow"), *_head(commit)], *fact_lines(commit), *body_lines(commit)]

    blocks = ((commit, parents, text(commit)) for commit, parents in drawn)
    return beside_graph(blocks, columns_of(sys.stdout), spaced=not oneline)


def header_lines(commit: CommitView) -> Iterator[Line]:
    """Shape who committed what kind of change, and when."""
    yield [Styled(f"commit {commit.id}", "yellow"), *refs_pieces(commit)]
    yield from fact_lines(commit)


def fact_lines(commit: CommitView) -> Iterator[Line]:
    """Shape what stands below the id of a commit, up to its message."""
    if len(commit.parents) > 1:
        yield f"merge   {' '.join(figures.short_id(parent) for parent in commit.parents)}"
    yield f"kind    {commit.kind}"
    yield f"author  {commit.author}"
    yield f"date    {figures.moment(commit.time)}"
    if commit.compose is not None:
        yield f"compose {commit.compose}"
    yield ""


def body_lines(commit: CommitView) -> Iterator[Line]:
    """Shape the message and the figures of a commit."""
    yield from message_lines(commit)
    figure = figure_line(commit)
    if figure:
        yield from [""] * ("\n" in commit.message.strip())
        yield [Styled(f"    {figure}", "dim")]


def message_lines(commit: CommitView) -> Iterator[Line]:
    """Shape the message, indented, without blank lines around it."""
    yield from (f"    {line}".rstrip() for line in commit.message.strip().split("\n"))


def _head(commit: CommitView) -> list[Piece]:
    return [Styled(figures.short_id(commit.id), "yellow"), *refs_pieces(commit)]


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
    if "share_after" in metrics:
        before, after = (figures.percent(metrics.get(f"share_{when}")) for when in ("before", "after"))
        parts.append(f"drawn {before} -> {after}")
    return ", ".join(parts)
