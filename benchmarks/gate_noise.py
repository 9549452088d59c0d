"""How often is the gate wrong? Thousands of its checks on stored scores of a harmless commit, and of a harmful one.

Both conditions are commits of the golden registry (tests/golden) and judge the same concept against the same baseline,
so they share its images. A hundred checks with other seeds drew four images of each prompt on each side; these 400 of a
prompt are a pool. A check takes images from it in an order of its own and asks `verdicts.judge`, the gate's own
function, what it says and how many it wants to see; so no picture is drawn for a check, and nothing of the gate is
copied. That a drop lies just so far from the limit is had by a shift of all scores after.

Scores are kept one by one in docs/benchmarks/gate_noise_scores.json, with the protocol that made them. Delete the file
to begin anew: about an hour on one free core, which may be interrupted.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import FOLDER, Cell, Report, Table
from cns.families import EMOJI_64
from cns.imagescores import Array, Scores
from cns_cli.porcelain.check import CheckOptions, check, only_these, protocol_for, stored_scores
from cns_cli.porcelain.gate.limits import Thresholds
from cns_cli.porcelain.gate.verdicts import MOST, judge, next_look, worst
from cns_cli.porcelain.metrics import Case
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.scoring.protocol import digest_of
from registry.repository import Repository
from registry.trees import birth
from tests.golden import unpack

SCORES = FOLDER / "gate_noise_scores.json"
JUDGED = "rex"
CONDITIONS = {"harmless": "harmless", "small harm": "mild"}
"""Condition -> branch of the golden registry: the same concepts, then a rocket by the defaults, or a koala with
`--reg none`."""

CHECKS = 100
"""Checks that drew images, each with seeds of its own."""

DRAWN = 2000
"""Checks a row that take their images from the pool."""

SEED_STEP = 100_000
"""Seeds of two checks lie this far apart; one check uses less than a tenth of it."""

FIRST, LIMIT = EMOJI_64.defaults.check_images, EMOJI_64.defaults.max_drop
POOLED = 4
"""Images of each prompt that each of them drew: a check begins with `FIRST` of these."""

COMPANY = (1, 5, 10, 20)
METRICS = {"id": "identity", "clip-i": "clip_i"}
OUTCOMES = ("kept", "forgot", "inconclusive")

Orders = NDArray[np.integer]
"""Which images of the pool a check sees, and in which order: (P, MOST)."""


@dataclass(frozen=True)
class Pool:
    """Scores of one commit and of its baseline, by metric, each (P, N): image n of both had the same seed."""

    before: Mapping[str, Array]
    after: Mapping[str, Array]

    def drop(self, metric: str) -> Array:
        """Drop of each prompt's mean, (P,)."""
        return (self.before[metric] - self.after[metric]).mean(1)

    def spreads(self, metric: str) -> tuple[float, float]:
        """Standard deviations of a drop within a prompt, and of the prompts' own."""
        drops = self.before[metric] - self.after[metric]
        within = drops.var(1, ddof=1).mean()
        return float(within**0.5), float(max(0.0, drops.mean(1).var(ddof=1) - within / drops.shape[1]) ** 0.5)

    def case(self, order: Orders, images: int, shift: float = 0.0) -> Case:
        """What a check that has seen so many images of each prompt knows."""
        seen = order[:, :images]
        before, after = (
            {name: np.take_along_axis(one, seen, 1) for name, one in side.items()} for side in (self.before, self.after)
        )
        return Case(before=_scores(before), after=_scores({name: one - shift for name, one in after.items()}))


