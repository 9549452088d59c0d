"""Prompts as people type them: words that other programs obey, files of many prompts, names of files, the mark."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cns_cli.mark import MADE_BY_MODEL, PARTLY_BY_MODEL, XMP_OF_PNG
from cns_cli.porcelain.generate import generate, generate_many
from cns_cli.porcelain.options import GenerateOptions
from cns_cli.porcelain.pictures.files import READ, encode_picture, is_ours, picture_format, show_picture
from cns_cli.porcelain.pictures.plan import NotOurPicture, output_paths, plan_of
from cns_cli.porcelain.pictures.prompts import BadPromptFile, requests_in
from cns_cli.porcelain.pictures.words import other_syntax, unknown_tokens
from cns_cli.progress import NullProgress
from registry.errors import RegistryError
from registry.objects import Concept
from tests.porcelain.test_pictures import RECORD, show

REX = Concept("rex", "dog", ("<rex>",), *["a" * 64] * 3, {}, "b" * 64, "c" * 64)
CAT = replace(REX, name="cat", class_noun="cat", tokens=("<cat>",))
CONCEPTS = {"rex": REX, "cat": CAT}


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a (<rex>:1.4) dog", "'(<rex>:1.4)' is drawn as text: words have weights with pip install 'cns-cli[weights]'"),
        ("a ((<rex>)) dog", "'((<rex>))' is drawn as text"),
        ("a <rex> dog BREAK a cat", "'BREAK' is drawn as text: what is to be seen where is said by --region"),
        ("a <rex> dog <lora:rex_v2:0.8>", "'<lora:rex_v2:0.8>' is drawn as text"),
        ("a [trigger] dog", "'[trigger]' is drawn as text: write the token itself, such as <rex>"),
        ("a {name} dog", "'{name}' is drawn as text: that is for captions; write the token itself, such as <rex>"),
        ("a (<rex> dog:-1)", "words have weights with pip install 'cns-cli[weights]', from 0 to 9.9, as in (dog:1.4)"),
        ("a (<rex> dog:10)", "'(<rex> dog:10)' is drawn as text"),
        ("a <rex> dog AND a cat", "'AND' is drawn as text: what is to be seen where is said by --region"),
        ("a <rex> dog --ar 16:9", "'--ar' is drawn as text: options stand outside the quotes, or in a"),
        ("a [<rex> dog:car:0.5]", "'[<rex> dog:car:0.5]' is drawn as text: a prompt is one from the first step to the"),
        ("embedding:rex_v2 dog", "'embedding:rex_v2' is drawn as text: write the token itself, such as <rex>"),
        ("a __colour__ dog", "write each into a line of --prompts FILE"),
        ("a {red|blue} dog", "write each into a line of --prompts FILE"),
        ("a rex dog", "'rex' is drawn as a word: the concept is named by <rex>"),
        ("Rex in the snow", "'Rex' is drawn as a word: the concept is named by <rex>"),
    ],
)
def test_what_other_programs_obey_is_said_to_be_drawn_as_text(prompt: str, said: str) -> None:
    warnings = other_syntax([prompt], CONCEPTS)
    assert len(warnings) == 1
    assert said in warnings[0]
    assert unknown_tokens([prompt], ["<rex>", "<cat>"]) == ()


@pytest.mark.parametrize(
    "prompt",
    [
        "a <rex> dog in the snow",
        "a <rex> dog called rex",
        "a dog, a cat",
        "at the station (at 10:30) with a T-rexlike dog",
        "a sign [sic] (a big one)",
        "A DOG AND A CAT -- in the snow",
        "snake_case, a__b",
        "BREAKFAST with Trex",
    ],
)
def test_plain_words_are_not_warned_of(prompt: str) -> None:
    assert other_syntax([prompt], CONCEPTS) == ()


@pytest.mark.parametrize("typed", ["<Rex>", "<REX>", "<rexx>", "<rx>"])
def test_a_token_that_is_spelled_otherwise_is_recognized(typed: str) -> None:
    (warning,) = unknown_tokens([f"a {typed} dog"], ["<rex>", "<cat>"])
    assert warning == f"the prompt names {typed}, which is no concept's token: did you mean <rex>?"


def test_further_vectors_of_a_token_are_not_proposed() -> None:
    (warning,) = unknown_tokens(["a <zzz> dog and a <rex>_1"], ["<rex>", "<rex>_1", "<x_1>"])
    assert warning == "the prompt names <zzz>, which is no concept's token: this revision has <rex>, <x_1>"


def test_a_token_of_the_base_is_no_mistake() -> None:
    assert unknown_tokens(["a <style> dog"], ["<rex>"], {"<style>": 7}) == ()


OPTIONS = GenerateOptions(prompt="", steps=9)


def lines(tmp_path: Path, text: str) -> Path:
    (tmp_path / "many.txt").write_text(text, encoding="utf-8")
    return tmp_path / "many.txt"


def test_a_line_says_what_is_its_own(tmp_path: Path) -> None:
    text = "# kohya's\n\na <rex> dog -- in the snow --n a red car, rain --w 64 --h 128 --d 7 --l 3.5 --s 4\r\na dog\n"
    first, second = requests_in(lines(tmp_path, text), OPTIONS)
    assert (first.prompt, first.negative) == ("a <rex> dog -- in the snow", "a red car, rain")
    assert (first.width, first.height, first.seed, first.guidance, first.steps) == (64, 128, 7, 3.5, 4)
    assert second == replace(OPTIONS, prompt="a dog")


def test_a_line_may_be_set_in_columns(tmp_path: Path) -> None:
    (one,) = requests_in(lines(tmp_path, "a <rex> dog\t--w\t64   --n  --S 4\n"), OPTIONS)
    assert (one.prompt, one.width, one.negative, one.steps) == ("a <rex> dog", 64, "", 4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n \n", "holds 0 prompts; expected 1 to 10,000, one a line"),
        ("# none\n", "holds 0 prompts"),
        ("a dog\na dog --x 3\n", "line 2 says --x; expected one of --n negative, --w width"),
        ("a dog --w 65\n", "line 1 says --w 65: 65 is no multiple of 8; expected 64 or 72"),
        ("a dog --d -1\n", "line 1 says --d -1: -1 is not between 0 and"),
        ("a dog --s many\n", "line 1 says --s many"),
        ("a dog --l nan\n", "line 1 says --l nan"),
    ],
)
def test_a_file_of_prompts_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadPromptFile, match=re.escape(said)):
        requests_in(lines(tmp_path, text), OPTIONS)


def test_names_of_files_are_filled_in(tmp_path: Path) -> None:
    def names(out: str, **more: Any) -> list[str]:
        options = GenerateOptions(prompt="A <rex> dog!", seed=7, out=tmp_path / out, **more)
        return [path.name for path in output_paths(options)]

    assert names("{prompt}-{seed}.png", n=2) == ["a-rex-dog-7.png", "a-rex-dog-8.png"]
    assert names("{prompt}.webp", n=2) == ["a-rex-dog-1.webp", "a-rex-dog-2.webp"]
    assert names("x-{seed}") == ["x-7.png"]
    assert names("x.png") == ["x.png"]
    assert names("x{}-{a b}.png") == ["x{}-{a b}.png"]
    for one in ("{index}", "{Seed}"):
        with pytest.raises(RegistryError, match=f"nothing fills {one} in 'x-{one}.png'") as caught:
            names(f"x-{one}.png")
        assert caught.value.hint == "-o 'x-{seed}.png'"


def test_each_prompt_of_a_file_has_a_file(tmp_path: Path) -> None:
    path = lines(tmp_path, "a dog\na cat\n")
    numbered = requests_in(path, replace(OPTIONS, out=tmp_path / "x.png"))
    assert [one.out for one in numbered] == [tmp_path / "x-1.png", tmp_path / "x-2.png"]


@pytest.mark.slow
def test_many_prompts_are_made_by_one_model(learned: Path, tmp_path: Path) -> None:
    path = lines(tmp_path, "a <rex> dog --w 48 --h 32 --d 5\na <tom> cat BREAK --s 1\n")
    options = GenerateOptions(start=learned, prompt="", prompts=path, steps=2, out=tmp_path / "{prompt}-{seed}.png")
    stages: list[tuple[str, int | None]] = []
    steps: list[int] = []

    class Told(NullProgress):
        def stage(self, name: str, total: int | None = None, *_: Any) -> None:
            stages.append((name, total))

        def step(self, done: int, **_: float) -> None:
            steps.append(done)

    first, second = generate_many(options, Told())
    assert [one.name for one in (*first.paths, *second.paths)] == ["a-rex-dog-5.png", "a-tom-cat-break-0.png"]
    with Image.open(first.paths[0]) as picture:
        assert picture.size == (48, 32)
    assert "--width 48 --height 32" in show_picture(first.paths[0], learned).command
    assert "--width" not in show_picture(second.paths[0], learned).command
    assert stages[-2:] == [("load the model", None), ("generate", 2)]
    assert steps == [1, 2]
    assert not first.warnings
    assert "'BREAK' is drawn as text" in "".join(second.warnings)
    path.write_text("a dog\na dog\n")
    with pytest.raises(RegistryError, match="2 pictures would be"):
        list(generate_many(options, NullProgress()))


def test_words_have_weights_where_compel_is_installed(learned: Path, tmp_path: Path) -> None:
    pytest.importorskip("compel")

    def drawn(prompt: str, **changes: Any) -> bytes:
        options = GenerateOptions(start=learned, prompt=prompt, steps=2, out=tmp_path / "a.png", **changes)
        result = generate(options, NullProgress())
        assert not result.warnings
        assert show_picture(tmp_path / "a.png", learned).record.prompt == prompt
        with Image.open(tmp_path / "a.png") as picture:
            return picture.tobytes()

    plain, weighted = drawn("a <tom> cat"), drawn("a (<tom> cat:1.5)")
    assert plain == drawn("a (<tom> cat:1)") != weighted
    assert plain != drawn("a <tom> cat", negative="(a dog:1.5)") != drawn("a <tom> cat", negative="a dog")


@pytest.mark.slow
def test_what_is_no_picture_of_ours_is_not_replaced(learned: Path, tmp_path: Path) -> None:
    photo = tmp_path / "dog.png"
    Image.new("RGB", (8, 8)).save(photo)
    options = GenerateOptions(start=learned, prompt="a dog", out=photo)
    with pytest.raises(NotOurPicture, match="--force"):
        plan_of(options)
    plan_of(replace(options, force=True))
    (tmp_path / "dog-2.png").write_text("a note")
    with pytest.raises(NotOurPicture, match="dog-2"):
        plan_of(replace(options, out=tmp_path / "{prompt}.png", prompt="dog", n=2))
    photo.write_bytes(encode_picture(Image.new("RGB", (8, 8)), photo, RECORD))
    plan_of(options)
    assert is_ours(Path("/dev/null"))
    (tmp_path / "empty.png").touch()
    assert is_ours(tmp_path / "empty.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif"])
def test_a_picture_says_that_a_model_made_it(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EU AI Act, article 50: in a form that machines read. Read back by two readers that know nothing of cns."""
    path = tmp_path / f"x{suffix}"
    if picture_format(path) not in READ:
        pytest.skip("this Pillow writes no such format")
    data = encode_picture(Image.new("RGB", (8, 8)), path, RECORD)
    shown = show(tmp_path, monkeypatch, data, path.name)
    assert re.search(r"made by +a model, by IPTC's trainedAlgorithmicMedia", shown.stdout)
    with Image.open(path) as image:
        xmp = image.info["xmp"]
    assert f"DigitalSourceType>{MADE_BY_MODEL}<" in (xmp.decode() if isinstance(xmp, bytes) else xmp)
    if exiftool := shutil.which("exiftool"):
        words = [exiftool, "-s3", "-XMP-iptcExt:DigitalSourceType", str(path)]
        assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() == MADE_BY_MODEL


