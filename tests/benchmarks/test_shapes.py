"""Bases at the shapes that people use: what the pages say of them, and the table of what an add needs."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import real_shapes, shapes
from cns.families import SD_1
from tests import tiny

# name -> matrices, their width, their weights, the denoiser's, and the share that a concept may change, in percent
HOLDS = {
    "Stable Diffusion 1.5": (32, 768, 19_169_280, 859_520_964, 5.8),
    "Stable Diffusion 2.1": (32, 1024, 25_559_040, 865_910_724, 4.4),
    "Stable Diffusion XL": (140, 2048, 340_787_200, 2_567_463_684, 1.0),
    "PixArt-Sigma": (56, 1152, 74_317_824, 610_856_096, 1.1),
    "Sana 0.6 B": (56, 1152, 74_317_824, 591_747_872, 1.0),
    "Sana 1.6 B": (40, 2240, 200_704_000, 1_604_462_752, 1.0),
}


@pytest.mark.parametrize("name", HOLDS)
def test_a_base_at_its_real_shapes_has_the_matrices_that_the_pages_say(name: str) -> None:
    base = real_shapes.imagined(name)
    kv, denoiser = base.model.kv_size, base.model.denoiser_size
    widths = {one.shape[1] for one in base.model.base.values()}
    budget = 100 * base.family.defaults.budget(kv, denoiser) / kv
    assert (len(base.model.base), *widths, kv, denoiser, round(budget, 1)) == HOLDS[name]


def test_the_table_has_a_row_for_each_base(monkeypatch: pytest.MonkeyPatch) -> None:
    text = {"hidden_size": tiny.WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2}
    small = (SD_1, lambda: real_shapes.plain(tiny._unet("sd-1"), text))
    monkeypatch.setattr(real_shapes, "BASES", {"small": small})
    monkeypatch.setattr(shapes, "BASES", {"small": small})
    report = shapes.run(quick=True)
    assert [row[0] for table in report.tables for row in table.rows] == ["small"] * 2
    figures: Any = report.figures
    assert 0 < figures["small K/V"] < figures["small denoiser"]
    assert figures["small float32 steps"] == figures["small bfloat16 steps"] > 0
    assert figures["small bfloat16 memory"] < figures["small float32 memory"]
