"""The embedded base reads the prompts that teach: an object is drawn, and no background comes with the words."""

from __future__ import annotations

import pytest

from cns.families import FAMILIES
from cns.templates import fill_templates
from cns_cli.porcelain.learning.erasure import called
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.models.session import Session
from registry.repository import Repository
from tests.golden import unpack


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LoadedBase:
    found = Session.open(Repository(unpack(tmp_path_factory.mktemp("golden"))), "cpu").base
    found.model.write(found.model.base)
    return found


def shares(base: LoadedBase, template: str) -> list[float]:
    """For some nouns the share of pictures that the judge calls by them."""
    nouns = ("octopus", "umbrella", "car")
    return [called(base, noun, base.images(fill_templates([template], noun), range(1))) for noun in nouns]


@pytest.mark.embedded
@pytest.mark.parametrize("template", FAMILIES["emoji-64"].objects.training)
def test_a_training_template_draws_its_noun(base: LoadedBase, template: str) -> None:
    assert shares(base, template) == [1.0, 1.0, 1.0]


@pytest.mark.embedded
def test_a_word_that_stands_in_the_captions_of_a_background_alone_draws_that_background(base: LoadedBase) -> None:
    assert shares(base, "a picture of a {}") == [0.0, 0.0, 0.0]  # "in front of a brick wall"
