"""Every figure against hand-made matrices and an independent computation; the gate against its promises."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cns.continual import bwt, bwt_per_prompt, forgetting, is_learned, learned_gain, plasticity, retention
from cns.errors import MetricError
from cns.gate import (
    Estimate,
    Outcome,
    decide,
    estimate,
    interval,
    p_value,
    paired_drop,
    standard_error,
    studentised_interval,
)
from cns.metrics import (
    METRICS,
    ceiling,
    class_drift,
    clip_t,
    confusion_margins,
    copying,
    diversity,
    image_similarities,
    image_similarity,
    text_similarities,
    zero_shot_drift,
)
from cns.student import incomplete_beta, student_t_cdf, student_t_quantile

NAN = math.nan


def unit_rows(seed: int, count: int, width: int = 7) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# Concept 0 falls from 0.9 to 0.5 after a peak of 0.95; concept 1 from 0.8 to 0.7; concept 2 is new.
R = np.array([[0.90, NAN, NAN], [0.95, 0.80, NAN], [0.50, 0.70, 0.60]])
BASE = np.array([0.4, 0.5, 0.2])


def test_bwt_of_a_hand_made_matrix() -> None:
    assert bwt(R) == pytest.approx(((0.5 - 0.9) + (0.7 - 0.8)) / 2)


def test_forgetting_is_from_the_best_earlier_value() -> None:
    assert forgetting(R) == pytest.approx(((0.95 - 0.5) + (0.8 - 0.7)) / 2)


def test_nothing_forgotten_is_zero() -> None:
    kept = np.tril(np.full((4, 4), 0.8))
    assert bwt(kept) == 0
    assert forgetting(kept) == 0
    assert retention(kept, np.full(4, 0.3)) == 1


def test_forgetting_of_an_improving_concept_is_negative() -> None:
    assert forgetting(np.array([[0.5, NAN], [0.7, 0.6]])) == pytest.approx(-0.2)


def test_retention_and_gain_of_a_hand_made_matrix() -> None:
    assert learned_gain(R, BASE) == pytest.approx([0.5, 0.3, 0.4])
    assert retention(R, BASE) == pytest.approx((0.1 + 0.2 + 0.4) / (0.5 + 0.3 + 0.4))


def test_never_learned_concept_has_no_retention() -> None:
    learned = np.array([True, False, True])
    assert retention(R, BASE, learned) == pytest.approx((0.1 + 0.4) / (0.5 + 0.4))
    with pytest.raises(MetricError, match="nothing to retain"):
        retention(R, BASE, np.zeros(3, bool))
    with pytest.raises(MetricError, match="nothing to retain"):
        retention(R, np.ones(3))


def test_plasticity_is_a_ratio_of_gains_not_of_scores() -> None:
    peer = np.array([[0.65, NAN, NAN], [0.0, 1.1, NAN], [0.0, 0.0, 0.1]])
    values = plasticity(R, BASE, peer)
    assert values[:2] == pytest.approx([0.5 / 0.25, 0.3 / 0.6])
    assert math.isnan(values[2])  # the peer lost against the base: there is no share of that
    untrained = np.tril(np.tile(BASE, (3, 1)))
    assert plasticity(untrained, BASE, R) == pytest.approx([0, 0, 0])


@given(hnp.arrays(np.float64, (5, 5), elements=st.floats(-1, 1)), hnp.arrays(np.float64, 5, elements=st.floats(-1, 1)))
def test_lineage_figures_equal_their_sums_written_out(matrix: np.ndarray, base: np.ndarray) -> None:
    last = len(matrix) - 1
    back = sum(matrix[last, j] - matrix[j, j] for j in range(last)) / last
    lost = sum(max(matrix[i, j] for i in range(j, last)) - matrix[last, j] for j in range(last)) / last
    assert bwt(matrix) == pytest.approx(back)
    assert forgetting(matrix) == pytest.approx(lost)
    gained = sum(matrix[j, j] - base[j] for j in range(5))
    if gained > 1e-6:
        assert retention(matrix, base) == pytest.approx(sum(matrix[last, j] - base[j] for j in range(5)) / gained)
    assert forgetting(matrix) >= -bwt(matrix) - 1e-12


def test_above_the_diagonal_is_not_read() -> None:
    garbage = R.copy()
    garbage[0, 1:] = garbage[1, 2] = np.inf
    assert bwt(garbage) == bwt(R)
    assert forgetting(garbage) == forgetting(R)


def test_bwt_per_prompt_averages_to_bwt() -> None:
    per_prompt = np.random.default_rng(0).normal(size=(4, 4, 6))
    values = bwt_per_prompt(per_prompt)
    assert values.shape == (6,)
    assert values.mean() == pytest.approx(bwt(per_prompt.mean(2)))


@pytest.mark.parametrize("matrix", [np.zeros((1, 1)), np.zeros((2, 3)), np.zeros(4), np.array([[0.5, 0], [NAN, 0.5]])])
def test_matrix_that_cannot_be_judged_fails(matrix: np.ndarray) -> None:
    for figure in (bwt, forgetting):
        with pytest.raises(MetricError):
            figure(matrix)


def test_base_scores_must_fit() -> None:
    for base in (np.zeros(2), np.array([0.1, NAN, 0.2])):
        with pytest.raises(MetricError):
            learned_gain(R, base)


def test_image_similarity_is_the_mean_of_all_cosines() -> None:
    images, references = unit_rows(0, 5), unit_rows(1, 3)
    cosines = [[sum(a * b for a, b in zip(x, y, strict=True)) for y in references] for x in images]
    assert image_similarities(images, references) == pytest.approx([sum(row) / 3 for row in cosines])
    assert image_similarity(images, references) == pytest.approx(sum(map(sum, cosines)) / 15)
    assert image_similarity(references[:1], references[:1]) == pytest.approx(1)


def test_clip_t_is_a_raw_cosine() -> None:
    images, texts = unit_rows(0, 4), unit_rows(2, 4)
    cosines = np.asarray([float(np.dot(images[n], texts[n])) for n in range(4)])
    assert text_similarities(images, texts) == pytest.approx(cosines)
    assert clip_t(images, texts) == pytest.approx(cosines.mean())
    with pytest.raises(MetricError, match="one text"):
        text_similarities(images, texts[:3])


def test_ceiling_and_diversity_leave_each_image_against_itself_out() -> None:
    rows = unit_rows(3, 4)
    pairs = [float(rows[a] @ rows[b]) for a, b in itertools.combinations(range(4), 2)]
    assert ceiling(rows) == pytest.approx(np.mean(pairs))
    assert diversity(rows) == pytest.approx(1 - np.mean(pairs))
    assert diversity(np.tile(rows[:1], (3, 1))) == pytest.approx(0)
    with pytest.raises(MetricError, match="at least 2"):
        diversity(rows[:1])


def test_copying_finds_the_nearest_reference() -> None:
    images, references = unit_rows(4, 3), unit_rows(5, 4)
    images[1] = references[2]
    distances = copying(images, references)
    assert distances[1] == pytest.approx(0)
    assert distances == pytest.approx([1 - max(float(x @ y) for y in references) for x in images])


def margins(generated: list[np.ndarray], references: list[np.ndarray]) -> list[float]:
    """The mean margin of each concept, from the features of its images and of all concepts' references."""
    found = []
    for place, images in enumerate(generated):
        scores = [image_similarities(images, target)[None] for target in references]
        found.append(float(confusion_margins(scores.pop(place), scores).mean()))
    return found


