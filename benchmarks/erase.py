"""Erasing nouns from the golden registry: what is still drawn, what the others lose, what a learned token brings back.

One, five and ten nouns are erased together, none of them a concept's class noun. Pictures of the judge's prompts, same
seeds before and after, are called by one of the base's 62 nouns by its CLIP: the share that is called as the prompt
says. *Near* are the ten other nouns whose values moved most, *far* the ten whose values moved least. Concepts are
compared with their references. At last a token alone is trained for `TOKEN_STEPS` steps, as a textual inversion, on
pictures of the first noun by the base; it starts as another noun, and its prompts say no noun.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.report import Cell, Report, Table
from benchmarks.trainer import silent
from cns.compose import ConceptWeights
from cns.sampling import Pixels
from cns.task import Settings, TrainingConstraints, TrainingTask
from cns.training import learn_concept
from cns_cli.porcelain.learning.erasure import called, drift_of, erasure_of, moved_nouns
from cns_cli.porcelain.learning.past import calibration_moments
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.scoring.judging import judge_images
from registry.objects import Tree
from registry.repository import Repository
from registry.trees import erasing, seen, seen_of
from tests.golden import unpack

NOUNS = ("rose", "pizza", "owl", "guitar", "castle", "apple", "rabbit", "star", "sailboat", "crown")
SETS = (1, 5, 10)
OTHERS = 10
TOKEN_STEPS = 100
TOKEN, START = "<x>", "car"  # what the token starts as
BASE_LR = 1e-9  # of the weights, which a textual inversion leaves alone


@dataclass
class _Bench:
    """The registry, its base, and pictures by the tree and words that they show."""

    session: Session
    tree: Tree
    images: int
    steps: int

    def pictures(self, tree: Tree, words: str) -> Pixels:
        """Pictures of the first judge prompts, prompt by prompt."""
        self.session.set_tree(tree)
        return judge_images(self.session.base, words, 0, 1, 0)[: self.images]

    def share(self, tree: Tree, nouns: Sequence[str]) -> float:
        """Mean share of pictures that are called as their prompts say."""
        return float(np.mean([called(self.session.base, noun, self.pictures(tree, noun)) for noun in nouns]))

    def identity(self, tree: Tree) -> dict[str, float]:
        """Mean identity of each concept's pictures with its references."""
        found = {}
        for name, one in self.tree.concepts.items():
            drawn = self.pictures(seen_of(tree, one), self.session.concept(one).phrase)
            features = self.session.base.encoders["identity"].image_features(drawn)
            found[name] = float((features @ self.session.references(one)["identity"].T).mean())
        return found

    def brought_back(self, tree: Tree, noun: str, shown: Pixels) -> float:
        """Share of pictures of a learned token that are called by the noun that it was shown pictures of."""
        base = self.session.base
        weights = self.session.set_tree(tree)
        prompts = [(f"a {TOKEN}", f"a picture of a {TOKEN}")] * len(shown)
        settings = Settings(
            **{**base.family.defaults.shared(), "warmup_steps": self.steps, "steps": 1, "lr": BASE_LR, "reg": "none"},
            budget=1,
            directions=1,
        )
        constraints = TrainingConstraints((), calibration_moments(base), {})
        task = TrainingTask("x", START, TOKEN, shown, prompts)
        rows = learn_concept(base.model, weights, task, constraints, settings, silent).weights.rows
        base.model.set_concepts([*self.session.erasure(tree), ConceptWeights("x", "", rows, {})])
        return called(base, noun, judge_images(base, TOKEN, 0, 1, 0))


def run(quick: bool) -> Report:
    """Erase, draw, and learn a token."""
    rows: list[list[Cell]] = []
    tokens: list[list[Cell]] = []
    figures: dict[str, Cell] = {}
    with tempfile.TemporaryDirectory() as name:
        session = Session.open(Repository(unpack(Path(name))), "cpu")
        tree = session.repo.tree_of(session.repo.resolve("clean"))
        bench = _Bench(session, tree, 1 if quick else 10, 2 if quick else TOKEN_STEPS)
        plain, before = seen(tree, []), bench.identity(tree)
        drifted, shown = max(drift_of(session, tree).values()), bench.pictures(plain, NOUNS[0])
        for count in SETS[:1] if quick else SETS:
            nouns = NOUNS[:count]
            now = erasing(tree, erasure_of(session, tree, dict.fromkeys(nouns, "")))
            others = list(moved_nouns(session, now))
            groups = {"erased": nouns, "near": others[:OTHERS], "far": others[-OTHERS:]}
            after, cells = bench.identity(now), []
            for group, some in groups.items():
                pair = (bench.share(plain, some), bench.share(seen(now, []), some))
                cells.append("{:.0%} -> {:.0%}".format(*pair))
                figures |= {f"{group}_before_{count}": pair[0], f"{group}_after_{count}": pair[1]}
            fall = max(before[one] - after[one] for one in before)
            figures |= {f"identity_fall_{count}": fall, f"drift_{count}": max(drift_of(session, now).values())}
            rows.append([count, *cells, f"{fall:+.3f}", f"{drifted:.4f} -> {figures[f'drift_{count}']:.4f}"])
            back = bench.brought_back(now, NOUNS[0], shown)
            figures[f"brought_back_{count}"] = back
            tokens.append([count, NOUNS[0], figures_share(bench, plain, now), f"{back:.0%}"])
        untouched = bench.brought_back(plain, NOUNS[0], shown)
        tokens.append([0, NOUNS[0], "", f"{untouched:.0%}"])
    return Report("erase", [_shares(rows), _tokens(tokens, bench.steps)], figures=figures)


def figures_share(bench: _Bench, plain: Tree, now: Tree) -> str:
    """The first noun's share, by its name, before and after."""
    return f"{bench.share(plain, NOUNS[:1]):.0%} -> {bench.share(seen(now, []), NOUNS[:1]):.0%}"


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
        "prompts of it say no noun. None erased: what the same token learns in the base. So an erasure hides a name, "
        "and what the name stood for is still there."
    )
    return Table("What a learned token brings back", ("nouns erased", "noun", "by name", "by the token"), rows, note)
