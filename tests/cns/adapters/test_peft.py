"""What diffusers and PEFT write: LoRA in a file of diffusers' or kohya's names, folders of PEFT with their settings."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cns.adapters.rounding import dense, on_grid
from cns.adapters.update import Update
from cns.errors import AdapterError
from cns.quiet import quiet_libraries
from tests.cns.adapters.conftest import agree, at_random, kv

with quiet_libraries():
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel
    from diffusers.utils import convert_state_dict_to_kohya
    from peft import LoHaConfig, LoKrConfig, LoraConfig, ShiraConfig, get_peft_model
    from peft.utils import get_peft_model_state_dict
    from transformers import CLIPTextModel

Read = Callable[[Path], Update]
KV = ["attn2.to_k", "attn2.to_v"]
ALL = ["to_q", "to_k", "to_v", "to_out.0"]
PATTERNS = {"rank_pattern": {"attn2.to_k": 3}, "alpha_pattern": {".*up_blocks.*attn2.to_v": 5.0}}
DRAWN = ("lora_", "hada_", "lokr_", "shira_weight")


def with_lora(unet: UNet2DConditionModel, **settings: Any) -> LoraConfig:
    """Give a UNet a LoRA of random weights."""
    config = LoraConfig(**{"r": 4, "lora_alpha": 6, "target_modules": KV, **settings})
    unet.add_adapter(config)
    at_random(unet, DRAWN)
    return config


def by_diffusers(unet: UNet2DConditionModel, folder: Path, config: LoraConfig | None) -> Path:
    """Save a UNet's LoRA as a training script does, with or without the settings in the header."""
    layers = {name: tensor.float() for name, tensor in get_peft_model_state_dict(unet).items()}
    settings = config.to_dict() if config else None
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers, unet_lora_adapter_metadata=settings)
    return folder / "pytorch_lora_weights.safetensors"


def merged(unet: UNet2DConditionModel) -> dict[str, np.ndarray]:
    """The key and value matrices as PEFT merges them."""
    unet.fuse_lora()
    unet.unload_lora()
    return kv(unet)


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}, PATTERNS, {"use_dora": True}])
def test_diffusers_file_with_its_settings_in_the_header(
    unet: UNet2DConditionModel, read: Read, tmp_path: Path, settings: dict[str, Any]
) -> None:
    before = kv(unet)
    config = with_lora(unet, **settings)
    by_diffusers(unet, tmp_path, config)
    update = read(tmp_path)
    agree(update, before, merged(unet))
    assert update.dialect == ("diffusers DoRA" if "use_dora" in settings else "diffusers LoRA")
    assert update.share_outside == {}


def test_without_settings_the_scale_is_one(unet: UNet2DConditionModel, read: Read, tmp_path: Path) -> None:
    before = kv(unet)
    with_lora(unet, lora_alpha=4)
    update = read(by_diffusers(unet, tmp_path, None))
    agree(update, before, merged(unet))
    assert update.scales == (1.0,)


def test_kohya_names_by_diffusers(unet: UNet2DConditionModel, read: Read, tmp_path: Path) -> None:
    before = kv(unet)
    with_lora(unet, lora_alpha=4)
    layers = {f"unet.{name}": tensor.float() for name, tensor in get_peft_model_state_dict(unet).items()}
    save_file(convert_state_dict_to_kohya(layers), tmp_path / "kohya.safetensors")
    update = read(tmp_path / "kohya.safetensors")
    agree(update, before, merged(unet))
    assert update.dialect == "kohya LoRA"


def test_what_is_beside_the_key_and_value_weights_is_told_by_its_energy(
    unet: UNet2DConditionModel, read: Read, tmp_path: Path
) -> None:
    before = {name: parameter.detach().clone() for name, parameter in unet.named_parameters()}
    config = with_lora(unet, target_modules=ALL)
    update = read(by_diffusers(unet, tmp_path, config))
    unet.fuse_lora()
    unet.unload_lora()
    moved = {name: float(((one - before[name]) ** 2).sum()) for name, one in unet.named_parameters()}
    whole = sum(moved.values())
    inside = sum(energy for name, energy in moved.items() if "attn2.to_k" in name or "attn2.to_v" in name)
    assert sum(update.share_outside.values()) == pytest.approx(1 - inside / whole, rel=1e-6)
    queries = sum(energy for name, energy in moved.items() if "to_q" in name)
    assert update.share_outside["to_q"] == pytest.approx(queries / whole, rel=1e-6)
    assert set(update.share_outside) == {"to_q", "to_out", "self-attention K/V"}


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft 0.21 asks for it
@pytest.mark.parametrize("names", ["diffusers", "kohya"])
def test_a_text_encoder_is_beside_the_key_and_value_weights(
    base: Path, unet: UNet2DConditionModel, read: Read, tmp_path: Path, names: str
) -> None:
    with quiet_libraries():
        encoder = CLIPTextModel.from_pretrained(base / "text_encoder").double()
    before = {name: parameter.detach().clone() for name, parameter in encoder.named_parameters()}
    model = get_peft_model(encoder, LoraConfig(r=4, lora_alpha=4, target_modules=["q_proj", "fc1"]))
    at_random(model, DRAWN)
    with_lora(unet, lora_alpha=4)
    layers = {f"unet.{name}": tensor.float() for name, tensor in get_peft_model_state_dict(unet).items()}
    for name, tensor in get_peft_model_state_dict(model).items():
        layers[name.replace("base_model.model", "text_encoder")] = tensor.float()
    save_file(convert_state_dict_to_kohya(layers) if names == "kohya" else layers, tmp_path / "both.safetensors")
    update = read(tmp_path / "both.safetensors")
    after = dict(model.merge_and_unload().named_parameters())
    energy = sum(float(((after[name] - one) ** 2).sum()) for name, one in before.items())
    assert update.share_outside == {"text encoder": pytest.approx(energy / (energy + update.energy), rel=1e-6)}
    assert update.dialect == f"{names} LoRA"


