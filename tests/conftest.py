"""What every test relies on."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

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


# What a CI server or a user has set would change what commands say, and be written to.
for variable in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "CNS_TRUST", "MLFLOW_TRACKING_URI"):
    os.environ.pop(variable, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run in several processes, those that share costly fixtures go to one: a file, or all of embedded/."""
    for item in items:
        shared = item.path.parent if item.path.parent.name == "embedded" else item.path
        item.add_marker(pytest.mark.xdist_group(str(shared)))
