"""How other programs call the modules of a Stable Diffusion: from diffusers' names to theirs.

diffusers numbers blocks and what is in them (`down_blocks.1.attentions.0`); the files of the first Stable Diffusion,
here LDM's after "latent diffusion", count on from end to end (`input_blocks.4.1`). kohya's trainer, LyCORIS and who
reads their files write either name with `_` for `.` behind a prefix that says the part. Their names cannot be taken
apart again (`to_k` holds a `_` of its own), so they are only ever looked up in a table of the modules that a model has.

The module knows names alone, no tensor and no file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

_DENOISER, _AUTOENCODER = "model.diffusion_model.", "first_stage_model."
OPEN_CLIP = ("cond_stage_model.model.", "conditioner.embedders.1.model.")
"""Prefixes of OpenCLIP's text encoders in an LDM file, of Stable Diffusion 2 and XL; others are OpenAI's."""

LDM_PARTS = {
    "sd-1": {"unet": _DENOISER, "vae": _AUTOENCODER, "text_encoder": "cond_stage_model.transformer."},
    "sd-2": {"unet": _DENOISER, "vae": _AUTOENCODER, "text_encoder": OPEN_CLIP[0]},
    "sdxl": {
        "unet": _DENOISER,
        "vae": _AUTOENCODER,
        "text_encoder": "conditioner.embedders.0.transformer.",
        "text_encoder_2": OPEN_CLIP[1],
    },
}
"""Family -> part -> prefix of its tensors in an LDM file."""

UNET = "lora_unet_"
TEXT_ENCODERS = ("lora_te_", "lora_te1_")
"""Prefixes of one text encoder's modules: of kohya's files for Stable Diffusion, and of those that count encoders."""

SECOND_ENCODER = ("lora_te2_",)

TEXT_MODEL = "text_model."
"""In front of a text encoder's modules in transformers 4, and in every trainer's files; transformers 5 has none."""

_LAYERS = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}
_LAYERS |= {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2"}
_LAYERS |= {"add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}
_LAYERS |= {"mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1"}
_LAYERS |= {"mid_block.resnets.1": "middle_block.2"}
_IN_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_PART = re.compile(r"((?:down|up)_blocks\.\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.")


def kohya_name(module: str, prefix: str = UNET) -> str:
    """The name of a module in the files of kohya's trainer and of LyCORIS.

    Args:
        module: As its model in diffusers or transformers calls it, without `.weight`.
        prefix: `UNET` or one of `TEXT_ENCODERS`; a text encoder's modules get their `text_model.` if they lack it.
    """
    if prefix != UNET:
        module = TEXT_MODEL + module.removeprefix(TEXT_MODEL)
    return prefix + module.replace(".", "_")


def unet_modules(modules: Collection[str]) -> dict[str, str]:
    """Name in a kohya or LyCORIS file -> module of a UNet, by diffusers' names and by LDM's.

    Args:
        modules: All modules of the UNet that have weights, or their parameters without `.weight` and `.bias`.
    """
    by_ldm = {kohya_name(name): module for module, name in ldm_unet(modules).items()}
    return by_ldm | {kohya_name(module): module for module in modules}


def text_modules(modules: Iterable[str], prefixes: Collection[str] = TEXT_ENCODERS) -> dict[str, str]:
    """Name in a kohya or LyCORIS file -> module of a text encoder, with and without `text_model`, by each prefix."""
    found = {}
    for module in modules:
        bare = module.removeprefix(TEXT_MODEL).replace(".", "_")
        for prefix in prefixes:
            found[prefix + bare] = found[kohya_name(module, prefix)] = module
    return found


def ldm_unet(names: Collection[str]) -> dict[str, str]:
    """A UNet's modules or parameters by diffusers' names -> their names in an LDM file, without its prefix.

    Args:
        names: All of them: where a block stands follows from how many are before it.
    """
    layers = {**_LAYERS, **dict(_blocks(names))}
    return {name: _renamed(name, layers) for name in names}


def _blocks(names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Each resnet, attention and sampler of the blocks, with its place: LDM counts a step down as one of its own."""
    there = {(found[1], found[2], int(found[3])) for name in names if (found := _PART.match(name))}
    for way, sampler, inside, start in (
        ("down", "downsamplers", "input_blocks", 1),
        ("up", "upsamplers", "output_blocks", 0),
    ):
        place = start
        for number in sorted({int(block.rpartition(".")[2]) for block, _, _ in there if block.startswith(way)}):
            block = f"{way}_blocks.{number}"
            resnets = sum(part[:2] == (block, "resnets") for part in there)
            attends = (block, "attentions", 0) in there
            for layer in range(resnets):
                yield f"{block}.resnets.{layer}", f"{inside}.{place + layer}.0"
                yield f"{block}.attentions.{layer}", f"{inside}.{place + layer}.1"
            place += resnets
            if (block, sampler, 0) in there and way == "down":
                yield f"{block}.{sampler}.0.conv", f"{inside}.{place}.0.op"
                place += 1
            elif (block, sampler, 0) in there:
                yield f"{block}.{sampler}.0.conv", f"{inside}.{place - 1}.{2 if attends else 1}.conv"


