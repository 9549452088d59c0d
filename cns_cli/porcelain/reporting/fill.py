"""`report --fill`: compute what a lineage's matrix lacks, exactly as a check would: same protocol, same evaluations.

Scores of every concept in every state and at its birth, of the class noun alone on the base, and the K/V drift. One
state after the other is stored, so a fill that was interrupted goes on where it was; where nothing is lacking, neither
torch nor the base is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import chain

from cns_cli.porcelain.gate.run import BASE_IMAGES
from cns_cli.porcelain.gate.setup import settle
from cns_cli.porcelain.options import CheckOptions, ReportOptions
from cns_cli.porcelain.reporting.data import ReportData
from cns_cli.porcelain.scoring.keys import EvaluationKey, Evaluations
from cns_cli.porcelain.scoring.protocol import digest_of
from cns_cli.porcelain.scoring.scores import EvaluationStore
from cns_cli.porcelain.scoring.units import Pool, part_of
from cns_cli.progress import Progress, Stages
from registry.objects import Tree
from registry.repository import Repository
from registry.trees import bare, birth, seen_of


def fill(repo: Repository, data: ReportData, options: ReportOptions, progress: Progress) -> tuple[str, tuple[str, ...]]:
    """Compute and store what is not stored of the shown rows and columns.

    Args:
        repo: The registry.
        data: Rows and columns of the matrix.
        options: Where to compute, and which part.
        progress: Told of progress.

    Returns:
        The digest of the protocol, and warnings.

    Raises:
        SettingsError, BadConfig: the check's settings cannot be meant.
        BaseModelError, EncoderMissingError: the base or a judge is not there.
    """
    head = repo.objects.get(data.head.tree, Tree)
    device = options.places[0]
    wish = CheckOptions(start=repo.root, rev=data.head.id, device=device, dtype=options.dtype)
    setup = settle(repo, head, wish)
    evaluations = Evaluations(EvaluationStore(repo), setup.protocol)
    states = [*_keys(repo, data, setup.images)]
    digest = digest_of(setup.protocol.scores)
    wanted = [*chain(*states)]
    if options.shard:
        wanted = part_of(evaluations, wanted, *options.shard)
    if all(map(evaluations.has, wanted)):
        return digest, setup.warnings
    from cns_cli.porcelain.models.mirroring import mirror_evaluations
    from cns_cli.porcelain.models.session import Session
    from cns_cli.porcelain.scoring.evaluator import open_evaluator

    with closing(Pool(options.places, options.engine)) as pool:
        lacking = pool.evaluate(evaluations, wanted, progress)
    stored = set(pool.stored)
    if lacking:
        opened = partial(Session.open, repo, device, setup.protocol.encoder, setup.protocol.dtype)
        evaluator = open_evaluator(None, opened, evaluations, Stages(), progress)
        for keys in states:
            evaluator.evaluate([key for key in keys if key in lacking])
        stored |= set(evaluator.stored)
    if unstored := evaluations.store.unstored:
        return digest, (*setup.warnings, f"the scores are not stored, and not on the page: {unstored}")
    progress.stage("record in MLflow")
    warnings = mirror_evaluations(repo, data.head.id, stored, options.mlflow_uri)
    return digest, (*setup.warnings, *warnings)


def _keys(repo: Repository, data: ReportData, images: int) -> Iterator[list[EvaluationKey]]:
    """What the matrix shows, a state at a time; births come before what is compared with them."""
    for row in data.rows:
        tree = repo.objects.get(row.tree, Tree)
        keys = []
        for column in (one for one in data.columns if one.id in row.concepts.values()):
            born, now = birth(repo.objects, column.id), seen_of(tree, column.id)
            if born != now:
                keys.append(EvaluationKey("concept", born, column.id, column.name, images, of=column.kind))
                keys.append(EvaluationKey("drift", now, column.id, column.name, baseline=born, of=column.kind))
            keys.append(EvaluationKey("class", bare(tree), column.id, column.name, BASE_IMAGES, of=column.kind))
            keys.append(EvaluationKey("concept", now, column.id, column.name, images, of=column.kind))
        yield keys
