"""The script of docs/registry.md reads a concept without any module of ours."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from registry.mirror.mirror import MlflowMirror
from registry.objects import Blob
from registry.repository import Repository
from tests.registry.making import add

PAGE = Path(__file__).resolve().parents[2] / "docs" / "registry.md"


def test_script_of_the_page_reads_mask_and_delta(repository: Repository, mlflow_template: Path, tmp_path: Path) -> None:
    shutil.copy(mlflow_template, repository.folder / "mlflow.db")
    arrays = {"mask": np.array([3, 1, 2], np.uint8), "delta": np.array([5, 6], np.uint16)}
    blobs = {part: repository.objects.put(Blob(save({"to_k": array}))) for part, array in arrays.items()}
    commit = add(repository, "rex", **blobs).id
    MlflowMirror(repository).record(commit)
    (script,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    script = script.replace("/path/to/.cns", str(repository.folder))
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{commit} rex", "mask to_k uint8 (3,)", "delta to_k uint16 (2,)"]
