"""Erasures in a real registry on a tiny random base: commits, what sees them, and every verb beside them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cns.compose import kv_parameters
from cns.errors import ClassNounError
from cns.families import EMOJI_64
from cns.templates import fill_templates
from cns_cli.porcelain.answers import CheckResult, CheckRow
from cns_cli.porcelain.check import check
from cns_cli.porcelain.diff import diff
from cns_cli.porcelain.erase import CannotErase, ErasedAlready, EraseResult, erase
from cns_cli.porcelain.export import export
from cns_cli.porcelain.fsck import fsck
from cns_cli.porcelain.learning.erasure import called
from cns_cli.porcelain.merge import Choices, merge
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import CheckOptions, EraseOptions, FsckOptions, Request
from cns_cli.porcelain.revert import revert
from cns_cli.porcelain.rm import rm
from cns_cli.porcelain.scoring.protocol import image_seed
from cns_cli.porcelain.show import show
from cns_cli.porcelain.status import status
from cns_cli.progress import NullProgress
from registry.merging import ErasuresDiffer
from registry.objects import Erasure
from registry.purging import Wish, purge
from registry.repository import Repository
from registry.trees import birth, erased_in, seen
from tests.porcelain.conftest import NOON, add, new_registry
from tests.tiny import tiny_sd

QUIET = NullProgress()


@pytest.fixture(scope="module")
def few_nouns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base that knows ten nouns."""
    return tiny_sd(tmp_path_factory.mktemp("few") / "base", variant="emoji-64")


@pytest.fixture
def bare(tmp_path: Path, few_nouns: Path, mlflow_tables: Path) -> Path:
    """A registry on it, without a concept."""
    return new_registry(tmp_path / "registry", few_nouns, mlflow_tables)


def forget(folder: Path, *nouns: str, to: str | None = None, images: int = 0, **more: Any) -> EraseResult:
    options = EraseOptions(start=folder, nouns=nouns, to=to, images=images, author="ann", time=NOON + 600, **more)
    return erase(options, QUIET)


def take_back(folder: Path, rev: str) -> None:
    revert(Request(start=folder, author="ann", time=NOON + 900), rev, Choices(), QUIET, drift=False)


def nouns(folder: Path, rev: str = "HEAD") -> dict[str, str]:
    repo = Repository(folder)
    return erased_in(repo.tree_of(rev), repo.objects)


def errors(folder: Path) -> list[str]:
    return [one.what for one in fsck(FsckOptions(start=folder)).findings if one.level == "error"]


def test_an_erasure_is_a_commit_that_every_prompt_sees_and_revert_takes_back_exactly(named: Path) -> None:
    repo = Repository(named)
    before = repo.tree_of("HEAD")
    found = forget(named, "dog", images=1)
    assert (found.erased, found.all) == ({"dog": ""}, {"dog": ""})
    assert [one.noun for one in found.shares] == ["dog"]
    assert found.preview is not None
    assert found.preview.is_file()
    assert found.rank == 6
    assert sorted(found.drift) == ["mug", "rex", "tom"]
    assert any("dog is the class noun of rex" in one for one in found.warnings)
    after = repo.tree_of("HEAD")
    assert after.concepts == before.concepts
    assert repo.commit_of(repo.head().commit).kind == "erase"
    session = Session.open(repo, "cpu")
    base = session.base.model.base
    for tree in (after, seen(after, []), seen(after, ["rex"])):
        session.write(tree)
        live = kv_parameters(session.base.model.pipeline)
        assert all(torch.equal(live[name], base[name]) == name.endswith("to_k.weight") for name in live)
    assert errors(named) == []
    take_back(named, "HEAD")
    assert repo.tree_of("HEAD") == before
    session.write(repo.tree_of("HEAD"))
    assert all(torch.equal(live[name], base[name]) for name in live)


def test_what_is_erased_is_said(named: Path) -> None:
    forget(named, "dog", "frog", to="car")
    assert status(named).erased == {"dog": "car", "frog": "car"}
    assert show(named, "HEAD").commit.erased == {"dog": "car", "frog": "car"}
    assert show(named, "HEAD").commit.message == "erase dog (now car), frog (now car)"
    found = diff(named, "HEAD~1", "HEAD")
    assert (found.a.erased, found.b.erased) == ({}, {"dog": "car", "frog": "car"})


@pytest.mark.parametrize(
    ("words", "to", "kind", "said"),
    [
        (("dgo",), None, ClassNounError, "did you mean dog?"),
        (("dog",), "catt", ClassNounError, "did you mean cat?"),
        (("a dog.",), None, ClassNounError, "expected a word or two"),
        (("dog", "cat"), "cat", CannotErase, "it is erased itself"),
    ],
)
def test_bad_nouns_are_refused_and_nothing_is_written(
    bare: Path, words: tuple[str, ...], to: str | None, kind: type[Exception], said: str
) -> None:
    head = Repository(bare).head()
    with pytest.raises(kind, match=said.replace("?", r"\?")):
        forget(bare, *words, to=to)
    assert Repository(bare).head() == head


def test_all_nouns_are_solved_together_and_twice_is_said(bare: Path) -> None:
    alone = forget(bare, "dog")
    with pytest.raises(ErasedAlready, match="'dog' is erased already"):
        forget(bare, "a dog")
    both = forget(bare, "cat", to="car")
    assert both.all == {"cat": "car", "dog": ""}
    assert both.rank == 2 * alone.rank
    forget(bare, "dog", to="car")  # another thing in its place
    assert nouns(bare) == {"cat": "car", "dog": "car"}
    with pytest.raises(CannotErase, match="'car' cannot stand in the place of 'cat'"):
        forget(bare, "car")


