"""Entry points of other packages: found without import, loaded when named, never in the place of a built-in one."""

from __future__ import annotations

import sys

import pytest

from cns import extensions
from cns.errors import ExtensionError, SettingsError
from cns.metrics import metric_named
from cns.regularizers import REGULARIZERS, regularizer_named
from cns.selection import SCORES, score_named
from tests.plugins import install, install_example


@pytest.fixture(autouse=True)
def _forget_modules(monkeypatch):
    for name in ("cns_example", "cns_example.method", "cns_example.metric"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_built_in_names_need_no_plugin():
    assert score_named("wanda") is SCORES["wanda"]
    assert regularizer_named("none") is REGULARIZERS["none"]
    assert extensions.origin(extensions.SCORES, "wanda", SCORES) == ""


def test_names_of_plugins_are_listed_without_importing_them(monkeypatch, tmp_path):
    install_example(monkeypatch, tmp_path)
    assert extensions.known_names(extensions.SCORES, SCORES) == (*SCORES, "spread")
    assert extensions.origin(extensions.SCORES, "spread", SCORES) == "cns-example 1.0"
    assert "cns_example" not in sys.modules


def test_a_plugin_is_loaded_by_its_name(monkeypatch, tmp_path):
    install_example(monkeypatch, tmp_path)
    assert score_named("spread").args[0].__module__ == "cns_example.method"
    assert regularizer_named("elastic").args[0].__name__ == "elastic"
    assert metric_named("nearest").label == "nearest reference"


def test_an_unknown_name_is_answered_by_all_names_there_are(monkeypatch, tmp_path):
    install_example(monkeypatch, tmp_path)
    with pytest.raises(SettingsError, match=r"gradient, .*wanda.*, spread") as caught:
        score_named("luck")
    assert (caught.value.name, caught.value.value, caught.value.hint) == ("score", "luck", "cns add --help")


def test_a_plugin_may_not_take_a_built_in_name(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path, "thief", "2.0", {"cns.scores": {"wanda": "thief:wanda"}})
    with pytest.raises(ExtensionError, match="built-in") as caught:
        score_named("wanda")
    assert (caught.value.name, caught.value.package) == ("wanda", "thief 2.0")
    assert score_named("gradient") is SCORES["gradient"]


def test_two_packages_with_one_name_are_no_choice(monkeypatch, tmp_path):
    for name in ("one", "two"):
        install(monkeypatch, tmp_path / name, name, "1", {"cns.regularizers": {"hope": f"{name}:hope"}})
    with pytest.raises(ExtensionError, match=r"one 1, two 1"):
        regularizer_named("hope")


def test_a_plugin_that_does_not_import_is_named(monkeypatch, tmp_path):
    (tmp_path / "broken_plugin.py").write_text("raise RuntimeError('no licence')\n")
    install(monkeypatch, tmp_path, "broken", "0.3", {"cns.scores": {"luck": "broken_plugin:luck"}})
    with pytest.raises(ExtensionError, match=r"broken 0\.3.*RuntimeError: no licence") as caught:
        score_named("luck")
    assert caught.value.package == "broken 0.3"


def test_a_plugin_of_the_wrong_kind_is_refused(monkeypatch, tmp_path):
    install_example(monkeypatch, tmp_path / "example")
    groups = {"cns.scores": {"odd": "cns_example.metric:NEAREST"}, "cns.metrics": {"odd": "cns_example.method:spread"}}
    install(monkeypatch, tmp_path / "odd", "odd", "1", groups)
    with pytest.raises(ExtensionError, match="is a Metric and cannot be one"):
        score_named("odd")
    with pytest.raises(ExtensionError, match="is a function and cannot be one"):
        metric_named("odd")


def test_what_fails_in_a_plugin_is_its_own_fault():
    with (
        pytest.raises(ExtensionError, match=r"the score 'odd' of the package odd 1 failed: KeyError: 'attn'") as caught,
        extensions.Plugin(extensions.SCORES, "odd", "odd 1").blamed(),
    ):
        raise KeyError("attn")
    assert (caught.value.name, caught.value.package) == ("odd", "odd 1")
    with pytest.raises(SettingsError), extensions.Plugin(extensions.SCORES, "odd", "odd 1").blamed():
        raise SettingsError("our own")
