"""The main job on the real base: two concepts learned, both in one model, the first not forgotten, history exact."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from benchmarks.learning import STREAM_COLUMNS, stream_rows
from benchmarks.shell import Ran
from tests.embedded.conftest import CONCEPTS, SHORT

pytestmark = pytest.mark.embedded


def test_each_concept_was_learned(lineage):
    for name, said in lineage.added.items():
        assert said["learned"], (name, said)
        assert said["identity_after"] > said["identity_before"] + 0.05
        assert said["identity_after"] <= 1.0
        assert said["clip_t_after"] > 0


def test_a_concept_is_small(lineage):
    for said in lineage.added.values():
        assert said["share_kv"] <= 0.058
        assert said["bits_per_weight"] <= 15
        assert said["bytes_stored"] < 60_000


@pytest.mark.usefixtures("few_steps_a_picture")
def test_by_default_a_concept_acts_where_it_is_named(run, tmp_path):
    def picture(name: str) -> np.ndarray:
        assert run(tmp_path, "generate", "a dog on the grass", "-o", name).exit_code == 0
        return np.asarray(Image.open(tmp_path / name))

    assert run(tmp_path, "init").exit_code == 0
    before = picture("before.png")
    short = ["--steps", "30", "--warmup", "30", "--batch-size", "4", "--preview", "8"]
    added = run(tmp_path, "add", "rex", str(lineage_images("dog")), *short, "--json")
    assert added.exit_code == 0, added.output
    said = json.loads(added.stdout)
    assert (said["rank"], said["compose"], said["learned"]) == (4, "named", True)
    assert said["bytes_stored"] < 35 * 1024
    np.testing.assert_array_equal(before, picture("after.png"))
    checked = run(tmp_path, "check", "--json")
    assert checked.exit_code == 0
    assert json.loads(checked.stdout)["images"] == 0


def test_the_class_noun_was_found(lineage):
    assert [said["class_noun"] for said in lineage.added.values()] == ["dog", "penguin"]


def test_the_first_concept_is_kept(lineage, run):
    result = run(lineage.folder, "check", "--images", "2", "--max-drop", "0.05", "--json")
    said = json.loads(result.stdout)
    assert result.exit_code == 0, said
    assert [row["verdict"] for row in said["rows"]] == ["kept", "kept"]
    rex = next(row for row in said["rows"] if row["concept"] == "rex")
    assert rex["metrics"][0]["high"] <= 0.05


def test_the_benchmark_reads_what_the_commands_answer(lineage, run):
    """`benchmarks/learning.py` runs for half an hour before it reads these answers."""
    checked = json.loads(run(lineage.folder, "check", "--images", "2", "--max-drop", "0.05", "--json").stdout)
    added = [Ran("cns add", 0, 50.0, 50.0, 2**30, json.dumps(said), "") for said in lineage.added.values()]
    rows, first = stream_rows(list(lineage.added), added, checked)
    assert [row[:2] for row in rows] == [["rex", "kept"], ["pip", "kept"]]
    assert all(len(row) == len(STREAM_COLUMNS) for row in rows)
    assert first["drop"] <= first["high"] <= 0.05


def test_a_harmful_commit_fails_the_gate_and_is_named(copy_of_lineage, run, tmp_path):
    """Without the regularizer and with a large learning rate the next concept costs the others their looks."""
    folder = copy_of_lineage.folder
    images = str(tmp_path / "car")
    shutil.copytree(lineage_images("car"), images)
    harm = ["--directions", "0", "--reg", "none", "--lr", "0.03", *SHORT, "--preview", "1", "--class", "car"]
    added = run(folder, "add", "vroom", images, *harm)
    assert added.exit_code == 0, added.output
    result = run(folder, "check", "--concept", "rex", "--images", "2", "--json")
    said = json.loads(result.stdout)
    assert result.exit_code == 3
    assert said["rows"][0]["verdict"] == "forgot"
    assert said["rows"][0]["metrics"][0]["drop"] > 0.02
    assert run(folder, "check", "HEAD~1", "--concept", "rex", "--images", "2", "--max-drop", "0.05").exit_code == 0


def test_going_back_gives_the_picture_of_before(copy_of_lineage, run):
    folder = copy_of_lineage.folder
    prompt = "a <rex> dog on the beach"
    assert run(folder, "generate", prompt, "--at", "HEAD~1", "-o", "then.png").exit_code == 0
    assert run(folder, "checkout", "HEAD~1").exit_code == 0
    assert run(folder, "generate", prompt, "-o", "back.png").exit_code == 0
    assert run(folder, "checkout", "main").exit_code == 0
    assert run(folder, "generate", prompt, "-o", "now.png").exit_code == 0
    then, back, now = (np.asarray(Image.open(folder / name)) for name in ("then.png", "back.png", "now.png"))
    np.testing.assert_array_equal(then, back)
    assert not np.array_equal(now, then)


def test_both_concepts_come_in_one_picture(lineage, run, tmp_path):
    target = tmp_path / "both.png"
    result = run(
        lineage.folder, "generate", "a <rex> dog and a <pip> penguin on the grass", "-o", str(target), "--json"
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["concepts"] == ["pip", "rex"]
    with Image.open(target) as picture:
        assert picture.size == (64, 64)


def lineage_images(noun: str):
    return CONCEPTS / noun
