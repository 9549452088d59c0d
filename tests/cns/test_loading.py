"""Bases: found, identified by their bytes, loaded without trusting the folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cns import grid
from cns.errors import BaseModelError, SettingsError
from cns.families import FAMILIES
from cns.files import bases, hub
from cns.files.bases import check_base, describe_base, resolution_of, resolve_base
from cns.files.tensors import read_header, read_tensor
from cns.loading import load_pipeline, pick_device
from cns.quiet import quiet_libraries
from cns.text import text_encoders
from tests.tiny import POSITIONS, UNETS, tiny_sd, tiny_tokenizer

UNET = Path("unet/diffusion_pytorch_model.safetensors")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SD 1.x that no test changes."""
    return tiny_sd(tmp_path_factory.mktemp("base"))


@pytest.fixture
def own(shared: Path, tmp_path: Path) -> Path:
    """A copy that the test may change."""
    return Path(shutil.copytree(shared, tmp_path / "copy"))


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def recast(path: Path, dtype: torch.dtype) -> None:
    save_file({name: value.to(dtype) for name, value in load_file(path).items()}, path)


@pytest.mark.parametrize("variant", UNETS)
def test_every_variant_loads_and_generates_silently(
    tmp_path: Path, variant: str, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_sd(tmp_path, variant=variant)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline = load_pipeline(folder)
    assert resolution_of(folder) == pipeline.unet.config["sample_size"] * pipeline.vae_scale_factor == 64
    assert pipeline.tokenizer.model_max_length == POSITIONS
    assert getattr(pipeline, "safety_checker", None) is None
    with quiet_libraries():  # Euler's schedule warns of numpy 2
        image = pipeline(["a dog"], num_inference_steps=2).images[0]
    assert image.size == (64, 64)
    for module in (pipeline.unet, pipeline.vae, *text_encoders(pipeline)):
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())
        assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert capfd.readouterr() == ("", "")


def test_same_seed_writes_the_same_tiny_base(tmp_path: Path, shared: Path) -> None:
    again = tiny_sd(tmp_path / "again")
    assert describe_base(again) == describe_base(shared)
    assert describe_base(tiny_sd(tmp_path / "other", seed=1)) != describe_base(shared)


def test_facts_are_those_of_the_loaded_weights(shared: Path) -> None:
    facts = describe_base(shared)
    pipeline = load_pipeline(shared)
    weights = {name: value for name, value in pipeline.unet.named_parameters() if ".attn2.to_" in name}
    kv = {name: value.numpy() for name, value in weights.items() if name.split(".")[-2] in ("to_k", "to_v")}
    assert facts.family == "sd-1"
    assert list(facts.matrices) == sorted(kv)
    for name, weight in kv.items():
        assert facts.matrices[name] == {
            "shape": list(weight.shape),
            "sha256": hashlib.sha256(weight.astype("<f4").tobytes()).hexdigest(),
            "exponent": grid.exponent(weight, FAMILIES["sd-1"].grid_bits),
        }
    assert facts.denoiser_parameters == sum(value.numel() for value in pipeline.unet.parameters())
    assert facts.components["unet"][UNET.name] == hashlib.sha256((shared / UNET).read_bytes()).hexdigest()
    assert set(facts.components) == {"unet", "vae", "text_encoder", "tokenizer", "scheduler"}
    assert json.loads(json.dumps(facts.matrices)) == facts.matrices


def test_no_location_participates(shared: Path, own: Path) -> None:
    (own / "unet" / "README.md").write_text("not loaded, so not part of the base")
    assert describe_base(own) == describe_base(shared)
    check_base(own, describe_base(shared).components)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_file_is_another_base_and_loads_as_float32(shared: Path, own: Path, dtype: torch.dtype) -> None:
    recast(own / UNET, dtype)
    facts, original = describe_base(own), describe_base(shared)
    assert facts.components["unet"] != original.components["unet"]
    pipeline = load_pipeline(own)
    assert pipeline.unet.dtype == torch.float32
    name = next(iter(facts.matrices))
    weight = dict(pipeline.unet.named_parameters())[name].numpy()
    assert facts.matrices[name]["sha256"] == hashlib.sha256(weight.astype("<f4").tobytes()).hexdigest()
    assert facts.denoiser_parameters == original.denoiser_parameters
    with pytest.raises(BaseModelError) as caught:
        check_base(own, original.components)
    (name, expected, found), *others = caught.value.changed
    assert not others
    assert name == str(UNET)
    assert expected[:12] in caught.value.message
    assert found[:12] in caught.value.message


