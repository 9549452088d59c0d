"""What `cns add` accepts and how it sums up; what it does is tested with porcelain, on a real base."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cns_cli.commands.add import _advise, _command_for, add_lines, dry_run_lines
from cns_cli.output import Output
from cns_cli.porcelain.answers import AddResult, CheckRow, DryRun, MetricResult
from cns_cli.porcelain.options import AddOptions
from registry.pending import Pending
from tests.cli.conftest import modules_after

RESULT = AddResult(
    name="rex",
    class_noun="dog",
    class_confidence=0.93,
    token="<rex>",
    commit="3fa91c02ab" + "0" * 54,
    branch="main",
    neurons=34567,
    share_denoiser=0.0013,
    share_kv=0.0581,
    bytes_stored=51234,
    bits_per_weight=11.8,
    identity_before=0.58,
    identity_after=0.791,
    identity_ceiling=0.92,
    identity_alone=0.77,
    clip_i_before=0.6,
    clip_i_after=0.712,
    clip_t_after=0.25,
    drift={"tom": 0.00123, "pip": 0.0},
    images_check=None,
    photos_kept=True,
    preview=Path(".cns/previews/rex.png"),
    elapsed_s=41.3,
    images=5,
    registry=Path(".cns"),
    clip_t_before=0.31,
    captions="5 of 5, from .txt files; 1 cut at 75 tokens",
)
SUMMARY = """\
rex is a dog (inferred, 93% sure)

  prompt    a <rex> dog
  commit    3fa91c02ab on main
  neurons   34,567 weights: 5.8 % of K/V, 0.13 % of the denoiser
  stored    51.2 KB, 11.8 bits a changed weight
  photos    5 training images stored in .cns
  captions  5 of 5, from .txt files; 1 cut at 75 tokens
  identity  0.580 -> 0.791   (the images among themselves 0.920)
            0.770 without a background
  CLIP-I    0.600 -> 0.712
  CLIP-T    0.310 -> 0.250
  preview   .cns/previews/rex.png

Drift of the older concepts' K/V outputs (relative, squared; 0 is untouched)
  tom  0.0012
  pip       0
