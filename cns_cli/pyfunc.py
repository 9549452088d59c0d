"""A promoted model inside MLflow: what `mlflow.pyfunc.load_model("models:/NAME@champion")` and a server of it run.

The one module of the shell that imports MLflow, whose class it extends: it is imported by MLflow alone, from the script
that `registry.mirror.served` stores. What it loads and makes is in `cns_cli.porcelain.pictures.serving`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas  # type: ignore[import-untyped]
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext

from cns_cli import settings
from registry import trust
from registry.errors import RegistryError
from registry.mirror.served import UNSAID


class PictureModel(PythonModel):
    """Prompts in, PNG files out, as base64."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the base model of this machine and the concepts of the artifacts."""
        from cns_cli.porcelain.pictures.serving import PictureService

        trust.allow(settings.trusted_folders())
        self.service = PictureService(Path(context.artifacts["registry"]), settings.served_base())

    # By this hint MLflow (3.17) hands on lists, rows and tables as they are; others make a table its first column.
    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002  MLflow's signature
        model_input: pandas.DataFrame,
        params: Mapping[str, Any] | None = None,
    ) -> pandas.DataFrame:
        """Make a picture for each row.

        Args:
            context: MLflow's.
            model_input: A prompt; a list of prompts, or of rows that say `prompt` and may say `seed`, `steps`,
                `guidance` and `negative`; or a table of such rows. A field that is null is not said.
            params: The same but for the prompt, for rows that do not say it.

        Returns:
            Columns `image`, the PNG file as base64, and `seed`.

        Raises:
            MlflowException: a request cannot be meant; a server answers with 400 and the reason.
        """
        shared = {name: value for name, value in (params or {}).items() if value != UNSAID[name][1]}
        try:
            made = [self.service.picture(shared | row) for row in rows_of(model_input)]
        except RegistryError as error:
            raise MlflowException.invalid_parameter_value(f"{error.message}, such as {error.hint}") from error
        columns = {"image": [base64.b64encode(data).decode() for data, _ in made], "seed": [seed for _, seed in made]}
        return pandas.DataFrame(columns)


def rows_of(given: Any) -> list[dict[str, Any]]:
    """Return requests in any of the forms that MLflow hands on as rows, without what is null."""
    if isinstance(given, Mapping):  # a row, or a table by its columns
        columns = {name: _plain(value) for name, value in given.items()}
        given = pandas.DataFrame(columns if any(isinstance(one, list) for one in columns.values()) else [columns])
    given = given.to_dict("records") if isinstance(given, pandas.DataFrame) else _plain(given)
    listed = [given] if isinstance(given, str) else list(given)
    rows = [row if isinstance(row, Mapping) else {"prompt": row} for row in listed]
    plain = [{name: _plain(value) for name, value in row.items()} for row in rows]
    return [{name: value for name, value in row.items() if value is not None and value == value} for row in plain]


def _plain(value: Any) -> Any:
    """Return lists and numbers as Python's: MLflow's server makes an array of every single value."""
    return value.tolist() if hasattr(value, "tolist") else value
