"""The `ndcl` command: its verbs, and how a mistake or an interruption ends it.

Ray, torch and MLflow take seconds to import, so that each verb imports what it needs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

import ndcl
from harness.cli.algorithms import algorithms
from harness.cli.cluster.app import cluster
from harness.cli.data.app import data
from harness.cli.deploy import deploy
from harness.cli.distill import distill
from harness.cli.export import export
from harness.cli.mlflow import sync, ui
from harness.cli.options import INTERRUPTED, WRONG_INPUT
from harness.cli.plan import plan
from harness.cli.predict import predict
from harness.cli.report import report
from harness.cli.shift import shift
from harness.cli.status import status
from harness.cli.sweep import run_a_sweep
from harness.cli.train import train
from harness.terminal.lines import FULL, discard_output, is_abandoned, prepare_streams, say
from ndcl.errors import NonFiniteLossError, UserError


class Verbs(TyperGroup):
    """The commands, with a user's mistake as one line and an interruption as exit code 130."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line, in any encoding of the terminal."""
        prepare_streams()
        return super().main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read the command line up to the verb; that shows the help, too."""
        with _clear_endings():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb that was asked for."""
        try:
            with _clear_endings():
                return super().invoke(ctx)
        except (UserError, NonFiniteLossError) as error:
            say(f"ndcl: error: {' '.join(map(str.strip, str(error).splitlines()))}", error=True)
            ctx.exit(WRONG_INPUT)
        except KeyboardInterrupt:
            say("ndcl: stopped; the same command resumes where it was", error=True)
            ctx.exit(INTERRUPTED)


@contextmanager
def _clear_endings() -> Iterator[None]:
    """What can't be understood of a line is told in one; a pipe that nobody reads any more is no mistake, a full output
    is one.
    """
    try:
        yield
    except TyperException as error:
        context = getattr(error, "ctx", None)
        if context is not None and error.message == context.get_help():  # no mistake, but a command without a verb
            raise
        command = "ndcl" if context is None else context.command_path
        say(f"ndcl: error: {_mistake(error)}; `{command} -h` shows what it takes", error=True)
        raise SystemExit(WRONG_INPUT) from None
    except OSError as error:
        if isinstance(error, BrokenPipeError) and is_abandoned():
            discard_output()
            raise SystemExit(0) from None
        if error.errno in FULL and error.filename is None:
            discard_output()
            say(f"ndcl: error: the output can't be written ({error.strerror}); make room for it", error=True)
            raise SystemExit(WRONG_INPUT) from None
        raise


def _mistake(error: TyperException) -> str:
    """Typer's words for what is wrong with a command line, without those of pydantic, as part of a sentence."""
    words = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
    return (words[:1].lower() + words[1:]).replace(". Did you mean", "; did you mean")


def _show_version(asked: bool) -> None:
    if asked:
        say(f"ndcl {ndcl.__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="NDCL for imbalanced domain generalization: search, train, compare.",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: ndcl sweep search_spaces/digits.yaml",
)


@app.callback()
def begin(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before a verb."""


app.add_typer(data, name="data")
app.add_typer(cluster, name="cluster")
app.command("algorithms", epilog="Example: ndcl algorithms ndcl coral")(algorithms)
app.command("plan", epilog="Example: ndcl plan search_spaces/pacs.yaml --measure --price-per-gpu-hour 2.50")(plan)
app.command("sweep", epilog="Example: ndcl sweep search_spaces/digits.yaml --results results")(run_a_sweep)
app.command("train", epilog="Example: ndcl train config.yaml --set algorithm.alpha=0.5 --set seed=1")(train)
app.command("status", epilog="Example: ndcl status digits --watch")(status)
app.command("report", epilog="Example: ndcl report digits --results results")(report)
app.command("ui", epilog="Example: ndcl ui --results results --port 5000")(ui)
app.command("sync", epilog="Example: ndcl sync digits")(sync)
app.command("export", epilog="Example: ndcl export digits --study ndcl.digits.long_tail-65.sign --to models")(export)
app.command("deploy", epilog="Example: ndcl deploy digits --to model")(deploy)
app.command("distill", epilog="Example: ndcl distill digits --to small")(distill)
app.command("predict", epilog="Example: ndcl predict models/ndcl.digits.long_tail-65.sign photos/ --output photos.csv")(
    predict
)
app.command("shift", epilog="Example: ndcl shift model photos/")(shift)


def main() -> None:
    """The console script."""
    app(prog_name="ndcl")
