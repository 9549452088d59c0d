"""Scores of generated images: cosines with references and texts, as plain arrays that can be joined and stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cns.errors import MetricError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Cosines of generated images; each (P, n): P judge prompts, n images of each.

    Attributes:
        identity: With the references, in the identity encoder; None where there is none, or no references in it.
        clip_i: With the references, in CLIP; None where there are no references in it.
        clip_t: With the prompt's text, special token taken out.
        others: Concept id -> with that concept's references, in CLIP; only where it was asked for.
    """

    identity: Array | None
    clip_i: Array | None
    clip_t: Array
    others: Mapping[str, Array] = field(default_factory=dict)

    @property
    def main(self) -> Array:
        """The base's main score: identity where it has that judge, else CLIP-I.

        Raises:
            MetricError: there is neither.
        """
        if self.identity is None and self.clip_i is None:
            raise MetricError("no score against the references: expected features of an encoder", metric="id")
        return self.clip_i if self.identity is None else self.identity  # type: ignore[return-value]

    @property
    def images(self) -> int:
        """Images of each prompt."""
        return int(self.clip_t.shape[1])

    @property
    def prompts(self) -> int:
        """Judge prompts."""
        return int(self.clip_t.shape[0])

    def first(self, images: int) -> Scores:
        """The scores of the first `images` images of each prompt."""
        return self._each(lambda one, _: one[:, :images], self)

    def joined(self, more: Scores) -> Scores:
        """These scores followed by those of further images; what only one of them has is left out."""
        return self._each(lambda one, two: np.concatenate([one, two], axis=1), more)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as an evaluation stores them."""
        named = {"identity": self.identity, "clip_i": self.clip_i, "clip_t": self.clip_t}
        plain: dict[str, Any] = {name: scores.tolist() for name, scores in named.items() if scores is not None}
        if self.others:
            plain["others"] = {concept: scores.tolist() for concept, scores in self.others.items()}
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Scores:
        """Read back what `to_json` gave.

        Raises:
            MetricError: it is not that: another shape, or a value that is no cosine.
        """
        others = data.get("others", {})
        if not isinstance(others, Mapping):
            raise _damaged("others")
        text = _matrix(data.get("clip_t"), None)
        assert text is not None
        return cls(
            _matrix(data["identity"], text.shape) if "identity" in data else None,
            _matrix(data["clip_i"], text.shape) if "clip_i" in data else None,
            text,
            {str(concept): _matrix(scores, text.shape) for concept, scores in others.items()},
        )

    def _each(self, join: Any, more: Scores) -> Scores:
        def both(one: Array | None, two: Array | None) -> Array | None:
            return None if one is None or two is None else join(one, two)

        return Scores(
            both(self.identity, more.identity),
            both(self.clip_i, more.clip_i),
            join(self.clip_t, more.clip_t),
            {name: join(one, more.others[name]) for name, one in self.others.items() if name in more.others},
        )


def _matrix(values: Any, shape: tuple[int, ...] | None) -> Array:
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise _damaged(values) from error
    if found.ndim != 2 or found.size == 0 or (shape is not None and found.shape != shape):
        raise _damaged(values)
    if not (np.isfinite(found).all() and np.abs(found).max() <= 1.01):
        raise _damaged(values)
    return found


def _damaged(values: object) -> MetricError:
    return MetricError(f"stored scores {str(values)[:40]}: expected (P, n) cosines of one shape", metric="scores")
