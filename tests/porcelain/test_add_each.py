"""`cns add --each`: a concept a folder, one after another, whatever becomes of one of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from cns.errors import ImageError
from cns_cli.main import app
from cns_cli.porcelain.add_each import add_each, concept_folders, concept_name
from cns_cli.porcelain.answers import EachResult
from cns_cli.porcelain.options import AddOptions
from cns_cli.progress import NullProgress
from cns_cli.signals import Interrupted
from registry.repository import Repository
from tests.porcelain.conftest import NOON, add, write_photos
from tests.porcelain.learning.test_resume import Stop


@pytest.fixture
def folders(photos: dict[str, Path], tmp_path: Path) -> Path:
    """Three folders of pictures; the second has one that cannot be read. Beside them what is no concept."""
    root = tmp_path / "photos"
    for name, source in (("rex", "rex"), ("tom", "tom"), ("10_sks mug", "mug")):
        shutil.copytree(photos[source], root / name)
    (root / "tom" / "9.png").write_bytes(b"no picture")
    for name in ("rex-masks", "notes"):
        (root / name).mkdir()
    Image.new("L", (90, 80), 255).save(root / "rex-masks" / "0.png")
    write_photos(root / ".hidden", 1, count=1)
    return root


def teach(registry: Path, folder: Path, progress: Any = None, **changes: Any) -> EachResult:
    settings: dict[str, Any] = {"class_noun": "dog", "steps": 2, "score": "wanda", "author": "ann", "time": NOON}
    options = AddOptions(start=registry, name="", images=Path(), **{**settings, **changes})
    return add_each(options, folder, progress or NullProgress())


def outcomes(result: EachResult) -> dict[str, str]:
    return {row.name: row.outcome for row in result.rows}


def concepts(registry: Path) -> list[str]:
    return sorted(Repository(registry).tree_of("HEAD").concepts)


def test_one_that_fails_stops_no_other_and_the_next_run_does_what_is_left(empty, folders):
    first = teach(empty, folders)
    assert outcomes(first) == {"mug": "added", "rex": "added", "tom": "failed"}
    failed = first.rows[-1]
    assert "9.png: no image" in failed.why
    assert failed.code == 5
    assert first.rows[0].images == 3
    assert concepts(empty) == ["mug", "rex"]
    assert [row.commit is not None for row in first.rows] == [True, True, False]
    (folders / "tom" / "9.png").unlink()
    second = teach(empty, folders)
    assert outcomes(second) == {"mug": "skipped", "rex": "skipped", "tom": "added"}
    assert [commit.kind for _, commit in Repository(empty).log()] == ["add", "add", "add", "init"]


def test_a_dry_run_shows_the_plan_and_writes_nothing(empty, folders):
    add(empty, "rex", folders / "rex")
    shutil.copy(folders / "rex" / "0.png", folders)
    head = Repository(empty).head().commit
    result = teach(empty, folders, dry_run=True)
    assert outcomes(result) == {"mug": "planned", "rex": "skipped", "tom": "failed"}
    plan = result.rows[0]
    assert (plan.class_noun, plan.images, plan.captions) == ("dog", 3, "0 of 3")
    assert plan.seconds > 0
    loose = f"the images in {folders} itself are left out: a concept's lie in a folder of its own"
    assert result.left == (loose, "left out, without an image: notes")
    assert Repository(empty).head().commit == head


def test_an_interruption_names_the_command_that_goes_on_and_does(empty, folders):
    shutil.rmtree(folders / "tom")
    with pytest.raises(Interrupted) as stopped:
        teach(empty, folders, Stop("finetuning", 3), steps=4)
    assert stopped.value.hint.startswith(f"cns add --each {folders} --class dog --steps 4")
    assert "step" in stopped.value.message
    progress = Stop()
    assert outcomes(teach(empty, folders, progress, steps=4)) == {"mug": "added", "rex": "added"}
    assert concepts(empty) == ["mug", "rex"]


@pytest.mark.parametrize(
    ("folder", "name"),
    [("rex", "rex"), ("My Dog (2)", "My-Dog-2"), ("10_rex dog", "rex"), ("10_sks teddy bear", "teddy-bear"),
     ("Müller", "Muller"), ("猫", ""), ("a.b", "a-b"), ("x" * 80, "x" * 64)],
)  # fmt: skip
def test_a_concept_is_named_after_its_folder(folder: str, name: str) -> None:
    assert concept_name(folder) == name


def test_two_folders_of_one_name_and_a_name_of_no_letter_are_refused(empty, photos, tmp_path):
    for name in ("a b", "a-b", "猫"):
        shutil.copytree(photos["rex"], tmp_path / "all" / name)
    result = teach(empty, tmp_path / "all", dry_run=True)
    assert [row.outcome for row in result.rows] == ["planned", "failed", "failed"]
    assert "a b has this name, too" in result.rows[1].why
    assert result.rows[2].code


def test_a_folder_of_pictures_alone_is_refused(photos):
    with pytest.raises(ImageError, match="no folder with images") as caught:
        concept_folders(photos["rex"])
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(f"cns add NAME {photos['rex']}")


def test_the_command_line_sums_up_and_ends_with_the_failures_code(empty, folders, monkeypatch):
    monkeypatch.chdir(empty)
    words = ["add", "--each", str(folders), "--class", "dog", "--steps", "2", "--score", "wanda"]
    done = CliRunner().invoke(app, words, prog_name="cns")
    assert done.exit_code == 5
    assert done.stdout.startswith("2 concepts of 3 taught from ")
    assert "  mug   dog          3  0 of 3" in done.stdout
    assert "warning: left out, without an image: notes\n" in done.stderr
    assert "\ntom failed: 1 of 4 images in " in done.stdout
    assert f"  next: cns add --each {folders} --class dog" in done.stderr
    done = CliRunner().invoke(app, [*words, "--json"], prog_name="cns")
    assert [row["outcome"] for row in json.loads(done.stdout)["rows"]] == ["skipped", "skipped", "failed"]
    for more in (["rex"], ["--token", "<rex>"], ["--resume"]):
        assert CliRunner().invoke(app, [*words, *more], prog_name="cns").exit_code == 2


def test_masks_in_a_folder_beside_count(empty, folders):
    shutil.rmtree(folders / "tom")
    shutil.rmtree(folders / "rex-masks")
    (folders / "masks" / "rex").mkdir(parents=True)
    Image.new("L", (90, 80), 255).save(folders / "masks" / "rex" / "0.png")
    assert [row.masks for row in teach(empty, folders, dry_run=True).rows] == ["", "1 of 3, from the folder masks/rex"]
