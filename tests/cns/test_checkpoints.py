"""A whole Stable Diffusion in one file, as other programs have it, becomes the base that it is or is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cns.errors import BaseModelError
from cns.files.bases import describe_base, pinned, resolve_base
from cns.files.keys import LDM_PARTS, ldm_unet
from cns.files.ldm import _unet, schedule, write_tokenizer
from cns.files.singlefile import CONVERTED, what_else
from cns.loading import load_pipeline
from cns.quiet import quiet_libraries
from cns_cli.porcelain.exchange.formats import FORMATS
from cns_cli.porcelain.exchange.order import Order
from cns_cli.porcelain.generate import generate
from cns_cli.porcelain.init import init_registry
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import GenerateOptions
from cns_cli.progress import NullProgress
from registry.repository import Repository

with quiet_libraries():
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

FAMILIES = ("sd-1", "sd-2", "sdxl")
WIDTH = 32
UNET, FIRST = "model.diffusion_model.", "first_stage_model.encoder.conv_in.weight"
Tensors = dict[str, torch.Tensor]
Exported = Callable[[str], tuple[Path, Path]]


def narrow_sd(folder: Path, family: str) -> Path:
    """A random pipeline, narrow, with the vocabulary, heads and norm groups that all of Stable Diffusion has."""
    later, large = family != "sd-1", family == "sdxl"
    torch.manual_seed(0)
    parts: dict[str, Any] = {}
    for number in ("", "_2") if large else ("",):
        open_clips, width = family == "sd-2" or bool(number), 2 * WIDTH if number else WIDTH
        write_tokenizer(folder / f"tokenizer{number}", open_clips=open_clips)
        text = CLIPTextConfig(
            vocab_size=49408, hidden_size=width, intermediate_size=64, num_hidden_layers=2, num_attention_heads=1,
            hidden_act="gelu" if open_clips else "quick_gelu", eos_token_id=2, projection_dim=width,
        )  # fmt: skip
        parts[f"text_encoder{number}"] = (CLIPTextModelWithProjection if number else CLIPTextModel)(text)
        parts[f"tokenizer{number}"] = CLIPTokenizer.from_pretrained(folder / f"tokenizer{number}")
    with quiet_libraries():
        pipeline = (StableDiffusionXLPipeline if large else StableDiffusionPipeline)(
            unet=UNet2DConditionModel(
                sample_size=8, block_out_channels=(64, 128) if later else (32, 64), layers_per_block=1,
                cross_attention_dim=3 * WIDTH if large else WIDTH,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), use_linear_projection=later,
                attention_head_dim=(1, 2) if later else 8, **(XL if large else {}),
            ),
            vae=AutoencoderKL(
                sample_size=64, block_out_channels=(32,) * 4, down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1,
            ),
            scheduler=DDIMScheduler.from_config(schedule("v_prediction" if family == "sd-2" else "epsilon")),
            **parts, **({} if large else NONE),
        )  # fmt: skip
        pipeline.save_pretrained(folder)
    return folder


XL = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2 * WIDTH + 6 * 256,
    "transformer_layers_per_block": (1, 2),
}
NONE = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def registry_on(base: Path, place: Path) -> Path:
    place.mkdir()
    init_registry(place, str(base), author="ann", time=1)
    return place


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Family -> a registry on such a pipeline, and the file to which it was exported."""
    made: dict[str, tuple[Path, Path]] = {}

    def export(family: str) -> tuple[Path, Path]:
        if family not in made:
            place = tmp_path_factory.mktemp(family)
            registry = registry_on(narrow_sd(place / "base", family), place / "registry")
            session = Session.open(Repository(registry), "cpu")
            order = Order(session=session, tree=session.repo.tree_of("HEAD"), commit="", stem="model")
            FORMATS["checkpoint"].write(order, place)
            made[family] = registry, place / "model.safetensors"
        return made[family]

    return export


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where converted files are kept in this test."""
    monkeypatch.setattr("huggingface_hub.utils._cache_assets.HF_ASSETS_CACHE", str(tmp_path / "assets"))
    return tmp_path / "assets"


def test_a_base_that_was_exported_comes_back_and_draws_the_same_pictures(
    exported: Exported, cache: Path, tmp_path: Path
) -> None:
    before, file = exported("sd-1")
    after = registry_on(file, tmp_path / "after")
    pictures = []
    for place in (before, after):
        made = generate(GenerateOptions(start=place, prompt="a dog", steps=2, out=place / "x.png"), NullProgress())
        assert made.made == 1
        with Image.open(place / "x.png") as picture:
            pictures.append(picture.tobytes())
    assert pictures[0] == pictures[1]
    assert Repository(after).config["base"]["source"] == str(file)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_what_diffusers_makes_of_the_file(family: str, exported: Exported, tmp_path: Path) -> None:
    file = exported(family)[1]
    folder = resolve_base(file, cache_folder=tmp_path)
    pipeline_class = StableDiffusionXLPipeline if family == "sdxl" else StableDiffusionPipeline
    with quiet_libraries():
        theirs = pipeline_class.from_single_file(str(file), config=str(folder))
    ours = load_pipeline(folder)
    assert ours.scheduler.config.prediction_type == ("v_prediction" if family == "sd-2" else "epsilon")
    for part in LDM_PARTS[family]:
        found, expected = getattr(ours, part).state_dict(), getattr(theirs, part).state_dict()
        assert not [name for name in expected if not torch.equal(found[name], expected[name])]


def test_one_file_is_one_base_and_is_converted_once(exported: Exported, tmp_path: Path) -> None:
    file = exported("sd-1")[1]
    folder = resolve_base(file, cache_folder=tmp_path / "a")
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(file.read_bytes())
    (folder / "kept").touch()
    assert resolve_base(moved, cache_folder=tmp_path / "a") == folder
    assert (folder / "kept").exists()
    other = resolve_base(moved, cache_folder=tmp_path / "b")
    assert describe_base(other) == describe_base(folder)
    assert pinned(str(moved), folder) == str(moved)
    assert not list(folder.parent.glob("half-*"))
    for known in folder.parent.glob("*.txt"):  # as another process leaves them that is about to write
        known.write_text("")
    assert resolve_base(moved, cache_folder=tmp_path / "a") == folder
    moved.write_bytes(file.read_bytes()[:-8] + bytes(8))
    assert resolve_base(moved, cache_folder=tmp_path / "a") != folder


def test_the_tokenizer_is_clips(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokenizer", open_clips=True)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    ids = tokenizer("a photo of an astronaut riding a horse on mars", padding="max_length", max_length=14).input_ids
    # as openai/clip-vit-large-patch14 reads it, by diffusers' documentation
    assert ids == [49406, 320, 1125, 539, 550, 18376, 6765, 320, 4558, 525, 7496, 49407, 0, 0]
    assert len(tokenizer) == 49408


PUBLISHED: dict[str, dict[str, Any]] = {
    "sd-1": {"cross_attention_dim": 768},
    "sd-2": {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True},
    "sdxl": {
        "cross_attention_dim": 2048,
        "attention_head_dim": [5, 10, 20],
        "use_linear_projection": True,
        "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "transformer_layers_per_block": [1, 2, 10],
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
"""Configs of the published denoisers, where they are not the class's own."""


