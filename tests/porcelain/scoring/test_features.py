"""Features of generated images: what an interrupted check keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.scoring.features import FeatureCache, ImageSpan
from cns_cli.progress import Stages
from registry.objects import Tree


def nothing(made: int) -> None:
    """Take the number of images."""


def test_a_file_is_named_by_its_tree_its_protocol_and_its_prompts(session: Session, tmp_path: Path) -> None:
    """From literals: whoever changes the key has every picture made again."""
    tree = Tree("a" * 64, {"tom": "c" * 64, "rex": "b" * 64})
    cache = FeatureCache(session.base, lambda live: None, 0, tmp_path / "made", Stages(), nothing)
    cache.prepare([ImageSpan(tree, ("a dog", "a <rex> dog"), 0, 1, "digest")])
    (made,) = (tmp_path / "made").rglob("*.npz")
    assert str(made.relative_to(tmp_path / "made")) == "c0/26362956e1a99341d649350e8b18267f-0.npz"


def test_an_interruption_keeps_every_list_that_was_encoded(session: Session, tmp_path: Path) -> None:
    """What is drawn beside a list of prompts moves no bit of it."""
    span = ImageSpan(session.repo.tree_of("HEAD"), ("a dog", "a cat", "a <rex> dog"), 0, 3, "digest")

    def opened(name: str, told: Callable[[int], None]) -> FeatureCache:
        return FeatureCache(session.base, session.set_tree, 0, tmp_path / name, Stages(), told)

    def stop(made: int) -> None:
        if made == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened("stopped", stop).prepare([span])
    again, whole = opened("stopped", nothing), opened("whole", nothing)
    assert again.missing([span]) == 3
    again.prepare([span])
    whole.prepare([span])
    assert (again.made, whole.made) == (3, 9)
    for name, found in again.features(span).items():
        np.testing.assert_array_equal(found, whole.features(span)[name])
