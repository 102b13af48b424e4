"""Imports of what only some data sets need."""

import importlib
from typing import Any

from ndcl.errors import UserError

_PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn"}
"""Where a module's package has another name."""


def optional_import(module: str) -> Any:
    """The module, imported now. Raises UserError with the remedy if its package is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        package = _PACKAGES.get(missing, missing)
        raise UserError(f"the package {package} is not installed; install it by: pip install {package}") from None
