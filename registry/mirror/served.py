"""A promoted commit as a model that MLflow serves: the artifacts of its logged model, with no pickle among them.

They are a script of three lines, which asks the installed `cns-cli` for the class (models from code), and a registry
that holds one model alone: the commit, its tree, its base by content, and each concept's embedding, mask and delta. No
history, no record and no training images go to where it is served. The base model itself stays where it is.
"""

from __future__ import annotations

import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from registry import config, layout
from registry.mirror.server import SOURCE_KEY
from registry.objects import Commit, Concept, Tree
from registry.refs import Refs
from registry.repository import Repository
from registry.store import DiskStore

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.tracking import MlflowClient

TAG = "cns.served"  # of a run: its logged model can be served; the version of cns-cli that made it so
CODE = """\
from mlflow.models import set_model

from cns_cli.pyfunc import PictureModel

set_model(PictureModel())
"""
# Of a request's parameters: what stands for "not said". MLflow has a default for each, and none may be null.
UNSAID: dict[str, tuple[str, int | float | str]] = {
    "seed": ("long", 0),
    "steps": ("long", 0),
    "guidance": ("double", -1.0),
    "negative": ("string", ""),
}
EXAMPLE = [{"prompt": "a dog in the snow", "seed": 7, "steps": 20}]


def log_model(client: MlflowClient, model_id: str, repository: Repository, commit_id: str) -> str:
    """Give the logged model of a commit what MLflow needs to load and serve it, and return the version of `TAG`."""
    made_by = version("cns-cli")
    with tempfile.TemporaryDirectory(prefix="cns-served-") as scratch:
        code, registry, model = (Path(scratch) / name for name in ("model.py", "registry", "model"))
        code.write_text(CODE, encoding="utf-8")
        write_registry(repository, commit_id, registry)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow 3.17 warns of its own classes as it is imported
            from mlflow.models import Model
            from mlflow.pyfunc import save_model

            save_model(
                model,
                python_model=str(code),
                artifacts={"registry": str(registry)},
                mlflow_model=Model(model_id=model_id),
                signature=_signature(),
                input_example=EXAMPLE,
                pip_requirements=[f"cns-cli=={made_by}"],
            )
        client.log_model_artifacts(model_id, str(model))
    return made_by


def write_registry(repository: Repository, commit_id: str, root: Path) -> None:
    """Write a registry into a folder that holds the model of one commit alone; HEAD is detached at it."""
    source = config.lookup(repository.config, SOURCE_KEY)
    folder = root / layout.FOLDER
    layout.write_skeleton(folder, config.with_value({}, SOURCE_KEY, source) if source else {})
    store = DiskStore(folder / "objects")
    tree_id = repository.objects.get(commit_id, Commit).tree
    tree = repository.objects.get(tree_id, Tree)
    needed = [commit_id, tree_id, tree.base]
    for concept_id in tree.concepts.values():
        concept = repository.objects.get(concept_id, Concept)
        needed += [concept_id, concept.embedding, concept.mask, concept.delta]
    for one in dict.fromkeys(needed):
        store.write(*repository.objects.read(one))
    Refs(folder).set_head(commit=commit_id)


def _signature() -> ModelSignature:
    """What comes out, and the parameters. What goes in is checked by the model: prompts alone, or rows, or a table."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    outputs = Schema([ColSpec("string", "image"), ColSpec("long", "seed")])
    params = ParamSchema([ParamSpec(name, kind, default) for name, (kind, default) in UNSAID.items()])
    return ModelSignature(outputs=outputs, params=params)
