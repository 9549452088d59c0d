"""Which limits hold: flags before pyproject.toml before config.toml before the family; mistakes are named."""

from __future__ import annotations

import pytest

from cns.errors import SettingsError
from cns.families import EMOJI_64
from cns_cli.porcelain.gate.limits import LimitSource, first, read_templates, sources, thresholds_of
from cns_cli.porcelain.options import CheckOptions
from registry.errors import BadConfig
from registry.repository import Repository
from tests.registry.making import new_repository

DEFAULTS = EMOJI_64.defaults


@pytest.fixture
def repo(tmp_path) -> Repository:
    return new_repository(tmp_path / "registry")


def settled(repo: Repository, *, fast: bool = False, has_identity: bool = True, **flags):
    places = sources(repo, CheckOptions(**flags))
    return thresholds_of(places, EMOJI_64, has_identity=has_identity, fast=fast)


def project(repo: Repository, text: str) -> None:
    (repo.root.parent / "pyproject.toml").write_text(text)


def test_without_a_word_the_familys_limits_hold(repo):
    found = settled(repo)
    assert found.metrics == ("id", "clip-i")
    assert found.max_drop == {"id": DEFAULTS.max_drop, "clip-i": DEFAULTS.max_drop}
    assert found.minimum == {}
    assert settled(repo, has_identity=False).metrics == ("clip-i",)


def test_a_flag_wins_over_the_project_over_the_registry(repo):
    repo.set_config("check", {"max-drop": 0.1, "images": 3, "seed": 7, "metrics": ["clip-t"]})
    assert settled(repo).metrics == ("clip-t",)
    assert settled(repo).max_drop == {"clip-t": 0.1}
    project(repo, '[tool.cns.check]\nmax-drop = 0.2\nmetrics = ["id"]\nimages = 5\n')
    assert settled(repo).max_drop == {"id": 0.2}
    assert settled(repo, max_drop={"": 0.3}).max_drop == {"id": 0.3}
    places = sources(repo, CheckOptions(images=9))
    assert (first(places, "images"), first(places, "seed")) == (9, 7)
    assert first(sources(repo, CheckOptions()), "images") == 5


def test_a_limit_by_name_wins_over_one_for_all_in_the_same_place(repo):
    found = settled(repo, max_drop={"": 0.3, "id": 0.1})
    assert found.max_drop == {"id": 0.1, "clip-i": 0.3}


def test_a_limit_for_all_is_for_drops_of_cosines_only(repo):
    found = settled(repo, metrics=("id", "drift", "class-drift", "zero-shot", "margin"), max_drop={"": 0.3})
    assert found.max_drop == {
        "id": 0.3, "margin": 0.3, "drift": DEFAULTS.max_kv_drift, "class-drift": DEFAULTS.max_class_drift,
        "zero-shot": DEFAULTS.max_zero_shot,
    }  # fmt: skip


def test_erased_nouns_are_looked_at_where_nobody_says_what_is(repo):
    found = thresholds_of(sources(repo, CheckOptions()), EMOJI_64, has_identity=True, erases=True)
    assert (found.metrics, found.max_drop["erased"]) == (("id", "clip-i", "erased"), DEFAULTS.max_erased)
    places = sources(repo, CheckOptions(metrics=("id",)))
    assert thresholds_of(places, EMOJI_64, has_identity=True, erases=True).metrics == ("id",)


def test_a_limit_that_was_written_down_is_checked(repo):
    repo.set_config("check", {"max-drop": {"drift": 0.001}, "min": {"clip-t": 0.2}})
    assert settled(repo).metrics == ("id", "clip-i", "clip-t", "drift")
    assert settled(repo, metrics=("id",)).metrics == ("id",)
    assert settled(repo, metrics=("clip-i",), minimum={"": 0.5}).metrics == ("clip-i", "id")


def test_a_minimum_without_a_name_is_for_the_main_score(repo):
    assert settled(repo, minimum={"": 0.6}).minimum == {"id": 0.6}
    assert settled(repo, minimum={"": 0.6}, has_identity=False).minimum == {"clip-i": 0.6}


@pytest.mark.parametrize("metric", ["drift", "class-drift", "zero-shot"])
def test_what_should_stay_small_has_no_minimum(repo, metric):
    with pytest.raises(SettingsError) as error:
        settled(repo, minimum={metric: 0.1})
    assert (error.value.name, error.value.value) == ("min", metric)


def test_fast_knows_the_drift_alone(repo):
    repo.set_config("check", {"metrics": ["id"], "min": 0.5, "max-drop": {"drift": 0.003}, "images": 2, "seed": 1})
    assert settled(repo, fast=True).max_drop == {"drift": 0.003}
    scores = ({"metrics": ("id",)}, {"minimum": {"": 0.5}}, {"max_drop": {"": 0.1}})
    for flags in (*scores, {"images": 3}, {"seed": 0}, {"encoder": "clip"}):
        with pytest.raises(SettingsError, match="makes none"):
            settled(repo, fast=True, **flags)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("maximum = 1", "'maximum'"),
        ('max-drop = "much"', "max-drop is 'much'"),
        ("max-drop = -0.1", "-0.1"),
        ("max-drop = true", "True"),
        ("max-drop = {sharpness = 0.1}", "'sharpness'"),
        ("min = 1.5", "1.5"),
        ("min = nan", "nan"),
        ('metrics = "id"', "'id'"),
        ('metrics = ["fid"]', "fid"),
        ("images = 0", "images is 0"),
        ("seed = 1.5", "seed is 1.5"),
        ("prompts = 3", "prompts is 3"),
    ],
)
def test_a_wrong_setting_is_named(repo, text, named):
    project(repo, f"[tool.cns.check]\n{text}\n")
    with pytest.raises(BadConfig) as error:
        sources(repo, CheckOptions())
    assert named in error.value.reason
    assert error.value.path.name == "pyproject.toml"


def test_a_project_of_somebody_else_is_left_alone(repo):
    project(repo, "[project]\nname = 'x'\n")
    assert sources(repo, CheckOptions())[1] == LimitSource()


def test_files_are_meant_from_the_folder_that_names_them(repo):
    project(repo, "[tool.cns.check]\nprompts = 'judge.txt'\n")
    assert first(sources(repo, CheckOptions()), "prompts") == repo.root.parent / "judge.txt"
    repo.set_config("check", {"encoder": "dino"})
    (repo.root / "dino").mkdir()
    assert first(sources(repo, CheckOptions()), "encoder") == str(repo.root / "dino")


def test_prompts_come_a_line_each(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("a {} here\n\n  a {} there  \na {} here\n", encoding="utf-8")
    assert read_templates(path, 2) == ("a {} here", "a {} there")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a {} here\na {} here\n", "1 different"),
        ("a {} here\na dog\n", "line 2"),
        ("a {} and {}\na {} x\n", "line 1"),
    ],
)
def test_prompts_that_cannot_be_used_are_refused(tmp_path, content, said):
    path = tmp_path / "prompts.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError) as error:
        read_templates(path, 2)
    assert said in error.value.message
    assert error.value.name == "prompts"


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"x" * 1_000_001])
def test_a_file_that_is_no_list_of_prompts_is_refused(tmp_path, content):
    path = tmp_path / "prompts.txt"
    path.write_bytes(content)
    with pytest.raises(SettingsError):
        read_templates(path, 1)
