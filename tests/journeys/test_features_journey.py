"""From vectors in a file to a head that answers, typed as docs/features.md says. Each test continues the last."""

import ast
import json
from pathlib import Path

import pytest

from ndcl.data.catalogue import entry_of
from tests.journeys.clone import Clone
from tests.journeys.guides import block

pytestmark = pytest.mark.soak
SMALL = (
    *("data.targets=[photo]", "train.num_steps=100", "train.evaluate_every=50", "search.num_trials=1", "final.seeds=1"),
    "search.scheduler.name=none",
)
FIRST = block("docs/features.md", "ndcl data import features.parquet")
PARQUET, NPZ = block("docs/features.md", "import pyarrow as pa"), block("docs/features.md", "np.savez")
REST = """
import numpy as np
from ndcl.data.catalogue import entry_of

entry = entry_of("PACS")
counts = entry.counts.ravel()
domain_ids, class_ids = (np.repeat(ids.ravel(), counts) for ids in np.indices(entry.counts.shape))
labels = [entry.classes[k] for k in class_ids]
domains = [entry.domains[d] for d in domain_ids]

class model:
    def encode(images):
        noise = np.random.default_rng(0).normal(size=(len(labels), 16))
        return (4 * np.eye(16)[class_ids] + noise).astype(np.float16)

images = None
"""
"""What the reader has: a model, images, and their classes and domains, here as many as PACS has."""


def records(clone: Clone, sweep: str) -> list[dict]:
    return [json.loads(path.read_text()) for path in clone.folder.glob(f"results/{sweep}/trials/*.json")]


def test_vectors_are_written_as_the_page_says(clone: Clone) -> None:
    clone.type("python -", text=f"{REST}\n{PARQUET.text}\n{NPZ.text}")
    assert (clone.folder / "features.parquet").is_file()


def test_import_of_parquet(clone: Clone) -> None:
    printed = clone.type(FIRST.line("ndcl data import"))
    assert "9,991 vectors of 4 domains and 7 classes: 16 features of float16" in printed
    assert "next: ndcl data show pacs_dino" in printed
    assert "2,048" in clone.type("ndcl data show pacs_dino")
    assert "photo" in clone.type(FIRST.line("ndcl data imbalance"))


def test_sweep_report_export_and_predict(clone: Clone) -> None:
    assert "results: results/pacs_dino" in clone.type(FIRST.line("ndcl sweep"), *SMALL)
    found = records(clone, "pacs_dino")
    assert [record["state"] for record in found] == ["finished"] * 4
    for record in found:
        best = max(record["evaluations"], key=lambda each: each["validation_accuracy"])
        assert best["target"]["overall"] > 0.2
    use = block("docs/features.md", "ndcl report pacs_dino")
    assert "ndcl - erm" in clone.type(use.line("ndcl report"))
    clone.type(use.line("ndcl export"))
    names = clone.type("python -", text=block("docs/features.md", "import numpy as np\n\nimport ndcl").text)
    assert len(found_names := ast.literal_eval(names)) == 5
    assert set(found_names) <= set(entry_of("PACS").classes)


def test_npz_in_the_same_way(clone: Clone) -> None:
    assert "9,991 vectors of 4 domains" in clone.type(
        block("docs/features.md", "ndcl data import features.npz").lines[0]
    )
    shown = [clone.type(f"ndcl data show {name}") for name in ("mine", "pacs_dino")]
    digests = [line for text in shown for line in text.splitlines() if line.startswith("digest: ")]
    assert len(digests) == 2
    assert digests[0] == digests[1], "the same vectors are the same data set"
    sweep = block("docs/features.md", "ndcl sweep search_spaces/features.yaml").lines[0]
    assert "results: results/mine" in clone.type(sweep, *SMALL, "final.seeds=0")
    assert [record["state"] for record in records(clone, "mine")] == ["finished"] * 2
    assert Path(clone.folder, "results/mine/report.html").is_file()
