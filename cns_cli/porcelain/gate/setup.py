"""Before a check: which protocol, which metrics, which limits, from options, config files and the base's family.

No torch: the base is looked at as files. The same protocol is what the evaluations of `cns add` were stored under, as
long as neither prompts nor judges nor seed are others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cns.families import family_named
from cns_cli.porcelain.gate.limits import LimitSource, Thresholds, first, read_templates, sources, thresholds_of
from cns_cli.porcelain.models.device import asked_dtype, device_kind, dtype_for
from cns_cli.porcelain.models.folder import base_folder
from cns_cli.porcelain.options import CheckOptions
from cns_cli.porcelain.scoring.protocol import Protocol
from registry.objects import Base, Tree
from registry.repository import Repository
from registry.trees import erased_in

if TYPE_CHECKING:  # it loads torch
    from cns_cli.porcelain.models.session import Session


@dataclass(frozen=True)
class Setup:
    """How one check judges.

    Attributes:
        protocol: Prompts, seed, judges.
        limits: Metrics and limits.
        images: Images of each prompt to begin with.
        warnings: What the user should know about the settings.
    """

    protocol: Protocol
    limits: Thresholds
    images: int
    warnings: tuple[str, ...] = ()


def settle(repo: Repository, tree: Tree, options: CheckOptions, session: Session | None = None) -> Setup:
    """Settle how a check judges.

    Args:
        repo: The registry.
        tree: The tree that is checked; its base says the family.
        options: The request.
        session: An open session, whose base folder and device are taken.

    Raises:
        BadConfig, SettingsError: a setting cannot be meant.
        BaseModelError: the base is not where config.toml says.
    """
    places = sources(repo, options)
    protocol = _protocol(repo, tree, places, options, session)
    defaults = protocol.family.defaults
    has_identity = not options.fast and "identity" in protocol.judges  # a judge may be far away, and --fast needs none
    erases = bool(protocol.erased)
    limits = thresholds_of(places, protocol.family, has_identity=has_identity, erases=erases, fast=options.fast)
    return Setup(protocol, limits, first(places, "images") or defaults.check_images, _warnings(protocol))


def protocol_for(repo: Repository, tree: Tree, options: CheckOptions) -> Protocol:
    """The protocol under which a check with these options would look for scores of this tree; see `settle`."""
    return _protocol(repo, tree, sources(repo, options), options, None)


def _warnings(protocol: Protocol) -> tuple[str, ...]:
    shared = sorted(set(protocol.templates) & set(protocol.family.objects.regularization))
    if not shared:
        return ()
    shown = f"{len(shared)} of the prompts, such as {shared[0]!r}, also protected the concepts in training"
    return (f"{shown}: they say less about forgetting than others",)


def _protocol(
    repo: Repository, tree: Tree, places: tuple[LimitSource, ...], options: CheckOptions, session: Session | None
) -> Protocol:
    family = family_named(repo.objects.get(tree.base, Base).family)
    prompts = first(places, "prompts")
    templates = family.objects.judge
    return Protocol(
        folder=session.base.folder if session else base_folder(repo),
        family=family,
        seed=first(places, "seed") or 0,
        device=session.base.device.type if session else device_kind(options.places[0]),
        templates=templates if prompts is None else read_templates(prompts, len(templates)),
        encoder=first(places, "encoder"),
        erased=tuple(sorted(erased_in(tree, repo.objects))),
        dtype=session.base.dtype if session else dtype_for(asked_dtype(repo, options.dtype), options.places[0]),
    )
