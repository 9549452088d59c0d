"""An order: what is to be written, and what every file says of its making."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it loads torch
    from cns_cli.porcelain.models.session import Session
    from registry.objects import Tree

ARCHITECTURES = {
    "sd-1": ("stable-diffusion-v1", "sd_v1"),
    "sd-2": ("stable-diffusion-v2", "sd_v2"),
    "sdxl": ("stable-diffusion-xl-v1-base", "sdxl_base_v1-0"),
}
"""Family -> what modelspec and kohya call it; others go by their own name."""


def word_of(tokens: Sequence[str]) -> str:
    """What other programs call a token by, and its file: `<Rex>` is `rex`.

    In lower case: diffusers 0.42 finds a token of several vectors that has a capital letter by its first vector alone.
    """
    return tokens[0].strip("<>").lower()


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be written.

    Attributes:
        session: The registry with its base loaded; the weights of its live model are the writer's to set.
        tree: Concepts of which every prompt sees all, and perhaps an erasure.
        commit: Id of that whose tree it is, or a part of it.
        stem: Of the name of a file that holds all of them.
        dtype: fp32, fp16 or bf16.
        rank: Asked for a `lora`; None leaves it open.
    """

    session: Session
    tree: Tree
    commit: str
    stem: str
    dtype: str = "fp32"
    rank: int | None = None

    @cached_property
    def facts(self) -> dict[str, str]:
        """What the header of each file says: modelspec's and kohya's names, read by other programs, and our own."""
        base = self.session.base
        architecture, version = ARCHITECTURES.get(base.family.name, (base.family.name, base.family.name))
        concepts = self.session.concepts(self.tree).values()
        predicts = base.model.pipeline.scheduler.config.get("prediction_type", "epsilon")
        return {
            "modelspec.sai_model_spec": "1.0.0",
            "modelspec.architecture": architecture,
            "modelspec.implementation": "diffusers",
            "modelspec.title": self.stem,
            "modelspec.resolution": f"{base.resolution}x{base.resolution}",
            "modelspec.prediction_type": "v" if predicts == "v_prediction" else predicts,
            "modelspec.trigger_phrase": ", ".join(f"{word_of(tuple(one.rows))} {one.class_noun}" for one in concepts),
            "ss_base_model_version": version,
            "ss_output_name": self.stem,
            "ss_v2": str(base.family.name == "sd-2"),
            "cns.base": self.tree.base,
            "cns.commit": self.commit,
            "cns.concepts": json.dumps(dict(sorted(self.tree.concepts.items()))),
        }
