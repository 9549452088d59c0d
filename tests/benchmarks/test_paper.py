"""The paper's tables: the whole plan at its smallest on a tiny pipeline, and the figures of hand-made cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import left_out
from benchmarks.cells import Cells
from benchmarks.compared_methods import BY_NAME, DEFAULT, PEERS, ROWS
from benchmarks.experiment_setup import BASELINE, FULL, Setup
from benchmarks.figure3 import shared, single_concepts
from benchmarks.lineage_figures import first_concept_curve, gains_by_fifth, gains_over, largest_drops, lineage_figures
from benchmarks.paper import PARTS, Paper, experiment_of
from benchmarks.paper_stats import MISSING, best_and_below, is_below, marked, on_common_orders, shown
from benchmarks.paper_tables import REPORTS, reports
from benchmarks.singles import SAME_AS
from benchmarks.stream_tables import DENOISER_SIZE, KV_SIZE, energy_table
from benchmarks.tuning import MARGIN, criterion
from benchmarks.work import work
from cns.families import BARE_SHARE, COMPANY, FAMILIES
from cns.files.bases import describe_base, resolve_base


def row(identity: float, text: float = 0.5) -> dict[str, float]:
    return {"identity": identity, "clip_i": identity / 2, "clip_t": text}


def cell(**parts: Any) -> dict[str, Any]:
    """Two concepts: the first falls from 0.8 to 0.5, the second is learned at 0.9; nouns alone score 0.4."""
    made = {
        "base": [row(0.4), row(0.4)],
        "diagonal": [row(0.8), row(0.9)],
        "final": [row(0.5), row(0.9)],
        "first": [row(0.8), row(0.5)],
        "zero_shot": {"identity": 0.1, "clip": 0.2},
    }
    return {**made, **parts}


def test_figures_of_a_lineage() -> None:
    found = lineage_figures(cell())
    assert found["bwt identity"] == pytest.approx(-0.3)
    assert found["bwt clip_i"] == pytest.approx(-0.15)
    assert found["gain identity"] == pytest.approx((0.4 + 0.5) / 2)
    assert found["bwt identity / gain"] == pytest.approx(-0.3 / 0.45)
    assert found["bwt clip_i / gain"] == pytest.approx(-0.3 / 0.45)  # all scores of CLIP-I are half of identity's
    assert found["retention identity"] == pytest.approx((0.1 + 0.5) / (0.4 + 0.5))
    assert found["final identity"] == pytest.approx(0.7)


def test_what_the_weights_add_to_the_token_is_taken_place_by_place() -> None:
    token = cell(diagonal=[row(0.7), row(0.6)])
    assert gains_over(cell(), token, 1, 1) == pytest.approx(0.1)
    assert gains_over(cell(), token, 1, 2) == pytest.approx((0.1 + 0.3) / 2)


def test_cells_of_earlier_defaults_are_still_found() -> None:
    """Their keys hash the settings that they were made with, whatever the family's are now."""
    paper = Paper.of_size(FULL)
    wanted = {job.key for job in paper.plan("paper") if job}
    assert set(paper.stores["singles"].values) <= wanted
    assert set(paper.stores["stream"].values) <= wanted
    assert len(set(paper.stores["tuning"].values) - wanted) <= 1  # of a grid that was moved, see docs/benchmarks.md


def test_the_row_that_is_named_after_the_project_has_the_family_s_defaults() -> None:
    family = FAMILIES["emoji-64"]
    changed = {name: value for name, value in family.defaults.shared().items() if value != BASELINE[name]}
    assert changed.pop("batch_size") == 5, "every row of the tables, a peer's too, takes ten images a step"
    along = {"directions": family.directions, "lr": family.direction_lr} if family.directions else {}
    expected = {**changed, **along, "company": COMPANY, "bare_share": BARE_SHARE}
    assert {name: value for name, value in DEFAULT.items() if name != "reach"} == expected


def test_nothing_learned_is_no_share_of_a_gain() -> None:
    found = lineage_figures(cell(diagonal=[row(0.4), row(0.3)], first=[row(0.4), row(0.5)], final=[row(0.5), row(0.3)]))
    assert found["gain identity"] < 0
    assert not [key for key in found if "retention" in key or "/ gain" in key]


def test_the_first_concept_s_curve_is_a_share_of_its_gain() -> None:
    assert first_concept_curve([cell()], "identity") == [pytest.approx([1.0, 0.25])]


def test_energy_left_is_shown_where_a_projection_was_measured() -> None:
    figures = {"energy_left": [None, 0.5, 0.25]}
    measured = {order: cell(figures=figures) for order in range(3)}
    table = energy_table({"CNS": {0: cell(figures={})}, "CNS union, project": measured})
    assert table is not None
    assert table.columns == ["method", "2nd", "3rd"]
    assert table.rows == [["CNS union, project", "0.500 ± 0.000", "0.250 ± 0.000"]]
    assert energy_table({"CNS": {0: cell(figures={})}}) is None


