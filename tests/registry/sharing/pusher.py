"""One of several who push to one branch at once, as a process of its own.

    python -m tests.registry.sharing.pusher FOLDER ADDRESS NAME COUNT

It commits a concept and pushes it, COUNT times; where another was first it fetches, merges and pushes again. It waits
for a line on stdin before it begins, and writes a line for each push that was acknowledged.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from registry.repository import Repository
from registry.sharing.opening import open_remote
from registry.sharing.outgoing import PushRefused
from tests.registry.making import add
from tests.registry.sharing.making import fetch, join, push


def main(folder: str, address: str, name: str, count: str) -> None:
    os.fsync = lambda handle: None
    repository, remote = Repository(Path(folder)), open_remote(address)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for number in range(int(count)):
        mine = add(repository, f"{name}{number}").id
        while True:
            try:
                push(repository, remote, "main")
                break
            except PushRefused:
                fetch(repository, remote)
                join(repository)
        sys.stdout.write(f"{mine}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
