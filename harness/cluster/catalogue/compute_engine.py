"""The fields of a Compute Engine instance that may be set, as a JSON Schema made of Google's discovery document.

`python -m harness.cluster.catalogue.compute_engine` writes `compute_engine.json` anew from the document that
google-api-python-client carries; where that is installed, its own is read.
"""

import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("compute_engine.json")
CLIENT = "googleapiclient"
DOCUMENT = Path("discovery_cache") / "documents" / "compute.v1.json"
ROOT = "Instance"
BIG_NUMBERS = ("int64", "uint64")
"""Which the document calls strings; the API also takes them as numbers."""


@cache
def instance_schema() -> Mapping[str, Any]:
    """Of the installed client, else of the shipped file."""
    document = _installed()
    loaded: dict[str, Any] = schema_of(document) if document else json.loads(FILE.read_text())
    return loaded


def schema_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What of the document describes an instance that is to be made: no documentation, nothing that only comes back."""
    definitions: dict[str, Any] = {}
    open_names = [ROOT]
    while open_names:
        name = open_names.pop()
        if name not in definitions:
            definitions[name] = _reduced(document["schemas"][name])
            open_names += [ref.rpartition("/")[2] for ref in _refs(definitions[name])]
    return {
        "$comment": f"Compute Engine v1, revision {document['revision']}",
        "$ref": f"#/definitions/{ROOT}",
        "definitions": dict(sorted(definitions.items())),
    }


def _reduced(schema: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return {"$ref": f"#/definitions/{schema['$ref']}"}
    match schema.get("type"):
        case "object" if "properties" in schema:
            settable = {key: below for key, below in schema["properties"].items() if not below.get("readOnly")}
            fields = {key: _reduced(below) for key, below in settable.items()}
            return {"type": "object", "properties": fields, "additionalProperties": False}
        case "object":
            return {"type": "object"}
        case "array":
            return {"type": "array", "items": _reduced(schema["items"])}
        case "string" if schema.get("format") in BIG_NUMBERS:
            return {"type": ["string", "integer"], "pattern": r"^-?\d+$"}
        case "string" if "enum" in schema:
            return {"enum": list(schema["enum"])}
        case kind:
            return {"type": kind} if kind and kind != "any" else {}


def _refs(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        own = [schema["$ref"]] if "$ref" in schema else []
        return own + [ref for below in schema.values() for ref in _refs(below)]
    return []


def _installed() -> dict[str, Any] | None:
    spec = importlib.util.find_spec(CLIENT)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / DOCUMENT
    return json.loads(path.read_text()) if path.is_file() else None


def write(document: Mapping[str, Any], path: Path = FILE) -> None:
    """As compact as it can be read line by line: a definition each."""
    schema = schema_of(document)
    lines = [f"{json.dumps(name)}: {json.dumps(below)}" for name, below in schema.pop("definitions").items()]
    head = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in schema.items()]
    path.write_text("{\n" + ",\n".join(head) + ',\n"definitions": {\n' + ",\n".join(lines) + "\n}\n}\n")


if __name__ == "__main__":
    found = _installed()
    assert found is not None, "pip install google-api-python-client"
    write(found)
