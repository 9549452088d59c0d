"""`cns add` with masks: said, recorded, stored, learned with again, and resumed with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cns import codec
from cns.errors import MethodError
from cns_cli.porcelain.add import add_concept
from cns_cli.porcelain.answers import DryRun
from cns_cli.porcelain.options import AddOptions, Request
from cns_cli.porcelain.verify import verify
from cns_cli.porcelain.views.provenance import show_provenance
from cns_cli.progress import NullProgress
from registry.errors import NothingToDo
from registry.objects import Blob, Concept, References
from registry.repository import Repository
from tests.porcelain.conftest import NOON, add
from tests.porcelain.learning.test_resume import Stop, interrupt, resume


@pytest.fixture
def masked(photos: dict[str, Path], tmp_path: Path) -> Path:
    """Three pictures, two with a mask."""
    folder = tmp_path / "masked" / "rex"
    shutil.copytree(photos["rex"], folder)
    for number in (0, 1):
        write_mask(folder, number)
    return folder


def write_mask(folder: Path, number: int, rows: int = 40) -> None:
    grey = np.zeros((80, 90), np.uint8)
    grey[:rows] = 255
    Image.fromarray(grey).save(folder / f"{number}-masklabel.png")


def stored(registry: Path) -> Concept:
    repo = Repository(registry)
    return repo.concepts(repo.tree_of("HEAD"))["rex"]


def go_on(registry: Path, images: Path, **changes: Any) -> Any:
    return add(registry, "rex", images, class_noun=None, score=None, continues=True, time=NOON + 300, **changes)


def row(registry: Path) -> Any:
    return next(one for one in show_provenance(registry, "rex").rows if one.name == "image_masks")


def test_masks_are_said_recorded_and_stored_and_the_concept_is_another(empty, masked):
    plain = add(empty, "rex", masked, masks=False)
    without = stored(empty)
    assert (plain.masks, row(empty).value) == ("", "none")
    assert set(without.recipe) == {"templates", "captions"}
    result = add(empty, "rex", masked, replace=True)
    assert result.masks == "2 of 3, from -masklabel.png files"
    concept, repo = stored(empty), Repository(empty)
    assert concept.delta != without.delta
    assert concept.recipe["image_masks"]
    blob = repo.objects.get(repo.objects.get(concept.references, References).images or "", Blob).data
    _, masks = codec.decode_masked_images(blob)
    assert masks is not None
    assert masks.reshape(3, -1).mean(1).tolist() == [127.5, 127.5, 255]
    assert (row(empty).value, row(empty).whose) == ("2 of 3 images", "standard")


def test_what_was_learned_with_masks_is_learned_again_with_them(empty, masked):
    add(empty, "rex", masked)
    (again,) = verify(Request(start=empty, author="ann", time=NOON), "rex", None, NullProgress(), "cpu").concepts
    assert (again.outcome, again.parts) == ("identical", ())


def kept_masks(registry: Path) -> list[float]:
    """Mean of each stored mask."""
    repo = Repository(registry)
    blob = repo.objects.get(repo.objects.get(stored(registry).references, References).images or "", Blob).data
    _, masks = codec.decode_masked_images(blob)
    assert masks is not None
    return masks.reshape(len(masks), -1).mean(1).tolist()


def test_more_pictures_keep_the_earlier_masks_and_bring_their_own(empty, masked, photos, tmp_path):
    add(empty, "rex", masked)
    more = shutil.copytree(photos["tom"], tmp_path / "more" / "rex")
    bare = go_on(empty, more)
    assert bare.masks == "2 of 6, from the earlier training"
    assert row(empty).value == "2 of 6 images"
    write_mask(more, 2, rows=20)
    again = go_on(empty, more)  # the pictures that it has, and a mask for one
    assert (again.images, again.masks) == (6, "3 of 6, from -masklabel.png files and the earlier training")
    assert kept_masks(empty) == [127.5, 127.5, 255, 255, 255, 63.75]
    again = verify(Request(start=empty, author="ann", time=NOON), "rex", None, NullProgress(), "cpu").concepts[0]
    assert (again.outcome, again.parts) == ("identical", ())


def test_a_mask_for_a_picture_that_had_none_or_another_is_taken(empty, masked, photos, tmp_path):
    add(empty, "rex", photos["rex"])
    assert row(empty).value == "none"
    go_on(empty, masked)
    assert kept_masks(empty) == [127.5, 127.5, 255]
    write_mask(masked, 0, rows=20)
    result = go_on(empty, masked)
    assert (result.images, result.masks) == (3, "2 of 3, from -masklabel.png files")
    assert kept_masks(empty) == [63.75, 127.5, 255]


def test_interrupted_while_it_goes_on_it_ends_with_the_same_masks(empty, masked, photos, tmp_path):
    add(empty, "rex", photos["rex"])
    whole = shutil.copytree(empty, tmp_path / "whole")
    go_on(whole, masked, steps=4)
    interrupt(empty, masked, "finetuning", 2, class_noun=None, score=None, continues=True, time=NOON + 300)
    write_mask(masked, 0, rows=30)
    with pytest.raises(MethodError, match=r"masks 0\.png is .*, and was "):
        resume(empty)
    write_mask(masked, 0)
    resume(empty)
    assert (stored(empty).delta, stored(empty).recipe) == (stored(whole).delta, stored(whole).recipe)


def test_an_interrupted_training_goes_on_with_its_masks_and_with_no_others(empty, masked):
    interrupt(empty, masked, "finetuning", 2)
    write_mask(masked, 0, rows=30)
    with pytest.raises(MethodError, match=r"masks 0\.png is .*, and was ") as caught:
        resume(empty)
    assert caught.value.hint is not None
    write_mask(masked, 0)
    progress = Stop()
    resume(empty, progress)
    assert "masks: 2 of 3, from -masklabel.png files" in progress.notes
    with pytest.raises(NothingToDo):  # whoever is not interrupted learns the same bits
        add(empty, "rex", masked, steps=4, replace=True)


def test_without_masks_is_typed_again_and_kept_by_a_resume(empty, masked):
    stop = interrupt(empty, masked, "finetuning", 2, masks=False)
    assert "--resume" in str(stop.hint)
    assert resume(empty).masks == ""


def test_a_dry_run_says_what_masks_it_would_take(empty, masked):
    options = AddOptions(start=empty, name="rex", images=masked, class_noun="dog", dry_run=True)
    result = add_concept(options, NullProgress())
    assert isinstance(result, DryRun)
    assert result.masks == "2 of 3, from -masklabel.png files"
