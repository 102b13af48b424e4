"""What is shipped of providers' own lists: as they are published, made by the commands that the files name."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from moto import mock_aws

from harness.cluster.catalogue import compute_engine, ec2_types, kuberay
from harness.cluster.catalogue.machine_sizes import MachineSize, azure_size, gce_size, is_gce_type


def test_ec2s_types_are_as_ec2_describes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """moto carries what EC2 answered on the day of its release; types that came or went since are left out."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made")
    with mock_aws():
        asked = {found.name: found for found in ec2_types.ask_for_all("us-west-2")}
    shipped = ec2_types.ec2_types()
    both = asked.keys() & shipped.keys()
    assert len(both) > 1000
    assert {name: asked[name] for name in both} == {name: shipped[name] for name in both}
    ec2_types.write(shipped.values(), tmp_path / "types.csv")
    assert (tmp_path / "types.csv").read_text() == ec2_types.FILE.read_text()


@pytest.mark.parametrize(
    ("name", "gpus", "efa", "nvme"),
    [("g5.xlarge", 1, 0, 250), ("g6e.48xlarge", 8, 4, 7600), ("p5.48xlarge", 8, 32, 30400), ("m6i.xlarge", 0, 0, 0)],
)
def test_gpus_efa_and_disks_of_types_in_use(name: str, gpus: int, efa: int, nvme: int) -> None:
    found = ec2_types.ec2_types()[name]
    assert (found.gpus, found.efa_interfaces, found.nvme_gb) == (gpus, efa, nvme)


DOCUMENT = {
    "revision": "20260101",
    "schemas": {
        "Instance": {
            "type": "object",
            "properties": {
                "disks": {"type": "array", "items": {"$ref": "Disk"}},
                "status": {"type": "string", "readOnly": True},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
        "Disk": {
            "type": "object",
            "properties": {
                "sizeGb": {"type": "string", "format": "int64", "description": "words"},
                "mode": {"type": "string", "enum": ["READ", "WRITE"], "enumDescriptions": ["", ""]},
            },
        },
        "Other": {"type": "object", "properties": {}},
    },
}


def test_googles_document_becomes_a_schema_of_what_can_be_set(tmp_path: Path) -> None:
    schema = compute_engine.schema_of(DOCUMENT)
    assert schema["definitions"].keys() == {"Disk", "Instance"}
    assert schema["definitions"]["Instance"]["properties"].keys() == {"disks", "labels"}
    assert schema["definitions"]["Disk"]["properties"] == {
        "sizeGb": {"type": ["string", "integer"], "pattern": r"^-?\d+$"},
        "mode": {"enum": ["READ", "WRITE"]},
    }
    compute_engine.write(DOCUMENT, tmp_path / "written.json")
    assert json.loads((tmp_path / "written.json").read_text()) == schema


def test_the_shipped_schema_of_an_instance_is_whole() -> None:
    schema = json.loads(compute_engine.FILE.read_text())
    refs = {ref.rpartition("/")[2] for ref in _refs(schema)}
    assert refs == schema["definitions"].keys()
    assert {"machineType", "scheduling", "disks"} <= schema["definitions"]["Instance"]["properties"].keys()


def _refs(value: Any) -> list[str]:
    if isinstance(value, list):
        return [ref for item in value for ref in _refs(item)]
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for below in value.values() for ref in _refs(below)]
    return []


def crd(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    old = {"name": "v1alpha1", "schema": {"openAPIV3Schema": {"properties": {"spec": {"type": "object"}}}}}
    new = {"name": "v1", "schema": {"openAPIV3Schema": {"properties": {"spec": spec}}}}
    return {"metadata": {"name": kind}, "spec": {"names": {"kind": kind}, "versions": [old, new]}}


POD = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "image": {"type": "string", "description": "words"},
        "limits": {"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": True}},
        "policy": {"type": "string", "enum": ["Never", "Always"]},
        "ports": {"type": "array", "items": {"type": "integer", "format": "int32"}},
        "anything": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}


def test_crds_become_schemas_that_refuse_what_kubernetes_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"type": "object", "properties": {"head": POD, "worker": POD}}
    job = {"type": "object", "properties": {"submitter": POD}}
    crds = {"kind": "List", "items": [crd("RayCluster", spec), crd("RayJob", job), crd("RayService", spec)]}
    (tmp_path / "crds.yaml").write_text(yaml.safe_dump(crds))
    written = tmp_path / "kuberay.json"
    monkeypatch.setattr(kuberay.write, "__defaults__", (written,))
    kuberay.main(tmp_path / "crds.yaml")
    definitions = json.loads(written.read_text())["definitions"]
    shared = next(name for name in definitions if not name.startswith("Ray"))
    assert definitions.keys() == {shared, "RayCluster"} | {"RayJob"}
    assert definitions[shared]["properties"] == {
        "image": {"type": "string"},
        "limits": {"type": "object", "additionalProperties": {}},
        "policy": {"enum": ["Never", "Always"]},
        "ports": {"type": "array", "items": {"type": "integer"}},
        "anything": {},
    }
    assert definitions[shared]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("n2-standard-4", MachineSize(cpus=4, memory_gib=16)),
        ("zones/us-central1-a/machineTypes/g2-standard-24", MachineSize(cpus=24, memory_gib=96, gpus=2)),
        ("a3-highgpu-8g", MachineSize(cpus=208, memory_gib=1872, gpus=8)),
        ("e2-custom-4-8192", MachineSize(cpus=4, memory_gib=8)),
        ("n2-standart-4", None),
    ],
)
def test_googles_machines_by_name(name: str, size: MachineSize | None) -> None:
    assert gce_size(name) == size


def test_names_that_google_has_not() -> None:
    assert all(map(is_gce_type, ("c3-standard-88", "c4-highmem-8-lssd", "m1-ultramem-40", "custom-2-4096", "e2-micro")))
    assert not any(map(is_gce_type, ("g2-standard-6", "a2-highgpu-3g", "n2-standard", "n2_standard_4", "m6i.xlarge")))


def test_azures_machines_by_name() -> None:
    assert azure_size("Standard_NC4as_T4_v3") == MachineSize(cpus=4, memory_gib=28, gpus=1)
    assert azure_size("Standard_D4s_v5") == MachineSize(cpus=4, memory_gib=16)
    assert azure_size("Standard_X1") is None
