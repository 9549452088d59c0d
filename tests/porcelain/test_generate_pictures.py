"""Pictures that say how they were made, sheets, regions and journeys: `cns generate` on tiny random bases."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cns_cli.main import app
from cns_cli.porcelain.answers import GenerateResult
from cns_cli.porcelain.check import check
from cns_cli.porcelain.generate import generate
from cns_cli.porcelain.options import CheckOptions, GenerateOptions
from cns_cli.porcelain.pictures.files import encode_picture, read_picture, show_picture
from cns_cli.porcelain.pictures.plan import MAX_COLUMNS, MAX_STOPS, plan_of
from cns_cli.porcelain.pictures.record import NoRecord, PictureRecord
from cns_cli.porcelain.pictures.words import read_without, tokens_in, without_concepts
from cns_cli.progress import NullProgress
from registry.errors import RegistryError, UnknownConcept, UnknownRevision
from registry.objects import Blob, Record
from registry.repository import Repository
from registry.trees import with_concept, without_concept

PROMPT = "a <rex> dog and a <tom> cat on the grass"


def make(folder: Path, out: Path, prompt: str = PROMPT, **changes: Any) -> GenerateResult:
    settings: dict[str, Any] = {"steps": 2, **changes}
    return generate(GenerateOptions(start=folder, prompt=prompt, out=out, **settings), NullProgress())


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_two_concepts_in_a_prompt_are_told_how_pairs_of_them_look(learned: Path, tmp_path: Path) -> None:
    """First that it was not measured and how to; then the scores; and always a place for each."""
    places = "--region rex@0,0.2,0.5,0.95 --region tom@0.5,0.2,1,0.95"
    (said,) = [line for line in make(learned, tmp_path / "a.png").warnings if "in one prompt" in line]
    command = "cns check --metric pair --concept rex --concept tom"
    assert said.endswith(f"not measured here ({command}). A place for each: {places}")
    asked: dict[str, Any] = {"metrics": ("pair", "id"), "images": 1, "max_drop": {"": 2.0}}
    rex, tom = check(CheckOptions(start=learned, concepts=("rex", "tom"), **asked)).rows
    (said,) = [line for line in make(learned, tmp_path / "b.png").warnings if "in one prompt" in line]
    for row in (rex, tom):
        pair, alone = (row.metric(name).now for name in ("pair", "id"))  # type: ignore[union-attr]
        assert f"{row.concept} {pair:.3f} (alone {alone:.3f})" in said
    assert said.endswith(places)
    single = make(learned, tmp_path / "c.png", "a <rex> dog").warnings
    placed = make(learned, tmp_path / "d.png", regions=("rex@0,0,0.5,1", "tom@0.5,0,1,1")).warnings
    assert not [line for line in (*single, *placed) if "in one prompt" in line]


def run_again(line: str, folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Type a command that `show` printed, in a folder."""
    monkeypatch.chdir(folder)
    words = shlex.split(line)
    assert words[:2] == ["cns", "generate"]
    result = CliRunner().invoke(app, ["generate", "-o", str(out), *words[2:]], prog_name="cns")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_picture_says_how_it_was_made(learned: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"x{suffix}"
    made = make(learned, out, seed=7, negative="a red car", guidance=3.0, regions=("rex@0,0,0.5,1",))
    record, repo = read_picture(out), Repository(learned)
    assert (record.prompt, record.negative, record.seed, record.steps, record.guidance) == (
        PROMPT, "a red car", 7, 2, 3.0,
    )  # fmt: skip
    assert (record.width, record.height, record.sampler) == (64, 64, "PNDMScheduler")
    tree = repo.tree_of("HEAD")
    assert (record.commit, record.tree, record.base) == (made.commit, repo.commit_of(made.commit).tree, tree.base)
    assert dict(record.concepts) == dict(tree.concepts)
    assert record.regions == ("rex@0,0,0.5,1",)
    assert "Steps: 2, Sampler: PNDMScheduler, CFG scale: 3, Seed: 7, Size: 64x64" in record.parameters()


@pytest.mark.parametrize(
    ("asked", "recorded", "said"),
    [
        ({"guidance": 1.0, "negative": "a red car"}, (None, 1.0), "--negative has no effect at --guidance 1"),
        ({"guidance": 0.0, "negative": "a red car"}, (None, 1.0), "--guidance 0 is taken as 1"),
        ({"guidance": 2.0, "negative": " "}, (None, 2.0), "--negative is blank"),
    ],
)
def test_what_has_no_effect_is_said_and_not_recorded(
    learned: Path, tmp_path: Path, asked: dict[str, Any], recorded: tuple[str | None, float], said: str
) -> None:
    made = make(learned, tmp_path / "x.png", **asked)
    record = read_picture(tmp_path / "x.png")
    assert (record.negative, record.guidance) == recorded
    assert any(said in warning for warning in made.warnings)
    make(learned, tmp_path / "y.png", guidance=asked["guidance"])
    assert np.array_equal(pixels(tmp_path / "x.png"), pixels(tmp_path / "y.png"))


def test_a_png_holds_the_lines_that_other_readers_show(learned: Path, tmp_path: Path) -> None:
    make(learned, tmp_path / "x.png", negative="a red car")
    with Image.open(tmp_path / "x.png") as image:
        text = dict(image.info)
    assert set(text) == {"cns", "parameters", "xmp", "XML:com.adobe.xmp"}
    assert text["parameters"].startswith(f"{PROMPT}\nNegative prompt: a red car\nSteps: 2, Sampler: ")


def test_a_picture_names_no_person_path_or_time(learned: Path, tmp_path: Path) -> None:
    make(learned, tmp_path / "x.png", author="Ann Example")
    data = (tmp_path / "x.png").read_bytes()
    for secret in (b"Ann Example", str(tmp_path).encode(), str(learned).encode(), b"x.png", b"tIME"):
        assert secret not in data


def test_the_same_request_gives_the_same_bytes(learned: Path, tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        make(learned, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@pytest.mark.parametrize(
    "request_",
    [
        {"seed": 3, "negative": "a 'red' car", "guidance": 2.5},
        {"n": 3, "seed": 5, "batch": 2},
        {"regions": ("rex@0,0,0.5,1", "a red car@0.5,0,1,1")},
        {"n": 3, "grid": True},
        {"at": "HEAD~1..HEAD", "n": 2},
        {"compose": "named", "guidance": 2.5},
        {"prompt": "-a dog; rm -rf $HOME `x`\n<rex>"},
    ],
    ids=lambda request: " ".join(request),
)
def test_the_command_that_show_prints_makes_the_same_pixels(
    learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: dict[str, Any]
) -> None:
    made = make(learned, tmp_path / "first.png", **request_)
    shown = show_picture(made.paths[-1], learned)
    assert shown.commit_here
    run_again(shown.command, learned, tmp_path / "again.png", monkeypatch)
    again = tmp_path / made.paths[-1].name.replace("first", "again")
    assert np.array_equal(pixels(made.paths[-1]), pixels(again))
    assert read_picture(again) == shown.record


def test_one_of_several_pictures_can_be_made_alone(
    learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(learned, tmp_path / "x.png", n=3, seed=4)
    shown = show_picture(made.paths[1], learned)
    assert shown.alone is not None
    run_again(shown.alone, learned, tmp_path / "alone.png", monkeypatch)
    assert np.abs(pixels(made.paths[1]) - pixels(tmp_path / "alone.png")).max() <= 1


def test_another_format_is_written_and_said_to_say_nothing(learned: Path, tmp_path: Path) -> None:
    made = make(learned, tmp_path / "x.bmp")
    assert any(".bmp files cannot say" in warning for warning in made.warnings)
    with pytest.raises(NoRecord):
        read_picture(tmp_path / "x.bmp")


def test_no_region_means_the_picture_as_it_was(learned: Path, tmp_path: Path) -> None:
    make(learned, tmp_path / "plain.png")
    make(learned, tmp_path / "whole.png", regions=(f"{PROMPT}@0,0,1,1",))
    make(learned, tmp_path / "split.png", regions=("rex@0,0,0.5,1", "tom@0.5,0,1,1"))
    assert np.abs(pixels(tmp_path / "plain.png") - pixels(tmp_path / "whole.png")).max() <= 1
    assert np.abs(pixels(tmp_path / "plain.png") - pixels(tmp_path / "split.png")).max() > 1


def test_a_region_of_a_concept_that_is_not_there_is_refused_before_the_model_is_loaded(learned: Path) -> None:
    options = GenerateOptions(start=learned, prompt="x", regions=("rox@0,0,1,1",))
    with pytest.raises(UnknownConcept) as failure:
        plan_of(options)
    assert failure.value.known == ("rex", "tom")


def test_a_grid_is_one_file_with_every_image(learned: Path, tmp_path: Path) -> None:
    single = make(learned, tmp_path / "x.png", n=3)
    sheet = make(learned, tmp_path / "sheet.png", n=3, grid=True)
    assert sheet.paths == (tmp_path / "sheet.png",)
    assert (sheet.seeds, sheet.made) == (single.seeds, 3)
    shown = pixels(sheet.paths[0])
    for path in single.paths:  # each is on it, twice as large
        big = pixels(path).repeat(2, 0).repeat(2, 1)[20:-20, 20:-20]
        assert _holds(shown, big)


def test_a_range_is_a_row_for_each_commit_of_the_same_seeds(learned: Path, tmp_path: Path) -> None:
    made = make(learned, tmp_path / "range.png", at="HEAD~2..HEAD", n=2)
    repo = Repository(learned)
    assert list(made.commits) == [repo.resolve(rev) for rev in ("HEAD~2", "HEAD~1", "HEAD")]
    assert (made.commit, made.made) == (repo.resolve("HEAD"), 6)
    shown = pixels(made.paths[0])
    for rev, prompt in (
        ("HEAD", PROMPT),
        ("HEAD~1", "a <rex> dog and a cat on the grass"),
        ("HEAD~2", "a dog and a cat on the grass"),
    ):
        one = make(learned, tmp_path / "one.png", prompt, at=rev, n=2)
        assert _holds(shown, pixels(one.paths[1]).repeat(2, 0).repeat(2, 1)[20:-20, 20:-20])
    assert any("2 of 3 commits have no tom: <tom> is read as 'cat' there" in warning for warning in made.warnings)


def test_a_tree_that_comes_again_is_not_generated_again(learned: Path, tmp_path: Path) -> None:
    repo = Repository(learned)
    repo.commit(
        kind="remove", message="rm", author="ann", time=1, record=None, seen=repo.head().commit, keep_as="tom",
        change=lambda tree: without_concept(tree, "tom"),
    )  # fmt: skip
    made = make(learned, tmp_path / "range.png", at="HEAD~2..HEAD", n=2)
    assert (len(made.commits), made.made) == (3, 4)
    assert any("2 of 3 commits have no tom" in warning for warning in made.warnings)


def test_an_open_range_begins_with_the_first_commit_and_ends_with_head(learned: Path) -> None:
    assert len(plan_of(GenerateOptions(start=learned, prompt="x", at="..HEAD")).stops) == 3
    assert len(plan_of(GenerateOptions(start=learned, prompt="x", at="HEAD~1..")).stops) == 2


def test_a_range_that_runs_backwards_is_refused(learned: Path) -> None:
    with pytest.raises(UnknownRevision, match=r"expected OLDER\.\.NEWER"):
        plan_of(GenerateOptions(start=learned, prompt="x", at="HEAD..HEAD~1"))
    with pytest.raises(UnknownRevision):
        plan_of(GenerateOptions(start=learned, prompt="x", at="nope..HEAD"))


def test_a_long_range_is_thinned_out_and_a_wide_one_refused(learned: Path) -> None:
    repo = Repository(learned)
    for k in range(MAX_STOPS):
        name = f"step-{k}"
        concept = repo.concepts(repo.tree_of("HEAD"))["rex"]
        _commit_copy(repo, concept, name)
    plan = plan_of(GenerateOptions(start=learned, prompt="x", at="..HEAD"))
    assert len(plan.stops) == MAX_STOPS
    assert plan.stops[-1].commit_id == repo.resolve("HEAD")
    assert not plan.stops[0].commit.parents
    assert plan.warnings == (f"the range has {MAX_STOPS + 3} commits, of which {MAX_STOPS} are shown",)
    with pytest.raises(RegistryError, match=f"at most {MAX_COLUMNS}"):
        plan_of(GenerateOptions(start=learned, prompt="x", at="..HEAD", n=MAX_COLUMNS + 1))


def test_a_missing_concept_is_read_as_its_class_noun(learned: Path) -> None:
    rex = Repository(learned).concepts(Repository(learned).tree_of("HEAD"))["rex"]
    apple = _with(rex, class_noun="apple", tokens=("<a1>", "<a1>_1"))
    assert without_concepts("a <rex> dog and <rex>", [rex]) == "a dog and dog"
    assert without_concepts("a <a1> apple, the <a1> <a1>_1 apple", [apple]) == "an apple, the apple"
    assert without_concepts("a <tom> cat", [rex]) == "a <tom> cat"
    style = _with(rex, class_noun="style", tokens=("<mona>",), recipe={"kind": "style"})
    assert without_concepts("a <mona> style <rex> dog, <mona>", [rex, style]) == "a dog, "
    assert without_concepts("an <mona> style dog, a <mona> style apple", [style]) == "a dog, an apple"
    assert read_without(style) == "left out"


def test_a_token_without_brackets_is_not_found_in_a_longer_word(learned: Path) -> None:
    rex = Repository(learned).concepts(Repository(learned).tree_of("HEAD"))["rex"]
    known = {"zwx": _with(rex, tokens=("zwx",)), "zwx2": _with(rex, class_noun="cat", tokens=("zwx2",))}
    assert without_concepts("a zwx2 cat and a zwx dog", [known["zwx"]]) == "a zwx2 cat and a dog"
    assert tokens_in(["a zwx2 cat"], known) == ["zwx2"]


def test_what_regions_and_the_negative_prompt_name_counts_too(learned: Path, tmp_path: Path) -> None:
    made = make(learned, tmp_path / "x.png", "two animals", regions=("rex@0,0,0.5,1", "a <rax> dog@0.5,0,1,1"))
    assert made.concepts == ("rex",)
    assert set(read_picture(tmp_path / "x.png").concepts) == {"rex"}
    assert any("<rax>, which is no concept's token" in warning for warning in made.warnings)
    made = make(learned, tmp_path / "y.png", "an animal", negative="a <tom> cat", at="HEAD~1..HEAD")
    assert made.concepts == ("tom",)
    assert any("1 of 2 commits have no tom" in warning for warning in made.warnings)
    make(learned, tmp_path / "z.png", "an animal", negative="a cat", at="HEAD~1")
    older = pixels(tmp_path / "z.png").repeat(2, 0).repeat(2, 1)[20:-20, 20:-20]
    assert _holds(pixels(tmp_path / "y.png"), older)


def test_more_steps_than_the_schedule_has_are_refused(monkeypatch: pytest.MonkeyPatch, learned: Path) -> None:
    monkeypatch.chdir(learned)
    assert CliRunner().invoke(app, ["generate", "a dog", "--steps", "1001"]).exit_code == 2


def test_a_picture_has_no_preview(monkeypatch: pytest.MonkeyPatch, learned: Path, tmp_path: Path) -> None:
    make(learned, tmp_path / "x.png")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["show", "x.png", "--preview", "y.png"])
    assert result.exit_code == 2
    assert not (tmp_path / "y.png").exists()


def test_memory_holds_one_batch_however_many_images(learned: Path, tmp_path: Path) -> None:
    class Steps(NullProgress):
        def step(self, done: int, **numbers: float) -> None:
            steps.append((done, len(list(tmp_path.glob("x-*.png")))))

    steps: list[tuple[int, int]] = []
    options = GenerateOptions(start=learned, prompt="a dog", out=tmp_path / "x.png", n=5, steps=1, batch=2)
    generate(options, Steps())
    assert steps == [(2, 2), (4, 4), (5, 5)]


def record(**changes: Any) -> PictureRecord:
    settings: dict[str, Any] = {
        "prompt": "a dog", "seed": 0, "first_seed": 0, "steps": 1, "guidance": 1.0, "sampler": "X", "width": 8,
        "height": 8, "at": "a" * 64, "commit": "a" * 64, "tree": "b" * 64, "base": "c" * 64, "version": "1",
    }  # fmt: skip
    return PictureRecord(**{**settings, **changes})


@pytest.mark.parametrize("prompt", ["\x1b[2J", "\u202egrass\n\n", "ünïcode 🦊", "\ud800", "\0", "x" * 5000])
def test_any_prompt_can_be_written_and_read_back(tmp_path: Path, prompt: str) -> None:
    for suffix in (".png", ".jpg", ".webp"):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(encode_picture(Image.new("RGB", (8, 8)), path, record(prompt=prompt)))
        assert read_picture(path).prompt == prompt


def _holds(sheet: np.ndarray, part: np.ndarray) -> bool:
    """Whether a picture holds another one exactly."""
    height, width = part.shape[:2]
    corners = np.argwhere((sheet[: 1 - height or None, : 1 - width or None] == part[0, 0]).all(-1))
    return any(np.array_equal(sheet[y : y + height, x : x + width], part) for y, x in corners)


def _with(concept: Any, **changes: Any) -> Any:
    return replace(concept, **changes)


def _commit_copy(repo: Repository, concept: Any, name: str) -> None:
    put = repo.objects.put
    own = _with(concept, name=name, tokens=(f"<{name}>",), delta=put(Blob(name.encode())))
    repo.commit(
        kind="add", message=name, author="ann", time=1, record=Record({}), seen=repo.head().commit, keep_as=name,
        change=lambda tree: with_concept(tree, name, put(own)),
    )  # fmt: skip
