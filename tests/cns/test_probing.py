"""What keys and values read of the text, heard from tiny random models: the table of docs/bases.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from cns.errors import BaseModelError
from cns.families import FAMILIES
from cns.files.architectures import ARCHITECTURES, CROSS, JOINT, OTHERS, Architecture, why_not
from cns.files.pipelines import PIPELINES
from cns.loading import load_pipeline
from cns.probing import inputs_of, probe, why_not_static
from cns.quiet import quiet_libraries
from tests.tiny import tiny_sd

TEXT = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(1))
HEADS = {"num_attention_heads": 2, "attention_head_dim": 8}
SQUARE = {"sample_size": 8, "in_channels": 4, "out_channels": 4, "patch_size": 1}
BLOCKS = {**HEADS, "num_layers": 2, "joint_attention_dim": 16}
ROPES = {"img_ids": torch.zeros(64, 3), "txt_ids": torch.zeros(5, 3)}
CHROMA = {"approximator_hidden_dim": 16, "approximator_layers": 1, "approximator_num_channels": 16}
HUNYUAN = {"hidden_size": 16, "cross_attention_dim_t5": 16, "pooled_projection_dim": 8, "text_len": 5, "text_len_t5": 5}
MORE_TEXT = {"encoder_hidden_states_t5": TEXT, "text_embedding_mask": torch.ones(1, 5), "style": torch.zeros(1).long()}
MORE_TEXT |= {"text_embedding_mask_t5": torch.ones(1, 5), "image_meta_size": torch.zeros(1, 6)}

MODELS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "SD 3": ("SD3Transformer2DModel", SQUARE | BLOCKS | {"caption_projection_dim": 16, "pooled_projection_dim": 16},
             {"pooled_projections": TEXT[:, 0]}),
    "Flux": ("FluxTransformer2DModel",
             {"in_channels": 4, **BLOCKS, "num_single_layers": 1, "pooled_projection_dim": 16,
              "axes_dims_rope": (2, 2, 4)},
             {"pooled_projections": TEXT[:, 0], **ROPES}),
    "Chroma": ("ChromaTransformer2DModel",
               {"in_channels": 4, **BLOCKS, "num_single_layers": 1, "axes_dims_rope": (2, 2, 4), **CHROMA}, ROPES),
    "AuraFlow": ("AuraFlowTransformer2DModel",
                 SQUARE | HEADS | {"patch_size": 2, "num_mmdit_layers": 2, "num_single_dit_layers": 1,
                                   "caption_projection_dim": 16, "joint_attention_dim": 16,
                                   "pos_embed_max_size": 64}, {}),
    "Qwen-Image": ("QwenImageTransformer2DModel",
                   {"in_channels": 4, "out_channels": 4, "patch_size": 1, **BLOCKS, "axes_dims_rope": (2, 2, 4)},
                   {"encoder_hidden_states_mask": torch.ones(1, 5).long(), "img_shapes": [(1, 8, 8)]}),
    "Lumina 2": ("Lumina2Transformer2DModel",
                 SQUARE | {"patch_size": 2, "hidden_size": 24, "num_layers": 2, "num_refiner_layers": 1,
                           "cap_feat_dim": 16, "num_attention_heads": 3, "num_kv_heads": 1,
                           "multiple_of": 2, "axes_dim_rope": (4, 2, 2),
                           "axes_lens": (64, 64, 64)},
                 {"encoder_attention_mask": torch.ones(1, 5).bool()}),
    "Lumina-Next": ("LuminaNextDiT2DModel",
                    {"sample_size": 8, "in_channels": 4, "patch_size": 2, "hidden_size": 24, "num_layers": 2,
                     "num_attention_heads": 3, "num_kv_heads": 1, "multiple_of": 16, "cross_attention_dim": 16},
                    {"encoder_mask": torch.ones(1, 5), "image_rotary_emb": torch.ones(9, 9, 4),
                     "cross_attention_kwargs": {}}),
    "PixArt": ("PixArtTransformer2DModel",
               SQUARE | HEADS | {"num_layers": 2, "patch_size": 2, "caption_channels": 16, "cross_attention_dim": 16,
                                 "out_channels": 8, "use_additional_conditions": False},
               {"added_cond_kwargs": {"aspect_ratio": None, "resolution": None}}),
    "Sana": ("SanaTransformer2DModel",
             SQUARE | HEADS | {"num_layers": 2, "num_cross_attention_heads": 2, "cross_attention_head_dim": 8,
                               "cross_attention_dim": 16, "caption_channels": 16}, {}),
    "PRX": ("PRXTransformer2DModel",
            {"in_channels": 4, "patch_size": 2, "context_in_dim": 16, "hidden_size": 16, "num_heads": 2, "depth": 2,
             "axes_dim": [4, 4]}, {}),
    "HunyuanDiT": ("HunyuanDiT2DModel",
                   HEADS | HUNYUAN | {"in_channels": 4, "patch_size": 2, "sample_size": 8, "num_layers": 4,
                                      "cross_attention_dim": 16},
                   MORE_TEXT | {"image_rotary_emb": (torch.ones(16, 8), torch.ones(16, 8))}),
}  # fmt: skip
"""Line of models -> class, config and what its forward is told beside latents, text and timestep."""

NAMES = {
    CROSS: r"\.attn2\.to_[kv]$",
    JOINT: r"\.add_[kv]_proj$",
    "`txt_kv_proj`": r"\.txt_kv_proj$",
    "`attn.to_k/to_v`": r"^layers\.\d+\.attn\.to_[kv]$",
}
SEQUENCES = ("Flux", "Chroma", "Qwen-Image")  # of patches, in the place of squares


def row(models: str) -> Architecture:
    return next(one for one in ARCHITECTURES if one.models.startswith(models))


def heard_of(name: str) -> dict[str, list[Tensor]]:
    """What the matrices of a tiny random model read, in two runs of one text."""
    model_class, config, told = MODELS[name]
    torch.manual_seed(0)
    with quiet_libraries():
        model = getattr(diffusers, model_class)(**config).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:  # norms are alike before any training
            torch.nn.init.normal_(parameter)
    wanted = re.compile(NAMES[row(name).matrices])
    matrices = {at: one for at, one in model.named_modules() if wanted.search(at)}
    with torch.no_grad(), inputs_of(matrices) as heard:
        for seed in (0, 1):
            noise = torch.Generator().manual_seed(seed)
            latents = torch.randn((1, 64, 4) if name in SEQUENCES else (1, 4, 8, 8), generator=noise)
            model(latents, encoder_hidden_states=TEXT, timestep=torch.tensor([[10.0], [500.0]][seed]), **told)
    return heard


@pytest.mark.parametrize("name", MODELS)
def test_the_table_says_what_matrices_read(name: str) -> None:
    heard = heard_of(name)
    assert len(heard) >= 2
    reason = why_not_static(heard)
    if row(name).static:
        assert reason is None
    else:
        other = (
            "is not what other layers read" if name == "Lumina-Next" else "changes with the picture and the timestep"
        )
        assert reason is not None
        assert other in reason


def test_every_line_of_the_table_but_unets_is_heard() -> None:
    unheard = [one.models for one in ARCHITECTURES if not any(row(name) is one for name in MODELS)]
    assert [models.split()[0].rstrip(";") for models in unheard] == ["SD", "SDXL", "Kolors"]


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        ("FluxKontextPipeline", "cannot hold concepts: in joint attention"),
        ("StableDiffusion3Img2ImgPipeline", "SD 3; 3.5"),
        ("Lumina2Pipeline", "one sequence"),
        ("LuminaPipeline", "each layer norms"),
        ("SanaPipeline", "not supported yet, though"),
        ("IFPipeline", "DeepFloyd"),
        ("StableDiffusionControlNetInpaintPipeline", "has a ControlNet"),
        ("LatentConsistencyModelImg2ImgPipeline", "distilled"),
    ],
)
def test_a_pipeline_is_refused_with_its_property(pipeline: str, words: str) -> None:
    assert words in str(why_not(pipeline))


def test_classes_of_the_table_are_those_of_diffusers() -> None:
    names = [name for name in dir(diffusers) if name.endswith("Pipeline")]
    for start in (*OTHERS, *(one for line in ARCHITECTURES for one in line.pipelines)):
        assert any(name.startswith(start) for name in names), start
    assert why_not("WanPipeline") is None
    assert not [name for name in PIPELINES if not hasattr(diffusers, name)]


def test_a_unet_whose_layers_read_the_text_otherwise_is_refused(tmp_path: Path) -> None:
    pipeline = load_pipeline(tiny_sd(tmp_path))
    family = FAMILIES["sd-1"]
    probe(pipeline, family, tmp_path)
    assert not any(one._forward_pre_hooks for one in pipeline.unet.modules())

    def refused(change: Callable[[Tensor], Tensor], words: str) -> None:
        read = pipeline.unet.up_blocks[0].attentions[0].transformer_blocks[0].attn2.to_k
        hook = read.register_forward_pre_hook(lambda _, inputs: (change(inputs[0]),))
        with pytest.raises(BaseModelError, match=words):
            probe(pipeline, family, tmp_path)
        hook.remove()

    refused(lambda text: text * 2, "is not what other layers read")
    refused(lambda text: text + torch.rand(()), "changes with the picture and the timestep")
