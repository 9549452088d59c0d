"""Real registries on tiny random bases: what a command does to weights and files, without minutes of training."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cns_cli.porcelain.add import add_concept
from cns_cli.porcelain.answers import AddResult
from cns_cli.porcelain.init import init_registry
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import AddOptions, Composed
from cns_cli.progress import NullProgress
from registry.mirror.server import MlflowStore
from registry.repository import Repository
from tests.tiny import tiny_sd

NOON = 1_780_000_000


def write_photos(folder: Path, seed: int, count: int = 3, side: int = 80) -> Path:
    """A folder of pictures that share a colour and a shape."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    colour = rng.integers(0, 256, 3)
    for number in range(count):
        pixels = rng.integers(0, 256, (side, side + 10, 3)).astype(np.uint8)
        top, left = rng.integers(10, 30, 2)
        pixels[top : top + 40, left : left + 40] = colour
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def add(registry: Path, name: str, images: Path, **changes: Any) -> AddResult:
    """`cns add` with a training of two steps, judged by a picture of each prompt."""
    settings: dict[str, Any] = {"class_noun": "dog", "steps": 2, "author": "ann", "time": NOON, "preview": 12}
    result = add_concept(
        AddOptions(start=registry, name=name, images=images, **{**settings, **changes}), NullProgress()
    )
    assert isinstance(result, AddResult)
    return result


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SD 1.x."""
    return tiny_sd(tmp_path_factory.mktemp("base") / "sd-1", variant="sd-1")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of training images, by name."""
    root = tmp_path_factory.mktemp("photos")
    return {name: write_photos(root / name, seed) for seed, name in enumerate(("rex", "tom", "mug"))}


def new_registry(folder: Path, base: Path, mlflow: Path, compose: Composed = "all") -> Path:
    """A registry on a base, with an MLflow database that has its tables: making them takes MLflow seconds.

    Prompts see all concepts of it, where one can harm another, unless told otherwise.
    """
    init_registry(folder, str(base), author="ann", time=NOON, compose=compose)
    shutil.copy(mlflow, folder / ".cns" / "mlflow.db")
    return folder


MLFLOW_PATHS = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "storage_location",
}


def copied(registry: Path, folder: Path) -> Path:
    """A copy of a registry, its MLflow as if it had been made there: it has whole paths, and would begin anew."""
    shutil.copytree(registry, folder, dirs_exist_ok=True)
    with closing(sqlite3.connect(folder / ".cns" / "mlflow.db")) as database, database:
        for table, column in MLFLOW_PATHS.items():
            ends = (registry.as_uri(), folder.as_uri())
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", ends)
    return folder


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database as MLflow makes it, without a run."""
    store = MlflowStore(tmp_path_factory.mktemp("mlflow"), None)
    store.connect()
    return store.file


def teach_rex_and_tom(folder: Path, photos: dict[str, Path]) -> Path:
    """Teach a new registry a dog and a cat."""
    add(folder, "rex", photos["rex"])
    add(folder, "tom", photos["tom"], class_noun="cat", time=NOON + 60)
    return folder


def teach_mug_without_mercy(folder: Path, photos: dict[str, Path]) -> Path:
    """Teach a cup in a way that harms what was known."""
    add(folder, "mug", photos["mug"], class_noun="cup", steps=8, lr=0.3, reg="none", budget=0.5, time=NOON + 120)
    return folder


@pytest.fixture(scope="session")
def _learned(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, photos: dict[str, Path], mlflow_tables: Path
) -> Path:
    return teach_rex_and_tom(new_registry(tmp_path_factory.mktemp("learned"), tiny_base, mlflow_tables), photos)


@pytest.fixture(scope="session")
def _harmed(tmp_path_factory: pytest.TempPathFactory, _learned: Path, photos: dict[str, Path]) -> Path:
    """The registry `learned` after mug, which was trained without mercy: what it knew looks otherwise now."""
    folder = copied(_learned, tmp_path_factory.mktemp("harmed"))
    return teach_mug_without_mercy(folder, photos)


@pytest.fixture(scope="session")
def _named(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, photos: dict[str, Path], mlflow_tables: Path
) -> Path:
    folder = new_registry(tmp_path_factory.mktemp("named"), tiny_base, mlflow_tables, "named")
    return teach_mug_without_mercy(teach_rex_and_tom(folder, photos), photos)


@pytest.fixture
def named(tmp_path: Path, _named: Path) -> Path:
    """A registry whose prompts see what they name: rex, tom, and mug, which was trained without mercy; a copy."""
    return copied(_named, tmp_path)


@pytest.fixture
def empty(tmp_path: Path, tiny_base: Path, mlflow_tables: Path) -> Path:
    """A registry without a concept."""
    return new_registry(tmp_path, tiny_base, mlflow_tables)


@pytest.fixture
def learned(tmp_path: Path, _learned: Path) -> Path:
    """A registry that holds rex, a dog, and tom, a cat; a copy that a test may change."""
    return copied(_learned, tmp_path)


@pytest.fixture
def session(learned: Path) -> Session:
    """The registry `learned`, opened with its base."""
    return Session.open(Repository(learned), "cpu")


@pytest.fixture
def few_voters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six calibration prompts say what general neurons are: by a gradient all would take half a minute."""
    monkeypatch.setattr("cns.prompts.Calibration.selection", property(lambda calibration: calibration.prompts[:6]))


@pytest.fixture
def registry_of(tmp_path: Path, mlflow_tables: Path) -> Callable[[str], Path]:
    """A registry on a tiny base of any family."""

    def make(variant: str) -> Path:
        base = tiny_sd(tmp_path / f"base-{variant}", variant=variant)
        return new_registry(tmp_path / f"registry-{variant}", base, mlflow_tables)

    return make
