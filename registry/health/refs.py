"""The part of `fsck` that reads names: refs, HEAD and the reflogs.

A ref is checked by its checksum, by what it names, and by its reflog, which must end where the ref is: so the loss of
whole lines at the end of a log is seen too.
"""

from __future__ import annotations

from pathlib import Path

from registry.errors import BadName, DiskFailed, RegistryError
from registry.health.scan import REBUILD, RESTORE, Scan
from registry.names import name_of_file
from registry.refs import EVALUATIONS, NAMESPACES

TRIES = 5  # a log and its ref are two files: between two looks at them a commit may come


def references(scan: Scan) -> None:
    """Check every ref and HEAD: its checksum, and that it names an object of the right kind."""
    for namespace in NAMESPACES:
        for path in scan.files(scan.folder / namespace):
            rest = name_of_file(path.name)
            if rest is None or path.parent != scan.folder / namespace:
                scan.report.add("info", "stray", "no ref's file", scan.name(path))
            else:
                _reference(scan, namespace + rest, path)
    _head(scan)


def reflogs(scan: Scan) -> None:
    """Check every line of the reflogs, that each log ends where its ref is, and that what it names is there."""
    for _ in scan.files(scan.folder / "logs"):
        pass  # temporaries are found on the way
    for ref in scan.logs.names():
        try:
            _reflog(scan, ref)
        except DiskFailed as error:
            scan.unreadable(scan.logs.path(ref), error)


def _reference(scan: Scan, name: str, path: Path) -> None:
    scan.values[name] = None
    try:
        value = scan.refs.get(name)
    except BadName:
        scan.report.add("info", "stray", "no ref's file: its name is not allowed", scan.name(path))
        return
    except RegistryError as error:
        code = "unreadable" if isinstance(error, DiskFailed) else "ref-corrupt"
        scan.report.add("error", code, error.message, scan.name(path), scan.ref_fix(name))
        return
    if value is None:  # it went while we read
        return
    scan.report.refs += 1
    scan.values[name] = value
    scan.graph.refs[name] = value
    scan.hold(name, value, "evaluation" if name.startswith(EVALUATIONS) else "commit", scan.name(path))
    if name.startswith(EVALUATIONS) and not name.endswith(f"/{value}"):
        what = f"{name} names {value[:10]}: expected the id at the end of its own name"
        scan.report.add("error", "ref-corrupt", what, scan.name(path), RESTORE)


def _head(scan: Scan) -> None:
    scan.values["HEAD"] = None
    try:
        branch, commit = scan.refs.head()
    except RegistryError as error:
        missing = not (scan.folder / "HEAD").exists()
        code = "unreadable" if isinstance(error, DiskFailed) else "head-missing" if missing else "head-corrupt"
        what = "HEAD is missing: expected a file that names a branch or a commit" if missing else error.message
        scan.report.add("error", code, what, "HEAD", scan.ref_fix("HEAD"))
        return
    if branch is None:
        scan.values["HEAD"] = commit
        scan.hold("HEAD", commit or "", "commit", "HEAD")
    elif branch in scan.values:
        scan.values["HEAD"] = scan.values[branch]
    else:
        what = f"HEAD is on {branch}, which does not exist: expected a branch that does"
        scan.report.add("error", "head-dangling", what, "HEAD", scan.ref_fix(branch))
    held = scan.values["HEAD"]
    if held is not None:
        scan.graph.refs["HEAD"] = held


def _reflog(scan: Scan, ref: str) -> None:
    path = scan.name(scan.logs.path(ref))
    damaged, current = scan.logs.damaged(ref), scan.values.get(ref)
    effective = scan.logs.read(ref, current)
    scan.report.reflog_entries += len(scan.logs.entries(ref))
    if scan.logs.torn(ref):
        what = f"the last line of the reflog of {ref} was not written to its end; that move was never acknowledged"
        scan.report.add("warning", "reflog-torn", what, path, "nothing: the next move drops it")
        damaged = damaged[:-1]
    if damaged:
        lines = ", ".join(map(str, damaged[:10])) + (", …" if len(damaged) > 10 else "")
        what = f"the reflog of {ref} does not match its checksums in line {lines}: those moves cannot be read"
        scan.report.add("error", "reflog-damaged", what, path, REBUILD)
    if current is not None and (newest := _settled(scan, ref, current)) is not None:
        what = f"the reflog of {ref} ends at {newest[:10]}, but {ref} is at {current[:10]}: its newest moves are gone"
        scan.report.add("error", "reflog-behind", what, path, REBUILD)
    kind = "evaluation" if ref.startswith(EVALUATIONS) else "commit"
    for number, move in enumerate(effective):
        if move.new is not None:
            scan.hold(f"{ref}@{{{number}}}", move.new, kind, path)


def _settled(scan: Scan, ref: str, current: str) -> str | None:
    """Return None where a ref is where its reflog ends; else where the log ends. Moves that come meanwhile are met."""
    for _ in range(TRIES):
        moves = scan.logs.read(ref, current)
        newest = (moves[0].new if moves else None) or "nothing"
        if newest == current:
            return None
        try:
            branch, commit = (ref, None) if ref != "HEAD" else scan.refs.head()
            current = (scan.refs.get(branch) if branch else commit) or current
        except RegistryError:
            break
    return newest