def test_confusion_margin_is_against_the_nearest_other_concept() -> None:
    axes = np.eye(3)
    assert margins([axes[:1], axes[1:2], axes[1:2]], [axes[:1], axes[1:2], axes[2:]]) == pytest.approx([1, 1, -1])
    sets = [unit_rows(seed, 3) for seed in range(6)]
    table = [[float(np.mean(sets[j] @ sets[3 + k].T)) for k in range(3)] for j in range(3)]
    expected = [table[j][j] - max(table[j][k] for k in range(3) if k != j) for j in range(3)]
    assert margins(sets[:3], sets[3:]) == pytest.approx(expected)
    for others in ([], [np.zeros((1, 2))]):
        with pytest.raises(MetricError):
            confusion_margins(np.zeros((1, 3)), others)


def test_drifts_are_paired() -> None:
    before, after, references = unit_rows(0, 4), unit_rows(1, 4), unit_rows(2, 2)
    growth = [
        np.mean([after[n] @ r for r in references]) - np.mean([before[n] @ r for r in references]) for n in range(4)
    ]
    scores = [image_similarities(images, references) for images in (before, after)]
    assert class_drift(*scores) == pytest.approx(growth)
    assert class_drift(*(one.reshape(2, 2) for one in scores)) == pytest.approx(np.reshape(growth, (2, 2)))
    assert zero_shot_drift(before, after) == pytest.approx([1 - float(before[n] @ after[n]) for n in range(4)])
    assert zero_shot_drift(before, before) == pytest.approx(np.zeros(4))
    with pytest.raises(MetricError, match="pairs"):
        zero_shot_drift(before, after[:3])
    with pytest.raises(MetricError, match="the same prompts"):
        class_drift(scores[0][:3], scores[1])


