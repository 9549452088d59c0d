"""R14: every command under an audit hook: no pickle, no socket, no process, no write but where it was asked for.

All commands run on a tiny random pipeline, in one process (torch is imported once), as `audited.py` says. Around it lie
a home folder, a working folder with modules whose names libraries import (`torch.py`), and a base folder: what is in
them must be the same afterwards, which also sees what native code writes.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.torture.table import Size, Trial

ROOT = Path(__file__).resolve().parents[2]
FOREIGN_MODULES = (
    "torch",
    "mlflow",
    "sitecustomize",
    "usercustomize",
    "cns",
    "registry",
    "numpy",
    "PIL",
    "_sqlite3",
    "antigravity",
)

# One line for each thing that a command does; "BASE" and "OUT" are folders. Those that start a program by a user's wish
# (`cns bisect run PROGRAM`, `cns ui` once something is recorded) are not here.
LIGHT = (
    ("--version",),
    ("--help",),
    ("init", "--base", "BASE", "--compose", "all"),
    ("log",),
    ("log", "--json"),
    ("log", "--graph", "--oneline", "HEAD~1..main"),
    ("diff", "HEAD~1"),
    ("status",),
    ("show",),
    ("branch", "dev"),
    ("branch",),
    ("tag", "v1"),
    ("tag",),
    ("checkout", "dev"),
    ("checkout", "main"),
    ("switch", "-"),
    ("reset", "main"),
    ("undo",),
    ("reflog",),
    ("promote",),
    ("ui",),
    ("fsck",),
    ("gc", "--dry-run"),
    ("gc",),
    ("doctor",),
    ("schema",),
    ("schema", "add"),
    ("completion", "bash"),
    ("mv", "nobody", "somebody"),
    ("config",),
    ("config", "user.name", "ann"),
    ("config", "--unset", "user.name"),
    ("rm", "nobody"),
    ("log", "nowhere"),
    ("add", "rex", "nowhere"),
)
HEAVY = (
    ("promote", "champion"),
    ("add", "rex", "photos/rex", "--class", "dog", "--steps", "2"),
    ("add", "tom", "photos/tom", "--class", "cat", "--steps", "2"),
    ("add", "mug", "photos/tom", "--class", "cup", "--dry-run"),
    ("show", "--preview", "OUT/sheet.png"),
    ("diff", "HEAD~1", "--images", "-n", "1", "-o", "OUT/both.png"),
    ("blame", "rex", "--matrices"),
    ("log",),
    ("status",),
    ("generate", "a <rex> dog", "-n", "1", "--steps", "2", "-o", "OUT/a.png"),
    ("check", "--fast", "--max-drop", "drift=1"),
    ("check", "--images", "1", "--junit", "OUT/check.xml", "--markdown", "OUT/check.md"),
    ("report", "-o", "OUT/report.html"),
    ("report", "--no-images", "-o", "OUT/bare.html"),
    ("bisect", "start", "HEAD", "HEAD~2"),
    ("bisect", "log"),
    ("bisect", "skip"),
    ("bisect", "reset"),
    ("export", "--format", "diffusers", "OUT/pipeline"),
    ("verify", "main"),
    ("checkout", "-b", "side", "HEAD~1"),
    ("merge", "main", "--dry-run"),
    ("cherry-pick", "main"),
    ("revert", "HEAD"),
    ("merge", "main", "--no-ff"),
    ("switch", "main"),
    ("remote", "add", "origin", "OUT/shared"),
    ("push", "origin", "main"),
    ("fetch",),
    ("pull",),
    ("clone", "OUT/shared", "OUT/colleague"),
    ("bundle", "create", "OUT/all.bundle"),
    ("bundle", "verify", "OUT/all.bundle"),
    ("export", "--format", "delta", "--concept", "tom", "OUT/delta"),
    ("rm", "tom"),
    ("import", "OUT/delta/tom.safetensors", "tom"),
    ("rm", "tom"),
    ("purge", "tom", "--yes"),
    ("mv", "rex", "bello"),
    ("erase", "dog", "--images", "0"),
    ("mlflow", "sync"),
    ("mlflow", "restore"),
    ("fsck", "--read-data"),
    ("fsck", "--rebuild"),
    ("gc", "--prune", "now"),
    ("doctor",),
)


def verbs() -> set[str]:
    """The commands that there are."""
    from cns_cli.main import VERBS

    return set(VERBS)


def plan_of(size: Size) -> list[tuple[str, ...]]:
    lines = [
        line for line in (LIGHT if size == "quick" else LIGHT + HEAVY) if line[0].startswith("-") or line[0] in verbs()
    ]
    return [line for line in lines if size == "full" or line[0] != "init"]


def contents(folder: Path) -> dict[str, str]:
    """{name: digest} of every file, and every folder, below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "a folder"
        for path in sorted(folder.rglob("*"))
    }


