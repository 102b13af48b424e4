"""The verbs of `ndcl data`."""

import typer

from harness.cli.data.embed import embed
from harness.cli.data.imbalance import imbalance
from harness.cli.data.sets import download, import_a_data_set, list_data_sets, show, verify
from harness.cli.data.transfer import pull, push

data = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Data sets: import, download, show, check and copy them; embed their images; show imbalance settings.",
    epilog="Example: ndcl data import ~/my_images --name mine",
)

data.command("import", epilog="Example: ndcl data import ~/PACS/kfold --name PACS")(import_a_data_set)
data.command("list", epilog="Example: ndcl data list --folder /data/ndcl")(list_data_sets)
data.command("show", epilog="Example: ndcl data show PACS --out pacs.png")(show)
data.command("verify", epilog="Example: ndcl data verify PACS")(verify)
data.command("download", epilog="Example: ndcl data download PACS")(download)
data.command("push", epilog="Example: ndcl data push PACS s3://BUCKET/data")(push)
data.command("pull", epilog="Example: ndcl data pull s3://BUCKET/data/PACS")(pull)
data.command("embed", epilog="Example: ndcl data embed pacs --backbone resnet50 --name pacs_resnet50")(embed)
data.command(
    "imbalance", epilog="Example: ndcl data imbalance digits --setting long_tail --ratio 65 --picture tail.png"
)(imbalance)
