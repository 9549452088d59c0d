"""What K/V drift says about pictures: the calibration of `cns check --fast`, which looks at no picture.

Every point is a pair of a model and an older concept in it: the concept's K/V drift since birth, and how far identity
and CLIP-I of its pictures fell. Two kinds of models are looked at, all on the golden registry (tests/golden):

- real ones: its commits, and further commits that `cns add` makes here, the protection turned down step by step;
- the commits' changes made stronger or weaker: the integers of the last concept times a factor, so that drifts between
  "nothing" and "a wreck" are there from several directions.

A drift is then called forgetting above a limit; the table says how often that is wrong, limit by limit. Cells are kept
in docs/benchmarks/gate_fast_cells.json, so an interrupted run goes on; from nothing it takes about 25 minutes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import gate_plot, shell
from benchmarks.cells import Cells
from benchmarks.report import FOLDER, Cell, Report, Table
from benchmarks.trainer import CONCEPTS
from cns.codec import SparseDelta
from cns.compose import ConceptWeights
from cns.drift import kv_drift
from cns.factors import FactorDelta
from cns.families import EMOJI_64
from cns.gate import paired_drop
from cns.imagescores import Scores
from cns_cli.porcelain.learning.past import judged_moments
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.scoring.judging import judge_images, score_images
from registry.objects import Tree
from registry.repository import Repository
from tests.golden import unpack

CELLS = FOLDER / "gate_fast_cells.json"
PICTURE = FOLDER.parent / "images" / "gate_fast.png"
IMAGES = 2
"""Of each judge prompt and side."""

COMMITS = ("main~2", "main~1", "main", "clean~1", "clean", "harmless", "mild")
ADDS = {
    "reg none, lr 0.0003": "--reg none --lr 0.0003",
    "reg none, lr 0.001": "--reg none --lr 0.001",
    "reg weights": "--reg weights",
    "features, a 0.1": "--reg-strength 0.1",
    "features, a 0.01": "--reg-strength 0.01",
}
"""What is added to `main~3`: a car, by these options."""

DIRECTIONS = ("main~2", "mild", "harmless")
TARGETS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.3)
"""Mean drift of the older concepts that a scaled change is given."""

LIMITS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


Found = list[dict[str, Any]]
"""A cell: one dict an older concept, with its name, drift and drops."""


@dataclass(frozen=True)
class Pair:
    """A model and an older concept in it.

    Attributes:
        model: What it is, in words.
        concept: Name of the older concept.
        drift: Its K/V drift since birth.
        identity, clip_i: Drops of its scores since birth.
        real: The model is a commit; else its last change was scaled.
    """

    model: str
    concept: str
    drift: float
    identity: float
    clip_i: float
    real: bool

    @property
    def drop(self) -> float:
        """The larger drop: a check fails on either."""
        return max(self.identity, self.clip_i)


class Study:
    """The golden registry with its base loaded; makes the cells."""

    def __init__(self, folder: Path) -> None:
        self.repo = Repository(unpack(folder))
        self.session = Session.open(self.repo, "cpu")
        self._births: dict[str, Scores] = {}

    def commit(self, rev: str) -> Found:
        """The pairs of one revision."""
        return self.pairs(self.repo.tree_of(self.repo.resolve(rev)), 1.0, "")

    def scaled(self, rev: str, target: float) -> Found:
        """The pairs of one revision, its last change scaled to a mean drift; drift grows with the square of it."""
        tree = self.repo.tree_of(self.repo.resolve(rev))
        before = self.repo.tree_of(self.repo.resolve(f"{rev}~1"))
        (last,) = tree.concepts.keys() - before.concepts.keys()
        whole = np.mean([one["drift"] for one in self.pairs(tree, 1.0, last, scored=False)])
        return self.pairs(tree, float(np.sqrt(target / whole)), last)

    def add(self, options: str, *more: str) -> Found:
        """The pairs after a car was added to `main~3`."""
        folder = self.repo.root
        shutil.copytree(CONCEPTS / "car", folder / "pictures" / "car", dirs_exist_ok=True)
        shell.cns("cns checkout main~3", folder)
        line = " ".join(["cns add vroom pictures/car --class car --steps 150", options, *more, "--json"])
        return self.commit(str(shell.cns(line, folder).json["commit"]))

    def pairs(self, tree: Tree, factor: float, last: str, scored: bool = True) -> Found:
        """Drift and scores of the concepts of a tree that are not born in it, `last` scaled by a factor."""
        base = self.session.base
        concepts = {
            name: scaled(one, factor) if name == last else one for name, one in self.session.concepts(tree).items()
        }
        old = {name: one for name, one in tree.concepts.items() if self.session.birth_tree(one) != tree}
        births = {name: self._birth(one) for name, one in old.items()} if scored else {}
        now = base.model.set_concepts(list(concepts.values()))
        found: Found = []
        for name, concept_id in old.items():
            moments = judged_moments(base, concepts[name])
            pair = {"drift": kv_drift(now, self.session.birth_weights(concept_id), moments)}
            if scored:
                after, before = self._scores(concept_id), births[name]
                assert before.identity is not None and after.identity is not None  # noqa: PT018
                assert before.clip_i is not None and after.clip_i is not None  # noqa: PT018
                pair["identity"] = float(paired_drop(before.identity, after.identity).mean())
                pair["clip_i"] = float(paired_drop(before.clip_i, after.clip_i).mean())
            found.append({"concept": name} | {key: round(value, 6) for key, value in pair.items()})
        return found

    def _birth(self, concept_id: str) -> Scores:
        if concept_id not in self._births:
            self.session.set_tree(self.session.birth_tree(concept_id))
            self._births[concept_id] = self._scores(concept_id)
        return self._births[concept_id]

    def _scores(self, concept_id: str) -> Scores:
        """Scores of a concept in the live model."""
        concept = self.session.concept(concept_id)
        images = judge_images(self.session.base, concept.phrase, 0, IMAGES, 0)
        return score_images(self.session.base, images, concept.class_noun, dict(self.session.references(concept_id)))


def scaled(concept: ConceptWeights, factor: float) -> ConceptWeights:
    """A concept whose change is multiplied, on the grid."""
    delta: dict[str, SparseDelta | FactorDelta] = {}
    for name, one in concept.delta.items():
        if isinstance(one, FactorDelta):
            delta[name] = replace(one, outputs=_scaled(one.outputs, factor))
        else:
            delta[name] = replace(one, steps=_scaled(one.steps, factor))
    return replace(concept, delta=delta)


def _scaled(whole: NDArray[np.int16], factor: float) -> NDArray[np.int16]:
    return np.rint(factor * whole.astype(np.float64)).clip(-32768, 32767).astype(np.int16)


def run(quick: bool) -> Report:
    """Make the cells that are missing, then the tables and the picture; `quick` makes one model and keeps nothing."""
    cells = Cells(None if quick else CELLS)
    defaults = EMOJI_64.defaults
    with tempfile.TemporaryDirectory() as name:
        study = cache(partial(Study, Path(name)))  # loaded when a cell is missing
        pairs = list(_pairs(cells, study, quick))
    rows: list[list[Cell]] = []
    figures: dict[str, Cell] = {"pairs": len(pairs), "limit": defaults.max_kv_drift}
    real = [pair for pair in pairs if pair.real]
    for limit in sorted({*LIMITS, defaults.max_kv_drift}):
        found = (*rates(real, limit, defaults.max_drop), *rates(pairs, limit, defaults.max_drop))
        rows.append([f"{limit:g}", *(f"{share:.0%}" for share in found)])
        if limit == defaults.max_kv_drift:
            named = ("false alarms, commits", "misses, commits", "false alarms", "misses")
            figures |= dict(zip(named, found, strict=True))
    if not quick:
        gate_plot.drift_against_drop(
            [(pair.drift, pair.drop, pair.real) for pair in pairs], defaults.max_drop, defaults.max_kv_drift, PICTURE
        )
    return Report("gate_fast", [_models(pairs), _rates(rows, pairs)], ["python -m benchmarks gate_fast"], figures)


def rates(pairs: Sequence[Pair], limit: float, max_drop: float) -> tuple[float, float]:
    """Share of the pairs that are fine and lie above the limit, and of those that fell and lie at or under it."""
    fine = [pair for pair in pairs if pair.drop <= max_drop]
    fell = [pair for pair in pairs if pair.drop > max_drop]
    alarms = sum(pair.drift > limit for pair in fine) / max(1, len(fine))
    return alarms, sum(pair.drift <= limit for pair in fell) / max(1, len(fell))


def _pairs(cells: Cells, study: Callable[[], Study], quick: bool) -> Iterator[Pair]:
    """Every pair, cell by cell."""
    for rev in COMMITS[:1] if quick else COMMITS:
        yield from _read(f"commit {rev}", cells, partial(_call, study, Study.commit, rev), real=True)
    for rev in () if quick else DIRECTIONS:
        for target in TARGETS:
            name = f"{rev} scaled to {target:g}"
            yield from _read(name, cells, partial(_call, study, Study.scaled, rev, target), real=False)
    for name, options in () if quick else ADDS.items():
        yield from _read(f"car, {name}", cells, partial(_call, study, Study.add, options), real=True)


def _read(model: str, cells: Cells, make: Callable[[], Found], *, real: bool) -> list[Pair]:
    found = cells.of(model, make)
    return [Pair(model, one["concept"], one["drift"], one["identity"], one["clip_i"], real) for one in found]


def _call(study: Callable[[], Study], method: Callable[..., Found], *arguments: Any) -> Found:
    return method(study(), *arguments)


def _models(pairs: Sequence[Pair]) -> Table:
    """One row a model: means over its older concepts, and the worst of them."""
    rows: list[list[Cell]] = []
    for model in dict.fromkeys(pair.model for pair in pairs):
        own = [pair for pair in pairs if pair.model == model]
        means = [float(np.mean([getattr(pair, name) for pair in own])) for name in ("drift", "identity", "clip_i")]
        rows.append([model, len(own), f"{means[0]:.4f}", *(f"{mean:+.3f}" for mean in means[1:])])
        rows[-1].append(f"{max(pair.drop for pair in own):+.3f}")
    columns = ["model", "older concepts", "K/V drift", "drop, identity", "drop, CLIP-I", "largest drop"]
    note = (
        f"Means over the older concepts, {10 * IMAGES} images of each on each side; the last column is of one concept."
    )
    return Table("Drift and drop, model by model", columns, rows, note)


def _rates(rows: list[list[Cell]], pairs: Sequence[Pair]) -> Table:
    limit = EMOJI_64.defaults.max_drop
    real = [pair for pair in pairs if pair.real]
    fell, fell_really = (sum(pair.drop > limit for pair in some) for some in (pairs, real))
    note = (
        f"{len(pairs)} pairs of a model and an older concept, {len(real)} of them commits; in {fell} of all, and in "
        f"{fell_really} of the commits, identity or CLIP-I fell by more than {limit:g}. *False alarm*: share of the "
        "others that lie above the limit. *Missed*: share of those that fell and lie under it. How many scaled changes "
        "are harmless was chosen by us, so their share of false alarms says only that a drift can be harmless."
    )
    columns = ["limit of the drift", "commits: false alarm", "missed", "all: false alarm", "missed"]
    return Table("If drift alone decides", columns, rows, note)
