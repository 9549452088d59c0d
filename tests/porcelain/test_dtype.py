"""`--dtype` and `cns config dtype`: pictures, scores and trainings of a shorter number format."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cns.errors import MethodError, SettingsError
from cns_cli.porcelain.check import check
from cns_cli.porcelain.config import BadSetting, change_setting
from cns_cli.porcelain.gate.setup import protocol_for
from cns_cli.porcelain.generate import generate
from cns_cli.porcelain.models.device import dtype_for
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import CheckOptions, GenerateOptions, Request
from cns_cli.porcelain.pictures.files import read_picture
from cns_cli.porcelain.scoring.judging import protocol_of
from cns_cli.porcelain.verify import verify
from cns_cli.porcelain.views.commits import record_data
from cns_cli.progress import NullProgress
from registry.errors import BadConfig
from registry.repository import Repository
from tests.porcelain.conftest import NOON, add

PROMPT = "a <rex> dog"


def pixels_of(folder: Path, name: str, **changes: Any) -> np.ndarray:
    out = folder / f"{name}.png"
    generate(GenerateOptions(start=folder, prompt=PROMPT, steps=2, out=out, **changes), NullProgress())
    return np.asarray(Image.open(out).convert("RGB")).astype(int)


def test_a_picture_says_its_format_where_it_is_not_float32_and_the_config_asks_for_one(learned: Path) -> None:
    plain, exact = pixels_of(learned, "plain"), pixels_of(learned, "exact", dtype="float32")
    assert np.array_equal(plain, exact)
    assert (learned / "plain.png").read_bytes() == (learned / "exact.png").read_bytes()
    assert b'"dtype"' not in (learned / "plain.png").read_bytes()
    short = pixels_of(learned, "short", dtype="bfloat16")
    assert 0 < np.abs(short - exact).mean() < 3
    record = read_picture(learned / "short.png")
    assert record.dtype == "bfloat16"
    assert "--dtype bfloat16" in record.command()
    change_setting(Request(start=learned), "dtype", "bfloat16")
    assert np.array_equal(pixels_of(learned, "asked"), short)
    assert np.array_equal(pixels_of(learned, "typed", dtype="float32"), exact)


def test_scores_of_two_formats_are_never_compared(learned: Path) -> None:
    asked: dict[str, Any] = {"start": learned, "images": 1, "max_drop": {"": 2.0}}
    check(CheckOptions(**asked))
    first = check(CheckOptions(**asked, dtype="bfloat16"))
    assert first.images_made > 0
    assert check(CheckOptions(**asked, dtype="bfloat16")).images_made == 0
    assert check(CheckOptions(**asked, dtype="float32")).images_made == 0
    repo = Repository(learned)
    tree = repo.tree_of("HEAD")
    plans = {one: protocol_for(repo, tree, CheckOptions(start=learned, dtype=one)) for one in ("auto", "bfloat16")}
    assert plans["auto"].scores["dtype"] == "torch.float32"
    assert plans["bfloat16"].scores == {**plans["auto"].scores, "dtype": "torch.bfloat16"}
    assert plans["bfloat16"].kv_drift() == plans["auto"].kv_drift()
    base = Session.open(repo, "cpu", dtype="bfloat16").base
    assert protocol_of(base, 0).scores == plans["bfloat16"].scores


def test_a_training_keeps_its_format_and_is_verified_in_it(learned: Path, photos: dict[str, Path]) -> None:
    add(learned, "mug", photos["mug"], dtype="bfloat16", class_noun="cup")
    repo = Repository(learned)
    record = record_data(repo, repo.commit_of(repo.head().commit))
    assert record["dtype"] == "torch.bfloat16"
    assert record["params"]["dtype"] == "bfloat16"
    said = verify(Request(start=learned), "HEAD", "mug", NullProgress())
    assert said.machine == ()
    assert said.concepts[0].outcome == "identical"
    add(learned, "mug", photos["rex"], continues=True, class_noun=None, time=NOON + 300)
    assert record_data(repo, repo.commit_of(repo.head().commit))["params"]["dtype"] == "bfloat16"


def test_a_training_in_float16_is_refused_with_what_to_type(learned: Path, photos: dict[str, Path]) -> None:
    with pytest.raises(MethodError, match="gradients vanish") as refused:
        add(learned, "mug", photos["mug"], dtype="float16")
    assert "--dtype bfloat16" in refused.value.hint


def test_a_training_is_on_one_device(learned: Path, photos: dict[str, Path]) -> None:
    with pytest.raises(SettingsError, match="a training computes on one device"):
        add(learned, "mug", photos["mug"], dtype="float32", device="balanced")


def test_a_format_that_there_is_not_is_refused(learned: Path) -> None:
    with pytest.raises(BadSetting, match="auto, float32, bfloat16, float16"):
        change_setting(Request(start=learned), "dtype", "fp16")
    Repository(learned).set_config("dtype", "fp16")
    with pytest.raises(BadConfig, match="dtype is 'fp16'"):
        check(CheckOptions(start=learned, images=1))


def test_what_suits_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert dtype_for("auto", "cpu") == dtype_for("auto", "mps") == "float32"
    assert dtype_for("float16", "cpu") == "float16"
    monkeypatch.setattr("cns.loading.pick_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    assert dtype_for("auto", "cuda") == "float16"
    assert dtype_for("auto", "cuda", trains=True) == "float32"


def test_export_is_exact_whatever_the_config_asks_for(learned: Path) -> None:
    change_setting(Request(start=learned), "dtype", "bfloat16")
    repo = Repository(learned)
    assert Session.open(repo, "cpu").base.dtype == "float32"
    assert Session.open(repo, "cpu", dtype="auto").base.dtype == "bfloat16"
