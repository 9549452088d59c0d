"""`cns show PICTURE`: a picture may come from anybody, and nothing that it says is believed or obeyed."""

from __future__ import annotations

import json
import shlex
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from cns_cli.main import app
from cns_cli.porcelain.pictures.files import KEY, encode_picture, read_picture
from cns_cli.porcelain.pictures.record import MAX_CHARACTERS, NoRecord, PictureRecord, read_record

RECORD = PictureRecord(
    prompt="a <rex> dog", negative="rain", seed=9, first_seed=7, n=4, batch=4, steps=15, guidance=2.0,
    sampler="DDIMScheduler", width=64, height=64, regions=("rex@0,0.3,0.5,1",), at="a" * 64, commit="a" * 64,
    tree="b" * 64, base="c" * 64, concepts={"rex": "d" * 64}, version="0.1.0",
)  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of one pixel with these chunks behind its header."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (1).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts)


def saying(text: bytes) -> bytes:
    return png([(b"tEXt", KEY.encode() + b"\0" + text)])


def show(folder: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, name: str = "x.png", *words: str) -> Any:
    monkeypatch.chdir(folder)
    (folder / name).write_bytes(data)
    return CliRunner().invoke(app, ["show", name, *words], prog_name="cns")


def test_the_record_is_shown_and_the_command_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = show(tmp_path, monkeypatch, saying(RECORD.to_text().encode()))
    assert result.exit_code == 0, result.output
    for part in ("a <rex> dog", "rain", "rex@0,0.3,0.5,1", "9, image 3 of 4", "DDIMScheduler, 15 steps, guidance 2"):
        assert part in result.stdout
    assert RECORD.command() in result.stdout.splitlines()
    assert RECORD.alone() in result.stdout.splitlines()


def test_no_registry_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = show(tmp_path, monkeypatch, saying(RECORD.to_text().encode()), "x.png", "--json")
    shown = json.loads(result.stdout)
    assert shown["commit_here"] is None
    assert shown["record"]["prompt"] == "a <rex> dog"
    assert shlex.split(shown["command"])[:3] == ["cns", "generate", "a <rex> dog"]


def test_a_compressed_chunk_of_another_editor_is_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = RECORD.to_text().encode()
    for chunk in ((b"zTXt", b"cns\0\0" + zlib.compress(text)), (b"iTXt", b"cns\0\0\0\0\0" + text)):
        assert show(tmp_path, monkeypatch, png([chunk])).exit_code == 0


HOSTILE = {
    "no record": png([]),
    "not a picture": b"hello",
    "truncated": saying(RECORD.to_text().encode())[:60],
    "a bomb in a text chunk": png([(b"zTXt", b"cns\0\0" + zlib.compress(b'"cns-picture/1"' * 5_000_000, 9))]),
    "a huge header": b"\x89PNG\r\n\x1a\n"
    + (13).to_bytes(4, "big") + b"IHDR" + b"\x7f\xff\xff\xff" * 2 + bytes([8, 2, 0, 0, 0]),
    "too long a record": saying(b'{"format":"cns-picture/1","prompt":"' + b"x" * MAX_CHARACTERS + b'"}'),
    "deep JSON": saying(b'"cns-picture/1"' + b"[" * 50_000),
    "another format": saying(b'{"format":"cns-picture/2"}'),
    "no field": saying(b'{"format":"cns-picture/1"}'),
    "many chunks": png([(b"tEXt", b"a%d\0b" % k) for k in range(60_000)]),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_picture_is_refused_in_words(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = show(tmp_path, monkeypatch, HOSTILE[name])
    assert result.exit_code == 4, result.output
    assert "expected a picture that cns generate wrote" in result.stderr


def test_what_a_picture_says_cannot_move_the_cursor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "\x1b[2J\u202e\x07\r"
    text = RECORD.to_text().replace("a <rex> dog", json.dumps(evil)[1:-1]).replace("0.1.0", json.dumps(evil)[1:-1])
    result = show(tmp_path, monkeypatch, saying(text.encode()))
    assert result.exit_code == 0
    assert not {char for char in result.output if ord(char) < 32 and char != "\n"}
    assert "\u202e" not in result.output


def test_the_command_of_a_stranger_s_picture_runs_nothing_else() -> None:
    for evil in ("$(reboot)", "`reboot`", "'; reboot #", '"; reboot', "--device=cuda", "-o /etc/passwd", "a\nreboot"):
        data = json.loads(RECORD.to_text())
        data |= {"prompt": evil, "negative": evil, "regions": [f"{evil}@0,0,1,1"]}
        command = read_record(json.dumps(data), "x.png").command()
        words = shlex.split(command)
        assert [words.count(evil), words.count(f"{evil}@0,0,1,1")] == [2, 1]
        assert words[:2] == ["cns", "generate"]
        if evil.startswith("-"):
            assert words[-2:] == ["--", evil]


@pytest.mark.parametrize("key", sorted(json.loads(RECORD.to_text())))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=json_values)
def test_a_field_of_any_value_is_read_or_refused(key: str, value: Any) -> None:
    data = json.loads(RECORD.to_text()) | {key: value}
    try:
        shlex.split(read_record(json.dumps(data), "x.png").command())
    except NoRecord:
        pass


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_picture_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp()
    suffix = data.draw(st.sampled_from([".png", ".jpg", ".webp"]))
    path = folder / f"damaged{suffix}"
    whole = bytearray(encode_picture(Image.new("RGB", (8, 8)), path, RECORD))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(whole[: data.draw(st.integers(1, len(whole)))]))
    try:
        read_picture(path)
    except NoRecord:
        pass


def test_a_link_or_a_pipe_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "real.png").write_bytes(saying(RECORD.to_text().encode()))
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    with pytest.raises(NoRecord):
        read_picture(tmp_path / "link.png")
