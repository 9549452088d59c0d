"""`cns status`: where HEAD is and what the model there holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cns_cli import figures
from cns_cli.options import JsonFlag
from cns_cli.output import Line, Output, Piece, Styled, table

if TYPE_CHECKING:
    from cns_cli.porcelain.status import StatusResult
    from cns_cli.porcelain.views.concepts import ConceptView

EXAMPLES = ("cns status", "cns status --json")


def status(as_json: JsonFlag = False) -> None:
    """Show where HEAD is and what the model there holds."""
    from cns_cli.porcelain.status import status as state

    out = Output(as_json=as_json)
    result = state(Path.cwd())
    out.answer(result.to_json(), status_lines(result))
    if result.interrupted:
        out.hint(result.interrupted[0].command, "go on with the training that was interrupted")
    elif not result.concepts:
        out.hint("cns add NAME IMAGES/", "teach it something")
    elif any(concept.outside_context for concept in result.concepts):
        out.hint("cns check", "see whether that changed what they look like")


def status_lines(result: StatusResult) -> Iterator[Line]:
    """Shape the state: HEAD, base, concepts."""
    commit = Styled(figures.short_id(result.commit), "yellow")
    if result.branch is None:
        yield ["HEAD is detached at ", commit]
    else:
        yield ["on branch ", Styled(result.branch, "cyan"), " at ", commit]
    if result.bisecting:
        yield "a bisection is going on: cns bisect log shows it, cns bisect reset ends it"
    source = f"{result.base_source}, family {result.family}" if result.base_source else f"family {result.family}"
    yield f"base {source}, id {figures.short_id(result.base)}"
    yield f"prompts see {figures.COMPOSED[result.compose]}"
    yield from erased_lines(result.erased)
    yield ""
    yield from concept_lines(result.concepts)
    if result.capacity:
        yield ""
        yield f"K/V weights: {figures.capacity(result.capacity)}"
    if result.interrupted:
        yield ""
    for view in result.interrupted:
        yield ["the training of ", Styled(view.name, "bold"), f" was interrupted at step {view.done} of {view.total}"]


def erased_lines(erased: Mapping[str, str]) -> Iterator[Line]:
    """Say what a model erases of its base."""
    if erased:
        yield f"erased: {figures.erased(erased)}"


def concept_lines(concepts: Sequence[ConceptView]) -> Iterator[Line]:
    """Shape the concepts of a model as a table, and say which run outside their training context, and why."""
    if not concepts:
        yield "no concept yet"
        return
    rows: list[list[Piece]] = [
        [
            Styled(concept.name, "bold"),
            concept.class_noun,
            figures.tokens(concept.tokens),
            "-" if concept.neurons is None else f"{concept.neurons:,}",
            figures.percent(concept.share_kv),
            "-" if concept.bytes is None else figures.byte_size(concept.bytes),
            "-" if concept.commit is None else figures.short_id(concept.commit),
        ]
        for concept in concepts
    ]
    header = ["concept", "class noun", "token", "neurons", "of K/V", "stored", "commit"]
    yield from table(rows, header=header, right=[3, 4, 5])
    outside = [concept for concept in concepts if concept.outside_context]
    if outside:
        yield ""
        yield from (context_line(concept) for concept in outside)


def context_line(concept: ConceptView) -> Line:
    """Say why a concept runs outside its training context."""
    reasons = []
    if concept.missing:
        reasons.append(f"trained with {', '.join(concept.missing)}, not here now")
    if concept.strangers:
        reasons.append(f"never trained beside {', '.join(concept.strangers)}")
    return [Styled(concept.name, "yellow"), f" runs outside its training context: {'; '.join(reasons)}"]
