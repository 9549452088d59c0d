"""Making a registry on a base model."""

from __future__ import annotations

import time as clock
from collections.abc import Iterator
from pathlib import Path

from cns.files.bases import EMBEDDED, check_finite, describe_base, family_at, pinned, resolution_of, resolve_base
from cns.files.models import read_json
from cns.files.pipelines import check_index, distilled
from cns.files.singlefile import CONVERTED
from cns.judges.files import find_judges
from cns.prompts import calibration_of, nouns_of
from cns_cli.porcelain.answers import InitResult
from cns_cli.porcelain.options import DEFAULT_BASE, DEFAULT_COMPOSE, Composed
from registry import layout
from registry.errors import AlreadyARegistry, RegistryError
from registry.objects import Base
from registry.repository import Repository


def init_registry(
    place: Path,
    base_source: str = DEFAULT_BASE,
    *,
    author: str,
    time: int | None = None,
    compose: Composed = DEFAULT_COMPOSE,
) -> InitResult:
    """Make `.cns` in a folder, on a base model.

    Args:
        place: The folder.
        base_source: The embedded base's name, a folder, a single file, or a hub id.
        author: Who commits.
        time: Unix seconds to write; None takes the clock.
        compose: What prompts see: all concepts, or those that they name.

    Raises:
        AlreadyARegistry: There is one.
        BaseModelError: The base cannot be found, is of no supported kind, or does not work; nothing was written.
    """
    if (place / layout.FOLDER).exists():
        raise AlreadyARegistry(place)
    folder = resolve_base(base_source)
    check_index(folder)
    check_finite(folder)
    if base_source not in EMBEDDED:
        _try(folder)
    facts = describe_base(folder)
    base = Base(facts.family, facts.components, facts.matrices, facts.denoiser_parameters)
    source = pinned(base_source, folder)
    now = int(clock.time()) if time is None else time
    repo = Repository.init(place, base, {"base.source": source}, author=author, time=now, compose=compose)
    head = repo.head()
    return InitResult.of(
        base,
        folder=repo.root,
        base_source=source,
        compose=compose,
        base=repo.tree_of(head.commit).base,
        branch=head.branch or "",
        commit=head.commit,
        above=_registry_above(place),
        warnings=tuple(filter(None, [distilled(folder), *_converted(folder)])),
    )


def _registry_above(place: Path) -> Path | None:
    """The nearest folder above with a registry; None without one."""
    try:
        return layout.find(place.resolve().parent).parent
    except RegistryError:
        return None


def _converted(folder: Path) -> Iterator[str]:
    """What is to be known of a base that was one file."""
    if not (folder / CONVERTED).is_file():
        return
    notes = read_json(folder / CONVERTED)
    if averaged := notes["left_out"].get("model_ema"):
        yield f"{averaged} averaged weights (model_ema) of the file were left out; its other weights are the base"
    if not notes["said"]:
        yield f"the file does not say what it predicts; by its answer to noise it is {notes['predicts']}"


def _try(folder: Path) -> None:
    """Make sure that every later command can work with a base of somebody else, before gigabytes of it are hashed.

    What its files say is looked at first; then it is loaded and tried, which takes torch's seconds.
    """
    family = family_at(folder)
    resolution_of(folder)
    nouns_of(family, folder)
    calibration_of(family, folder)
    if family.clip is None:
        find_judges(family, folder)
    from cns.loading import load_pipeline
    from cns.probing import probe

    probe(load_pipeline(folder), family, folder)
