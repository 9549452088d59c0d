"""A registry on a base of a transformer, with a T5 or a Gemma: taught, drawn, checked, merged, shared, exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cns import codec
from cns.errors import AdapterError
from cns.quiet import quiet_libraries
from cns_cli.porcelain.check import check
from cns_cli.porcelain.clone import clone
from cns_cli.porcelain.erase import CannotErase, erase
from cns_cli.porcelain.export import export
from cns_cli.porcelain.gate.weights import weight_gates
from cns_cli.porcelain.generate import generate
from cns_cli.porcelain.import_ import import_concept
from cns_cli.porcelain.learning.verifying import learn_again
from cns_cli.porcelain.merge import Choices, merge
from cns_cli.porcelain.models.deltas import stored_delta
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import CheckOptions, EraseOptions, GenerateOptions, ImportOptions, Request
from cns_cli.porcelain.push import push
from cns_cli.porcelain.remote import add_remote
from cns_cli.porcelain.views.neurons import show_neurons
from cns_cli.progress import NullProgress
from registry.errors import RegistryError
from registry.objects import Record
from registry.repository import Repository
from tests.porcelain.conftest import add, new_registry
from tests.tiny import tiny_sd

QUIET = NullProgress()
FEW: dict[str, Any] = {"warmup": 1, "preview": 1}


@pytest.fixture(scope="module", params=["pixart", "sana"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sd(tmp_path_factory.mktemp("base") / request.param, variant=request.param)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, base: Path, photos: dict[str, Path], mlflow_tables: Path) -> Path:
    """Rex has a mask, tom directions and came on a branch; prompts see what they name."""
    folder = new_registry(tmp_path_factory.mktemp(base.name), base, mlflow_tables, "named")
    repo = Repository(folder)
    repo.create_branch("cats")
    add(folder, "rex", photos["rex"], **FEW)
    repo.checkout("cats")
    add(folder, "tom", photos["tom"], class_noun="cat", directions=2, **FEW)
    repo.checkout("main")
    merge(Request(start=folder, author="ann"), "cats", Choices(), QUIET)
    return folder


def concept_of(folder: Path, name: str) -> str:
    return Repository(folder).tree_of("HEAD").concepts[name]


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def drawn(folder: Path, out: Path, prompt: str, **more: Any) -> np.ndarray:
    generate(GenerateOptions(start=folder, prompt=prompt, steps=2, seed=1, out=out, **more), QUIET)
    return pixels(out)


def test_a_pipeline_folder_draws_what_the_registry_draws(taught: Path, base: Path, tmp_path: Path) -> None:
    found = export("HEAD", "diffusers", tmp_path / "x", "fp32", taught, concepts=("rex",))
    ours = drawn(taught, tmp_path / "a.png", "a <rex> dog", guidance=1.0)
    said: dict[str, Any] = {}
    with quiet_libraries():
        exec("\n".join(found.load), said)  # what people are told
        pipeline = said["pipeline"]
        pipeline.set_progress_bar_config(disable=True)
        how = {"num_inference_steps": 2, "guidance_scale": 1.0, "use_resolution_binning": False}
        how |= {"height": 64, "width": 64}
        theirs = pipeline("a <rex> dog", clean_caption=False, generator=torch.Generator().manual_seed(1), **how)
    np.testing.assert_array_equal(np.asarray(theirs.images[0]), ours)
    assert any("clean_caption=False" in one for one in found.warnings) == (base.name == "pixart")  # Sana's own default


def test_a_merged_concept_draws_what_it_drew_on_its_branch(taught: Path, tmp_path: Path) -> None:
    """The other one came beside it: it keeps every bit."""
    here, there = (drawn(taught, tmp_path / f"{rev}.png", "a <tom> cat", at=rev) for rev in ("HEAD", "cats"))
    np.testing.assert_array_equal(here, there)
    boxed = drawn(taught, tmp_path / "b.png", "a dog", regions=("rex@0,0,0.5,1",))
    assert not np.array_equal(boxed, drawn(taught, tmp_path / "c.png", "a dog"))


def test_check_holds_exactly_what_may_not_change(taught: Path) -> None:
    result = check(CheckOptions(start=taught, images=1, max_drop={"": 2.0, "drift": 9.0}))
    assert {"rex", "tom"} <= {row.concept for row in result.rows}
    session = Session.open(Repository(taught), "cpu")
    tree = session.repo.tree_of("HEAD")
    session.write(tree)
    gates = weight_gates(session, tree, session.base.model.compose(session.parts(tree)))
    assert len(gates) == 3
    assert all(gates.values())


def test_neurons_are_named_by_block(taught: Path) -> None:
    assert [one.layer for one in show_neurons(taught, "rex").matrices][:3] == ["block 0", "block 0", "block 1"]


def test_a_training_can_be_repeated(taught: Path) -> None:
    repo = Repository(taught)
    commit = repo.commit_of(repo.resolve("cats"))
    record = repo.objects.get(commit.record, Record).data
    session = Session.open(repo, "cpu")
    concept = repo.tree_of("cats").concepts["tom"]
    assert learn_again(session, concept, record, QUIET, scores=False).parts == ()
    assert codec.rank_of(session.concept(concept).delta) == 2


def test_a_clone_finds_its_base_again(taught: Path, base: Path, tmp_path: Path) -> None:
    add_remote(taught, "origin", str(tmp_path / "there"))
    push(Request(start=taught), "origin", ["main"], QUIET)
    clone(Request(start=tmp_path), str(tmp_path / "there"), tmp_path / "mine", QUIET, base=str(base))
    one, other = (
        drawn(at, tmp_path / name, "a <rex> dog") for at, name in ((taught, "a.png"), (tmp_path / "mine", "b.png"))
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["lora", "lycoris", "comfy", "embedding", "checkpoint"])
def test_files_that_no_program_reads_are_refused_with_what_to_write(
    kind: str, taught: Path, base: Path, tmp_path: Path
) -> None:
    with pytest.raises(RegistryError, match=f"no export of a {base.name} base as {kind}") as caught:
        export("HEAD", kind, tmp_path / "x", "fp32", taught, concepts=("rex",))
    assert caught.value.hint == "cns export --format diffusers DIR"
    assert not (tmp_path / "x").exists()


def test_adapters_and_erasing_are_refused_and_a_delta_is_read(taught: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotErase, match=r"reads prompts by (T5|Gemma)"):
        erase(EraseOptions(start=taught, nouns=("car",)), QUIET)
    export("HEAD", "delta", tmp_path / "x", "fp32", taught, concepts=("rex",))
    file = tmp_path / "x" / "rex.safetensors"
    options = ImportOptions(start=taught, file=file, name="leo", class_noun="dog", token="<leo>", dry_run=True)
    found = import_concept(options, QUIET)
    assert found.neurons == codec.count_weights(stored_delta(Repository(taught), concept_of(taught, "rex")))
    (tmp_path / "lora.safetensors").write_bytes(b"")
    with pytest.raises(AdapterError, match=f"no adapter is read on a {base.name} base"):
        import_concept(replace(options, file=tmp_path / "lora.safetensors"), QUIET)