PEFT = [
    LoraConfig(r=4, lora_alpha=6, target_modules=KV),
    LoraConfig(r=4, lora_alpha=6, target_modules=KV, use_rslora=True, **PATTERNS),
    LoraConfig(r=4, lora_alpha=6, target_modules=KV, use_dora=True),
    LoHaConfig(r=3, alpha=5, target_modules=KV),
    LoKrConfig(r=2, alpha=3, target_modules=KV),
    LoKrConfig(r=64, alpha=3, target_modules=KV),  # both factors are whole, and alpha counts
    ShiraConfig(r=2, target_modules=KV, init_weights=False),
]


@pytest.mark.parametrize("config", PEFT, ids=lambda config: config.peft_type.value)
def test_a_folder_of_peft(unet: UNet2DConditionModel, read: Read, tmp_path: Path, config: Any) -> None:
    before = kv(unet)
    model = get_peft_model(unet, copy.deepcopy(config))
    at_random(model, DRAWN)
    model.save_pretrained(tmp_path)
    with torch.sparse.check_sparse_tensor_invariants():
        after = kv(model.merge_and_unload())
    update = read(tmp_path)
    agree(update, before, after)
    assert update.dialect.startswith("PEFT ")


def test_of_another_folder_a_file_in_it_is_named(read: Read, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="no folder of PEFT") as caught:
        read(tmp_path)
    assert caught.value.hint == ""
    file = tmp_path / "models" / "my loras" / "rex.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"the larger one")
    (tmp_path / "models" / "token.safetensors").touch()
    with pytest.raises(AdapterError) as caught:
        read(tmp_path)
    assert caught.value.hint == f"cns import '{file}' NAME"


def test_shira_is_about_the_weights_that_it_names(unet: UNet2DConditionModel, read: Read, tmp_path: Path) -> None:
    model = get_peft_model(unet, ShiraConfig(r=2, target_modules=KV, init_weights=False))
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "adapter_model.safetensors")
    for name, change in read(tmp_path).changes.items():
        indices = stored[f"base_model.model.{name.removesuffix('.weight')}.shira_indices"].numpy()
        assert change.positions is not None
        assert set(change.positions) == set(indices[0] * change.weight.shape[1] + indices[1])
        assert set(np.flatnonzero(change.weight)) <= set(change.positions)


def test_shira_of_whole_steps_is_exact(unet: UNet2DConditionModel, read: Read, tmp_path: Path) -> None:
    model = get_peft_model(unet, ShiraConfig(r=2, target_modules=KV, init_weights=False))
    with torch.no_grad():
        for name, values in model.named_parameters():
            if "shira_weight" in name:
                values.copy_(torch.arange(values.numel()).reshape(values.shape) * 2.0**-10)
    model.save_pretrained(tmp_path)
    changes = read(tmp_path).changes
    delta, lost = on_grid(changes, dict.fromkeys(changes, -10))
    assert lost == 0
    assert all(np.array_equal(delta[name].positions, one.positions) for name, one in changes.items())
    assert all(np.array_equal(dense(delta[name]), one.weight) for name, one in changes.items())


def test_a_scale_that_is_said_twice_is_refused(unet: UNet2DConditionModel, read: Read, tmp_path: Path) -> None:
    config = with_lora(unet)
    path = by_diffusers(unet, tmp_path, config)
    tensors = load_file(path)
    name = next(iter(tensors)).partition(".lora_")[0]
    tensors[f"{name}.alpha"] = torch.tensor(2.0)
    save_file(tensors, path, {"lora_adapter_metadata": json.dumps({"unet.r": 4, "unet.lora_alpha": 6})})
    with pytest.raises(AdapterError, match="says its scale twice"):
        read(path)


def test_a_pattern_that_may_never_end_is_refused(unet: UNet2DConditionModel, read: Read, tmp_path: Path) -> None:
    get_peft_model(unet, LoraConfig(r=4, target_modules=KV)).save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    settings["alpha_pattern"] = {"(a+)+b": 3}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(AdapterError, match="pattern"):
        read(tmp_path)