def test_a_revert_in_the_middle_solves_what_is_left_anew(bare: Path) -> None:
    forget(bare, "dog")
    repo = Repository(bare)
    dog = repo.tree_of("HEAD").erasure
    forget(bare, "cat")
    take_back(bare, "HEAD~1")
    assert nouns(bare) == {"cat": ""}
    take_back(bare, "HEAD")
    take_back(bare, "HEAD~2")
    assert repo.tree_of("HEAD").erasure == dog  # solved once, and the same bytes
    assert errors(bare) == []


def test_two_branches_merge_what_they_erase_and_disagree_aloud(named: Path) -> None:
    repo = Repository(named)
    repo.create_branch("side")
    forget(named, "dog")
    repo.checkout("side")
    forget(named, "frog")
    bring = partial(merge, Request(start=named, author="ann", time=NOON + 900), choices=Choices(), progress=QUIET)
    found = bring(rev="main")
    assert (found.outcome, found.erased, found.erased_before) == ("committed", {"dog": "", "frog": ""}, {"frog": ""})
    assert nouns(named) == {"dog": "", "frog": ""}
    repo.checkout("main")
    forget(named, "frog", to="car")
    with pytest.raises(ErasuresDiffer, match="'frog': HEAD draws car, the other side draws nothing"):
        bring(rev="side")
    assert nouns(named) == {"dog": "", "frog": "car"}


def test_a_concept_is_learned_checked_removed_and_purged_beside_an_erasure(
    named: Path, photos: dict[str, Path]
) -> None:
    forget(named, "car")
    repo = Repository(named)
    erasure = repo.tree_of("HEAD").erasure
    rm(Request(start=named, author="ann", time=NOON + 700), "tom", QUIET, drift=False)
    add(named, "tom", photos["tom"], class_noun="cat", time=NOON + 800)
    tree = repo.tree_of("HEAD")
    assert tree.erasure == erasure
    assert birth(repo.objects, tree.concepts["tom"]) == seen(tree, ["tom"])  # it learned on what it is drawn with
    checked = check(CheckOptions(start=named, images=1, max_drop={"": 2.0, "drift": 9.0}))
    drifts = {row.concept: row.drift or 0.0 for row in checked.rows}
    assert drifts["tom"] == 0 < drifts["rex"]
    fast = check(CheckOptions(start=named, fast=True, max_drop={"drift": 9.0}))
    assert all(fast.rows[-1].gates.values())
    purge(repo, Wish(("rex",)), author="ann", time=NOON + 900)
    assert "rex" not in repo.tree_of("HEAD").concepts
    assert repo.tree_of("HEAD").erasure == erasure
    assert errors(named) == []


def test_a_check_says_which_share_of_erased_nouns_is_still_drawn_and_limits_it(named: Path) -> None:
    forget(named, "car", "frog")

    def base_row(**changes: Any) -> tuple[CheckResult, CheckRow]:
        result = check(CheckOptions(start=named, images=2, **changes))
        return result, next(row for row in result.rows if row.concept == "(base)")

    result, row = base_row(max_drop={"": 2.0, "erased": 1.0})
    found = row.metric("erased")
    assert (found.verdict, found.max_drop, result.images_made > 0) == ("kept", 1.0, True)
    assert base_row(max_drop={"": 2.0, "erased": 1.0})[0].images_made == 0
    assert base_row(metrics=("erased",))[1].metric("erased").max_drop == EMOJI_64.defaults.max_erased
    session = Session.open(Repository(named), "cpu")
    session.set_tree(seen(Repository(named).tree_of("HEAD"), []))
    shares = []
    for place, noun in enumerate(("car", "frog")):
        prompts = fill_templates(session.base.family.objects.judge, noun)
        seeds = [(one, image_seed(0, row + place * len(prompts), k)) for row, one in enumerate(prompts) for k in (0, 1)]
        shares.append(called(session.base, noun, session.base.images(*zip(*seeds, strict=True))))
    assert found.now == pytest.approx(sum(shares) / 2)
    take_back(named, "HEAD")
    rows = check(CheckOptions(start=named, images=1, max_drop={"": 2.0})).rows
    assert "(base)" not in {row.concept for row in rows}


def test_an_export_holds_the_erasure(bare: Path, tmp_path: Path) -> None:
    forget(bare, "dog")
    export("HEAD", "diffusers", tmp_path / "out", "fp32", bare)
    from safetensors.numpy import load_file

    (file,) = (tmp_path / "out" / "unet").glob("*.safetensors")
    session = Session.open(Repository(bare), "cpu")
    weights = session.base.model.compose(session.erasure(Repository(bare).tree_of("HEAD")))
    written = load_file(file)
    assert all(np.array_equal(written[name], weight.numpy()) for name, weight in weights.items())
    export("HEAD", "lycoris", tmp_path / "change", "fp32", bare)
    change = load_file(tmp_path / "change" / "change.safetensors")
    for name, weight in weights.items():
        key = "lora_unet_" + name.removesuffix(".weight").replace(".", "_") + ".diff"
        base = session.base.model.base[name].numpy()
        assert np.array_equal(base + change[key] if key in change else base, weight.numpy())


def test_fsck_finds_an_erasure_that_cannot_be_read(bare: Path) -> None:
    forget(bare, "dog")
    repo = Repository(bare)
    stored = repo.objects.get(repo.tree_of("HEAD").erasure or "", Erasure)
    repo.objects.path(stored.delta).unlink()
    assert any(stored.delta[:10] in one for one in errors(bare))
