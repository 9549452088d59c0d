"""The pytest plugin: `pytest --cns` tests that no concept was forgotten; a marker and fixtures for a team's own tests.

pytest loads this module in every project of an environment, so it imports pytest, the standard library and a table
that needs no more, and does nothing until it is asked: by `--cns`, by the marker `cns`, or by one of its fixtures. The
registry, the gate and the method are imported then.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cns_cli.porcelain.metrics import METRICS

if TYPE_CHECKING:
    from cns_cli.porcelain.answers import CheckResult
    from cns_cli.porcelain.check import Checker
    from cns_cli.porcelain.models.live import LivePipeline
    from registry.repository import Repository

NODE = "cns"
SCORES = tuple(name.replace("-", "_") for name, metric in METRICS.items() if metric.level)
"""Scores of single concepts, of which a marker may demand a least mean."""

MARKER = (
    f"cns(concept, *, {', '.join(f'{score}=X' for score in SCORES)}, rev=REV): the test passes only when the concept's "
    "mean score is at least X; inconclusive fails"
)


class _State:
    """What one test run knows of its registry: opened when the first test asks.

    Attributes:
        rev: The revision that is tested.
        fast: No image is made.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.judged: CheckResult | Exception | None = None
        self.rev = str(config.getoption("cns_rev"))
        self.fast = bool(config.getoption("cns_fast"))

    @cached_property
    def repo(self) -> Repository:
        """The registry: of `--cns-registry`, of the ini value, or of the root folder."""
        from registry.repository import Repository

        asked = self.config.getoption("cns_registry")
        folder = Path(asked).absolute() if asked else self.config.rootpath / str(self.config.getini("cns_registry"))
        return Repository.discover(folder)

    @cached_property
    def checker(self) -> Checker:
        """Runs the checks."""
        from cns_cli.porcelain.check import Checker

        return Checker(self.repo)

    @cached_property
    def live(self) -> LivePipeline:
        """The pipeline of `cns_pipeline`."""
        from cns_cli.porcelain.models.live import LivePipeline

        return LivePipeline(self.repo, self.rev)

    def forgetting(self, concepts: tuple[str, ...]) -> CheckResult:
        """The one check of this run, judged when the first test asks; its error is every test's error."""
        from cns_cli.expectations import forgetting

        if self.judged is None:
            try:
                with _quiet():
                    self.judged = forgetting(self.checker, self.rev, concepts, fast=self.fast)
            except Exception as error:  # noqa: BLE001  kept, and raised again in each test that needs the answer
                self.judged = error
        if isinstance(self.judged, Exception):
            raise self.judged
        return self.judged


