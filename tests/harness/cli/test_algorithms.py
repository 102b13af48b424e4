"""`ndcl algorithms`, and a sweep whose algorithms are a list."""

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from harness.cli.app import app
from harness.config.sweep import load_sweep
from harness.plan.plan import make_plan
from ndcl.algorithm_configs import ALGORITHM_CONFIGS
from ndcl.errors import UserError

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/algorithms.md").read_text()
SWEEP = {
    "name": "listed",
    "data": {"name": "digits", "targets": ["scan"]},
    "imbalance": {"setting": "long_tail", "ratio": 10},
    "train": {"num_steps": 10},
    "search": {"num_trials": 2},
}


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["algorithms", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_list_has_every_algorithm_with_its_paper() -> None:
    text = run()
    for name, config in ALGORITHM_CONFIGS.items():
        assert re.search(rf"^{name} +{re.escape(config.title)}: {re.escape(config.paper)}$", text, re.M)


def test_a_printed_block_is_what_a_list_means(tmp_path: Path) -> None:
    block = yaml.safe_load(run(*ALGORITHM_CONFIGS))
    listed, pasted = tmp_path / "listed.yaml", tmp_path / "pasted.yaml"
    listed.write_text(yaml.safe_dump({**SWEEP, "algorithms": list(ALGORITHM_CONFIGS)}))
    pasted.write_text(yaml.safe_dump({**SWEEP, **block}))
    first, second = (make_plan(load_sweep(path), tmp_path / "results") for path in (listed, pasted))
    others = {study.key: study for study in second.studies}
    assert len(first.studies) == len(others) == len(ALGORITHM_CONFIGS)
    for study in first.studies:
        assert set(study.space) == set(others[study.key].space)
        own = ALGORITHM_CONFIGS[study.key.algorithm].search_space()
        assert {f"algorithm.{key}" for key in own} <= set(study.space)


@pytest.mark.parametrize(
    ("algorithms", "words"),
    [
        (["erm", "corl"], "algorithms.corl: unknown algorithm 'corl'; did you mean 'coral'"),
        (["erm", "erm"], "algorithms.erm: it stands there twice; remove one"),
        (["erm", {"coral": {}}], r"algorithms.{'coral': {}}: a list takes names alone, such as \[erm, ndcl\]; to give"),
        ("ERM", "algorithms.ERM: unknown algorithm 'ERM'; did you mean 'erm'?"),
        (7, "algorithms: expected a mapping"),
    ],
)
def test_a_wrong_list_gets_one_line(tmp_path: Path, algorithms: list[object], words: str) -> None:
    path = tmp_path / "listed.yaml"
    path.write_text(yaml.safe_dump({**SWEEP, "algorithms": algorithms}))
    with pytest.raises(UserError, match=words) as caught:
        make_plan(load_sweep(path), tmp_path / "results")
    assert "algorithms" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_gets_one_line() -> None:
    result = CliRunner().invoke(app, ["algorithms", "corl"])
    assert result.exit_code == 2
    assert "did you mean 'coral'" in result.output


@pytest.mark.parametrize("name", ALGORITHM_CONFIGS)
def test_the_page_says_what_each_does(name: str) -> None:
    headings = re.findall(r"^### (.*)$", PAGE, re.M)
    assert [heading for heading in headings if f"`{name}`" in heading]
    if name != "ndcl":  # whose keys stand in the guide to a sweep's file
        missing = [key for key in ALGORITHM_CONFIGS[name].search_space() if f"`{key}`" not in PAGE]
        assert not missing


def test_an_algorithm_is_looked_at_though_another_takes_the_same_network(tmp_path: Path) -> None:
    path = tmp_path / "listed.yaml"
    train = {"num_steps": 10, "model.backbone": "mlp"}
    path.write_text(yaml.safe_dump({**SWEEP, "algorithms": ["erm", "arm"], "train": train}))
    with pytest.raises(UserError, match=r"study arm\..*: model.backbone: the algorithm gives images another channel"):
        make_plan(load_sweep(path), tmp_path / "results")


def test_features_alone_are_refused_where_there_are_none(tmp_path: Path) -> None:
    path = tmp_path / "listed.yaml"
    values = {**SWEEP, "algorithms": ["coral"], "train": {"num_steps": 10, "model.backbone": "linear"}}
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=r"coral changes features, .* set model.backbone to mlp"):
        make_plan(load_sweep(path), tmp_path / "results")


def test_the_readme_counts_them() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    assert f"NDCL with ERM and {len(ALGORITHM_CONFIGS) - 2} other algorithms" in readme