def run(quick: bool) -> Report:
    """Draw the scores that are missing, and check; `quick` checks a few times, and draws nothing."""
    if not quick:
        _draw(SCORES)
    pools, count = _pools(SCORES), 20 if quick else DRAWN
    rng, figures = np.random.default_rng(0), dict[str, Cell]()
    tables = [
        _real(pools, figures),
        _distances(pools, count, rng, figures),
        _company(pools, count // 10, rng, figures),
    ]
    return Report("gate_noise", tables, ["python -m benchmarks gate_noise"], figures)


def _draw(file: Path) -> None:
    """Have the checks that are missing draw their images, and keep the scores after each."""
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"scores": {}}
    missing = [k for k in range(CHECKS) if any(f"{one} {k}" not in content["scores"] for one in CONDITIONS)]
    if not missing:
        return
    with tempfile.TemporaryDirectory() as name:
        repo = Repository(unpack(Path(name)))
        session = Session.open(repo, "cpu")
        trees = {one: repo.tree_of(repo.resolve(rev)) for one, rev in CONDITIONS.items()}
        concept = trees["harmless"].concepts[JUDGED]
        trees["baseline"] = birth(repo.objects, concept)
        for number in missing:
            for rev in CONDITIONS.values():
                options = CheckOptions(
                    start=repo.root, rev=rev, concepts=(JUDGED,), metrics=tuple(METRICS), seed=SEED_STEP * (number + 1),
                    device="cpu", images=POOLED, **only_these({}, tuple(METRICS)),
                )  # fmt: skip
                check(options, session=session)
            plan = protocol_for(repo, trees["baseline"], options).scores
            for one, tree in trees.items():
                found = stored_scores(repo, tree.id, concept, digest_of(plan))
                assert found is not None
                rounded = {what: np.round(values, 5).tolist() for what, values in found.to_json().items()}
                content["scores"][f"{one} {number}"] = rounded
            content |= {"protocol": {key: value for key, value in plan.items() if key != "seed"}}
            content |= {"trees": {one: tree.id for one, tree in trees.items()}}
            temporary = file.with_suffix(".part")
            temporary.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")
            temporary.replace(file)


def _pools(file: Path) -> dict[str, Pool]:
    """The first images of every check's own, side by side."""
    kept = json.loads(file.read_text(encoding="utf-8"))["scores"]

    def side(name: str) -> dict[str, Array]:
        parts = [Scores.from_json(kept[f"{name} {number}"]).first(POOLED) for number in range(CHECKS)]
        return {one: np.concatenate([getattr(part, field) for part in parts], 1) for one, field in METRICS.items()}

    return {condition: Pool(side("baseline"), side(condition)) for condition in CONDITIONS}


def _orders(pool: Pool, count: int, rng: np.random.Generator) -> list[Orders]:
    """Images of some checks, drawn from the pool without returning any."""
    prompts, size = pool.before["id"].shape
    return [rng.permuted(np.tile(np.arange(size), (prompts, 1)), axis=1)[:, :MOST] for _ in range(count)]


def _scores(values: Mapping[str, Array]) -> Scores:
    return Scores(values["id"], values["clip-i"], values["id"])


def _checked(
    rows: Mapping[str, tuple[Pool, Orders, float]], metrics: Sequence[str]
) -> tuple[dict[str, str], dict[str, int]]:
    """One check of some concepts, look by look as `CheckRun.decide` does: what it says of each, of how many images."""
    limits = Thresholds(tuple(metrics), dict.fromkeys(metrics, LIMIT), {})
    seen = dict.fromkeys(rows, FIRST)
    while True:
        cases = {name: pool.case(order, seen[name], shift) for name, (pool, order, shift) in rows.items()}
        judged = judge(cases, metrics, limits)
        planned = {name: next_look(found) for name, found in judged.items()}
        if not any(planned.values()):
            break
        seen |= {name: images for name, images in planned.items() if images}
    said = {name: worst([one.result.verdict for one in found]).value for name, found in judged.items()}
    return said, {name: images * len(rows[name][1]) for name, images in seen.items()}


def _many(
    pool: Pool, orders: Sequence[Orders], metrics: Sequence[str], shift: float = 0.0
) -> tuple[Counter[str], float]:
    """What checks of one concept say, and how many images of a side they look at on the average."""
    found = [_checked({JUDGED: (pool, order, shift)}, metrics) for order in orders]
    return Counter(said[JUDGED] for said, _ in found), float(np.mean([images[JUDGED] for _, images in found]))


