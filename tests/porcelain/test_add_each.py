"""`cns add --each`: a concept a folder, one after another, whatever becomes of one of them."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from cns.errors import ImageError, MethodError
from cns_cli.main import app
from cns_cli.porcelain import add_each as door
from cns_cli.porcelain.add_each import add_each, add_plan, concept_folders, concept_name
from cns_cli.porcelain.answers import EachResult
from cns_cli.porcelain.learning.interrupted import pending_views
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import AddOptions, Spread
from cns_cli.progress import NullProgress
from cns_cli.signals import Interrupted
from cns_cli.workers import Workers
from registry.repository import Repository
from tests.porcelain.conftest import NOON, add, new_registry, write_photos
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


@pytest.mark.parametrize("has_registry", [True, False])
def test_a_dry_run_loads_the_base_once(
    has_registry: bool, apart: Path, tiny_base: Path, photos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no registry yet, too."""
    for module in ("add", "learning.estimate"):
        monkeypatch.setattr(f"cns_cli.porcelain.{module}.DEFAULT_BASE", str(tiny_base))
    loads, load = list[Any](), LoadedBase.open

    def counting(*given: Any, **more: Any) -> LoadedBase:
        loads.append(given)
        return load(*given, **more)

    monkeypatch.setattr(LoadedBase, "open", counting)
    start = apart if has_registry else apart.parent
    found = by_plan(start, planned(photos["rex"].parent, "rex", "tom", "mug"), dry_run=True)
    assert outcomes(found) == {"rex": "planned", "tom": "planned", "mug": "planned"}
    assert len(loads) == 1


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


def planned(folder: Path, *names: str, steps: int = 2) -> Path:
    tables = [f'[[concept]]\nname = "{name}"\nimages = "{name}"\nclass = "dog"\n' for name in names]
    plan = folder / "concepts.toml"
    plan.write_text(f"steps = {steps}\npreview = 1\ndirections = 2\n{''.join(tables)}", encoding="utf-8")
    return plan


def by_plan(
    registry: Path, plan: Path, progress: Any = None, jobs: int = 1, devices: tuple[str, ...] = (), **changes: Any
) -> EachResult:
    options = AddOptions(start=registry, name="", images=Path(), author="ann", time=NOON, **changes)
    return add_plan(options, plan, progress or NullProgress(), Spread(jobs=jobs, devices=devices))


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that are forked here, since a fresh one loads its libraries for seconds."""
    monkeypatch.setattr(door, "Workers", partial(Workers, method="fork"))


@pytest.fixture
def apart(tmp_path: Path, tiny_base: Path, mlflow_tables: Path) -> Path:
    """A registry without a concept, whose prompts see what they name."""
    return new_registry(tmp_path / "apart", tiny_base, mlflow_tables, "named")


@pytest.mark.usefixtures("forked")
def test_processes_teach_a_plan_as_one_does_and_the_next_run_does_what_is_left(
    apart: Path, photos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photos["rex"].parent
    alone = apart.parent / "alone"
    shutil.copytree(apart, alone)
    assert outcomes(by_plan(alone, planned(folder, "rex", "tom"))) == {"rex": "added", "tom": "added"}
    with monkeypatch.context() as patch:
        patch.setattr(door, "_in_turn", lambda *_: iter(()))  # nothing is left for this process
        first = by_plan(apart, planned(folder, "rex", "tom"), jobs=2)
    assert outcomes(first) == {"rex": "added", "tom": "added"}
    assert first.command == f"cns add --plan {folder / 'concepts.toml'} --jobs 2"
    assert not any(row.warnings for row in first.rows if "came first" in " ".join(row.warnings))
    assert dict(Repository(apart).tree_of("HEAD").concepts) == dict(Repository(alone).tree_of("HEAD").concepts)
    assert outcomes(by_plan(apart, planned(folder, "rex", "tom", "mug"), jobs=2, dry_run=True)) == {
        "rex": "skipped", "tom": "skipped", "mug": "planned",
    }  # fmt: skip


def test_a_base_that_is_kept_teaches_what_a_fresh_one_does(
    apart: Path, photos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is loaded once, and knows nothing of what was learned before: neither tokens nor weights nor what failed."""
    alone = apart.parent / "alone"
    shutil.copytree(apart, alone)
    add(alone, "tom", photos["tom"], directions=2, preview=1)
    opened, load = list[Session](), Session.open

    def counting(*given: Any, **more: Any) -> Session:
        opened.append(load(*given, **more))
        return opened[-1]

    monkeypatch.setattr(Session, "open", counting)
    plan = planned(photos["rex"].parent, "rex", "mug", "tom")
    text = plan.read_text(encoding="utf-8")
    text = text.replace('name = "rex"', 'name = "rex"\nvectors = 2\nlr = 0.1')
    plan.write_text(text.replace('name = "mug"', 'name = "mug"\nlr = 1e30'), encoding="utf-8")
    assert outcomes(by_plan(apart, plan)) == {"rex": "added", "mug": "failed", "tom": "added"}
    (session,) = opened
    vocabulary = session.base.model.pipeline.tokenizer.get_vocab()
    assert [token in vocabulary for token in ("<rex>", "<rex>_1", "<mug>", "<tom>")] == [False, False, False, True]
    assert Repository(apart).tree_of("HEAD").concepts["tom"] == Repository(alone).tree_of("HEAD").concepts["tom"]