"""


def printed(lines: Any, capsys: pytest.CaptureFixture[str]) -> str:
    Output().answer({}, lines)
    return capsys.readouterr().out


def test_the_summary_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(add_lines(RESULT), capsys) == SUMMARY


def test_what_is_unknown_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    unknown = dict.fromkeys(
        ("class_confidence", "identity_before", "identity_after", "identity_ceiling", "clip_i_after", "clip_t_after")
    )
    bare = replace(RESULT, **unknown, drift={}, preview=None, photos_kept=False, branch=None)
    text = printed(add_lines(bare), capsys)
    assert text.startswith("rex is a dog\n")
    assert "on a detached HEAD" in text
    assert "only features of 5 training images stored in .cns" in text
    for absent in ("identity", "CLIP", "Drift", "preview"):
        assert absent not in text


def test_rows_of_the_check_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    row = CheckRow(
        concept="tom",
        concept_id="0" * 64,
        verdict="forgot",
        metrics=(
            MetricResult(
                metric="id",
                verdict="forgot",
                now=0.7,
                baseline=0.8,
                drop=0.1,
                low=0.08,
                high=0.12,
                max_drop=0.02,
                minimum=None,
                images=20,
            ),
        ),
        baseline_tree="1" * 64,
        drift=0.01,
        why="identity fell by 0.100",
    )
    text = printed(add_lines(replace(RESULT, images_check=(row,))), capsys)
    assert "tom      forgot  identity   " in text
    assert "tom: identity fell by 0.100" in text
    _advise(Output(), replace(RESULT, images_check=(row,)))
    talk = capsys.readouterr().err
    assert "warning: forgotten, compared with the own baseline: tom\n" in talk
    assert "  next: cns rm rex" in talk


def test_json_holds_every_field() -> None:
    data = json.loads(json.dumps(RESULT.to_json()))
    assert data["drift"] == {"tom": 0.00123, "pip": 0.0}
    assert data["preview"] == ".cns/previews/rex.png"
    assert data["learned"] is True


def test_what_to_type_next(capsys: pytest.CaptureFixture[str]) -> None:
    _advise(Output(), RESULT)
    talk = capsys.readouterr().err
    assert 'cns generate "a <rex> dog in the snow"' in talk
    assert "cns check" in talk
    longer = "cns add rex 'photos/my dog' --steps 2000 --replace"
    _advise(Output(), replace(RESULT, learned=False, drift={}, longer=longer))
    talk = capsys.readouterr().err
    assert "warning: rex was hardly learned" in talk
    assert f"  next: {longer}   (more steps" in talk


def test_a_dry_run_never_advises_what_would_be_refused() -> None:
    options = AddOptions(name="rex", images=Path("photos"), dry_run=True)
    facts = {"images": 6, "steps": 9, "seconds": 1.0, "memory_bytes": 1, "disk_bytes": 1, "device": "cpu"}
    clear = DryRun(name="rex", class_nouns=(("dog", 0.93),), **facts)
    assert _command_for(options, clear) == "cns add rex photos"
    unclear = DryRun(name="rex", class_nouns=(("birthday cake", 0.4), ("dog", 0.3)), **facts)
    assert _command_for(options, unclear) == "cns add rex photos --class 'birthday cake'"


def test_a_dry_run_says_what_it_would_take(capsys: pytest.CaptureFixture[str]) -> None:
    result = DryRun(
        name="rex", images=5, steps=450, seconds=62, memory_bytes=1_430_000_000, disk_bytes=131_000, device="cpu",
        class_nouns=(("dog", 0.93), ("wolf", 0.04)), captions="0 of 5",
        prompts=("a <rex> dog", "a <rex> dog at sunset"),
    )  # fmt: skip
    text = printed(dry_run_lines(result), capsys)
    for part in (
        "5 images",
        "62 s on cpu, 450 steps",
        "1.43 GB",
        "131 KB",
        "dog (93%), wolf (4%)",
        "captions    0 of 5",
        "prompts     a <rex> dog\n              a <rex> dog at sunset\n",
        "Nothing was written.",
    ):
        assert part in text
    assert result.to_json()["class_nouns"] == [["dog", 0.93], ["wolf", 0.04]]
    assert "450 steps of 9.0 s" in printed(dry_run_lines(replace(result, step_seconds=9.0)), capsys)


@pytest.mark.parametrize(
    "words",
    [
        ["rex", "no/such/folder"],
        ["rex", "file.txt"],
        ["rex", ".", "--steps", "0"],
        ["rex", ".", "--lr", "0"],
        ["rex", ".", "--lr", "nan"],
        ["rex", ".", "--budget", "0"],
        ["rex", ".", "--budget", "580%"],
        ["rex", ".", "--budget", "much"],
        ["rex", ".", "--seed", "-1"],
        ["rex", ".", "--seed", str(2**64)],
        ["rex", ".", "--resolution", "1"],
        ["rex", ".", "--device", "gpu"],
        ["rex", ".", "--reg-strength", "-1"],
        ["rex", ".", "--reg-strength", "inf"],
        ["rex", ".", "--anchor", "nan"],
        ["rex", ".", "another"],
    ],
)
def test_a_bad_argument_is_refused_before_anything_is_loaded(words: list[str], cns: Any, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("x")
    result = cns("add", *words)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert not (tmp_path / ".cns").exists()


def picture_folder(folder: Path, count: int = 1) -> Path:
    folder.mkdir()
    for i in range(count):
        Image.new("RGB", (80, 80), (40 * i, 90, 120)).save(folder / f"{i}.png")
    return folder


def test_a_folder_without_images_is_refused_before_a_registry_is_made(cns: Any, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    result = cns("add", "rex", "photos")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "photos" in result.stderr
    assert "  try: cns add " in result.stderr or "  hint: " in result.stderr
    assert not (tmp_path / ".cns").exists()


@pytest.mark.parametrize("name", ["../rex", "rex dog", "-rex", "a" * 65, "rex.lock", "\x1b[2J", ""])
def test_a_bad_name_is_refused_before_a_registry_is_made(name: str, cns: Any, tmp_path: Path) -> None:
    picture_folder(tmp_path / "photos")
    result = cns("add", "--", name, "photos")
    assert result.exit_code == 4
    assert "\x1b" not in result.stderr
    assert not (tmp_path / ".cns").exists()


def test_what_replaces_nothing_is_typed_again_without_that_and_with_all_else(
    lineage: Any, cns: Any, tmp_path: Path
) -> None:
    picture_folder(tmp_path / "my photos")
    typed = ("my photos", "--class", "guide dog", "--steps", "9", "--budget", "5.8%", "--norm-guard", "--seed", "3")
    result = cns("add", "rex", *typed, "--no-keep-images", "--replace")
    hint = result.stderr.splitlines()[-1].removeprefix("  try: ")
    assert hint == (
        "cns add rex 'my photos' --class 'guide dog' --steps 9 --budget 0.058 --seed 3 --norm-guard --no-keep-images"
    )
    lineage.add("rex")
    assert "'rex' is taken" in cns(*shlex.split(hint)[1:]).stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed", "0"], "--seed is 0, and was 3"),
        (["--kind", "object"], "--kind is object, and was style"),
        (["--vectors", "1"], "--vectors is 1, and was 2"),
    ],
)
def test_a_default_that_is_typed_is_not_what_was_interrupted(
    words: list[str], said: str, lineage: Any, cns: Any, tmp_path: Path
) -> None:
    images = str(picture_folder(tmp_path / "photos"))
    facts = {
        "options": {"images": images, "seed": 3, "kind": "style", "vectors": 2},
        "request": {"concepts": {}, "images": {}},
        "done": 1,
        "total": 2,
    }
    Pending(lineage.repo.folder).save("rex", "ab" * 4, facts, b"state")
    result = cns("add", "--resume", *words)
    assert result.exit_code == 5
    assert said in result.stderr


def test_a_name_that_is_taken_names_the_way_out(lineage: Any, cns: Any, tmp_path: Path) -> None:
    lineage.add("rex")
    before = lineage.repo.head()
    picture_folder(tmp_path / "photos")
    result = cns("add", "rex", "photos")
    assert result.exit_code == 4
    assert "'rex'" in result.stderr
    assert lineage.repo.head() == before


def test_these_refusals_need_no_torch(lineage: Any, tmp_path: Path) -> None:
    lineage.add("rex")
    picture_folder(tmp_path / "photos")
    (tmp_path / "empty").mkdir()
    for words, code in ((["rex", "photos"], 4), (["tom", "empty"], 5), (["no good", "photos"], 4)):
        loaded = modules_after(["add", *words], tmp_path, code)
        assert not loaded & {"torch", "diffusers", "transformers", "mlflow"}


def test_says_how_full_the_model_is_and_what_a_projection_left(capsys: pytest.CaptureFixture[str]) -> None:
    shares = {"capacity_held": 0.11, "general_share": 0.25, "capacity_free": 0.65, "reused": 0.4}
    text = printed(add_lines(replace(RESULT, capacity=shares, energy_left=0.62)), capsys)
    assert "11 % held by concepts, 25 % general, 65 % free" in text
    assert "40 % of its weights with older concepts" in text
    assert "with older" not in printed(add_lines(replace(RESULT, capacity=shares, drift={})), capsys)
    assert "62 % of each step, by the projection" in text


def test_a_style_is_called_one_and_its_prompt_draws_something(capsys: pytest.CaptureFixture[str]) -> None:
    style = replace(RESULT, name="mona", class_noun="style", token="<mona>", kind="style", class_confidence=None)
    text = printed(add_lines(style), capsys)
    assert "mona is a style of drawing things" in text
    assert "a <mona> style house" in text


@pytest.mark.parametrize(
    "words",
    [("--vectors", "0"), ("--vectors", "17"), ("--kind", "mood"), ("--past-vote", "0"), ("--past-vote", "1.5"),
     ("--warmup", "-1"), ("--anchor", "-1"), ("--prior", "-1")],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused_before_anything_is_loaded(
    words: tuple[str, str], cns: Any, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    result = cns("add", "rex", "photos", *words)
    assert result.exit_code == 2
    assert words[0] in result.stderr
