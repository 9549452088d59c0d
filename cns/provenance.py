"""Whose choice each part of the method is: the paper's, this project's, or the user's.

The paper was published without code, and its full text was not at hand: what is the paper's here comes from its
abstract, captions and tables (docs/method.md). Every setting of a training has a row in `CHOICES`, and so has every
choice that is no setting; a test compares the rows with the settings. The module knows no registry and no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cns.scores import BUILT_IN

Whose = Literal["paper", "ours", "standard"]

PAGE = "docs/method.md"


@dataclass(frozen=True)
class Choice:
    """One choice behind a concept.

    Attributes:
        what: What is chosen, in a few words.
        whose: Whose choice the default is.
        why: What is known and what is not.
        anchor: Section of docs/method.md that says more.
        absent: The value where a record does not name it, as records of before this setting do not.
        values: Whose single values are, and what there is to say of them.
    """

    what: str
    whose: Whose
    why: str
    anchor: str
    absent: object = None
    values: Mapping[str, tuple[Whose, str]] = field(default_factory=dict)

    def of_value(self, value: object) -> tuple[Whose, str]:
        """Whose a value is, and why."""
        whose, note = self.values.get(str(value), (self.whose, ""))
        return whose, f"{note}; {self.why}" if note else self.why

    @property
    def page(self) -> str:
        """Where to read on."""
        return f"{PAGE}#{self.anchor}"


_SWEEP = "measured in the sweep on the embedded base; on Stable Diffusion chosen, not tuned"
_CHOSEN = "chosen; the paper's value is not known"

CHOICES: dict[str, Choice] = {
    "trained": Choice(
        "what is trained", "paper", "concept neurons of the cross-attention's W_k and W_v, and the token; no adapter",
        "equation-by-equation",
    ),
    "neuron": Choice(
        "what a neuron is", "ours", "one weight W[o, i]: so the paper's 0.13 % of the model comes out",
        "equation-by-equation",
    ),
    "score": Choice(
        "how weights are scored", "ours", "the paper says that base neurons respond strongly, not by which formula",
        "choosing-the-weights",
        values={name: (score.whose, score.note) for name, score in BUILT_IN.items()},
    ),
    "budget": Choice(
        "how many weights may change", "ours",
        "a budget instead of an intersection; its size on Stable Diffusion is the paper's 0.13 % of the model",
        "choosing-the-weights",
    ),
    "general_ratio": Choice("share of a row that a prompt marks", "ours", _CHOSEN, "choosing-the-weights"),
    "general_vote": Choice(
        "prompts that make a weight general", "ours", "that there are general neurons is the paper's, the vote is ours",
        "choosing-the-weights",
    ),
    "past_vote": Choice("votes of earlier concepts' masks", "ours", "not in the paper; off", "choosing-the-weights"),
    "reg": Choice(
        "what keeps old concepts", "ours", "the paper ties the update to the earlier and to the pretrained weights",
        "not-forgetting",
        values={
            "features": ("ours", "keys and values of old prompts are tied, to each concept's birth"),
            "weights": ("paper", "the paper's description, in a form of ours"),
            "none": ("paper", "the paper's ablation"),
            "project": ("ours", "steps are projected off what old prompts see"),
            "project-hard": ("ours", "steps are projected off what old prompts see, without a strength"),
            "features-parent": ("ours", "keys and values of old prompts are tied, to the parent: an ablation"),
        },
    ),
    "reg_strength": Choice("pull toward what was learned before", "ours", _SWEEP, "the-sweep"),
    "anchor_strength": Choice("pull toward the base", "ours", _SWEEP, "the-sweep"),
    "steps": Choice("finetuning steps", "ours", _SWEEP, "the-sweep"),
    "warmup_steps": Choice(
        "steps of the token alone, first", "ours", "so that the score sees the concept and not its class",
        "equation-by-equation",
    ),
    "lr": Choice("learning rate of the weights", "ours", _SWEEP, "the-sweep"),
    "token_lr": Choice("learning rate of the token", "ours", _CHOSEN, "families"),
    "batch_size": Choice("images a step", "ours", _CHOSEN, "families"),
    "init": Choice(
        "where the token starts", "standard", "at the class noun's embedding, as Textual Inversion does",
        "equation-by-equation", "",
    ),
    "vectors": Choice("vectors of the token", "paper", "one special token a concept", "the-token", 1),
    "norm_guard": Choice("bound on the token's length", "ours", "off: its effect is not settled", "the-token", False),
    "prior": Choice(
        "images of the class beside the concept's", "paper", "none are needed; for comparison with DreamBooth",
        "styles-and-prior-images", 0,
    ),
    "directions": Choice(
        "rank of the change", "ours", "measured on the embedded base; on Stable Diffusion chosen, not tuned",
        "directions", 0, values={"0": ("paper", "a mask in its place, of single weights")},
    ),
    "basis": Choice("how directions are found", "ours", "not in the paper", "directions", "best"),
    "preset": Choice(
        "row of settings", "ours", "of the family's defaults, by factors; a setting that was typed wins", "families",
        "balanced",
    ),
    "continues": Choice(
        "what it goes on from", "ours", "the concept as it was, its token, change and mask; else nothing", "families"
    ),
    "hold_out": Choice(
        "images held out, for the validation loss", "ours", "none: five images are few to learn from", "families", 0
    ),
    "bare_share": Choice(
        "draws that see the phrase alone", "ours", "so that \"a <rex> dog\" alone draws it, too", "captions", 0
    ),
    "dtype": Choice(
        "number format of the steps", "ours", "bfloat16 where the device computes in it; weights stay in float32",
        "families", "auto",
    ),
    "seed": Choice("seed of everything random", "ours", "any", "families"),
    "kind": Choice("object or style", "ours", "the paper personalises objects", "styles-and-prior-images", "object"),
    "class_noun": Choice(
        "class noun", "standard", "stays in the prompt, as in DreamBooth", "equation-by-equation"
    ),
    "token": Choice("special token", "paper", "one a concept; its spelling, <name>, is ours", "the-token"),
    "captions": Choice(
        "captions beside the images", "ours", "decide more than any other setting", "captions"
    ),
    "image_masks": Choice(
        "masks of the images", "standard", "the loss weighs less outside, as in OneTrainer", "masks", "none"
    ),
    "resolution": Choice(
        "side of the training images", "ours", "the base's own unless --resolution says otherwise", "families"
    ),
    "grid": Choice(
        "how the change is stored", "ours", "whole steps of a grid, so that the same set is the same bits",
        "weights-as-integers",
    ),
}  # fmt: skip
"""By name: the fields of `cns.task.Settings`, and in between what is no setting."""

OUTSIDE = (
    "trained", "neuron", "preset", "continues", "kind", "class_noun", "token", "captions", "image_masks", "resolution",
    "grid",
)  # fmt: skip
"""Rows that are no field of `cns.task.Settings`."""