def test_criterion_weighs_learning_and_memory_alike() -> None:
    assert criterion(cell()) == pytest.approx(np.mean([0.8, 0.9, 0.5, 0.9, *[0.5] * 4]))


def test_a_clear_loser_is_not_marked_and_a_near_one_is() -> None:
    rows = {"best": [0.9, 0.91, 0.92], "near": [0.91, 0.9, 0.91], "low": [0.5, 0.51, 0.52], "none": []}
    texts = marked({name: dict(enumerate(values)) for name, values in rows.items()})
    assert texts["best"].startswith("**0.910 ±")
    assert texts["near"].endswith("=")
    assert not texts["low"].endswith("=")
    assert texts["none"] == MISSING


def test_nobody_is_below_the_best_where_too_few_orders_tell() -> None:
    rows = {"best": {0: 0.9, 1: 0.91}, "low": {0: 0.5, 1: 0.51}}
    assert best_and_below(rows) is None
    assert best_and_below({name: {**row, 2: row[0]} for name, row in rows.items()}) == ("best", {"low"})


def test_rows_are_compared_on_the_orders_that_all_have() -> None:
    rows = {"all": {0: 0.5, 1: 0.6, 2: 0.7, 3: 9.0}, "half done": {2: 0.9, 1: 0.8, 0: 0.7}, "no cell": {}}
    common = on_common_orders(rows)
    assert common == {"all": {0: 0.5, 1: 0.6, 2: 0.7}, "half done": {0: 0.7, 1: 0.8, 2: 0.9}, "no cell": {}}
    texts = marked(common)
    assert texts["half done"] == "**0.800 ± 0.248**"
    assert texts["all"] == "0.600 ± 0.248"  # 0.2 below on each


def test_a_figure_that_an_order_lacks_is_missing_and_hinders_no_other_row() -> None:
    whole, better = {0: 0.5, 1: 0.6, 2: 0.7}, {0: 0.6, 1: 0.7, 2: 0.8}
    texts = marked({"whole": whole, "better": better, "without a share of its gain": {1: 0.99}})
    assert texts["better"].startswith("**0.700")
    assert texts["without a share of its gain"] == MISSING


def test_below_three_orders_nothing_is_marked() -> None:
    assert marked({"one": {0: 0.5, 1: 0.6}, "two": {0: 0.9, 1: 0.9}}) == {"one": "0.550", "two": "0.900"}


def test_where_it_was_learned_and_lost() -> None:
    falls = cell(diagonal=[row(0.8), row(0.9), row(0.7)], final=[row(0.5), row(0.85), row(0.7)], base=[row(0.4)] * 3)
    assert largest_drops(falls, "identity") == pytest.approx([0.3, 0.05])
    assert gains_by_fifth(falls, "identity")[:3] == pytest.approx([0.4, 0.5, 0.3])


def test_there_is_no_negative_zero() -> None:
    assert shown([-0.00001]) == "0.000"


def test_one_value_has_no_interval_and_proves_nothing() -> None:
    assert shown([0.5]) == "0.500"
    assert not is_below([0.1], [0.9])


def test_shared_neurons_are_counted_over_all_matrices() -> None:
    import torch

    base = {"a": torch.tensor([[True, True]]), "b": torch.tensor([[True, False]])}
    general = {"a": torch.tensor([[True, False]]), "b": torch.tensor([[True, True]])}
    assert shared(base, general) == pytest.approx(2 / 3)


def test_pictures_of_one_concept_are_scored_as_of_both(setup: Setup) -> None:
    (pair,) = left_out.measure(setup)
    assert len({scores["identity"] for scores in pair.values()}) == 3
    (table,) = left_out.report([pair]).tables
    assert [row[0] for row in table.rows] == ["both, side by side", "both, with regions", "one of them alone"]
    assert all(-1 <= float(value) <= 1 for row in table.rows for value in row[1:])


def test_singles_hold_new_classes_too() -> None:
    known = [concept.known for concept in single_concepts(Setup(FULL))]
    assert len(known) == 5
    assert known.count(False) == 1


def test_sizes_are_the_embedded_base_s() -> None:
    facts = describe_base(resolve_base("emoji-64"))
    shapes = [matrix["shape"] for matrix in facts.matrices.values()]
    assert sum(rows * columns for rows, columns in shapes) == KV_SIZE
    assert DENOISER_SIZE > KV_SIZE


def test_every_peer_gets_the_same_budget() -> None:
    tried = {peer.name: [len(peer.first), *(len(peer.then(best, 10)) for best in peer.first)] for peer in PEERS}
    assert tried.pop("C-LoRA") == [3, 4, 3, 4]  # a rate at an end asks for one beyond it
    assert tried.pop("LoRA each, merged") == [4, 0, 0, 0, 0]
    assert set(map(tuple, tried.values())) == {(3, 2, 1, 2)}


