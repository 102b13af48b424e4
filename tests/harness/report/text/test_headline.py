"""What the terminal shows of a large sweep: overall accuracy, what differs, and where the rest is."""

import io

from rich.console import Console

from harness.report import compare
from harness.report.text.console import MOST_LINES, to_console
from harness.report.text.headline_grid import REST, headline_grids
from ndcl.algorithm_configs import ALGORITHM_CONFIGS
from tests.harness.report.text.test_paper import records
from tests.made.made_large_sweep import sweep_records

RATIOS = (10, 20, 40, 80, 160, 320)
MANY = {name: 0.3 + 0.004 * place for place, name in enumerate(ALGORITHM_CONFIGS)}


def lines(comparison, width: int = 100) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(to_console(comparison))
    return out.getvalue().splitlines()


def row(shown: list[str], name: str) -> list[str]:
    (found,) = [line.split() for line in shown if line.split()[:1] == [name]]
    return found


def test_a_small_sweep_is_shown_whole():
    shown = "\n".join(lines(compare(records({"erm": 0.4, "ndcl": 0.5}))))
    assert "ndcl - erm" in shown
    assert "few" in shown
    assert REST not in shown


def test_six_settings_are_one_table():
    own = [
        *records({"erm": 0.4, "ndcl": 0.5}, ratios=RATIOS[:3]),
        *records({"erm": 0.4, "ndcl": 0.3}, ratios=RATIOS[3:]),
    ]
    shown = lines(compare(own))
    assert len(shown) < 60 < MOST_LINES
    assert row(shown, "ndcl").count(">") == row(shown, "ndcl").count("<") == 3
    assert row(shown, "erm")[1:] == ["49.5", "±0.3"] * 6
    assert "report.html and report.md" in " ".join(shown[-3:])
    assert sum("To deploy" in line for line in shown) == 6
    assert sum(line.startswith("digits, long_tail-10: To deploy") for line in shown) == 1


def test_of_one_setting_domains_mean_difference_and_rank():
    (grid,) = headline_grids(compare(records(MANY)))
    assert grid.header == ("algorithm", "scan", "texture", "print", "sign", "mean", "from erm", "rank")
    found = {r.labels[0]: r.cells for block in grid.blocks for r in block}
    assert found["erm"][-2:] == ("", f"{len(MANY)}.0")
    assert found["ndcl"][-3:-1] == ("> 39.9 ±0.3", "+0.4")


def test_no_cell_is_cut_on_a_narrow_terminal():
    shown = lines(compare(records(MANY)), width=80)
    assert max(map(len, shown)) <= 80
    assert all(row(shown, name)[-1].endswith(".0") for name in ("erm", "coral", "mldg"))


def test_what_must_be_known_is_said_once():
    shown = lines(compare(sweep_records()), width=400)
    assert sum("UNEQUAL BUDGET on sign" in line for line in shown) == 1
    assert sum(line.startswith("long_tail-200: * rests on one search trial") for line in shown) == 1
    assert row(shown, "focal")[-2] == "42.2*"
    assert sum("Overall, over 4 unseen domains" in line for line in shown) == 3


def test_the_oracle_is_marked():
    shown = lines(
        compare(records({"erm": 0.4, "ndcl": 0.5}, ratios=RATIOS, merits={"oracle_accuracy": 0.5})), width=300
    )
    assert any(line.startswith("ORACLE, digits: overall accuracy") for line in shown)
    assert sum(line.startswith("ORACLE: selected with labels of the target domain") for line in shown) == 1
