"""Who may import whom, read from the source: a direction that is broken once is broken for good."""

import ast
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN_IN_METHOD = {"ray", "optuna", "mlflow", "pydantic", "typer", "rich", "harness"}
PURE = {
    "plan",
    "plan_cost",
    "plan_studies",
    "plan_view",
    "space",
    "selection",
    "paired_statistics",
    *(path.stem for path in (ROOT / "harness").glob("report*.py")),
    "config",
    "records",
    "workers",
    "status",
    "status_view",
    *(f"cluster/{name}" for name in ("cost", "files", "findings", "kuberay", "launcher", "prices", "ray_schema")),
    "lease",
    "storage",
    "stored_checkpoints",
}


def imports(path: Path) -> set[str]:
    """Full names of all modules that the file imports, also inside functions."""
    return _names(ast.walk(ast.parse(path.read_text())))


def imports_at_once(path: Path) -> set[str]:
    """Those that it imports when it is imported."""
    return _names(ast.parse(path.read_text()).body)


def _names(nodes: Iterable[ast.AST]) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def sources(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


@pytest.mark.parametrize("path", sources("ndcl"), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_method_stands_alone(path: Path) -> None:
    assert not packages(path) & FORBIDDEN_IN_METHOD


@pytest.mark.parametrize("path", sources("ndcl/data") + sources("ndcl/imbalance"), ids=lambda p: p.stem)
def test_data_know_nothing_of_models(path: Path) -> None:
    above = ("ndcl.models", "ndcl.algorithms", "ndcl.losses", "ndcl.mixing", "ndcl.training")
    assert not [name for name in imports(path) if name.startswith(above)]


BELOW_ALGORITHMS = [ROOT / "ndcl" / "losses.py", ROOT / "ndcl" / "mixing.py", *sources("ndcl/models")]


@pytest.mark.parametrize("path", BELOW_ALGORITHMS, ids=lambda p: p.stem)
def test_losses_mixing_and_models_know_nothing_of_algorithms(path: Path) -> None:
    assert not [name for name in imports(path) if name.startswith(("ndcl.algorithms", "ndcl.training"))]


def test_one_package_imports_mlflow() -> None:
    assert {path.parent.name for path in sources("harness") if "mlflow" in packages(path)} == {"tracking"}


def test_one_package_knows_clouds_and_loads_their_sdk_when_it_is_used() -> None:
    sdks = {"boto3", "botocore"}
    users = [path for path in sources("harness") if packages(path) & sdks]
    assert users
    assert all(path.is_relative_to(ROOT / "harness" / "cluster") for path in users)
    loaded_at_once = [path for path in users if {alias.split(".")[0] for alias in imports_at_once(path)} & sdks]
    assert loaded_at_once == []


@pytest.mark.parametrize("path", sources("ndcl/serving"), ids=lambda p: p.stem)
def test_models_in_use_know_nothing_of_training(path: Path) -> None:
    above = ("ndcl.training", "ndcl.algorithms", "ndcl.losses", "ndcl.mixing")
    assert not [name for name in imports(path) if name.startswith(above)]


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_modules_import_no_ray(name: str) -> None:
    assert not packages(ROOT / "harness" / f"{name}.py") & {"ray", "mlflow"}


def test_importing_the_method_loads_no_harness_package() -> None:
    code = (
        "import sys, ndcl.training; "
        f"bad = sorted({FORBIDDEN_IN_METHOD} & set(sys.modules)); sys.exit(', '.join(bad) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_plan_is_cheap_to_import() -> None:
    code = (
        "import sys, harness.plan, harness.report, harness.cli; "
        "sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
