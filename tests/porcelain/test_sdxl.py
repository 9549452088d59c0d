"""A registry on a base of two text encoders: taught, drawn, exported to each format, read back, taught on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cns import codec
from cns.adapters.embeddings import TWO_ENCODERS, read_vectors
from cns.adapters.modules import Modules
from cns.adapters.update import read_update
from cns.compose import Weights, kv_parameters
from cns.errors import AdapterError
from cns.files.pipelines import parts_of
from cns.quiet import quiet_libraries
from cns.sampling import sample
from cns.text import conditions_of, text_encoders
from cns_cli.porcelain.export import export
from cns_cli.porcelain.learning.continuing import stored_photos
from cns_cli.porcelain.learning.verifying import learn_again
from cns_cli.porcelain.models.session import Session
from cns_cli.progress import NullProgress
from registry.objects import Concept, Record
from registry.repository import Repository
from registry.trees import composing
from tests.porcelain.conftest import add, new_registry
from tests.tiny import SECOND_WIDTH, WIDTH, tiny_sd

with quiet_libraries():
    from diffusers import StableDiffusionXLPipeline

WEIGHTS = ("lora", "lycoris", "comfy")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sd(tmp_path_factory.mktemp("base") / "sdxl", variant="sdxl")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, base: Path, photos: dict[str, Path], mlflow_tables: Path) -> Path:
    """Rex has a mask, tom two vectors and directions; prompts see what they name."""
    folder = new_registry(tmp_path_factory.mktemp("sdxl"), base, mlflow_tables, "named")
    few: dict[str, Any] = {"warmup": 1, "preview": 1}
    add(folder, "rex", photos["rex"], **few)
    add(folder, "tom", photos["tom"], class_noun="cat", directions=2, vectors=2, **few)
    return folder


@pytest.fixture(scope="module")
def session(taught: Path) -> Session:
    return Session.open(Repository(taught), "cpu")


def plain(folder: Path) -> StableDiffusionXLPipeline:
    """A pipeline as diffusers opens it."""
    with quiet_libraries():
        pipeline = StableDiffusionXLPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def drawn(pipeline: Any, prompt: str) -> np.ndarray:
    with quiet_libraries():
        generator = torch.Generator().manual_seed(1)
        found = pipeline(prompt, num_inference_steps=2, negative_prompt="a cup", generator=generator)
    return np.asarray(found.images[0])


def of_tom(session: Session) -> Weights:
    """The weights that a prompt of tom sees, which the live model has from here on, with the tokens of both."""
    tree = session.repo.tree_of("HEAD")
    return session.set_tree(composing(dataclasses.replace(tree, concepts={"tom": tree.concepts["tom"]}), "all"))


def same(pipeline: Any, weights: Mapping[str, torch.Tensor], **tolerance: float) -> None:
    for name, found in kv_parameters(pipeline).items():
        torch.testing.assert_close(found.detach(), weights[name], **{"rtol": 0, "atol": 0, **tolerance})


def test_a_pipeline_folder_draws_what_the_registry_draws(taught: Path, session: Session, tmp_path: Path) -> None:
    found = export("HEAD", "diffusers", tmp_path / "x", "fp32", taught, concepts=("tom",))
    assert "StableDiffusionXLPipeline" in found.load[-1]
    weights = of_tom(session)
    pipeline = plain(tmp_path / "x")
    same(pipeline, weights)
    ours = sample(session.base.model.pipeline, ["a <tom> cat"], [1], steps=2, guidance=5.0, negative="a cup")
    np.testing.assert_array_equal(drawn(pipeline, "a <tom> cat"), ours[0])
    assert (tmp_path / "x" / "tokenizer_2" / "merges.txt").exists()  # as transformers 4 reads it
    assert all(name.startswith("text_") for name in load_file(tmp_path / "x" / "text_encoder_2" / "model.safetensors"))


def test_each_pictures_prompt_sees_what_it_names(taught: Path, session: Session) -> None:
    tree = session.repo.tree_of("HEAD")
    session.write(tree)
    how: dict[str, Any] = {"steps": 2, "guidance": 5.0}  # against the empty prompt, which is all zeros to the matrices
    prompts, seeds = ["a <tom> cat", "a <rex> dog"], [1, 2]
    both = sample(session.base.model.pipeline, prompts, seeds, **how)
    of_tom(session)
    alone = sample(session.base.model.pipeline, prompts, seeds, **how)
    np.testing.assert_array_equal(both[0], alone[0])
    assert not np.array_equal(both[1], alone[1])


def test_weights_are_read_by_diffusers_where_it_takes_such_files(
    taught: Path, session: Session, base: Path, tmp_path: Path
) -> None:
    export("HEAD", "lora", tmp_path / "x", "fp32", taught, concepts=("tom",))
    weights = of_tom(session)
    file = load_file(tmp_path / "x" / "tom.safetensors")
    assert {name.split("_blocks_")[0] for name in file if "_blocks_" in name} == {
        *("lora_unet_input", "lora_unet_output", "lora_unet_middle_block_1_transformer")
    }
    pipeline = plain(base)
    with quiet_libraries():
        pipeline.load_lora_weights(tmp_path / "x", weight_name="tom.safetensors")
        pipeline.fuse_lora()
        pipeline.unload_lora_weights()
    same(pipeline, weights, atol=1e-6)
    assert any(not torch.equal(weights[name], one) for name, one in session.base.model.base.items())


@pytest.mark.parametrize("kind", WEIGHTS)
def test_what_is_exported_is_read_back(kind: str, taught: Path, session: Session, base: Path, tmp_path: Path) -> None:
    export("HEAD", kind, tmp_path / "x", "fp32", taught, concepts=("tom",))
    weights, modules = of_tom(session), Modules(base)
    update = read_update(tmp_path / "x" / "tom.safetensors", modules)
    for name, change in update.changes.items():
        expected = weights[name].double().numpy() - session.base.model.base[name].double().numpy()
        np.testing.assert_allclose(change.weight, expected, atol=1e-6)
    assert update.changes.keys() == weights.keys()


def test_vectors_of_both_encoders_are_read_by_diffusers_and_by_us(
    taught: Path, session: Session, base: Path, tmp_path: Path
) -> None:
    found = export("HEAD", "embedding", tmp_path / "x", "fp32", taught, concepts=("tom",))
    file = tmp_path / "x" / "tom.safetensors"
    assert {name: tuple(one.shape) for name, one in load_file(file).items()} == dict(
        zip(TWO_ENCODERS, ((2, WIDTH), (2, SECOND_WIDTH)), strict=True)
    )
    pipeline = plain(base)
    with quiet_libraries():
        exec("\n".join(("import safetensors.torch", *found.load)), {"pipeline": pipeline})  # what people are told
    of_tom(session)
    ours = conditions_of(session.base.model.pipeline, ["a <tom> cat"])
    features, _, pooled, _ = pipeline.encode_prompt("a <tom> cat", do_classifier_free_guidance=False)
    assert torch.equal(ours.features, features)
    assert torch.equal(ours.pooled, pooled)
    rows = session.concepts(session.repo.tree_of("HEAD"))["tom"].rows
    np.testing.assert_array_equal(read_vectors(file, Modules(base).token_widths), torch.stack([*rows.values()]))
    with pytest.raises(AdapterError, match="clip_g"):
        read_vectors(file, [WIDTH])


def test_one_file_holds_the_whole_model(taught: Path, session: Session, base: Path, tmp_path: Path) -> None:
    export("HEAD", "checkpoint", tmp_path / "x", "fp32", taught, concepts=("tom",))
    with quiet_libraries():
        found = StableDiffusionXLPipeline.from_single_file(str(tmp_path / "x" / "tom.safetensors"), config=str(base))
    same(found, of_tom(session))
    untaught = plain(base)
    for part in parts_of(base)[1:]:
        if hasattr(getattr(untaught, part), "state_dict"):
            ours, theirs = (getattr(one, part).state_dict() for one in (untaught, found))
            assert ours.keys() == theirs.keys()
            assert not [one for one in ours if not torch.equal(ours[one], theirs[one])], part


def test_how_photos_were_cut_out_is_kept_so_that_a_training_can_be_repeated(taught: Path, session: Session) -> None:
    tree = session.repo.tree_of("HEAD")
    rex = session.repo.objects.get(tree.concepts["rex"], Concept)
    photos = stored_photos(session.repo, rex)
    assert photos is not None
    assert photos.framings.tolist() == [[80, 90, 0, 4]] * 3  # of 90x80 pixels the middle, at 64: 5 * 64 / 80
    record = session.repo.objects.get(session.repo.commit_of(session.repo.resolve("HEAD~1")).record, Record).data
    again = learn_again(session, tree.concepts["rex"], record, NullProgress(), scores=False)
    assert again.parts == ()
    assert len(text_encoders(session.base.model.pipeline)) == 2
    assert codec.rank_of(session.concept(tree.concepts["tom"]).delta) == 2
