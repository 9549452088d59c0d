"""The methods of the tables, by name, and the settings that are tried for each on the tuning stream.

The peers get an equal budget: three learning rates, then the best of them with twice the steps, and a fourth rate where
the best is the least or the largest (C-LoRA, which has a second knob, gets two cells more; merging tunes its factor on
the adapters that `LoRA each` chose). What comes after the three rates must be better by a margin. Our regularizers are
swept in their strength a, and the family's stays unless another is better by the margin; CNS itself runs with the
defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.experiment_setup import DEFAULTS
from benchmarks.method import Method
from benchmarks.named import Named
from benchmarks.ours import Ours
from benchmarks.peers.loop import Recipe
from benchmarks.peers.lora import CLora, LoraEach, LoraMerged, SequentialLora
from benchmarks.peers.weights import custom_diffusion, dreambooth, textual_inversion
from benchmarks.trial_scores import RANDOM
from cns.families import BARE_SHARE, COMPANY
from cns.regularizers import REGULARIZERS

Settings = Mapping[str, Any]
STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""a, on a log scale around the default."""


@dataclass(frozen=True)
class TunableMethod:
    """A method with something to tune.

    Attributes:
        name: As tables show it.
        build: Settings -> method.
        first: Settings tried first.
        then: (best of them, steps) -> settings tried afterwards.
        after: Method whose chosen settings the first ones are added to, or "".
        default: The first setting that stays unless another is better by a margin; None = the best is taken.
    """

    name: str
    build: Callable[[Settings], Method]
    first: Sequence[Settings]
    then: Callable[[Settings, int], Sequence[Settings]] = lambda _best, _steps: ()
    after: str = ""
    default: Settings | None = None


def _peer(
    name: str, build: Callable[[Settings], Method], *rates: float, strengths: Sequence[float] = ()
) -> TunableMethod:
    """A peer with three learning rates, and what follows the best of them.

    Args:
        name: As tables show it.
        build: Settings -> method.
        rates: Learning rates, rising.
        strengths: Of its penalty, if it has one: the first goes with the rates, the others follow the best of them.
    """
    more = {"lambda": strengths[0]} if strengths else {}

    def then(best: Settings, steps: int) -> list[Settings]:
        beyond = {rates[0]: rates[0] / 3, rates[-1]: rates[-1] * 3}.get(best["lr"])
        fourth = [] if beyond is None else [{**best, "lr": float(f"{beyond:.1g}")}]
        return [
            {**best, "steps": 2 * steps},
            *fourth,
            *({**best, "lambda": strength} for strength in strengths[1:]),
        ]

    return TunableMethod(name, build, [{"lr": rate, **more} for rate in rates], then)


def _recipe(settings: Settings) -> Recipe:
    return Recipe(settings["lr"], settings["steps"])


PEERS = (
    _peer("textual inversion", lambda s: textual_inversion(_recipe(s)), 2e-3, 6e-3, 2e-2),
    _peer("dreambooth", lambda s: dreambooth(_recipe(s)), 5e-5, 1.5e-4, 5e-4),
    _peer("custom diffusion", lambda s: custom_diffusion(_recipe(s)), 2e-4, 6e-4, 2e-3),
    _peer("sequential LoRA", lambda s: SequentialLora(_recipe(s)), 3e-4, 1e-3, 3e-3),
    _peer("C-LoRA", lambda s: CLora(_recipe(s), s["lambda"]), 3e-4, 1e-3, 3e-3, strengths=(1e2, 1e4, 1e6)),
    _peer("LoRA each, set_adapters", lambda s: LoraEach(_recipe(s)), 3e-4, 1e-3, 3e-3),
    TunableMethod(
        "LoRA each, merged",
        lambda s: LoraMerged(_recipe(s), s["factor"]),
        [{"factor": factor} for factor in (1.0, 0.7, 0.4, 0.2)],
        after="LoRA each, set_adapters",
    ),
)


def _regularizer(name: str, reg: str, strengths: Sequence[float] = STRENGTHS) -> TunableMethod:
    """CNS with another regularizer, tuned in a."""
    first = [{"reg": reg, "reg_strength": a} for a in strengths]
    default = {"reg": reg, "reg_strength": DEFAULTS.reg_strength}
    return TunableMethod(name, lambda s: Ours(name, **s), first, default=default)


# What the frontier draws; `features` is the default, so the tables take the family's strength and not the sweep's.
OURS = (
    _regularizer("CNS union, features", "features"),
    _regularizer("CNS union, weights", "weights"),
    _regularizer("CNS union, project", "project"),
    TunableMethod(
        "CNS union, project (hard)", lambda s: Ours("CNS union, project (hard)", **s), [{"reg": "project-hard"}]
    ),
    _regularizer("CNS union, features from the parent", "features-parent", STRENGTHS[1:]),
)
BY_NAME = {tunable.name: tunable for tunable in (*OURS, *PEERS)}
DEFAULT: dict[str, Any] = {
    "directions": 4, "lr": 1e-2, "reach": "last named", "company": COMPANY, "bare_share": BARE_SHARE
}  # fmt: skip
"""What the family's defaults change of the cells' baseline, besides that prompts see what they name; a test holds it to
them."""

ABLATIONS: dict[str, dict[str, Any]] = {
    "CNS union": {},
    "CNS union, no L_reg": {"reg": "none"},
    "CNS union, random mask": {"score": RANDOM, "keeps_general": True},
    "CNS union, general neurons kept": {"keeps_general": True},
}
"""One thing differs from the first, everything else is the family's default; from the random mask, which lies anywhere,
only general neurons kept differ in one thing."""

TUNED = ("CNS union, weights", "CNS union, project", *(peer.name for peer in PEERS))
"""Rows of the tables whose settings the tuning stream chose."""

ROWS = (
    "CNS",
    "CNS union",
    "CNS union, project",
    "CNS union, weights",
    *list(ABLATIONS)[1:],
    *(peer.name for peer in PEERS),
)
"""All rows, in the order of the tables and of the work."""


def is_available(name: str) -> bool:
    """Whether the regularizer that a row needs exists in this version."""
    first = BY_NAME[name].first[0] if name in BY_NAME else ABLATIONS.get(name, {})
    return str(first.get("reg", "none")) in REGULARIZERS


def row_method(name: str, chosen: Callable[[str], Settings | None]) -> Method | None:
    """The method of a row; None while the settings that it needs are not known yet.

    Args:
        name: Of `ROWS`.
        chosen: Settings that the tuning stream chose, by method.
    """
    if name == "CNS":
        return Named(name, **DEFAULT)
    if name not in TUNED:
        return Ours(name, **ABLATIONS[name])
    settings = chosen(name)
    return None if settings is None else BY_NAME[name].build(settings)
