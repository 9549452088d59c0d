"""One check at work: what must be known, what the stored scores say, and when more images are needed.

Every score is an evaluation of the registry. Where all of them are stored, the answer needs neither torch nor the base
in memory: both are loaded when the first evaluation is found to be missing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING

from cns.imagescores import Array, Scores
from cns_cli.porcelain.answers import CheckPart, CheckResult, CheckRow, MetricResult, Verdict
from cns_cli.porcelain.gate.pairs import Sides, joined, pair_sides
from cns_cli.porcelain.gate.setup import Setup, settle
from cns_cli.porcelain.gate.telling import is_told, tell
from cns_cli.porcelain.gate.undecided import way_out
from cns_cli.porcelain.gate.verdicts import Judged, judge, next_look, word, worst
from cns_cli.porcelain.metrics import METRICS, OF_TREE, Case
from cns_cli.porcelain.models.stored import baseline_tree, kind_of
from cns_cli.porcelain.options import CheckOptions
from cns_cli.porcelain.scoring.keys import EvaluationKey, Evaluations
from cns_cli.porcelain.scoring.protocol import Protocol, digest_of
from cns_cli.porcelain.scoring.scores import EvaluationStore
from cns_cli.porcelain.scoring.units import Pool, part_of
from cns_cli.progress import Progress, Stages
from registry.errors import UnknownConcept
from registry.objects import Concept, Tree
from registry.repository import Repository
from registry.trees import bare, birth, seen

if TYPE_CHECKING:  # what they import costs seconds, and a check of stored scores needs neither
    from cns_cli.porcelain.models.session import Session
    from cns_cli.porcelain.scoring.evaluator import Evaluator


BASE_IMAGES = 1
"""Images of each prompt for the base's own score (the class noun alone): enough for a mean over prompts."""

ZERO_SHOT_IMAGES = 1
BASE_ROW = "(base)"
"""Name of the row of what holds for the whole tree."""


