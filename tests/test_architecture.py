"""Who may import whom, read from the source: a direction that is broken once is broken for good.

The tables are those of docs/architecture.md. An import inside a function or under TYPE_CHECKING counts, too.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HARNESS = {
    "terminal": (),
    "records": (),
    "config": ("records", "terminal"),
    "plan": ("records", "config", "terminal"),
    "storage": ("records",),
    "search": ("records", "config", "plan"),
    "state": ("records", "config", "plan", "storage"),
    "report": ("records", "config", "plan", "search", "terminal"),
    "cluster": ("records", "config", "plan", "storage", "terminal"),
    "trials": ("records", "config", "storage", "cluster"),
    "tracking": ("records", "config", "plan", "storage", "state", "search", "report", "terminal"),
    "sweep": ("records", "config", "plan", "storage", "search", "state", "cluster", "trials", "tracking"),
}
"""Package of harness to those of its packages that it may import; `cli` may import all."""
FOREIGN = {
    "torch": {"trials", "plan/measure.py", "plan/neighbours.py", "plan/fit.py~"},
    "ray": {"trials", "sweep/tune.py", "sweep/run.py~", "cluster~"},
    "optuna": {"search", "config/parameters.py~", "config/space.py~", "report/analysis/importance.py~"},
    "mlflow": {"tracking~"},
    "rich": {"terminal"},
    "typer": {"cli"},
    "matplotlib": {"report/figures~", "search/figures.py~", "cli/data/imbalance_picture.py~"},
    "boto3": {"cluster~"},
    "botocore": {"cluster~"},
}
"""Library to the places in harness that may import it; `~`: inside functions or for types only."""
NDCL = (
    (
        "errors",
        "strict",
        "ranges",
        "files",
        "filesystems",
        "seeds",
        "architectures",
        "names",
        "criteria",
        "processors",
        "checkpoint_files",
        "timm_models",
        "blocks",
    ),
    ("config", "algorithm_configs", "batch", "gpus"),
    ("losses", "mixing", "imbalance", "unused", "unreached", "compatibility"),
    ("data", "evaluation"),
    ("models", "measurable"),
    ("algorithms", "parallel", "features"),
    ("checkpoints",),
    ("serving", "training"),
)
"""The floors of ndcl, the ground first: what stands on one imports of its own floor or of those below."""
REPORT = {"analysis": (), "text": ("analysis",), "html": ("analysis", "text"), "figures": ("analysis", "text")}
"""Folder of harness/report to those of its folders that it may import."""
FORBIDDEN_IN_METHOD = {"ray", "optuna", "mlflow", "pydantic", "typer", "rich", "harness"}


@cache
def modules() -> Mapping[str, Path]:
    """All files of both packages by their dotted names."""
    paths = [path for package in ("ndcl", "harness") for path in sorted((ROOT / package).rglob("*.py"))]
    assert len(paths) > 100
    return {_dotted(path): path for path in paths}


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports(path: Path) -> frozenset[str]:
    """Full names of all modules that the file imports, wherever it does."""
    return frozenset(_names(ast.walk(ast.parse(path.read_text()))))


@cache
def imports_at_once(path: Path) -> frozenset[str]:
    """Those that it imports when it is imported."""
    return frozenset(_names(ast.parse(path.read_text()).body))


def _names(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in modules() else node.module


def arrows(inside: str) -> dict[str, set[str]]:
    """Each module below the package `inside` to those below it that it imports."""
    own = {name for name in modules() if name == inside or name.startswith(f"{inside}.")}
    return {name: set(imports(modules()[name])) & own - {name} for name in own}


def cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """What is left once all that imports nothing of the rest is taken off: cycles, and what leads to them."""
    left = dict(graph)
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)


def package_of(name: str) -> str:
    return ".".join(name.split(".")[:2])


def sources(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


@pytest.mark.parametrize("inside", ["ndcl", "harness"])
def test_no_files_import_each_other(inside: str) -> None:
    assert cycle(arrows(inside)) == []


@pytest.mark.parametrize("inside", ["ndcl", "harness"])
def test_no_packages_import_each_other(inside: str) -> None:
    graph: dict[str, set[str]] = {}
    for name, others in arrows(inside).items():
        graph.setdefault(package_of(name), set()).update({package_of(other) for other in others} - {package_of(name)})
    graph.pop(inside)  # the face of the whole
    assert cycle({name: others - {inside} for name, others in graph.items()}) == []


def test_a_cycle_is_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


def test_the_table_names_every_package_of_the_harness() -> None:
    found = {path.name for path in (ROOT / "harness").iterdir() if (path / "__init__.py").is_file()}
    assert found == {*HARNESS, "cli"}
    assert cycle({name: set(others) for name, others in HARNESS.items()}) == []


@pytest.mark.parametrize("package", sorted(HARNESS))
def test_packages_of_the_harness_import_what_the_table_says(package: str) -> None:
    allowed = {package, *HARNESS[package]}
    wrong = [
        (str(path.relative_to(ROOT)), name)
        for path in sources(f"harness/{package}")
        for name in imports(path)
        if name.startswith("harness.") and name.split(".")[1] not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", sorted(REPORT))
def test_folders_of_the_report_import_what_the_table_says(folder: str) -> None:
    allowed = {f"harness.report.{name}" for name in (folder, *REPORT[folder])}
    wrong = [
        (str(path.relative_to(ROOT)), name)
        for path in sources(f"harness/report/{folder}")
        for name in imports(path)
        if name.startswith("harness.report") and ".".join(name.split(".")[:3]) not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("library", sorted(FOREIGN))
def test_libraries_are_imported_where_the_table_says(library: str) -> None:
    places = FOREIGN[library]
    always = [ROOT / "harness" / place for place in places if not place.endswith("~")]
    late = [ROOT / "harness" / place.removesuffix("~") for place in places if place.endswith("~")]
    assert all(place.exists() for place in (*always, *late))
    for path in sources("harness"):
        if any(path.is_relative_to(place) for place in always):
            continue
        found = {name.split(".")[0] for name in imports_at_once(path)}
        assert library not in found, path
        if not any(path.is_relative_to(place) for place in late):
            assert library not in {name.split(".")[0] for name in imports(path)}, path


@pytest.mark.parametrize("path", sources("ndcl"), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_method_stands_alone(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & FORBIDDEN_IN_METHOD


def test_the_method_imports_downwards() -> None:
    floors = {name: number for number, floor in enumerate(NDCL) for name in floor}
    found = {path.stem if path.is_file() else path.name for path in (ROOT / "ndcl").iterdir()}
    assert found - set(floors) == {"__init__", "__pycache__", "protocols"} & found
    wrong = [
        (name, other)
        for name, others in arrows("ndcl").items()
        for other in others
        if name != "ndcl" and other != "ndcl" and floors[name.split(".")[1]] < floors[other.split(".")[1]]
    ]
    assert wrong == []


@pytest.mark.parametrize("path", sources("ndcl/serving"), ids=lambda p: p.stem)
def test_models_in_use_know_nothing_of_training(path: Path) -> None:
    above = ("ndcl.training", "ndcl.algorithms", "ndcl.losses", "ndcl.mixing")
    assert not [name for name in imports(path) if name.startswith(above)]


FACES = sorted(path for package in ("ndcl", "harness") for path in (ROOT / package).rglob("__init__.py"))


@pytest.mark.parametrize("path", FACES, ids=lambda p: str(p.parent.relative_to(ROOT)))
def test_a_face_has_a_docstring_and_no_code(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    for node in tree.body[1:]:
        if path.parent == ROOT / "ndcl" and isinstance(node, ast.FunctionDef | ast.If | ast.Assign):
            continue  # `load_model` and the version
        is_all = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        assert is_all or isinstance(node, ast.Import | ast.ImportFrom), ast.unparse(node)


def test_every_folder_of_code_has_a_face() -> None:
    folders = {path.parent for package in ("ndcl", "harness") for path in sources(package)}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_private_names_stay_in_their_file() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {node.module}.{alias.name}"
        for path in (*sources("harness"), *sources("ndcl"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("harness", "ndcl")
        for alias in node.names
        if alias.name.startswith("_")
    ]
    assert found == []


def test_all_output_goes_through_the_terminal() -> None:
    """Elsewhere a name with brackets could become markup, and a file name that is no text could end a command."""
    printed = [f"{path.relative_to(ROOT)}:{line}" for path in sources("harness") for line in prints(path)]
    assert printed == []


def prints(path: Path) -> list[int]:
    """Lines that print by another way than `say`."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if ast.unparse(call.func) in PRINTING]


