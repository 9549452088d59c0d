"""Inside a mount namespace: run an operation on a file system that is full but for some pages, for real.

    python -m tests.torture.tmpfs OPERATION SCRATCH FREE_PAGES...

SCRATCH/mount is a small tmpfs. Prints the tally as JSON.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import sys
from pathlib import Path

from registry.errors import DiskFailed, RegistryError
from tests.torture import operations
from tests.torture.fulldisk import again
from tests.torture.sigkill import RegistryUnderTest, Tally
from tests.torture.verify import Broken

PAGE = os.sysconf("SC_PAGE_SIZE")


def main(operation: str, scratch: Path, pages: list[int]) -> None:
    """Try each number of free pages."""
    tested, tally = RegistryUnderTest(scratch, operation), Tally()
    tested.folder = scratch / "mount" / "dogs"
    ballast = scratch / "mount" / "ballast"
    states = tested.states()
    for free in pages:
        ballast.unlink(missing_ok=True)
        tested.fresh()
        fill_up(ballast, free)
        done, failed = 0, None
        try:
            for _ in operations.OPERATIONS[operation](tested.folder):
                done += 1
        except DiskFailed as failure:
            failed = failure
        tally.tried += 1
        try:
            if failed is None and done != len(states) - 1:
                raise Broken("it says nothing and did not do it")
            if failed is not None:
                tally.refused += 1
                if failed.errno != errno.ENOSPC or "free some space" not in failed.hint:
                    raise Broken(f"the message is not clear: {failed.message} {failed.hint}")
            found = tested.state()
            if found not in states[done : done + 2]:
                raise Broken("neither as before nor as after")
            ballast.unlink()
            if len(states) > 2:
                list(operations.commit_last(tested.folder))
            elif failed is not None:
                again(tested, was_done=found == states[-1])
            if len(states) == 2 and states[-1] not in (found, tested.state()):
                raise Broken("with space again, it did not come to the same end")
        except (RegistryError, Broken, OSError) as error:
            tally.corrupt.append(f"{operation}, {free} pages free: {error}")
    print(json.dumps(dataclasses.asdict(tally)))


def fill_up(ballast: Path, free: int) -> None:
    """Fill the file system, but for some pages."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * PAGE)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        file.truncate(max(0, file.tell() - free * PAGE))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), [int(word) for word in sys.argv[3:]])
