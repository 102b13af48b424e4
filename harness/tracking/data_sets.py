"""A trial's data set as MLflow knows data sets: by name and digest, with what it holds. No data are read or copied."""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

MAX_DIGEST_LENGTH = 36
"""Set by MLflow; runs have the whole digest in the tag `data_digest`."""


def data_input(facts: dict[str, Any]) -> "DatasetInput":
    """The data set of a trial with these facts (`harness.environment.data_facts`) as an input of its run.

    Target domain and class counts are the trial's, not the data set's, and so are not part of it.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data_set = Dataset(
        name=facts["name"],
        digest=facts["digest"][:MAX_DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": facts["folder"]}),
        profile=json.dumps({key: facts[key] for key in ("num_images", "domains", "classes", "digest")}),
    )
    return DatasetInput(data_set, [InputTag("mlflow.data.context", "training")])
