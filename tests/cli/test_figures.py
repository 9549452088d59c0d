from __future__ import annotations

from pathlib import Path

import pytest

from cns_cli import figures


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (figures.byte_size, 0, "0 B"),
        (figures.byte_size, 812, "812 B"),
        (figures.byte_size, 999_600, "1 MB"),
        (figures.byte_size, 51_234, "51.2 KB"),
        (figures.byte_size, 1.43e9, "1.43 GB"),
        (figures.byte_size, 2.5e13, "25000 GB"),
        (figures.percent, 0.0581, "5.8 %"),
        (figures.percent, 0.0013, "0.13 %"),
        (figures.percent, 0.5, "50 %"),
        (figures.percent, 0, "0 %"),
        (figures.percent, None, "-"),
        (figures.percent, float("nan"), "-"),
        (figures.cosine, 0.79, "0.790"),
        (figures.cosine, None, "-"),
        (figures.drift, 0.0, "0"),
        (figures.drift, 3.21e-7, "3.2e-07"),
        (figures.drift, 0.0123, "0.0123"),
        (figures.number, 400, "400"),
        (figures.number, 1_250_000.0, "1,250,000"),
        (figures.number, 0.002, "0.002"),
        (figures.number, float("inf"), "inf"),
        (figures.duration, 0.44, "0.4 s"),
        (figures.duration, 41.3, "41 s"),
        (figures.duration, 200, "3 min 20 s"),
        (figures.duration, 7500, "2 h 5 min"),
        (figures.moment, 1_780_000_000, "2026-05-28 20:26 UTC"),
        (figures.moment, 10**30, f"{10**30} s"),
    ],
)  # fmt: skip
def test_written_for_people(write: object, value: object, text: str) -> None:
    assert write(value) == text  # type: ignore[operator]


def test_plurals() -> None:
    assert figures.plural(1, "image") == "1 image"
    assert figures.plural(2000, "image") == "2,000 images"


def test_a_path_stays_whole_where_the_current_folder_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert figures.place(tmp_path / "here" / "x") == "x"
    (tmp_path / "here").rmdir()
    assert figures.place(tmp_path / "here" / "x") == str(tmp_path / "here" / "x")
    monkeypatch.chdir(tmp_path)


def test_further_vectors_of_a_token_are_counted() -> None:
    assert figures.tokens(()) == "-"
    assert figures.tokens(("<rex>",)) == "<rex>"
    assert figures.tokens(("<rex>", *(f"<rex>_{k}" for k in range(1, 16)))) == "<rex> +15"
