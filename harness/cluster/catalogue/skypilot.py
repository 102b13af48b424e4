"""The fields of a SkyPilot task and of its resources, as the JSON Schemas that SkyPilot itself checks them by.

`python -m harness.cluster.catalogue.skypilot` writes `skypilot.json` anew, in an environment that has SkyPilot.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("skypilot.json")


@cache
def sky_schemas() -> Mapping[str, Any]:
    """`task` and `resources`, and under `$comment` the version that they are of."""
    loaded: dict[str, Any] = json.loads(FILE.read_text())
    return loaded


def write(task: Mapping[str, Any], resources: Mapping[str, Any], version: str, path: Path = FILE) -> None:
    """A line each."""
    schemas = {"$comment": f"SkyPilot {version}", "task": task, "resources": resources}
    path.write_text("{\n" + ",\n".join(f"{json.dumps(key)}: {json.dumps(of)}" for key, of in schemas.items()) + "\n}\n")


if __name__ == "__main__":
    import importlib
    from importlib.metadata import version as version_of

    theirs = importlib.import_module("sky.utils.schemas")
    write(theirs.get_task_schema(), theirs.get_resources_schema(), version_of("skypilot"))