class CheckRun:
    """One check."""

    def __init__(self, options: CheckOptions, progress: Progress, session: Session | None) -> None:
        self.began = time.monotonic()
        self.stages = Stages("load", "generate", "encode", "decide")
        self.options, self.progress, self.session = options, progress, session
        self.repo = repo = session.repo if session else Repository.discover(options.start)
        self.commit = repo.resolve(options.rev)
        self.tree = repo.tree_of(self.commit)
        self.chosen = _chosen(self.tree, options.concepts)
        self.since = None if options.since is None else repo.resolve(options.since)
        since = None if self.since is None else repo.tree_of(self.since)
        self.births = {name: birth(repo.objects, concept) for name, concept in self.chosen.items()}
        self.baselines = {name: baseline_tree(repo, concept, since) for name, concept in self.chosen.items()}
        self.now = {name: seen(self.tree, [name]) for name in self.chosen}
        self.kinds = {name: kind_of(repo.objects.get(concept, Concept)) for name, concept in self.chosen.items()}
        self.evaluator: Evaluator | None = None
        self.pool = Pool(options.places, options.engine) if session is None else Pool(options.places[:1])

    @cached_property
    def setup(self) -> Setup:
        """Protocol, metrics and limits."""
        return settle(self.repo, self.tree, self.options, self.session)

    @cached_property
    def evaluations(self) -> Evaluations:
        """The stored evaluations."""
        return Evaluations(EvaluationStore(self.repo), self.setup.protocol)

    def decide(self) -> CheckResult:
        """Compute what is missing, judge, and draw more images of what is undecided."""
        asked = self.asked
        while True:
            wanted = self.wanted(asked)
            self._compute(wanted)
            if self.options.shard and not all(map(self.evaluations.has, wanted)):
                return self._part(wanted)
            with self.stages.measure("decide"):
                cases = {name: self.case(name, asked[name]) for name in self.rows}
                judged = self._judge(cases)
            planned = {name: next_look(judged[name]) for name in self.rows}
            if not any(planned.values()):
                break
            asked |= {name: images for name, images in planned.items() if images}
        if self.options.shard:
            return self._part(wanted)
        results = {name: tuple(one.result for one in found) for name, found in judged.items()}
        return self.result(cases, self._rows(results, cases))

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows that are judged by a metric."""
        needs = self.setup.limits.needs
        concepts = self.chosen if needs.difference(OF_TREE) else ()
        return (*concepts, *((BASE_ROW,) if needs.intersection(OF_TREE) else ()))

    @property
    def asked(self) -> dict[str, int]:
        """Images of each prompt that each row begins with."""
        return dict.fromkeys(self.chosen, self.setup.images) | {BASE_ROW: ZERO_SHOT_IMAGES}

    def wanted(self, asked: Mapping[str, int]) -> list[EvaluationKey]:
        """What must be known about all rows, with so many images of each prompt."""
        return [key for name in self.rows for key in self.keys(name, asked[name])]

    def keys(self, name: str, images: int) -> list[EvaluationKey]:
        """What must be known about a row."""
        compared = [key for side in self._sides(name, images).values() for key in side]
        if name == BASE_ROW:
            return compared
        drift = [] if "drift" in self.same(name) else [self._drift(name)]
        base = EvaluationKey("class", bare(self.tree), self.chosen[name], name, BASE_IMAGES, of=self.kinds[name])
        return [*drift, *([base] if compared else []), *compared]

    def same(self, name: str) -> frozenset[str]:
        """What of a row is seen with the very weights that it is compared with, so that nothing can have been lost.

        Where all concepts are composed that is so of the latest one alone, and its pictures are drawn all the same:
        every later check compares with them.
        """
        if self.tree.compose == "all":
            return frozenset({"erased"} if self.tree.erasure is None else ())  # of no noun is there a picture
        plain = {"class", *OF_TREE} if self.tree.erasure is None else set()
        kept = name != BASE_ROW and self.now[name] == self.baselines[name]
        return frozenset({*plain, *(("concept", "drift") if kept else ())})

    def images(self, side: Sequence[EvaluationKey], asked: int) -> int:
        """Images of each prompt that a comparison rests on: all that both sides have stored, and not under `asked`."""
        return max(asked, min(self.evaluations.images(key) for key in side))

    def case(self, name: str, asked: int) -> Case:
        """What the stored evaluations say about a row."""
        sides = self._sides(name, asked)
        if name == BASE_ROW:
            found = {kind: self._of_tree(key, asked) for kind, (key,) in sides.items()}
            return Case(zero_shot=found.get("zero-shot"), erased=found.get("erased"), same=self.same(name))
        same = self.same(name)
        drift = 0.0 if "drift" in same else self.evaluations.value(self._drift(name))
        case = Case(drift=None if drift is None else float(drift), same=same)
        if "concept" in sides:
            before, after = self._scores(sides["concept"], asked)
            case = replace(case, before=before, after=after)
        elif "concept" in same and "concept" in self.setup.limits.needs:  # no need to draw, but there may be figures
            key = EvaluationKey("concept", self.now[name], self.chosen[name], name, of=self.kinds[name])
            case = replace(case, after=self.evaluations.scores(key))
        measured = {metric: self._foreign(sides[metric], metric, asked) for metric in self.setup.limits.plugins}
        if "pair" in self.setup.limits.needs:
            pairs = (side for side in sides.values() if side[0].kind == "pair")
            measured["pair"] = joined([self._foreign(side, "pair", asked) for side in pairs])
        case = replace(case, measured=measured)
        if "class" in sides:
            base, now = self._scores(sides["class"], asked)
            case = replace(case, class_base=base, class_now=now)
        return case

    def result(self, cases: Mapping[str, Case], rows: tuple[CheckRow, ...]) -> CheckResult:
        """Put the answer together, and record in MLflow what is new."""
        outcome = word(worst([row.verdict for row in rows]))
        warnings = (*(self.setup.warnings if rows else ()), *self._mirror(outcome, rows))
        fast = self.options.fast
        protocol = self.setup.protocol if rows else None
        return CheckResult(
            commit=self.commit, tree=self.tree.id, since=self.since, rows=rows, outcome=outcome,
            passed=outcome == "kept", prompts=len(protocol.templates) if protocol else 0,
            images=sum(_count(case) for case in cases.values()), images_made=self.made,
            protocol=_digest(protocol, fast=fast), elapsed_s=time.monotonic() - self.began,
            stages=self.stages.seconds, warnings=warnings,
        )  # fmt: skip

    @property
    def made(self) -> int:
        """Images that were drawn."""
        return self.pool.images_made + (self.evaluator.images_made if self.evaluator else 0)

    def _part(self, wanted: list[EvaluationKey]) -> CheckResult:
        """What is answered where only a part was computed: how far the check is, and no verdict."""
        assert self.options.shard
        stored = sum(map(self.evaluations.has, wanted))
        part = CheckPart(*self.options.shard, evaluations=len(wanted), stored=stored)
        return replace(self.result({}, ()), outcome="inconclusive", passed=False, part=part)

    def _drift(self, name: str) -> EvaluationKey:
        concept, baseline = self.chosen[name], self.baselines[name]
        since, of = baseline != self.births[name], self.kinds[name]
        return EvaluationKey("drift", self.now[name], concept, name, baseline=baseline, since=since, of=of)

    def _sides(self, name: str, images: int) -> Sides:
        """What is compared image by image: the trees before and after, for each kind of pictures that is needed."""
        metrics, needs = self.setup.limits.metrics, self.setup.limits.drawn(self.same(name))
        plain = seen(self.tree, [])
        if name == BASE_ROW:
            kinds = [kind for kind in OF_TREE if kind in needs]
            return {kind: (EvaluationKey(kind, plain, self.tree.base, name, images),) for kind in kinds}
        concept, baseline, of = self.chosen[name], self.baselines[name], self.kinds[name]
        others = (
            tuple(sorted(set(self.tree.concepts.values()) - {concept}))
            if any(METRICS[one].others for one in metrics if one in METRICS)
            else ()
        )
        sides: Sides = {}
        if "concept" in needs:
            places = (baseline, self.now[name])
            sides["concept"] = tuple(
                EvaluationKey("concept", place, concept, name, images, others, of=of) for place in places
            )
        for metric in self.setup.limits.plugins:
            sides[metric] = tuple(
                EvaluationKey("metric", place, concept, name, images, metric=metric, of=of)
                for place in (baseline, self.now[name])
            )
        if "pair" in needs:
            sides |= pair_sides(name, images, self.tree, self.baselines, self.kinds)
        if "class" in needs:
            places = (bare(self.tree), plain)
            sides["class"] = tuple(EvaluationKey("class", place, concept, name, images, of=of) for place in places)
        return sides

    def _of_tree(self, key: EvaluationKey, asked: int) -> Array | None:
        """What is stored of the whole tree, (P, n), of as many images as are."""
        found = self.evaluations.value(key)
        return None if found is None else found[:, : self.images((key,), asked)]

    def _foreign(self, side: Sequence[EvaluationKey], metric: str, asked: int) -> tuple[Array, Array] | str:
        """Scores that are stored as they are, before and now, of as many images as both have; else why not."""
        failed = self.evaluator.failed if self.evaluator else {}
        why = failed.get((metric, side[0].concept_id), "no image was judged")
        return self.evaluations.pair(side, self.images(side, asked)) or why

    def _scores(self, side: Sequence[EvaluationKey], asked: int) -> list[Scores | None]:
        """The scores of both sides, of as many images as both have."""
        images = self.images(side, asked)
        found = [self.evaluations.scores(key) or self.evaluations.scores(key, others=False) for key in side]
        return [None if one is None or one.images < images else one.first(images) for one in found]

    def _compute(self, wanted: list[EvaluationKey]) -> None:
        if self.options.shard:
            wanted = part_of(self.evaluations, wanted, *self.options.shard)
        with self.stages.measure("generate"):
            lacking = self.pool.evaluate(self.evaluations, wanted, self.progress)
        if lacking or (self.options.fast and self.evaluator is None):
            self._open().evaluate(lacking)

    def _open(self) -> Evaluator:
        if self.evaluator is None:
            with self.stages.measure("load"):
                from cns_cli.porcelain.models.session import Session
                from cns_cli.porcelain.scoring.evaluator import open_evaluator

            how = self.setup.protocol
            opened = partial(Session.open, self.repo, self.options.places[0], how.encoder, how.dtype)
            self.evaluator = open_evaluator(self.session, opened, self.evaluations, self.stages, self.progress)
        return self.evaluator

    def _judge(self, cases: Mapping[str, Case]) -> dict[str, list[Judged]]:
        limits = self.setup.limits
        of_tree = [name for name in limits.metrics if name in METRICS and METRICS[name].needs in OF_TREE]
        of_concepts = [name for name in limits.metrics if name not in of_tree]
        concepts = {name: case for name, case in cases.items() if name != BASE_ROW}
        base = {name: case for name, case in cases.items() if name == BASE_ROW}
        return judge(concepts, of_concepts, limits) | judge(base, of_tree, limits)

    def _rows(self, results: Mapping[str, tuple[MetricResult, ...]], cases: Mapping[str, Case]) -> tuple[CheckRow, ...]:
        rows = [self._row(name, results[name], cases[name]) for name in self.rows]
        if self.options.fast:
            from cns_cli.porcelain.gate.weights import with_weight_gates

            rows = with_weight_gates(rows, self._open(), self.tree, BASE_ROW)
        return tuple(rows)

    def _row(self, name: str, metrics: tuple[MetricResult, ...], case: Case) -> CheckRow:
        outcome = word(worst([one.verdict for one in metrics]))
        reasons = [one.why for one in metrics if one.why and one.verdict == outcome]
        concept = self.chosen.get(name, self.tree.base)
        return CheckRow(
            concept=name, concept_id=concept, verdict=outcome, metrics=metrics,
            baseline_tree=self.baselines.get(name, bare(self.tree)).id, drift=case.drift,
            why="; ".join((*reasons, *self._way_out(name, metrics))),
            base_score=self._base_score(name),
        )  # fmt: skip

    def _way_out(self, name: str, metrics: Sequence[MetricResult]) -> Iterator[str]:
        """What it takes to decide a row, where that is known and nothing of it is lost already."""
        needed = max((one.needed or 0 for one in metrics), default=0)
        if needed and all(one.verdict != "forgot" for one in metrics):
            spent = self.stages.seconds["generate"] + self.stages.seconds["encode"]
            each = spent / self.made if self.made else None
            more = self.evaluations.pictures(chain(*self._sides(name, needed).values()), lacking=True)
            yield way_out(self.options, None if name == BASE_ROW else name, needed, more, each)

    def _base_score(self, name: str) -> float | None:
        """b_j: what the base scores with the class noun alone."""
        wanted = [key for key in self.keys(name, 0) if key.kind == "class" and key.tree == bare(self.tree)]
        scores = self.evaluations.scores(wanted[0]) if wanted else None
        main = None if scores is None else scores.clip_i if scores.identity is None else scores.identity
        return None if main is None else float(main.mean())

    def _mirror(self, outcome: Verdict, rows: Sequence[CheckRow]) -> tuple[str, ...]:
        """Record new evaluations in MLflow, and the verdict; the answer stands whatever comes of it."""
        gate = _gate(outcome, rows) if self.options.by_the_registry else None
        stored = [*self.pool.stored, *(self.evaluator.stored if self.evaluator else ())]
        if not stored and (gate is None or is_told(self.repo, self.commit, gate)):
            return ()
        if unstored := self.evaluations.store.unstored:
            return (f"the scores are not stored, and are made again by the next check: {unstored}",)
        self.progress.stage("record in MLflow")
        with self.stages.measure("record"):
            # With what `cns add` stored.
            places = (self.tree, bare(self.tree), *self.now.values(), *self.baselines.values())
            trees = {*stored, *(place.id for place in places)}
            return tell(self.repo, self.commit, trees, self.options.mlflow_uri, gate)


def _chosen(tree: Tree, names: tuple[str, ...]) -> dict[str, str]:
    for name in names:
        if name not in tree.concepts:
            raise UnknownConcept(name, list(tree.concepts))
    return {name: tree.concepts[name] for name in sorted(names or tree.concepts)}


def _gate(outcome: Verdict, rows: Sequence[CheckRow]) -> str:
    """The verdict in words for a tag: `passed`, `forgot: rex, tom`."""
    if outcome == "kept":
        return "passed"
    return f"{outcome}: {', '.join(row.concept for row in rows if row.verdict == outcome)}"


def _count(case: Case) -> int:
    pair = () if case.before is None else (case.before, case.after)
    sides = (*pair, case.class_base, case.class_now)
    moved = sum(0 if one is None else one.size for one in (case.zero_shot, case.zero_shot, case.erased))
    pairs = case.measured.get("pair", "")
    moved += 0 if isinstance(pairs, str) else sum(side.size for side in pairs)
    return sum(side.clip_t.size for side in sides if side is not None) + moved


def _digest(protocol: Protocol | None, *, fast: bool) -> str:
    return "" if protocol is None else digest_of(protocol.kv_drift() if fast else protocol.scores)
