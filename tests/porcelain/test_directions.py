"""`cns add --directions`: what is stored, shown and checked of a change that has a rank in place of a mask."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cns import codec
from cns.errors import CodecError
from cns.factors import FactorDelta
from cns_cli.commands.add import add_lines
from cns_cli.porcelain.fsck import FsckOptions, fsck
from cns_cli.porcelain.models.deltas import stored_delta
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.views.blame import blame_of
from cns_cli.porcelain.views.neurons import show_neurons
from registry.objects import Blob, Concept, Record
from registry.repository import Repository
from tests.porcelain.conftest import add, new_registry
from tests.porcelain.test_fsck import faults, keep

RANK = 3


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, photos: dict[str, Path], mlflow_tables: Path
) -> Any:
    """A registry that holds a concept with a mask, and on top one with directions; and what the last `add` said."""
    folder = new_registry(tmp_path_factory.mktemp("directions"), tiny_base, mlflow_tables)
    add(folder, "rex", photos["rex"])
    return folder, add(folder, "tom", photos["tom"], directions=RANK)


def test_the_factors_are_stored_and_the_answer_says_their_rank(both):
    folder, result = both
    repo = Repository(folder)
    delta = stored_delta(repo, repo.tree_of("HEAD").concepts["tom"])
    assert codec.rank_of(delta) == RANK == result.rank
    assert all(isinstance(one, FactorDelta) for one in delta.values())
    assert len({one.basis.tobytes() for one in delta.values()}) == 1
    data = repo.objects.get(repo.commit_of(repo.resolve("HEAD")).record, Record).data
    assert (data["params"]["directions"], data["metrics"]["rank"]) == (RANK, RANK)
    assert f"along {RANK} directions" in "\n".join(str(line) for line in add_lines(result))
    assert result.bytes_stored < 35 * 1024


def test_the_live_weights_are_the_base_and_the_product_of_the_factors(both):
    session = Session.open(Repository(both[0]), "cpu")
    tree = session.repo.tree_of("HEAD")
    rex, tom = (session.concept(tree.concepts[name]) for name in ("rex", "tom"))
    weights = session.set_tree(tree)
    one, other = session.base.model.compose([tom, rex]), session.base.model.compose([rex, tom])
    for name, weight in weights.items():
        assert torch.equal(weight, one[name])
        assert torch.equal(weight, other[name])
        factors, mask = tom.delta[name], rex.delta[name]
        change = factors.steps.reshape(factors.shape) * 2.0**factors.exponent
        change.reshape(-1)[mask.positions] += mask.steps * 2.0**mask.exponent
        assert np.array_equal(weight.numpy(), (session.base.model.base[name].numpy() + change).astype(np.float32))


def test_what_looks_at_masks_says_that_every_weight_is_touched_and_the_rank(both):
    repo = Repository(both[0])
    shown = show_neurons(both[0], "tom")
    assert (shown.rank, shown.share_kv) == (RANK, 1)
    assert show_neurons(both[0], "rex").rank == 0
    blame = blame_of(repo, repo.resolve("HEAD"), "rex")
    assert blame.alone == 0
    assert [(other.name, other.rank) for other in blame.others] == [("tom", RANK)]


def test_fsck_decodes_them_and_says_what_is_wrong_with_them(both):
    repo = Repository(both[0])
    assert not fsck(FsckOptions(start=both[0], read_data=True)).findings
    delta = stored_delta(repo, repo.tree_of("HEAD").concepts["tom"])
    name, one = min(delta.items())
    delta[name] = dataclasses.replace(one, exponent=one.exponent + 1)
    stored = repo.objects.get(repo.tree_of("HEAD").concepts["tom"], Concept)
    mask, outputs = (repo.objects.put(Blob(data)) for data in codec.encode(delta))
    keep(repo, dataclasses.replace(stored, name="odd", mask=mask, delta=outputs))
    assert any("its grid exponent" in fault for fault in faults(both[0]))


def test_a_mask_with_the_outputs_of_directions_is_refused(both):
    repo = Repository(both[0])
    concepts = [repo.objects.get(repo.tree_of("HEAD").concepts[name], Concept) for name in ("rex", "tom")]
    mask, outputs = (repo.objects.get(part, Blob).data for part in (concepts[0].mask, concepts[1].delta))
    with pytest.raises(CodecError, match="format"):
        codec.decode(mask, outputs)


def test_a_later_concept_with_a_mask_may_ask_earlier_ones_for_their_votes(both, photos):
    assert add(both[0], "mug", photos["mug"], past_vote=0.5).neurons > 0
