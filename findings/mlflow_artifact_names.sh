#!/bin/bash
# MLflow 3.17.2 (Python 3.11, Debian 12), `mlflow server` with its artifact proxy: the name of a file is put into the URL
# as it is, so that what follows a '#' or a '?' never reaches the server. Two files whose names differ there are written
# over one another, and both uploads succeed.
# Seen: `log_artifact` of 'a#b' and of 'a?b' raises nothing; the run then lists one file, 'a', with the bytes of the last.
# Expected: two files under their own names, or an error.
# Exits 0 while that is so, 1 when it has changed, 2 where it could not be tried.
set -u
W=$(mktemp -d); trap 'kill -- -${SERVER:-0} 2>/dev/null; rm -rf "$W"' EXIT
python3 -m venv "$W/venv" && "$W/venv/bin/pip" install -q "mlflow==3.17.2" || exit 2
export MLFLOW_DISABLE_TELEMETRY=true PATH="$W/venv/bin:$PATH"
cd "$W" || exit 2
PORT=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
setsid mlflow server --host 127.0.0.1 --port "$PORT" --workers 1 --backend-store-uri "sqlite:///$W/m.db" \
    --artifacts-destination "$W/artifacts" >"$W/log" 2>&1 &
SERVER=$!
for _ in $(seq 240); do curl -sf "http://127.0.0.1:$PORT/health" >/dev/null && break; sleep 0.5; done
python - "http://127.0.0.1:$PORT" <<'P'
import sys, tempfile
from pathlib import Path
import mlflow
client = mlflow.MlflowClient(sys.argv[1])
run = client.create_run(client.create_experiment("names")).info.run_id
folder = Path(tempfile.mkdtemp())
for name in ("a#b", "a?b"):
    (folder / name).write_text(f"the content of {name}")
    client.log_artifact(run, str(folder / name))
listed = [file.path for file in client.list_artifacts(run)]
content = Path(client.download_artifacts(run, "a")).read_text() if "a" in listed else ""
print("mlflow", mlflow.__version__, "lists", listed, "and 'a' holds:", content)
sys.exit(0 if listed == ["a"] and content == "the content of a?b" else 1)
P
