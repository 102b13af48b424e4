"""The figures for papers: which there are, in which formats, and the oracle's mark."""

from PIL import Image

from harness.report import compare
from harness.report.analysis.details import details_of
from harness.report.figures.files import write_figures
from tests.made.made_large_sweep import plans, sweep_records
from tests.made.made_records import measured

SETTING = "digits-long_tail-65"


def drawn(folder, records, plan=()):
    comparison = compare(records, studies=[study.key for study in plan])
    return write_figures(folder, comparison, details_of(records, plan, None))


def test_all_figures_of_a_setting_in_both_formats(tmp_path):
    plan = [study for study in plans() if study.key.setting == "long_tail-65"]
    records = [record for record in sweep_records() if record.study.setting == "long_tail-65"]
    files = drawn(tmp_path / "figures", records, plan)
    kinds = [f"{kind}-{SETTING}" for kind in ("search", "forest", "importance", "confusion", "margins")]
    names = [f"{name}.{suffix}" for name in [*kinds, "theory-digits"] for suffix in ("png", "pdf")]
    assert sorted(path.name for path in files) == sorted(names)
    for path in files:
        if path.suffix == ".pdf":
            assert path.read_bytes().startswith(b"%PDF")
        else:
            with Image.open(path) as image:
                assert len(image.convert("RGB").getcolors(maxcolors=1 << 20)) > 4


def test_only_what_there_are_numbers_for_is_drawn(tmp_path):
    records = [measured("erm", "scan", 0.5, ratio=ratio) for ratio in (10, 65)]
    assert {path.stem for path in drawn(tmp_path, records)} == {"accuracy_over_ratio"}
    assert drawn(tmp_path, []) == []


def test_the_oracle_is_marked_in_every_figure(tmp_path):
    for merit, marked in (("oracle_accuracy", True), ("validation_accuracy", False)):
        records = [
            measured(name, "scan", 0.5 + 0.01 * seed, seed=seed, merits={merit: 0.5})
            for name in ("erm", "ndcl")
            for seed in (1, 2)
        ]
        (figure,) = [path for path in drawn(tmp_path, records) if path.suffix == ".png"]
        with Image.open(figure) as image:
            assert ("ORACLE: selected with labels" in image.text["Title"]) == marked


def test_a_settings_name_with_a_slash_is_one_file(tmp_path):
    made = measured("erm", "scan", 0.5, stage="search", number=0)
    object.__setattr__(made.study, "setting", "released/cross")
    assert {path.stem for path in drawn(tmp_path, [made])} == {"search-digits-released~cross"}
