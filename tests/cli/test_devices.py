"""A device that this machine lacks is refused before torch is imported (issue 18)."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from cns_cli import devices
from cns_cli.main import app


@pytest.mark.parametrize(
    ("builds", "driver", "possible"),
    [
        ("cuda: Optional[str] = None\nhip: Optional[str] = None\n", True, False),
        ("cuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n", True, True),
        ("cuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n", False, False),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '6.3'\n", False, True),
        ("", False, True),
    ],
)
def test_a_gpu_needs_a_build_of_torch_and_a_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, builds: str, driver: bool, possible: bool
) -> None:
    (tmp_path / "version.py").write_text(builds)
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda _: found)
    monkeypatch.setattr(devices, "_has_driver", lambda: driver)
    assert devices.is_possible("cuda") == devices.is_possible("cuda:1") == devices.is_possible("balanced") == possible


def test_every_machine_has_a_cpu_and_a_mac_alone_mps() -> None:
    assert devices.is_possible("cpu")
    assert devices.is_possible("auto")
    assert devices.is_possible("mps") == (sys.platform == "darwin")


def test_the_driver_is_asked_without_torch() -> None:
    import torch

    assert devices._has_driver() == torch.cuda.is_available() or torch.version.cuda is None


def test_a_base_is_spread_over_gpus_to_draw_and_not_to_train(monkeypatch: pytest.MonkeyPatch) -> None:
    def typed(*words: str) -> str:
        done = CliRunner().invoke(app, [*words, "--device", "balanced"], prog_name="cns")
        assert done.exit_code == 2
        return done.stderr

    assert "'balanced' is not one of 'auto', 'cpu', 'cuda', 'mps'" in typed("add", "rex", ".")
    monkeypatch.setattr(devices, "is_possible", lambda _: False)
    assert "this machine has no GPU that torch can use" in typed("generate", "a dog")
    monkeypatch.setattr(devices, "is_possible", lambda _: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "pip install 'cns-cli[gpus]'" in typed("check")
