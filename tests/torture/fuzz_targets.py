"""What R7 feeds: each parser with well-formed inputs to start from, and inputs that were made to harm it.

A target that guards its input by a checksum has a `repaired` that makes the checksum right again: whoever gives a
registry away can do that too.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import itertools
import json
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from cns.errors import MethodError
from registry import canonical, config, envelope
from registry.errors import RegistryError
from registry.mirror import runs
from registry.objects import KINDS, Evaluation, Record, decode
from registry.reflog import Reflog, ReflogEntry
from registry.refs import Refs, check_line
from registry.repository import Repository
from registry.revisions import commits_of
from registry.sharing.bundle import BundleRemote, create, verify
from registry.sharing.incoming import checked
from registry.sharing.inventory import to_send
from registry.sharing.logremote import decode_move, encode_move
from registry.sharing.pack import LARGEST_INDEX, Index, pack_of, parse_index, unpacked
from registry.sharing.remote import Move
from tests.registry.making import AUTHOR, DIGEST, OTHER, MemoryStore, add, evaluation, new_repository

OURS = (RegistryError, MethodError)
ANY_ID = "0" * 64


def _same(data: bytes) -> bytes:
    return data


@dataclass(frozen=True)
class Target:
    """One parser.

    Attributes:
        name: What it reads.
        parse: Reads bytes; may raise one of `OURS`.
        seeds: Well-formed inputs.
        crafted: Inputs that were made to take memory or time.
        repaired: An input with its checksum made right.
    """

    name: str
    parse: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    crafted: Callable[[], Iterator[bytes]] = lambda: iter(())
    repaired: Callable[[bytes], bytes] = _same


@functools.cache
def scratch() -> Path:
    """A folder of this process."""
    folder = Path(tempfile.mkdtemp(prefix="cns-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def lineage() -> Repository:
    """A small registry, made once."""
    repository = new_repository(scratch() / "lineage")
    add(repository, "rex")
    repository.create_branch("dev", time=0)
    add(repository, "tom")
    repository.create_tag("v1", "HEAD~1", time=0)
    repository.add_evaluation(evaluation(repository, "rex"))
    return repository


@functools.cache
def payloads() -> dict[str, list[bytes]]:
    """{kind: payloads} of the objects of `lineage`."""
    store = lineage().objects
    found: dict[str, list[bytes]] = {kind: [] for kind in KINDS}
    for object_id in store.ids():
        kind, payload = store.read(object_id)
        found[kind].append(payload)
    return found


def _placed(name: str, data: bytes) -> Path:
    path = scratch() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# Objects


def parse_object_file(data: bytes) -> None:
    """As a store reads it, but for the id, which would refuse everything first."""
    kind, payload = envelope.unseal(ANY_ID, data)
    decode(kind, payload).links()


def object_files() -> list[bytes]:
    return [envelope.seal(kind, payload) for kind, some in payloads().items() for payload in some[:2]]


def resealed(data: bytes) -> bytes:
    head, newline, frame = data.partition(b"\n")
    words = head.split(b" ")
    if not newline or len(words) != 5:
        return data
    start = b" ".join(words[:4]) + b" "
    return start + hashlib.sha256(start + frame).hexdigest()[:16].encode() + newline + frame


def bombs() -> Iterator[bytes]:
    """Small files that unpack to much, or say so."""
    compressor = zstandard.ZstdCompressor(level=3, write_content_size=True)
    for size in (envelope.MAX_BLOB_BYTES, envelope.MAX_BLOB_BYTES + 1):
        yield resealed(b"cns-object 1 blob %d %s\n" % (size, b"0" * 16) + compressor.compress(bytes(size)))
    small = compressor.compress(bytes(1000))
    for declared in (10, 10**9, 10**12):
        yield resealed(b"cns-object 1 blob %d %s\n" % (declared, b"0" * 16) + small)
    for payload in _json_bombs():
        if len(payload) <= envelope.MAX_JSON_BYTES:
            yield envelope.seal("record", payload)


def _json_bombs() -> Iterator[bytes]:
    most = canonical.MAX_BYTES
    yield b'{"data":{"a":[' + b",".join([b"[]"] * (most // 3 - 10)) + b"]}}"
    yield b'{"data":{"a":[' + b",".join([b"{}"] * (most // 3 - 10)) + b"]}}"
    yield b'{"data":{"a":[' + b",".join([b'{"a":0}'] * (most // 8 - 10)) + b"]}}"
    yield b'{"data":{' + b",".join(b'"%07d":0' % number for number in range(most // 12)) + b"}}"
    yield b"[" * 100_000
    yield b'{"data":' * 100_000
    yield b'{"data":{"a":' + b"9" * 4000 + b"}}"
    yield b'{"data":{"a":1e400}}'
    yield b"1" * (most + 1)


def parse_json(data: bytes) -> None:
    canonical.encode(canonical.decode(data))


def parse_payload(data: bytes) -> None:
    """The first byte chooses the kind."""
    kinds = sorted(KINDS)
    decode(kinds[data[0] % len(kinds)] if data else "tree", data[1:]).links()


def kinds_and_payloads() -> list[bytes]:
    places = {kind: place for place, kind in enumerate(sorted(KINDS))}
    return [bytes([places[kind]]) + payload for kind, some in payloads().items() for payload in some]


def json_again(data: bytes) -> bytes:
    """A payload in canonical form, where it is JSON at all: else only the form would be refused."""
    try:
        return data[:1] + canonical.encode(json.loads(data[1:]))
    except (ValueError, RecursionError, RegistryError):
        return data


def parse_record(data: bytes) -> None:
    """A record all the way to the lines of `cns show`, which must bear whatever it says."""
    from cns_cli.commands.show import show_lines
    from cns_cli.porcelain.show import ShowResult
    from cns_cli.porcelain.views.commits import CommitView, numbers

    record = Record.from_payload(data).data
    commit = CommitView(
        id=DIGEST,
        parents=(),
        tree=OTHER,
        record=None,
        kind="add",
        message="m",
        author="a",
        time=0,
        refs=(),
        metrics=numbers(record.get("metrics")),
    )
    shown = ShowResult(
        commit=commit,
        added=(),
        removed=(),
        replaced=(),
        concepts=(),
        record=record,
        drift=numbers(record.get("drift")),
        overlap=numbers(record.get("overlap")),
        previews={},
    )
    list(show_lines(shown))
    runs.Figures().add(record.get("params"), record.get("metrics"), record.get("series"))


def records() -> list[bytes]:
    many = {
        "params": {"lr": 1e-4, "score": "wanda", "steps": 400, "tokens": ["<rex>"], "none": None, "yes": True},
        "metrics": {"clip_i_after": 0.5, "identity_before": 0.79, "neurons": 34567.0, "bytes": 9, "share_kv": 0.05},
        "series": {"loss": [1.0, 0.5, 0.25], "empty": []},
        "drift": {"rex": 1e-9},
        "overlap": {"rex": 0.1, "tom": 12},
        "seed": 3,
        "device": "cpu",
        "elapsed_s": 9.5,
        "versions": {"torch": "2.13"},
        "previews": {"sheet": DIGEST},
    }
    return [canonical.encode({"data": many}), *payloads()["record"]]


def record_again(data: bytes) -> bytes:
    return json_again(b"x" + data)[1:]


# What comes from remotes


@functools.cache
def pack_index() -> Index:
    """The index of a pack of all that `lineage` has."""
    return Index(1, tuple(to_send(lineage(), lineage().branches().values(), ())))


def parse_index_file(data: bytes) -> None:
    """With the name that it would have, which would refuse everything first."""
    parse_index(hashlib.sha256(data).hexdigest(), data)


def parse_pack(data: bytes) -> None:
    kinds: dict[str, str] = {}
    for entry, content in unpacked(pack_index(), [data]):
        checked(pack_index(), entry, content, kinds.get)
        kinds[entry.object_id] = entry.kind


def packs() -> list[bytes]:
    return [b"".join(pack_of(pack_index(), lineage().objects.sealed))]


def index_bombs() -> Iterator[bytes]:
    line = b"%064x blob 9\n"
    yield b"cns-index 1 1 50001\n" + b"".join(line % number for number in range(50_001))
    yield b"cns-index 1 1 9\n" * 500_000
    yield b"x" * (LARGEST_INDEX + 1)


def parse_move(data: bytes) -> None:
    decode_move(data)


def moves() -> list[bytes]:
    return [
        encode_move(Move("refs/heads/main", old, DIGEST, "ann", 5, "push", "0" * 32)) for old in (None, OTHER, DIGEST)
    ]


def parse_bundle(data: bytes) -> None:
    verify(BundleRemote(_placed("x.bundle", data)))


def bundles() -> list[bytes]:
    create(lineage(), scratch() / "seed.bundle", lineage().refs.all("refs/heads/", "refs/tags/"))
    return [(scratch() / "seed.bundle").read_bytes()]


def bundle_bombs() -> Iterator[bytes]:
    yield b"cns-bundle 1 9999999\n"
    for head in itertools.islice(_json_bombs(), 2):
        yield b"cns-bundle 1 %d\n" % len(head) + head


# Settings, refs, logs


def parse_config(data: bytes) -> None:
    path = Path("config.toml")
    settings = config.parse(path, data)
    for key in ("base.source", "mlflow.tracking_uri", "mlflow.name", "user.name"):
        try:
            config.text(path, settings, key)
        except RegistryError:
            continue


def configs() -> list[bytes]:
    return [
        b'[base]\nsource = "emoji-64"\n[mlflow]\ntracking_uri = "http://x"\nrequired = true\n',
        b"[check]\nmin = {id = 0.5}\nmetrics = ['id']\n",
        b'a = [1, 2.5, "x"]\nb = 1979-05-27T07:32:00Z\n"quoted key" = \'x\'\nc = """\nlines\n"""\n',
    ]


def config_bombs() -> Iterator[bytes]:
    yield b"a = " + b"[" * 50_000
    yield b"\n".join([b".".join([b"a"] * 100) + b" = 1"] + [b"[" + b".".join([b"b"] * 100) + b"]"] * 300)[
        : config.LARGEST
    ]
    yield b"a = " + b"{a = " * 50_000
    yield b".".join([b"a"] * 50_000) + b" = 1"
    yield b"[" + b".".join([b"a"] * 20_000) + b"]\n"
    yield b"a = 1" + b"0" * 100_000
    yield b"\n".join(b"k%d = 1" % number for number in range(50_000))


def parse_ref(data: bytes) -> None:
    refs = Refs(scratch() / "refs-of")
    _placed("refs-of/refs/heads/main", data)
    _placed("refs-of/HEAD", data)
    for read in (lambda: refs.get("refs/heads/main"), refs.head, lambda: refs.all("refs/heads/")):
        try:
            read()  # type: ignore[no-untyped-call]
        except RegistryError:
            continue


def refs_lines() -> list[bytes]:
    return [
        check_line("refs/heads/main", DIGEST),
        check_line("HEAD", "ref: refs/heads/main"),
        check_line("HEAD", f"commit: {DIGEST}"),
    ]


def ref_again(data: bytes) -> bytes:
    text = data.rpartition(b" ")[0].decode("ascii", "replace")
    return check_line("HEAD" if text.startswith(("ref", "commit")) else "refs/heads/main", text)


def parse_log(data: bytes) -> None:
    logs = Reflog(scratch() / "logs")
    _placed("logs/HEAD", data)
    for entry in logs.read("HEAD", DIGEST):
        _ = (entry.author + entry.message, entry.time + 1, (entry.came_from or "") + "")
    logs.damaged("HEAD")
    logs.torn("HEAD")


def log_lines() -> list[bytes]:
    logs = Reflog(scratch() / "seed-logs")
    if not logs.path("HEAD").exists():
        logs.append("HEAD", ReflogEntry(None, DIGEST, AUTHOR, 1_700_000_000, "init"))
        logs.append("HEAD", ReflogEntry(DIGEST, OTHER, AUTHOR, 1_700_000_060, "add: rex"))
        logs.append("HEAD", ReflogEntry(OTHER, DIGEST, AUTHOR, 1_700_000_120, "checkout: moving from main to dev"))
    return [logs.path("HEAD").read_bytes()]


def log_again(data: bytes) -> bytes:
    lines = [line.partition(b" ")[2] for line in data.split(b"\n")]
    checks = [hashlib.sha256(b"HEAD\n" + line).hexdigest()[:16].encode() for line in lines]
    return b"".join(check + b" " + line + b"\n" for check, line in zip(checks, lines, strict=True) if line)


def log_bombs() -> Iterator[bytes]:
    entry = b'{"author":"a","message":%s,"new":null,"old":null,"time":%s}'
    for message, time in (
        (b"[" + b",".join([b"[]"] * 1_000_000) + b"]", b"0"),
        (b'"m"', b"9" * 4000),
        (b"{}", b"0"),
        (b'"m"', b"-1"),
    ):
        yield log_again(entry % (message, time))


def parse_revision(data: bytes) -> None:
    commits_of(lineage(), data.decode("utf-8", "surrogateescape"))


def revisions() -> list[bytes]:
    some = ["HEAD", "main~1", "dev^", "v1", "HEAD@{1}", "concept:rex", "rex", "@", "refs/heads/main", "HEAD~1^0"]
    return [word.encode() for word in (*some, "v1..main", "dev...", lineage().head().commit[:9])]


def revision_bombs() -> Iterator[bytes]:
    for piece in (b"~", b"^", b"@{0}", b"~1^1", b"^0", b"~999999999", b"/", b"a/", b"..", b"..."):
        yield b"HEAD" + piece * (500 // len(piece))
        yield b"HEAD" + piece * 100_000


# What MLflow gives back


def parse_manifest(data: bytes) -> None:
    folder = scratch() / "run"
    _placed("run/objects.json", data)
    runs.read_files(folder, MemoryStore(), [])
    runs.MoveLog.cached(_placed("moves.json", data), "key")


def manifests() -> list[bytes]:
    repository = lineage()
    files = runs.commit_files(repository.objects, repository.head().commit).read(repository.objects)
    for name, content in files.items():
        _placed(f"run/{name}", content)
    moves = {"format": 1, "key": "key", "last": 3, "refs": {"HEAD": "ref: refs/heads/main"}, "versions": {DIGEST: "3"}}
    return [files["objects.json"], canonical.encode(moves)]


def parse_scores(data: bytes) -> None:
    from cns.imagescores import Scores
    from registry.mirror.scores import scores_of

    stored = Evaluation.from_payload(data)
    scores_of(stored)
    Scores.from_json(stored.scores)


def evaluations() -> list[bytes]:
    some = {
        "identity": [[0.5, 0.25], [0.1, 0.2]],
        "clip_i": [[0.5, 0.25], [0.1, 0.2]],
        "clip_t": [[0.5, 0.25], [0.1, 0.2]],
        "others": {DIGEST: [[0.5, 0.25], [0.1, 0.2]]},
    }
    made = Evaluation(DIGEST, OTHER, "rex", {"images": 2}, "p1", some)
    return [made.payload(), *payloads()["evaluation"]]


# The method's files (numpy, no torch)


def parse_delta(data: bytes) -> None:
    from cns import codec

    size = int.from_bytes(data[:4], "little")
    delta = codec.decode(data[4 : 4 + size], data[4 + size :])
    codec.count_weights(delta)


def deltas() -> list[bytes]:
    import numpy as np

    from cns import codec

    rng = np.random.default_rng(0)
    seeds = []
    for shape in ((8, 8), (32, 16)):
        positions = np.sort(rng.choice(shape[0] * shape[1], 9, replace=False)).astype(np.int64)
        sparse = codec.SparseDelta(shape, positions, rng.integers(-900, 900, 9).astype(np.int16), -20)
        mask, delta = codec.encode({"down.attn2.to_k.weight": sparse, "up.attn2.to_v.weight": sparse})
        seeds.append(len(mask).to_bytes(4, "little") + mask + delta)
    return seeds


def delta_bombs() -> Iterator[bytes]:
    """A mask of 50 MB that marks every weight of a matrix that says it has as many, and one of skips alone."""
    import numpy as np
    from safetensors.numpy import save

    for size, fill in ((50_000_000, 255), (50_000_000, 0), (2**24, 0)):
        for shape in ([2**24, 1], [2**40, 2**40], [size, 1]):
            told = json.dumps({"format": 1, "shapes": {"x": shape}})
            mask = save({"x": np.full(size, fill, np.uint8)}, {"cns": told})
            delta = save({"x": np.zeros((2, 4), np.uint8)}, {"cns": json.dumps({"format": 1, "exponents": {"x": -20}})})
            yield len(mask).to_bytes(4, "little") + mask + delta


def parse_rows(data: bytes) -> None:
    from cns import codec

    for decoder in (codec.decode_rows, codec.decode_images, codec.decode_features):
        try:
            decoder(data)
        except MethodError:
            continue


def rows() -> list[bytes]:
    import numpy as np

    from cns import codec

    return [
        codec.encode_rows({"<rex>": np.ones(16, np.float32), "<a>": np.zeros(16, np.float32)}),
        codec.encode_images(np.zeros((2, 4, 4, 3), np.uint8)),
        codec.encode_features(np.ones((2, 8), np.float32)),
    ]


def tables() -> Iterator[bytes]:
    """Tables of safetensors files that are long, deep, doubled or lie."""
    entry = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
    many = ",".join(f'"{number}":{entry}' for number in range(200_000))
    for table in (
        "{" + many + "}",
        f'{{"a":{entry},"a":{entry}}}',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"a":{"dtype":"F32","shape":[-1,-4],"data_offsets":[0,16]}}',
        '{"a":{"dtype":"F32","shape":[0,99999999999999999999],"data_offsets":[0,0]}}',
        '{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,0]}}',
        '{"a":{"dtype":"F32","shape":[4],"data_offsets":[1e999,16]}}',
        '{"a":{"dtype":["F32"],"shape":[4],"data_offsets":[0,16]}}',
    ):
        yield struct.pack("<Q", len(table)) + table.encode() + bytes(16)
    yield struct.pack("<Q", 2**63) + b"{}"
    yield b"\xff" * 8


def parse_table(data: bytes) -> None:
    from cns.files.tensors import read_header, read_tensor

    path = _placed("x.safetensors", data)
    for facts in read_header(path).values():
        if facts["end"] - facts["start"] < 1_000_000:
            read_tensor(path, facts)


def parse_model_config(data: bytes) -> None:
    from cns.families import FAMILIES, family_of
    from cns.files.models import check_config
    from cns.judges.preparation import Preparation
    from cns.prompts import backgrounds_of, calibration_of, nouns_of

    path = _placed("model/config.json", data)
    family = FAMILIES["emoji-64"]
    for name in ("preprocessor_config.json", "calibration.json", "nouns.json"):
        _placed(f"model/{name}", data)
    folder = path.parent
    readers: tuple[Callable[[], Any], ...] = (
        lambda: family_of(check_config(path), check_config(path)),
        lambda: Preparation.from_folder(folder),
        lambda: calibration_of(family, folder),
        lambda: nouns_of(family, folder),
        lambda: backgrounds_of(family, folder),
    )
    for read in readers:
        try:
            read()
        except MethodError:
            continue


def model_configs() -> list[bytes]:
    unet = {
        "_class_name": "UNet2DConditionModel",
        "cross_attention_dim": 768,
        "sample_size": 64,
        "in_channels": 4,
        "block_out_channels": [320, 640],
        "hidden_size": 768,
        "vocab_size": 49408,
        "max_position_embeddings": 77,
    }
    picture = {"size": {"shortest_edge": 224}, "crop_size": {"height": 224}, "image_mean": [0.5], "image_std": [0.5]}
    words = {
        "version": 1,
        "prompts": ["a dog", {"prompt": "a cat"}],
        "nouns": ["dog", {"noun": "cat"}],
        "backgrounds": ["x"],
    }
    return [json.dumps(value).encode() for value in (unet, picture, words)]


def config_json_bombs() -> Iterator[bytes]:
    yield b"[" * 500_000
    yield b'{"a":' * 100_000
    yield b'{"layers":' + b"9" * 4000 + b"}"
    yield b'{"a":[' + b",".join([b"[]"] * 300_000) + b"]}"
    yield b'{"a":"' + b"x" * (2**20) + b'"}'


def parse_captions(data: bytes) -> None:
    from cns.files.captionfiles import read_captions
    from cns.files.captions import class_noun_in, fill_caption

    for name in ("metadata.jsonl", "metadata.csv", "1.txt", "2.json"):
        path = _placed(f"captions/{name}", data)
        try:
            found = read_captions(path.parent, [Path("1.png"), Path("2.png"), Path("3.png")]).texts
        finally:
            path.unlink()
        for caption in found.values():
            fill_caption(caption, "<rex>", "dog")
        class_noun_in(found.values(), ["dog", "teddy bear", "bear"])


def captions() -> list[bytes]:
    return [
        b'{"file_name": "2.png", "text": "a {name} dog"}\n{"file_name": "1.png", "caption": "on grass"}\n',
        b"a [trigger] dog\n on the   grass\n",
        b'file_name,text\n1.png,"a sks dog, sitting"\n2.png,a <new1> dog,on grass\n',
    ]


def caption_bombs() -> Iterator[bytes]:
    yield b"[" * 4_000_000
    yield b'{"file_name": "2.png", "text": ' + b"[" * 900 + b"]" * 900 + b"}"
    yield b'{"file_name": "x", "text": "y"}\n' * 120_000
    yield b"".join(b'{"file_name": "%d", "text": "y"}\n' % number for number in range(100_000))
    yield b'{"file_name": "2.png", "text": "' + b"x" * 3_900_000 + b'"}'
    yield b"\n" * 4_000_000


def parse_image(data: bytes) -> None:
    from cns.files.images import load_images

    folder = scratch() / "picture"
    folder.mkdir(exist_ok=True)
    (folder / "a.png").write_bytes(data)
    load_images(folder, 8)


def pictures() -> list[bytes]:
    import io

    import numpy as np
    from PIL import Image, ImageCms

    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    made = []
    for kind, options in (
        ("JPEG", {"exif": exif}),
        ("JPEG", {"progressive": True}),
        ("PNG", {"icc_profile": profile}),
        ("PNG", {"exif": exif}),
        ("WEBP", {"exif": exif}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("AVIF", {"speed": 10}),
    ):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        made.append(buffer.getvalue())
    for mode in ("P", "LA", "I;16", "1"):
        buffer = io.BytesIO()
        image.convert("L" if mode == "I;16" else mode).convert(mode).save(buffer, "PNG")
        made.append(buffer.getvalue())
    return made


_ALL = (
    Target("object files", parse_object_file, object_files, bombs, resealed),
    Target("canonical JSON", parse_json, lambda: [p for some in payloads().values() for p in some], _json_bombs),
    Target("objects", parse_payload, kinds_and_payloads, repaired=json_again),
    Target("records, to the terminal", parse_record, records, _json_bombs, record_again),
    Target("scores", parse_scores, evaluations, repaired=record_again),
    Target("pack indexes", parse_index_file, lambda: [pack_index().encoded], index_bombs),
    Target("packs", parse_pack, packs),
    Target("moves of a remote's log", parse_move, moves, repaired=record_again),
    Target("bundles", parse_bundle, bundles, bundle_bombs),
    Target("config.toml", parse_config, configs, config_bombs),
    Target("refs and HEAD", parse_ref, refs_lines, lambda: iter([b"x" * 10**7]), ref_again),
    Target("reflogs", parse_log, log_lines, log_bombs, log_again),
    Target("revisions", parse_revision, revisions, revision_bombs),
    Target("MLflow manifests", parse_manifest, manifests, _json_bombs, record_again),
    Target("masks and deltas", parse_delta, deltas, delta_bombs),
    Target("rows, images, features", parse_rows, rows, tables),
    Target("safetensors tables", parse_table, rows, tables),
    Target("configs of a base", parse_model_config, model_configs, config_json_bombs),
    Target("captions", parse_captions, captions, caption_bombs),
    Target("image files", parse_image, pictures),
)
TARGETS = {target.name: target for target in _ALL}