@pytest.mark.parametrize(
    "features", [np.zeros((0, 7)), np.zeros((3, 0)), np.full((3, 7), NAN), np.zeros(7), unit_rows(0, 3, 5)]
)
def test_features_that_cannot_be_scored_fail(features: np.ndarray) -> None:
    good = unit_rows(0, 3)
    for figure in (image_similarities, text_similarities, copying, zero_shot_drift):
        with pytest.raises(MetricError):
            figure(features, good)


@pytest.mark.parametrize("name", METRICS)
def test_metric_gives_one_cosine_an_image(name: str) -> None:
    metric = METRICS[name]
    values = metric.per_image(unit_rows(0, 3), unit_rows(1, 3))
    assert values.shape == (3,)
    assert (np.abs(values) <= 1).all()
    assert metric.encoder in ("identity", "clip")
    assert metric.against in ("references", "text")


# Student's t: printed tables (Fisher & Yates; NIST/SEMATECH e-Handbook 1.3.6.7.2), two-sided 90, 95, 99, 99.9 %.
T_TABLE = {
    1: (6.314, 12.706, 63.657, 636.619),
    2: (2.920, 4.303, 9.925, 31.599),
    4: (2.132, 2.776, 4.604, 8.610),
    9: (1.833, 2.262, 3.250, 4.781),
    19: (1.729, 2.093, 2.861, 3.883),
    29: (1.699, 2.045, 2.756, 3.659),
    120: (1.658, 1.980, 2.617, 3.373),
    100_000: (1.645, 1.960, 2.576, 3.291),
}


@pytest.mark.parametrize("degrees", T_TABLE)
def test_t_quantile_is_the_tables(degrees: int) -> None:
    for level, expected in zip((0.90, 0.95, 0.99, 0.999), T_TABLE[degrees], strict=True):
        assert student_t_quantile(0.5 + level / 2, degrees) == pytest.approx(expected, abs=6e-4 * max(1, expected / 10))


@pytest.mark.parametrize("value", [-40.0, -3.0, -1.0, -0.01, 0.0, 0.5, 2.0, 10.0])
def test_t_distribution_with_a_closed_form(value: float) -> None:
    assert student_t_cdf(value, 1) == pytest.approx(0.5 + math.atan(value) / math.pi, rel=1e-12)
    assert student_t_cdf(value, 2) == pytest.approx(
        0.5 + value / (2 * math.sqrt(2 + value * value)), rel=1e-9, abs=1e-15
    )


@given(st.floats(1e-6, 1 - 1e-6), st.integers(1, 300))
def test_t_quantile_inverts_the_distribution(probability: float, degrees: int) -> None:
    quantile = student_t_quantile(probability, degrees)
    assert student_t_cdf(quantile, degrees) == pytest.approx(probability, rel=1e-9)
    assert student_t_quantile(1 - probability, degrees) == pytest.approx(-quantile, rel=1e-6, abs=1e-9)


def test_incomplete_beta_at_known_values() -> None:
    assert incomplete_beta(1, 1, 0.3) == pytest.approx(0.3)
    assert incomplete_beta(2, 3, 0.4) == pytest.approx(
        sum(math.comb(4, k) * 0.4**k * 0.6 ** (4 - k) for k in (2, 3, 4))
    )
    assert incomplete_beta(5, 5, 0.5) == pytest.approx(0.5)
    assert (incomplete_beta(2, 3, 0), incomplete_beta(2, 3, 1)) == (0, 1)


