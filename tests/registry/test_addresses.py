"""Addresses as they may be shown, and the errors that hold them."""

from __future__ import annotations

import pytest

from registry.addresses import has_secret, names_no_protocol, shown
from registry.errors import MlflowUnavailable
from registry.sharing.remote import RemoteUnavailable

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://ann:s3cret@host:5000/prefix#studio", "http://host:5000/prefix#studio"),
        ("https://s3cret@host/x", "https://host/x"),
        ("https://host/x?token=s3cret#studio", "https://host/x#studio"),
        ("postgresql://ann:s3cret@db:5432/mlflow", "postgresql://db:5432/mlflow"),
        ("postgresql+psycopg://ann:s3/cr?t@s3cret#@db/mlflow?sslkey=s3cret", "postgresql+psycopg://db/mlflow"),
        ("mlflow+http://ann:s3cret@host", "mlflow+http://host"),
        ("http://ann@corp.org:s3cret@host/x", "http://host/x"),
        ("http://ann:s3cret'x@host/x", "http://host/x"),
        ("http://ann@corp.org@host/s3cr", "http://host/s3cr"),
        ("https://host?token=s3cret", "https://host"),
        ("failed: http://ann:s3cret@a/x?k=s3cret and 'http://b/y?k=s3cret'", "failed: http://a/x and 'http://b/y'"),
        ("exceeded with url: /api?key=s3cret (Caused by x)", "exceeded with url: /api (Caused by x)"),
    ],
)  # fmt: skip
def test_what_opens_a_server_is_left_out(address: str, expected: str) -> None:
    assert shown(address) == expected
    assert has_secret(address)
    for error in (RemoteUnavailable(address, address, address), MlflowUnavailable(address, address, address)):
        assert SECRET not in f"{error} {vars(error)}"


@pytest.mark.parametrize(
    "address",
    [
        "http://host:5000/prefix#studio",
        "sqlite:////home/ann@work/x:y@z/.cns/mlflow.db",
        "s3://bucket/a/b",
        "models:/studio@champion",
        "what? nothing is wrong with a@b or c:d@e",
        "a fox and/or? a dog",
    ],
)
def test_what_names_a_place_alone_stays(address: str) -> None:
    assert shown(address) == address
    assert not has_secret(address)


@pytest.mark.parametrize("address", ["127.0.0.1:5000", "localhost:5000", "mlflow.studio.example:5000/x"])
def test_a_host_alone_is_told_from_a_folder(address: str) -> None:
    assert names_no_protocol(address)
    assert not names_no_protocol(f"http://{address}")


@pytest.mark.parametrize("address", ["sqlite:///x:1", "mlruns", "./mlruns", "/srv/ml", "C:5000", "databricks"])
def test_a_folder_or_a_name_is_no_host(address: str) -> None:
    assert not names_no_protocol(address)
