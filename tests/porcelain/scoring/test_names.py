"""The example package of docs/extending.md, end to end: added with its score and regularizer, checked by its metric."""

from __future__ import annotations

import numpy as np
import pytest

from cns.errors import ExtensionError, SettingsError
from cns.regularizers import REGULARIZERS
from cns.selection import SCORES
from cns_cli.metricnames import least_score
from cns_cli.porcelain.check import check
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import CheckOptions
from cns_cli.porcelain.scoring.names import REGULARIZER_NAMES, SCORE_NAMES, package_of
from registry.objects import Evaluation, Record
from registry.refs import EVALUATIONS
from registry.repository import Repository
from tests.plugins import install, install_example
from tests.porcelain.conftest import NOON, add

ODD = {"odd": "odd_method:odd"}


def judge(folder, **changes):
    return check(CheckOptions(start=folder, **{"images": 1, "metrics": ("nearest",), "max_drop": {"": 2.0}, **changes}))


def test_a_concept_is_learned_with_a_score_and_a_regularizer_of_another_package(
    learned, photos, monkeypatch, tmp_path_factory
):
    install_example(monkeypatch, tmp_path_factory.mktemp("site"))
    add(learned, "mug", photos["mug"], class_noun="cup", score="spread", reg="elastic", time=NOON + 120)
    repo = Repository(learned)
    record = repo.objects.get(repo.commit_of(repo.resolve("HEAD")).record, Record).data
    assert (record["params"]["score"], record["params"]["reg"]) == ("spread", "elastic")
    assert record["versions"]["plugin score"] == record["versions"]["plugin reg"] == "cns-example 1.0"
    assert max(record["series"]["penalty"]) > 0
    mask = Session.open(repo, "cpu").concept(repo.tree_of("HEAD").concepts["mug"]).delta
    assert sum(sparse.count for sparse in mask.values()) == record["metrics"]["neurons"]


def test_its_metric_judges_and_is_stored_under_its_name_and_version(learned, monkeypatch, tmp_path_factory):
    install_example(monkeypatch, tmp_path_factory.mktemp("site"))
    result = judge(learned)
    rex = next(row for row in result.rows if row.concept == "rex").metric("nearest")
    session = Session.open(Repository(learned), "cpu")
    tree = session.repo.tree_of("HEAD")
    session.set_tree(tree)
    templates = session.base.family.objects.judge
    pictures = session.base.images([one.replace("{}", "<rex> dog") for one in templates], [1000 * k for k in range(12)])
    references = session.references(tree.concepts["rex"])["clip"]
    expected = (session.base.clip.image_features(pictures) @ references.T).max(1).mean()
    assert rex.now == pytest.approx(float(expected), abs=1e-4)
    assert rex.verdict == "kept"
    stored = [
        session.repo.objects.get(session.repo.refs.get(name), Evaluation)
        for name in session.repo.refs.names(EVALUATIONS)
    ]
    mine = [one for one in stored if "nearest" in one.scores]
    assert {one.protocol["metric"]["package"] for one in mine} == {"cns-example 1.0"}
    assert np.asarray(mine[0].scores["nearest"]).shape == (12, 1)


