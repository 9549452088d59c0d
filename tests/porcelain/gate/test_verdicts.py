"""Verdicts from scores alone: three outcomes, limits both ways, what cannot be computed, and looking twice."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cns.gate import CONFIDENCE, estimate, interval
from cns.imagescores import Scores
from cns_cli.porcelain.gate.limits import Thresholds
from cns_cli.porcelain.gate.verdicts import FASTER, LEAST, MOST, MOST_ASKED, judge, worst
from cns_cli.porcelain.metrics import Case

PROMPTS, IMAGES = 10, 4


def scores(mean: float, spread: float = 0.01, seed: int = 0, **more) -> Scores:
    rng = np.random.default_rng(seed)
    values = mean + spread * rng.standard_normal((PROMPTS, IMAGES))
    return Scores(**{"identity": values, "clip_i": values - 0.1, "clip_t": values - 0.5, **more})


def limits(metric: str, max_drop: float = 0.02, minimum: float | None = None) -> Thresholds:
    return Thresholds((metric,), {metric: max_drop}, {} if minimum is None else {metric: minimum})


def verdict_of(case: Case, metric: str = "id", **asked):
    (judged,) = judge({"rex": case}, [metric], limits(metric, **asked))["rex"]
    return judged.result


def test_three_outcomes():
    before = scores(0.8)
    assert verdict_of(Case(before=before, after=scores(0.8, seed=1))).verdict == "kept"
    assert verdict_of(Case(before=before, after=scores(0.7, seed=1))).verdict == "forgot"
    unsure = verdict_of(Case(before=before, after=scores(0.78, 0.05, seed=1)))
    assert unsure.verdict == "inconclusive"
    assert "40 images cannot tell" in unsure.why


def test_the_interval_is_that_of_the_images_within_their_prompts():
    before, after = scores(0.8), scores(0.77, seed=1)
    found = verdict_of(Case(before=before, after=after))
    drop = before.identity - after.identity
    assert found.drop == pytest.approx(drop.mean())
    assert (found.low, found.high) == pytest.approx(interval(estimate(drop), CONFIDENCE))
    assert (found.now, found.baseline) == pytest.approx((after.identity.mean(), before.identity.mean()))
    assert found.images == PROMPTS * IMAGES


@pytest.mark.parametrize(("minimum", "expected"), [(0.6, "kept"), (0.9, "forgot"), (0.8, "inconclusive")])
def test_a_minimum_decides_by_the_interval_of_the_mean(minimum, expected):
    same = scores(0.8)
    found = verdict_of(Case(before=same, after=same), minimum=minimum)
    assert found.verdict == expected
    assert (f"asked for {minimum:g}" in found.why) == (expected != "kept")


def test_either_limit_is_enough_to_fail():
    case = Case(before=scores(0.8), after=scores(0.7, seed=1))
    assert verdict_of(case, minimum=0.1).verdict == "forgot"
    assert verdict_of(case, max_drop=1.0, minimum=0.75).verdict == "forgot"
    assert verdict_of(case, max_drop=1.0, minimum=0.1).verdict == "kept"


@pytest.mark.parametrize(
    ("metric", "case"),
    [
        ("id", Case(before=scores(0.8, identity=None), after=scores(0.8, identity=None))),
        ("clip-i", Case(before=scores(0.8, clip_i=None), after=scores(0.8, clip_i=None))),
        ("clip-t", Case()),
        ("margin", Case(before=scores(0.8), after=scores(0.8))),
        ("class-drift", Case()),
        ("zero-shot", Case()),
        ("erased", Case()),
        ("drift", Case()),
        ("drift", Case(drift=math.nan)),
    ],
)
def test_what_cannot_be_computed_is_never_kept_and_says_why(metric, case):
    found = verdict_of(case, metric, max_drop=100.0)
    assert found.verdict == "inconclusive"
    assert "cannot be computed" in found.why
    assert math.isnan(found.now)
    assert found.drop is None


@pytest.mark.parametrize("side", ["before", "after"])
def test_pictures_that_are_all_alike_are_no_pass(side):
    """Black pictures score the same on both sides, and nothing fell."""
    fine, black = scores(0.8), Scores(*[np.full((PROMPTS, IMAGES), 0.3) + 1e-7 * scores(0.0).identity] * 3)
    found = verdict_of(Case(**{"before": fine, "after": fine, side: black}), max_drop=2.0)
    assert found.verdict == "inconclusive"
    assert "all alike" in found.why
    assert verdict_of(Case(before=fine, after=fine)).verdict == "kept"


def test_scores_of_fewer_prompts_than_the_baseline_are_no_pass():
    after = scores(0.8)
    fewer = Scores(after.identity[:5], after.clip_i[:5], after.clip_t[:5])
    assert "cannot be computed" in verdict_of(Case(before=after, after=fewer)).why


@pytest.mark.parametrize(("drift", "expected"), [(0.0, "kept"), (0.01, "kept"), (0.0101, "forgot")])
def test_the_kv_drift_is_exact(drift, expected):
    found = verdict_of(Case(drift=drift), "drift", max_drop=0.01)
    assert (found.verdict, found.now, found.low, found.high) == (expected, drift, None, None)


def test_what_grows_is_judged_by_its_growth():
    rng = np.random.default_rng(3)
    moved = np.abs(0.2 + 0.01 * rng.standard_normal((PROMPTS, 1)))
    assert verdict_of(Case(zero_shot=moved), "zero-shot", max_drop=0.05).verdict == "forgot"
    found = verdict_of(Case(zero_shot=moved / 10), "zero-shot", max_drop=0.05)
    assert (found.verdict, found.baseline) == ("kept", None)
    assert found.now == pytest.approx(moved.mean() / 10)
    toward = Case(class_base=scores(0.3), class_now=scores(0.4, seed=1))
    found = verdict_of(toward, "class-drift")
    assert found.verdict == "forgot"
    assert found.drop == pytest.approx((toward.class_now.identity - toward.class_base.identity).mean())


def test_one_concept_that_was_lost_does_not_hide_behind_many():
    cases = {f"c{k}": Case(before=scores(0.8, seed=k), after=scores(0.8, seed=k)) for k in range(9)}
    cases["lost"] = Case(before=scores(0.8), after=scores(0.7, seed=1))
    found = judge(cases, ["id"], limits("id"))
    assert [name for name in found if found[name][0].result.verdict != "kept"] == ["lost"]


def test_the_worst_counts():
    assert worst(["kept", "forgot", "inconclusive"]).value == "forgot"
    assert worst(["kept", "inconclusive"]).value == "inconclusive"
    assert worst([]).value == "kept"


# Standard deviations of an image's drop from its prompt's, and of the prompts' from each other: those of the harmful
# commit in docs/benchmarks/gate_noise.json, which are the larger ones.
WITHIN, BETWEEN = 0.032, 0.02


def checks(true: float, count: int, seed: int):
    """Whole checks of a drop: what each ends with, and how many images of each prompt it took."""
    rng = np.random.default_rng(seed)
    between = rng.normal(0, BETWEEN, (PROMPTS, 1))
    between -= between.mean()  # the judge prompts are the same in every check, and the true drop is their mean
    for _ in range(count):
        drops, images = true + between + rng.normal(0, WITHIN, (PROMPTS, MOST)), IMAGES
        while True:
            judged = judged_drops(drops[:, :images])
            if not judged.planned:
                yield judged.result, images
                break
            assert images < judged.planned <= min(MOST, FASTER * images)
            images = judged.planned


def judged_drops(drops, **asked):
    before = 0.5 + 0.01 * np.sin(np.arange(drops.size)).reshape(drops.shape)
    case = Case(before=Scores(before, None, before), after=Scores(before - drops, None, before))
    return judge({"rex": case}, ["id"], limits("id", **asked))["rex"][0]


@pytest.mark.parametrize(("true", "verdict"), [(0.01, "kept"), (0.03, "forgot")])
def test_half_the_limit_away_from_it_is_decided_in_95_of_100_checks(true, verdict):
    found = list(checks(true, 1000, seed=1))
    assert sum(result.verdict == verdict for result, _ in found) >= 950
    assert {result.verdict for result, _ in found} <= {verdict, "inconclusive"}
    assert np.mean([images for _, images in found]) < 20  # where 23 would tell, had one known the spread before


@pytest.mark.parametrize(("true", "wrong"), [(0.0032, "forgot"), (0.0465, "kept")])
def test_the_golden_drops_are_never_called_their_opposite(true, wrong):
    found = [result.verdict for result, _ in checks(true, 1000, seed=2)]
    assert wrong not in found
    assert found.count("inconclusive") <= 10


def test_at_the_limit_itself_the_sequence_ends_and_seldom_says_anything():
    found = list(checks(0.02, 1000, seed=3))
    assert sum(result.verdict != "inconclusive" for result, _ in found) <= 50
    assert max(images for _, images in found) < MOST
    needed = [result.needed for result, _ in found if result.verdict == "inconclusive"]
    assert all(one is None or one <= MOST_ASKED for one in needed)
    assert None in needed  # so near that no number of images that one may ask for would tell


def test_a_spread_that_is_small_or_wild_still_gets_its_images():
    """One that would be told by few more images gets them; one that nothing tells ends at the most."""
    rng = np.random.default_rng(0)
    calm, wild = (0.02 + spread * rng.standard_normal((PROMPTS, MOST)) for spread in (0.003, 0.5))
    assert judged_drops(calm[:, :8]).planned in range(9, LEAST + 1)
    assert judged_drops(calm[:, :LEAST]).planned == 0
    assert judged_drops(wild[:, :IMAGES]).planned == FASTER * IMAGES
    assert judged_drops(wild).planned == 0


def test_a_least_score_is_told_to_a_hundredth():
    levels = 0.7 + 0.02 * np.random.default_rng(0).standard_normal((PROMPTS, MOST))
    few = Scores(levels[:, :2], None, levels[:, :2])
    (judged,) = judge({"rex": Case(before=few, after=few)}, ["id"], limits("id", minimum=0.7))["rex"]
    assert judged.result.verdict == "inconclusive"
    assert judged.planned > 2
