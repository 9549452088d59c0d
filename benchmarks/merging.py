"""Two branches of three concepts each, taught apart on the same base and then merged: what does each concept lose?

Merging CNS adds integers: the two branches taught different names, so `registry.merging.three_way` takes all six, and
the model is the base plus their six deltas. Beside it, in the same run, what users do with two sets of adapters: all
six active by `set_adapters`, all six fused into the weights, and one adapter made of the six. Settings, lengths of
trainings and the peers' rates are those of the paper's tables (`experiment_setup.py`, `tuning.py`). Cells are kept one
by one in docs/benchmarks/merge_cells.json; about twenty minutes a seed on one free core.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.cells import Cells
from benchmarks.concept_stream import Concept, training_seed
from benchmarks.experiment_setup import CACHE, FULL, QUICK, Setup
from benchmarks.figure3 import STREAM
from benchmarks.judging import Judge
from benchmarks.method import Method
from benchmarks.ours import Ours
from benchmarks.paper import Paper
from benchmarks.peers.loop import Recipe
from benchmarks.peers.lora import Adapted, LoraEach, LoraMerged, LoraOne
from benchmarks.report import Cell, Report, Table
from benchmarks.work import Job, cells_of
from cns import gate, metrics
from cns.compose import Weights
from cns.drift import kv_drift, prompt_moments
from cns.families import EMOJI_64
from cns.templates import fill_templates
from cns_cli.figures import plural
from cns_cli.sheets import contact_sheet

BRANCH = 3  # concepts
SEEDS = 1
SCORES = {"identity": "identity", "clip_i": "clip"}
"""Score -> encoder."""
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "merge.png"
SHEET = {
    "CNS": ("in its branch", "merged"),
    "LoRA each, set_adapters": ("in its branch", "all six active"),
    "LoRA each, merged": ("", "all six fused"),
    "LoRA each, one by SVD": ("", "all six in one adapter"),
}
"""Method -> what its row before and its row after the merge are called; "" leaves a row out."""


def run(quick: bool) -> Report:
    """Make the cells that are missing, then the tables and the picture; `quick` has tiny sizes and keeps nothing."""
    setup = Setup(QUICK if quick else FULL)
    cells, pictures = (Cells(None), None) if quick else (cells_of("merge"), CACHE)
    found = measure(setup, cells, 1 if quick else SEEDS, pictures)
    if pictures is not None:
        sheet(setup, pictures)
    return report(found)


def measure(setup: Setup, cells: Cells, seeds: int, pictures: Path | None) -> dict[str, list[Any]]:
    """Each method's cells, seed by seed."""
    found: dict[str, list[Any]] = {}
    for seed in range(seeds):
        for method in methods(setup):
            facts = setup.facts(STREAM, method=dict(method.settings), seed=seed, names=_names(setup), drawn="full")
            strip = pictures / f"merge {method.name}.png" if pictures and seed == 0 else None
            job = Job(f"merge {seed}: {method.name}", facts, partial(merge, setup, method, seed, strip), 1.0)
            found.setdefault(method.name, []).append(cells.of(job.key, job.compute))
    return found


def methods(setup: Setup) -> list[Method]:
    """CNS with its defaults, and adapters with the rate and the factor that the tuning stream chose."""
    chosen = Paper.of_size(FULL).tuning.chosen("LoRA each, merged")
    assert chosen is not None
    recipe, factor = Recipe(chosen["lr"], setup.peer_steps), chosen["factor"]
    return [Ours("CNS"), LoraEach(recipe), LoraMerged(recipe, factor), LoraOne(recipe, factor)]


