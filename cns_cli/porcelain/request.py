"""What the bits of a training hang on, as plain values: by it `cns add --resume` knows what it may go on with."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
import transformers

from cns.lesson import Settings
from cns_cli import __version__
from cns_cli.porcelain.session import Session
from cns_cli.porcelain.teaching import Subject
from registry.objects import Tree


def request_of(
    session: Session, subject: Subject, parent: Tree, settings: Settings, replaces: str | None
) -> dict[str, Any]:
    """Everything that the bits of a training hang on, as plain values: two equal requests end in one concept.

    Args:
        session: The registry and the base.
        subject: What is to be learned.
        parent: The tree that it is learned on.
        settings: How.
        replaces: Id of the concept whose name it takes.
    """
    images = subject.images
    return {
        "name": subject.name,
        "class_noun": subject.class_noun,
        "token": subject.token,
        "images": {image.name: image.sha256 for image in images.images},
        "captions": list(images.captions),
        "resolution": int(images.pixels.shape[1]),
        **({} if subject.kind == "object" else {"kind": subject.kind}),
        "settings": settings.plain(),
        "base": parent.base,
        "concepts": dict(parent.concepts),
        "replaces": replaces,
        "device": str(session.bench.device),
        "versions": {
            "cns": __version__,
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
            **{f"plugin {what}": package for what, package in settings.plugins.items()},
        },
    }
