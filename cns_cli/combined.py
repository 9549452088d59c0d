"""How merge, cherry-pick and revert (and what `rm` leaves) are written for people, and how each ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from cns_cli import figures
from cns_cli.errors import ExitCode
from cns_cli.output import Line, Output, Styled, table

if TYPE_CHECKING:
    from cns_cli.porcelain.combining.conflicts import SideView
    from cns_cli.porcelain.combining.context import ContextView
    from cns_cli.porcelain.combining.outcome import CombineResult

SHOWN = 20
"""Pairs of concepts that a table holds; --json has all."""


def answer(out: Output, result: CombineResult) -> None:
    """Print an answer and what to type next; the exit code is 4 for conflicts and 3 where the gate did not pass."""
    for warning in result.warnings:
        out.warn(warning)
    out.answer(result.to_json(), lines(result))
    if result.outcome == "conflicts":
        raise typer.Exit(ExitCode.REGISTRY)
    if result.outcome == "refused" and result.commit:
        out.hint(f"cns check {figures.short_id(result.commit)}", "the outcome; nothing was moved")
        raise typer.Exit(ExitCode.FORGOT)
    if result.outcome in ("committed", "fast-forward"):
        advise(out, result)
        out.hint(f"cns show {figures.short_id(result.before)}", "the model before")


def advise(out: Output, context: ContextView) -> None:
    """Offer the gate where concepts left their training context."""
    if context.outside_context:
        out.hint("cns check", f"did {figures.plural(len(context.outside_context), 'concept')} keep their looks?")


def lines(result: CombineResult) -> Iterator[Line]:
    """Shape the whole answer."""
    if result.outcome == "up to date":
        yield f"Already up to date: HEAD holds {figures.short_id(result.named)}."
        return
    if result.outcome == "conflicts":
        yield from conflict_lines(result)
        return
    if result.check is not None:
        from cns_cli.commands.check import result_lines

        yield from result_lines(result.check)
        yield ""
    yield _headline(result)
    yield from _changes(result)
    if result.outcome == "planned":
        yield from interference_lines(result)
        yield from context_lines(result)
        yield "Nothing was committed."
        return
    yield from _closest(result)
    yield from context_lines(result)


def conflict_lines(result: CombineResult) -> Iterator[Line]:
    """Shape what each side did, and what settles it."""
    count = figures.plural(len(result.conflicts), "conflict")
    yield [Styled(count, "red"), ": nothing was committed. Each side against what both come from:"]
    yield ""
    rows = [[one.name, one.why, _side(one.ours), _side(one.theirs)] for one in result.conflicts]
    yield from table(rows, header=["concept", "", "ours", "theirs"])
    yield ""
    yield "To settle them, add to the command, for each:"
    for one in result.conflicts:
        for choice in one.choices:
            yield f"  {choice}"
    yield "or type one of"
    for command in result.commands:
        yield f"  {command}"


def interference_lines(result: CombineResult) -> Iterator[Line]:
    """Shape what the concepts of the two sides have in common."""
    if result.interference_unknown:
        yield f"Interference not computed: {result.interference_unknown}"
    if not result.interference:
        return
    yield ""
    yield "Concepts that meet: neurons that both change, the energy of each change there"
    rows = [
        [
            one.ours,
            one.theirs,
            f"{one.shared:,}",
            figures.percent(one.share),
            figures.percent(one.ours_energy),
            figures.percent(one.theirs_energy),
            figures.cosine(one.cosine),
        ]
        for one in result.interference[:SHOWN]
    ]
    header = ["ours", "theirs", "shared", "of smaller", "energy ours", "theirs", "cosine"]
    yield from table(rows, header=header, right=[2, 3, 4, 5, 6])
    if len(result.interference) > SHOWN:
        yield f"and {len(result.interference) - SHOWN} more pairs, which share less"


def context_lines(context: ContextView) -> Iterator[Line]:
    """Shape which concepts left their training context, and how far their keys and values moved."""
    if context.compose == "named" and context.erased == context.erased_before:
        yield "No other concept can have changed: a prompt sees the concepts that it names."
    if not context.outside_context:
        return
    yield ""
    yield f"Now outside their training context: {', '.join(context.outside_context)}"
    if context.drift_unknown:
        yield f"K/V drift not computed: {context.drift_unknown}"
        return
    yield "K/V drift since birth, on each one's prompts (relative, squared; 0 is untouched)"
    rows = [[one.name, figures.drift(one.before), figures.drift(one.after)] for one in context.drift]
    yield from table(rows, header=["", "before", "after"], right=[1, 2])


def _headline(result: CombineResult) -> Line:
    verb = {"merge": "merged", "cherry-pick": "picked", "revert": "reverted"}[result.kind]
    where, what = result.branch or "a detached HEAD", Styled(result.revision, "bold")
    commit = figures.short_id(result.commit or "")
    if result.outcome == "planned":
        return [f"would be {verb} into {where}: ", what]
    if result.outcome == "refused":
        return ["not ", verb, ": ", what, f"; {where} has not moved, and the outcome is kept as {commit}"]
    if result.outcome == "fast-forward":
        return ["fast-forward to ", what, f": {commit} on {where}, without a new commit"]
    return [f"{verb} ", what, f": commit {commit} on {where}"]


def _changes(result: CombineResult) -> Iterator[Line]:
    named = {"added": result.added, "replaced": result.replaced, "removed": result.removed}
    found = [f"{word} {', '.join(names)}" for word, names in named.items() if names]
    yield f"{'; '.join(found) or 'no concept changed'}; {figures.plural(len(result.concepts), 'concept')} now"
    if result.erased != result.erased_before:
        yield f"erased now: {figures.erased(result.erased)}; before: {figures.erased(result.erased_before)}"


def _closest(result: CombineResult) -> Iterator[Line]:
    """One line of interference: the pair that shares most."""
    if result.interference_unknown:
        yield f"Interference not computed: {result.interference_unknown}"
    if result.interference:
        most, pairs = result.interference[0], len(result.interference)
        yield (
            f"{figures.plural(pairs, 'pair')} of concepts met; {most.ours} and {most.theirs} share most: "
            f"{figures.percent(most.share)} of the smaller mask, cosine {figures.cosine(most.cosine)}"
        )


def _side(view: SideView) -> str:
    if view.concept is None:
        return view.did
    where = f" in {figures.short_id(view.commit)}" if view.commit else ""
    return f"{view.did}{where}, {figures.a(view.class_noun or '')}"
