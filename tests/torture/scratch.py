"""A folder to be tortured in: in memory where there is room, since what a kill or a full disk does shows there too."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

MEMORY = Path("/dev/shm")


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder that is gone afterwards."""
    roomy = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 2**28
    with tempfile.TemporaryDirectory(prefix="cns-torture-", dir=MEMORY if roomy else None) as folder:
        yield Path(folder).resolve()