def test_another_version_of_the_package_is_another_protocol(learned, monkeypatch, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        install_example(patch, tmp_path_factory.mktemp("site"))
        first = judge(learned)
        assert judge(learned).images_made == 0
        stored = set(Repository(learned).refs.names(EVALUATIONS))
    install_example(monkeypatch, tmp_path_factory.mktemp("other"), version="2.0")
    again = judge(learned)
    assert again.rows == first.rows
    assert set(Repository(learned).refs.names(EVALUATIONS)) > stored


def test_stored_scores_of_a_plugin_need_neither_the_plugin_nor_the_base(learned, monkeypatch, tmp_path_factory):
    install_example(monkeypatch, tmp_path_factory.mktemp("site"))
    first = judge(learned)

    def never(*_args, **_more):
        raise AssertionError("it was computed again")

    monkeypatch.setattr("cns_cli.porcelain.models.session.Session.open", never)
    monkeypatch.setattr("cns.extensions.find", never)
    assert judge(learned).rows == first.rows


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("lambda generated, references: 1 / 0", "ZeroDivisionError"),
        ("lambda generated, references: generated", "expected one for each"),
    ],
)
def test_a_metric_that_cannot_be_computed_fails(learned, monkeypatch, tmp_path, code, why):
    site = learned / "site"
    site.mkdir()
    (site / "odd_metric.py").write_text(
        f"from cns.metrics import Metric\nODD = Metric('odd', 'clip', 'references', {code})\n"
    )
    monkeypatch.delitem(__import__("sys").modules, "odd_metric", raising=False)
    install(monkeypatch, site, "odd", "1", {"cns.metrics": {"odd": "odd_metric:ODD"}})
    result = judge(learned, metrics=("clip-i", "odd"), concepts=("rex",))
    (row,) = result.rows
    assert (row.metric("odd").verdict, row.metric("clip-i").verdict) == ("inconclusive", "kept")
    assert why in row.why
    assert not result.passed


@pytest.mark.parametrize(
    ("group", "code", "why"),
    [
        ("score", "1 / 0", "ZeroDivisionError"),
        ("score", "{}", "other matrices"),
        ("score", "{name: -weight.abs() for name, weight in args[0].model.base.items()}", "negative"),
        ("score", "{name: weight.sum(1) for name, weight in args[0].model.base.items()}", "other shapes"),
        ("reg", "1 / 0", "ZeroDivisionError"),
        ("reg", "None", "expected a penalty"),
        ("reg", "lambda weights: 0.5", "expected a tensor of one number"),
        ("reg", "lambda weights: weights['none']", "KeyError"),
    ],
)
def test_a_score_or_regularizer_that_fails_is_named_and_nothing_is_committed(
    learned, photos, monkeypatch, group, code, why
):
    site = learned / "site"
    site.mkdir()
    (site / "odd_method.py").write_text(f"def odd(*args):\n    return {code}\n")
    monkeypatch.delitem(__import__("sys").modules, "odd_method", raising=False)
    install(monkeypatch, site, "odd", "1", {"cns.scores" if group == "score" else "cns.regularizers": ODD})
    before = Repository(learned).head().commit
    with pytest.raises(ExtensionError, match=why) as caught:
        add(learned, "mug", photos["mug"], class_noun="cup", time=NOON + 120, **{group: "odd"})
    assert caught.value.package == "odd 1"
    assert Repository(learned).head().commit == before


def test_names_that_are_known_without_torch_are_those_of_the_method():
    assert tuple(SCORES) == SCORE_NAMES
    assert tuple(REGULARIZERS) == REGULARIZER_NAMES


def test_a_least_score_of_a_plugin_need_not_be_a_cosine(learned, monkeypatch, tmp_path_factory):
    install_example(monkeypatch, tmp_path_factory.mktemp("site"))
    assert least_score("nearest=5") == ("nearest", 5.0)
    (learned / "pyproject.toml").write_text("[tool.cns.check.min]\nnearest = 5\n")
    assert judge(learned, metrics=(), concepts=("rex",)).rows[0].metric("nearest").minimum == 5.0


def test_limits_in_a_config_file_may_name_it(learned, monkeypatch, tmp_path_factory):
    install_example(monkeypatch, tmp_path_factory.mktemp("site"))
    (learned / "pyproject.toml").write_text("[tool.cns.check.min]\nnearest = 1.0\n")
    result = judge(learned, metrics=(), concepts=("rex",))
    nearest = result.rows[0].metric("nearest")
    assert (nearest.minimum, nearest.verdict) == (1.0, "forgot")


def test_a_metric_that_nobody_has_is_refused(learned):
    with pytest.raises(SettingsError, match="no metric 'nearest'"):
        judge(learned)


def test_a_metric_may_not_have_the_name_of_something_stored(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path, "odd", "1", {"cns.metrics": {"clip_t": "odd:ODD"}})
    with pytest.raises(ExtensionError, match="something else is stored"):
        package_of("clip_t")