def _renamed(name: str, layers: dict[str, str]) -> str:
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        if layer := layers.get(".".join(parts[:end])):
            rest = parts[end:]
            if rest and "resnets" in parts[:end]:
                rest = [_IN_RESNET[rest[0]], *rest[1:]]
            return ".".join([layer, *rest])
    return name


def ldm_vae(names: Collection[str]) -> dict[str, str]:
    """An autoencoder's parameters by diffusers' names -> their names in an LDM file, without its prefix.

    Args:
        names: All of them: LDM counts the decoder's blocks from the picture.
    """
    ups = {int(found[1]) for name in names if (found := re.match(r"decoder\.up_blocks\.(\d+)\.", name))}
    return {name: _vae_name(name, max(ups, default=0)) for name in names}


def _vae_name(name: str, last: int) -> str:
    name = re.sub(r"^decoder\.up_blocks\.(\d+)", lambda found: f"decoder.up.{last - int(found[1])}", name)
    name = re.sub(r"\.mid_block\.resnets\.(\d)", lambda found: f".mid.block_{int(found[1]) + 1}", name)
    return _replaced(name, _IN_VAE)


_IN_VAE = {
    ".down_blocks.": ".down.",
    ".resnets.": ".block.",
    ".downsamplers.0.": ".downsample.",
    ".upsamplers.0.": ".upsample.",
    ".conv_shortcut.": ".nin_shortcut.",
    ".conv_norm_out.": ".norm_out.",
    ".mid_block.attentions.0.group_norm.": ".mid.attn_1.norm.",
    ".mid_block.attentions.0.to_q.": ".mid.attn_1.q.",
    ".mid_block.attentions.0.to_k.": ".mid.attn_1.k.",
    ".mid_block.attentions.0.to_v.": ".mid.attn_1.v.",
    ".mid_block.attentions.0.to_out.0.": ".mid.attn_1.proj_out.",
}


def open_clip(name: str) -> str:
    """A parameter of OpenCLIP's text encoder in an LDM file; q, k and v of a layer, stacked, are named as q.

    Args:
        name: As transformers calls it, without `text_model.`.
    """
    return _replaced(name, _IN_OPEN_CLIP)


def _replaced(name: str, words: Mapping[str, str]) -> str:
    for ours, theirs in words.items():
        name = name.replace(ours, theirs)
    return name


_IN_OPEN_CLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.": "ln_final.",
    "text_projection.weight": "text_projection",
    "encoder.layers.": "transformer.resblocks.",
    ".layer_norm": ".ln_",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
    ".self_attn.q_proj.": ".attn.in_proj_",
    ".self_attn.out_proj.": ".attn.out_proj.",
}
