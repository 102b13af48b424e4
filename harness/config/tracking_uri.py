"""Which MLflow store a sweep's runs go to, and how its address may be shown. Without MLflow itself."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from ndcl.errors import UserError
from ndcl.files import sqlite_uri

VARIABLE = "MLFLOW_TRACKING_URI"
STORE_FILE = "mlflow.db"
SERVERS, DATABASES = ("http", "https", "databricks"), ("sqlite", "postgresql", "mysql", "mssql")
"""Schemes of tracking URIs. Files without a database are not among them: MLflow 3 has given that store up."""
_USER, _SECRET = re.compile(r"://[^/\s]+@"), re.compile(r"(?i)((?:password|token|secret)[^=&\s]*=)[^&\s]+")


def store_uri(results: Path) -> str:
    """The store that all sweeps of a results folder share, unless they are given another."""
    return sqlite_uri(results / STORE_FILE)


def artifact_folder(results: Path) -> Path:
    """Where runs' artifacts lie, unless a server keeps them."""
    return results.resolve() / "mlartifacts"


def tracking_uri(results: Path, configured: str | None = None) -> str:
    """`configured`, a sweep's own `tracking.uri`; else the environment's MLFLOW_TRACKING_URI; else the results' store.

    Raises UserError if that is none of MLflow's tracking URIs.
    """
    uri = configured or os.environ.get(VARIABLE) or store_uri(results)
    require_known(uri, "tracking.uri" if configured else VARIABLE)
    return uri


def is_server(uri: str) -> bool:
    """Whether it keeps artifacts too; a database keeps none."""
    return _scheme(uri) in SERVERS


def require_known(uri: str, key: str) -> None:
    """Raise UserError unless MLflow can open such a URI; `key` says where it stands."""
    if _scheme(uri) not in (*SERVERS, *DATABASES):
        raise UserError(
            f"{key}: {without_secrets(uri)!r} is no tracking URI of MLflow; give https://HOST, or a database such as "
            "sqlite:///FILE or postgresql://HOST/NAME"
        )


def require_no_secrets(uri: str, key: str) -> None:
    """Raise UserError if the URI holds a password, or what may be one; it would be written to the results."""
    parts = urlsplit(uri)
    if parts.password is not None or (parts.username and is_server(uri)) or _SECRET.search(parts.query):
        raise UserError(
            f"{key}: it holds a user or a password, which would be written to the results; leave them out and set "
            f"MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or give the whole URI as {VARIABLE}"
        )


def without_secrets(text: str) -> str:
    """The text with users and passwords of the URIs in it blotted out."""
    return _SECRET.sub(r"\1***", _USER.sub("://***@", text))


def _scheme(uri: str) -> str:
    """`postgresql` of `postgresql+psycopg2://host/name`; `databricks` may stand alone."""
    return uri.partition(":")[0].partition("+")[0].lower()