def merge(setup: Setup, method: Method, seed: int, strip: Path | None) -> dict[str, Any]:
    """Teach both branches, score every concept in its branch and after the merge.

    Args:
        setup: The base.
        method: Who learns.
        seed: Training seeds are made of it.
        strip: Where a picture of each concept is kept, before and after; None for nowhere.
    """
    trainer, judge = setup.trainer, Judge(setup.trainer, setup.stream(STREAM), None)
    branches, states = _branches(setup), []
    for branch in branches:
        state: Any = None
        for concept in branch:
            state = method.learn(trainer, state, concept, training_seed(concept, seed))
        states.append(state)
    cell: dict[str, Any] = {"before": {}, "after": {}, "alone": {}, "drift": {}}
    weights: dict[str, Weights] = {}
    shown: list[NDArray[np.uint8]] = []
    for state, branch in zip(states, branches, strict=True):
        method.put(trainer, state, [concept.name for concept in branch])
        for concept in branch:
            weights[concept.name] = live_weights(setup)
            cell["before"][concept.name] = _scores(judge, concept, shown)
    state, concepts = united(states), [concept for branch in branches for concept in branch]
    method.put(trainer, state, [concept.name for concept in concepts])
    now = live_weights(setup)
    for concept in concepts:
        moments = prompt_moments(trainer.model.pipeline, fill_templates(judge.stream.templates, concept.phrase))
        cell["drift"][concept.name] = kv_drift(now, weights[concept.name], moments)
        cell["after"][concept.name] = _scores(judge, concept, shown)
    for concept in concepts if method.is_independent else ():
        method.put(trainer, state, [concept.name])
        cell["alone"][concept.name] = _scores(judge, concept, [])
    trainer.reset()
    if strip is not None:
        Image.fromarray(np.vstack([np.hstack(row) for row in (shown[: len(concepts)], shown[len(concepts) :])])).save(
            strip
        )
    return cell


def united(states: Sequence[Any]) -> Any:
    """Both branches' concepts in one state."""
    if isinstance(states[0], Adapted):
        parts = [(state.adapters, state.rows) for state in states]
        return Adapted(*({**one, **other} for one, other in zip(*parts, strict=True)))
    return [concept for state in states for concept in state]


def live_weights(setup: Setup) -> Weights:
    """Key and value matrices as they act now, active adapters included."""
    model, found = setup.trainer.model, {}
    with torch.no_grad():
        for name in model.base:
            layer = model.pipeline.unet.get_submodule(name.removesuffix(".weight"))
            active = getattr(layer, "active_adapters", ())
            found[name] = sum((layer.get_delta_weight(one) for one in active), start=layer.weight.clone()).cpu()
    return found


def _scores(judge: Judge, concept: Concept, shown: list[NDArray[np.uint8]]) -> dict[str, list[float]]:
    """Scores of a concept prompt by prompt, from the live model; its first picture goes into `shown`."""
    prompts = judge.stream.prompts(concept.phrase)
    images, references = judge.draw(prompts, judge.stream.seeds(len(prompts))), judge.references(concept)
    shown.append(images[0])
    per_image = {
        score: metrics.image_similarities(judge.encoders[name](images), references[name])
        for score, name in SCORES.items()
    }
    per_prompt = {score: found.reshape(-1, judge.stream.per_prompt).mean(1) for score, found in per_image.items()}
    return {score: np.round(found, 4).tolist() for score, found in per_prompt.items()}


def _branches(setup: Setup) -> list[list[Concept]]:
    """The first six of the reporting stream's first order, three and three."""
    first = setup.stream(STREAM).order(0, 2 * BRANCH)
    return [first[:BRANCH], first[BRANCH:]]


def _names(setup: Setup) -> list[list[str]]:
    return [[concept.name for concept in branch] for branch in _branches(setup)]


def sheet(setup: Setup, folder: Path) -> None:
    """Write the picture: one column a concept, the first prompt and seed of each."""
    concepts = [concept for branch in _branches(setup) for concept in branch]
    rows = [("what was shown", [Image.fromarray(concept.images.pixels[0]) for concept in concepts])]
    for method, labels in SHEET.items():
        strip = Image.open(folder / f"merge {method}.png").convert("RGB")
        side = strip.height // len(labels)
        for place, label in enumerate(labels):
            boxes = [(side * k, side * place, side * (k + 1), side * (place + 1)) for k in range(len(concepts))]
            rows += [(f"{method}: {label}", [strip.crop(box) for box in boxes])] if label else []
    contact_sheet(rows).save(PICTURE, optimize=True)


