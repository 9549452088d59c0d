"""One stream of concepts learned by one method: the cell behind the tables of forgetting and of several concepts.

Of the matrix R (score of concept j after learning concept i) three parts are drawn: the diagonal, the last row and the
first concept's column, which is what backward transfer, retention and the paper's Figure 5 need. At the end images of
other things are compared with the bare base's, and concepts are asked for together.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from benchmarks.concept_stream import Concept, training_seed
from benchmarks.judging import Judge, Scores
from benchmarks.method import Method
from benchmarks.multi_concept import group_scores
from benchmarks.trainer import Trainer

Cell = dict[str, Any]


def learn_stream(
    trainer: Trainer,
    judge: Judge,
    method: Method,
    concepts: Sequence[Concept],
    number: int,
    *,
    groups: bool = True,
    regions: bool = True,
    bare: bool = False,
) -> Cell:
    """Learn concepts one after another and score them.

    Args:
        trainer: The base.
        judge: Of the stream that the concepts are from.
        method: Who learns.
        concepts: In their order.
        number: Of the order; training seeds are made of it.
        groups: Ask for pairs and triples at the end.
        regions: With boxes too.
        bare: Ask for each concept alone without a background too, when it was learned.
    """
    trainer.reset()
    judge.remember_base()
    base = [judge.base_scores(concept) for concept in concepts]
    state: Any = None
    diagonal: list[Scores] = []
    first: list[Scores] = []
    bares: list[Scores] = []
    footprints, seconds = [], 0.0
    for concept in concepts:
        start = time.monotonic()
        state = method.learn(trainer, state, concept, training_seed(concept, number))
        seconds += time.monotonic() - start
        diagonal.append(_drawn(trainer, judge, method, state, concept))
        if bare:
            bares.append(judge.bare_scores(concept))
        again = concept is not concepts[0] and not method.is_independent
        first.append(_drawn(trainer, judge, method, state, concepts[0]) if again else diagonal[0])
        footprints.append(method.footprint(state))
    final = diagonal[:-1] if method.is_independent else [first[-1], *_last_row(trainer, judge, method, state, concepts)]
    method.put(trainer, state, [] if method.is_independent else [concept.name for concept in concepts])
    cell: Cell = {
        "concepts": [concept.name for concept in concepts],
        "base": base,
        "ceiling": [judge.ceiling(concept) for concept in concepts],
        "diagonal": diagonal,
        "final": ([*final, diagonal[-1]])[: len(concepts)],
        "first": first,
        "zero_shot": judge.zero_shot(),
        "weights": [one.weights for one in footprints],
        "size_bytes": [one.size_bytes for one in footprints],
        "figures": {key: [one.figures.get(key) for one in footprints] for key in sorted(footprints[-1].figures)},
        "seconds_a_concept": round(seconds / len(concepts), 1),
    }
    if bare:
        cell["bare"] = bares
    if groups:
        cell["together"] = group_scores(trainer, judge, method, state, regions=regions)
    trainer.reset()
    return cell


def _last_row(
    trainer: Trainer, judge: Judge, method: Method, state: Any, concepts: Sequence[Concept]
) -> Sequence[Scores]:
    """Scores of the concepts between the first and the newest, which have just been drawn."""
    return [_drawn(trainer, judge, method, state, concept) for concept in concepts[1:-1]]


def _drawn(trainer: Trainer, judge: Judge, method: Method, state: Any, concept: Concept) -> Scores:
    method.put(trainer, state, [concept.name])
    return judge.scores(concept)