_STATE = pytest.StashKey[_State]()
_ASKED = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--cns` and what goes with it."""
    group = parser.getgroup("cns", "forgetting tests of a cns registry")
    group.addoption("--cns", action="store_true", help="Add a forgetting test for each concept of the registry.")
    group.addoption("--cns-rev", metavar="REV", default="HEAD", help="Revision that is tested (default: HEAD).")
    group.addoption("--cns-fast", action="store_true", help="Weights and K/V drift only; no image is made.")
    group.addoption("--cns-registry", metavar="DIR", help="Folder of the registry (default: ini, then rootdir).")
    parser.addini("cns_registry", "Folder of the cns registry, from rootdir.", default=".")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; take node ids such as `cns::rex` off the arguments, which pytest would look for as files."""
    config.addinivalue_line("markers", MARKER)
    config.stash[_STATE] = _State(config)
    asked = [word for word in config.args if word.startswith(f"{NODE}::")] if config.getoption("cns") else []
    config.stash[_ASKED] = [word.removeprefix(f"{NODE}::") for word in asked]
    config.args[:] = [word for word in config.args if word not in asked]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Read the markers; add the forgetting tests, before -k, -m and --lf choose."""
    for item in items:
        for marker in item.iter_markers("cns"):
            try:
                _expected(marker)
            except ValueError as error:
                raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.cns {error}") from error
    if config.getoption("cns"):
        items.extend(session.genitems(Concepts.from_parent(session, name=NODE, nodeid=NODE)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """After the body of a test that carries the marker: judge what it expects."""
    result = yield
    for marker in item.iter_markers("cns"):
        _expect(item.config.stash[_STATE], *_expected(marker))
    return result


class Concepts(pytest.Collector):
    """The concepts of a revision; one test each."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield a test for each concept, or for those that were named."""
        from cns_cli.expectations import concepts_at

        state = self.config.stash[_STATE]
        names = concepts_at(state.repo, state.rev)
        asked = self.config.stash[_ASKED]
        if unknown := [name for name in asked if name not in names]:
            raise self.CollectError(f"no concept '{unknown[0]}' at {state.rev}: expected {', '.join(names) or 'none'}")
        for name in names:
            if not asked or name in asked:
                yield ForgettingTest.from_parent(self, name=name)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:  # noqa: ARG002
        """Say what is wrong and what to type; no traceback for what a user can act on. A collector has no styles."""
        return _plain(excinfo.value) or super().repr_failure(excinfo)


class ForgettingTest(pytest.Item):
    """That one concept is kept. All of the run are judged together, when the first of them runs."""

    def runtest(self) -> None:
        """Fail unless the concept was kept."""
        from cns_cli.expectations import failure_text, row_of

        state = self.config.stash[_STATE]
        together = tuple(item.name for item in self.session.items if isinstance(item, ForgettingTest))
        result = state.forgetting(together)
        if row_of(result, self.name).verdict != "kept":
            pytest.fail(failure_text(result, self.name, state.rev, fast=state.fast), pytrace=False)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Say what is wrong and what to type; no traceback for what a user can act on."""
        return _plain(excinfo.value) or super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return place and name for reports."""
        return self.path, None, self.nodeid


@pytest.fixture(scope="session")
def cns_repository(request: pytest.FixtureRequest) -> Repository:
    """The cns registry: of `--cns-registry`, of the ini value `cns_registry`, or of the root folder."""
    with _told():
        return request.config.stash[_STATE].repo


@pytest.fixture(scope="session")
def cns_pipeline(request: pytest.FixtureRequest) -> Any:
    """The diffusers pipeline of the revision `--cns-rev`; one for all tests. See `cns_reset`."""
    with _told():
        return request.config.stash[_STATE].live.pipeline


@pytest.fixture(scope="session")
def cns_reset(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`cns_reset()` makes `cns_pipeline` anew, in place; `cns_reset("HEAD~1")` makes it that revision's."""

    def reset(rev: str | None = None) -> Any:
        with _told():
            return request.config.stash[_STATE].live.reset(rev)

    return reset


def _expected(marker: pytest.Mark) -> tuple[str, str | None, dict[str, float]]:
    """Read a marker: concept, revision, metric -> least mean score; raises ValueError."""
    keywords = dict(marker.kwargs)
    concept, rev = keywords.pop("concept", None), keywords.pop("rev", None)
    if marker.args or not isinstance(concept, str):
        raise ValueError(f"has {marker.args or concept!r}: expected concept='NAME' and scores such as clip_i=0.75")
    if rev is not None and not isinstance(rev, str):
        raise ValueError(f"has rev={rev!r}: expected a revision such as 'HEAD~1'")
    return concept, rev, _least_scores(keywords)


def _least_scores(keywords: dict[str, Any]) -> dict[str, float]:
    """Read `clip_i=0.75, id=0.6` as metric -> least mean score; raises ValueError."""
    if not keywords:
        raise ValueError(f"names no score: expected at least one of {', '.join(SCORES)}")
    for name, value in keywords.items():
        if name not in SCORES:
            raise ValueError(f"has {name}={value!r}: expected one of {', '.join(SCORES)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1 <= value <= 1:
            raise ValueError(f"has {name}={value!r}: expected a cosine, from -1 to 1")
    return {name.replace("_", "-"): float(value) for name, value in keywords.items()}


def _expect(state: _State, concept: str, rev: str | None, minimum: dict[str, float]) -> None:
    """Fail the running test unless the concept's scores reach the least ones."""
    from cns_cli.expectations import failure_text, least_scores

    where = rev or state.rev
    with _told(), _quiet():
        result = least_scores(state.checker, where, concept, minimum)
    if not result.passed:
        pytest.fail(failure_text(result, concept, where), pytrace=False)


@contextmanager
def _told() -> Iterator[None]:
    """Turn an error that a user can act on into a failure without a traceback."""
    try:
        yield
    except Exception as error:
        if text := _plain(error):
            raise pytest.fail.Exception(text, pytrace=False) from None
        raise


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what libraries warn about to ourselves: a team's `-W error` is about its own code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _plain(error: BaseException) -> str:
    """The text of an error of ours, with the next command; empty for any other, which keeps its traceback."""
    message, hint = getattr(error, "message", None), getattr(error, "hint", "")
    ours = type(error).__module__.split(".")[0] in ("registry", "cns", "cns_cli")
    if not ours:
        return ""
    return f"{message or error}" + (f"\nnext: {hint}" if hint else "")
