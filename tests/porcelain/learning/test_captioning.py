"""What `cns add` takes of captions: how they are trained, what is said of them, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cns import codec
from cns.errors import ClassNounError, SettingsError
from cns_cli.porcelain.add import add_concept
from cns_cli.porcelain.answers import AddResult, DryRun
from cns_cli.porcelain.options import AddOptions
from cns_cli.progress import NullProgress
from registry.objects import Blob, Concept, References
from registry.repository import Repository
from tests.porcelain.conftest import add

PLACES = ("in the snow", "on the grass", "on the beach")
A_CAT = "3 of 3 captions call it a cat, and it is learned as a dog: one of the two is wrong"


class Notes(NullProgress):
    """Remembers what was said while it worked."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def folder(photos: Path, target: Path, caption: str) -> Path:
    """The photos in a new folder, with captions beside them."""
    shutil.copytree(photos, target)
    for number, place in enumerate(PLACES):
        (target / f"{number}.txt").write_text(caption.format(place))
    return target


def tried(registry: Path, images: Path, progress: NullProgress | None = None, **changes: Any) -> DryRun | AddResult:
    settings: dict[str, Any] = {"class_noun": "dog", "dry_run": True, "name": "ann"}
    return add_concept(AddOptions(start=registry, images=images, **{**settings, **changes}), progress or NullProgress())


def stored_captions(registry: Path, name: str) -> tuple[str | None, ...]:
    repo = Repository(registry)
    get = repo.objects.get
    concept = get(repo.tree_of(repo.head().commit).concepts[name], Concept)
    return get(concept.references, References).captions


@pytest.mark.parametrize("caption", ["a sks dog {}", "ann the dog {}", "a <new1> dog {}", "a dog named [name] {}"])
def test_a_dry_run_shows_prompts_as_trained(
    caption: str, learned: Path, photos: dict[str, Path], tmp_path: Path
) -> None:
    result = tried(learned, folder(photos["mug"], tmp_path / "mug", caption))
    assert isinstance(result, DryRun)
    assert {prompt.removeprefix("a ") for prompt in result.prompts} == {f"<ann> dog {place}" for place in PLACES}
    assert result.captions == "3 of 3, from .txt files; 3 call it otherwise and are read as <ann> dog"


def test_captions_are_stored_as_trained_and_what_was_taken_is_said_before_the_training(
    learned: Path, photos: dict[str, Path], tmp_path: Path
) -> None:
    images = folder(photos["mug"], tmp_path / "10_zxc dog", "a zxc dog beside a <rex> dog {}")
    (images / "2.txt").unlink()
    (images / "notes.txt").write_text("x")
    notes = Notes()
    result = add_concept(AddOptions(start=learned, name="ann", images=images, steps=2, score="wanda", warmup=1), notes)
    assert isinstance(result, AddResult)
    assert stored_captions(learned, "ann")[:2] == tuple(
        f"a {{name}} dog beside a <rex> dog {one}" for one in PLACES[:2]
    )
    assert result.class_noun == "dog"
    assert result.captions.startswith("2 of 3, from .txt files; 2 call it otherwise")
    assert notes.said[0].startswith("10_ in the folder's name, kohya's repeats, ")
    assert notes.said[1] == f"captions: {result.captions}"
    assert "warning: captions: notes.txt belongs to no picture" in notes.said
    assert result.noticed == result.warnings[: len(result.noticed)]


def test_captions_that_are_cut_are_counted(learned: Path, photos: dict[str, Path], tmp_path: Path) -> None:
    images = folder(photos["mug"], tmp_path / "mug", "a {{name}} dog {}")
    (images / "1.txt").write_text("a {name} dog " + "very " * 60 + "in the snow")
    assert tried(learned, images).captions == "3 of 3, from .txt files; 1 cut at 22 tokens"


def test_a_vector_behind_the_cut_is_refused_and_one_before_it_is_trained(
    learned: Path, photos: dict[str, Path], tmp_path: Path
) -> None:
    before = "a photo of a small old white house by the garden and a {{name}} dog {}"
    images = folder(photos["mug"], tmp_path / "mug", before)
    head = Repository(learned).head()
    with pytest.raises(SettingsError, match="of the 12 vectors of <mug> stand beyond the 24 tokens"):
        add(learned, "mug", images, vectors=12)
    assert Repository(learned).head() == head
    add(learned, "mug", images, vectors=4, warmup=3)
    repo = Repository(learned)
    concept = repo.objects.get(repo.tree_of(repo.head().commit).concepts["mug"], Concept)
    rows = codec.decode_rows(repo.objects.get(concept.embedding, Blob).data, concept.tokens)
    assert len(np.unique(np.stack(list(rows.values())), axis=0)) == 4  # all began alike, and each was trained


def test_captions_that_leave_the_place_to_a_guess_are_warned_of(
    learned: Path, photos: dict[str, Path], tmp_path: Path
) -> None:
    result = tried(learned, folder(photos["mug"], tmp_path / "mug", "sitting {}"))
    assert any("3 of 3 captions do not say where ann is" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("caption", "noun", "said"),
    [
        ("a {{name}} cat {}", "dog", A_CAT),
        ("a sks cat {}", "dog", A_CAT),
        ("a {{name}} dog beside a cat {}", "dog", ""),
        ("a {{name}} cat toy {}", "cat toy", ""),
        ("a {{name}} in a car {}", "dog", ""),
    ],
)
def test_captions_that_call_it_another_thing_than_its_class_are_warned_of(
    caption: str, noun: str, said: str, learned: Path, photos: dict[str, Path], tmp_path: Path
) -> None:
    result = tried(learned, folder(photos["mug"], tmp_path / "mug", caption), class_noun=noun)
    assert "".join(one for one in result.warnings if "learned as" in one) == said


def test_a_name_that_a_branch_has_is_warned_of(learned: Path, photos: dict[str, Path]) -> None:
    warnings = tried(learned, photos["mug"], name="main").warnings
    assert "main is a branch, too: as a revision, main means the branch; concept:main the concept" in warnings


def test_a_class_noun_is_cleaned_and_one_that_is_unknown_is_warned_of(learned: Path, photos: dict[str, Path]) -> None:
    assert tried(learned, photos["mug"], class_noun=" a  dog ").prompts[0] == "a <ann> dog"
    unknown = tried(learned, photos["mug"], class_noun="hamstre").warnings
    assert any("does not know the word 'hamstre'" in warning and "hamster" in warning for warning in unknown)
    assert not any(
        "does not know" in warning for warning in tried(learned, photos["mug"], class_noun="guide dog").warnings
    )
    with pytest.raises(ClassNounError, match="expected a word or two"):
        tried(learned, photos["mug"], class_noun="dog, sitting")
