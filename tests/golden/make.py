"""Makes the golden registry `format-1.tar`: `python -m tests.golden.make`. See README.md beside it.

Every commit is made by the command that a user would type. The same commands on the same machine and libraries give the
same concepts; on another machine the last bits of a training may differ, which is why the result is kept in the
repository and not made by the tests. It takes about fifteen minutes on one core.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.golden import ARCHIVE, pack

CONCEPTS = Path(__file__).resolve().parents[2] / "examples" / "concepts"
START = 1_800_000_000  # seconds since 1970; every command is an hour later
QUIET = {
    "CNS_AUTHOR": "golden",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "NO_COLOR": "1",
    "OMP_NUM_THREADS": "1",
}
STEPS = "--steps 150"
HARM = "--reg none"
MORE_HARM = "--reg none --lr 0.006 --budget 20%"

LATER = "--reg weights --lr 0.002"
"""How later concepts are learned. Unlike the default it does not pull older concepts back to their birth: what the
harmful commit did stays done. Small steps, and few of them at last, so that they harm nobody themselves."""

LAST = "--steps 60 --reg weights --lr 0.001"

LINES = (
    "cns init --compose all",  # where one concept can harm another
    f"cns add tom pictures/cat --class cat {STEPS}",
    f"cns add rex pictures/dog --class dog {STEPS}",
    f"cns add pip pictures/penguin --class penguin {STEPS}",
    "cns branch clean",
    "cns branch harmless",
    "cns branch mild",
    # Two commits for the study of noise: one by the defaults, one that harms a little.
    "cns checkout harmless",
    f"cns add jet pictures/rocket --class rocket {STEPS}",
    "cns checkout mild",
    f"cns add koko pictures/koala --class koala {STEPS} {HARM}",
    # The harmful commit: many weights, a large step, and nothing that holds the older concepts in place.
    "cns checkout main",
    f"cns add koko pictures/koala --class koala {STEPS} {MORE_HARM}",
    f"cns add jet pictures/rocket --class rocket {STEPS} {LATER}",
    f"cns add hop pictures/frog --class frog {LAST}",
    # The lineage without it.
    "cns checkout clean",
    f"cns add jet pictures/rocket --class rocket {STEPS} {LATER}",
    f"cns add hop pictures/frog --class frog {LAST}",
    "cns checkout main",
)
# Their evaluations stay in the registry: two images of each prompt, more where the gate was undecided.
CHECKS = (
    *(f"cns check main~{back} --images 2" for back in range(5, -1, -1)),
    *(f"cns check clean~{back} --images 2" for back in (1, 0)),
)


def main() -> None:
    """Make the registry in a folder, then pack it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="work here, and go on where an earlier run stopped")
    options = parser.parse_args()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="cns-golden-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(CONCEPTS, folder / "pictures", dirs_exist_ok=True)
    done = folder / "done"
    finished = int(done.read_text()) if done.exists() else 0
    for number, line in list(enumerate((*LINES, *CHECKS)))[finished:]:
        run(line, folder, START + 3600 * number)
        done.write_text(str(number + 1))
    pack(folder / ".cns", ARCHIVE)
    sys.stderr.write(f"{ARCHIVE}: {ARCHIVE.stat().st_size / 1e6:.1f} MB\n")


def run(line: str, folder: Path, time: int) -> None:
    """Run one command; a check may find what it is meant to find."""
    sys.stderr.write(f"$ {line}\n")
    environment = {**os.environ, **QUIET, "SOURCE_DATE_EPOCH": str(time)}
    ran = subprocess.run(
        [sys.executable, "-m", "cns_cli", *shlex.split(line)[1:]], cwd=folder, env=environment, check=False
    )
    if ran.returncode not in ((0, 3) if line.startswith("cns check ") else (0,)):
        raise SystemExit(f"`{line}` ended with {ran.returncode}")


if __name__ == "__main__":
    main()
