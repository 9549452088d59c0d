"""Making a registry on a base model."""

from __future__ import annotations

import time as clock
from pathlib import Path

from cns.files.bases import describe_base, resolve_base
from cns.files.plain import typed_path
from cns_cli.porcelain.answers import InitResult
from cns_cli.porcelain.options import DEFAULT_BASE, DEFAULT_COMPOSE, Composed
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
        base_source: The embedded base's name, a folder, or a hub id.
        author: Who commits.
        time: Unix seconds to write; None takes the clock.
        compose: What prompts see: all concepts, or those that they name.

    Raises:
        AlreadyARegistry: There is one.
        BaseModelError: The base cannot be found or is of no supported family.
    """
    folder = resolve_base(base_source)
    facts = describe_base(folder)
    base = Base(facts.family, facts.components, facts.matrices, facts.denoiser_parameters)
    source = str(folder) if typed_path(base_source).is_dir() else base_source
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
    )
