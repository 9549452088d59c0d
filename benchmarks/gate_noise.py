"""How noisy is the gate? A hundred real checks with other seeds of a harmless commit, and of a slightly harmful one.

Both conditions are commits of the golden registry (tests/golden) and judge the same concept against the same baseline,
so they share its images. Nothing about the gate is copied: each check is `cns_cli.porcelain.check.check` with another
seed, doublings and all, and the scores that it stored are the pool from which the true drop is taken.

Scores are kept one by one in docs/benchmarks/gate_noise_scores.json, under the protocol that made them: an interrupted
study goes on, and with the same libraries the kept scores give the same table in a minute, without an image. Delete the
file to begin anew: about an hour on one free core.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import FOLDER, Cell, Report, Table
from cns.families import EMOJI_64
from cns.gate import Outcome, decide, paired_drop, standard_error
from cns.imagescores import Scores
from cns_cli.porcelain.check import CheckOptions, CheckResult, check, stored_scores
from cns_cli.porcelain.gate.setup import protocol_for
from cns_cli.porcelain.gate.verdicts import DOUBLINGS, LEVEL
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.scoring.protocol import Protocol, digest_of
from registry.objects import Evaluation, Tree
from registry.repository import Repository
from registry.trees import birth
from tests.golden import unpack

SCORES = FOLDER / "gate_noise_scores.json"
JUDGED = "rex"
CONDITIONS = {"harmless": "harmless", "small harm": "mild"}
"""Condition -> branch of the golden registry: the same concepts, then a rocket by the defaults, or a koala with
`--reg none`."""

METRICS_OF = {"harmless": (), "small harm": ("id",)}
"""Condition -> metrics of its checks; () = the gate's defaults. The harmless commit must pass on both of those; the
harm must be caught by identity alone, which can only make it harder and saves the images of CLIP-I's doubts."""

CHECKS = 100
NOUN = "class noun"
SEED_STEP = 100_000
"""Seeds of two checks lie this far apart; one check uses less than a tenth of it."""

COMPANY = (1, 5, 10, 20)
METRICS = {"id": "identity", "clip-i": "clip_i"}


@dataclass
class Study:
    """The golden registry under study.

    Attributes:
        repo: A copy of it, which gets the evaluations.
        session: Its base, loaded.
        trees: Condition -> the tree that is judged; "baseline" -> the judged concept's birth; `NOUN` -> the base alone,
            which every check asks for its score with the class noun.
        concept: Id of the judged concept.
        kept: Scores that are kept, by `key`.
    """

    repo: Repository
    session: Session
    trees: Mapping[str, Tree]
    concept: str
    kept: dict[str, dict[str, Any]]

    @classmethod
    def open(cls, folder: Path, file: Path | None) -> Study:
        """Unpack the registry and give it the scores that are kept.

        Args:
            folder: An empty folder.
            file: The kept scores; None for none.
        """
        repo = Repository(unpack(folder))
        trees = {name: repo.tree_of(repo.resolve(rev)) for name, rev in CONDITIONS.items()}
        concept = trees["harmless"].concepts[JUDGED]
        trees |= {"baseline": birth(repo.objects, concept), NOUN: Tree(trees["harmless"].base, {})}
        study = cls(repo, Session.open(repo, "cpu"), trees, concept, {})
        if file is not None and file.exists():
            stored = json.loads(file.read_text(encoding="utf-8"))
            if (stored["protocol"], stored["trees"]) == (study.plan_without_seed(), study.tree_ids()):
                study.kept = stored["scores"]
                study._put_kept()
        return study

    @cached_property
    def protocol(self) -> Protocol:
        """The protocol of the first check."""
        return protocol_for(self.repo, self.trees["baseline"], self.options(0, "harmless"))

    def plan(self, number: int, name: str) -> dict[str, Any]:
        """The protocol of a check, as an evaluation of one of the trees names it."""
        plan = self.protocol.class_noun if name == NOUN else self.protocol.scores
        return {**plan, "seed": SEED_STEP * (number + 1)}

    def plan_without_seed(self) -> dict[str, Any]:
        """What all checks have in common."""
        return {key: value for key, value in self.protocol.scores.items() if key != "seed"}

    def tree_ids(self) -> dict[str, str]:
        """What was judged."""
        return {name: tree.id for name, tree in self.trees.items()}

    def options(self, number: int, condition: str) -> CheckOptions:
        """The request of one check."""
        return CheckOptions(
            start=self.repo.root, rev=CONDITIONS[condition], concepts=(JUDGED,), metrics=METRICS_OF[condition],
            seed=SEED_STEP * (number + 1), device="cpu",
        )  # fmt: skip

    def check(self, number: int, condition: str) -> CheckResult:
        """Run one check and keep the scores that it made."""
        result = check(self.options(number, condition), session=self.session)
        for name in ("baseline", condition, NOUN):
            digest = digest_of(self.plan(number, name))
            found = stored_scores(self.repo, self.trees[name].id, self.concept, digest)
            assert found is not None
            self.kept[f"{name} {number}"] = found.to_json()
        return result

    def scores(self, number: int, name: str) -> Scores:
        """What a check stored."""
        return Scores.from_json(self.kept[f"{name} {number}"])

    def save(self, file: Path) -> None:
        """Keep the scores."""
        rounded = {
            key: {name: np.round(values, 5).tolist() for name, values in scores.items()}
            for key, scores in sorted(self.kept.items())
        }
        content = {"protocol": self.plan_without_seed(), "trees": self.tree_ids(), "scores": rounded}
        temporary = file.with_suffix(".part")
        temporary.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")
        temporary.replace(file)

    def _put_kept(self) -> None:
        for key, scores in self.kept.items():
            name, _, number = key.rpartition(" ")
            plan = self.plan(int(number), name)
            tree = self.repo.objects.put(self.trees[name])
            self.repo.add_evaluation(Evaluation(tree, self.concept, JUDGED, plan, digest_of(plan), scores))


