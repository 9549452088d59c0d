"""Contact sheets and `--fill` on a tiny base: what is made, what is kept, what is not made again."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cns_cli.mark import MADE_BY_MODEL
from cns_cli.porcelain.check import check
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import CheckOptions
from cns_cli.porcelain.report import ReportOptions, report
from cns_cli.porcelain.reporting import pictures
from cns_cli.porcelain.reporting.collect import Collector, known_family
from cns_cli.porcelain.reporting.data import NAMES, Sheet
from cns_cli.porcelain.reporting.pictures import PROMPTS, Sheets, webp
from cns_cli.porcelain.scoring.protocol import image_seed
from cns_cli.progress import NullProgress
from registry.errors import RegistryError
from registry.repository import Repository
from tests.porcelain.conftest import add


def sheets(folder: Path, images: int = 1, open_session=None) -> tuple[tuple[Sheet, ...], tuple[str, ...]]:
    repo = Repository(folder)
    data = Collector(repo, repo.resolve("HEAD")).collect("HEAD")
    family = known_family(data.family)
    assert family is not None
    return Sheets(repo, family, open_session or (lambda: Session.open(repo, "cpu")), NullProgress()).sheets(
        data, images
    )


def never() -> Session:
    raise AssertionError("the base was loaded")


def test_a_sheet_a_concept_with_the_base_and_every_state_since_birth(learned):
    found, told = sheets(learned, images=2)
    assert told == ()
    assert [sheet.concept for sheet in found] == ["rex", "tom"]
    rex, tom = found
    assert [row.label for row in rex.rows] == ["base", "add rex, a dog, from 3 images", "add tom, a cat, from 3 images"]
    assert [row.label for row in tom.rows] == ["base", "add tom, a cat, from 3 images"]
    assert all(len(row.tiles) == 2 * PROMPTS for row in rex.rows)
    assert len(rex.references.tiles) == 3


def test_a_picture_is_the_one_that_the_judge_made(learned, session):
    found, _ = sheets(learned)
    tree = session.repo.tree_of("HEAD")
    session.set_tree(tree)
    templates = session.base.family.objects.judge
    place = len(templates) // PROMPTS
    pixels = session.base.images([templates[place].replace("{}", "<rex> dog")], [image_seed(0, place, 0)])
    tile = found[0].rows[-1].tiles[1]
    assert tile.data == webp(pixels[0], made=True)
    assert f"seed {image_seed(0, place, 0)}" in tile.what


def test_what_the_model_made_says_so_in_the_page_and_references_do_not(learned):
    found, _ = sheets(learned)

    def says(tile):
        with Image.open(BytesIO(tile.data)) as picture:
            return MADE_BY_MODEL in picture.info.get("xmp", b"").decode()

    assert all(says(tile) for sheet in found for row in sheet.rows for tile in row.tiles)
    assert not any(says(tile) for sheet in found for tile in sheet.references.tiles)


def test_a_second_report_loads_no_base(learned):
    first, _ = sheets(learned)
    again, _ = sheets(learned, open_session=never)
    assert again == first


def test_a_damaged_picture_of_the_cache_is_made_again(learned):
    first, _ = sheets(learned)
    for path in (learned / ".cns" / "cache" / "report").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    again, _ = sheets(learned)
    assert again == first


def test_photos_that_were_not_kept_are_said(empty, photos):
    add(empty, "rex", photos["rex"], keep_images=False)
    (sheet,), _ = sheets(empty)
    assert sheet.references.tiles == ()
    assert "not kept" in sheet.references.note


def test_a_base_that_is_not_at_hand_leaves_notes(learned):
    def missing() -> Session:
        raise RegistryError("the base is gone")

    found, told = sheets(learned, open_session=missing)
    assert told == ("no pictures: the base is gone",)
    assert all(row.note == told[0] for sheet in found for row in sheet.rows)
    assert all(sheet.references.tiles for sheet in found)


def test_a_damaged_concept_leaves_the_pictures_of_the_others(learned):
    repo = Repository(learned)
    tom = repo.tree_of("HEAD").concepts["tom"]
    mask = repo.objects.path(repo.objects.load(tom).mask)
    mask.chmod(0o644)
    mask.write_bytes(mask.read_bytes()[:-4])
    found, told = sheets(learned)
    rows = {row.label: row for row in found[0].rows}
    assert rows["add rex, a dog, from 3 images"].tiles
    assert "corrupt" in rows["add tom, a cat, from 3 images"].note
    assert any("corrupt" in line for line in told)


def test_sheets_and_states_are_bounded(learned, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_SHEETS", 1)
    found, told = sheets(learned)
    assert [sheet.concept for sheet in found] == ["tom"]
    assert len(told) == 1


def test_large_pictures_become_small_and_small_ones_stay():
    for side, expected in ((64, 64), (512, pictures.SIDE)):
        data = webp(np.zeros((side, side, 3), np.uint8))
        with Image.open(BytesIO(data)) as picture:
            assert (picture.format, picture.size) == ("WEBP", (expected, expected))


def test_fill_measures_what_is_missing_and_nothing_twice(learned, monkeypatch):
    options = ReportOptions(start=learned, out=learned / "r.html", pictures=False, fill=True)
    first = report(options)
    assert (first.measured, first.missing) == (3, 0)
    repo = Repository(learned)
    stored = set(repo.objects.ids())
    monkeypatch.setattr(Session, "open", lambda *_: pytest.fail("the base was loaded"))
    again = report(options)
    assert set(repo.objects.ids()) == stored
    assert (again.verdict, again.bytes_written) == (first.verdict, first.bytes_written)


def test_the_filled_matrix_agrees_with_a_check(learned):
    """Same scores, same intervals, same outcome, and a check after it computes nothing."""
    report(ReportOptions(start=learned, out=learned / "r.html", pictures=False, fill=True))
    repo = Repository(learned)
    rows = {row.concept: row for row in check(CheckOptions(start=learned)).rows}
    data = Collector(repo, repo.resolve("HEAD")).collect("HEAD")  # an undecided check doubled its images
    for column, concept in enumerate(data.columns):
        row = rows[concept.name]
        assert data.outcomes[column] == row.verdict
        assert data.drift[data.head.id, concept.id] == pytest.approx(row.drift)
        assert data.tables[0].base[column] == pytest.approx(row.base_score)
        for table in data.tables[:2]:
            (judged,) = [one for one in row.metrics if one.metric == NAMES[table.metric]]
            drop = table.drops[column]
            assert (drop.drop, drop.low, drop.high) == pytest.approx((judged.drop, judged.low, judged.high))
            assert table.cells[-1][column].value == pytest.approx(judged.now)


def test_the_same_registry_gives_the_same_page(learned):
    options = ReportOptions(start=learned, out=learned / "r.html", images=1)
    report(options)
    first = (learned / "r.html").read_bytes()
    report(options)
    assert (learned / "r.html").read_bytes() == first
