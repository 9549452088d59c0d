"""`cns init` makes a registry on no base that a later command would refuse; it is named (issue 18)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from cns.errors import BaseModelError
from cns.loading import load_pipeline
from cns_cli.main import app
from cns_cli.porcelain.generate import generate
from cns_cli.porcelain.init import init_registry
from cns_cli.porcelain.options import GenerateOptions
from cns_cli.progress import NullProgress
from registry.errors import AlreadyARegistry

Change = Callable[[Path], None]


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Path:
    """A base that a test may change."""
    return Path(shutil.copytree(tiny_base, tmp_path / "base"))


def init(place: Path, base: Path) -> None:
    place.mkdir(exist_ok=True)
    init_registry(place, str(base), author="ann", time=1)


def edit(file: str, **changes: object) -> Change:
    def change(base: Path) -> None:
        path = base / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def scheduler(name: str, **changes: object) -> Change:
    def change(base: Path) -> None:
        edit("model_index.json", scheduler=["diffusers", name])(base)
        edit("scheduler/scheduler_config.json", _class_name=name, **changes)(base)

    return change


def tensors(file: str, change_names: Callable[[dict[str, torch.Tensor]], None]) -> Change:
    def change(base: Path) -> None:
        path = base / f"{file}.safetensors"
        found = load_file(path)
        change_names(found)
        save_file(found, path, metadata={"format": "pt"})

    return change


def alone(part: str) -> Change:
    def change(base: Path) -> None:
        (base / "model_index.json").rename(base / "config.json")
        edit("config.json", _class_name=part)(base)

    return change


def adapter(base: Path) -> None:
    (base / "model_index.json").unlink()
    (base / "pytorch_lora_weights.safetensors").write_bytes(b"")


def in_shards(base: Path) -> None:
    pipeline = load_pipeline(base)
    for part, size in (("unet", "40KB"), ("text_encoder", "40KB")):
        for file in (base / part).glob("*.safetensors"):
            file.unlink()
        getattr(pipeline, part).save_pretrained(base / part, max_shard_size=size)
        assert len(list((base / part).glob("*-00002-of-*.safetensors"))) == 1
        assert list((base / part).glob("*.safetensors.index.json"))


def lora_inside(found: dict[str, torch.Tensor]) -> None:
    name = next(one for one in found if one.endswith("attn2.to_q.weight"))
    weight = found.pop(name)
    stem = name.removesuffix(".weight")
    found[f"{stem}.base_layer.weight"] = weight
    found[f"{stem}.lora_A.default.weight"] = torch.zeros(2, weight.shape[1])


OLD = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}


def as_in_2022(found: dict[str, torch.Tensor]) -> None:
    """Give a VAE's attention the names of the first Stable Diffusion's files."""
    for name in [one for one in found if ".attentions." in one]:
        new = name
        for now, then in OLD.items():
            new = new.replace(now, then)
        found[new] = found.pop(name)


def as_by_transformers_4(found: dict[str, torch.Tensor]) -> None:
    for name in list(found):
        found[f"text_model.{name.removeprefix('text_model.')}"] = found.pop(name)


def as_by_transformers_5(found: dict[str, torch.Tensor]) -> None:
    for name in list(found):
        found[name.removeprefix("text_model.")] = found.pop(name)


UNET, VAE, TEXT = "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (edit("model_index.json", _class_name="LatentConsistencyModelPipeline"), "Pipeline was distilled"),
        (edit("model_index.json", _class_name="FluxPipeline"), "FluxPipeline cannot hold concepts: in joint attention"),
        (edit("model_index.json", _class_name="KolorsPipeline"), "KolorsPipeline is not supported yet, though"),
        (edit("model_index.json", _class_name="WuerstchenPipeline"), "its pipeline is 'WuerstchenPipeline', expected"),
        (edit("model_index.json", controlnet=["diffusers", "ControlNetModel"]), "ControlNetModel"),
        (edit("unet/config.json", in_channels=9), "reads 9 channels and writes 4, as inpainting"),
        (lambda base: (base / "model_index.json").unlink(), "it has no model_index.json"),
        (alone("ControlNetModel"), "one part alone, of class 'ControlNetModel'"),
        (adapter, "holds an adapter, a change of a base"),
        (scheduler("LCMScheduler"), "LCMScheduler"),
        (scheduler("FlowMatchEulerDiscreteScheduler"), "FlowMatchEulerDiscreteScheduler"),
        (scheduler("KDPM2AncestralDiscreteScheduler"), "expected one of DDIMScheduler"),
        (scheduler("DDIMScheduler", prediction_type="sample"), "predicts 'sample'"),
        (scheduler("DDIMScheduler", rescale_betas_zero_snr=True, timestep_spacing="trailing"), "zero terminal SNR"),
        (
            scheduler("DDIMScheduler", trained_betas=[0.5] * 999 + [1.0], timestep_spacing="trailing"),
            "NaN or infinite",
        ),
        (
            scheduler("DPMSolverMultistepScheduler", use_karras_sigmas=True, beta_schedule="squaredcos_cap_v2"),
            "DPMSolverMultistepScheduler cannot make",
        ),
        (edit("unet/config.json", sample_size=[8, 16]), r"sample_size of its denoiser is \[8, 16\]"),
        (edit("unet/config.json", sample_size=None), "sample_size of its denoiser is None"),
        (edit("unet/config.json", time_cond_proj_dim=32), "takes the guidance as an input"),
        (edit("unet/config.json", only_cross_attention=[True, False]), "only_cross_attention"),
        (edit("vae/config.json", block_out_channels=None), "block_out_channels"),
        (edit("vae/config.json", scaling_factor=None), "VAE"),
        (tensors(UNET, lambda found: found.pop("conv_out.bias")), r"unet lack conv_out\.bias"),
        (tensors(VAE, lambda found: found.pop("decoder.conv_out.bias")), r"vae lack decoder\.conv_out\.bias"),
        (tensors(TEXT, lambda found: found.pop(max(found))), "text_encoder lack"),
        (tensors(UNET, lambda found: found.update(more=torch.ones(1))), "unet hold more"),
        (tensors(TEXT, lambda found: found.update(more=torch.ones(1))), "text_encoder hold more"),
        (tensors(UNET, lora_inside), "saved with a LoRA inside"),
        (tensors(VAE, lambda found: found["decoder.conv_out.bias"].fill_(torch.nan)), r"NaN .*decoder\.conv_out\.bias"),
        (tensors(TEXT, lambda found: [one.fill_(1e30) for one in found.values()]), "NaN"),
    ],
)  # fmt: skip
def test_a_base_that_cannot_work_is_refused_by_name(base: Path, tmp_path: Path, change: Change, words: str) -> None:
    change(base)
    with pytest.raises(BaseModelError, match=words) as caught:
        init(tmp_path / "registry", base)
    assert not (tmp_path / "registry" / ".cns").exists()
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_folder_of_files_leads_to_the_first(tmp_path: Path) -> None:
    (tmp_path / "b.safetensors").touch()
    (tmp_path / "a b.safetensors").touch()
    with pytest.raises(BaseModelError, match="no model_index") as caught:
        init(tmp_path / "registry", tmp_path)
    assert caught.value.hint == f"one file may be a whole model: cns init --base '{tmp_path / 'a b.safetensors'}'"


def test_every_load_compares_names(base: Path) -> None:
    """A text encoder that lacked one tensor drew another picture every time."""
    tensors(TEXT, lambda found: found.pop(max(found)))(base)
    with pytest.raises(BaseModelError, match="lack"):
        load_pipeline(base)


@pytest.mark.parametrize(
    "change",
    [
        edit("model_index.json", _class_name="StableDiffusionImg2ImgPipeline"),
        edit("model_index.json", _class_name="StableDiffusionInpaintPipeline"),
        in_shards,
        edit("unet/config.json", sample_size=[8, 8]),
        scheduler("DDIMScheduler", rescale_betas_zero_snr=True, prediction_type="v_prediction", clip_sample=False),
        tensors(VAE, as_in_2022),
        tensors(TEXT, as_by_transformers_4),
        tensors(TEXT, as_by_transformers_5),
        tensors(TEXT, lambda found: found.update({"text_model.embeddings.position_ids": torch.arange(24)[None]})),
    ],
)
def test_what_works_is_taken_and_draws(base: Path, tmp_path: Path, change: Change) -> None:
    change(base)
    init(tmp_path / "registry", base)
    made = generate(GenerateOptions(start=tmp_path / "registry", prompt="a dog", steps=2), NullProgress())
    assert made.made == 1


def test_shards_are_the_weights_of_the_whole(base: Path) -> None:
    whole = load_pipeline(base).unet.state_dict()
    in_shards(base)
    parts = load_pipeline(base).unet.state_dict()
    assert all(torch.equal(whole[name], parts[name]) for name in whole | parts)


def test_the_schedule_of_a_turbo_is_warned_of(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scheduler("EulerDiscreteScheduler", timestep_spacing="trailing", prediction_type="epsilon")(base)
    done = CliRunner().invoke(app, ["init", "--base", str(base)], prog_name="cns")
    assert done.exit_code == 0
    assert "warning: its schedule is that of bases that were distilled" in done.stderr


def test_a_folder_that_has_a_registry_is_said_before_anything_is_looked_at(base: Path, tmp_path: Path) -> None:
    init(tmp_path / "registry", base)
    with pytest.raises(AlreadyARegistry):
        init(tmp_path / "registry", tmp_path / "no-base")


def test_a_registry_of_a_folder_above_is_said(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "all" / "photos").mkdir(parents=True)
    said = []
    for place in ("all", "all/photos"):
        monkeypatch.chdir(tmp_path / place)
        said.append(CliRunner().invoke(app, ["init", "--base", str(base)], prog_name="cns").stderr)
    assert "warning" not in said[0]
    assert f"warning: here and below, this registry is seen in the place of the one in {tmp_path / 'all'}" in said[1]
