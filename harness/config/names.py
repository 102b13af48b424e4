"""What sweeps, domains and data sets may be called."""

import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from harness.config.strict import value_check
from ndcl.errors import UserError
from ndcl.names import require_name, require_text

RESERVED = ("train", "mlartifacts", "mlflow.db")
"""What lies in a results folder beside the sweeps."""


def _text(value: Any) -> Any:
    """A name as it was meant: YAML reads `2` and `2024-01-01` without quotes as a number and a date."""
    if isinstance(value, (bool, type(None))):
        raise UserError(f"YAML reads this as {value}; put quotes around a name such as 'no' or 'null'")
    if isinstance(value, float):  # of which 1.10 and 1e3 would become 1.1 and 1000.0
        raise UserError(f"YAML reads this as the number {value}; put quotes around a name")
    return str(value) if isinstance(value, (int, datetime.date)) else value


def _not_reserved(name: str) -> str:
    if name in RESERVED:
        raise UserError(f"'{name}' stands for something else in the results folder; give the sweep another name")
    if name.endswith((".yaml", ".yml")):
        raise UserError(f"'{name}' would be taken for a file; leave out its end")
    return name


def _not_a_path(name: str) -> str:
    if "/" not in name and not name.startswith(("~", ".")):
        return name
    folder, _, last = name.rstrip("/").rpartition("/")
    raise UserError(
        f"'{name}' is a path; give its last part as name, and where that lies as folder"
        + (f": {{name: {last}, folder: '{folder}'}}" if folder and last else "")
    )


Text = Annotated[str, BeforeValidator(value_check(_text)), AfterValidator(value_check(require_text))]
"""What a domain or data set on disk may be called."""
Name = Annotated[str, BeforeValidator(value_check(_text)), AfterValidator(value_check(require_name))]
"""What a user makes up."""
SweepName = Annotated[Name, AfterValidator(value_check(_not_reserved))]
DataName = Annotated[Text, AfterValidator(value_check(_not_a_path))]
