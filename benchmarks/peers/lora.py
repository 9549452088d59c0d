"""Peers with low-rank adapters (peft): one trained on and on, C-LoRA, and one for each concept, combined afterwards."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from peft import LoraConfig, LoraModel, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor

from benchmarks.concept_stream import Concept
from benchmarks.method import Footprint
from benchmarks.peers.loop import Recipe, footprint, install, size_of, train
from benchmarks.trainer import Trainer
from cns.compose import Weights

RANK = 8  # 0.2 M values on the embedded base, several times what CNS changes; chosen, not tuned
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]  # diffusers' own scripts
CROSS_ATTENTION = ["attn2.to_k", "attn2.to_v"]  # C-LoRA's choice
Adapter = dict[str, Tensor]


@dataclass(frozen=True)
class Adapted:
    """Adapters by concept (one entry, "shared", where there is one for all) and all token rows, the newest last."""

    adapters: dict[str, Adapter]
    rows: dict[str, Tensor]


class SequentialLora:
    """One adapter on every attention projection, trained on and on, and a token for each concept.

    Source: Hu et al., "LoRA" (ICLR 2022), as diffusers' DreamBooth script sets it up. Differs: the token is trained.
    """

    name, is_independent = "sequential LoRA", False

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.settings = {**asdict(recipe), "rank": RANK}

    def learn(self, trainer: Trainer, state: Adapted | None, concept: Concept, seed: int) -> Adapted:
        """Go on with the adapter; None begins one."""
        trainer.reset()
        install(trainer, state.rows if state else {})
        adapter, rows = _train_adapter(trainer, concept, seed, self.recipe, state.adapters["shared"] if state else None)
        return Adapted({"shared": adapter}, {**(state.rows if state else {}), **rows})

    def put(self, trainer: Trainer, state: Adapted, _names: Sequence[str]) -> None:
        """Load the adapter."""
        trainer.reset()
        install(trainer, state.rows)
        load(trainer, "shared", state.adapters["shared"])

    def footprint(self, state: Adapted) -> Footprint:
        """The whole adapter changes at every commit."""
        return footprint(size_of(state.adapters["shared"]), state.rows)

    def fused_bytes(self, _state: Adapted, _names: Sequence[str]) -> int:
        """All concepts live in one adapter, which could be folded into the model once and for all."""
        return 0


class LoraEach:
    """An adapter and a token for each concept, each trained on the bare base; to draw, those asked for are active.

    Source: diffusers' `set_adapters`, all weights 1. Nothing can be forgotten, but nothing is one model either: every
    adapter is kept, and drawing several concepts means loading theirs.
    """

    name, is_independent = "LoRA each, set_adapters", True

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.settings = {**asdict(recipe), "rank": RANK}

    def learn(self, trainer: Trainer, state: Adapted | None, concept: Concept, seed: int) -> Adapted:
        """Train one more adapter, on the bare base."""
        trainer.reset()
        key = f"lora each {RANK} {concept.token} {seed} {self.recipe} {concept.images.pixels.sum()}"
        adapter, rows = trainer.kept(key, lambda: _train_adapter(trainer, concept, seed, self.recipe, None))
        before = state or Adapted({}, {})
        return Adapted({**before.adapters, concept.name: adapter}, {**before.rows, **rows})

    def put(self, trainer: Trainer, state: Adapted, names: Sequence[str]) -> None:
        """Load the adapters of these concepts and activate them together."""
        trainer.reset()
        install(trainer, state.rows)
        for name in names:
            load(trainer, _adapter_name(name), state.adapters[name])
        if names:
            trainer.model.pipeline.unet.set_adapters([_adapter_name(name) for name in names])

    def footprint(self, state: Adapted) -> Footprint:
        """The newest adapter."""
        return footprint(size_of(list(state.adapters.values())[-1]), state.rows)

    def fused_bytes(self, state: Adapted, names: Sequence[str]) -> int:
        """The adapters of the concepts that are asked for."""
        return 4 * sum(size_of(state.adapters[name]) for name in names)


class LoraMerged(LoraEach):
    """The same adapters, all of them merged into the weights by diffusers' `fuse_lora`, each with one factor.

    Args:
        recipe: That of `LoraEach`.
        factor: Weight of each adapter; found on the tuning stream.
    """

    name, is_independent = "LoRA each, merged", False

    def __init__(self, recipe: Recipe, factor: float) -> None:
        super().__init__(recipe)
        self.factor = factor
        self.settings = {**self.settings, "factor": factor}

    def put(self, trainer: Trainer, state: Adapted, _names: Sequence[str]) -> None:
        """Merge all adapters, whichever concepts are asked for: the outcome is one model."""
        super().put(trainer, state, list(state.adapters))
        unet = trainer.model.pipeline.unet
        names = [_adapter_name(name) for name in state.adapters]
        unet.set_adapters(names, [self.factor] * len(names))
        unet.fuse_lora(adapter_names=names)
        unet.unload_lora()

    def fused_bytes(self, state: Adapted, _names: Sequence[str]) -> int:
        """All adapters, while they are merged."""
        return super().fused_bytes(state, list(state.adapters))


class LoraOne(LoraMerged):
    """The same adapters made into one of the same rank, by peft's `add_weighted_adapter` with its default, `svd`."""

    name = "LoRA each, one by SVD"

    def put(self, trainer: Trainer, state: Adapted, _names: Sequence[str]) -> None:
        """Make one adapter of all of them and activate it."""
        trainer.reset()
        install(trainer, state.rows)
        unet, adapters = trainer.model.pipeline.unet, {_adapter_name(name): one for name, one in state.adapters.items()}
        first, *others = adapters
        with torch.random.fork_rng(devices=[]):  # peft draws first values, which are then overwritten
            tuner = LoraModel(unet, {name: _config(ATTENTION) for name in adapters}, first)
            for name in others:
                tuner.inject_adapter(unet, name)
        for name, adapter in adapters.items():
            set_peft_model_state_dict(unet, adapter, adapter_name=name)
        tuner.add_weighted_adapter(list(adapters), [self.factor] * len(adapters), "one", svd_rank=RANK)
        tuner.set_adapter("one")
        unet.requires_grad_(False)