def test_interval_of_a_textbook_sample() -> None:
    values = np.array([4.0, 5.0, 6.0, 7.0, 8.0])  # mean 6, s = sqrt(2.5), t(0.975, 4) = 2.776
    low, high = studentised_interval(values)
    half = 2.7764451 * math.sqrt(2.5) / math.sqrt(5)
    assert (low, high) == pytest.approx((6 - half, 6 + half))
    assert standard_error(values) == pytest.approx(math.sqrt(0.5))


def test_one_prompt_says_nothing() -> None:
    assert studentised_interval(np.array([0.5])) == (-math.inf, math.inf)
    assert standard_error(np.array([0.5])) == math.inf
    assert not is_learned(np.array([0.5]))


def test_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(0.03, 0.04, (2000, 20))
    hits = sum(low <= 0.03 <= high for low, high in map(studentised_interval, samples))
    assert 0.935 <= hits / 2000 <= 0.965


@pytest.mark.parametrize("values", [[], [NAN, 0.1], [[0.1, 0.2]], [np.inf]])
def test_interval_of_no_numbers_fails(values: list) -> None:
    with pytest.raises(MetricError):
        studentised_interval(np.asarray(values))


def test_gain_under_three_standard_errors_is_not_learned() -> None:
    wobble = np.tile([-1.0, 1.0], 10)  # standard error 0.2294
    error = standard_error(wobble)
    assert is_learned(wobble + 3.01 * error)
    assert not is_learned(wobble + 2.99 * error)
    assert not is_learned(np.zeros(20))


def test_drop_averages_the_images_of_a_prompt() -> None:
    before, after = np.array([[0.8, 0.6], [0.5, 0.5]]), np.array([[0.7, 0.5], [0.6, 0.6]])
    assert paired_drop(before, after) == pytest.approx([0.1, -0.1])
    assert paired_drop(before[:, 0], after[:, 0]) == pytest.approx([0.1, -0.1])


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (4,), (0, 2)])
def test_fewer_prompts_or_images_than_the_baseline_fail(shape: tuple[int, ...]) -> None:
    with pytest.raises(MetricError):
        paired_drop(np.zeros((2, 2)), np.zeros(shape))


def test_missing_score_fails_the_gate() -> None:
    with pytest.raises(MetricError):
        paired_drop(np.zeros((2, 2)), np.array([[0.0, NAN], [0, 0]]))
    with pytest.raises(MetricError):
        decide({"rex": np.zeros(5), "fay": np.array([0.1, NAN])}, 0.02)


def spread(mean: float, width: float, count: int = 20) -> np.ndarray:
    """Values with exactly this mean and this standard deviation."""
    values = np.random.default_rng(7).normal(size=count)
    return mean + width * (values - values.mean()) / values.std(ddof=1)


def test_three_outcomes_by_the_side_of_the_interval() -> None:
    verdicts = decide({"kept": spread(0.0, 0.01), "forgot": spread(0.2, 0.05), "unsure": spread(0.02, 0.04)}, 0.02)
    assert {name: str(verdict.outcome) for name, verdict in verdicts.items()} == {
        "kept": "kept",
        "forgot": "forgot",
        "unsure": "inconclusive",
    }
    assert list(verdicts) == ["kept", "forgot", "unsure"]
    assert verdicts["kept"].high <= 0.02
    assert verdicts["forgot"].low > 0.02
    assert verdicts["unsure"].low <= 0.02 < verdicts["unsure"].high


def test_identical_images_are_kept_and_an_exact_drop_is_not_more_than_allowed() -> None:
    assert decide({"rex": np.zeros(4)}, 0.0)["rex"].outcome is Outcome.KEPT
    assert decide({"rex": np.full(4, 0.25)}, 0.25)["rex"].outcome is Outcome.KEPT
    assert decide({"rex": np.full(4, 0.25)}, 0.125)["rex"].outcome is Outcome.FORGOT


def test_one_prompt_is_never_green() -> None:
    assert decide({"rex": np.array([-0.5])}, 0.02)["rex"].outcome is Outcome.INCONCLUSIVE