@pytest.mark.parametrize("family", FAMILIES)
def test_published_denoisers_are_known_by_their_shapes(family: str) -> None:
    with torch.device("meta"), quiet_libraries():
        model = UNet2DConditionModel.from_config(PUBLISHED[family] | {"sample_size": 64})
    shapes = {name: list(one.shape) for name, one in model.named_parameters()}
    found = _unet({theirs: shapes[ours] for ours, theirs in ldm_unet(shapes).items()}, family)
    published = {name: list(one) if isinstance(one, tuple) else one for name, one in model.config.items()}
    assert {name: published[name] for name in found if name != "_class_name"} == {
        name: one for name, one in found.items() if name != "_class_name"
    }


def changed(file: Path, place: Path, change: Callable[[Tensors], Any], **notes: str) -> Path:
    """A copy with other tensors, and without the notes that are empty."""
    tensors = load_file(file)
    change(tensors)
    with safe_open(file, "pt") as opened:
        found = {name: text for name, text in (opened.metadata() | notes).items() if text}
    save_file(tensors, place / "changed.safetensors", metadata=found)
    return place / "changed.safetensors"


SILENT = {"modelspec.prediction_type": "", "modelspec.resolution": ""}


def with_averages(tensors: Tensors) -> None:
    tensors["model_ema.decay"] = torch.ones(1)
    tensors["alphas_cumprod"] = torch.ones(1000)
    tensors["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]


def test_what_is_left_out_and_what_was_tried_is_said(exported: Exported, cache: Path, tmp_path: Path) -> None:
    file = changed(exported("sd-1")[1], tmp_path, with_averages, **SILENT)
    (tmp_path / "registry").mkdir()
    said = init_registry(tmp_path / "registry", str(file), author="ann", time=1).warnings
    assert said == (
        "1 averaged weights (model_ema) of the file were left out; its other weights are the base",
        "the file does not say what it predicts; by its answer to noise it is velocity",
    )
    folder = resolve_base(file)
    assert folder.is_relative_to(cache)
    assert json.loads((folder / "unet" / "config.json").read_text())["sample_size"] == 64
    left_out = {"alphas_cumprod": 1, "cond_stage_model": 1, "model_ema": 1}
    assert json.loads((folder / CONVERTED).read_text())["left_out"] == left_out


def into_identity(tensors: Tensors) -> None:
    """Make of a denoiser one that answers with its input: by the first skip, in pairs of opposite sign (SiLU)."""
    for name in tensors:
        if name.startswith(UNET) and name.endswith((".out_layers.3.weight", ".proj_out.weight")):
            tensors[name].zero_()
    entry, leave = tensors[f"{UNET}input_blocks.0.0.weight"], tensors[f"{UNET}out.2.weight"]
    skip = tensors[f"{UNET}output_blocks.3.0.skip_connection.weight"]
    for one in (entry, leave, skip):
        one.zero_()
    for channel in range(4):
        entry[channel, channel, 1, 1], entry[channel + 4, channel, 1, 1] = 1, -1
        leave[channel, channel, 1, 1], leave[channel, channel + 4, 1, 1] = 1, -1
        for row in (channel, channel + 4):
            skip[row, skip.shape[1] - 32 + row] = 1


def test_a_model_of_noise_is_told_by_its_answer_to_noise(exported: Exported, tmp_path: Path) -> None:
    file = changed(exported("sd-1")[1], tmp_path, into_identity, **SILENT)
    folder = resolve_base(file, cache_folder=tmp_path)
    assert json.loads((folder / "scheduler" / "scheduler_config.json").read_text())["prediction_type"] == "epsilon"
    assert json.loads((folder / CONVERTED).read_text())["predicts"] == "noise"


def drop(start: str) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        for name in [one for one in tensors if one.startswith(start)]:
            del tensors[name]

    return change


def put(name: str, tensor: torch.Tensor) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.update({name: tensor})


TEXT = "cond_stage_model.transformer.text_model."


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop(FIRST), f"it lacks {FIRST}"),
        (put(f"{UNET}more.weight", torch.ones(1)), f"holds {UNET}more.weight"),
        (put(FIRST, torch.ones(32, 3, 1, 1)), r"conv_in.weight is of shape \[32, 3, 1, 1\], expected \[32, 3, 3, 3\]"),
        (put(FIRST, torch.ones(32, 3, 3, 3).to(torch.float8_e4m3fn)), "type F8_E4M3, expected F32, F16 or BF16"),
        (drop("first_stage_model."), "it is a denoiser alone"),
        (drop(UNET), "it is an autoencoder"),
        (drop(f"{UNET}middle_block.1.proj_in"), r"middle_block.1.proj_in.weight"),
        (put(f"{TEXT}embeddings.token_embedding.weight", torch.ones(9, 32)), "9 words, expected CLIP's 49,408"),
        (put(f"{TEXT}encoder.layers.999999999.x", torch.ones(1)), "is numbered"),
    ],
)
def test_a_file_that_is_not_whole_is_refused_by_name(
    change: Callable[[Tensors], None], words: str, exported: Exported, tmp_path: Path
) -> None:
    file = changed(exported("sd-1")[1], tmp_path, change)
    with pytest.raises(BaseModelError, match=words) as caught:
        resolve_base(file, cache_folder=tmp_path / "cache")
    assert caught.value.hint
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lora_unet_down_blocks_0.lora_down.weight", "adapter"),
        ("unet.down_blocks.0.attn2.to_k.lora_A.weight", "adapter"),
        ("emb_params", "textual inversion"),
        ("controlnet_cond_embedding.conv_in.weight", "ControlNet"),
        ("control_model.input_hint_block.0.weight", "ControlNet"),
        ("conditioner.embedders.0.model.x", "SDXL without one of its text encoders"),
        ("joint_blocks.0.x_block.attn.qkv.weight", "joint attention"),
        ("model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "FluxPipeline cannot hold concepts"),
        ("decoder.conv_in.weight", "VAE"),
        ("whatever", "it holds whatever, of no model"),
    ],
)
def test_a_file_of_something_else_is_told_by_its_names(name: str, words: str) -> None:
    assert words in " ".join(what_else([name]) or ())


def test_an_adapter_is_led_to_its_command_and_a_pickle_is_not_opened(tmp_path: Path) -> None:
    file = tmp_path / "my lora.safetensors"
    save_file({"lora_unet_x.lora_down.weight": torch.ones(1)}, file)
    with pytest.raises(BaseModelError, match="adapter") as caught:
        resolve_base(file)
    assert caught.value.hint == f"cns import '{file}' NAME"
    pickle = tmp_path / "model.ckpt"
    pickle.write_bytes(b"\x80\x02.")
    with pytest.raises(BaseModelError, match="never loaded"):
        resolve_base(pickle)