PRINTING = {f"{module}.{name}" for module in ("typer", "click") for name in ("echo", "secho", "style")} | {
    "print",
    "sys.stdout.write",
    "sys.stderr.write",
}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("harness.cli", {"torch", "ray", "optuna", "mlflow", "rich", "pydantic", "numpy", "pyarrow", "matplotlib"}),
        ("harness.plan.plan, harness.report.files", {"torch", "ray", "mlflow"}),
        ("harness.config", {"torch", "ray", "optuna", "mlflow"}),
        ("harness.records", {"torch", "ray", "optuna", "mlflow"}),
        ("harness.state, harness.storage.object_checkpoints", {"torch", "ray", "optuna", "mlflow"}),
        ("harness.sweep.run, harness.sweep.tune, harness.trials.entry", {"torch", "mlflow"}),
        ("ndcl.training.build", FORBIDDEN_IN_METHOD | {"torch.distributed.fsdp", "torch._dynamo"}),
    ],
)
def test_an_import_loads_only_what_it_needs(module: str, unwanted: set[str]) -> None:
    code = f"import sys, {module}; sys.exit(', '.join(sorted({unwanted} & set(sys.modules))) or 0)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("line", ["--help", "plan search_spaces/digits.yaml", "plan search_spaces/pacs.yaml", "status"])
def test_what_looks_at_a_sweep_needs_no_torch(line: str, tmp_path: Path) -> None:
    code = (
        "import sys, atexit\n"
        "loaded = lambda: print(sorted({'torch', 'ray', 'optuna', 'mlflow'} & set(sys.modules)))\n"
        "atexit.register(loaded)\n"
        "from harness.entry_point import main; sys.exit(main())"
    )
    words = [str(ROOT / word) if word.endswith(".yaml") else word for word in line.split()]
    typed = [sys.executable, "-c", code, *words]
    done = subprocess.run(typed, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_what_users_files_name_stays_where_it_is() -> None:
    """Clusters' YAML, logged models and Slurm jobs of version 0.1 call these."""
    for name in ("harness.cli", "harness.cluster.spot_guard", "harness.cluster.head_check", "ndcl.serving.pyfunc"):
        assert name in modules()
    assert (ROOT / "harness" / "cli" / "__main__.py").is_file()
    texts = [path.read_text() for path in (ROOT / "clusters").iterdir() if path.is_file()]
    called = {name for text in texts for name in re.findall(r"python3? -m (harness[\w.]*)", text)}
    assert called
    assert called <= set(modules())
