"""`ndcl plan`: what a sweep would run, what of it is done, and what the rest costs."""

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import OnNewData, Results, Settings, SweepFile, planned
from harness.records.places import DEFAULT_RESULTS
from harness.terminal.lines import say

if TYPE_CHECKING:
    from harness.plan import Plan
    from harness.plan.cost import Kind, Overhead, Speed


def plan(
    sweep: SweepFile,
    settings: Settings = None,
    results: Results = DEFAULT_RESULTS,
    on_new_data: OnNewData = None,
    measure: Annotated[bool, typer.Option("--measure", help="Time a few steps of each kind of training here.")] = False,
    per_gpu_hour: Annotated[float, typer.Option("--price-per-gpu-hour", metavar="USD", min=0, help="Of a GPU.")] = 0.0,
    per_cpu_hour: Annotated[float, typer.Option("--price-per-cpu-hour", metavar="USD", min=0, help="Of a core.")] = 0.0,
) -> None:
    """Show what a sweep would run, what of it is done, and what the rest costs."""
    from harness.plan.cost import recorded_speeds
    from harness.plan.fit import fit
    from harness.plan.words import Prices, cost_lines, model_warnings, plan_table, plan_totals
    from harness.records import Journal
    from harness.state.bound_data import require_same_data, warm_start_line
    from harness.sweep.prepare import refusal
    from harness.terminal.terminal import console_of

    made = planned(sweep, settings, results, on_new_data)
    found = require_same_data(made)
    records, reason = Journal(made.folder).read(), refusal(made)
    console_of().print(plan_table(made, records))
    for line in plan_totals(made, records).splitlines():
        say(line)
    for line in warm_start_line(made, found):
        say(line)
    speeds, overhead = _measured(made) if measure else (recorded_speeds(records), None)
    prices = Prices(per_cpu_hour=per_cpu_hour, per_gpu_hour=per_gpu_hour)
    for line in cost_lines(made, records, speeds, fit(made), prices, overhead):
        say(line)
    for line in model_warnings(made):
        say(line)
    if reason:
        say(f"warning: ndcl sweep would refuse it: {reason}")


def _measured(made: "Plan") -> "tuple[dict[Kind, Speed], Overhead]":
    from harness.plan.measure import measured_overhead, measured_speeds
    from harness.plan.words import overhead_line, speed_line

    overhead, speeds = measured_overhead(), {}
    for kind, speed in measured_speeds(made, overhead.seconds_per_report):
        say(speed_line(kind, speed))
        speeds[kind] = speed
    say(overhead_line(overhead))
    return speeds, overhead