def _real(pools: Mapping[str, Pool], figures: dict[str, Cell]) -> Table:
    """The hundred checks that drew images: each begins with its own, and goes on with others'."""
    rows: list[list[Cell]] = []
    size = POOLED * CHECKS
    for condition, metrics in (("harmless", ("id", "clip-i")), ("small harm", ("id",)), ("small harm", ("clip-i",))):
        pool = pools[condition]
        prompts = len(pool.before["id"])
        orders = [np.tile((np.arange(MOST) + POOLED * k) % size, (prompts, 1)) for k in range(CHECKS)]
        said, images = _many(pool, orders, metrics)
        drops = [f"{pool.drop(one).mean():+.4f}" for one in metrics]
        spreads = [" + ".join(f"{value:.3f}" for value in pool.spreads(one)) for one in metrics]
        rows.append([condition, ", ".join(metrics), ", ".join(drops), ", ".join(spreads)])
        rows[-1] += [*(said[one] for one in OUTCOMES), round(images)]
        key = condition if metrics != ("clip-i",) else f"{condition} by clip-i"
        figures |= {f"{key}: {one}": said[one] / CHECKS for one in OUTCOMES}
        figures |= {f"{condition}: true drop of {one}": float(pool.drop(one).mean()) for one in metrics}
    columns = ["commit", "metrics", "true drop", "spread within + between prompts", *OUTCOMES, "images"]
    note = (
        f"{CHECKS} checks a row, each beginning with {FIRST} images of each of {prompts} prompts with its own seeds, "
        f"limit {LIMIT:g}. *True drop*: mean over the {prompts * size:,} images of all checks. *Spread*: standard "
        "deviations of the drop of an image from its prompt's, and of the prompts' from each other. *Images*: that a "
        "check judged on each side, on the average. A build fails on *forgot* and on *inconclusive* alike."
    )
    return Table("A hundred checks with other seeds", columns, rows, note)


def _distances(pools: Mapping[str, Pool], count: int, rng: np.random.Generator, figures: dict[str, Cell]) -> Table:
    """Drops at half the limit, at the limit and at one and a half of it, with the spreads of both commits."""
    rows: list[list[Cell]] = []
    for condition, metric in ((condition, metric) for condition in CONDITIONS for metric in METRICS):
        pool = pools[condition]
        orders = _orders(pool, count, rng)
        for times in (0.5, 1.0, 1.5):
            said, images = _many(pool, orders, (metric,), times * LIMIT - float(pool.drop(metric).mean()))
            shares = {one: said[one] / count for one in OUTCOMES}
            rows.append([condition, metric, f"{times:g} × limit", *(f"{share:.1%}" for share in shares.values())])
            rows[-1].append(round(images))
            figures |= {f"{condition}, {metric}, {times:g} x limit: {one}": share for one, share in shares.items()}
    columns = ["spread of", "metric", "true drop", *OUTCOMES, "images"]
    note = (
        f"{count:,} checks a row; each takes its images from those of the hundred. Scores are shifted to the drop; the "
        "spread is the commit's own. At the limit itself any verdict is an error, and 5 % are allowed."
    )
    return Table("How far from the limit a drop is told", columns, rows, note)


def _company(pools: Mapping[str, Pool], count: int, rng: np.random.Generator, figures: dict[str, Cell]) -> Table:
    """More concepts in the same check: other orders of the harmless images stand for the other concepts."""
    harmless, harmful, rows = pools["harmless"], pools["small harm"], list[list[Cell]]()
    for size in COMPANY:
        alarms = caught = 0
        for _ in range(count):
            others = {f"c{k}": (harmless, order, 0.0) for k, order in enumerate(_orders(harmless, size, rng))}
            alarms += "forgot" in _checked(others, ("id",))[0].values()
            mixed = others | {"c0": (harmful, others["c0"][1], 0.0)}
            caught += _checked(mixed, ("id",))[0]["c0"] == "forgot"
        rows.append([size, f"{alarms / count:.1%}", f"{caught / count:.1%}"])
        figures |= {f"alarms among {size}": alarms / count, f"caught among {size}": caught / count}
    note = (
        f"{count} checks a row, by identity. *False alarm*: of that many harmless concepts one is called forgotten. "
        "*Caught*: the one that is harmed is called forgotten, the others being harmless. After Holm."
    )
    return Table("With more concepts in one check", ["concepts", "false alarm", "caught"], rows, note)