def run(quick: bool) -> Report:
    """Run the checks that are missing; `quick` runs one a condition and keeps nothing."""
    checks, file = (1, None) if quick else (CHECKS, SCORES)
    with tempfile.TemporaryDirectory() as name:
        study = Study.open(Path(name), file)
        found: dict[str, list[CheckResult]] = {condition: [] for condition in CONDITIONS}
        for number in range(checks):
            for condition, results in found.items():
                results.append(study.check(number, condition))
                if results[-1].images_made and file is not None:
                    study.save(file)
                    print(f"  {condition} {number}: {results[-1].outcome}", flush=True)
        rows: list[list[Cell]] = []
        figures: dict[str, Cell] = {}
        for condition, results in found.items():
            row, more = _row(study, condition, results)
            rows.append(row)
            figures |= {f"{condition}: {what}": value for what, value in more.items()}
        tables = [_table(rows, checks), _company(study, checks, figures), _fewer(study, checks)]
    return Report("gate_noise", tables, ["python -m benchmarks gate_noise"], figures)


def _row(study: Study, condition: str, results: Sequence[CheckResult]) -> tuple[list[Cell], dict[str, Cell]]:
    """One condition: its true drops, and what the checks said."""
    outcomes = Counter(result.outcome for result in results)
    truth = {metric: _truth(study, condition, len(results), metric) for metric in METRICS}
    images = sum(result.rows[0].metrics[0].images for result in results) / len(results)
    failed = 1 - outcomes["kept"] / len(results)
    row: list[Cell] = [condition, *(f"{mean:+.4f} ± {2 * error:.4f}" for mean, error, _ in truth.values())]
    row += [outcomes[name] for name in ("kept", "forgot", "inconclusive")]
    row += [f"{failed:.0%}", f"{images:.0f}"]
    figures: dict[str, Cell] = {f"true drop of {metric}": mean for metric, (mean, _, _) in truth.items()}
    figures |= {"images of the truth": truth["id"][2], "forgot": outcomes["forgot"] / len(results)}
    return row, figures | {"inconclusive": outcomes["inconclusive"] / len(results), "failed": failed}


