"""The tables of a report: concepts, the matrix R as a heat map, drift, overlap. A figure stands in every cell."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from cns_cli import figures
from cns_cli.porcelain.reporting import drawing, words
from cns_cli.porcelain.reporting.data import Cell, CommitLine, ConceptFacts, MetricTable, ReportData
from cns_cli.porcelain.reporting.markup import EMPTY, Markup, el, join

LEVELS = 10


def short(object_id: str) -> Markup:
    """An id as it is shown; the whole one when a pointer rests on it."""
    return el("span", figures.short_id(object_id), cls="id", title=object_id)


def refs(names: Sequence[str], most: int = 4) -> Markup:
    """Branches, tags and HEAD as small labels."""
    shown = [
        el(
            "span",
            name,
            cls="ref head" if name.startswith("HEAD") else "ref tag" if name.startswith("tag: ") else "ref",
        )
        for name in names[:most]
    ]
    return join([*shown, *([el("span", f"+{len(names) - most}", cls="ref")] if len(names) > most else [])])


def pill(outcome: str) -> Markup:
    """An outcome as mark and word."""
    return el("span", drawing.icon(outcome), words.OUTCOMES[outcome], cls=f"pill {outcome}")


def scroll(label: str, inner: Markup) -> Markup:
    """A box that a wide table scrolls in; it can be reached by keyboard."""
    return el("div", inner, cls="scroll", tabindex=0, role="region", aria_label=label)


def concepts_table(data: ReportData) -> Markup:
    """Every concept: outcome, score at birth and now, the interval of its drop, what it costs."""
    main = data.tables[0] if data.tables else None
    head = ["Concept", "Outcome", "At birth", "Now", "Drop, and the largest allowed", "K/V weights", "Stored"]
    numeric = {2, 3, 5, 6}
    rows = [_concept_row(data, main, column) for column in range(len(data.columns))]
    limit = data.max_drop.get(main.metric) if main else None
    told = (
        f"{main.label}, mean cosine. A bar wholly left of the dashed line ({limit:g}) is kept."
        if main and limit
        else ""
    )
    return scroll(
        "Concepts",
        el(
            "table", el("caption", told) if told else EMPTY,
            el("thead", el("tr", *(el("th", name, scope="col", cls="n" if i in numeric else None)
                                   for i, name in enumerate(head)))),
            el("tbody", *rows), cls="list",
        ),
    )  # fmt: skip


def _concept_row(data: ReportData, main: MetricTable | None, column: int) -> Markup:
    concept = data.columns[column]
    name = el("b", concept.name)
    who = el("th", name, el("br"), el("code", concept.phrase, cls="soft"), scope="row")
    size = figures.byte_size(concept.stored_bytes) if concept.stored_bytes is not None else "–"
    share = figures.percent(concept.share_kv) if concept.share_kv is not None else "–"
    if not concept.current:
        gone = el("td", "no longer in this model", colspan=4, cls="soft")
        return el("tr", who, gone, el("td", share, cls="n"), el("td", size, cls="n"))
    born = main.born[column] if main else None
    now = main.cells[-1][column] if main else None
    drop = main.drops[column] if main and main.drops else None
    shown: Markup = el("span", "not measured", cls="soft")
    if data.rows[-1].tree == concept.birth_tree:
        shown = el("span", "this is its birth", cls="soft")
    elif drop is not None:
        limit = data.max_drop.get(main.metric, 0.0) if main else 0.0
        range_ = f"{words.signed(drop.drop)} ({words.signed(drop.low)} to {words.signed(drop.high)})"
        shown = join([drawing.forest(drop.low, drop.drop, drop.high, limit, drop.outcome), el("small", range_)])
    context = el("div", concept.context, cls="small soft") if concept.context else EMPTY
    return el(
        "tr", who, el("td", pill(data.outcomes[column]), context), el("td", _value(born), cls="n"),
        el("td", _value(now), cls="n"), el("td", shown), el("td", share, cls="n"), el("td", size, cls="n"),
    )  # fmt: skip


def _value(cell: Cell | None) -> str:
    return words.plain(cell.value if cell else None)


def matrix(data: ReportData, table: MetricTable) -> Markup:
    """R of one metric: a row a commit, a column a concept, the base's level above and the ceiling below."""
    values = [cell.value for cells in table.cells for cell in cells if cell]
    values += [one for one in (*table.base, *table.ceiling) if one is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    limit = data.max_drop.get(table.metric)
    rows = [_level_row("base, class noun alone", table.base, low, high)]
    for place, (row, cells) in enumerate(zip(data.rows, table.cells, strict=True)):
        drawn = [_matrix_cell(data, row, column, cells[column], low, high, limit) for column in range(len(cells))]
        rows.append(el("tr", _row_head(place, row), *drawn))
    rows.append(_level_row("references, each other", table.ceiling, low, high))
    return scroll(
        f"Matrix of {table.label}",
        _heat(f"{table.label}: mean cosine; below it, the change since birth", data.columns, rows),
    )


def _matrix_cell(
    data: ReportData, row: CommitLine, column: int, cell: Cell | None, low: float, high: float, limit: float | None
) -> Markup:
    concept = data.columns[column]
    if concept.id not in row.concepts.values():
        return el("td")
    if cell is None:
        return el("td", el("span", "not measured", cls="hidden"), cls="none")
    born = row.tree == concept.birth_tree
    fell = limit is not None and cell.change is not None and cell.change < -limit
    classes = [f"h{_heat_level(cell.value, low, high)}", *["born"] * born, *["fell"] * fell]
    below = "birth" if born else words.signed(cell.change) + (" ▾" if fell else "")
    return el("td", words.plain(cell.value), el("small", below), cls=" ".join(classes))


def drift_table(data: ReportData) -> Markup:
    """K/V drift since birth, by commit and concept."""
    high = max([0.02, *data.drift.values()])
    rows = []
    for place, row in enumerate(data.rows):
        cells = [_drift_cell(data, row, concept, high) for concept in data.columns]
        rows.append(el("tr", _row_head(place, row), *cells))
    return scroll("K/V drift", _heat("relative squared change of keys and values since birth", data.columns, rows))


def _drift_cell(data: ReportData, row: CommitLine, concept: ConceptFacts, high: float) -> Markup:
    if concept.id not in row.concepts.values():
        return el("td")
    value = data.drift.get((row.id, concept.id))
    if value is None:
        return el("td", el("span", "not measured", cls="hidden"), cls="none")
    born = " born" if row.tree == concept.birth_tree else ""
    return el("td", figures.drift(value), cls=f"h{_heat_level(value, 0, high)}{born}")


def overlap_table(data: ReportData) -> Markup:
    """Share of the neurons of each row's concept that the column's concept holds too."""
    current = [place for place, concept in enumerate(data.columns) if concept.current]
    rows = []
    for one in current:
        cells = [
            el("td", "–", cls="soft") if one == other
            else el("td", figures.percent(share), cls=f"h{_heat_level(share, 0, 1)}")
            if (share := data.overlap.get((one, other))) is not None
            else el("td", el("span", "not known", cls="hidden"), cls="none")
            for other in current
        ]  # fmt: skip
        rows.append(el("tr", el("th", data.columns[one].name, scope="row"), *cells))
    return scroll(
        "Overlap of neurons",
        _heat(
            "share of the row's neurons that the column holds too", [data.columns[i] for i in current], rows, "Concept"
        ),
    )


def _heat(caption: str, columns: Sequence[ConceptFacts], rows: Sequence[Markup], corner: str = "Commit") -> Markup:
    heads = [
        el("th", concept.name, EMPTY if concept.current else el("span", "removed", cls="removed"), scope="col")
        for concept in columns
    ]
    head = el("thead", el("tr", el("th", corner, scope="col"), *heads))
    return el("table", el("caption", caption), head, el("tbody", *rows), cls="heat")


def _row_head(place: int, row: CommitLine) -> Markup:
    subject = el("span", row.subject, cls="subject", title=row.subject)
    return el("th", subject, f"#{place + 1} ", short(row.id), " ", refs(row.refs, 2), scope="row")


def _level_row(name: str, levels: Sequence[float | None], low: float, high: float) -> Markup:
    cells = [
        el("td", words.plain(level), cls=f"h{_heat_level(level, low, high)}") if level is not None
        else el("td", "–", cls="soft") for level in levels
    ]  # fmt: skip
    return el("tr", el("th", name, scope="row"), *cells, cls="level")


def _heat_level(value: float, low: float, high: float) -> int:
    share = (value - low) / (high - low) if high > low else 0.0
    return max(0, min(LEVELS - 1, int(share * LEVELS)))


LONGEST = 400


def settings_section(data: ReportData) -> Markup:
    """Return digests, protocol, each concept's settings, left out, warnings."""
    identity = [
        ("Commit", data.head.id), ("Tree (the model)", data.head.tree), ("Base", data.base), ("Family", data.family),
        ("cns", data.version),
    ]  # fmt: skip
    parts = [el("h3", "This model"), _facts(identity), el("h3", "Protocol of the scores"), _protocol(data)]
    parts += [el("h3", "How each concept was trained"), *(_concept(concept) for concept in data.columns)]
    parts += [_list("Left out, to keep the page small", data.left_out), _list("Could not be read", data.warnings)]
    return join(parts)


def _protocol(data: ReportData) -> Markup:
    if not data.protocol_digest:
        return el("p", "No score of this lineage is stored.", cls="soft")
    facts = [("Digest", data.protocol_digest)]
    facts += [(str(key).capitalize(), _written(value)) for key, value in sorted(data.protocol.items())]
    limits = ", ".join(f"{metric} {limit:g}" for metric, limit in data.max_drop.items())
    facts.append(("Largest drop allowed", limits))
    if data.other_protocols:
        facts.append(("Not shown", f"{figures.plural(data.other_protocols, 'evaluation')} under other protocols"))
    return _facts(facts)


def _concept(concept: ConceptFacts) -> Markup:
    references = "not known" if concept.references is None else figures.plural(concept.references, "image")
    kept = "stored in the registry" if concept.photos_kept else "only features are stored"
    facts = [
        ("Concept", concept.id), ("Brought by", concept.commit or "not known"), ("Prompt word", concept.phrase),
        ("References", f"{references}, {kept}"), ("Baseline (tree)", concept.birth_tree),
        ("Neurons", f"{concept.neurons:,}" if concept.neurons is not None else "not recorded"),
        *concept.settings.items(),
    ]  # fmt: skip
    return el("details", el("summary", concept.name, el("span", f" · {concept.class_noun}", cls="soft")), _facts(facts))


def _facts(rows: Iterable[tuple[str, str]]) -> Markup:
    shown = [
        join([el("dt", name), el("dd", el("code", value) if _is_digest(value) else value)]) for name, value in rows
    ]
    return el("dl", *shown, cls="facts")


def _list(title: str, lines: Iterable[str]) -> Markup:
    items = [el("li", line) for line in lines]
    return join([el("h3", title), el("ul", *items, cls="plain")]) if items else EMPTY


def _is_digest(value: str) -> bool:
    return len(value) == 64 and all(char in "0123456789abcdef" for char in value)


def _written(value: object) -> str:
    """A value of the protocol in one line; a nested one as its pairs, digests shortened."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_written(inner)}" for key, inner in sorted(value.items()))[:LONGEST]
    if isinstance(value, str):
        return figures.short_id(value) + "…" if _is_digest(value) else value[:LONGEST]
    return json.dumps(value)[:LONGEST]
