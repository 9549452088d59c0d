"""R7 under atheris: inputs that reach code which none before them reached.

    python -m tests.torture.coverage_guided TARGET RUNS SEED

Our packages are instrumented as they are imported, so that this must be a process of its own. It prints the figures of
`fuzz.run_target` as a line of JSON and ends at once: libFuzzer never returns.
"""

from __future__ import annotations

import json
import os
import shutil
import sys

import atheris

with atheris.instrument_imports(include=["registry", "cns", "cns_cli"]):
    from tests.torture import fuzz
    from tests.torture.fuzz_targets import TARGETS, scratch


def main(name: str, runs: int, seed: int) -> None:
    """Fuzz one target until so many inputs were tried."""
    target = TARGETS[name]
    with atheris.instrument_imports(include=["registry", "cns", "cns_cli"]):  # what the target imports only now
        seeds = target.seeds()
        fuzz.attempt(target, seeds[0])
    corpus = scratch() / "corpus"
    corpus.mkdir()
    for number, data in enumerate(seeds):
        (corpus / str(number)).write_bytes(data)
    tally = fuzz.Tally(target)
    for data in target.crafted():
        tally.one(data)

    def test(data: bytes) -> None:
        tally.one(data)
        tally.one(target.repaired(data))
        if tally.tried >= runs:
            print(json.dumps(tally.figures()), flush=True)
            shutil.rmtree(scratch(), ignore_errors=True)
            os._exit(0)

    options = [f"-max_len={fuzz.LONGEST}", f"-seed={seed + 1}", "-verbosity=0", "-rss_limit_mb=4096", "-timeout=60"]
    atheris.Setup(["fuzz", str(corpus), *options], test)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
