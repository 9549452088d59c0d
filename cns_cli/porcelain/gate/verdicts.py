"""From scores to verdicts: every metric of every concept, against its baseline and against its limits. No torch.

A sampled metric has an interval over the judge prompts and three outcomes (`cns.gate`): kept only when the whole
interval lies within the limit, forgot only when the whole of it lies beyond. All concepts of one metric are judged
together after Holm. A check looks at most `LOOKS` times, each time at twice the images where it is undecided; so that
looking again cannot buy a verdict, every look is at the level 1 - 0.05 / LOOKS (Bonferroni), whatever look it is: the
answer depends on the scores that are there and not on how they came.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cns.errors import MetricError
from cns.gate import CONFIDENCE, Outcome, Verdict, decide, paired_drop
from cns.imagescores import Array
from cns_cli.porcelain import answers
from cns_cli.porcelain.answers import MetricResult
from cns_cli.porcelain.gate.limits import Thresholds
from cns_cli.porcelain.metrics import METRICS, Case, grows

DOUBLINGS = 2
"""How often an undecided check doubles its images before it says so."""

LOOKS = DOUBLINGS + 1
LEVEL = 1 - (1 - CONFIDENCE) / LOOKS
ORDER = (Outcome.FORGOT, Outcome.INCONCLUSIVE, Outcome.KEPT)


@dataclass(frozen=True)
class Sample:
    """One sampled metric of one case.

    Attributes:
        drop: Drop or growth of each prompt, (P,).
        now: Score of each prompt, (P,); of a growth the growth.
        before: Score of each prompt on the baseline, (P,); None for a growth.
        images: Images now.
    """

    drop: Array
    now: Array
    before: Array | None
    images: int


def judge(cases: Mapping[str, Case], metrics: Sequence[str], limits: Thresholds) -> dict[str, list[MetricResult]]:
    """Judge cases (name -> what is known) on metrics; all cases of a metric are judged together.

    A metric that cannot be computed is never "kept": its result says why.
    """
    answers: dict[str, list[MetricResult]] = {name: [] for name in cases}
    for metric in metrics:
        needs = METRICS[metric].needs if metric in METRICS and metric not in limits.minimum else ""
        same = {name: _same(metric, case, limits) for name, case in cases.items() if needs in case.same}
        rest = {name: case for name, case in cases.items() if name not in same}
        judged = same | (_exact(rest, limits) if metric == "drift" else _sampled(metric, rest, limits))
        for name, result in judged.items():
            answers[name].append(result)
    return answers


def worst(verdicts: Sequence[str]) -> Outcome:
    """Forgot if anything forgot, else inconclusive if anything is, else kept."""
    return next((outcome for outcome in ORDER if outcome.value in verdicts), Outcome.KEPT)


def _same(metric: str, case: Case, limits: Thresholds) -> MetricResult:
    """What both sides draw with the same weights scores the same: that is told where it is known."""
    now, images, level = 0.0, 0, METRICS[metric].level
    if level is not None:
        now = math.nan
        with contextlib.suppress(MetricError):
            scores = None if case.after is None else level(case.after)
            now, images = (now, 0) if scores is None else (float(scores.mean()), scores.size)
    return MetricResult(
        metric=metric, verdict="kept", now=now, baseline=None if level is None else now, drop=0.0, low=None, high=None,
        max_drop=limits.max_drop[metric], minimum=None, images=images, same=True,
    )  # fmt: skip


def _sampled(metric: str, cases: Mapping[str, Case], limits: Thresholds) -> dict[str, MetricResult]:
    samples: dict[str, Sample] = {}
    failed: dict[str, str] = {}
    for name, case in cases.items():
        try:
            samples[name] = _sample(metric, case)
        except MetricError as error:
            failed[name] = error.message
    minimum = limits.minimum.get(metric)
    drops = decide({name: one.drop for name, one in samples.items()}, limits.max_drop[metric], LEVEL)
    lacks = {} if minimum is None else decide({n: minimum - one.now for n, one in samples.items()}, 0.0, LEVEL)
    found = {name: _result(metric, samples[name], drops[name], lacks.get(name), limits) for name in samples}
    return {name: found.get(name) or _failed(metric, failed[name], limits) for name in cases}


def _result(metric: str, sample: Sample, drop: Verdict, lack: Verdict | None, limits: Thresholds) -> MetricResult:
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
        reasons.append(f"{sample.images} images cannot tell")
    return MetricResult(
        metric=metric, verdict=word(verdict), now=float(sample.now.mean()),
        baseline=None if sample.before is None else float(sample.before.mean()),
        drop=drop.drop, low=drop.low, high=drop.high, max_drop=limit, minimum=minimum, images=sample.images,
        why=", ".join(reasons),
    )  # fmt: skip


def _exact(cases: Mapping[str, Case], limits: Thresholds) -> dict[str, MetricResult]:
    """The K/V drift, which has no noise: kept or forgot."""
    limit = limits.max_drop["drift"]
    answers = {}
    for name, case in cases.items():
        if case.drift is None or not math.isfinite(case.drift):
            answers[name] = _failed("drift", "the K/V drift is not a number", limits)
            continue
        kept = case.drift <= limit
        answers[name] = MetricResult(
            metric="drift", verdict="kept" if kept else "forgot", now=case.drift, baseline=None, drop=case.drift,
            low=None, high=None, max_drop=limit, minimum=None, images=0,
            why="" if kept else f"drift grew to {case.drift:.2g}; allowed {limit:g}",
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
    if metric not in METRICS:
        return _plugin_sample(metric, case)
    known = METRICS[metric]
    if known.growth is not None:
        growth, images = known.growth(case)
        return Sample(growth, growth, None, images)
    if case.before is None or case.after is None or known.level is None:
        raise MetricError("no image was judged", metric=metric)
    before, after = known.level(case.before), known.level(case.after)
    return Sample(paired_drop(before, after), after.mean(1), before.mean(1), after.size)


def _plugin_sample(metric: str, case: Case) -> Sample:
    found = case.plugins.get(metric, "no image was judged")
    if isinstance(found, str):
        raise MetricError(found, metric=metric)
    before, after = found
    return Sample(paired_drop(before, after), after.mean(1), before.mean(1), after.size)
