"""The pytest plugin, in runs of pytest of its own over a tiny real registry."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cns_cli.porcelain.check as module
from cns_cli.porcelain.check import check
from cns_cli.porcelain.metrics import METRICS
from cns_cli.porcelain.options import CheckOptions
from cns_cli.pytest_plugin import MARKER, SCORES
from registry.objects import Evaluation
from registry.repository import Repository
from tests.porcelain.conftest import copied

pytest_plugins = ["pytester"]

HEAVY = ("torch", "diffusers", "transformers", "mlflow", "numpy", "PIL", "typer", "rich", "registry", "cns")
KEPT = "[tool.cns.check]\nimages = 1\nmax-drop = 2\n"
IMPOSSIBLE = KEPT + "min = 1\n"


@pytest.fixture(autouse=True)
def _no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load what is installed beside pytest once, not in every inner run."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture(scope="session")
def _judged(tmp_path_factory: pytest.TempPathFactory, _learned: Path) -> Path:
    """The registry `learned` after a check of its tip, so that most runs here find every score stored."""
    folder = copied(_learned, tmp_path_factory.mktemp("judged"))
    check(CheckOptions(start=folder, images=1, max_drop={"": 2.0}))
    return folder


@pytest.fixture
def project(pytester: pytest.Pytester, _judged: Path) -> pytest.Pytester:
    """A project whose root holds a registry of rex and tom, and limits under which everything is kept."""
    shutil.copytree(_judged, pytester.path, dirs_exist_ok=True)
    (pytester.path / "pyproject.toml").write_text(KEPT)
    return pytester


def test_unused_it_loads_nothing(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    pytester.makepyfile(
        f"""
        import sys

        def test_nothing():
            loaded = {{name.split(".")[0] for name in sys.modules}}
            assert "cns_cli" in loaded
            assert not loaded & set({HEAVY!r})
        """
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--strict-markers"], cwd=pytester.path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_the_option_other_projects_notice_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(): pass\ndef test_b(): assert 0")
    result = run(pytester, "--strict-markers", "--strict-config", "-W", "error")
    result.assert_outcomes(passed=1, failed=1)


def test_one_test_a_concept(project: pytest.Pytester) -> None:
    project.makepyfile("def test_mine(): pass")
    result = run(project, "--cns", "-v", "-W", "error")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*collected 3 items", "*::test_mine PASSED*", "cns::rex PASSED*", "cns::tom PASSED*"])


def test_what_is_not_stored_is_computed_once(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.path / "pyproject.toml").write_text(KEPT + "seed = 1\n")
    before = evaluations(project)
    run(project, "--cns").assert_outcomes(passed=2)
    stored = evaluations(project)
    assert stored > before
    monkeypatch.setattr("cns_cli.porcelain.models.session.Session.open", _never)
    run(project, "--cns").assert_outcomes(passed=2)
    assert evaluations(project) == stored


def test_all_concepts_are_judged_in_one_check(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = module.check
    monkeypatch.setattr(module, "check", lambda options, *rest: seen.append(options.concepts) or real(options, *rest))
    run(project, "--cns").assert_outcomes(passed=2)
    assert seen == [("rex", "tom")]


def test_a_failing_test_says_why_and_what_to_type(project: pytest.Pytester) -> None:
    (project.path / "pyproject.toml").write_text(IMPOSSIBLE)
    result = run(project, "--cns")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["*_ cns::rex _*", "rex: forgot", "  id *; asked for 1*", "  id: now *, baseline *", "next: cns bisect start*"]
    )
    result.stdout.fnmatch_lines(["FAILED cns::rex - *rex: forgot"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_node_id_from_a_report_can_be_typed_back(project: pytest.Pytester) -> None:
    project.makepyfile("def test_mine(): pass")
    result = run(project, "--cns", "cns::tom", "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["cns::tom PASSED*"])
    result = run(project, "--cns", "cns::zoe")
    result.stdout.fnmatch_lines(["*no concept 'zoe' at HEAD: expected rex, tom"])
    assert result.ret != 0


def test_k_and_last_failed_choose_among_them(project: pytest.Pytester) -> None:
    run(project, "--cns", "-k", "tom").assert_outcomes(passed=1, deselected=1)
    (project.path / "pyproject.toml").write_text(IMPOSSIBLE)
    run(project, "--cns", "-k", "rex").assert_outcomes(failed=1, deselected=1)
    run(project, "--cns", "--lf").assert_outcomes(failed=1, deselected=1)


def test_another_revision(project: pytest.Pytester) -> None:
    run(project, "--cns", "--cns-rev", "HEAD~1").assert_outcomes(passed=1)
    result = run(project, "--cns", "--cns-rev", "nope")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["no commit matches 'nope'*", "next: cns log"])


def test_fast_makes_no_image(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cns_cli.porcelain.models.base.LoadedBase.images", _never)
    (project.path / "pyproject.toml").write_text("[tool.cns.check.max-drop]\ndrift = 10\n")
    run(project, "--cns", "--cns-fast").assert_outcomes(passed=2)
    (project.path / "pyproject.toml").write_text("[tool.cns.check.max-drop]\ndrift = 0\n")
    result = run(project, "--cns", "--cns-fast")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["rex: forgot", "next: cns check --concept rex"])


def test_the_registry_may_be_elsewhere(project: pytest.Pytester) -> None:
    (project.path / "models").mkdir()
    (project.path / ".cns").rename(project.path / "models" / ".cns")
    result = run(project, "--cns")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["no registry in *", "next: cns init"])
    run(project, "--cns", "--cns-registry", "models", "--collect-only").stdout.fnmatch_lines(["*ForgettingTest rex*"])
    project.makeini("[pytest]\ncns_registry = models\n")
    run(project, "--cns", "--collect-only").stdout.fnmatch_lines(["*ForgettingTest tom*"])


def test_the_fixtures(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import torch

        def test_repository(cns_repository):
            assert set(cns_repository.tree_of("HEAD").concepts) == {"rex", "tom"}

        def test_pipeline(cns_pipeline, cns_reset):
            assert type(cns_pipeline).__name__ == "StableDiffusionPipeline"
            parameters = dict(cns_pipeline.unet.named_parameters())
            name = next(name for name in parameters if name.endswith("attn2.to_k.weight"))
            weight = parameters[name]
            composed = weight.detach().clone()
            with torch.no_grad():
                weight.zero_()
            cns_pipeline.scheduler = None
            assert cns_reset() is cns_pipeline
            again = dict(cns_pipeline.unet.named_parameters())[name]
            assert torch.equal(again, composed)
            assert cns_pipeline.scheduler is not None
            assert "<tom>" in cns_pipeline.tokenizer.get_vocab()

        def test_another_revision(cns_pipeline, cns_reset):
            cns_reset("HEAD~1")
            assert "<tom>" not in cns_pipeline.tokenizer.get_vocab()
            assert "<rex>" in cns_pipeline.tokenizer.get_vocab()
            images = cns_pipeline("a <rex> dog", num_inference_steps=1, output_type="np").images
            assert images.shape == (1, 64, 64, 3)
        """
    )
    run(project).assert_outcomes(passed=3)