def test_a_rate_at_the_end_asks_for_one_beyond() -> None:
    (peer,) = (peer for peer in PEERS if peer.name == "custom diffusion")
    low, _middle, high = ({**settings, "steps": 10} for settings in peer.first)
    assert peer.then(low, 10) == [{"lr": 2e-4, "steps": 20}, {"lr": 7e-5, "steps": 10}]
    assert peer.then(high, 10)[1] == {"lr": 6e-3, "steps": 10}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_waits_for_nothing_that_it_does_not_compute(part: str) -> None:
    jobs = Paper.of_size(FULL, keeps=False).plan(part)
    assert {experiment_of(job) for job in jobs if job} <= set(PARTS[part])
    assert None not in jobs or "tuning" in PARTS[part]


def scored(paper: Paper, name: str, scores: Sequence[float]) -> None:
    """Finish the first cells of a method with these criteria, and later ones, if there are any, with a bad one."""
    found = paper.stores["tuning"].values
    for score in (*scores, *[0.0] * 9):
        job = next((job for job in paper.tuning.plan(0, [BY_NAME[name]]) if job and job.key not in found), None)
        if job is not None:
            found[job.key] = cell(diagonal=[row(score, score)], final=[row(score, score)])


def tuned() -> Paper:
    return Paper(Setup(FULL), {name: Cells(None) for name in PARTS["paper"]}, keeps=False)


def test_the_default_strength_stays_unless_another_is_better_by_the_margin() -> None:
    near, far = tuned(), tuned()
    scored(near, "CNS union, project", [0.8 + MARGIN / 2, 0.8, 0.8, 0.7])
    scored(far, "CNS union, project", [0.8 + 2 * MARGIN, 0.8, 0.8, 0.7])
    chosen = [paper.tuning.chosen("CNS union, project") for paper in (near, far)]
    assert [settings and settings["reg_strength"] for settings in chosen] == [10.0, 0.1]


def test_twice_the_steps_must_be_better_by_the_margin() -> None:
    near, far = tuned(), tuned()
    scored(near, "custom diffusion", [0.7, 0.8, 0.7, 0.8 + MARGIN / 2])
    scored(far, "custom diffusion", [0.7, 0.8, 0.7, 0.8 + 2 * MARGIN])
    chosen = [paper.tuning.chosen("custom diffusion") for paper in (near, far)]
    assert [settings and settings["steps"] for settings in chosen] == [130, 260]


def test_merging_waits_for_the_adapters_that_it_merges() -> None:
    rows = ("LoRA each, set_adapters", "LoRA each, merged")
    stores = {name: Cells(None) for name in PARTS["paper"]}
    paper = Paper(Setup(FULL), stores, keeps=False, rows=rows)
    for _round in range(4):  # each round's choice makes the next one known
        stores["tuning"].values.update({job.key: cell() for job in paper.plan("tuning") if job})
    each, merged, *_ = (job for job in paper.plan("stream") if job is None or job.name.startswith("stream"))
    assert each is not None
    assert merged is None
    stores["stream"].values[each.key] = cell()
    jobs = [job.name for job in paper.plan("stream") if job]
    assert "stream 0: LoRA each, merged" in jobs


def test_tables_of_no_cell_say_that_all_is_missing() -> None:
    paper = Paper.of_size(FULL, keeps=False)
    (report,) = reports(paper, "singles")
    assert [line[1] for line in report.tables[0].rows] == [MISSING] * len(ROWS)


@pytest.mark.slow
def test_a_plan_runs_to_its_end_and_fills_its_rows(setup: Setup, tmp_path: Path) -> None:
    rows = ("CNS", "textual inversion", "LoRA each, set_adapters", "LoRA each, merged")
    stores = {name: Cells(tmp_path / f"{name}.json") for name in PARTS["paper"]}
    paper = Paper(setup, stores, keeps=False, rows=rows)
    assert work(lambda: paper.plan("paper"), paper.store)
    made = {name: REPORTS[name](paper) for name in REPORTS}
    for table in (made["singles"].tables[0], made["stream"].tables[0]):
        assert {line[0] for line in table.rows if MISSING not in line[:2]} - set(SAME_AS) == set(rows)
    assert all(experiment_of(job) in stores for job in paper.plan("paper") if job)
    in_tables = [line[0] for line in made["frontier"].tables[0].rows if line[-1]]
    assert in_tables == ["CNS union, no L_reg", *rows[1:]]
    chosen = paper.tuning.chosen("textual inversion")
    assert chosen is not None
    assert chosen["lr"] in (7e-4, 2e-3, 6e-3, 2e-2, 6e-2)
    before = {name: dict(cells.values) for name, cells in stores.items()}
    assert work(lambda: paper.plan("paper"), paper.store)  # nothing is computed twice
    assert {name: cells.values for name, cells in stores.items()} == before