def _truth(study: Study, condition: str, checks: int, metric: str) -> tuple[float, float, int]:
    """Mean drop over the pool, its standard error over checks, and the images of a side.

    Only each check's first images count: which checks made more depends on what those said.
    """
    first = EMOJI_64.defaults.check_images
    sides = [(one.first(first), two.first(first)) for one, two in _sides(study, condition, checks)]
    drops = np.asarray([paired_drop(_of(one, metric), _of(two, metric)).mean() for one, two in sides])
    error = standard_error(drops) if checks > 1 else float("nan")
    return float(drops.mean()), error, sum(one.clip_t.size for one, _ in sides)


def _sides(study: Study, condition: str, checks: int) -> Iterator[tuple[Scores, Scores]]:
    """Scores of the baseline and of a condition, check by check, as many images of each as both have."""
    for number in range(checks):
        before, after = study.scores(number, "baseline"), study.scores(number, condition)
        images = min(before.images, after.images)
        yield before.first(images), after.first(images)


def _of(scores: Scores, metric: str) -> Any:
    return getattr(scores, METRICS[metric])


def _table(rows: list[list[Cell]], checks: int) -> Table:
    outcomes = ("kept", "forgot", "inconclusive", "exit 3", "images")
    columns = ["commit", "true drop, identity", "true drop, CLIP-I", *outcomes]
    note = (
        f"{checks} checks a row, each with seeds of its own, on identity and CLIP-I (the default; the second row on "
        "identity alone, which must suffice to catch it). *True drop*: mean over the first images of all checks, ± two "
        "standard errors. *Images*: that a check judged of the concept on each side, on the average; it begins with 40 "
        f"and may double them {DOUBLINGS} times. A build fails on *forgot* and on *inconclusive* alike: both end with "
        "exit code 3."
    )
    return Table("A hundred checks with other seeds", columns, rows, note)


def _company(study: Study, checks: int, figures: dict[str, Cell]) -> Table:
    """The first look with more concepts in the same check: checks of other seeds stand for the other concepts."""
    rows: list[list[Cell]] = []
    limit, first = EMOJI_64.defaults.max_drop, EMOJI_64.defaults.check_images
    drops = {
        condition: [
            paired_drop(_of(one.first(first), "id"), _of(two.first(first), "id"))
            for one, two in _sides(study, condition, checks)
        ]
        for condition in CONDITIONS
    }
    for count in COMPANY:
        if count > checks:
            continue
        alarms = caught = 0
        for number in range(checks):
            others = {f"c{k}": drops["harmless"][(number + k) % checks] for k in range(count)}
            alarms += Outcome.FORGOT in {one.outcome for one in decide(others, limit, LEVEL).values()}
            mixed = others | {"c0": drops["small harm"][number]}
            caught += decide(mixed, limit, LEVEL)["c0"].outcome is Outcome.FORGOT
        rows.append([count, f"{alarms / checks:.0%}", f"{caught / checks:.0%}"])
        figures |= {f"alarms among {count}": alarms / checks, f"caught among {count}": caught / checks}
    note = (
        "Identity, 40 images, before any doubling. *False alarm*: of that many harmless concepts one is called "
        "forgotten. *Caught*: the one that is harmed is called forgotten, the others being harmless. After Holm."
    )
    return Table("With more concepts in one check", ["concepts", "false alarm", "caught"], rows, note)


def _fewer(study: Study, checks: int) -> Table:
    """What each number of images would have said at one look: fewer must not be greener."""
    limit = EMOJI_64.defaults.max_drop
    rows: list[list[Cell]] = []
    for (condition, metric), images in itertools.product(itertools.product(CONDITIONS, METRICS), (1, 2, 4)):
        sides = [(one.first(images), two.first(images)) for one, two in _sides(study, condition, checks)]
        said = Counter(
            decide({JUDGED: paired_drop(_of(one, metric), _of(two, metric))}, limit, LEVEL)[JUDGED].outcome.value
            for one, two in sides
        )
        row: list[Cell] = [condition, metric, images]
        rows.append([*row, *(said[name] for name in ("kept", "forgot", "inconclusive"))])
    note = f"The same {checks} checks, each looking at its first images only."
    columns = ["commit", "metric", "images a prompt", "kept", "forgot", "inconclusive"]
    return Table("One look, by metric and number of images", columns, rows, note)
