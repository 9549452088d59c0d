"""From scores to verdicts: every metric of every concept, against its baseline and against its limits. No torch.

A sampled metric has an interval and three outcomes (`cns.gate`): kept only when the whole interval lies within the
limit, forgot only when the whole of it lies beyond. All concepts of one metric are judged together after Holm. Its
intervals hold at all numbers of images at once, so the answer depends on the scores that are there and not on how often
they were looked at.

What is undecided says with how many images it would look again: as many as will probably tell, by the variance seen so
far, and no more than would tell a drop that lies half the limit from the limit. Then it ends.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cns.errors import MetricError
from cns.gate import Outcome, Verdict, decide, paired_drops
from cns.imagescores import Array
from cns_cli.porcelain import answers
from cns_cli.porcelain.answers import MetricResult
from cns_cli.porcelain.gate.limits import Thresholds
from cns_cli.porcelain.metrics import METRICS, Case, grows

SURE = 0.78
"""Half an interval's width as a share of its centre's distance from the limit: with the images for that, four of five
checks would be decided. Half of it is about 3 standard errors: 3 / (3 + 0.84)."""

ENOUGH = 0.62
"""Half an interval's width as a share of half the limit with which a check ends: a drop that lies half the limit from
the limit is then decided in more than 95 of 100 checks. 3 / (3 + 1.64) is 0.65; the rest is for a variance that was
seen too small."""

FINE = 0.01
"""What stands for half the limit where a least score is asked for."""

FASTER = 4
"""A look has at most so many times the images of the one before: the variance of the first few is a rough one."""

LEAST, MOST = 16, 64
"""Images of each prompt up to which an undecided check goes on in any case, and to which it never goes by itself;
chosen: the embedded base draws 64 of ten prompts, on both sides, in two minutes."""

MOST_ASKED = 200
"""What `--images` takes."""

ALIKE = 1e-5
"""Cosines of pictures that differ by less are of the same picture: seeds alone move them by a hundredth and more."""

ORDER = (Outcome.FORGOT, Outcome.INCONCLUSIVE, Outcome.KEPT)


@dataclass(frozen=True)
class Sample:
    """One sampled metric of one case.

    Attributes:
        drop: Drop or growth of each image, (P, n).
        now: Score of each image, (P, n); of a growth the growth.
        before: Score of each image on the baseline, (P, n); None for a growth.
    """

    drop: Array
    now: Array
    before: Array | None


class Judged(NamedTuple):
    """One metric of one case.

    Attributes:
        result: As it is answered.
        planned: Images of each prompt with which it should be looked at again; 0 = it ends here.
    """

    result: MetricResult
    planned: int = 0


def judge(cases: Mapping[str, Case], metrics: Sequence[str], limits: Thresholds) -> dict[str, list[Judged]]:
    """Judge cases (name -> what is known) on metrics; all cases of a metric are judged together.

    A metric that cannot be computed is never "kept": its result says why.
    """
    answers: dict[str, list[Judged]] = {name: [] for name in cases}
    for metric in metrics:
        needs = METRICS[metric].needs if metric in METRICS and metric not in limits.minimum else ""
        same = {name: _same(metric, case, limits) for name, case in cases.items() if needs in case.same}
        rest = {name: case for name, case in cases.items() if name not in same}
        judged = same | (_exact(rest, limits) if metric == "drift" else _sampled(metric, rest, limits))
        for name, result in judged.items():
            answers[name].append(result)
    return answers


def next_look(judged: Sequence[Judged]) -> int:
    """Images of each prompt with which a row is looked at again; 0 = it ends: nothing is open, or something is lost."""
    lost = any(one.result.verdict == Outcome.FORGOT.value for one in judged)
    return 0 if lost else max((one.planned for one in judged), default=0)


def worst(verdicts: Sequence[str]) -> Outcome:
    """Forgot if anything forgot, else inconclusive if anything is, else kept."""
    return next((outcome for outcome in ORDER if outcome.value in verdicts), Outcome.KEPT)


def _same(metric: str, case: Case, limits: Thresholds) -> Judged:
    """What both sides draw with the same weights scores the same: that is told where it is known."""
    now, images, level = 0.0, 0, METRICS[metric].level
    if level is not None:
        now = math.nan
        with contextlib.suppress(MetricError):
            scores = None if case.after is None else level(case.after)
            now, images = (now, 0) if scores is None else (float(scores.mean()), scores.size)
    result = MetricResult(
        metric=metric, verdict="kept", now=now, baseline=None if level is None else now, drop=0.0, low=None, high=None,
        max_drop=limits.max_drop[metric], minimum=None, images=images, same=True,
    )  # fmt: skip
    return Judged(result)


def _sampled(metric: str, cases: Mapping[str, Case], limits: Thresholds) -> dict[str, Judged]:
    samples: dict[str, Sample] = {}
    failed: dict[str, str] = {}
    for name, case in cases.items():
        try:
            samples[name] = _sample(metric, case)
        except MetricError as error:
            failed[name] = error.message
    minimum = limits.minimum.get(metric)
    drops = decide({name: one.drop for name, one in samples.items()}, limits.max_drop[metric])
    lacks = {} if minimum is None else decide({n: minimum - one.now for n, one in samples.items()}, 0.0)
    found = {name: _result(metric, samples[name], drops[name], lacks.get(name), limits) for name in samples}
    return {name: found.get(name) or Judged(_failed(metric, failed[name], limits)) for name in cases}


def _result(metric: str, sample: Sample, drop: Verdict, lack: Verdict | None, limits: Thresholds) -> Judged:
    outcomes = [drop.outcome.value, *([lack.outcome.value] if lack else [])]
    verdict = worst(outcomes)
    limit, minimum = limits.max_drop[metric], limits.minimum.get(metric)
    reasons = []
    if drop.outcome is verdict is not Outcome.KEPT:
        moved = "grew" if grows(metric) else "fell"
        reasons.append(f"{metric} {moved} by {_span(drop.drop, drop.low, drop.high)}; allowed {limit:g}")
    if lack is not None and minimum is not None and lack.outcome is verdict is not Outcome.KEPT:
        mean = _span(minimum - lack.drop, minimum - lack.high, minimum - lack.low)
        reasons.append(f"{metric} is {mean}; asked for {minimum:g}")
    if verdict is Outcome.INCONCLUSIVE:
        reasons.append(f"{sample.now.size} images cannot tell")
    tests = [(drop, drop.drop - limit, abs(limit) / 2), *([(lack, lack.drop, FINE)] if lack else [])]
    open_ = [(one, abs(way), fine) for one, way, fine in tests if one.outcome is verdict is Outcome.INCONCLUSIVE]
    needed = math.ceil(min(max((one.images_for(SURE * way) for one, way, _ in open_), default=0), MOST_ASKED + 1))
    result = MetricResult(
        metric=metric, verdict=word(verdict), now=float(sample.now.mean()),
        baseline=None if sample.before is None else float(sample.before.mean()),
        drop=drop.drop, low=drop.low, high=drop.high, max_drop=limit, minimum=minimum, images=sample.now.size,
        why=", ".join(reasons), needed=needed if 0 < needed <= MOST_ASKED else None,
    )  # fmt: skip
    return Judged(result, max((_planned(one, way, fine) for one, way, fine in open_), default=0))


def _planned(verdict: Verdict, way: float, fine: float) -> int:
    """Images of each prompt of the next look at an undecided test.

    Args:
        verdict: What is known.
        way: Distance of its mean from the limit.
        fine: Distance that must be told, if it is there.
    """
    there, most = verdict.images, min(max(verdict.images_for(ENOUGH * fine), LEAST), MOST)
    wanted = min(verdict.images_for(SURE * way), most, FASTER * there)
    return max(math.ceil(wanted), there + 1) if there < most else 0


def _exact(cases: Mapping[str, Case], limits: Thresholds) -> dict[str, Judged]:
    """The K/V drift, which has no noise: kept or forgot."""
    limit = limits.max_drop["drift"]
    answers = {}
    for name, case in cases.items():
        if case.drift is None or not math.isfinite(case.drift):
            answers[name] = Judged(_failed("drift", "the K/V drift is not a number", limits))
            continue
        kept = case.drift <= limit
        answers[name] = Judged(
            MetricResult(
                metric="drift", verdict="kept" if kept else "forgot", now=case.drift, baseline=None, drop=case.drift,
                low=None, high=None, max_drop=limit, minimum=None, images=0,
                why="" if kept else f"drift grew to {case.drift:.2g}; allowed {limit:g}",
            )
        )  # fmt: skip
    return answers


def _failed(metric: str, reason: str, limits: Thresholds) -> MetricResult:
    return MetricResult(
        metric=metric, verdict="inconclusive", now=math.nan, baseline=None, drop=None, low=None, high=None,
        max_drop=limits.max_drop[metric], minimum=limits.minimum.get(metric), images=0,
        why=f"{metric} cannot be computed: {reason}",
    )  # fmt: skip


def _span(mean: float, low: float, high: float) -> str:
    return f"{mean:.3f} ({low:.3f} to {high:.3f})"


def word(outcome: Outcome) -> answers.Verdict:
    """An outcome as results carry it."""
    return "kept" if outcome is Outcome.KEPT else "forgot" if outcome is Outcome.FORGOT else "inconclusive"


def _sample(metric: str, case: Case) -> Sample:
    """Raises MetricError where the metric cannot be computed."""
    if metric not in METRICS or METRICS[metric].needs == "pair":
        return _measured_sample(metric, case)
    known = METRICS[metric]
    if known.growth is not None:
        growth = known.growth(case)
        classes = {"of the class noun on the base": case.class_base, "of the class noun now": case.class_now}
        _refuse_alike(metric, {where: one.main for where, one in classes.items() if one is not None})
        return Sample(growth, growth, None)
    if case.before is None or case.after is None or known.level is None:
        raise MetricError("no image was judged", metric=metric)
    before, after = known.level(case.before), known.level(case.after)
    _refuse_alike(metric, {"on the baseline": before, "now": after})
    return Sample(paired_drops(before, after), after, before)


def _refuse_alike(metric: str, sides: Mapping[str, Array]) -> None:
    """Refuse scores of pictures that show nothing: other noise, or another prompt, and always the same picture."""
    for where, scores in sides.items():
        if scores.size > 1 and np.ptp(scores, axis=int(scores.shape[1] > 1)).max() < ALIKE:
            raise MetricError(
                f"the {scores.size} pictures {where} are all alike, whatever the seed: look at some (cns generate)",
                metric=metric,
            )


def _measured_sample(metric: str, case: Case) -> Sample:
    found = case.measured.get(metric, "no image was judged")
    if isinstance(found, str):
        raise MetricError(found, metric=metric)
    before, after = found
    return Sample(paired_drops(before, after), after, before)