def report(found: Mapping[str, Sequence[Any]]) -> Report:
    """The tables of each method's cells."""
    rows: list[list[Cell]] = []
    figures: dict[str, Cell] = {}
    for name, cells in found.items():
        row, more = _summary(cells, "before", "after")
        rows.append([name, *row])
        figures |= {f"{name}: {what}": value for what, value in more.items()}
        if cells[0]["alone"]:
            rows.append([f"{name}: own adapter alone", *_summary(cells, "alone", "alone")[0][:-1], "0"])
    seeds = len(next(iter(found.values())))
    note = (
        f"Means over the six concepts and {plural(seeds, 'seed')} of the trainings, two images of each of ten judge "
        "prompts, the same seeds before and after. Drops are paired; intervals are Student's at 95 % over the prompts, "
        "and say nothing about other concepts. *Kept*: concepts that the gate calls kept (of "
        f"identity, at most {EMOJI_64.defaults.max_drop:g}, all six judged together), then forgot, then inconclusive. "
        "*K/V drift*: of keys and values on each concept's prompts, from its branch to the merge; adapters change "
        "queries and outputs too, which it does not see. *Own adapter alone*: only the adapter of the concept that is "
        "asked for is active, so that nothing is merged and nothing can be lost."
    )
    columns = [
        "method", "identity: branch", "merged", "drop", "CLIP-I: branch", "merged", "drop",
        "largest drop, identity", "kept, forgot, ?", "K/V drift",
    ]  # fmt: skip
    tables = [Table("Two branches of three concepts, merged", columns, rows, note), _by_concept(found)]
    return Report("merge", tables, ["python -m benchmarks merge"], figures)


def _summary(cells: Sequence[Any], before: str, after: str) -> tuple[list[Cell], dict[str, Cell]]:
    """One method: both scores with their drops over all concepts, and what the gate says."""
    names = list(cells[0][before])
    row: list[Cell] = []
    figures: dict[str, Cell] = {}
    for score in SCORES:
        sides = [np.hstack([_score(cells, side, name, score) for name in names]) for side in (before, after)]
        drop = gate.paired_drop(*sides)
        row += [*(f"{side.mean():.3f}" for side in sides), _shown(drop)]
        low, high = gate.studentised_interval(drop)
        figures |= {f"drop {score}": float(drop.mean()), f"low {score}": low, f"high {score}": high}
    drops = {name: _drop(cells, before, after, name, "identity") for name in names}
    verdicts = [one.outcome for one in gate.decide(drops, EMOJI_64.defaults.max_drop).values()]
    row += [
        f"{max(drop.mean() for drop in drops.values()):+.3f}",
        ", ".join(str(verdicts.count(one)) for one in gate.Outcome),
    ]
    drift = float(np.mean([cell["drift"][name] for cell in cells for name in names]))
    return [*row, f"{drift:.2g}"], figures | {"drift": drift}


def _by_concept(found: Mapping[str, Sequence[Any]]) -> Table:
    rows: list[list[Cell]] = []
    for name in next(iter(found.values()))[0]["before"]:
        for method, cells in found.items():
            row: list[Cell] = [name, method]
            for score in SCORES:
                row += [f"{_score(cells, side, name, score).mean():.3f}" for side in ("before", "after")]
                row.append(_shown(_drop(cells, "before", "after", name, score)))
            rows.append([*row, f"{np.mean([cell['drift'][name] for cell in cells]):.2g}"])
    columns = [
        "concept",
        "method",
        "identity: branch",
        "merged",
        "drop",
        "CLIP-I: branch",
        "merged",
        "drop",
        "K/V drift",
    ]
    note = "The first three concepts are one branch, the last three the other, each in the order of its teaching."
    return Table("Concept by concept", columns, rows, note)


def _score(cells: Sequence[Any], side: str, name: str, score: str) -> NDArray[np.float64]:
    """Scores of one concept, shape (P, seeds)."""
    return np.asarray([cell[side][name][score] for cell in cells]).T


def _drop(cells: Sequence[Any], before: str, after: str, name: str, score: str) -> NDArray[np.float64]:
    return gate.paired_drop(*(_score(cells, side, name, score) for side in (before, after)))


def _shown(drop: NDArray[np.float64]) -> str:
    low, high = gate.studentised_interval(drop)
    return f"{drop.mean():+.3f} ({low:+.3f} to {high:+.3f})"