def test_a_fixture_without_a_registry_fails_with_the_next_command(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(cns_repository): pass")
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["no registry in *", "next: cns init"])


def test_the_marker_demands_a_least_score(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.cns(concept="rex", clip_i=-1, id=-1)
        def test_easy(): pass

        @pytest.mark.cns(concept="rex", clip_i=1.0)
        def test_impossible(): open("ran", "w").close()

        @pytest.mark.cns(concept="rex", clip_i=-1)
        def test_body(): assert 0, "the body counts, too"

        @pytest.mark.cns(concept="tom", clip_i=-1, rev="HEAD~1")
        def test_not_there_yet(): pass
        """
    )
    result = run(project, "--strict-markers", "-W", "error")
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(
        ["rex: forgot", "  clip-i is *; asked for 1", "next: cns bisect start --metric rex.clip-i --below 1"]
    )
    result.stdout.fnmatch_lines(["*the body counts, too*"])
    result.stdout.fnmatch_lines(["no concept 'tom' in this tree: expected one of: rex", "next: cns status"])
    assert (project.path / "ran").exists()


def test_what_is_inconclusive_fails(project: pytest.Pytester) -> None:
    """A least score at the mean of few images: more are drawn, and are too few to tell on which side of it it lies."""
    options = CheckOptions(start=project.path, concepts=("rex",), metrics=("clip-i",), max_drop={"": 2.0}, images=4)
    (row,) = check(options).rows
    project.makepyfile(
        f"""
        import pytest

        @pytest.mark.cns(concept="rex", clip_i={row.metrics[0].now!r})
        def test_undecided(): pass
        """
    )
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["rex: inconclusive", "next: cns check --concept rex*"])


@pytest.mark.parametrize(
    "marker",
    ["", "'rex', clip_i=0.5", "concept='rex'", "concept='rex', fid=3", "concept='rex', drift=0.1",
     "concept='rex', clip_i=75", "concept='rex', clip_i=True", "concept='rex', clip_i=0.5, rev=3"],
)  # fmt: skip
def test_a_marker_that_cannot_be_meant_is_refused_at_collection(pytester: pytest.Pytester, marker: str) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.cns({marker})\ndef test_it(): pass")
    result = run(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*::test_it: @pytest.mark.cns * expected *"])


def test_the_marker_knows_the_scores_of_the_gate() -> None:
    assert {name.replace("_", "-") for name in SCORES} == {name for name, metric in METRICS.items() if metric.level}
    assert all(f"{name}=X" in MARKER for name in SCORES)


def run(pytester: pytest.Pytester, *words: str) -> pytest.RunResult:
    """A run of pytest with this plugin, in this process, which has imported it before."""
    return pytester.runpytest("-p", "cns_cli.pytest_plugin", *words, "-W", "ignore:Module already imported")


def evaluations(project: pytest.Pytester) -> set[str]:
    repo = Repository(project.path)
    return {one for one in repo.objects.ids() if isinstance(repo.objects.load(one), Evaluation)}


def _never(*_: object, **__: object) -> None:
    raise AssertionError("the base was needed")
