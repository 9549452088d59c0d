"""Makes `format-1-tiny.tar`: a registry as format 1 has it, which every later version must be able to read.

    python -m tests.golden.make_tiny FILE

It holds an object of every kind and refs of every namespace, without any model, and all its times are fixed, so that
its ids are too. It was made once, by the version that released the format, and is not made again when code changes: a
new format gets a new file beside it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from registry.refs import LOST, REMOTES
from registry.repository import Repository
from registry.trees import without_concept
from tests.golden import pack
from tests.registry.making import AUTHOR, add, evaluation, new_repository

TIME = 1_700_000_000


def make(folder: Path) -> Repository:
    """Make the registry in a folder: three concepts, a removal, a branch, a tag, scores, and refs to what was lost."""
    repository = new_repository(folder)
    first = add(repository, "rex").id
    repository.add_evaluation(evaluation(repository, "rex"))
    repository.create_tag("v1.0", author=AUTHOR, time=TIME + 100)
    add(repository, "tom")
    repository.create_branch("Dev/pip", author=AUTHOR, time=TIME + 200)
    repository.checkout("Dev/pip", author=AUTHOR, time=TIME + 300)
    side = add(repository, "pip").id
    repository.checkout("main", author=AUTHOR, time=TIME + 400)
    repository.commit(
        kind="remove",
        message="remove rex\n\nwith a body, and ü",
        author=AUTHOR,
        time=TIME + 500,
        record=None,
        change=lambda tree: without_concept(tree, "rex"),
        seen=repository.head().commit,
        keep_as="rex",
    )
    for name, commit in ((f"{LOST}pip", side), (f"{REMOTES}team/main", first)):
        repository.move_ref(name, None, commit, author=AUTHOR, time=TIME + 600, message="kept")
    return repository


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        pack(make(Path(scratch)).folder, Path(sys.argv[1]))
