from __future__ import annotations

from pathlib import Path

from PIL import Image

from cns_cli.sheets import GAP, LABEL_HEIGHT, MARGIN, ROW_GAP, TILE, contact_sheet


def square(colour: str, side: int = 64) -> Image.Image:
    return Image.new("RGB", (side, side), colour)


def test_rows_stand_below_each_other_and_pictures_keep_their_colours() -> None:
    sheet = contact_sheet([("references", [square("red"), square("lime")]), ("generated", [square("blue")])])
    assert sheet.size == (2 * MARGIN + 2 * TILE + GAP, 2 * MARGIN + 2 * (LABEL_HEIGHT + TILE) + ROW_GAP)
    middle = MARGIN + LABEL_HEIGHT + TILE // 2
    assert sheet.getpixel((MARGIN + TILE // 2, middle)) == (255, 0, 0)
    assert sheet.getpixel((MARGIN + TILE + GAP + TILE // 2, middle)) == (0, 255, 0)
    assert sheet.getpixel((MARGIN + TILE // 2, middle + LABEL_HEIGHT + TILE + ROW_GAP)) == (0, 0, 255)


def test_small_drawings_are_enlarged_without_smoothing() -> None:
    drawing = square("white")
    drawing.paste("black", (32, 0, 64, 64))
    sheet = contact_sheet([("", [drawing])])
    row = MARGIN + LABEL_HEIGHT + TILE // 2
    inside = {sheet.getpixel((MARGIN + x, row)) for x in range(4, TILE - 4)}
    assert inside == {(255, 255, 255), (0, 0, 0)}


def test_photos_of_any_shape_fit_their_tile() -> None:
    sheet = contact_sheet(
        [("wide", [Image.new("L", (900, 300), 0)]), ("one pixel", [square("red", 1)])], title="shapes"
    )
    assert sheet.mode == "RGB"


def test_labels_are_drawn_and_may_hold_anything() -> None:
    plain = contact_sheet([("", [square("red")] * 4)])
    named = contact_sheet([("a <rex> dog \x1b[2J\u202e\n" + "x" * 500, [square("red")] * 4)])
    assert named.height == plain.height
    assert named.convert("L").getextrema()[0] < 100
    assert plain.crop((0, 0, plain.width, MARGIN + LABEL_HEIGHT)).convert("L").getextrema()[0] > 200


def test_no_row_is_a_sheet_too(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    contact_sheet([], title="nothing").save(path)
    with Image.open(path) as written:
        assert written.format == "PNG"
