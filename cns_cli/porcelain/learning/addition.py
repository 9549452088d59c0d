"""What a training leaves: the record of how it came, a preview sheet, the commit, the summary for the user."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from cns.capacity import capacity
from cns.codec import Delta
from cns.denoiser import denoiser_of, dtype_of
from cns.metrics import ceiling
from cns.overlap import overlap
from cns.presets import BALANCED
from cns.sampling import Pixels
from cns.task import Learned
from cns.templates import fill_template, with_article
from cns.validation import better_step, validation_steps
from cns_cli.figures import plural
from cns_cli.mark import PARTLY_BY_MODEL
from cns_cli.porcelain.answers import AddResult
from cns_cli.porcelain.learning.doubts import less_followed, weaker_alone
from cns_cli.porcelain.learning.interrupted import command_of
from cns_cli.porcelain.learning.judged import Judged, few, was_learned
from cns_cli.porcelain.learning.samples import Samples
from cns_cli.porcelain.learning.saving import library_versions
from cns_cli.porcelain.learning.subject import Subject
from cns_cli.porcelain.models.previews import write_preview
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import AddOptions
from cns_cli.porcelain.scoring.judging import Features
from cns_cli.sheets import as_png, contact_sheet
from registry.objects import Blob, Compose, Concept, Record
from registry.repository import Committed
from registry.trees import with_concept

PREVIEW_IMAGES = 8


@dataclass
class Addition:
    """A learned and judged concept whose objects are stored, but which is not committed.

    Attributes:
        options: The request.
        session: The registry and the base; the live model holds the concept.
        subject: What was learned.
        learned: Weights, selection, losses.
        concept_id: Id of the stored concept.
        references: Features of the training images, by encoder.
        before: The class noun alone on the parent; of a concept that goes on, the concept as it was.
        after: The concept on its own tree.
        alone: Likewise its phrase alone, as the whole prompt; None for a style.
        drift: K/V drift of each old concept since its birth (relative, squared).
        others: Name -> id of each old concept that it was learned beside.
        samples: What was drawn of it between steps.
        compose: What prompts see of the model that it joins.
    """

    options: AddOptions
    session: Session
    subject: Subject
    learned: Learned
    concept_id: str
    references: Features
    before: Judged
    after: Judged
    alone: Judged | None
    drift: Mapping[str, float]
    others: Mapping[str, str]
    samples: Samples
    compose: Compose = "all"

    def commit(self, seen: str) -> Committed:
        """Commit the concept on top of `seen`, or of what HEAD's branch has become meanwhile."""
        options, subject = self.options, self.subject
        overwrite = options.replace or options.continues
        images = plural(len(subject.images.images), "image")
        return self.session.repo.commit(
            kind="add",
            message=options.message
            or f"{self._verb} {subject.name}, {with_article(subject.class_noun)}, from {images}",
            author=options.author,
            time=int(time.time()) if options.time is None else options.time,
            record=Record(self._record()),
            change=lambda tree: with_concept(tree, options.name, self.concept_id, overwrite=overwrite),
            seen=seen,
            keep_as=options.name,
        )

    def summary(self, commit: str, branch: str | None, elapsed_s: float) -> AddResult:
        """What the user is told."""
        figures = self.figures
        learned, steps = self.learned, int(self.learned.settings["steps"])
        better = better_step(learned.series.get("validation_loss", ()), steps)
        again = replace(self.options, replace=not self.options.continues, repeats=None)
        return AddResult(
            name=self.subject.name,
            class_noun=self.subject.class_noun,
            class_confidence=self.subject.confidence,
            token=self.subject.token,
            commit=commit,
            branch=branch,
            neurons=int(figures["neurons"]),
            share_denoiser=figures["share_denoiser"],
            share_kv=figures["share_kv"],
            bytes_stored=int(figures["bytes"]),
            bits_per_weight=figures["bits_per_weight"],
            identity_before=figures.get("identity_before"),
            identity_after=figures.get("identity_after"),
            identity_ceiling=figures.get("identity_ceiling"),
            identity_alone=figures.get("identity_alone"),
            clip_i_before=figures["clip_i_before"],
            clip_i_after=figures["clip_i_after"],
            clip_t_before=figures["clip_t_before"],
            clip_t_after=figures["clip_t_after"],
            drift=self.drift,
            images_check=None,
            photos_kept=self.options.keep_images,
            preview=self.preview,
            samples=self.samples.sheet,
            series=learned.series,
            series_steps=self._series_steps,
            better_step=better,
            shorter=command_of(replace(again, steps=better)) if better else "",
            elapsed_s=elapsed_s,
            learned=was_learned(self.before.scores, self.after.scores),
            few=few(self.after.scores),
            images=len(self.subject.images.images),
            registry=self.session.repo.folder,
            capacity=self.capacity,
            compose=self.compose,
            energy_left=figures.get("energy_left"),
            rank=learned.weights.rank,
            kind=self.subject.kind,
            captions=self.subject.captions,
            masks=self.subject.images.masks_taken,
            noticed=self.subject.warnings,
            longer=command_of(replace(again, steps=2 * steps)),
            continued=self.options.continues,
        )

    @property
    def _verb(self) -> str:
        return "continue" if self.options.continues else "replace" if self.options.replace else "add"

    @property
    def warnings(self) -> list[str]:
        """What the user should know about the images, the captions and what came of them."""
        selection = self.learned.selection
        short = (
            f"only {selection.count:,} of the {selection.budget:,} weights of the budget could be chosen: the others "
            "are general, or held by earlier concepts that vote"
        )
        less = less_followed(self.before.told, self.after.told)
        less += weaker_alone(self.subject.phrase, self.after.scores, self.alone.scores) if self.alone else ()
        return [*self.subject.warnings, *([short] if selection.lacking else []), *self._idle(), *less]

    def _idle(self) -> Iterator[str]:
        """What was asked for and changed nothing."""
        options = self.options
        of_masks = {"--budget": options.budget, "--score": options.score, "--past-vote": options.past_vote}
        for flag in (name for name, value in of_masks.items() if value is not None and options.directions):
            yield f"{flag} has no effect with --directions {options.directions}: it is about masks"
        if options.past_vote is not None and not self.others and not options.directions:
            yield "--past-vote has no effect: there is no earlier concept"
        if options.samples and options.samples > int(self.learned.settings["steps"]):
            yield f"--samples {options.samples} has no effect: it was trained for fewer steps"
        for flag, value in (("--reg-strength", options.reg_strength), ("--anchor", options.anchor)):
            if value is not None and options.reg == "none":
                yield f"{flag} has no effect with --reg none"

    @cached_property
    def figures(self) -> dict[str, float]:
        """The figures that log, status and MLflow show; all floats."""
        model, selection = self.session.base.model, self.learned.selection
        before, after = self.before.scores, self.after.scores
        stored = self.session.repo.objects
        concept = stored.get(self.concept_id, Concept)
        parts = (concept.mask, concept.delta)
        bytes_stored = sum(stored.path(part).stat().st_size for part in parts)
        figures: dict[str, float | None] = {
            "neurons": selection.count,
            "share_kv": selection.count / model.kv_size,
            "share_denoiser": selection.count / model.denoiser_size,
            "rank": float(self.learned.weights.rank) or None,
            "bytes": bytes_stored + stored.path(concept.embedding).stat().st_size,
            "bits_per_weight": 8 * bytes_stored / selection.count,
            "general_overlap": None if self.learned.weights.rank or self.subject.start else selection.general_overlap,
            **self.capacity,
            "energy_left": _mean(np.asarray(left)) if (left := self.learned.series.get("energy_left")) else None,
            "identity_before": _mean(before.identity),
            "identity_after": _mean(after.identity),
            "identity_ceiling": self._ceiling("identity"),
            "identity_alone": _mean(self.alone.scores.identity) if self.alone else None,
            "clip_i_before": _mean(before.clip_i),
            "clip_i_after": _mean(after.clip_i),
            "clip_i_ceiling": self._ceiling("clip"),
            "clip_t_before": _mean(before.clip_t),
            "clip_t_after": _mean(after.clip_t),
        }
        return {name: float(value) for name, value in figures.items() if value is not None}

    @cached_property
    def capacity(self) -> dict[str, float]:
        """How much of the key and value weights concepts hold now; nothing where that is all, or each its own."""
        if self.compose == "named" or self.learned.weights.rank:
            return {}
        general = {name: mask.numpy() for name, mask in self.learned.selection.general.items()}
        return capacity(self.learned.weights.delta, list(self._earlier.values()), general).figures()

    @property
    def _earlier(self) -> dict[str, Delta]:
        return {name: self.session.concept(one).delta for name, one in self.others.items()}

    @cached_property
    def preview(self) -> Path | None:
        """A contact sheet: training images, the noun before, the concept after and alone; written into the registry.

        None where it cannot be written: the commit that it shows stands, and its record holds the sheet too.
        """
        name = f"{self.subject.name}-{self.concept_id[:10]}"
        return write_preview(self.session.repo.folder, name, self._sheet)

    @cached_property
    def _sheet(self) -> bytes:
        subject = self.subject
        rows = {
            f"training images of {subject.name}": subject.images.pixels[:PREVIEW_IMAGES],
            f"{fill_template('a {}', subject.was)} …, before": spread(self.before.pictures),
            f"a {subject.phrase} …, after": spread(self.after.pictures),
        }
        if self.alone:
            rows[f"a {subject.phrase}, alone"] = self.alone.pictures
        sheet = contact_sheet([(title, [*map(Image.fromarray, one)]) for title, one in rows.items()])
        return as_png(sheet, PARTLY_BY_MODEL)

    def _ceiling(self, encoder: str) -> float | None:
        features = self.references.get(encoder)
        return None if features is None or len(features) < 2 else ceiling(features)

    @property
    def _series_steps(self) -> dict[str, list[int]]:
        """After which steps the figures of a series were taken, where not after each."""
        steps = int(self.learned.settings["steps"])
        return {"validation_loss": validation_steps(steps)} if "validation_loss" in self.learned.series else {}

    def _record(self) -> dict[str, Any]:
        base, learned = self.session.base, self.learned
        pictures = {"sheet": self._sheet, **self.samples.steps()}
        return {
            "params": {
                **learned.settings,
                "class_noun": self.subject.class_noun,
                "token": self.subject.token,
                **self.subject.kind_of_style,
                **({} if self.options.preset == BALANCED else {"preset": self.options.preset}),
                **({"continues": self.subject.continues} if self.subject.continues else {}),
            },
            "metrics": self.figures,
            "series": learned.series,
            "series_steps": self._series_steps,
            "previews": {name: self.session.repo.objects.put(Blob(picture)) for name, picture in pictures.items()},
            "drift": dict(self.drift),
            "overlap": {name: overlap(learned.weights.delta, earlier).share for name, earlier in self._earlier.items()},
            "neurons": {name: int(mask.sum()) for name, mask in learned.selection.masks.items()},
            "captions": list(self.subject.images.captions),
            "image_digests": {image.name: image.sha256 for image in self.subject.images.images if image.sha256},
            **({"mask_digests": masks} if (masks := self.subject.images.mask_digests) else {}),
            "class_confidence": self.subject.confidence,
            "seed": self.options.seed,
            "device": str(base.device),
            "dtype": str(dtype_of(denoiser_of(base.model.pipeline))),
            "threads": torch.get_num_threads(),
            "versions": {"python": platform.python_version(), **library_versions(learned.plugins)},
        }


def _mean(scores: np.ndarray | None) -> float | None:
    return None if scores is None else float(scores.mean())


def spread(pictures: Pixels) -> Pixels:
    """As many pictures as a sheet has room for, from all prompts."""
    return pictures[:: max(1, len(pictures) // PREVIEW_IMAGES)][:PREVIEW_IMAGES]
