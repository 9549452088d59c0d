"""The demo of `nox -s demo`: the main job from an empty folder to a checked model, with pictures to look at.

Runs the commands that a user would type, in a temporary folder that is kept, and prints each before its output. It ends
with the time that each took and where the pictures are. Everything is real: the embedded base is trained further on two
folders of pictures that it never saw.

`--folder DIR` works there instead; `--readme FILE` also writes the picture of the README.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
CONCEPTS = ROOT / "examples" / "concepts"
TOGETHER = "a <rex> dog and a <pip> penguin on the beach"
STEPS = (
    ("A registry is made on the embedded base, and the model learns a dog.", "cns add rex pictures/dog"),
    ("It learns a penguin, too; prompts of the dog do not see what that changes.", "cns add pip pictures/penguin"),
    ("Each alone.", 'cns generate "a <rex> dog on the grass" -n 4 -o rex.png'),
    ("", 'cns generate "a <pip> penguin in the snow" -n 4 -o pip.png'),
    ("Both in one picture: the prompt names them, nothing is fused.", f'cns generate "{TOGETHER}" -n 8 -o both.png'),
    ("The history.", "cns log"),
    ("Back in it: before the penguin.", "cns checkout HEAD~1"),
    ("", "cns status"),
    ("And forward again.", "cns checkout main"),
    ("Is the dog still the dog? Exit code 0 says that nothing was forgotten.", "cns check"),
    ("A plain diffusers folder with both, for everybody else.", "cns export --concept rex --concept pip exported"),
)
Timing = tuple[str, float, int]


def main() -> int:
    """Run the steps, then say where the pictures are; return the first exit code that is not 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="work here instead of in a temporary folder; must be empty")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="also write the README's picture")
    options = parser.parse_args()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="cns-demo-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("dog", "penguin"):
        shutil.copytree(CONCEPTS / name, folder / "pictures" / name)

    timings = [_run(said, line, folder) for said, line in STEPS]
    if options.readme:
        picture(folder, options.readme)
    picture(folder, folder / "everything.png")
    print("\nseconds  command")
    for line, elapsed_s, _ in timings:
        print(f"{elapsed_s:7.1f}  {line}")
    print(f"{sum(elapsed_s for _, elapsed_s, _ in timings):7.1f}  in all\n\nThe pictures are in {folder}")
    for path in sorted(folder.glob("*.png")):
        print(f"  {path.name}")
    return next((code for _, _, code in timings if code), 0)


def picture(folder: Path, destination: Path) -> None:
    """Write one sheet: two reference pictures of each concept, each concept alone, both together."""
    from PIL import Image

    rows = [
        [*sorted(folder.glob("pictures/dog/*.png"))[:2], *sorted(folder.glob("rex*.png"))[:4]],
        [*sorted(folder.glob("pictures/penguin/*.png"))[:2], *sorted(folder.glob("pip*.png"))[:4]],
        sorted(folder.glob("both*.png"))[:6],
    ]
    side, gap, wide = 128, 6, 24  # pixels; the wide gap parts what was shown from what was made
    width = 6 * side + 5 * gap + wide - gap
    sheet = Image.new("RGB", (width, len(rows) * (side + gap) - gap), "white")
    for y, row in enumerate(rows):
        for x, path in enumerate(row):
            left = x * (side + gap) + (wide - gap if x >= 2 and y < 2 else 0)
            with Image.open(path) as image:
                sheet.paste(
                    image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS), (left, y * (side + gap))
                )
    destination.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(destination, optimize=True)


def _run(said: str, line: str, folder: Path) -> Timing:
    """Print and run one command as a user would see it."""
    print(f"\n# {said}\n$ {line}" if said else f"\n$ {line}", flush=True)
    started = time.perf_counter()
    command = [sys.executable, "-m", "cns_cli", *shlex.split(line)[1:]]
    code = subprocess.run(command, cwd=folder, env={**os.environ, "HF_HUB_OFFLINE": "1"}, check=False).returncode
    if code:
        print(f"(exit code {code})")
    return line, time.perf_counter() - started, code


if __name__ == "__main__":
    sys.exit(main())
