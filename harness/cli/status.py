"""`ndcl status`: how far a sweep is."""

from typing import Annotated

import typer

from harness.cli.options import WRONG_INPUT, Results, SweepName, given_sweep
from harness.records.places import DEFAULT_RESULTS


def status(
    name: SweepName,
    results: Results = DEFAULT_RESULTS,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every few seconds, until it has ended.")] = False,
) -> None:
    """Show how far a sweep is, from any shell, while it runs or afterwards; nothing is written.

    Exit code 2 if a record is damaged.
    """
    from harness.cli.status_view import status_view, watched
    from harness.state import read_status
    from harness.terminal.terminal import console_of

    console, (name, results) = console_of(), given_sweep(name, results)
    if watch:
        watched(console, lambda: read_status(results, name))
    else:
        found = read_status(results, name)
        console.print(status_view(found), soft_wrap=True)
        if found.damaged:
            raise typer.Exit(WRONG_INPUT)
