"""`ndcl data imbalance`: what an imbalance setting makes of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.data.lookup import Folder, Name, stored
from harness.cli.options import require_suffix
from harness.terminal.lines import say
from ndcl.errors import UserError, unknown_name
from ndcl.files import clear_write_errors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ndcl.config import ImbalanceConfig
    from ndcl.imbalance import Overview


def imbalance(
    dataset: Name,
    setting: Annotated[
        str, typer.Option("--setting", metavar="S", help="long_tail, released/duality, ...; see docs/imbalance.md.")
    ] = "natural",
    ratio: Annotated[float | None, typer.Option("--ratio", metavar="R", help="Imbalance ratio, of long_tail.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other key of `imbalance`, as in a sweep; repeatable."),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="T", help="Only this target domain; default: each in turn.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="OUT.png", help="Also draw it (png, pdf or svg).")
    ] = None,
    folder: Folder = None,
) -> None:
    """Show what training would see: images of each source domain and class, shot groups, ratio, validation images."""
    if picture is not None:
        require_suffix("--picture", picture, (".png", ".pdf", ".svg"))
    config = _imbalance_config(setting, ratio, settings or ())
    counted = _counted(dataset, folder)
    views, refused = _overviews(config, counted, target)
    if views:
        title = f"{dataset}, {_label(config)}"
        _print_views(views, title, counted.origin)
        if picture is not None:
            _draw(views, counted.domains, title, picture)
    if refused:
        raise UserError("; ".join(f"target {', '.join(names)}: {reason}" for reason, names in refused.items()))


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A data set's names and numbers of images."""

    name: str
    domains: tuple[str, ...]
    classes: tuple[str, ...]
    available: "NDArray[np.int64]"
    """[D, K]"""
    origin: str = ""
    """Where the numbers are from, if not from the data set itself."""


def _counted(dataset: str, folder: str | None) -> Counted:
    """The data set's own numbers, or the catalogue's of a set that is not there yet."""
    from ndcl.data.catalogue import entry_of

    store = stored(dataset, folder)
    if store is not None:
        return Counted(name=store.name, domains=store.domains, classes=store.classes, available=store.available())
    entry = entry_of(dataset)
    return Counted(
        name=entry.name,
        domains=entry.domains,
        classes=entry.classes,
        available=entry.counts,
        origin=f"{entry.name} is not in the data folder; these are the numbers of the catalogue",
    )


def _imbalance_config(setting: str, ratio: float | None, settings: Sequence[str]) -> "ImbalanceConfig":
    from harness.config.dotted_keys import laid_over
    from ndcl.config import ImbalanceConfig
    from ndcl.strict import from_dict

    values = {"setting": setting} if ratio is None else {"setting": setting, "ratio": ratio}
    return from_dict(ImbalanceConfig, laid_over(values, dict(map(_change, settings))), "imbalance")


def _change(text: str) -> tuple[str, Any]:
    """The key below `imbalance` and the value that one `--set` argument gives."""
    from harness.config.yaml_files import parse_setting

    key, value = parse_setting(text, "class_order=per_domain")
    return key.removeprefix("imbalance."), value


def _overviews(
    config: "ImbalanceConfig", data: Counted, target: str | None
) -> "tuple[list[Overview], dict[str, list[str]]]":
    """What each target gives, and the targets that the setting does not suit, by reason."""
    from ndcl.imbalance import overview

    if len(data.domains) < 2:
        raise UserError(f"{data.name} has a single domain; a target and at least one source are needed")
    if target is not None and target not in data.domains:
        raise unknown_name(f"target domain of {data.name}:", target, data.domains)
    views, refused = [], dict[str, list[str]]()
    for domain in data.domains if target is None else (target,):
        try:
            views.append(overview(config, data.name, data.domains, data.classes, data.available, domain))
        except UserError as error:
            refused.setdefault(str(error), []).append(domain)
    if len(refused) == 1 and not views:
        raise UserError(next(iter(refused)))
    return views, refused


def _print_views(views: "list[Overview]", title: str, origin: str) -> None:
    from harness.cli.data.imbalance_table import class_table, summary_table, thresholds_text
    from harness.terminal.terminal import console_of

    console = console_of()
    for view in views:
        console.print(class_table(view))
    console.print(summary_table(views, title))
    thresholds = {thresholds_text(view): view.target for view in views}
    for text, name in thresholds.items():
        say(text if len(thresholds) == 1 else f"{name}: {text}")
    if origin:
        say(origin)


def _label(config: "ImbalanceConfig") -> str:
    return config.setting if config.ratio is None else f"{config.setting}, ratio {config.ratio:g}"


def _draw(views: "list[Overview]", domains: Sequence[str], title: str, path: Path) -> None:
    from harness.cli.data.imbalance_picture import draw

    with clear_write_errors(f"--picture {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(views, domains, title, path)
    say(f"picture: {path}")
