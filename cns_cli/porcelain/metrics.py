"""The metrics of `cns check`: a row each, with everything that any module has to know about it.

A metric falls when a concept is forgotten (a cosine, or a difference of cosines), or it grows. The standard library
alone is imported here, so that commands can name metrics before anything heavy is loaded; what computes imports numpy
in its function. A metric of another package is a `cns.metrics.Metric` and has no row: it is named by its package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # numpy costs 0.1 s
    from cns.errors import MetricError
    from cns.imagescores import Array, Scores


@dataclass(frozen=True)
class Case:
    """What is known about one concept, or about the whole tree.

    Attributes:
        before: Scores on the baseline; None where they were not wanted.
        after: Scores now, of the same images.
        class_base: Scores of the class noun alone on the base.
        class_now: Likewise in the tree.
        drift: Relative squared K/V drift since the baseline.
        zero_shot: Change of pictures of other things since the base, (P, n).
        erased: 1 for each picture of an erased noun that is called by it, else 0, (P, n), P over all nouns.
        measured: Metric that is stored as it is (of pairs, of another package) -> scores on the baseline and now,
            (P, n), or why there are none.
        same: What (see `GateMetric.needs`) is drawn with the same weights on both sides, and so is the same.
    """

    before: Scores | None = None
    after: Scores | None = None
    class_base: Scores | None = None
    class_now: Scores | None = None
    drift: float | None = None
    zero_shot: Array | None = None
    erased: Array | None = None
    measured: Mapping[str, tuple[Array, Array] | str] = field(default_factory=dict)
    same: frozenset[str] = frozenset()


@dataclass(frozen=True)
class GateMetric:
    """What is said about one metric.

    Attributes:
        label: As people read it.
        needs: What must be evaluated for it, see `scoring.keys.EvaluationKey.kind`; that of "pair" is in
            `Case.measured`, as what other packages bring is.
        limit: Field of `cns.families.Defaults` that holds its default limit.
        level: Of one that falls: the score of each image, (P, n), from a tree's scores; raises MetricError.
        growth: Of one that grows and is sampled: the growth of each image, (P, n); likewise.
            One that has neither is exact (the K/V drift), or of pairs.
        stored: Name under which an evaluation holds the score of each image; "" where it follows from others.
        others: Whether images are compared with the references of every other concept, too.
    """

    label: str
    needs: Literal["concept", "class", "zero-shot", "erased", "drift", "pair"]
    limit: str = "max_drop"
    level: Callable[[Scores], Array] | None = None
    growth: Callable[[Case], Array] | None = None
    stored: str = ""
    others: bool = False

    @property
    def grows(self) -> bool:
        """Whether it grows when something is forgotten, on a scale of its own; else it is a cosine, or a difference."""
        return self.level is None and self.needs != "pair"


def _identity(scores: Scores) -> Array:
    return _there(scores.identity, "id", "the identity encoder")


def _clip_i(scores: Scores) -> Array:
    return _there(scores.clip_i, "clip-i", "CLIP")


def _clip_t(scores: Scores) -> Array:
    return scores.clip_t


def _there(scores: Array | None, metric: str, judge: str) -> Array:
    if scores is None:
        raise _not_there(
            metric, f"{judge} has no score: the base lacks that judge, or neither images nor features of it were kept"
        )
    return scores


def _not_there(metric: str, reason: str) -> MetricError:
    from cns.errors import MetricError

    return MetricError(reason, metric=metric)


def _margin(scores: Scores) -> Array:
    """How much nearer than to any other concept's references an image is to its own."""
    from cns.metrics import confusion_margins

    if scores.clip_i is None:
        raise _not_there("margin", "there are no features of its training images in CLIP")
    if not scores.others:
        raise _not_there("margin", "no other concept to mistake it for: it needs at least two")
    return confusion_margins(scores.clip_i, list(scores.others.values()))


def _class_drift(case: Case) -> Array:
    """How far pictures of the class noun alone have come toward the concept since the base."""
    from cns.metrics import class_drift

    if case.class_base is None or case.class_now is None:
        raise _not_there("class-drift", "no picture of the class noun was judged")
    return class_drift(case.class_base.main, case.class_now.main)


def _zero_shot(case: Case) -> Array:
    """How far pictures of other things have moved since the base."""
    if case.zero_shot is None:
        raise _not_there("zero-shot", "no picture of other things was judged")
    return case.zero_shot


def _erased(case: Case) -> Array:
    """Which pictures of erased nouns are still called by them."""
    if case.erased is None:
        raise _not_there("erased", "no picture of an erased noun was judged")
    return case.erased


OF_TREE: tuple[Literal["zero-shot", "erased"], ...] = ("zero-shot", "erased")
"""What of `GateMetric.needs` is of the whole tree, and of no concept."""

METRICS: Mapping[str, GateMetric] = {
    "id": GateMetric("identity", "concept", level=_identity, stored="identity"),
    "clip-i": GateMetric("CLIP-I", "concept", level=_clip_i, stored="clip_i"),
    "clip-t": GateMetric("CLIP-T", "concept", level=_clip_t, stored="clip_t"),
    "drift": GateMetric("K/V drift", "drift", limit="max_kv_drift"),
    "margin": GateMetric("margin", "concept", level=_margin, others=True),
    "class-drift": GateMetric("class drift", "class", limit="max_class_drift", growth=_class_drift),
    "pair": GateMetric("identity in pairs", "pair", stored="pair"),
    "zero-shot": GateMetric("zero-shot", "zero-shot", limit="max_zero_shot", growth=_zero_shot, stored="zero_shot"),
    "erased": GateMetric("erased nouns", "erased", limit="max_erased", growth=_erased, stored="erased"),
}
"""Name, as `--metric` takes it -> what is said about it; what each means is said in docs/check.md."""

BY_WEIGHTS = "--fast looks at weights alone: pictures (cns check) may contradict it, both ways"
"""What an answer that rests on no picture says of itself."""

METRIC_NAMES = tuple(METRICS)
"""What `cns check` can judge on."""


def label_of(metric: str) -> str:
    """A metric, built in or not, as people read it."""
    return METRICS[metric].label if metric in METRICS else metric


def grows(metric: str) -> bool:
    """Whether a metric grows when something is forgotten; those of other packages fall."""
    return metric in METRICS and METRICS[metric].grows
