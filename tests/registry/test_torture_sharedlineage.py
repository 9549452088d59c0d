"""R17, quick: the server of a shared lineage is killed in a push. Races are in the tests of the MLflow remote."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.sharedlineage import killed


@pytest.mark.slow
def test_a_push_goes_on_after_its_server_was_killed(tmp_path: Path) -> None:
    assert "the clone is equal" in killed(0.6, tmp_path)