@dataclass(frozen=True)
class Folded:
    """Key and value matrices with all earlier adapters folded in, and all token rows, the newest last."""

    weights: Weights
    rows: dict[str, Tensor]
    adapter_size: int


class CLora:
    """C-LoRA: a new adapter on keys and values for each concept, kept from what earlier ones changed, then folded in.

    L_forget = lambda * || |sum_{t' < t} B_t' A_t'| (elementwise times) B_t A_t ||_2^2

    Source: Smith et al., "Continual Diffusion: Continual Customization of Text-to-Image Diffusion with C-LoRA" (TMLR
    2024), equations 3 and 4. Differs: the class noun stays in the prompt and the token starts from it (the paper starts
    at random, without the noun), no prior images, rank 8; lambda found on the tuning stream.

    Args:
        recipe: Learning rate and steps.
        strength: lambda.
    """

    name, is_independent = "C-LoRA", False

    def __init__(self, recipe: Recipe, strength: float) -> None:
        self.recipe, self.strength = recipe, strength
        self.settings = {**asdict(recipe), "rank": RANK, "lambda": strength}

    def learn(self, trainer: Trainer, state: Folded | None, concept: Concept, seed: int) -> Folded:
        """Train an adapter away from what is occupied; fold it into the weights."""
        self.put(trainer, state, ())
        before = state or Folded(trainer.model.base, {}, 0)
        unet = trainer.model.pipeline.unet
        _add_adapter(trainer, seed, CROSS_ATTENTION)
        layers = {name: unet.get_submodule(name.removesuffix(".weight")) for name in before.weights}
        occupied = {name: (weight - trainer.model.base[name]).abs() for name, weight in before.weights.items()}

        def penalty() -> Tensor:
            parts = [(occupied[name] * layer.get_delta_weight("new")).square().sum() for name, layer in layers.items()]
            return self.strength * torch.stack(parts).sum()

        rows = train(trainer, concept, seed, self.recipe, _adapter_weights(trainer), penalty)
        size = sum(weight.numel() for weight in _adapter_weights(trainer))
        with torch.no_grad():
            folded = {name: before.weights[name] + layer.get_delta_weight("new") for name, layer in layers.items()}
        trainer.reset()
        return Folded(folded, {**before.rows, **rows}, size)

    def put(self, trainer: Trainer, state: Folded | None, _names: Sequence[str]) -> None:
        """Write the folded weights."""
        trainer.reset()
        if state is not None:
            trainer.model.write(state.weights)
            install(trainer, state.rows)

    def footprint(self, state: Folded) -> Footprint:
        """The newest adapter, which could be stored instead of the folded matrices."""
        return footprint(state.adapter_size, state.rows)

    def fused_bytes(self, _state: Folded, _names: Sequence[str]) -> int:
        """All concepts live in one model."""
        return 0


def load(trainer: Trainer, name: str, adapter: Adapter) -> None:
    """Add an adapter with these values to the live denoiser."""
    unet = trainer.model.pipeline.unet
    with warnings.catch_warnings():  # peft asks whether a second adapter is meant
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")
        unet.load_lora_adapter(dict(adapter), prefix=None, adapter_name=name)
    unet.requires_grad_(False)


def _train_adapter(
    trainer: Trainer, concept: Concept, seed: int, recipe: Recipe, start: Adapter | None
) -> tuple[Adapter, dict[str, Tensor]]:
    """Train an adapter on every attention projection; return its values and the token's row."""
    unet = trainer.model.pipeline.unet
    _add_adapter(trainer, seed, ATTENTION)
    if start is not None:
        set_peft_model_state_dict(unet, start, adapter_name="new")
    rows = train(trainer, concept, seed, recipe, _adapter_weights(trainer))
    values = get_peft_model_state_dict(unet, adapter_name="new")
    adapter = {name: value.detach().clone() for name, value in values.items()}
    trainer.reset()
    return adapter, rows


def _add_adapter(trainer: Trainer, seed: int, modules: list[str]) -> None:
    with torch.random.fork_rng(devices=[]):  # peft draws the adapter's first values
        torch.manual_seed(seed)
        trainer.model.pipeline.unet.add_adapter(_config(modules), "new")


def _adapter_weights(trainer: Trainer) -> list[torch.nn.Parameter]:
    return [weight for name, weight in trainer.model.pipeline.unet.named_parameters() if "lora_" in name]


def _config(modules: list[str]) -> LoraConfig:
    return LoraConfig(r=RANK, lora_alpha=RANK, target_modules=modules)


def _adapter_name(concept: str) -> str:
    return concept.replace("-", "_")  # a hyphen is fine in a token and not in a module's name
