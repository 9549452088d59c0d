"""A report's data as one HTML page that needs nothing else: styles and pictures inside, no script, no network.

The content security policy allows the page's own style sheet (by its hash) and pictures inside the page, nothing more,
so that even markup that slipped through the escaping could neither run nor call home. Choosing the metric is a pair of
radio buttons and a CSS rule; a browser without `:has()` shows all metrics one after another.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from cns_cli import figures
from cns_cli.porcelain.reporting import drawing, tables, words
from cns_cli.porcelain.reporting.data import CommitLine, MetricTable, ReportData, Sheet, SheetRow, Tile
from cns_cli.porcelain.reporting.drawing import lay_out
from cns_cli.porcelain.reporting.markup import EMPTY, Markup, data_uri, el, join, style
from cns_cli.porcelain.reporting.tables import settings_section

DRAWN_SIDE = 96  # up to this side a picture is a drawing of few pixels and is enlarged without smoothing
TOLD_POINTS = 40  # a curve with more points has no words on each of them


def page(data: ReportData) -> str:
    """Return the whole page."""
    css = resources.files("cns_cli.porcelain.reporting").joinpath("page.css").read_text(encoding="utf-8")
    title = f"{words.verdict(data)} · {data.registry}"
    body = el(
        "body", el("a", "Skip to the findings", href="#concepts", cls="skip"), _header(data),
        el("main", *_sections(data)), _footer(data),
    )  # fmt: skip
    return "<!doctype html>\n" + el("html", _head(title, css, data.version), body, lang="en") + "\n"


def _head(title: str, css: str, version: str) -> Markup:
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    return el(
        "head", el("meta", charset="utf-8"), el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"), el("meta", name="referrer", content="no-referrer"),
        el("meta", name="generator", content=f"cns {version}"), el("link", rel="icon", href="data:,"),
        el("title", title), style(css),
    )  # fmt: skip


def _sections(data: ReportData) -> list[Markup]:
    titled = [
        ("concepts", "Concepts", _concepts(data)),
        ("pictures", "The same prompts, commit by commit", _sheets(data)),
        ("matrix", "Scores by commit", _matrices(data)),
        ("curves", "Each concept over the lineage", _curves(data)),
        ("drift", "K/V drift", _drift(data)),
        ("overlap", "Shared neurons", _overlap(data)),
        ("lineage", "Lineage", _lineage(data)),
        ("settings", "Settings and digests", settings_section(data)),
    ]
    return [
        el("section", el("h2", title, id=f"{name}-title"), body, id=name, aria_labelledby=f"{name}-title")
        for name, title, body in titled
    ]


def _header(data: ReportData) -> Markup:
    links = ("concepts", "pictures", "matrix", "curves", "drift", "overlap", "lineage", "settings")
    head = data.head
    return el(
        "header",
        el("p", "cns report · ", data.registry, " · ", data.family, cls="eyebrow"),
        el("h1", drawing.icon(data.outcome), el("span", words.verdict(data)), cls=data.outcome),
        el("p", "The model of ", tables.short(head.id), " ", tables.refs(head.refs), " “", head.subject,
           "”, by ", head.author, ", ", el("span", figures.moment(head.time), cls="whole"), ".", cls="lede"),
        _figures(data), _findings(data),
        el("nav", *(el("a", name.capitalize(), href=f"#{name}") for name in links), aria_label="Sections"),
        cls="top",
    )  # fmt: skip


def _figures(data: ReportData) -> Markup:
    main = data.tables[0] if data.tables else None
    summary = main.summary if main else None
    current = sum(column.current for column in data.columns)
    name = main.label if main else "not measured"
    low, high = (summary.bwt_low, summary.bwt_high) if summary else (None, None)
    between = "not measured" if low is None else f"{words.signed(low)} to {words.signed(high)}"
    shown = [
        ("Concepts", str(current), figures.plural(len(data.rows), "state of the model", "states of the model")),
        ("Backward transfer", words.signed(summary.bwt if summary else None), between),
        ("Forgetting", words.plain(summary.forgetting if summary else None), "best earlier − now"),
        ("Retention", figures.percent(summary.retention) if summary and summary.retention is not None else "–",
         "of what was learned"),
        ("Learned gain", words.signed(summary.gain if summary else None), f"{name}, over the class noun"),
    ]  # fmt: skip
    return el("dl", *(el("div", el("dt", a), el("dd", b, el("small", c))) for a, b, c in shown), cls="figures")


def _findings(data: ReportData) -> Markup:
    """One line a concept that is not kept, then what to type."""
    lines = []
    for column, concept in enumerate(data.columns):
        outcome = data.outcomes[column]
        if not concept.current or outcome in ("kept", "unmeasured"):
            continue
        said: list[str] = [el("b", concept.name), f": {words.reasons(data, column)}"]
        fall = words.fall(data, column)
        if fall is not None:
            said += [" ", fall[0], " ", tables.short(fall[1].id), " “", fall[1].subject, "”."]
        lines.append(el("li", drawing.icon(outcome), el("span", *said), cls=outcome))
    for command, why in words.next_commands(data):
        told = el("span", "Next: ", el("code", command, cls="next"), " ", why, ".")
        lines.append(el("li", drawing.icon("unmeasured"), told, cls="unmeasured"))
    return el("ul", *lines, cls="findings") if lines else EMPTY


def _concepts(data: ReportData) -> Markup:
    if not data.columns:
        return el("p", "This model holds no concept. ", el("code", "cns add NAME IMAGES/", cls="next"), " teaches one.")
    return tables.concepts_table(data)


def _matrices(data: ReportData) -> Markup:
    if not data.tables:
        return _unmeasured("No score of this lineage is stored.", data)
    missing = words.missing_cells(data)
    told = "A row is a state of the model, a column a concept. A box marks its birth; ▾ a fall of more than is allowed."
    gaps = f" {figures.plural(missing, 'score is', 'scores are')} not measured (hatched)." if missing else ""
    intro = el("p", told + gaps, cls="soft")
    if len(data.tables) == 1:
        return join([intro, tables.matrix(data, data.tables[0])])
    choices = [
        el(
            "label",
            el("input", type="radio", name="metric", id=f"metric-{table.metric}", checked=place == 0),
            table.label,
        )
        for place, table in enumerate(data.tables)
    ]
    picker = el("fieldset", el("legend", "Metric"), *choices, cls="picker")
    views = [el("div", tables.matrix(data, table), cls=f"metric {table.metric}") for table in data.tables]
    return join([intro, picker, *views])


def _curves(data: ReportData) -> Markup:
    if not data.tables:
        return _unmeasured("There is nothing to draw yet.", data)
    intro = el(
        "p", "The paper's Figure 5, one panel a concept. The dashed line is the base with the class noun alone, the "
        "dotted one the references against each other; a square marks the birth.", cls="soft",
    )  # fmt: skip
    views = [el("div", *_panels(data, table), cls=f"metric {table.metric} panels") for table in data.tables]
    return join([intro, *views])


def _panels(data: ReportData, table: MetricTable) -> list[Markup]:
    values = [cell.value for cells in table.cells for cell in cells if cell]
    values += [level for level in (*table.base, *table.ceiling) if level is not None]
    frame = drawing.frame_of(values, len(data.rows) - 1)
    panels = []
    for column, concept in enumerate(data.columns):
        points = _points(data, table, column)
        said = words.curve(table, column, concept)
        shown = drawing.panel(frame, points, table.base[column], table.ceiling[column], said)
        mark = tables.pill(data.outcomes[column]) if concept.current else el("span", "removed", cls="soft small")
        panels.append(el("article", el("h3", concept.name, mark), shown))
    return panels


def _points(data: ReportData, table: MetricTable, column: int) -> list[drawing.Point]:
    measured = [(place, cell) for place, cells in enumerate(table.cells) if (cell := cells[column]) is not None]
    told = len(measured) <= TOLD_POINTS
    return [
        drawing.Point(
            place, cell.value,
            f"#{place + 1} {data.rows[place].subject}: {cell.value:.3f} ({words.signed(cell.change)})" * told,
            data.rows[place].tree == data.columns[column].birth_tree,
        )
        for place, cell in measured
    ]  # fmt: skip


def _sheets(data: ReportData) -> Markup:
    if not data.sheets:
        return el("p", "No pictures were asked for, or none could be made. ", el("code", "cns report", cls="next"),
                  " without --no-images makes them.", cls="soft")  # fmt: skip
    intro = el("p", "A column is one prompt and one seed: only the model changes from row to row.", cls="soft")
    return join([intro, *(_sheet(sheet) for sheet in data.sheets)])


def _sheet(sheet: Sheet) -> Markup:
    heads = [el("th", prompt, scope="col") for prompt in sheet.prompts]
    rows = [_sheet_row(sheet, row) for row in sheet.rows]
    table = el("table", el("thead", el("tr", el("th", el("span", "Commit", cls="hidden"), scope="col"), *heads)),
               el("tbody", *rows))  # fmt: skip
    label = f"Pictures of {sheet.concept}"
    given = sheet.references
    shown = el("div", *map(_tile, given.tiles), cls="given") if given.tiles else el("p", given.note, cls="soft small")
    head = el("h3", sheet.concept, el("span", f"{given.label}: {given.detail}", cls="soft small"))
    grid = el("div", table, cls="grid", tabindex=0, role="region", aria_label=label)
    return el("div", head, shown, grid, cls="sheet")


def _sheet_row(sheet: Sheet, row: SheetRow) -> Markup:
    score = join([el("br"), row.score]) if row.score else EMPTY
    head = el("th", el("b", row.label, title=row.label), el("span", row.detail, cls="whole"), score, scope="row")
    if row.note:
        return el("tr", head, el("td", row.note, colspan=len(sheet.prompts), cls="soft"))
    cells = [row.tiles[start : start + sheet.images] for start in range(0, len(row.tiles), sheet.images)]
    return el("tr", head, *(el("td", *map(_tile, cell)) for cell in cells))


def _tile(tile: Tile) -> Markup:
    return el("img", src=data_uri(tile.data), width=tile.side, height=tile.side, alt=tile.what,
              cls="drawn" if tile.side <= DRAWN_SIDE else None)  # fmt: skip


def _drift(data: ReportData) -> Markup:
    if not data.drift:
        return _unmeasured("No drift was recorded.", data)
    told = (
        "How far the keys and values that a concept's prompts meet have moved since its birth: exact, without an "
        "image. It bounds what can be forgotten; it is not the forgetting itself."
    )
    return join([el("p", told, cls="soft"), tables.drift_table(data)])


def _overlap(data: ReportData) -> Markup:
    if sum(column.current for column in data.columns) < 2:
        return el("p", "There are no two concepts to compare.", cls="soft")
    told = "A neuron is a weight that a concept may change. Concepts that share many can disturb each other."
    return join([el("p", told, cls="soft"), tables.overlap_table(data)])


def _lineage(data: ReportData) -> Markup:
    lanes = lay_out([(commit.id, commit.parents) for commit in data.graph])
    width = 1 + max(
        (max([row.lane, *(lane for line in (*row.above, *row.below) for lane in line)]) for row in lanes), default=0
    )
    items = []
    for commit, row in zip(data.graph, lanes, strict=True):
        here = commit.id == data.head.id
        kind = "head" if here else "merge" if len(commit.parents) > 1 else ""
        items.append(el("li", drawing.lane_row(row, width, kind), _commit(commit), cls="here" if here else None))
    told = "Every branch and tag, newest first. The ring marks the commit of this report."
    return join([el("p", told, cls="soft"), el("ol", *items, cls="lineage")])


def _commit(commit: CommitLine) -> Markup:
    told = f" · {commit.kind} · {commit.author} · {figures.moment(commit.time)}"
    return el(
        "div", el("span", tables.refs(commit.refs), commit.subject, cls="subject", title=commit.subject),
        el("span", tables.short(commit.id), told, cls="small soft"),
    )  # fmt: skip


def _unmeasured(what: str, data: ReportData) -> Markup:
    commands = [el("code", command, cls="next") for command, _ in words.next_commands(data)]
    return el("p", what, *([" Next: ", commands[-1]] if commands else []), cls="soft")


def _footer(data: ReportData) -> Markup:
    told = "The same registry gives the same page, byte for byte. Nothing on it is loaded from elsewhere."
    return el("footer", el("p", f"Made by cns {data.version}. {told}"))
