"""A lineage with real deltas in MLflow: it comes back from there, and others can read it without this project."""

from __future__ import annotations

import shutil

import numpy as np
from safetensors.numpy import load_file

from cns_cli.porcelain.models.session import Session
from registry.mirror.mirror import MlflowMirror
from registry.repository import Repository
from tests.weights import weights_digest


def test_every_object_and_ref_comes_back_from_mlflow_and_composes_to_the_same_bits(learned):
    repo = Repository(learned)
    MlflowMirror(repo).sync()
    before = {one: repo.objects.read(one) for one in repo.objects.ids()}
    head = repo.head()
    digest = weights_digest(Session.open(repo, "cpu").set_tree(repo.tree_of("HEAD")))

    shutil.rmtree(learned / ".cns" / "objects")
    MlflowMirror.restore(learned)

    again = Repository(learned)
    reachable = {one for one in before if again.objects.has(one)}
    assert {one: again.objects.read(one) for one in reachable} == {one: before[one] for one in reachable}
    assert again.head() == head
    assert [commit_id for commit_id, _ in again.log()] == [commit_id for commit_id, _ in repo.log()]
    assert weights_digest(Session.open(again, "cpu").set_tree(again.tree_of("HEAD"))) == digest
    lost = [before[one][0] for one in before if one not in reachable]
    assert lost == [], lost


def test_a_script_with_mlflow_and_safetensors_alone_reads_mask_and_delta(learned):
    repo = Repository(learned)
    MlflowMirror(repo).sync()
    tip = repo.head().commit

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{learned}/.cns/mlflow.db")
    version = client.search_model_versions(f"tags.`cns.commit` = '{tip}'")[0]
    masks = load_file(client.download_artifacts(version.run_id, "mask.safetensors"))
    deltas = load_file(client.download_artifacts(version.run_id, "delta.safetensors"))

    found = Session.open(repo, "cpu").concept(repo.tree_of(tip).concepts["tom"]).delta
    assert masks.keys() == deltas.keys() == found.keys()
    for name, mask in masks.items():
        positions, at = [], -1
        for byte in mask.tolist():  # 255 skips 255 weights; any other byte skips its value and marks the next one
            at += 255 if byte == 255 else byte + 1
            if byte != 255:
                positions.append(at)
        high, low = deltas[name].astype(int)
        zigzag = 256 * high + low
        np.testing.assert_array_equal(positions, found[name].positions)
        np.testing.assert_array_equal(np.where(zigzag % 2, -(zigzag + 1) // 2, zigzag // 2), found[name].steps)
