"""What every test relies on."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from docs.tour import CI_SERVER
from tests.steps import take_few_steps

TESTS = Path(__file__).resolve().parent

# A shell without job control starts what it puts in the background with Ctrl-C ignored, and so would be all that we
# start from there: the tests of interruptions need what a terminal gives.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "deterministic",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("deterministic")
take_few_steps()


# What a CI server or a user has set would change what commands say, and be written to.
for variable in (*CI_SERVER, "CNS_TRUST", "MLFLOW_TRACKING_URI"):
    os.environ.pop(variable, None)


LONGEST_FIRST = (
    "embedded/test_main_job.py",
    "embedded/test_gate_lineage.py",
    "porcelain/learning/test_resume.py",
    "porcelain/test_add.py",
    "porcelain/test_kills.py",
    "porcelain/test_ci_page.py",
    "registry/test_torture_kill.py",
    "porcelain/test_check.py",
    "porcelain/test_pyfunc.py",
    "benchmarks/test_methods.py",
    "benchmarks/test_paper.py",
    "porcelain/test_add_settings.py",
    "cns/test_training.py",
    "porcelain/scoring/test_names.py",
    "porcelain/test_without_accelerate.py",
    "registry/mirror/test_mirror.py",
    "porcelain/test_bisect_measure.py",
    "cli/test_audit.py",
    "registry/test_torture_power.py",
    "registry/test_torture_integrity.py",
    "porcelain/test_check_metrics.py",
    "registry/test_fuzz.py",
    "porcelain/test_pytest_plugin.py",
    "registry/test_torture_mlflow.py",
    "porcelain/reporting/test_pictures.py",
)
"""Files that take longest. With one of them at the end, one process would go on alone when the others have done."""
assert all((TESTS / name).is_file() for name in LONGEST_FIRST), "a file that takes long was moved: say where to"


@pytest.fixture(scope="session")
def tracking_server() -> Iterator[str]:
    """The address of a real `mlflow server`: one for all tests of a process, since its start takes ten seconds."""
    from tests.torture.brokenmlflow_outside import server_in

    with tempfile.TemporaryDirectory(prefix="cns-server-") as folder, server_in(Path(folder)) as (uri, _):
        yield uri


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where tests run in several processes, a file in one of them (noxfile.py), the longest files begin."""
    if hasattr(config, "workerinput"):
        places = {TESTS / name: place for place, name in enumerate(LONGEST_FIRST)}
        items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """Look for garbage in what tests make alone: among all that was imported, a look takes more than a second."""
    gc.freeze()
