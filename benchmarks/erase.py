"""Erasing nouns from the golden registry: what is still drawn, what the others lose, what a learned token brings back.

One, five and ten nouns are erased together, none of them a concept's class noun. Pictures of the judge's prompts, same
seeds before and after, are called by one of the base's 62 nouns by its CLIP: the share that is called as the prompt
says. *Near* are the five other nouns whose values moved most, *far* the five whose values moved least. Concepts are
compared with their references. At last a token alone is trained for `TOKEN_STEPS` steps, as a textual inversion, on
pictures of the first noun by the base; it starts as another noun, and its prompts say no noun.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.report import Cell, Report, Table
from benchmarks.trainer import silent
from cns.compose import ConceptWeights
from cns.sampling import Pixels
from cns.task import Settings, TrainingConstraints, TrainingTask
from cns.templates import fill_templates
from cns.training import learn_concept
from cns_cli.porcelain.learning.erasure import called, drift_of, erasure_of, moved_nouns
from cns_cli.porcelain.learning.past import calibration_moments
from cns_cli.porcelain.models.session import Session
from registry.objects import Tree
from registry.repository import Repository
from registry.trees import bare, erasing, seen_of
from tests.golden import unpack

NOUNS = ("rose", "pizza", "owl", "guitar", "castle", "apple", "rabbit", "star", "sailboat", "crown")
SETS = (1, 5, 10)
OTHERS = 5
WHEN = ("before", "after")
PROMPTS = 4
TOKEN_STEPS = 50
TOKEN, START = "<x>", "car"  # what the token starts as
BASE_LR = 1e-9  # of the weights, which a textual inversion leaves alone


@dataclass
class _Bench:
    """The registry, its base, and pictures by the tree and words that they show; shares are kept."""

    session: Session
    tree: Tree
    prompts: int
    steps: int
    known: dict[tuple[str, str], float] = field(default_factory=dict)

    def pictures(self, tree: Tree, words: str) -> Pixels:
        """A picture of each of the first judge prompts."""
        self.session.set_tree(tree)
        return self._drawn(words, self.prompts)

    def share(self, tree: Tree, nouns: Sequence[str]) -> float:
        """Mean share of pictures that are called as their prompts say."""
        for noun in nouns:
            if (tree.id, noun) not in self.known:
                self.known[tree.id, noun] = called(self.session.base, noun, self.pictures(tree, noun))
        return float(np.mean([self.known[tree.id, noun] for noun in nouns]))

    def identity(self, tree: Tree) -> dict[str, float]:
        """Mean identity of each concept's pictures with its references."""
        found = {}
        for name, one in self.tree.concepts.items():
            drawn = self.pictures(seen_of(tree, one), self.session.concept(one).phrase)
            features = self.session.base.encoders["identity"].image_features(drawn)
            found[name] = float((features @ self.session.references(one)["identity"].T).mean())
        return found

    def _drawn(self, words: str, prompts: int) -> Pixels:
        base = self.session.base
        return base.images(fill_templates(base.family.objects.judge[:prompts], words), range(prompts))

    def brought_back(self, tree: Tree, noun: str, shown: Pixels) -> float:
        """Share of pictures of a learned token that are called by the noun that it was shown pictures of."""
        base = self.session.base
        weights = self.session.set_tree(tree)
        prompts = [(prompt,) for prompt in fill_templates(base.family.objects.judge[: len(shown)], TOKEN)]
        settings = Settings(
            **{**base.family.defaults.shared(), "warmup_steps": self.steps, "steps": 1, "lr": BASE_LR, "reg": "none"},
            budget=1,
            seed=0,
            directions=1,
        )
        constraints = TrainingConstraints((), calibration_moments(base), {})
        task = TrainingTask("x", START, TOKEN, shown, prompts)
        rows = learn_concept(base.model, weights, task, constraints, settings, silent).weights.rows
        base.model.set_concepts([*self.session.erasure(tree), ConceptWeights("x", "", rows, {})])
        return called(base, noun, self._drawn(TOKEN, 10))


def run(quick: bool) -> Report:
    """Erase, draw, and learn a token."""
    rows: list[list[Cell]] = []
    tokens: list[list[Cell]] = []
    figures: dict[str, Cell] = {}
    with tempfile.TemporaryDirectory() as name:
        session = Session.open(Repository(unpack(Path(name))), "cpu")
        tree = session.repo.tree_of(session.repo.resolve("clean"))
        bench = _Bench(session, tree, 1 if quick else PROMPTS, 2 if quick else TOKEN_STEPS)
        base, before = bare(tree), bench.identity(tree)
        drifted, shown = max(drift_of(session, tree).values()), bench.pictures(base, NOUNS[0])
        for count in SETS[:1] if quick else SETS:
            now = erasing(tree, erasure_of(session, tree, dict.fromkeys(NOUNS[:count], "")))
            others, plain = list(moved_nouns(session, now)), erasing(base, now.erasure)
            groups = {"erased": NOUNS[:count], "near": others[:OTHERS], "far": others[-OTHERS:]}
            pairs = {group: (bench.share(base, some), bench.share(plain, some)) for group, some in groups.items()}
            after, drift = bench.identity(now), max(drift_of(session, now).values())
            fall = max(before[one] - after[one] for one in before)
            figures |= {
                f"{group}_{when}_{count}": one for group in pairs for when, one in zip(WHEN, pairs[group], strict=True)
            }
            figures |= {f"identity_fall_{count}": fall, f"drift_{count}": drift}
            cells = [f"{old:.0%} -> {new:.0%}" for old, new in pairs.values()]
            rows.append([count, *cells, f"{fall:+.3f}", f"{drifted:.4f} -> {drift:.4f}"])
            if count == SETS[0]:
                figures[f"back_{count}"] = back = bench.brought_back(plain, NOUNS[0], shown)
                tokens.append([count, f"{bench.share(plain, NOUNS[:1]):.0%}", f"{back:.0%}"])
        figures["back_0"] = back = bench.brought_back(base, NOUNS[0], shown)
        tokens.insert(0, [0, f"{bench.share(base, NOUNS[:1]):.0%}", f"{back:.0%}"])
    return Report("erase", [_shares(rows), _tokens(tokens, bench.steps)], figures=figures)


def _shares(rows: Sequence[Sequence[Cell]]) -> Table:
    note = (
        f"Share of pictures that CLIP calls as the prompt says, among 62 nouns, before and after. Erased, in order: "
        f"{', '.join(NOUNS)}. Near: the {OTHERS} other nouns whose values moved most; far: those whose values moved "
        "least. Concepts: the largest fall of the mean identity of one of five, and the largest K/V drift since birth."
    )
    columns = ("nouns erased", "erased", "near", "far", "concepts: identity falls by", "K/V drift")
    return Table("Nouns erased together", columns, rows, note)


def _tokens(rows: Sequence[Sequence[Cell]], steps: int) -> Table:
    note = (
        f"A token alone, which starts as *{START}*, is trained for {steps} steps on pictures of the noun by the base; "
        "prompts of it say no noun. None erased: what the same token learns in the base."
    )
    return Table(
        "What a learned token brings back", ("nouns erased", f"{NOUNS[0]}, by its name", "by the token"), rows, note
    )
