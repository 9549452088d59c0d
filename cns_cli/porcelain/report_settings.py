"""The end of a report: what scores depend on, how each concept was trained, what was left out or unreadable."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from cns_cli import figures
from cns_cli.porcelain.report_data import ConceptFacts, ReportData
from cns_cli.porcelain.report_markup import EMPTY, Markup, el, join

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
