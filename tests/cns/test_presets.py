"""Presets: what each row makes of every family's defaults."""

from __future__ import annotations

from typing import get_args

import pytest

from cns.families import FAMILIES
from cns.presets import BALANCED, PRESETS, PresetName


def test_every_name_that_can_be_typed_has_a_row() -> None:
    assert tuple(PRESETS) == get_args(PresetName)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_balanced_is_the_defaults_bit_for_bit(family) -> None:
    assert PRESETS[BALANCED].of(family) == family


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_the_rows_go_from_few_steps_to_many(family) -> None:
    fast, balanced, thorough = (preset.of(family).defaults for preset in PRESETS.values())
    assert fast.steps < balanced.steps < thorough.steps
    assert fast.warmup_steps < balanced.warmup_steps <= thorough.warmup_steps