@pytest.mark.usefixtures("forked")
def test_each_device_teaches_in_a_process_of_its_own(
    apart: Path, photos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was to be taught on a GPU that is not there fails, and what the other device had is added."""
    plan = planned(photos["rex"].parent, "rex", "tom")
    with monkeypatch.context() as patch:
        patch.setattr(door, "_in_turn", lambda *_: iter(()))
        found = by_plan(apart, plan, devices=("cpu", "cuda:99"))
    assert outcomes(found) == {"rex": "added", "tom": "failed"}
    assert found.rows[1].why == "this machine has no cuda:99 that torch can use"
    assert found.command == f"cns add --plan {plan} --devices cpu,cuda:99"
    assert outcomes(by_plan(apart, plan, devices=("cuda:99",))) == {"rex": "skipped", "tom": "failed"}


@pytest.mark.usefixtures("forked")
def test_an_interruption_of_processes_keeps_their_trainings_which_go_on(apart: Path, photos: dict[str, Path]) -> None:
    class Late(NullProgress):
        def step(self, done: int, **numbers: float) -> None:
            if numbers["steps"] > 40:
                raise KeyboardInterrupt

    plan = planned(photos["rex"].parent, "rex", "tom", steps=4000)
    with pytest.raises(Interrupted, match=r"training of (rex|tom) is kept at step") as stopped:
        by_plan(apart, plan, Late(), jobs=2)
    assert stopped.value.hint == f"cns add --plan {plan} --jobs 2"
    assert concepts(apart) == []
    kept = pending_views(Repository(apart))
    assert {view.name for view in kept} <= {"rex", "tom"}
    assert all(0 < view.done < view.total for view in kept)


def test_several_at_once_are_refused_where_each_is_learned_on_those_before_it(
    empty: Path, photos: dict[str, Path]
) -> None:
    plan = planned(photos["rex"].parent, "rex", "tom")
    with pytest.raises(MethodError, match="each is learned on those before it") as caught:
        by_plan(empty, plan, jobs=2)
    assert caught.value.hint == f"cns add --plan {plan}"
    assert concepts(empty) == []


def test_the_command_line_says_what_is_wrong_with_a_plan(empty, photos, monkeypatch):
    monkeypatch.chdir(empty)
    (empty / "bad.toml").write_text('[[concept]]\nname = "rex"\nstepz = 1\n', encoding="utf-8")
    done = CliRunner().invoke(app, ["add", "--plan", "bad.toml"], prog_name="cns")
    assert done.exit_code == 4
    assert "concept 1 (rex): unknown key 'stepz'; expected steps" in done.stderr
    for words in (["--each", "."], ["rex"], ["--resume"]):
        assert CliRunner().invoke(app, ["add", "--plan", "bad.toml", *words], prog_name="cns").exit_code == 2
    for words in (["--jobs", "2"], ["--devices", "cpu,cpu"]):
        done = CliRunner().invoke(app, ["add", "rex", ".", *words], prog_name="cns")
        assert done.exit_code == 2
        assert f"{words[0]} is for many concepts" in done.stderr
