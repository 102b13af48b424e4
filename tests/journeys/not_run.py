"""Code blocks that no journey runs, each with the reason: (page, begin of the block) to why."""

_CLOUD = "needs an account of a cloud; tests/clusters_live runs these steps against a simulated one"
_OUTPUT = "shows what a command prints, not what to type"
_WEIGHTS = "fetches ImageNet weights from the internet; tests/ndcl/test_features.py embeds with random ones"
_PARTIAL = "a fragment that holds a placeholder for an address or a host"

NOT_RUN = {
    ("docs/clusters.md", "ndcl data download PACS"): _CLOUD,
    ("docs/clusters.md", "ndcl cluster submit"): _CLOUD,
    (
        "docs/clusters.md",
        "packer init",
    ): "needs Packer and an account; tests/harness/cluster/test_aws_image.py reads the recipe",
    ("docs/clusters.md", "prices in US dollars"): _OUTPUT,
    ("docs/clusters.md", "  - MLFLOW_STORE="): _PARTIAL,
    ("docs/clusters.md", "  gpu_h100:"): "a fragment; tests/harness/cluster/test_aws_capacity.py puts it into the file",
    (
        "docs/clusters.md",
        "uv tool install",
    ): "needs SkyPilot and an account; tests/harness/cluster/test_other_launchers.py has its loader read the file",
    (
        "docs/data.md",
        "ndcl data list",
    ): "downloads 191 MB; tests/ndcl/data/test_download.py fetches from a small server",
    ("docs/features.md", "ndcl data embed pacs"): _WEIGHTS,
    ("docs/features.md", "from pathlib import Path"): _WEIGHTS,
    ("docs/search_space.md", "left: 13200"): _OUTPUT,
}
