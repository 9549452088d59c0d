"""`cns generate` and `cns export`: the same weights, the same images, and nothing else changed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE

from cns.quiet import quiet_libraries
from cns_cli.porcelain.exchange.diffusers import _name_tensors
from cns_cli.porcelain.export import export
from cns_cli.porcelain.generate import generate
from cns_cli.porcelain.options import GenerateOptions
from cns_cli.porcelain.pictures.plan import output_paths
from cns_cli.progress import NullProgress
from registry.errors import RegistryError, UnknownRevision
from tests.weights import weights_digest

STEPS = 3


def pictures(folder, prompt: str, **changes):
    options = GenerateOptions(start=folder, prompt=prompt, steps=STEPS, **changes)
    result = generate(options, NullProgress())
    return result, [np.asarray(Image.open(path)) for path in result.paths]


def test_images_come_from_the_revision_that_was_asked_for(learned, tmp_path):
    prompt = "a <rex> dog on the grass"
    _, [now] = pictures(learned, prompt, out=tmp_path / "now.png")
    _, [again] = pictures(learned, prompt, out=tmp_path / "again.png")
    _, [before] = pictures(learned, prompt, at="HEAD~1", out=tmp_path / "before.png")
    assert np.array_equal(now, again)
    assert not np.array_equal(now, before)


def test_several_images_are_numbered_and_have_seeds_of_their_own(learned, tmp_path):
    result, images = pictures(learned, "a <rex> dog", n=3, seed=5, out=tmp_path / "rex.png")
    assert [path.name for path in result.paths] == ["rex-1.png", "rex-2.png", "rex-3.png"]
    assert result.seeds == (5, 6, 7)
    assert result.concepts == ("rex",)
    assert not np.array_equal(images[0], images[1])


def test_a_name_made_from_the_prompt_never_overwrites(learned):
    options = GenerateOptions(start=learned, prompt="a <rex> dog, please!", n=2)
    assert [path.name for path in output_paths(options)] == ["a-rex-dog-please-1.png", "a-rex-dog-please-2.png"]
    (learned / "a-rex-dog-please-1.png").touch()
    assert [path.name for path in output_paths(options)] == ["a-rex-dog-please-2.png", "a-rex-dog-please-3.png"]


def test_a_name_made_from_the_prompt_never_overwrites_what_came_meanwhile(learned):
    class Neighbour(NullProgress):
        def stage(self, name: str, total: int | None = None) -> None:
            if name == "generate":
                (learned / "a-dog-1.png").write_text("another's")
                (learned / "a-dog-2.png").symlink_to("nowhere")

    options = GenerateOptions(start=learned, prompt="a dog", n=2, steps=STEPS)
    result = generate(options, Neighbour())
    assert [path.name for path in result.paths] == ["a-dog-3.png", "a-dog-4.png"]
    assert (learned / "a-dog-1.png").read_text() == "another's"
    assert all(np.asarray(Image.open(path)).any() for path in result.paths)


def test_an_unknown_token_in_the_prompt_is_pointed_out(learned, tmp_path):
    result, _ = pictures(learned, "a <tmo> cat", out=tmp_path / "x.png")
    assert any("<tmo>" in warning and "<tom>" in warning for warning in result.warnings)


def test_a_revision_that_does_not_exist_is_refused(learned):
    with pytest.raises(UnknownRevision):
        pictures(learned, "a dog", at="nowhere")


def test_a_file_in_a_folder_that_does_not_exist_is_refused(learned, tmp_path):
    with pytest.raises(RegistryError, match="does not exist"):
        pictures(learned, "a dog", out=tmp_path / "no" / "x.png")


def test_plain_diffusers_on_the_export_makes_the_same_images(learned, tmp_path):
    prompt = "a <rex> dog and a <tom> cat"
    _, ours = pictures(learned, prompt, n=2, seed=3, out=tmp_path / "ours.png")
    result = export("HEAD", "diffusers", tmp_path / "exported", "fp32", learned)
    assert result.tokens == {"rex": "<rex>", "tom": "<tom>"}
    with quiet_libraries():
        from diffusers import StableDiffusionPipeline

        pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "exported", safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    theirs = pipeline([prompt] * 2, num_inference_steps=STEPS, guidance_scale=7.5, generator=generators).images
    for mine, other in zip(ours, theirs, strict=True):
        # The same weights lie at other offsets of another file, and a matrix product on memory of another alignment may
        # add in another order: a value on the edge of two grey levels can round either way. Nothing more may differ.
        apart = np.abs(mine.astype(int) - np.asarray(other).astype(int))
        assert apart.max() <= 1
        assert (apart > 0).mean() < 0.001


def test_an_export_holds_what_transformers_4_reads_and_no_path_of_this_machine(learned, tmp_path, tiny_base, session):
    place = tmp_path / "exported"
    export("HEAD", "diffusers", place, "fp32", learned)
    words, added = (
        json.loads((place / "tokenizer" / f"{name}.json").read_text()) for name in ("vocab", "added_tokens")
    )
    session.set_tree(session.repo.tree_of("HEAD"))
    assert words | added == session.base.model.pipeline.tokenizer.get_vocab()
    assert added.keys() == {"<rex>", "<tom>"}
    files = (str(place / "tokenizer" / name) for name in ("vocab.json", "merges.txt"))
    pieces = BPE.from_file(*files, end_of_word_suffix="</w>")
    whole = Tokenizer.from_file(str(place / "tokenizer" / "tokenizer.json")).model
    assert [one.value for one in pieces.tokenize("dog")] == [one.value for one in whole.tokenize("dog")]
    encoder = load_file(place / "text_encoder" / "model.safetensors")
    assert all(name.startswith("text_model.") for name in encoder)
    texts = {file: file.read_text() for file in place.rglob("*.json")}
    assert not [file for file, text in texts.items() if "_name_or_path" in text or str(tiny_base) in text]


def test_tensors_of_a_text_encoder_are_named_as_transformers_4_names_them(tmp_path):
    file = tmp_path / "model.safetensors"
    save_file({"embeddings.position_ids": torch.ones(2), "text_model.final": torch.ones(3)}, file)
    _name_tensors(file)
    assert load_file(file).keys() == {"text_model.embeddings.position_ids", "text_model.final"}


def test_every_exported_tensor_outside_the_masks_equals_the_base(learned, tmp_path, tiny_base, session):
    export("HEAD", "diffusers", tmp_path / "exported", "fp32", learned)
    masks = [concept.delta for concept in session.concepts(session.repo.tree_of("HEAD")).values()]
    compared = 0
    for stored in sorted(tiny_base.glob("*/*.safetensors")):
        if stored.parent.name not in ("unet", "vae", "text_encoder"):
            continue
        base, exported = load_file(stored), load_file(tmp_path / "exported" / stored.parent.name / stored.name)
        prefix = "text_model." if stored.parent.name == "text_encoder" else ""  # as transformers 4 reads it, too
        assert exported.keys() == {prefix + name for name in base}
        for name, tensor in base.items():
            found = exported[prefix + name]
            if name.endswith("token_embedding.weight"):
                assert len(found) == len(tensor) + 2
                found = found[: len(tensor)]
            free = torch.ones(tensor.numel(), dtype=torch.bool)
            for mask in masks:
                if name in mask:
                    free[torch.from_numpy(mask[name].positions)] = False
            assert torch.equal(found.reshape(-1)[free], tensor.reshape(-1)[free]), name
            compared += 1
    assert compared > 50


def test_an_export_does_not_touch_a_folder_in_use(learned, tmp_path):
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy" / "file").touch()
    with pytest.raises(RegistryError, match="not an empty folder"):
        export("HEAD", "diffusers", tmp_path / "busy", "fp32", learned)
    assert [path.name for path in (tmp_path / "busy").iterdir()] == ["file"]


def test_an_export_into_the_current_folder_is_refused_before_the_model_is_loaded(learned, tmp_path, monkeypatch):
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")
    with pytest.raises(RegistryError, match="no name of its own"):
        export("HEAD", "diffusers", Path(), "fp32", learned)


@pytest.mark.parametrize(
    ("kind", "dtype", "named"), [("onnx", "fp32", "diffusers"), ("diffusers", "int8", "fp32, fp16, bf16")]
)
def test_an_unknown_format_or_dtype_is_refused(learned, tmp_path, kind, dtype, named):
    with pytest.raises(RegistryError, match=named):
        export("HEAD", kind, tmp_path / "x", dtype, learned)
    assert not (tmp_path / "x").exists()


def test_half_precision_is_smaller_and_says_that_it_rounds(learned, tmp_path):
    whole = export("HEAD", "diffusers", tmp_path / "fp32", "fp32", learned)
    half = export("HEAD", "diffusers", tmp_path / "fp16", "fp16", learned)
    assert half.bytes_written < 0.7 * whole.bytes_written
    assert half.warnings
    assert not whole.warnings


def test_composing_along_any_path_gives_the_same_bits(session):
    repo = session.repo
    trees = [repo.tree_of(rev) for rev in ("HEAD", "HEAD~1", "HEAD~2")]
    first = [weights_digest(session.set_tree(tree)) for tree in trees]
    for order in ((2, 0, 1), (1, 1, 0), (0, 2, 1)):
        for index in order:
            assert weights_digest(session.set_tree(trees[index])) == first[index]
