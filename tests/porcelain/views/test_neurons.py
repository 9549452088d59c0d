"""`cns show --neurons` and `--provenance`, on the golden registry: real masks, no model, no torch."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cns import codec
from cns.provenance import CHOICES, OUTSIDE
from cns.regularizers import REGULARIZERS
from cns.selection import SCORES
from cns.task import Settings
from cns_cli.main import app
from cns_cli.porcelain.views.neurons import show_neurons
from cns_cli.porcelain.views.provenance import show_provenance
from registry.errors import UnknownRevision
from registry.objects import Blob, Concept, Record
from registry.repository import Repository
from registry.trees import with_concept
from tests.cli.conftest import modules_after
from tests.golden import unpack

PAGE = Path(__file__).resolve().parents[3] / "docs" / "method.md"


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("golden"))


def cns(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> Result:
    monkeypatch.chdir(folder)
    return CliRunner().invoke(app, list(words), prog_name="cns")


def delta(folder: Path, name: str) -> codec.Delta:
    repo = Repository(folder)
    concept = repo.objects.get(repo.tree_of("HEAD").concepts[name], Concept)
    return codec.decode(repo.objects.get(concept.mask, Blob).data, repo.objects.get(concept.delta, Blob).data)


def test_every_neuron_is_counted_once_and_where_it_is(golden: Path) -> None:
    result, mine = show_neurons(golden, "rex"), delta(golden, "rex")
    assert result.neurons == codec.count_weights(mine) == sum(one.neurons for one in result.matrices)
    assert {one.matrix for one in result.matrices} == set(mine)
    for one in result.matrices:
        rows, columns = mine[one.matrix].shape
        held = np.zeros(rows * columns, bool)
        held[mine[one.matrix].positions] = True
        bins = np.array_split(held.reshape(rows, columns), len(one.bins), axis=1)
        assert columns % len(one.bins) == 0
        assert np.allclose([part.mean() for part in bins], one.bins)


def test_layers_stand_in_the_order_in_which_a_picture_meets_them(golden: Path) -> None:
    layers = [one.layer for one in show_neurons(golden, "rex").matrices]
    assert list(dict.fromkeys(layers)) == ["down 1.0", "down 2.0", "mid 0", "up 0.0", "up 0.1", "up 1.0", "up 1.1"]
    assert [one.kind for one in show_neurons(golden, "rex").matrices] == ["K", "V"] * 7


def test_overlaps_are_those_of_the_masks_and_chance_that_of_random_ones(golden: Path) -> None:
    result, mine, other = show_neurons(golden, "rex"), delta(golden, "rex"), delta(golden, "koko")
    (found,) = [one for one in result.overlaps if one.name == "koko"]
    own = codec.count_weights(mine)

    def shared(others: dict[str, codec.SparseDelta]) -> int:
        return sum(len(np.intersect1d(mine[name].positions, others[name].positions)) for name in mine)

    assert (found.shared, found.share) == (shared(other), shared(other) / own)
    rng, shares = np.random.default_rng(0), []
    for _ in range(20):
        random = {
            name: codec.SparseDelta(
                one.shape, np.sort(rng.choice(one.shape[0] * one.shape[1], one.count, replace=False)), one.steps,
                one.exponent,
            )
            for name, one in other.items()
        }  # fmt: skip
        shares.append(shared(random) / own)
    assert abs(np.mean(shares) - found.chance) < 4 * np.std(shares) / 20**0.5 + 1e-9
    assert {one.name for one in result.overlaps} == {"tom", "pip", "koko", "jet", "hop"}


def test_a_commit_means_the_concept_that_it_brought_in_among_those_of_its_time(golden: Path) -> None:
    result = show_neurons(golden, "main~3")
    assert result.name == "pip"
    assert {one.name for one in result.overlaps} == {"tom", "rex"}


@pytest.mark.parametrize("rev", ["main~6", "nope"])
def test_a_commit_without_a_concept_of_its_own_is_refused(golden: Path, rev: str) -> None:
    with pytest.raises(UnknownRevision):
        show_neurons(golden, rev)


def test_the_map_fits_80_columns_and_needs_neither_colour_nor_unicode(
    golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = cns(golden, monkeypatch, "show", "--neurons", "rex")
    assert result.exit_code == 0
    assert result.stdout.isascii()
    assert max(map(len, result.stdout.splitlines())) <= 80
    for part in ("25,657 neurons", "down 1.0", "up 1.1", "koko", "by chance", "5.8 %"):
        assert part in result.stdout


def test_the_picture_is_a_png_of_the_same_bytes_every_time(
    golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one.png", "two.png"):
        assert cns(golden, monkeypatch, "show", "--neurons", "rex", "-o", str(tmp_path / name)).exit_code == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert image.format == "PNG"
        assert len(set(image.convert("RGB").get_flattened_data())) > 30


@pytest.mark.parametrize(
    "words",
    [
        ["--neurons", "--provenance"],
        ["-o", "x.png"],
        ["--neurons", "-o", "x.jpg"],
        ["--neurons", "--preview", "x.png"],
    ],
    ids=" ".join,
)
def test_questions_that_do_not_go_together_are_refused(
    golden: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    assert cns(golden, monkeypatch, "show", "rex", *words).exit_code == 2


@pytest.mark.parametrize("question", ["--neurons", "--provenance"])
def test_no_torch_is_loaded_and_json_says_it_all(golden: Path, monkeypatch: pytest.MonkeyPatch, question: str) -> None:
    assert not modules_after(["show", question, "rex"], golden) & {"torch", "diffusers", "transformers", "mlflow"}
    shown = json.loads(cns(golden, monkeypatch, "show", question, "rex", "--json").stdout)
    assert shown["name"] == "rex"


def test_every_setting_has_a_row_and_every_row_is_a_setting_or_said_to_be_none() -> None:
    settings = {one.name: one for one in fields(Settings)}
    assert set(CHOICES) - set(OUTSIDE) == set(settings)
    assert set(OUTSIDE) <= set(CHOICES)
    for name, one in settings.items():
        if one.default is not MISSING:
            assert CHOICES[name].absent == one.default, f"records that do not name {name} mean its default"


def test_every_choice_of_a_score_or_regularizer_is_somebody_s() -> None:
    assert set(CHOICES["score"].values) == set(SCORES)
    assert set(CHOICES["reg"].values) == set(REGULARIZERS)


def test_every_pointer_leads_to_a_section_of_the_page() -> None:
    headings = [line.lstrip("#").strip() for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "#"]
    anchors = {"".join(c for c in h.lower().replace(" ", "-") if c.isalnum() or c == "-") for h in headings}
    assert {choice.anchor for choice in CHOICES.values()} <= anchors


def test_what_somebody_chose_is_told_from_the_default(golden: Path) -> None:
    rows = {row.name: row for row in show_provenance(golden, "koko").rows}
    assert set(rows) == set(CHOICES)
    yours = {name: (row.value, row.default) for name, row in rows.items() if row.whose == "yours"}
    assert yours == {
        "budget": (88473, 25657),
        "reg": ("none", "features"),
        "lr": (0.006, 0.003),
        "steps": (150, 250),
        "batch_size": (10, 5),
        "class_noun": ("koala", "inferred from the images"),
    }
    assert rows["score"].whose == "ours"
    assert rows["trained"].whose == "paper"


def test_a_default_of_another_s_making_is_said_to_be_theirs(golden: Path) -> None:
    rows = {row.name: row for row in show_provenance(golden, "jet").rows}
    assert (rows["reg"].value, rows["reg"].whose, rows["reg"].default) == ("weights", "yours", "features")
    assert "the paper's description" in rows["reg"].why


def test_the_table_of_choices_fits_80_columns(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = cns(golden, monkeypatch, "show", "--provenance", "rex")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "docs/method.md#choosing-the-weights" in result.stdout


def test_a_record_of_odd_values_is_shown_and_proves_nothing(golden: Path, tmp_path: Path) -> None:
    folder = unpack(tmp_path)
    repo = Repository(folder)
    for params in (None, {"steps": [1], "lr": "fast", "score": {"a": 1}}, 7):
        rex = repo.objects.get(repo.tree_of("HEAD").concepts["rex"], Concept)
        again = replace(rex, class_noun=f"dog {params}"[:40])
        repo.commit(
            kind="add", message="odd", author="ann", time=1, record=Record({"params": params, "class_confidence": "x"}),
            seen=repo.head().commit, keep_as="rex",
            change=lambda tree, again=again: with_concept(tree, "rex", repo.objects.put(again), overwrite=True),
        )  # fmt: skip
        rows = {row.name: row for row in show_provenance(folder, "rex").rows}
        assert set(rows) == set(CHOICES)
        assert rows["warmup_steps"].whose == "not recorded"