def audited(commands: list[tuple[str, ...]], scratch: Path, base: Path) -> dict[str, Any]:
    """Run command lines and return what was found.

    Args:
        commands: With "BASE" and "OUT" for folders.
        scratch: An empty folder; a registry may lie in its `work` already.
        base: The base model's folder.
    """
    work, home, out, temporary = (scratch / name for name in ("work", "home", "out", "tmp"))
    for folder in (work, home, out, temporary):
        folder.mkdir(exist_ok=True)
    for name in FOREIGN_MODULES:
        (work / f"{name}.py").write_text("raise SystemExit('a module of the current folder was imported')\n")
    (work / "report.html").touch()
    constraints = {str(place): contents(place) for place in (home, base)}
    before = {name: digest for name, digest in contents(work).items() if not name.startswith(".cns")}
    words = [[word.replace("BASE", str(base)).replace("OUT", str(out)) for word in line] for line in commands]
    plan = {"folder": str(work), "allowed": [str(work / ".cns"), str(out), str(temporary)], "commands": words}
    (scratch / "plan.json").write_text(json.dumps(plan))
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LD_LIBRARY_PATH")}
    environment = {
        **kept,
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CNS_AUTHOR": "ann",
        "PYTHONDONTWRITEBYTECODE": "1",  # Python's own cache, beside the modules that are installed
    }
    program = [
        sys.executable,
        str(Path(__file__).with_name("audited.py")),
        str(scratch / "plan.json"),
        str(scratch / "found.json"),
    ]
    done = subprocess.run(program, cwd=work, env=environment, capture_output=True, text=True, check=False)
    if not (scratch / "found.json").exists() or not (scratch / "found.json").read_text():
        raise RuntimeError(f"the audited program ended by {done.returncode}: {done.stderr[-2000:]}")
    report: dict[str, Any] = json.loads((scratch / "found.json").read_text())
    report["output"] = (done.stdout, done.stderr)
    after = {name: digest for name, digest in contents(work).items() if not name.startswith(".cns")}
    report["changed"] = [f"work/{name}" for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    for place, was in constraints.items():
        now = contents(Path(place))
        report["changed"] += [f"{place}/{name}" for name in was.keys() | now.keys() if was.get(name) != now.get(name)]
    return report


def write_photos(folder: Path, seed: int) -> None:
    """Three small pictures."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (80, 80, 3), np.uint8)).save(folder / f"{number}.png")


def wrongs(report: dict[str, Any]) -> list[str]:
    """Everything that must not be, as lines."""
    lines = [f"{found['event']} {found['what']} by {found['command']} ({found['from']})" for found in report["found"]]
    lines += [f"changed: {name}" for name in report["changed"]]
    lines += [f"imported from the current folder: {name}" for name in report["strangers"]]
    lines += [f"a bug: {ended['command']}" for ended in report["ended"] if ended["code"] == 1]
    return lines


def run(size: Size) -> list[Trial]:
    """Run the commands under audit; quick leaves out those that load torch."""
    from tests.registry.making import add, new_repository
    from tests.tiny import tiny_sd

    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cns-audit-") as name:
        scratch = Path(name)
        base = scratch / "base"
        base.mkdir()
        if size == "full":
            tiny_sd(base)
            for seed, concept in enumerate(("rex", "tom")):
                write_photos(scratch / "work" / "photos" / concept, seed)
        else:
            add(new_repository(scratch / "work"), "rex")
        commands = plan_of(size)
        report = audited(commands, scratch, base)
    wrong = wrongs(report)
    missing = sorted(verbs() - {line[0] for line in commands})
    note = "; ".join(([f"not run: {', '.join(missing)}"] if missing else []) + wrong[:5])
    return [Trial("R14", "commands under an audit hook", len(commands), 0, len(wrong), note, time.monotonic() - began)]
