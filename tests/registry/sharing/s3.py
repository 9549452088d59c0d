"""An S3 store in a process of its own: moto's server on a free port of this machine."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """Yield the variables by which AWS's libraries find the store, and any key opens it."""
    command = [sys.executable, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{_port(server)}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        server.kill()
        server.wait()
        assert server.stderr is not None
        server.stderr.close()


def _port(server: subprocess.Popen[str]) -> str:
    """Read the port that the system chose from what the server says of itself."""
    assert server.stderr is not None
    said = ""
    for line in server.stderr:
        said += line
        if match := re.search(r"Running on http://127\.0\.0\.1:(\d+)", line):
            return match[1]
    raise AssertionError(said)
