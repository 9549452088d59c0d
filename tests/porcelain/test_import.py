"""`cns import` in a real registry on a tiny random base: commits, refusals, and every verb beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cns.adapters.rounding import dense
from cns.errors import AdapterError, ClassNounError, TokenError
from cns.quiet import quiet_libraries
from cns_cli.porcelain.check import check
from cns_cli.porcelain.fsck import fsck
from cns_cli.porcelain.generate import generate
from cns_cli.porcelain.import_ import ImportResult, import_concept
from cns_cli.porcelain.merge import Choices
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import CheckOptions, FsckOptions, GenerateOptions, ImportOptions, Request
from cns_cli.porcelain.revert import revert
from cns_cli.porcelain.rm import rm
from cns_cli.porcelain.show import show
from cns_cli.porcelain.views.provenance import show_provenance
from cns_cli.progress import NullProgress
from registry.errors import NameTaken, TokenTaken
from registry.objects import Record
from registry.repository import Repository
from tests.porcelain.conftest import NOON, add

with quiet_libraries():
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

QUIET = NullProgress()
KV = ("attn2.to_k", "attn2.to_v")


def write_lora(base: Path, file: Path, targets: tuple[str, ...] = KV, seed: int = 0) -> Path:
    """A LoRA as diffusers and PEFT write it, of random weights."""
    with torch.random.fork_rng(devices=[]), quiet_libraries():
        torch.manual_seed(seed)
        unet = UNet2DConditionModel.from_pretrained(base / "unet")
        config = LoraConfig(r=2, lora_alpha=3, target_modules=list(targets), init_lora_weights="gaussian")
        unet.add_adapter(config)
        for name, parameter in unet.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        StableDiffusionPipeline.save_lora_weights(
            file.parent,
            unet_lora_layers=get_peft_model_state_dict(unet),
            unet_lora_adapter_metadata=config.to_dict(),
            weight_name=file.name,
        )
    return file


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A LoRA of the key and value matrices."""
    return write_lora(tiny_base, tmp_path_factory.mktemp("lora") / "rex.safetensors")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A LoRA of all of attention."""
    targets = ("to_q", "to_k", "to_v", "to_out.0")
    return write_lora(tiny_base, tmp_path_factory.mktemp("wide") / "rex.safetensors", targets)


def bring(folder: Path, file: Path, name: str = "zed", **more: Any) -> ImportResult:
    settings: dict[str, Any] = {"class_noun": "dog", "author": "ann", "time": NOON + 600, **more}
    return import_concept(ImportOptions(start=folder, file=file, name=name, **settings), QUIET)


def errors(folder: Path) -> list[str]:
    return [one.what for one in fsck(FsckOptions(start=folder)).findings if one.level == "error"]


@pytest.mark.parametrize("registry", ["named", "learned"])
def test_an_import_is_a_commit_like_any_other(registry: str, lora: Path, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(registry)
    repo = Repository(folder)
    before = repo.tree_of("HEAD")
    made = bring(folder, lora)
    commit = repo.commit_of(repo.head().commit)
    assert (commit.kind, commit.message) == ("import", "import zed from rex.safetensors")
    assert (made.dialect, made.scales, made.outside) == ("diffusers LoRA", (1.5,), {})
    assert 0 < made.rounding_loss < 0.01
    data = repo.objects.get(commit.record or "", Record).data
    assert data["params"]["sha256"] == made.sha256
    assert data["metrics"]["rounding_loss"] == made.rounding_loss
    assert (set(made.drift) == {"rex", "tom"}) == (before.compose == "all")
    if registry == "learned":
        assert check(CheckOptions(start=folder, fast=True, max_drop={"drift": 9.0})).rows
    else:
        generate(GenerateOptions(start=folder, prompt="a <zed> dog", steps=1, out=folder / "zed.png"), QUIET)
    request_ = Request(start=folder, author="ann", time=NOON + 700)
    rm(request_, "zed", QUIET, drift=False)
    assert repo.tree_of("HEAD") == before
    revert(request_, "HEAD", Choices(), QUIET, drift=False)
    assert "zed" in repo.tree_of("HEAD").concepts
    assert errors(folder) == []


def test_the_weights_are_the_files_within_what_was_said_of_rounding(named: Path, lora: Path) -> None:
    made = bring(named, lora, weight=0.5)
    session = Session.open(Repository(named), "cpu")
    tree = session.repo.tree_of("HEAD")
    tensors = load_file(lora)
    lost = whole = 0.0
    for name, stored in session.concept(tree.concepts["zed"]).delta.items():
        key = f"unet.{name.removesuffix('.weight')}.lora_"
        down, up = (tensors[f"{key}{side}.weight"].double().numpy() for side in "AB")
        change = 0.5 * 1.5 * up @ down
        lost += float(((dense(stored) - change) ** 2).sum())
        whole += float((change**2).sum())
    assert made.rounding_loss == pytest.approx((lost / whole) ** 0.5, rel=1e-9)


def test_provenance_says_that_it_was_trained_elsewhere(named: Path, lora: Path) -> None:
    bring(named, lora)
    rows = {row.name: (row.value, row.whose) for row in show_provenance(named, "zed").rows}
    assert rows["trained"] == ("elsewhere: diffusers LoRA", "yours")
    assert "steps" not in rows


def test_two_textual_inversions_stand_beside_each_other(named: Path, tmp_path: Path) -> None:
    for seed, name in enumerate(("zed", "yak")):
        vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(seed))
        save_file({"emb_params": vectors}, tmp_path / f"{name}.safetensors")
        made = bring(named, tmp_path / f"{name}.safetensors", name)
        assert (made.dialect, made.vectors, made.own_vectors, made.neurons) == ("textual inversion", 2, True, 0)
        session = Session.open(Repository(named), "cpu")
        tree = session.repo.tree_of("HEAD")
        assert torch.equal(torch.stack(list(session.concept(tree.concepts[name]).rows.values())), vectors)
    generate(GenerateOptions(start=named, prompt="a <zed> dog", steps=1, out=named / "zed.png"), QUIET)
    assert show(named, "zed").commit.kind == "import"
    assert errors(named) == []


def test_a_token_without_vectors_starts_at_the_class_noun(named: Path, lora: Path) -> None:
    from cns.text import class_noun_row

    bring(named, lora)
    session = Session.open(Repository(named), "cpu")
    (row,) = session.concept(session.repo.tree_of("HEAD").concepts["zed"]).rows.values()
    pipeline = session.base.model.pipeline
    assert torch.equal(row, class_noun_row(pipeline, "dog"))


def test_what_is_wider_is_refused_with_its_share_and_left_out_where_that_is_asked_for(named: Path, wide: Path) -> None:
    head = Repository(named).head()
    with pytest.raises(AdapterError, match=r"\d+\.\d% of its change is beside the K/V weights.*to_q \d") as refused:
        bring(named, wide)
    assert refused.value.hint.endswith("zed --class dog --only-kv")
    assert Repository(named).head() == head
    made = bring(named, wide, only_kv=True)
    assert sum(made.outside.values()) > 0.5
    assert "was left out" in made.warnings[0]


def test_a_dry_run_writes_nothing_and_needs_no_noun(named: Path, wide: Path) -> None:
    files = sorted((named / ".cns").rglob("*"))
    made = bring(named, wide, class_noun=None, dry_run=True)
    assert (made.commit, made.matrices, made.bytes_stored) == (None, 8, None)
    assert sorted((named / ".cns").rglob("*")) == files


def test_images_say_what_it_is_and_what_it_looks_like(empty: Path, lora: Path, photos: dict[str, Path]) -> None:
    made = bring(empty, lora, "dog1", class_noun=None, images=photos["rex"].parent / "rex", token="<zed>")
    assert (made.images, made.class_noun) == (3, "dog")
    session = Session.open(Repository(empty), "cpu")
    concept = session.repo.tree_of("HEAD").concepts["dog1"]
    assert {name: len(found) for name, found in session.references(concept).items()} == {"clip": 3, "identity": 3}


@pytest.mark.parametrize(
    ("name", "token", "kind"),
    [
        ("rex", None, NameTaken),
        ("zed", "<rex>", TokenTaken),
        ("zed", "<ReX>", TokenTaken),
        ("zed", "a<rex>b", TokenTaken),
        ("zed", "rex", TokenTaken),
        ("zed", "ouse", TokenError),  # in "house"
    ],
)
def test_a_name_or_token_that_would_be_read_for_another_is_refused(
    named: Path, lora: Path, name: str, token: str | None, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as refused:
        bring(named, lora, name, token=token)
    hint = str(getattr(refused.value, "hint", ""))
    assert kind is NameTaken or (hint.startswith("cns import") and hint.count("--token") == 1)


def test_a_class_noun_must_be_known(named: Path, lora: Path) -> None:
    with pytest.raises(ClassNounError, match="expected --class NOUN"):
        bring(named, lora, class_noun=None)


def nan(tensors: dict[str, Any]) -> None:
    next(iter(tensors.values()))[0, 0] = float("nan")


def narrow(tensors: dict[str, Any]) -> None:
    for name in tensors:
        tensors[name] = tensors[name][:, :-1] if "lora_A" in name else tensors[name]


def torn(tensors: dict[str, Any]) -> None:
    tensors.pop(next(iter(tensors)))


def strange(tensors: dict[str, Any]) -> None:
    tensors["layer.weight"] = torch.zeros(2, 2)


def elsewhere(tensors: dict[str, Any]) -> None:
    tensors["unet.down_blocks.7.attn2.to_k.lora_A.weight"] = torch.zeros(2, 2)


def zero(tensors: dict[str, Any]) -> None:
    name = next(iter(tensors)).partition(".lora_")[0]
    tensors[f"{name}.alpha"] = torch.tensor(0.0)


def huge(tensors: dict[str, Any]) -> None:
    for name in list(tensors):
        tensors[name] = torch.zeros((1, 2**20) if "lora_A" in name else (2**20, 1))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (nan, "holds NaN or infinity"),
        (narrow, "does not fit"),
        (torn, "lacks a part of"),
        (strange, "is of no dialect that is read"),
        (elsewhere, "which this base does not have"),
        (zero, "says no scale of .*: an alpha of 0"),
        (huge, "does not fit"),
    ],
)
def test_broken_input_is_one_clear_error_and_nothing_is_written(
    named: Path, lora: Path, tmp_path: Path, damage: Any, said: str
) -> None:
    tensors = load_file(lora)
    damage(tensors)
    save_file({name: one.contiguous() for name, one in tensors.items()}, tmp_path / "broken.safetensors")
    before = sorted((named / ".cns").rglob("*"))
    with pytest.raises(AdapterError, match=said):
        bring(named, tmp_path / "broken.safetensors")
    assert sorted((named / ".cns").rglob("*")) == before


def test_a_file_that_is_cut_off_or_a_pickle_is_refused(named: Path, lora: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(lora.read_bytes()[:-9])
    with pytest.raises(AdapterError, match="no whole safetensors file"):
        bring(named, cut)
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "lora.ckpt")
    with pytest.raises(AdapterError, match="is a pickle that holds more than tensors"):
        bring(named, tmp_path / "lora.ckpt")


def test_a_change_that_is_too_large_for_the_grid_is_refused(named: Path, lora: Path) -> None:
    with pytest.raises(AdapterError, match="too large to be stored"):
        bring(named, lora, weight=1e6)


def test_our_own_directions_come_back_without_loss(empty: Path, photos: dict[str, Path], tmp_path: Path) -> None:
    add(empty, "rex", photos["rex"], directions=2, score=None)
    session = Session.open(Repository(empty), "cpu")
    concept = session.concept(session.repo.tree_of("HEAD").concepts["rex"])
    assert concept.rank
    tensors = {}
    for name, one in concept.delta.items():
        stem = "lora_unet_" + name.removesuffix(".weight").replace(".", "_")
        tensors[f"{stem}.lora_down.weight"] = torch.from_numpy(one.basis.T.astype(np.float32).copy())  # type: ignore[union-attr]
        tensors[f"{stem}.lora_up.weight"] = torch.from_numpy((one.outputs * 2.0**one.exponent).astype(np.float32))  # type: ignore[union-attr]
        tensors[f"{stem}.alpha"] = torch.tensor(float(concept.rank))
    save_file(tensors, tmp_path / "ours.safetensors")
    made = bring(empty, tmp_path / "ours.safetensors", "rex", replace=True)
    assert (made.rounding_loss, made.rank) == (0.0, concept.rank)
    again = Session.open(Repository(empty), "cpu").concept(Repository(empty).tree_of("HEAD").concepts["rex"])
    for name, one in concept.delta.items():
        assert np.array_equal(again.delta[name].steps, one.steps)
