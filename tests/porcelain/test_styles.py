"""Style concepts: prompts of their own wherever prompts are made, and nothing else about objects changes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from cns.families import FAMILIES
from cns.files.captions import fill_style_caption
from cns.templates import Kind, fill_template
from cns_cli.porcelain.check import check
from cns_cli.porcelain.learning.past import protected_prompts
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import CheckOptions
from cns_cli.porcelain.report import ReportOptions, report
from cns_cli.porcelain.reporting.collect import Collector
from registry.objects import Concept, Evaluation, Record
from registry.refs import EVALUATIONS
from registry.repository import Repository
from tests.porcelain.conftest import NOON, add
from tests.porcelain.evaluation import protocol_digest


@dataclass
class Name:
    phrase: str
    kind: Kind = "object"


@pytest.fixture
def styled(learned, photos):
    """The registry `learned` with a style beside its two objects."""
    result = add(learned, "mona", photos["mug"], class_noun=None, kind="style", time=NOON + 120)
    assert (result.kind, result.class_noun) == ("style", "style")
    return learned


@pytest.mark.parametrize(
    ("caption", "filled"),
    [
        ("a dog on the grass", "a <mona> style dog on the grass"),
        ("an apple", "a <mona> style apple"),
        ("The dog", "The <mona> style dog"),
        ("two dogs", "<mona> style, two dogs"),
        ("a dog in [trigger] style", "a dog in <mona> style"),
        ("a {name} style cat", "a <mona> style cat"),
        ("a <mona> style cat", "a <mona> style cat"),
    ],
)
def test_a_style_stands_before_what_a_caption_draws(caption, filled):
    assert fill_style_caption(caption, "<mona>") == filled


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_what_judges_a_style_neither_teaches_nor_protects_it(family):
    style, judged = family.style, set(family.style.judge)
    assert len(judged) == len(family.objects.judge)  # so one check has as many prompts of each kind
    assert not judged & {*style.training, *style.regularization}
    assert len(style.regularization) >= 32
    assert all(one.count("{}") == 1 for one in (*style.training, *style.regularization, *style.judge))
    things = {fill_template(one, "X").split("X ")[1].split()[0] for one in style.judge}
    assert not any(thing in one.split() for thing in things for one in (*style.training, *style.regularization))


def test_a_style_is_recorded_as_one_and_an_object_as_nothing_new(styled):
    repo = Repository(styled)
    concepts = {name: repo.objects.get(one, Concept) for name, one in repo.tree_of("HEAD").concepts.items()}
    assert concepts["mona"].recipe["kind"] == "style"
    assert set(concepts["rex"].recipe) == {"templates", "captions"}
    record = repo.objects.get(repo.commit_of(repo.resolve("HEAD")).record, Record).data
    assert record["params"]["kind"] == "style"


def test_a_style_is_judged_on_its_own_prompts_by_add_and_check(styled):
    session = Session.open(Repository(styled), "cpu")
    mona = session.repo.tree_of("HEAD").concepts["mona"]
    concept = session.concept(mona)
    assert (concept.phrase, concept.kind) == ("<mona> style", "style")
    wanted = protocol_digest(session.base, 0, "style")
    assert wanted != protocol_digest(session.base, 0)

    def digests():
        refs = session.repo.refs
        found = [session.repo.objects.get(refs.get(name), Evaluation) for name in refs.names(EVALUATIONS)]
        return {one.protocol_digest for one in found if one.concept == mona and "clip_t" in one.scores}

    assert digests() == {wanted}
    result = check(CheckOptions(start=styled, images=1, max_drop={"": 2.0}))
    assert result.passed
    assert wanted in digests()
    rows = {row.concept: row for row in result.rows}
    assert rows["mona"].metric("id").drop == 0.0  # the newest: its own baseline
    session.set_tree(session.repo.tree_of("HEAD"))
    prompts = [one.replace("{}", "<mona> style") for one in session.base.family.style.judge]
    pixels = session.base.images(prompts, [1000 * place for place in range(len(prompts))])
    references = session.references(mona)["identity"]
    expected = (session.base.encoders["identity"].image_features(pixels) @ references.T).mean()
    assert rows["mona"].metric("id").now == pytest.approx(float(expected), abs=1e-4)


def test_a_later_object_protects_the_style_in_front_of_it(styled):
    session = Session.open(Repository(styled), "cpu")
    base = session.base
    alone = [one.replace("{}", "<mona> style") for one in base.family.style.regularization]
    mona, fx = Name("<mona> style", "style"), Name("<fx> style", "style")
    found = protected_prompts(base, mona, [Name("<rex> dog"), fx])
    assert found == [
        *alone,
        "a <mona> style <rex> dog",
        "a <mona> style <fx> style picture",
        "a <fx> style <mona> style picture",
    ]
    of_rex = protected_prompts(base, Name("<rex> dog"), [Name("<tom> cat"), mona])
    assert of_rex[-1] == "a <mona> style <rex> dog"
    assert "a <rex> dog and a <tom> cat" in of_rex


def test_an_object_can_be_learned_beside_a_style_and_drift_is_told(styled, photos):
    result = add(styled, "cup", photos["rex"], class_noun="cup", lr=0.05, steps=4, time=NOON + 180)
    assert set(result.drift) == {"rex", "tom", "mona"}
    assert result.drift["mona"] > 0


def test_a_report_has_the_scores_of_both_kinds(styled):
    check(CheckOptions(start=styled, images=1, max_drop={"": 2.0}))
    repo = Repository(styled)
    data = Collector(repo, repo.resolve("HEAD")).collect("HEAD")
    columns = {one.name: place for place, one in enumerate(data.columns)}
    assert data.columns[columns["mona"]].kind == "style"
    last = data.tables[0].cells[-1]
    assert all(last[place] is not None for place in columns.values())
    assert data.other_protocols == 0


def test_a_report_fills_in_the_scores_that_a_check_would(styled):
    report(ReportOptions(start=styled, out=styled / "x.html", pictures=False, fill=True, device="cpu"))
    repo = Repository(styled)
    mona = repo.tree_of("HEAD").concepts["mona"]
    found = (repo.objects.get(repo.refs.get(name), Evaluation) for name in repo.refs.names(EVALUATIONS))
    of_style = {one.protocol_digest for one in found if one.concept == mona and "clip_t" in one.scores}
    base = Session.open(repo, "cpu").base
    assert protocol_digest(base, 0) not in of_style
    assert protocol_digest(base, 0, "style") in of_style
