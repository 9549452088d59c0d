"""`cns add --resume`: the same concept as without the interruption, or a sentence that says why not."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cns.errors import MethodError
from cns_cli.porcelain.add import add_concept
from cns_cli.porcelain.answers import AddResult
from cns_cli.porcelain.learning.saving import Saver
from cns_cli.porcelain.options import AddOptions
from cns_cli.porcelain.status import status
from cns_cli.progress import NullProgress
from cns_cli.signals import Interrupted
from registry import fsio
from registry.errors import BadValue, DiskFailed, LockBusy, RegistryError
from registry.objects import Blob, Erasure, Record
from registry.pending import Pending, StateCorrupt
from registry.repository import Repository
from tests.porcelain.conftest import NOON, add, new_registry, write_photos
from tests.steps import WARM_UP


class Stop(NullProgress):
    """Interrupts at a step of a stage (0: when it begins), as Ctrl-C would, and keeps what was said."""

    def __init__(self, stage: str = "", step: int = 0, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.where, self.at, self.error = stage, step, error
        self.name = ""
        self.notes: list[str] = []
        self.stages: list[str] = []

    def stage(self, name: str, total: int | None = None) -> None:
        self.name = name
        self.stages.append(name)
        self.step(0)

    def step(self, done: int, **numbers: float) -> None:
        if (self.name, done) == (self.where, self.at):
            raise self.error

    def note(self, text: str) -> None:
        self.notes.append(text)


def options(registry: Path, images: Path, **changes: Any) -> AddOptions:
    settings: dict[str, Any] = {"class_noun": "dog", "steps": 4, "score": "wanda", "author": "ann", "time": NOON}
    return AddOptions(start=registry, name=changes.pop("name", "rex"), images=images, **{**settings, **changes})


def interrupt(registry: Path, images: Path, stage: str, step: int, **changes: Any) -> Interrupted:
    with pytest.raises(Interrupted) as stopped:
        add_concept(options(registry, images, **changes), Stop(stage, step))
    return stopped.value


def resume(registry: Path, progress: Stop | None = None, **given: Any) -> AddResult:
    words = {"name": "", "images": Path(), "author": "ann", "time": NOON, **given}
    result = add_concept(AddOptions(start=registry, resume=True, **words), progress or Stop())
    assert isinstance(result, AddResult)
    return result


def concept_of(registry: Path, name: str = "rex") -> str | None:
    return Repository(registry).tree_of("HEAD").concepts.get(name)


def states(registry: Path) -> list[str]:
    return [state.name for state in Pending(registry / ".cns").all()]


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, photos: dict[str, Path], mlflow_tables: Path
) -> Path:
    """A registry whose one add nobody interrupted."""
    folder = new_registry(tmp_path_factory.mktemp("undisturbed"), tiny_base, mlflow_tables)
    add_concept(options(folder, photos["rex"]), Stop())
    return folder


@pytest.fixture(scope="session")
def whole(undisturbed: Path) -> str | None:
    """Id of the concept that nobody interrupted."""
    return concept_of(undisturbed)


@pytest.fixture
def empty(empty: Path, undisturbed: Path) -> Path:
    """A registry without a concept that need not find the general neurons once more."""
    shutil.copytree(undisturbed / ".cns" / "cache", empty / ".cns" / "cache", dirs_exist_ok=True)
    (empty / ".cns" / "cache" / "mlflow-refs.json").unlink(missing_ok=True)
    return empty


@pytest.mark.parametrize(
    ("stage", "step", "done"),
    [
        ("token warm-up", 1, 1),
        ("token warm-up", 2, 2),
        ("selection", 0, WARM_UP),
        ("finetuning", 1, WARM_UP + 1),
        ("judge the concept", 0, WARM_UP + 4),
        ("commit", 0, WARM_UP + 4),
    ],
)
def test_the_concept_is_the_one_of_an_undisturbed_add(empty, photos, whole, stage, step, done):
    stopped = interrupt(empty, photos["rex"], stage, step)
    assert f"the training of rex is kept at step {done} of {WARM_UP + 4}" in stopped.message
    assert stopped.hint == f"cns add rex {photos['rex']} --resume"
    assert concept_of(empty) is None
    [view] = status(empty).interrupted
    assert (view.name, view.done, view.command) == ("rex", done, "cns add rex --resume")
    progress = Stop()
    assert resume(empty, progress).name == "rex"
    assert ("token warm-up" in progress.stages) == (done < WARM_UP)
    assert concept_of(empty) == whole
    assert states(empty) == []
    assert status(empty).interrupted == ()


def test_it_can_be_interrupted_again_and_again(empty, photos, whole):
    interrupt(empty, photos["rex"], "token warm-up", 1)
    for stage, step in (("token warm-up", 2), ("finetuning", 1), ("finetuning", 3)):
        with pytest.raises(Interrupted):
            resume(empty, Stop(stage, step), name="rex", images=photos["rex"])
    resume(empty)
    assert concept_of(empty) == whole


def test_before_the_training_there_is_nothing_to_keep(empty, photos):
    stopped = interrupt(empty, photos["rex"], "judge the class noun", 0)
    assert stopped.message == "nothing was committed; the training had not begun"
    assert states(empty) == []


def test_after_the_commit_it_stands_and_mlflow_may_lack_it(empty, photos, whole):
    stopped = interrupt(empty, photos["rex"], "record in MLflow", 0)
    assert stopped.message.startswith("rex is committed as ")
    assert stopped.hint == "cns mlflow sync"
    assert concept_of(empty) == whole
    assert states(empty) == []


def test_a_kill_between_commit_and_clean_up_leaves_nothing_that_is_offered(empty, photos, monkeypatch):
    monkeypatch.setattr(Pending, "remove", lambda self, name: 0)
    add_concept(options(empty, photos["rex"]), Stop())
    monkeypatch.undo()
    assert states(empty) == ["rex"]
    assert status(empty).interrupted == ()
    with pytest.raises(RegistryError, match="is over and committed"):
        resume(empty)
    assert states(empty) == []


def test_without_resume_it_starts_anew_says_so_and_loses_nothing(empty, photos, whole):
    interrupt(empty, photos["rex"], "finetuning", 3)
    progress = Stop("token warm-up", 2)
    with pytest.raises(Interrupted) as stopped:
        add_concept(options(empty, photos["rex"]), progress)
    assert any("cns add rex --resume" in note for note in progress.notes)
    assert f"step {WARM_UP + 3}" in stopped.value.message
    resume(empty)
    assert concept_of(empty) == whole


def test_states_of_other_settings_stay_beside_each_other(empty, photos, whole):
    interrupt(empty, photos["rex"], "finetuning", 2)
    interrupt(empty, photos["rex"], "token warm-up", 2, seed=3)
    assert states(empty) == ["rex", "rex"]
    resume(empty, name="rex", steps=4, score="wanda", class_noun="dog", message="by seed 3")
    repo = Repository(empty)
    assert repo.commit_of(repo.head().commit).message == "by seed 3"
    assert concept_of(empty) != whole
    assert states(empty) == []


def test_options_that_are_given_choose_the_state(empty, photos, whole):
    interrupt(empty, photos["rex"], "token warm-up", 2, steps=3)
    interrupt(empty, photos["rex"], "finetuning", 2)
    interrupt(empty, photos["rex"], "token warm-up", 2, steps=2)
    resume(empty, steps=4)
    assert concept_of(empty) == whole


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"steps": 9}, "--steps is 9, and was 4"),
        ({"seed": 1}, "--seed is 1, and was 0"),
        ({"class_noun": "cat"}, "--class is cat, and was dog"),
        ({"reg": "none", "lr": 0.1}, "--lr is new: 0.1; --reg is new: none"),
        ({"replace": True}, "--replace is True, and was False"),
    ],
)
def test_an_option_that_differs_is_named(empty, photos, given, said):
    interrupt(empty, photos["rex"], "token warm-up", 2)
    with pytest.raises(MethodError) as error:
        resume(empty, name="rex", **given)
    assert said in error.value.message
    assert error.value.hint.startswith(f"cns add rex {photos['rex']} --class ")
    assert "--score wanda" in error.value.hint
    assert states(empty) == ["rex"]


def test_images_that_changed_are_named_before_torch_is_needed(empty, tmp_path):
    folder = write_photos(tmp_path / "photos", 0)
    interrupt(empty, folder, "token warm-up", 2)
    (folder / "0.png").unlink()
    shutil.copy(folder / "1.png", folder / "9.png")
    (folder / "2.png").write_bytes((folder / "1.png").read_bytes())
    progress = Stop()
    with pytest.raises(MethodError) as error:
        resume(empty, progress)
    for said in ("images 0.png is gone", "images 2.png is ", "images 9.png is new"):
        assert said in error.value.message
    assert progress.stages == []


def test_captions_that_changed_are_named(empty, tmp_path):
    folder = write_photos(tmp_path / "photos", 0)
    interrupt(empty, folder, "token warm-up", 2)
    (folder / "0.txt").write_text("a {name} dog on the grass")
    with pytest.raises(MethodError, match="captions is"):
        resume(empty)


def test_a_model_that_changed_is_named(empty, photos):
    interrupt(empty, photos["rex"], "token warm-up", 2)
    add(empty, "mug", photos["mug"], class_noun="cup")
    with pytest.raises(MethodError, match="concepts mug is new"):
        resume(empty)
    Repository(empty).checkout("HEAD~1")
    assert resume(empty).branch is None


def test_a_noun_that_was_erased_meanwhile_is_named(empty, photos):
    interrupt(empty, photos["rex"], "token warm-up", 2)
    repo = Repository(empty)
    part = repo.objects.put(Blob(b"no delta"))
    erased = repo.objects.put(Erasure(repo.tree_of("HEAD").base, {"dog": ""}, part, part))
    repo.commit(
        kind="erase", message="erase dog", author="ann", time=NOON, record=Record({}),
        change=lambda tree: replace(tree, erasure=erased), seen=repo.head().commit, keep_as="dog",
    )  # fmt: skip
    with pytest.raises(MethodError, match="erasure is new"):
        resume(empty)


def test_another_version_of_torch_is_named(empty, photos, monkeypatch):
    import diffusers

    interrupt(empty, photos["rex"], "token warm-up", 2)
    monkeypatch.setattr(diffusers, "__version__", "9.9")
    with pytest.raises(MethodError, match=r"versions diffusers is 9\.9, and was"):
        resume(empty)


def test_photos_that_moved_are_taken_from_their_new_place(empty, tmp_path, whole, photos):
    shutil.copytree(photos["rex"], tmp_path / "here")
    interrupt(empty, tmp_path / "here", "finetuning", 2)
    (tmp_path / "here").rename(tmp_path / "there")
    resume(empty, name="rex", images=tmp_path / "there")
    assert concept_of(empty) == whole


def test_photos_in_a_folder_whose_name_is_not_utf_8_are_found_again(empty, tmp_path, whole, photos):
    folder = tmp_path / os.fsdecode(b"caf\xe9 100%")
    shutil.copytree(photos["rex"], folder)
    interrupt(empty, folder, "finetuning", 2)
    assert status(empty).interrupted[0].images == folder
    resume(empty)
    assert concept_of(empty) == whole


def test_nothing_to_resume_says_what_to_type(empty, photos):
    with pytest.raises(MethodError) as error:
        resume(empty, name="rex", images=photos["rex"])
    assert error.value.hint == f"cns add rex {photos['rex']}"
    with pytest.raises(MethodError, match="no interrupted training waits"):
        resume(empty)


def test_several_names_are_listed(empty, photos):
    interrupt(empty, photos["rex"], "token warm-up", 2)
    interrupt(empty, photos["tom"], "token warm-up", 2, name="tom")
    with pytest.raises(MethodError, match="2 interrupted trainings wait: rex, tom"):
        resume(empty)
    assert [view.name for view in status(empty).interrupted] == ["tom", "rex"]
    assert resume(empty, name="rex").name == "rex"
    assert states(empty) == ["tom"]


def test_a_damaged_state_is_refused_and_a_fresh_start_works(empty, photos, whole):
    interrupt(empty, photos["rex"], "token warm-up", 2)
    [state] = Pending(empty / ".cns").all()
    state.path.write_bytes(state.path.read_bytes()[:-5])
    with pytest.raises(StateCorrupt, match="checksum"):
        resume(empty)
    add_concept(options(empty, photos["rex"]), Stop())
    assert concept_of(empty) == whole
    assert states(empty) == []


def test_replacing_can_be_resumed(learned, photos):
    interrupt(learned, photos["mug"], "finetuning", 2, replace=True)
    before = concept_of(learned)
    assert status(learned).interrupted[0].name == "rex"
    resume(learned)
    assert concept_of(learned) != before
    assert states(learned) == []


def test_a_lock_that_stays_busy_costs_no_training(empty, photos, whole, monkeypatch):
    def busy(self: Repository, **_: Any) -> None:
        raise LockBusy(self.folder / "lock", 60)

    monkeypatch.setattr(Repository, "commit", busy)
    with pytest.raises(LockBusy):
        add_concept(options(empty, photos["rex"]), Stop())
    monkeypatch.undo()
    progress = Stop()
    resume(empty, progress)
    assert "token warm-up" not in progress.stages
    assert concept_of(empty) == whole


def test_a_training_that_diverged_leaves_no_state(empty, photos):
    with pytest.raises(MethodError, match="diverged"):
        add_concept(options(empty, photos["rex"], lr=1e30, reg="none"), Stop())
    assert states(empty) == []


@pytest.mark.parametrize(
    "error",
    [DiskFailed("write", Path("x"), OSError(28, "No space left on device")), BadValue("text", "\udce9", "UTF-8")],
    ids=["full", "not JSON"],
)
def test_a_disk_that_takes_no_state_stops_no_training(empty, photos, whole, monkeypatch, error):
    def full(self: Pending, *_: Any) -> None:
        raise error

    monkeypatch.setattr(Pending, "save", full)
    progress = Stop()
    add_concept(options(empty, photos["rex"]), progress)
    assert [note for note in progress.notes if "could not be resumed" in note]
    assert concept_of(empty) == whole


class Clock:
    """Seconds that a test sets; writing takes as long as it says."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_writing_takes_a_bounded_share_of_the_time(empty, photos, monkeypatch):
    """A slow disk: each write takes 3 s, a step 1 s. The writes that are not due keep to their share."""
    clock, writes = Clock(), []
    made = Saver.__init__

    def slow(path: Path, data: bytes, **_: Any) -> None:
        if path.suffix == ".state":
            clock.now += 3
            writes.append(clock.now)

    class Ticking(Stop):
        def step(self, done: int, **numbers: float) -> None:
            clock.now += 1

    monkeypatch.setattr(Saver, "__init__", lambda self, *words: made(self, *words, clock))
    monkeypatch.setattr(fsio, "replace", slow)
    steps = 100
    with pytest.raises(RegistryError):  # nothing at all was written, so the objects are missing
        add_concept(options(empty, photos["rex"], warmup=steps), Ticking())
    due = 3
    assert due < len(writes) <= due + 1 + steps / 300
