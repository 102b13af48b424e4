"""The fields of KubeRay's RayJob and RayCluster, and of the pods in them, as JSON Schemas made of its CRDs.

`python -m harness.cluster.catalogue.kuberay crds.yaml` writes `kuberay.json` anew from the CRDs of your operator
(kubectl get crd rayclusters.ray.io rayjobs.ray.io -o yaml > crds.yaml), or of the Helm chart of its release (`crds/`).
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("kuberay.json")
VERSION = "v1"
KINDS = ("RayCluster", "RayJob")
LEAST_SHARED = 3
"""Lines of fields from which on what stands in several places is written once."""


@cache
def schema_of_kind(kind: str) -> Mapping[str, Any]:
    """That of an object's `spec`."""
    loaded: dict[str, Any] = json.loads(FILE.read_text())
    return {"$ref": f"#/definitions/{kind}", "definitions": loaded["definitions"]}


def as_of() -> str:
    """Which API the shipped file describes."""
    return str(json.loads(FILE.read_text())["$comment"])


def schemas_of(crds: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """By kind, those of the `spec`s."""
    found = {}
    for crd in crds:
        kind = crd["spec"]["names"]["kind"]
        for version in crd["spec"]["versions"] if kind in KINDS else ():
            if version["name"] == VERSION:
                found[kind] = _reduced(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    return found


def _reduced(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Fields and types alone. What is missing Kubernetes tells itself; what it does not know it drops silently."""
    if schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields"):
        return {}
    if "enum" in schema:
        return {"enum": list(schema["enum"])}
    match schema.get("type"):
        case "object" if schema.get("properties"):
            fields = {key: _reduced(below) for key, below in sorted(schema["properties"].items())}
            return {"type": "object", "properties": fields, "additionalProperties": False}
        case "object":
            values = schema.get("additionalProperties")
            return {"type": "object"} | (
                {"additionalProperties": _reduced(values)} if isinstance(values, Mapping) else {}
            )
        case "array":
            return {"type": "array", "items": _reduced(schema.get("items", {}))}
        case kind:
            return {"type": kind} if kind else {}


def write(schemas: Mapping[str, Any], comment: str, path: Path = FILE) -> None:
    """Once what stands in several places, such as a pod, and a line each."""
    counts = Counter(text for schema in schemas.values() for text in _texts(schema))
    shared = [text for text, count in counts.items() if count > 1 and text.count('"type"') > LEAST_SHARED]
    names = {text: f"d{number}" for number, text in enumerate(sorted(shared, key=len), start=1)}
    definitions = {name: _shortened(json.loads(text), names, {text}) for text, name in names.items()}
    definitions |= {kind: _shortened(schema, names, set()) for kind, schema in schemas.items()}
    lines = [f"{json.dumps(name)}: {json.dumps(schema)}" for name, schema in definitions.items()]
    path.write_text(f'{{\n"$comment": {json.dumps(comment)},\n"definitions": {{\n' + ",\n".join(lines) + "\n}\n}\n")


def _texts(schema: Any) -> Iterator[str]:
    """Of every object with fields, from the outside in."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield json.dumps(schema)
        for below in schema.values():
            yield from _texts(below)


def _shortened(schema: Any, names: Mapping[str, str], own: set[str]) -> Any:
    """With a reference in place of each that has a name, but for its own."""
    if not isinstance(schema, dict):
        return schema
    text = json.dumps(schema)
    if text in names and text not in own:
        return {"$ref": f"#/definitions/{names[text]}"}
    return {key: _shortened(below, names, own) for key, below in schema.items()}


def main(path: Path) -> None:
    """Of a file with CRDs, one after another or as kubectl's list."""
    documents = [document for document in yaml.safe_load_all(path.read_text()) if document]
    crds = [item for document in documents for item in document.get("items", [document])]
    operators = {str(crd["metadata"].get("annotations", {})) for crd in crds}
    write(schemas_of(crds), f"ray.io/{VERSION}, from {path.name} ({'; '.join(sorted(operators))[:200]})")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
