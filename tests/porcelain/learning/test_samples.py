"""`cns add --samples N`: pictures of a concept while it is trained, which change nothing of it."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from cns.validation import validation_steps
from cns_cli.mark import MADE_BY_MODEL, XMP_OF_PNG
from cns_cli.porcelain.add import add_concept
from cns_cli.porcelain.options import AddOptions
from cns_cli.porcelain.show import preview, show
from cns_cli.progress import NullProgress
from registry.errors import NothingToDo
from tests.porcelain.conftest import NOON, add


class Notes(NullProgress):
    def __init__(self, stop_at=None):
        self.notes, self.stop_at = [], stop_at

    def note(self, text):
        self.notes.append(text)

    def step(self, done, **numbers):
        if "penalty" in numbers and done == self.stop_at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("compose", ["learned", "named"])
def test_each_sheet_is_written_and_recorded(request, compose, photos):
    folder = request.getfixturevalue(compose)
    drawn = add(folder, "pin", photos["mug"], class_noun="cup", steps=4, samples=2, lr=0.1, time=NOON + 500)
    sheets = folder / ".cns" / "previews"
    assert drawn.samples == sheets / "pin-steps.png"
    assert sorted(path.name for path in (sheets / "pin-steps").iterdir()) == ["00002.png", "00004.png"]
    shown = show(folder, "HEAD")
    assert set(shown.previews) == {"sheet", "step-00002", "step-00004"}
    rows = [Image.open(BytesIO(preview(folder, "HEAD", f"step-{step}"))) for step in ("00002", "00004")]
    assert rows[0].size == rows[1].size
    assert rows[0].tobytes() != rows[1].tobytes()
    with Image.open(drawn.samples) as sheet:
        assert sheet.height > rows[0].height
        assert all(MADE_BY_MODEL in one.info[XMP_OF_PNG] for one in (sheet, *rows))
    assert preview(folder, "HEAD") == preview(folder, "HEAD", "sheet")


@pytest.mark.parametrize("compose", ["learned", "named"])
def test_the_same_training_has_the_same_bits_with_pictures_and_without(request, compose, photos):
    folder = request.getfixturevalue(compose)
    add(folder, "pin", photos["mug"], class_noun="cup", steps=4, time=NOON + 500)
    with pytest.raises(NothingToDo):  # the tree stays what it was, bit for bit
        add(folder, "pin", photos["mug"], class_noun="cup", steps=4, samples=1, replace=True, time=NOON + 600)


def test_resumed_it_has_the_pictures_of_before(empty, photos):
    request = {"start": empty, "author": "ann", "time": NOON}
    options = AddOptions(
        name="rex", images=photos["rex"], class_noun="dog", steps=4, score="wanda", samples=1, **request
    )
    notes = Notes(stop_at=3)
    with pytest.raises(KeyboardInterrupt):
        add_concept(options, notes)
    assert [note for note in notes.notes if note.startswith("samples every 1 steps:")]
    add_concept(AddOptions(name="", images=type(empty)(), resume=True, **request), NullProgress())
    assert [name for name in sorted(show(empty).previews) if name != "sheet"] == [f"step-0000{n}" for n in (1, 2, 3, 4)]
    add(empty, "rex", photos["tom"], steps=2, samples=2, replace=True, time=NOON + 60)
    assert set(show(empty).previews) == {"sheet", "step-00002"}  # those of another training are gone


def test_too_few_steps_for_a_picture_are_said(empty, photos):
    result = add(empty, "rex", photos["rex"], samples=3)
    assert result.samples is None
    assert any(warning.startswith("--samples 3 has no effect") for warning in result.warnings)


def test_validation_losses_are_recorded_at_their_steps(empty, photos):
    result = add(empty, "rex", photos["rex"], steps=3, hold_out=1)
    shown, losses = show(empty), show(empty).losses
    assert losses.series_steps == result.series_steps == {"validation_loss": validation_steps(3)}
    assert losses.series["validation_loss"] == result.series["validation_loss"]
    assert shown.record["params"]["hold_out"] == 1