def test_the_mark_is_left_out_only_where_that_is_typed(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(encode_picture(Image.new("RGB", (8, 8)), path, RECORD, mark=False))
    assert show_picture(path, tmp_path).source_type is None
    assert MADE_BY_MODEL.encode() not in path.read_bytes()
    assert GenerateOptions(prompt="a dog").mark


def test_a_preview_says_that_it_is_partly_a_model_s(learned: Path) -> None:
    """It shows photographs beside what was made: IPTC has a word of its own for that."""
    previews = list((learned / ".cns" / "previews").glob("*.png"))
    assert len(previews) == 2
    for path in previews:
        with Image.open(path) as image:
            assert f"DigitalSourceType>{PARTLY_BY_MODEL}<" in image.info[XMP_OF_PNG]


def test_regions_survive_readers_that_split_at_commas(tmp_path: Path) -> None:
    """sd-parsers 0.6 splits the last line at each comma, and drops a part that has not exactly one colon."""
    regions = ("rex@0,0.3,0.5,1", 'a <tom> cat, red: "x"; 5%@0.5,0,1,1')
    last = replace(RECORD, regions=regions).parameters().split("\n")[-1]
    parts = dict(map(str.strip, part.split(":")) for part in last.split(","))
    assert parts["Regions"] == "rex@0 0.3 0.5 1; a <tom> cat%2C red%3A %22x%22%3B 5%25@0.5 0 1 1"
    assert parts["Seed"] == str(RECORD.seed)


def test_importing_the_words_of_prompts_loads_no_torch() -> None:
    code = "import sys, cns_cli.porcelain.pictures.prompts, cns_cli.porcelain.generate; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "diffusers", "transformers"} & set(done.stdout.split())
