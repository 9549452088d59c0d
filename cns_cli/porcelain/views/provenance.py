"""`show --provenance`: every choice behind a concept, its value, and whose choice it is.

Values are those of the commit's record; the defaults that they are compared with are this version's, of the base's
family. A record is free JSON that may come from others: a value of an odd kind is shown as text, and proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cns.errors import SettingsError
from cns.families import Defaults, family_named
from cns.presets import BALANCED, PRESETS
from cns.provenance import CHOICES, OUTSIDE
from cns.templates import default_token
from cns_cli.porcelain.models.stored import STYLE_NOUN, kind_of, kv_weights
from cns_cli.porcelain.result import Result
from cns_cli.porcelain.views.commits import record_data
from cns_cli.porcelain.views.concepts import introductions
from cns_cli.porcelain.views.neurons import chosen_concept
from registry.objects import Base, Concept, References
from registry.repository import Repository

IMPORTED = ("trained", "neuron", "kind", "class_noun", "token", "grid")
"""Choices that are told of a concept that another program trained."""

Whose = Literal["paper", "ours", "standard", "yours", "not recorded"]
Value = str | int | float | bool | None

SAID = {"trained": "concept neurons of W_k, W_v, and the token", "neuron": "one weight", "grid": "whole steps, int16"}
"""Choices that are the same for every concept of this version."""


@dataclass(frozen=True, kw_only=True)
class ProvenanceRow(Result):
    """One choice.

    Attributes:
        name: Key of `cns.provenance.CHOICES`; `what` says it in words.
        value: As recorded.
        whose: "paper", "ours", "standard" (common practice) for a default; "yours" where somebody chose otherwise.
        default: What it would be otherwise; None where there is none or the value is the default.
        page: Where to read on.
    """

    name: str
    what: str
    value: Value
    whose: Whose
    default: Value
    why: str
    page: str


@dataclass(frozen=True, kw_only=True)
class ProvenanceResult(Result):
    """Every choice behind one concept. `commit` brought it in; None where history does not tell."""

    name: str
    concept_id: str
    commit: str | None
    family: str
    rows: tuple[ProvenanceRow, ...]


def show_provenance(start: Path, rev: str) -> ProvenanceResult:
    """Say whose choice each part of a concept is.

    Args:
        start: Folder to look for the registry from.
        rev: As for `show_neurons`.

    Raises:
        UnknownRevision: As for `show_neurons`.
    """
    repo = Repository.discover(start)
    name, commit = chosen_concept(repo, rev)
    tree = repo.tree_of(commit)
    base = repo.objects.get(tree.base, Base)
    concept = repo.objects.get(tree.concepts[name], Concept)
    born = introductions(repo, commit, tree).get(name)
    record = record_data(repo, born[1]) if born else {}
    recorded = record.get("params")
    params: Mapping[str, Any] = recorded if isinstance(recorded, Mapping) else {}
    defaults = _defaults(base, params)
    rows = [
        _row(key, _outside(key, repo, concept, record) if key in OUTSIDE else _setting(key, params, record, defaults))
        for key in (IMPORTED if params.get("imported") else CHOICES)
    ]
    return ProvenanceResult(
        name=name,
        concept_id=tree.concepts[name],
        commit=born[0] if born else None,
        family=base.family,
        rows=tuple(rows),
    )


def _defaults(base: Base, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of this version for a base, by the record's preset; empty for a family that it does not know."""
    try:
        family = PRESETS.get(str(params.get("preset")), PRESETS[BALANCED]).of(family_named(base.family))
    except SettingsError:
        return {}
    defaults: Defaults = family.defaults
    found = {key: getattr(defaults, key) for key in CHOICES if hasattr(defaults, key)}
    if params.get("directions"):  # a record that names none is of a mask, or of before there was a choice
        found |= {"directions": family.directions, "lr": family.direction_lr}
    return {**found, "budget": defaults.budget(kv_weights(base), base.denoiser_parameters), "seed": 0}


def _setting(
    key: str, params: Mapping[str, Any], record: Mapping[str, Any], defaults: Mapping[str, Any]
) -> tuple[Value, Value] | None:
    """Value and default of a field of `cns.task.Settings`; None where it was not recorded."""
    absent = CHOICES[key].absent
    if not params or (key not in params and key in defaults and absent is None and key not in record):
        return None
    beside = record.get(key, absent) if key in defaults else absent  # a record's dtype is that of its device
    return _plain(params.get(key, beside)), _plain(defaults.get(key, absent))


def _outside(key: str, repo: Repository, concept: Concept, record: Mapping[str, Any]) -> tuple[Value, Value]:
    """Value and default of a choice that is no setting; every default here is what nobody had to say."""
    params = record.get("params")
    if key == "trained" and isinstance(params, Mapping) and params.get("imported"):
        return f"elsewhere: {str(params.get('dialect'))[:60]}", SAID[key]
    if key == "trained" and isinstance(params, Mapping) and params.get("directions"):
        trained = f"W_k, W_v along {params['directions']} directions, and the token"
        return trained, trained
    if key in ("preset", "continues"):
        absent = CHOICES[key].absent
        return _plain(params.get(key, absent) if isinstance(params, Mapping) else absent), _plain(absent)
    if key in SAID:
        return SAID[key], SAID[key]
    if key == "class_noun":
        sure = record.get("class_confidence")
        default = concept.class_noun if isinstance(sure, (int, float)) else "inferred from the images"
        return concept.class_noun, STYLE_NOUN if kind_of(concept) == "style" else default
    if key == "token":
        return concept.tokens[0] if concept.tokens else "", default_token(concept.name)
    references = repo.objects.get(concept.references, References)
    if key == "captions":
        value = f"{sum(one is not None for one in references.captions)} of {references.count} images"
        return value, value
    if key == "image_masks":
        found = record.get("mask_digests")
        count = len(found) if isinstance(found, Mapping) else 0
        value = f"{count} of {references.count} images" if count else str(CHOICES[key].absent)
        return value, value
    if key == "resolution":  # the base's own is not in the registry, so that nobody's choice can be told from it
        return references.resolution, references.resolution
    absent = CHOICES[key].absent
    return _plain(concept.recipe.get(key, absent)), _plain(absent)


def _row(key: str, found: tuple[Value, Value] | None) -> ProvenanceRow:
    choice = CHOICES[key]
    value, default = found or (None, None)
    whose: Whose
    whose, why = choice.of_value(value) if found else ("not recorded", choice.why)
    if value == default:
        default = None
    else:
        whose = "yours"
    return ProvenanceRow.of(choice, name=key, value=value, whose=whose, default=default, why=why)


def _plain(value: Any) -> Value:
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)[:80]