def test_fp16_variant_is_used_where_there_is_no_other(own: Path) -> None:
    recast(own / UNET, torch.float16)
    (own / UNET).rename(own / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert load_pipeline(own).unet.dtype == torch.float32
    assert "diffusion_pytorch_model.fp16.safetensors" in describe_base(own).components["unet"]


@pytest.mark.parametrize("file", ["unet/config.json", "tokenizer/tokenizer.json", "scheduler/scheduler_config.json"])
def test_one_changed_byte_is_another_base(shared: Path, own: Path, file: str) -> None:
    (own / file).write_bytes((own / file).read_bytes() + b"\n")
    with pytest.raises(BaseModelError) as caught:
        check_base(own, describe_base(shared).components)
    assert [name for name, _, _ in caught.value.changed] == [file]


def test_new_file_is_named_as_absent_before(shared: Path, own: Path) -> None:
    (own / "tokenizer" / "extra.json").write_text("{}")
    with pytest.raises(BaseModelError) as caught:
        check_base(own, describe_base(shared).components)
    assert caught.value.changed[0][:2] == ("tokenizer/extra.json", "absent")


@pytest.mark.parametrize("file", [str(UNET), "text_encoder/model.safetensors"])
def test_pickles_are_never_loaded(own: Path, file: str) -> None:
    (own / file).rename((own / file).with_suffix(".bin"))
    for act in (describe_base, load_pipeline):
        with pytest.raises(BaseModelError, match=r"pickle|safetensors"):
            act(own)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"_class_name": "KolorsPipeline"}, "KolorsPipeline"),
        ({"unet": ["evil_package", "Payload"]}, "Payload"),
        ({"scheduler": ["diffusers", "FlaxDDIMScheduler"]}, "FlaxDDIMScheduler"),
        ({"extra": ["os", "system"]}, "system"),
        ({"vae": [None, None]}, "no vae"),
        ({"tokenizer": ["transformers", "AutoTokenizer"]}, "AutoTokenizer"),
    ],
)
def test_index_is_compared_with_the_allow_list(own: Path, changes: dict[str, object], word: str) -> None:
    edit_json(own / "model_index.json", **changes)
    with pytest.raises(BaseModelError, match=word):
        load_pipeline(own)


def test_a_scheduler_that_predicts_something_else_is_refused(own: Path) -> None:
    edit_json(own / "scheduler" / "scheduler_config.json", prediction_type="sample")
    with pytest.raises(BaseModelError, match="predicts 'sample', expected epsilon or v_prediction"):
        load_pipeline(own)


def test_safety_checker_is_named_by_many_and_loaded_never(own: Path) -> None:
    edit_json(
        own / "model_index.json",
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
    )
    assert load_pipeline(own).safety_checker is None


@pytest.mark.parametrize("damage", ["empty", "truncated", "header", "text"])
def test_damaged_weights_are_an_error_not_a_traceback(own: Path, damage: str) -> None:
    data = (own / UNET).read_bytes()
    damaged = {"empty": b"", "truncated": data[:-100], "header": b"\xff" * 8 + data[8:], "text": b"hello, world"}
    (own / UNET).write_bytes(damaged[damage])
    for act in (describe_base, load_pipeline):
        with pytest.raises(BaseModelError) as caught:
            act(own)
        assert "\n" not in caught.value.message


def test_missing_component_is_named(own: Path) -> None:
    shutil.rmtree(own / "scheduler")
    with pytest.raises(BaseModelError, match="scheduler"):
        describe_base(own)
    (own / "unet" / "config.json").write_text("[]")
    with pytest.raises(BaseModelError, match=r"config\.json"):
        describe_base(own)


