"""The sentences of a report: the verdict, what was found, how figures are written. They return text, never markup."""

from __future__ import annotations

from collections.abc import Sequence

from cns_cli import figures
from cns_cli.porcelain.reporting.data import NAMES, CommitLine, ConceptFacts, MetricTable, ReportData

OUTCOMES = {"kept": "kept", "forgot": "forgot", "inconclusive": "not decided", "unmeasured": "not measured"}
NAMED = 3


def signed(value: float | None) -> str:
    """Write a change with its sign, a real minus; `–` for none."""
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def plain(value: float | None) -> str:
    """Write a score; `–` for none."""
    return "–" if value is None else f"{value:.3f}".replace("-", "−")


def listed(names: Sequence[str]) -> str:
    """Write names as a sentence does: `rex, pip and 2 more`."""
    shown = list(names[:NAMED]) + ([f"{len(names) - NAMED} more"] if len(names) > NAMED else [])
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def verdict(data: ReportData) -> str:
    """Return the headline."""
    names = {outcome: [column.name for column, found in data.judged if found == outcome] for outcome in OUTCOMES}
    count = len(data.judged)
    if not count:
        return "No concept yet: there is nothing to forget"
    if names["forgot"]:
        return f"This model forgot {listed(names['forgot'])}"
    if names["inconclusive"]:
        return f"Not decided: {listed(names['inconclusive'])} may have been forgotten"
    if names["unmeasured"]:
        return f"Not measured yet: {listed(names['unmeasured'])}"
    if count > NAMED:
        return f"Nothing was forgotten: all {count} concepts are kept"
    return f"Nothing was forgotten: {listed(names['kept'])} {'is' if count == 1 else 'are'} kept"


def next_commands(data: ReportData) -> list[tuple[str, str]]:
    """Return what to type where something was not measured, each with what it gives."""
    rev = "" if data.rev == "HEAD" else f" {figures.short_id(data.head.id)}"
    found = []
    if {"unmeasured", "inconclusive"} & {outcome for _, outcome in data.judged}:
        found.append((f"cns check{rev}", "judges every concept of this model against its baseline"))
    if missing_cells(data):
        found.append((f"cns report{rev} --fill", "also scores every state of the lineage"))
    return found


def missing_cells(data: ReportData) -> int:
    """Count the scores that the matrix has a place for and that are not stored."""
    if not data.tables:
        return places(data)
    return places(data) - sum(cell is not None for cells in data.tables[0].cells for cell in cells)


def places(data: ReportData) -> int:
    """Count the places of the matrix: each concept in each state that holds it."""
    return sum(column.id in row.concepts.values() for row in data.rows for column in data.columns)


def reasons(data: ReportData, column: int) -> str:
    """Say which metric of a concept decided, and when it fell."""
    outcome = data.outcomes[column]
    parts = []
    for table in data.tables:
        drop = table.drops[column] if table.drops else None
        if drop is not None and drop.outcome == outcome and outcome != "kept":
            parts.append(f"{table.label} {drop.why.removeprefix(NAMES[table.metric]).strip()}")
    if outcome == "unmeasured":
        parts.append("its score on this model, or on its baseline, is not stored")
    return ". ".join(parts) + "."


def fall(data: ReportData, column: int) -> tuple[str, CommitLine] | None:
    """Say over which step a concept's main score fell most: words, and the commit that they end with."""
    step = data.worst[column]
    if step is None or data.outcomes[column] not in ("forgot", "inconclusive"):
        return None
    places = {row.id: place for place, row in enumerate(data.rows)}
    before, after = places[step.before], places[step.commit]
    label = data.tables[0].label
    if after - before == 1:
        return f"{label} moved by {signed(step.change)} with #{after + 1}", data.rows[after]
    words = f"{label} moved by {signed(step.change)} somewhere after #{before + 1} and not later than #{after + 1}"
    return words, data.rows[after]


def curve(table: MetricTable, column: int, concept: ConceptFacts) -> str:
    """Say a concept's curve in words, for those who cannot see it."""
    points = [(row, cells[column]) for row, cells in enumerate(table.cells)]
    said = [f"#{row + 1}: {cell.value:.3f}" for row, cell in points if cell is not None]
    birth = table.born[column]
    born = f"at birth {plain(birth.value)}; " if birth else ""
    shown = said if len(said) <= 12 else [*said[:5], "…", *said[-5:]]
    levels = f"base {plain(table.base[column])}, ceiling {plain(table.ceiling[column])}"
    return f"{table.label} of {concept.name}: {born}{', '.join(shown) or 'not measured'}; {levels}"
