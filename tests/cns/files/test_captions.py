"""Captions beside images: which forms are read, what is said of the others, and how they speak of the concept."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cns.errors import ImageError
from cns.files.captionfiles import Captions, read_captions
from cns.files.captions import class_noun_in, fill_caption, fill_style_caption, kohya_folder, mark_concept, says_where
from cns.files.images import load_images
from tests.cns.files.test_images import R, picture

TEXT = "a {name} dog on the grass"
NAMES = ("00.png", "01.png", "02.png")


def jsonl(folder: Path, name: str, key: str) -> None:
    rows = [{"file_name": name.format(one), key: TEXT} for one in NAMES]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def table(folder: Path, header: str, row: str) -> None:
    (folder / "metadata.csv").write_text("\n".join([header, *(row.replace("FILE", name) for name in NAMES)]))


def sidecars(folder: Path, name: Callable[[str], str], text: str = TEXT) -> None:
    for one in NAMES:
        (folder / name(one)).write_text(text)


def parquet(folder: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = sys.modules["pyarrow"].table({"file_name": list(NAMES), "text": [TEXT] * 3, "width": [1, 2, 3]})
    parquet.write_table(rows, folder / "metadata.parquet")


FORMS: dict[str, tuple[Callable[[Path], None], str]] = {
    "txt": (lambda folder: sidecars(folder, lambda name: name[:2] + ".txt"), ".txt files"),
    "capitals": (lambda folder: sidecars(folder, lambda name: name[:2] + ".TXT"), ".txt files"),
    "whole name": (lambda folder: sidecars(folder, lambda name: name + ".txt"), ".txt files"),
    "caption": (lambda folder: sidecars(folder, lambda name: name[:2] + ".caption"), ".caption files"),
    "json": (
        lambda folder: sidecars(folder, lambda name: name[:2] + ".json", json.dumps({"caption": TEXT})),
        ".json files",
    ),
    "json, a text": (lambda folder: sidecars(folder, lambda name: name[:2] + ".json", json.dumps(TEXT)), ".json files"),
    "jsonl": (lambda folder: jsonl(folder, "{}", "text"), "metadata.jsonl"),
    "jsonl, folder": (lambda folder: jsonl(folder, "train/{}", "text"), "metadata.jsonl"),
    "jsonl, backslash": (lambda folder: jsonl(folder, "train\\{}", "caption"), "metadata.jsonl"),
    "jsonl, prompt": (lambda folder: jsonl(folder, "{}", "prompt"), "metadata.jsonl"),
    "jsonl, any key": (lambda folder: jsonl(folder, "{}", "what is seen"), "metadata.jsonl"),
    "csv": (lambda folder: table(folder, "file_name,text", f'FILE,"{TEXT}"'), "metadata.csv"),
    "csv, id": (lambda folder: table(folder, "id,file_name,caption", f"7,FILE,{TEXT}"), "metadata.csv"),
    "csv, semicolons": (lambda folder: table(folder, "file_name;text", f"FILE;{TEXT}"), "metadata.csv"),
    "parquet": (parquet, "metadata.parquet"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_captions_is_read(form: str, tmp_path: Path) -> None:
    write, source = FORMS[form]
    write(tmp_path)
    found = read_captions(tmp_path, [Path(name) for name in NAMES])
    assert found == Captions(dict.fromkeys(NAMES, TEXT), (source,), ())


def test_commas_that_nobody_quoted_stay_in_a_caption(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,a {name} dog, sitting, in snow\n")
    assert read_captions(tmp_path, [Path("a.png")]).texts == {"a.png": "a {name} dog, sitting, in snow"}


def test_the_row_of_this_folder_wins_over_that_of_another(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    rows = [{"file_name": f"{part}/a.png", "text": part} for part in ("test", "train", "valid")]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert read_captions(folder, [Path("a.png")]).texts == {"a.png": "train"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("b.txt", "x", "b.txt belongs to no picture"),
        ("a.txt", " ", "a.txt holds no caption"),
        ("a.json", '{"version": 3, "shapes": []}', "a.json holds no caption"),
        ("a.json", "{", "a.json holds no caption"),
        ("a.yaml", "text: x", "a.yaml was not read"),
        ("train.csv", "file_name,text\n", "train.csv was not read"),
        ("metadata.jsonl", '{"file_name": "b.png", "text": "x"}', "metadata.jsonl names b.png, which is not in"),
        ("metadata.jsonl", '{"file_name": "a.png", "label": 3}', "metadata.jsonl has no caption of a.png"),
    ],
)
def test_what_looks_like_a_caption_and_is_not_used_is_named(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    found = read_captions(tmp_path, [Path("a.png")])
    assert found.texts == {}
    assert len(found.left) == 1
    assert said in found.left[0]


def test_what_is_left_out_is_counted_and_the_first_named(tmp_path: Path) -> None:
    for name in ("x.txt", "y.txt", "z.txt"):
        (tmp_path / name).write_text("x")
    assert read_captions(tmp_path, [Path("a.png")]).left == ("captions: x.txt belongs to no picture (2 more like it)",)


def test_a_table_beside_files_of_their_own_is_said_to_be_unused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,the table's\n")
    found = read_captions(tmp_path, [Path("a.png")])
    assert found.texts == {"a.png": "mine"}
    assert "metadata.csv was not used" in found.left[0]


def test_parquet_without_pyarrow_is_left_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install pyarrow" in read_captions(tmp_path, [Path("a.png")]).left[0]


@pytest.mark.parametrize(
    ("name", "data"), [("metadata.csv", b"picture,words\na.png,x\n"), ("metadata.parquet", b"PAR1 and no table PAR1")]
)
def test_a_table_that_is_none_is_an_error(name: str, data: bytes, tmp_path: Path) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ImageError, match=name):
        read_captions(tmp_path, [Path("a.png")])


def test_captions_come_from_sidecars_before_metadata(tmp_path: Path) -> None:
    for name in "abcd":
        picture(ord(name)).save(tmp_path / f"{name}.png")
    (tmp_path / "a.txt").write_text("a {name} dog\n on the   grass\n", encoding="utf-8-sig")
    (tmp_path / "b.caption").write_text("a <token> in\x1b[31m snow")
    (tmp_path / "c.txt").write_text("")
    rows = [{"file_name": "a.png", "text": "from metadata"}, {"file_name": "d.png", "text": "d's own"}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    captions = load_images(tmp_path, R).captions
    assert captions == ("a {name} dog on the grass", "a <token> in [31m snow", None, "d's own")


@pytest.mark.parametrize("line", ["{", "[]", '{"text": "no name"}', "3", "null"])
def test_damaged_metadata_names_its_line(tmp_path: Path, line: str) -> None:
    picture().save(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "x"}\n' + line)
    with pytest.raises(ImageError, match="line 2"):
        load_images(tmp_path, R)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_captions_are_read_as_windows_saves_them(tmp_path: Path, encoding: str) -> None:
    picture().save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_bytes("a {name} dög\r\nin the snow\r\n".encode(encoding))
    assert load_images(tmp_path, R).captions == ("a {name} dög in the snow",)


def test_a_caption_that_is_too_long_to_be_one_is_not_said_to_lack_utf_8(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a dog " * 4000)
    with pytest.raises(ImageError, match="24,000 bytes") as caught:
        load_images(tmp_path, R)
    assert "UTF-8" not in caught.value.hint


def test_caption_that_is_a_link_or_no_text_is_refused(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ImageError, match="UTF-8"):
        load_images(tmp_path, R)
    (tmp_path / "a.txt").unlink()
    (tmp_path / "a.txt").symlink_to("/etc/hostname")
    with pytest.raises(ImageError, match="symbolic link"):
        load_images(tmp_path, R)


@pytest.mark.parametrize(
    ("caption", "filled"),
    [
        ("a [trigger] dog on grass", "a <rex> dog on grass"),
        ("a {name} dog, {name} again", "a <rex> dog, <rex> again"),
        ("a <token> dog", "a <rex> dog"),
        ("a <rex> dog", "a <rex> dog"),
        ("a <Rex> dog", "a <rex> dog"),
        ("a Dog on grass, a dog", "a <rex> Dog on grass, a dog"),
        ("hotdogs", "<rex> dog, hotdogs"),
    ],
)
def test_token_finds_its_place_in_a_caption(caption: str, filled: str) -> None:
    assert fill_caption(caption, "<rex>", "dog") == filled


def test_token_inside_another_word_is_not_there_yet() -> None:
    assert fill_caption("a zwx2 dog", "zwx", "dog") == "a zwx2 zwx dog"
    assert fill_style_caption("a zwx2 dog", "zwx") == "a zwx style zwx2 dog"


def test_token_goes_in_front_without_a_noun() -> None:
    assert fill_caption("on the grass", r"<\1>") == r"<\1>, on the grass"


@pytest.mark.parametrize(
    ("caption", "filled"),
    [
        ("a photo of sks dog in the snow", "a photo of <rex> dog in the snow"),
        ("a SKS dog", "a <rex> dog"),
        ("a <new1> dog in the snow", "a <rex> dog in the snow"),
        ("a TOK dog in the snow", "a <rex> dog in the snow"),
        ("[name] dog in the snow", "<rex> dog in the snow"),
        ("an [V] dog", "a <rex> dog"),
        ("a {trigger} dog", "a <rex> dog"),
        ("<s0><s1> on a table", "<rex> dog on a table"),
        ("S* wearing a hat", "<rex> dog wearing a hat"),
        ("rex in the snow", "<rex> dog in the snow"),
        ("Rex the dog in the snow", "<rex> dog in the snow"),
        ("a dog named rex", "a <rex> dog"),
        ("rex, a small dog, on grass", "<rex> dog, a small dog, on grass"),
        ("photo of rex", "photo of <rex> dog"),
        ("[trigger] in the snow", "<rex> dog in the snow"),
        ("a dog in the snow <lora:rexv2:0.8>", "a <rex> dog in the snow"),
        ("zwx dog sks, best quality", "<rex> dog, best quality"),
        ("{name} puppy", "<rex> puppy"),
        ("a tok dog", "a tok <rex> dog"),
        ("t-rex and a dog", "t-<rex> dog and a dog"),
    ],
)
def test_other_words_for_the_concept_become_its_token(caption: str, filled: str) -> None:
    assert fill_caption(caption, "<rex>", "dog") == filled


def test_a_usual_word_that_is_a_concepts_name_is_no_mark() -> None:
    assert fill_caption("a cat in the snow", "<snow>", "cat") == "a <snow> cat in the snow"
    assert fill_caption("a dog in the snow", "<dog>", "dog") == "a <dog> dog in the snow"


def test_tokens_of_other_concepts_stay() -> None:
    marked = mark_concept("a dog beside a <tom> cat", "<rex>", "dog", known=["<tom>"])
    assert marked == "a {name} dog beside a <tom> cat"
    assert fill_caption(marked, "<rex>", "dog") == "a <rex> dog beside a <tom> cat"


def test_the_article_is_that_of_the_token() -> None:
    assert fill_caption("An umbrella on grass", "<brolly>", "umbrella") == "A <brolly> umbrella on grass"


def test_a_kohya_folder_says_trigger_and_class() -> None:
    assert kohya_folder("10_zxc dog") == ("zxc", "dog")
    assert kohya_folder("dog") == kohya_folder("10_dog") == ("", "")
    assert mark_concept("a zxc dog on grass", "<rex>", "dog", trigger="zxc") == "a {name} dog on grass"


@pytest.mark.parametrize(
    ("caption", "filled"),
    [
        ("a dog in sks style", "a dog in <mona> style"),
        ("a dog in the style of mona", "a dog in the <mona> style"),
        ("an apple on grass", "a <mona> style apple on grass"),
        ("a {name} dog", "a <mona> dog"),
    ],
)
def test_styles_are_marked_likewise(caption: str, filled: str) -> None:
    assert fill_style_caption(caption, "<mona>") == filled


def test_says_where() -> None:
    assert says_where("{name} in the snow", "<rex>", "dog")
    assert says_where("the Dog", "<rex>", "dog")
    assert not says_where("sitting in the snow", "<rex>", "dog")


WORDS = (
    "a an the dog rex sks TOK <rex> <new1> <tom> {name} [trigger] [V] in snow , named of umbrella Rex's <lora:x:1> S*"
)


@given(
    st.lists(st.sampled_from(WORDS.split()), max_size=9).map(" ".join), st.sampled_from(["dog", "umbrella", "style"])
)
def test_marking_twice_is_marking_once(caption: str, noun: str) -> None:
    once = mark_concept(caption, "<rex>", noun, known=["<tom>"])
    assert mark_concept(once, "<rex>", noun, known=["<tom>"]) == once


@pytest.mark.parametrize(
    ("captions", "noun"),
    [
        (["a dog on grass", "the Dog", "dog and cat"], "dog"),
        (["a teddy bear", "one teddy bear"], "teddy bear"),
        (["a dog", None, None], None),
        (["a dog", "a cat"], None),
        (["a dog and a cat", "a dog and a cat"], None),
        (["something"], None),
        ([], None),
    ],
)
def test_class_noun_is_what_most_captions_name(captions: list[str | None], noun: str | None) -> None:
    assert class_noun_in(captions, ["bear", "dog", "cat", "teddy bear"]) == noun
