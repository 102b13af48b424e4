"""`ndcl report`: the comparison of a sweep, in the terminal and as files."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Results, SweepName, recorded_sweep
from harness.records.places import DEFAULT_RESULTS
from harness.terminal.lines import say
from ndcl.files import clear_write_errors

if TYPE_CHECKING:
    from harness.records import TrialRecord


def report(
    name: SweepName,
    results: Results = DEFAULT_RESULTS,
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="ALGORITHM", help="The algorithm that all others are compared with."),
    ] = None,
    figures: Annotated[bool, typer.Option("--figures", help="Also draw PDF and PNG figures for a paper.")] = False,
    paper: Annotated[
        bool, typer.Option("--paper", help="Also write the tables and the appendix of a paper, in LaTeX.")
    ] = False,
) -> None:
    """Show the comparison of a sweep that has run or is running; write report.html, .md, .tex and .json beside it."""
    from harness.report.analysis.data_versions import unknown_lines, versions_of

    folder, records = recorded_sweep(name, results)
    show_comparison(folder, records, reference, figures=figures, paper=paper)
    for line in unknown_lines(versions_of(records)):
        say(line)
    say(f"page: {folder / 'report.html'}")


def show_comparison(
    folder: Path,
    records: "list[TrialRecord]",
    reference: str | None = None,
    *,
    figures: bool = False,
    paper: bool = False,
) -> None:
    """Print the comparison of a sweep, and write its report, and on request `figures` and the tables of a `paper`."""
    from harness.report import write_report
    from harness.report.files import compare_sweep, write_paper
    from harness.report.text.console import to_console
    from harness.storage.folder import OWN_RESULTS
    from harness.terminal.terminal import console_of

    comparison = compare_sweep(folder, records, reference)
    console_of().print(to_console(comparison))
    with clear_write_errors(folder, OWN_RESULTS):
        details = write_report(folder, comparison, records, say=partial(say, error=True))
        if figures:
            from harness.report.figures.files import FOLDER, write_figures

            write_figures(folder / FOLDER, comparison, details)
            say(f"figures: {folder / FOLDER}")
        if paper:
            say(f"paper: {write_paper(folder, comparison, details, records)}")
