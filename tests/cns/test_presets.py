"""Presets: what each row makes of every family's defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from cns.families import FAMILIES, Family
from cns.presets import BALANCED, PRESETS, Measured, PresetName

ROOT = Path(__file__).resolve().parents[2]


def test_every_name_that_can_be_typed_has_a_row() -> None:
    assert tuple(PRESETS) == get_args(PresetName)


def test_what_a_row_costs_and_gains_is_what_the_benchmark_found() -> None:
    cells = json.loads((ROOT / "docs/benchmarks/presets_cells.json").read_text(encoding="utf-8"))
    found = {key.split(" ")[0]: cell for key, cell in cells.items()}
    for name, preset in PRESETS.items():
        time = round(found[name]["seconds"] / found[BALANCED]["seconds"], 1)
        expected = Measured(time, round(found[name]["gain"], 3), round(found[name]["drop"], 3))
        assert preset.measured == expected, name


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_balanced_is_the_defaults_bit_for_bit(family: Family) -> None:
    assert PRESETS[BALANCED].of(family) == family


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_the_rows_go_from_few_steps_to_many(family: Family) -> None:
    fast, balanced, thorough = (preset.of(family).defaults for preset in PRESETS.values())
    assert fast.steps < balanced.steps < thorough.steps
    assert fast.warmup_steps < balanced.warmup_steps <= thorough.warmup_steps