@given(st.floats(-0.1, 0.02), st.floats(0.001, 0.2), st.integers(2, 40))
def test_fewer_prompts_with_the_same_spread_are_never_greener(mean: float, width: float, count: int) -> None:
    few, many = (decide({"rex": spread(mean, width, n)}, 0.02)["rex"] for n in (count, 2 * count))
    assert few.high >= many.high
    if few.outcome is Outcome.KEPT:
        assert many.outcome is Outcome.KEPT


def test_more_concepts_widen_the_interval_after_holm() -> None:
    # p of "just" is between 0.05 / 2 and 0.05: alone it is kept; beside an undecided one it is not.
    just, unsure, clear = spread(0.0, 0.018), spread(0.02, 0.04), spread(-0.3, 0.01)
    assert 0.025 < p_value(estimate(just), 0.02) < 0.05
    alone = decide({"just": just}, 0.02)["just"]
    assert alone.outcome is Outcome.KEPT
    assert alone.confidence == pytest.approx(0.95)
    beside = decide({"just": just, "unsure": unsure}, 0.02)
    assert beside["just"].outcome is Outcome.INCONCLUSIVE
    assert beside["just"].confidence == beside["unsure"].confidence == pytest.approx(0.975)
    stepped = decide({"just": just, "clear": clear}, 0.02)  # clear is decided first and frees its share
    assert stepped["clear"].confidence == pytest.approx(0.975)
    assert stepped["just"].outcome is Outcome.KEPT
    assert stepped["just"].confidence == pytest.approx(0.95)


def test_order_of_concepts_does_not_matter() -> None:
    drops = {name: spread(mean, 0.04) for name, mean in (("a", 0.0), ("b", 0.05), ("c", 0.021), ("d", -0.02))}
    there, back = decide(drops, 0.02), decide(dict(reversed(drops.items())), 0.02)
    assert there == back


def test_the_interval_is_what_the_p_value_does_not_refuse() -> None:
    known = estimate(np.random.default_rng(0).normal(0.03, 0.05, (10, 4)))
    for bound in interval(known, 0.9):
        assert p_value(known, bound) == pytest.approx(0.1, rel=1e-6)


def test_only_the_spread_within_the_prompts_is_noise() -> None:
    """Prompts that lose more and less, image by image the same: the mean over them is known exactly."""
    per_prompt = np.linspace(-0.02, 0.06, 10)
    exact = estimate(np.repeat(per_prompt[:, None], 3, axis=1))
    assert (exact.mean, exact.error) == pytest.approx((0.02, 0.0))
    assert estimate(per_prompt).error == standard_error(per_prompt)  # of one image nobody can tell the two apart
    noisy = np.tile([-0.1, 0.0, 0.1], (10, 1)) + per_prompt[:, None]  # s = 0.1 within each
    assert estimate(noisy).error == pytest.approx(0.1 / math.sqrt(30))
    assert estimate(noisy).degrees == 20


def test_looking_after_every_image_errs_no_more_often_than_promised() -> None:
    """A true drop of exactly the limit, looked at with 2, 3, ... 64 images of each prompt, until something is said."""
    rng, trials, wrong = np.random.default_rng(3), 1000, 0
    for _ in range(trials):
        drops = 0.02 + 0.03 * rng.standard_t(5, (10, 64))
        for images in range(2, 65):
            mean, error = drops[:, :images].mean(), math.sqrt(drops[:, :images].var(1, ddof=1).mean() / (10 * images))
            wrong_now = abs(mean - 0.02) > error * _half(images)
            if wrong_now:
                wrong += 1
                break
    assert wrong / trials <= 0.05


@cache
def _half(images: int) -> float:
    """Half of `interval` in standard errors."""
    return interval(Estimate(0.0, 1.0, 10 * (images - 1), images))[1]


def test_false_alarms_over_many_concepts_stay_under_alpha() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(400):  # ten concepts exactly at the limit: any decision at all is an error
        drops = {str(concept): rng.normal(0.02, 0.04, 20) for concept in range(10)}
        alarms += any(verdict.outcome is not Outcome.INCONCLUSIVE for verdict in decide(drops, 0.02).values())
    assert alarms / 400 <= 0.08  # 0.05, and three standard errors
