"""`cns add NAME MORE/ --continue`: a concept goes on from its own token and change, with more images."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from cns.errors import MethodError
from cns_cli.porcelain.add import add_concept
from cns_cli.porcelain.answers import DryRun
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import AddOptions, Request
from cns_cli.porcelain.show import show
from cns_cli.porcelain.verify import verify
from cns_cli.porcelain.views.provenance import show_provenance
from cns_cli.progress import NullProgress
from registry.errors import NameTaken
from registry.objects import Concept, References
from registry.repository import Repository
from tests.porcelain.conftest import NOON, add, write_photos

STILL = {"lr": 1e-12, "reg": "none"}


def go_on(folder, images, **changes):
    return add(folder, "rex", images, class_noun=None, score=None, continues=True, time=NOON + 300, **changes)


def held(folder, name="rex"):
    repo = Repository(folder)
    found = repo.tree_of("HEAD").concepts[name]
    return found, repo.objects.get(found, Concept), Session.open(repo, "cpu").concept(found)


@pytest.fixture(params=["learned", "named", "directions"])
def registry(request, photos):
    """One whose prompts see all, one whose prompts see what they name, and one of directions in place of masks."""
    if request.param != "directions":
        return request.getfixturevalue(request.param)
    folder = request.getfixturevalue("empty")
    add(folder, "rex", photos["rex"], score=None, directions=2, lr=1e-2)
    return folder


def test_it_goes_on_from_its_own_token_and_change_with_all_images(registry, tmp_path_factory):
    more = write_photos(tmp_path_factory.mktemp("more") / "rex", 40, count=2)
    before_id, before, weights = held(registry)
    result = go_on(registry, more, lr=1e-3)
    now_id, now, learned = held(registry)
    repo = Repository(registry)
    assert now_id != before_id
    assert (now.tokens, now.class_noun, result.token) == (before.tokens, before.class_noun, before.tokens[0])
    assert repo.objects.get(now.references, References).count == result.images == 5
    assert all(np.array_equal(learned.delta[name].positions, one.positions) for name, one in weights.delta.items())
    assert learned.rank == weights.rank
    shown = show(registry, "HEAD")
    assert shown.replaced == ("rex",)
    assert shown.commit.message == "continue rex, a dog, from 5 images"
    assert shown.record["params"]["continues"] == before_id
    assert shown.record["series"]["warmup_loss"] == []
    assert {row.name: row for row in show_provenance(registry, "rex").rows}["continues"].value == before_id
    assert set(shown.record["image_digests"]) == {"0.png", "1.png"}


def test_one_more_picture_is_no_concept_of_one_picture_and_a_taken_name_is_no_advice(learned, photos, tmp_path):
    one = write_photos(tmp_path / "rex", 40, count=1)
    assert not any("one image only" in warning for warning in go_on(learned, one).warnings)
    alone = add(learned, "pip", one).warnings
    assert any("one image only" in warning for warning in alone)
    assert not any("cns mv tom rex" in warning for warning in go_on(learned, photos["tom"]).warnings)


def test_a_training_that_does_not_move_leaves_the_change_as_it_was(registry, photos):
    _, before, _ = held(registry)
    add_again = {"images": photos["rex"], **STILL}
    result = go_on(registry, **add_again)
    _, now, _ = held(registry)
    assert (now.mask, now.delta) == (before.mask, before.delta)  # to the bit, by way of training weights
    assert now.embedding != before.embedding  # the token's rate is another
    assert result.images == 3  # that come again are not counted twice
    assert result.continued


def test_it_is_learned_again_from_what_it_went_on_from(learned, photos):
    go_on(learned, photos["mug"])
    result = verify(Request(start=learned), "HEAD", None, NullProgress(), "cpu")
    assert result.reproduced
    assert result.concepts[0].outcome == "identical"


def test_interrupted_and_resumed_it_ends_in_the_same_concept(learned, photos, tmp_path_factory):
    whole = tmp_path_factory.mktemp("whole")
    shutil.copytree(learned, whole, dirs_exist_ok=True)
    go_on(whole, photos["mug"], steps=4)

    class Stop(NullProgress):
        def step(self, done, **numbers):
            if "penalty" in numbers and done == 2:
                raise KeyboardInterrupt

    request = {"start": learned, "author": "ann", "time": NOON + 300, "steps": 4}
    with pytest.raises(KeyboardInterrupt):
        add_concept(AddOptions(name="rex", images=photos["mug"], continues=True, **request), Stop())
    again = AddOptions(name="", images=type(learned)(), start=learned, author="ann", time=NOON + 300, resume=True)
    add_concept(again, NullProgress())
    assert held(learned)[0] == held(whole)[0]


def test_what_was_settled_cannot_be_said_anew(learned, photos):
    for name, value in (("budget", 0.1), ("directions", 2), ("vectors", 2), ("warmup", 3), ("token", "<dog>")):
        with pytest.raises(MethodError, match=f"--{name}: with --continue") as refused:
            go_on(learned, photos["mug"], **{name: value})
        assert f"--{name}" not in refused.value.hint
        assert "--continue" in refused.value.hint
    with pytest.raises(MethodError, match="kept at 64 pixels"):
        go_on(learned, photos["mug"], resolution=32)
    with pytest.raises(MethodError, match="no concept 'pip' to go on from"):
        add(learned, "pip", photos["mug"], continues=True)
    with pytest.raises(NameTaken) as taken:
        add(learned, "rex", photos["mug"])
    assert "--continue" in taken.value.hint


def test_without_kept_images_it_is_shown_the_new_ones_and_says_so(empty, photos):
    add(empty, "rex", photos["rex"], keep_images=False)
    result = go_on(empty, photos["mug"])
    assert result.images == 3
    assert any("only features of the earlier images of rex" in warning for warning in result.warnings)


def test_a_dry_run_counts_all_images_and_no_warm_up(learned, photos):
    options = AddOptions(
        start=learned, name="rex", images=photos["mug"], steps=3, author="ann", dry_run=True, continues=True
    )
    told = add_concept(options, NullProgress())
    assert isinstance(told, DryRun)
    assert (told.images, told.steps) == (6, 3)
