"""Drift of concepts that left their training context, on a tiny base, against outputs that were computed one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cns.templates import fill_templates
from cns.text import encode_prompts
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import Request
from cns_cli.porcelain.rm import rm
from cns_cli.progress import NullProgress
from registry.objects import Tree
from registry.repository import Repository


def drift_by_hand(session: Session, concept: str, tree: Tree) -> float:
    """Mean over matrices of |dW x|^2 / |W x|^2 over all tokens of the judge's prompts, prompt by prompt."""
    session.set_tree(tree)
    now = {name: weight.double().numpy() for name, weight in session.base.model.compose(
        list(session.concepts(tree).values())
    ).items()}  # fmt: skip
    born = {name: weight.double().numpy() for name, weight in session.birth_weights(concept).items()}
    prompts = fill_templates(session.base.family.templates("object").judge, session.concept(concept).phrase)
    pipeline = session.base.model.pipeline
    features = [encode_prompts(pipeline, [one])[0].double().numpy() for one in prompts]
    drifts = []
    for name, weight in born.items():
        seen = [x - x.mean(0) if "to_k" in name else x for x in features]
        moved = sum(np.square(x @ (now[name] - weight).T).sum() for x in seen)
        drifts.append(moved / sum(np.square(x @ weight.T).sum() for x in seen))
    return float(np.mean(drifts))


def removed(registry: Path, name: str, **how: Any) -> Any:
    return rm(Request(start=registry, mlflow_uri="http://127.0.0.1:9"), name, NullProgress(), **how)


def test_the_drift_is_that_of_the_outputs(learned: Path) -> None:
    repo = Repository(learned)
    tom = repo.tree_of("HEAD").concepts["tom"]
    result = removed(learned, "rex")
    assert result.outside_context == ("tom",)
    (view,) = result.drift
    expected = drift_by_hand(Session.open(repo, "cpu"), tom, repo.tree_of("HEAD"))
    assert (view.name, view.before) == ("tom", 0.0)
    assert expected > 0
    assert view.after == pytest.approx(expected, rel=1e-3)


def test_who_keeps_the_company_that_it_was_trained_in_has_no_drift_to_tell(learned: Path) -> None:
    """tom was trained after rex: rex never needed it, and torch is not asked for."""
    result = removed(learned, "tom")
    assert (result.outside_context, result.drift, result.drift_unknown) == ((), (), "")


def test_without_the_base_the_removal_stands_and_says_why_there_is_no_drift(learned: Path) -> None:
    Repository(learned).set_config("base.source", str(learned / "moved-away"))
    result = removed(learned, "rex")
    assert list(Repository(learned).tree_of("HEAD").concepts) == ["tom"]
    assert (result.outside_context, result.drift) == (("tom",), ())
    assert "moved-away" in result.drift_unknown
    assert removed(learned, "tom", drift=False).drift_unknown == ""