def test_old_scheduler_config_loads_silently_as_diffusers_reads_it(
    own: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    edit_json(own / "scheduler" / "scheduler_config.json", steps_offset=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_pipeline(own).scheduler.config.steps_offset == 1
    assert capfd.readouterr() == ("", "")


def test_text_encoder_pools_at_the_true_end(shared: Path) -> None:
    pipeline = load_pipeline(shared)
    assert json.loads((shared / "text_encoder" / "config.json").read_text())["eos_token_id"] == 2
    tokenizer, encoder = pipeline.tokenizer, pipeline.text_encoder
    tokenizer.add_tokens(["<rex>"])  # its id is now the largest, where the old rule would pool
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    ids = tokenizer(["a <rex> dog"], padding="max_length", return_tensors="pt").input_ids
    output = encoder(ids)
    end = int((ids[0] == tokenizer.eos_token_id).int().argmax())
    assert torch.equal(output.pooler_output[0], output.last_hidden_state[0, end])


def test_sources_resolve(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_base(shared) == shared.resolve()
    assert resolve_base(str(shared)) == shared.resolve()
    monkeypatch.setattr(bases, "BASES_FOLDER", tmp_path)
    with pytest.raises(BaseModelError, match="not installed"):
        resolve_base("emoji-64")
    shutil.copytree(shared, tmp_path / "emoji-64-v1")
    assert resolve_base("emoji-64") == resolve_base("emoji-64-v1") == tmp_path / "emoji-64-v1"


def test_what_is_no_base_is_said(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match="no diffusers pipeline"):
        resolve_base(tmp_path)
    single = tmp_path / "model.safetensors"
    single.write_bytes(b"")
    with pytest.raises(BaseModelError, match="no whole safetensors file"):
        resolve_base(single)
    for name in ("emoji-65", "a/b/c", "../x/y", "https://example.org/x", "~nobody-of-this-name"):
        with pytest.raises(BaseModelError) as caught:
            resolve_base(name)
        assert caught.value.source == name
    with pytest.raises(BaseModelError) as caught:
        resolve_base("https://huggingface.co/acme/some-base.v1/tree/main")
    assert caught.value.hint == "cns init --base acme/some-base.v1"


def test_hub_id_that_is_not_here_is_said_offline(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError) as caught:
        resolve_base("nobody/no-such-model", cache_folder=tmp_path, local_files_only=True)
    assert caught.value.source == "nobody/no-such-model"
    assert "could not be fetched" in caught.value.message


def test_hub_id_is_found_in_the_cache(shared: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--nobody--tiny" / "snapshots" / ("0" * 40)
    shutil.copytree(shared, snapshot)
    (tmp_path / "models--nobody--tiny" / "refs").mkdir()
    (tmp_path / "models--nobody--tiny" / "refs" / "main").write_text("0" * 40)
    folder = resolve_base("nobody/tiny", cache_folder=tmp_path, local_files_only=True)
    assert describe_base(folder) == describe_base(shared)


def test_only_safetensors_are_asked_of_a_hub() -> None:
    assert not [pattern for pattern in hub.BASE_FILES if ".bin" in pattern or ".py" in pattern]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_single_tensor_is_read_exactly(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {"a": torch.randn(3, 5).to(dtype), "b": torch.tensor([1e-8, -0.0, 65504.0]).to(dtype)}
    save_file(tensors, tmp_path / "x.safetensors")
    header = read_header(tmp_path / "x.safetensors")
    for name, tensor in tensors.items():
        read = read_tensor(tmp_path / "x.safetensors", header[name])
        assert np.array_equal(read.view(np.uint32), tensor.float().numpy().view(np.uint32))


def test_tensor_outside_its_file_is_refused(tmp_path: Path) -> None:
    table = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(len(table).to_bytes(8, "little") + table + b"\0" * 8)
    with pytest.raises(BaseModelError, match="outside the file"):
        read_header(tmp_path / "x.safetensors")


def test_integer_weights_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2, dtype=torch.int64)}, tmp_path / "x.safetensors")
    with pytest.raises(BaseModelError, match="I64"):
        read_tensor(tmp_path / "x.safetensors", read_header(tmp_path / "x.safetensors")["a"])


def test_device_is_picked_or_refused() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("tpu", "", "cpu:x"):
        with pytest.raises(SettingsError) as caught:
            pick_device(name)
        assert caught.value.value == name
    if not torch.cuda.is_available():
        with pytest.raises(SettingsError, match="no cuda"):
            pick_device("cuda")


def test_tiny_tokenizer_is_a_real_bpe() -> None:
    tokenizer = tiny_tokenizer()
    assert tokenizer.tokenize("a dog") == ["a</w>", "dog</w>"]
    assert tokenizer.unk_token_id not in tokenizer("<rex> é 12", add_special_tokens=False).input_ids
    assert tokenizer.decode(tokenizer("a red dog!", add_special_tokens=False).input_ids) == "a red dog !"


@pytest.mark.embedded
def test_embedded_base_is_one(capfd: pytest.CaptureFixture[str]) -> None:
    folder = resolve_base("emoji-64")
    facts = describe_base(folder)
    assert facts.family == "emoji-64"
    check_base(folder, facts.components)
    pipeline = load_pipeline(folder)
    assert resolution_of(folder) == pipeline.unet.config["sample_size"] * pipeline.vae_scale_factor == 64
    assert pipeline.tokenizer.model_max_length == 32
    assert capfd.readouterr() == ("", "")
