"""`python -m benchmarks [NAME …] [--quick]`: run benchmarks, print their tables, keep their JSON."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cells import Cells
from benchmarks.report import FOLDER, Report
from cns_cli.optionfield import part

# Name -> module with `run(quick) -> Report`, in this order: the summary quotes the others and so comes last.
BENCHMARKS = {
    "startup": "startup",
    "registry": "registry_bench",
    "cost": "cost",
    "shapes": "shapes",
    "step": "step",
    "generate": "generate_bench",
    "learning": "learning",
    "check": "check_time",
    "older": "older",
    "batch": "batch",
    "regions": "regions",
    "left_out": "left_out",
    "shuffled": "shuffled",
    "gate_noise": "gate_noise",
    "gate_fast": "gate_fast",
    "sweep": "sweep",
    "presets": "presets",
    "merge": "merging",
    "erase": "erase",
    "scale": "scale",
    "summary": "summary",
}
ON_REQUEST = (
    "step",
    "older",
    "batch",
    "gate_noise",
    "gate_fast",
    "sweep",
    "presets",
    "merge",
    "erase",
)  # minutes to hours
# Parts of the paper's tables, of `benchmarks/paper.py`: on request, hours, in several processes if asked.
PAPER = ("paper", "figure3", "tuning", "frontier", "twenty", "choosing", "singles", "stream", "multi")


def main() -> None:
    """Run the named benchmarks, or all that do not wait to be asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    known = ", ".join([*BENCHMARKS, *PAPER])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {known}; all but the long ones by default")
    parser.add_argument("--quick", action="store_true", help="small sizes, only to see that it runs; nothing is kept")
    parser.add_argument("--minutes", type=float, help="begin no cell of the paper's tables after that")
    parser.add_argument("--jobs", type=int, default=1, help="processes for the paper's tables, one thread each")
    parser.add_argument("--shard", type=part, default=(1, 1), metavar="I/N", help="compute this part of their cells")
    parser.add_argument("--join", type=Path, metavar="FOLDER", help="take the cells of another machine's folder first")
    parser.add_argument("--tables", action="store_true", help="only make the paper's tables, of the cells that exist")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in BENCHMARKS and name not in PAPER]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {known}")
    for path in sorted(options.join.glob("*_cells.json")) if options.join else ():
        Cells(FOLDER / path.name).join(path)
    for name in options.names or [name for name in BENCHMARKS if name not in ON_REQUEST]:
        for report in _reports(name, options):
            report.show()
            if not options.quick:
                print(f"  kept in {report.save()}")


def _reports(name: str, options: argparse.Namespace) -> Sequence[Report]:
    """Run one benchmark. Imported one at a time: timings of the registry should not share a process with torch."""
    if name not in PAPER:
        return [importlib.import_module(f"benchmarks.{BENCHMARKS[name]}").run(options.quick)]
    from benchmarks.experiment_setup import FULL
    from benchmarks.paper import Paper
    from benchmarks.paper_run import run_part
    from benchmarks.paper_tables import reports

    if options.tables:
        return reports(Paper.of_size(FULL), name)
    done = run_part(name, quick=options.quick, minutes=options.minutes, jobs=options.jobs, shard=options.shard)
    return [] if options.worker else reports(done, name)


if __name__ == "__main__":
    main()
