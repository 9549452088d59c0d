"""What other programs read of an export is what `cns generate` draws with, bit for bit or within what is said."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from cns.compose import Weights, kv_parameters
from cns.quiet import quiet_libraries
from cns_cli.porcelain.exchange.formats import FORMATS
from cns_cli.porcelain.exchange.order import Order
from cns_cli.porcelain.exchange.programs import PROGRAMS, doubt
from cns_cli.porcelain.export import _check_writable, export
from cns_cli.porcelain.models.session import Session
from registry.errors import RegistryError
from registry.objects import Blob, Concept, Tree
from registry.repository import Repository
from registry.trees import composing, seen
from tests.porcelain.conftest import add, new_registry

with quiet_libraries():
    from diffusers import StableDiffusionPipeline


def written(folder: Path, kind: str, place: Path, *names: str, dtype: str = "fp32", rank: int | None = None):
    return export("HEAD", kind, place, dtype, folder, concepts=names, rank=rank)


def composed(folder: Path, *names: str) -> tuple[Session, Weights]:
    """The weights with which a prompt is drawn that names these concepts; of a tree of all, the union."""
    session = Session.open(Repository(folder), "cpu")
    tree = session.repo.tree_of("HEAD")
    return session, session.base.model.compose(session.parts(composing(seen(tree, names), "all")))


def plain(folder: Path) -> StableDiffusionPipeline:
    """The base, as diffusers opens it."""
    with quiet_libraries():
        return StableDiffusionPipeline.from_pretrained(Session.open(Repository(folder), "cpu").base.folder)


def read(pipeline: StableDiffusionPipeline) -> Weights:
    return {name: one.detach().clone() for name, one in kv_parameters(pipeline).items()}


def fused(folder: Path, file: Path) -> Weights:
    """The weights of the base after diffusers and PEFT have added a LoRA for good."""
    pipeline = plain(folder)
    with quiet_libraries():
        pipeline.load_lora_weights(file)
        pipeline.fuse_lora()
        pipeline.unload_lora_weights()
    return read(pipeline)


def off(found: Weights, exact: Weights, base: Weights) -> float:
    """||found - exact|| / ||exact - base||."""
    wrong = sum(float((found[name].double() - one.double()).square().sum()) for name, one in exact.items())
    whole = sum(float((one.double() - base[name].double()).square().sum()) for name, one in exact.items())
    return (wrong / whole) ** 0.5


def key(name: str) -> str:
    return "lora_unet_" + name.removesuffix(".weight").replace(".", "_")


def test_a_whole_change_added_to_the_base_has_the_bits_of_cns_generate(learned: Path, tmp_path: Path) -> None:
    found = written(learned, "lycoris", tmp_path / "x")
    session, exact = composed(learned)
    file = load_file(tmp_path / "x" / "x.safetensors")
    assert found.error == 0
    assert not [name for name in file if not name.endswith(".diff")]
    for name, base in session.base.model.base.items():
        assert torch.equal(base + file[f"{key(name)}.diff"], exact[name])


def test_comfyui_takes_the_weights_themselves(learned: Path, tmp_path: Path) -> None:
    assert written(learned, "comfy", tmp_path / "x", "rex").error == 0
    session = Session.open(Repository(learned), "cpu")
    rex = session.base.model.compose([session.concepts(session.repo.tree_of("HEAD"))["rex"]])
    file = load_file(tmp_path / "x" / "rex.safetensors")
    assert {name: file[f"{key(name)}.set_weight"] for name in rex}.keys() == rex.keys()
    assert all(torch.equal(file[f"{key(name)}.set_weight"], weight) for name, weight in rex.items())


def test_half_precision_says_how_far_off_it_is(learned: Path, tmp_path: Path) -> None:
    found = written(learned, "comfy", tmp_path / "x", dtype="bf16")
    session, exact = composed(learned)
    file = load_file(tmp_path / "x" / "x.safetensors")
    reader = {name: file[f"{key(name)}.set_weight"].float() for name in exact}
    assert found.error > 1e-3
    assert "rounds" in found.warnings[0]
    assert off(reader, exact, session.base.model.base) == pytest.approx(found.error, rel=1e-2)


@pytest.mark.parametrize("rank", [None, 3])
def test_peft_adds_a_lora_within_the_error_that_was_said(learned: Path, tmp_path: Path, rank: int | None) -> None:
    found = written(learned, "lora", tmp_path / "x", rank=rank)
    session, exact = composed(learned)
    reader = fused(learned, tmp_path / "x" / "x.safetensors")
    assert off(reader, exact, session.base.model.base) == pytest.approx(found.error, rel=1e-2, abs=1e-5)
    assert (found.error > 0.1) == (rank == 3)
    file = load_file(tmp_path / "x" / "x.safetensors")
    alphas = {float(one) for name, one in file.items() if name.endswith("alpha")}
    assert alphas == {3.0 if rank else 32.0}


@pytest.fixture(scope="module")
def directed(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, photos: dict[str, Path], mlflow_tables: Path
) -> Path:
    """A registry whose prompts see what they name: two changes along directions, of rank 4; tom has two vectors."""
    folder = new_registry(tmp_path_factory.mktemp("directed"), tiny_base, mlflow_tables, "named")
    add(folder, "rex", photos["rex"], directions=4)
    add(folder, "tom", photos["tom"], class_noun="cat", directions=4, vectors=2)
    return folder


def test_a_change_along_directions_is_an_exact_lora_of_their_rank(directed: Path, tmp_path: Path) -> None:
    found = written(directed, "lora", tmp_path / "x", "rex", "tom")
    assert found.error == 0
    file = load_file(tmp_path / "x" / "x.safetensors")
    assert {one.shape[0] for name, one in file.items() if name.endswith("lora_down.weight")} == {8}
    session, exact = composed(directed, "rex", "tom")
    assert off(fused(directed, tmp_path / "x" / "x.safetensors"), exact, session.base.model.base) < 1e-5


def test_vectors_are_read_by_diffusers_and_the_prompt_is_read_alike(learned: Path, tmp_path: Path) -> None:
    written(learned, "embedding", tmp_path / "x")
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == [
        "cns.json",
        "rex.safetensors",
        "tom.safetensors",
    ]
    session = Session.open(Repository(learned), "cpu")
    session.set_tree(session.repo.tree_of("HEAD"))
    pipeline = plain(learned)
    with quiet_libraries():
        for name in ("rex", "tom"):
            pipeline.load_textual_inversion(tmp_path / "x" / f"{name}.safetensors", token=f"<{name}>")
    prompt = ("a <rex> dog beside a <tom> cat", "cpu", 1, False)
    ours, _ = session.base.model.pipeline.encode_prompt(*prompt)
    theirs, _ = pipeline.encode_prompt(*prompt)
    assert torch.equal(ours, theirs)


def test_a_token_of_two_vectors_is_one_tensor_that_diffusers_reads_alike(directed: Path, tmp_path: Path) -> None:
    written(directed, "embedding", tmp_path / "x", "tom")
    file = tmp_path / "x" / "tom.safetensors"
    session = Session.open(Repository(directed), "cpu")
    tree = session.repo.tree_of("HEAD")
    rows = session.concepts(tree)["tom"].rows
    assert torch.equal(load_file(file)["emb_params"], torch.stack([rows["<tom>"], rows["<tom>_1"]]))
    session.set_tree(composing(tree, "all"))
    pipeline = plain(directed)
    with quiet_libraries():
        pipeline.load_textual_inversion(file, token="<tom>")
    prompt = ("a <tom> cat", "cpu", 1, False)
    ours, theirs = (one.encode_prompt(*prompt)[0] for one in (session.base.model.pipeline, pipeline))
    assert torch.equal(ours, theirs)


def test_a_delta_holds_the_bytes_of_the_registry(learned: Path, tmp_path: Path) -> None:
    written(learned, "delta", tmp_path / "x", "tom")
    repo = Repository(learned)
    tom = repo.objects.get(repo.tree_of("HEAD").concepts["tom"], Concept)
    tensors = load_file(tmp_path / "x" / "tom.safetensors")
    stored = {part: repo.objects.get(getattr(tom, part), Blob).data for part in ("mask", "delta", "embedding")}
    assert {part: tensor.numpy().tobytes() for part, tensor in tensors.items()} == stored
    with safe_open(tmp_path / "x" / "tom.safetensors", "pt") as file:
        said = json.loads(file.metadata()["cns.concept"])
    assert (said["name"], said["class_noun"], said["tokens"]) == ("tom", "cat", ["<tom>"])


@pytest.mark.parametrize("variant", ["sd-1", "sd-2"])
def test_diffusers_reads_a_checkpoint_as_the_base_with_the_composed_weights(
    variant: str, registry_of: Callable[[str], Path], tmp_path: Path
) -> None:
    session = Session.open(Repository(registry_of(variant)), "cpu")
    model, folder = session.base.model, str(session.base.folder)
    name, weight = next(iter(model.base.items()))
    model.base[name] = weight + 1  # what is composed, not what was loaded
    order = Order(session=session, tree=session.repo.tree_of("HEAD"), commit="", stem="x")
    FORMATS["checkpoint"].write(order, tmp_path)
    with quiet_libraries():
        found = StableDiffusionPipeline.from_single_file(str(tmp_path / "x.safetensors"), config=folder)
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = (getattr(one, part).state_dict() for one in (model.pipeline, found))
        assert ours.keys() == theirs.keys()
        assert not [one for one in ours if not torch.equal(ours[one], theirs[one])]
    assert torch.equal(found.unet.state_dict()[name], weight + 1)


def test_a_checkpoint_keeps_the_rows_of_the_base(learned: Path, tmp_path: Path) -> None:
    written(learned, "checkpoint", tmp_path / "x")
    file = load_file(tmp_path / "x" / "x.safetensors")
    rows = file["cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"]
    assert len(rows) == plain(learned).text_encoder.config.vocab_size
    inside = "transformer_blocks.0.attn2.to_k.weight"
    mid = composed(learned)[1][f"mid_block.attentions.0.{inside}"]
    assert torch.equal(file[f"model.diffusion_model.middle_block.1.{inside}"], mid)


WRITE = """
import torch
from cns_cli.porcelain.exchange.files import write_tensors
facts = {f"ss_{word}": word for word in WORDS}
write_tensors(FILE, {name: torch.arange(3.0) for name in ("b", "a")}, facts)
"""


def test_a_file_has_the_same_bytes_in_every_process_and_is_known_by_its_hash(tmp_path: Path) -> None:
    exec(WRITE, {"FILE": tmp_path / "1", "WORDS": "fedcba"})
    said = f"import pathlib; FILE = pathlib.Path({str(tmp_path / '2')!r}); WORDS = 'abcdef'"
    subprocess.run([sys.executable, "-c", said + WRITE], check=True)
    data = (tmp_path / "1").read_bytes()
    assert data == (tmp_path / "2").read_bytes()
    with safe_open(tmp_path / "1", "pt") as file:
        said = file.metadata()
        assert torch.equal(file.get_tensor("a"), torch.arange(3.0))
    start = 8 + int.from_bytes(data[:8], "little")
    assert (said["ss_f"], said["sshs_model_hash"]) == ("f", hashlib.sha256(data[start:]).hexdigest())


def test_concepts_of_which_all_act_can_be_written_alone_and_that_is_said(learned: Path, tmp_path: Path) -> None:
    found = written(learned, "lycoris", tmp_path / "x", "rex")
    assert found.tokens == {"rex": "<rex>"}
    assert "tom" in found.warnings[0]


@pytest.mark.parametrize(
    ("kind", "names", "dtype", "said"),
    [
        ("delta", (), "fp16", "whole numbers"),
        ("lora", (), "fp32", "expected which of"),
        ("lora", ("nope",), "fp32", "nope"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_written(
    directed: Path, tmp_path: Path, kind: str, names: tuple[str, ...], dtype: str, said: str
) -> None:
    with pytest.raises(RegistryError, match=said):
        written(directed, kind, tmp_path / "new", *names, dtype=dtype)
    assert not (tmp_path / "new").exists()


def test_two_concepts_that_differ_in_capital_letters_get_no_file_together() -> None:
    tree = Tree("0" * 64, {"Rex": "1" * 64, "rex": "2" * 64})
    with pytest.raises(RegistryError, match="capital"):
        _check_writable("embedding", "fp32", tree, {"Rex": ("<Rex>",), "rex": ("<rex>",)})


def test_a_registry_without_a_concept_has_nothing_to_write(empty: Path, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no concept is there"):
        written(empty, "lycoris", tmp_path / "new")


@pytest.mark.parametrize(
    ("program", "weights", "vectors", "prompt"),
    [
        ("comfyui", "models/loras/rex.safetensors", "models/embeddings/rex.safetensors", "a embedding:rex dog"),
        ("a1111", "models/Lora/rex.safetensors", "embeddings/rex.safetensors", "<lora:rex:1> a rex dog"),
        ("invokeai", "loras/rex.safetensors", "embeddings/rex.safetensors", "a <rex> dog"),
        ("sdcpp", "loras/rex.safetensors", "embeddings/rex.safetensors", "<lora:rex:1> a rex dog"),
    ],
)
def test_a_program_gets_all_that_it_needs_where_it_looks_for_it(
    directed: Path, tmp_path: Path, program: str, weights: str, vectors: str, prompt: str
) -> None:
    place = tmp_path / "x"
    found = export("HEAD", "diffusers", place, "fp16", directed, concepts=("rex",), program=program)
    assert (found.format, found.program, found.prompts) == ("lora", program, (prompt,))
    assert load_file(place / vectors)["emb_params"].dtype == torch.float32
    assert load_file(place / weights).keys() >= {f"{key(name)}.alpha" for name in composed(directed, "rex")[1]}
    files = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    beside = {"a1111": {"models/Lora/rex.json"}, "invokeai": {"loras/rex.json", "loras/rex.png"}}.get(program, set())
    assert files == {"cns.json", weights, vectors, *beside}
    for file in beside:
        if file.endswith(".json"):
            said = json.loads((place / file).read_text())
            assert said["activation text"] == ("<rex> dog" if program == "invokeai" else "rex dog")
        else:
            with Image.open(place / file) as picture:
                assert picture.size == (64, 64)


def test_for_diffusers_is_a_pipeline_and_a_mask_goes_to_others_whole(learned: Path, tmp_path: Path) -> None:
    found = export("HEAD", "diffusers", tmp_path / "x", "fp32", learned, program="diffusers")
    assert (found.format, found.prompts) == ("diffusers", ("a <rex> dog", "a <tom> cat"))
    assert (tmp_path / "x" / "model_index.json").exists()
    other = export("HEAD", "diffusers", tmp_path / "y", "fp32", learned, program="comfyui")
    assert (other.format, other.error) == ("lycoris", 0)
    assert (tmp_path / "y" / "models" / "embeddings" / "tom.safetensors").exists()
    with pytest.raises(RegistryError, match="choose the format"):
        export("HEAD", "lora", tmp_path / "z", "fp32", learned, program="comfyui")


def test_a_base_that_a_program_cannot_open_is_said(registry_of: Callable[[str], Path]) -> None:
    session = Session.open(Repository(registry_of("emoji-64")), "cpu")
    order = Order(session=session, tree=session.repo.tree_of("HEAD"), commit="", stem="x")
    assert "emoji-64" in str(doubt(PROGRAMS["a1111"], order))
    assert doubt(PROGRAMS["diffusers"], order) is None


@pytest.mark.parametrize(("kind", "program"), [("lycoris", None), ("diffusers", None), ("diffusers", "diffusers")])
def test_a_rank_where_it_would_do_nothing_is_refused(
    learned: Path, tmp_path: Path, kind: str, program: str | None
) -> None:
    with pytest.raises(RegistryError, match="a rank is that of a lora"):
        export("HEAD", kind, tmp_path / "x", "fp32", learned, rank=8, program=program)
    assert not (tmp_path / "x").exists()
