"""What second looks at the best trials changed, as grids of text."""

from collections.abc import Iterator, Sequence

from harness.report.analysis.details import Details, StudyDetails
from harness.report.text.grid import Grid, label_rows, rounded

HEADER = ("algorithm", "unseen domain", "looked at", "first by the search", "its value", "chosen", "its value")


def second_look_grids(details: Details) -> Iterator[Grid]:
    """One for each data set and setting of which a study had a second look."""
    groups: dict[tuple[str, str], list[StudyDetails]] = {}
    for study in details.studies:
        if study.second_look is not None:
            groups.setdefault((study.key.dataset, study.key.setting), []).append(study)
    for (dataset, setting), studies in groups.items():
        yield _grid(f"{dataset}, {setting}", studies)


def _grid(where: str, studies: Sequence[StudyDetails]) -> Grid:
    algorithms = dict.fromkeys(study.key.algorithm for study in studies)
    looks = [study.second_look for study in studies if study.second_look]
    changed = sum(look.chosen != look.first for look in looks)
    return Grid(
        title=f"{where}: second look at the best trials, in %",
        header=HEADER,
        blocks=tuple(
            label_rows(
                name,
                [
                    (study.key.target, _cells(study), (False,) * (len(HEADER) - 2))
                    for study in studies
                    if study.key.algorithm == name
                ],
            )
            for name in algorithms
        ),
        notes=(
            f"The best trials by the search were trained anew, each without one source domain in turn, and judged by "
            f"{' and '.join(dict.fromkeys(look.by for look in looks))} at the checkpoint that the search's criterion "
            "chooses; the final runs repeat the best of them. The target domain has no part in it.",
            f"{changed} of {len(looks)} studies chose another trial than the search's best.",
        ),
    )


def _cells(study: StudyDetails) -> list[str]:
    look = study.second_look
    assert look is not None, "only studies that had one are shown"
    return [
        str(look.num_trials),
        f"search-{look.first:03d}",
        rounded(look.first_value),
        f"search-{look.chosen:03d}",
        rounded(look.chosen_value),
    ]
