"""Reading a whole registry and saying what is damaged, where, what needs it and what to do.

Every object is hashed, every reference followed, every checksum of a ref, of HEAD and of a reflog verified, and the two
databases looked at. It works on a folder, not on a `Repository`, because the file that a repository opens with may be
the damaged one. It takes no lock and changes nothing: `registry.health.repair` does. What a blob's bytes mean is
checked by whoever knows tensors, with the graph that is returned.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from registry import bisect_state, config, fsio, layout, trust
from registry.errors import BadConfig, DiskFailed, RegistryError, UnknownFormat
from registry.health.databases import databases
from registry.health.findings import Finding, Findings, Graph, Reach
from registry.health.reachability import in_progress
from registry.health.refs import references, reflogs
from registry.health.scan import IN_TIME, REBUILD, Scan
from registry.names import is_id
from registry.objects import Need
from registry.pending import Pending

_NEWER = re.compile(rb"cns registry ([1-9][0-9]{0,5})\n")


def fsck(folder: Path) -> tuple[Findings, Graph]:
    """Check the registry in a `.cns` folder (the folder itself), and return what was seen and what needs what.

    Raises:
        UnknownFormat: a newer version made the registry; it is left as it is.
        Untrusted: it may lead out of its own folder; see `registry.trust`.
    """
    trust.check(folder)
    scan = Scan(folder)
    check_format(scan)
    _objects(scan)
    references(scan)
    reflogs(scan)
    _links(scan)
    _settings(scan)
    databases(scan)
    return scan.report, scan.graph


def check_format(scan: Scan) -> None:
    """Check the line that says which version made the registry; raises UnknownFormat for a newer one."""
    line = f"{layout.FORMAT_LINE}{layout.FORMAT}\n".encode()
    try:
        found = fsio.read(scan.folder / "format")
    except DiskFailed as error:
        scan.unreadable(scan.folder / "format", error)
        return
    newer = _NEWER.fullmatch(found or b"")
    if newer and int(newer.group(1)) > layout.FORMAT:
        raise UnknownFormat(f"the registry in '{scan.folder}'", newer.group(1).decode(), layout.FORMAT)
    if found != line:
        state = "is missing" if found is None else f"holds {found[:40]!r}"
        scan.report.add("error", "format-damaged", f"the file format {state}: expected {line!r}", "format", REBUILD)


def _objects(scan: Scan) -> None:
    """Read every object and compare it with its id."""
    place = scan.folder / "objects"
    for path in scan.files(place):
        inside = path.relative_to(place).parts
        if len(inside) == 2 and is_id("".join(inside)):
            scan.object("".join(inside))
        else:
            scan.report.add("info", "stray", "no object's file: expected objects/ab/cdef…", scan.name(path))


def _links(scan: Scan) -> None:
    """Follow what every object needs; what nothing needs is told as information."""
    graph = scan.graph
    _in_progress(scan)
    alive = graph.reachable(scan.roots)
    while [late for late in alive - graph.kinds.keys() - graph.bad if scan.object(late)]:
        alive = graph.reachable(scan.roots)  # a commit came while we read
    told: set[str] = set()
    for holder in sorted(alive & graph.needs.keys()):
        for need in graph.needs[holder]:
            found = graph.kinds.get(need.object_id)
            if found not in need.kinds and need.object_id not in told and need.object_id not in graph.bad:
                told.add(need.object_id)
                _missing(scan, need, found)
    needed = {need.object_id for some in graph.needs.values() for need in some}
    for loose in sorted(graph.kinds.keys() - alive - needed):
        whole = all(need.object_id in graph.kinds for need in graph.needs.get(loose, ()))
        what = f"nothing needs this {graph.kinds[loose]}" + ("" if whole else ", and something that it needs is gone")
        place = f"objects/{loose[:2]}/{loose[2:]}"
        scan.report.add("info", "dangling", what, place, IN_TIME, loose, graph.kinds[loose])
    lost = {finding.object_id for finding in scan.report.findings if finding.code == "object-missing"}
    scan.report.findings = [
        _explained(scan, finding, alive)
        for finding in scan.report.findings
        if finding.code != "reflog-dangling" or finding.object_id not in lost
    ]


def _missing(scan: Scan, need: Need, found: str | None) -> None:
    code = "object-missing" if found is None else "object-wrong-kind"
    what = "is not in the store" if found is None else f"is a {found}: expected a {need.kinds[0]}"
    path = f"objects/{need.object_id[:2]}/{need.object_id[2:]}"
    scan.report.add("error", code, what, path, "", need.object_id, need.kinds[0])


def _explained(scan: Scan, finding: Finding, alive: set[str]) -> Finding:
    """Complete a finding about an object with what it reaches and what to do, now that everything was read."""
    wanted = finding.object_id
    if not wanted or finding.level != "error":
        return finding
    kind = finding.kind or scan.graph.expected_kind(wanted)
    what = finding.what
    if finding.code.startswith("object"):
        role = scan.graph.role(wanted)
        what = f"{kind or 'object'} {wanted[:10]}{f', {role},' if role else ''} {what}"
    fix = finding.fix or (scan.object_fix(wanted) if wanted in alive else "cns gc --prune now")
    reach = scan.graph.reach(wanted) if wanted in alive else Reach()
    return replace(finding, what=what, fix=fix, kind=kind, reach=reach)


def _in_progress(scan: Scan) -> None:
    """Note what a bisection or an interrupted add still names, and say where such a state is damaged."""
    try:
        found = in_progress(scan.folder)
        for state in Pending(scan.folder).all():
            if state.damage:
                what = f"the state of an interrupted add of '{state.name}' {state.damage}; no commit hangs on it"
                scan.report.add("warning", "state-damaged", what, scan.name(state.path), f"remove {state.path}")
        bisect_state.load(scan.folder)
    except DiskFailed as error:
        scan.unreadable(error.path, error)
        return
    except RegistryError as error:
        scan.report.add("error", "state-damaged", error.message, bisect_state.FILE, error.hint)
    for path, ids in found.items():
        scan.roots |= {known for known in ids if known in scan.graph.kinds}
        what = f"the state of something in progress; it names {len(ids)} ids"
        scan.report.add("info", "in-progress", what, scan.name(path))


def _settings(scan: Scan) -> None:
    """Check that config.toml can be read, which has no checksum, and that no folder stands in the place of a file."""
    for name in ("lock", "index.db", "mlflow.db", "logs/HEAD"):
        if (scan.folder / name).is_dir():
            scan.report.add("error", "unreadable", f"{name} is a folder: expected a file", name, "remove it")
    try:
        config.load(scan.folder / "config.toml")
    except (BadConfig, DiskFailed) as error:
        scan.report.add("error", "config-damaged", error.message, "config.toml", error.hint)
