"""The verbs of `ndcl cluster`."""

import typer

from harness.cli.cluster.jobs import down, logs, status, stop, submit, ui, up
from harness.cli.cluster.prepare import bootstrap, check, cost
from harness.cli.cluster.results import results

cluster = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Clusters: check and price their YAML, prepare an account, and run sweeps on them.",
    epilog="Example: ndcl cluster check clusters/aws.yaml",
)

cluster.command("check", epilog="Example: ndcl cluster check clusters/aws.yaml --offline")(check)
cluster.command("bootstrap", epilog="Example: ndcl cluster bootstrap aws --cidr 203.0.113.7/32")(bootstrap)
cluster.command(
    "cost", epilog="Example: ndcl cluster cost search_spaces/pacs.yaml clusters/aws.yaml --seconds-per-step 0.25"
)(cost)
cluster.command("up", epilog="Example: ndcl cluster up clusters/aws.yaml")(up)
cluster.command("submit", epilog="Example: ndcl cluster submit clusters/aws.yaml search_spaces/pacs.yaml")(submit)
cluster.command("status", epilog="Example: ndcl cluster status clusters/aws.yaml pacs")(status)
cluster.command("logs", epilog="Example: ndcl cluster logs clusters/aws.yaml")(logs)
cluster.command("stop", epilog="Example: ndcl cluster stop clusters/aws.yaml")(stop)
cluster.command("ui", epilog="Example: ndcl cluster ui clusters/aws.yaml")(ui)
cluster.command("results", epilog="Example: ndcl cluster results clusters/aws.yaml pacs")(results)
cluster.command("down", epilog="Example: ndcl cluster down clusters/aws.yaml")(down)
