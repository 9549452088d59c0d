#!/usr/bin/env bash
# mlflow 3.17.2 (Python 3.11, SQLite): a client keeps where a run's files are by the run's id alone, for the whole process and
# not for its store. Of a store and a copy of it, whose paths were moved as people move a store, the ids are the same; whoever
# has written files of the one writes those of the other into the first one's folder, too, where a listing, which looks at
# the right one, does not find them. Metrics go where they should, nothing is said, and the next process writes rightly.
#
# Output seen:
#   same process: second.txt in the original's folder, 1 file listed of the copy; score in the copy
#   next process: third.txt in the copy's folder
#
# What helps: one process for each store.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "mlflow==3.17.2" 2>/dev/null
cat >"$work/copy_of_a_store.py" <<'PYTHON'
import shutil
import sqlite3
import sys
from pathlib import Path

from mlflow import MlflowClient

work = Path(sys.argv[1])
original, copy = work / "original", work / "copy"


def client_of(store):
    return MlflowClient(f"sqlite:///{store}/mlflow.db")


def holder(name):
    return " and ".join(store.name for store in (original, copy) if [*store.rglob(name)])


if sys.argv[2] == "same":
    original.mkdir()
    client = client_of(original)
    run = client.create_run(client.create_experiment("dogs", (original / "files").as_uri())).info.run_id
    client.log_text(run, "a", "first.txt")
    shutil.copytree(original, copy)
    with sqlite3.connect(copy / "mlflow.db") as database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            database.execute(f"UPDATE {table} SET {column} = replace({column}, '/original/', '/copy/')")
    (work / "run").write_text(run)
    client_of(copy).log_text(run, "b", "second.txt")
    client_of(copy).log_metric(run, "score", 1.0)
    listed = len(client_of(copy).list_artifacts(run))
    scored = [store.name for store in (original, copy) if client_of(store).get_run(run).data.metrics]
    print(
        f"same process: second.txt in the {holder('second.txt')}'s folder, {listed} file listed of the copy; "
        f"score in the {' and '.join(scored)}"
    )
else:
    client_of(copy).log_text((work / "run").read_text(), "c", "third.txt")
    print(f"next process: third.txt in the {holder('third.txt')}'s folder")
PYTHON
export MLFLOW_DISABLE_TELEMETRY=true
for process in same next; do
  "$work/env/bin/python" "$work/copy_of_a_store.py" "$work" "$process" 2>>"$work/log"
done | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
same process: second.txt in the original's folder, 1 file listed of the copy; score in the copy
next process: third.txt in the copy's folder
SEEN
