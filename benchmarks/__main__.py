"""`python -m benchmarks [NAME …] [--quick]`: run benchmarks, print their tables, keep their JSON."""

from __future__ import annotations

import argparse
import importlib

from benchmarks.report import Report

# Name -> module with `run(quick) -> Report`, in this order: the summary quotes the others and so comes last.
BENCHMARKS = {
    "startup": "startup",
    "registry": "registry_bench",
    "generate": "generate_bench",
    "learning": "learning",
    "check": "check_time",
    "gate_noise": "gate_noise",
    "gate_fast": "gate_fast",
    "sweep": "sweep",
    "summary": "summary",
}
ON_REQUEST = ("gate_noise", "gate_fast", "sweep")  # half an hour to hours


def main() -> None:
    """Run the named benchmarks, or all that do not wait to be asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    known = ", ".join(BENCHMARKS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {known}; all but the long ones by default")
    parser.add_argument("--quick", action="store_true", help="small sizes, only to see that it runs; nothing is kept")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {known}")
    for name in options.names or [name for name in BENCHMARKS if name not in ON_REQUEST]:
        # Imported one at a time: timings of the registry should not share a process with torch.
        report: Report = importlib.import_module(f"benchmarks.{BENCHMARKS[name]}").run(options.quick)
        report.show()
        if not options.quick:
            print(f"  kept in {report.save()}")


if __name__ == "__main__":
    main()
