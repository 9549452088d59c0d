"""Names of modules in other programs' files, against diffusers' own reader of LDM files."""

from __future__ import annotations

import pytest
import torch

from cns.files.keys import kohya_name, ldm_unet, text_modules, unet_modules
from cns.quiet import quiet_libraries

with quiet_libraries():
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

STABLE_DIFFUSION_1 = {
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "layers_per_block": 2,
}
TINY = {
    "block_out_channels": (16, 32),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": 32,
    "norm_num_groups": 4,
    "attention_head_dim": 2,
    "layers_per_block": 1,
}


@pytest.mark.parametrize("config", [STABLE_DIFFUSION_1, TINY])
def test_diffusers_finds_every_parameter_by_its_ldm_name(config):
    with torch.device("meta"):
        names = list(UNet2DConditionModel(**config).state_dict())
    ldm = ldm_unet(names)
    file = {f"model.diffusion_model.{name}": ours for ours, name in ldm.items()}
    assert len(file) == len(names)
    assert convert_ldm_unet_checkpoint(file, config) == {name: name for name in names}


def test_a_module_is_found_by_the_names_of_both_programs():
    modules = [f"down_blocks.{block}.attentions.0.transformer_blocks.0.attn2.to_k" for block in (0, 1)]
    resnets = [f"down_blocks.{block}.resnets.0.conv1" for block in (0, 1)]
    samplers = ["down_blocks.0.downsamplers.0.conv"]
    found = unet_modules([*modules, *resnets, *samplers])
    assert found["lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"] == modules[1]
    assert found["lora_unet_input_blocks_3_1_transformer_blocks_0_attn2_to_k"] == modules[1]
    assert found["lora_unet_input_blocks_2_0_op"] == samplers[0]
    assert len(found) == 10


def test_modules_of_a_text_encoder_are_found_with_and_without_text_model():
    bare = "encoder.layers.0.self_attn.q_proj"
    for module in (bare, f"text_model.{bare}"):
        found = text_modules([module])
        for name in ("lora_te_text_model_", "lora_te_", "lora_te1_", "lora_te1_text_model_"):
            assert found[name + bare.replace(".", "_")] == module
        assert kohya_name(module, "lora_te_") == "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
