"""A sweep anew on data that have taken the place of those it was bound to: under a new name, from its best values.

`ndcl sweep FILE --on-new-data NAME` is the sweep of FILE with another name and a warm start, so that all that continues
with a sweep, shows it or reports it needs to know nothing more.
"""

from collections.abc import Sequence
from pathlib import Path

from harness.config import SweepConfig, load_sweep
from harness.config.commands import setting
from harness.records import Journal
from harness.state.bound_data import OPTION, HeaderOf, Source, bound_data, headers_of
from ndcl.errors import UserError


def load_on_new_data(
    path: Path, settings: Sequence[str], name: str, results: Path, header_of: HeaderOf | None = None
) -> SweepConfig:
    """The sweep in a YAML file under the new name `name`, to begin with the best values of the one that has run.

    Raises UserError as `load_sweep` does, if the sweep has not run, and if its data are what they were.
    """
    earlier = load_sweep(path, settings)
    if name == earlier.name:
        raise UserError(f"{OPTION} {name}: the sweep has that name already; give a new one, such as {name}-2")
    if not Journal(results / earlier.name).read():
        raise UserError(f"{OPTION}: there is no sweep '{earlier.name}' in {results} yet; leave the option out")
    warm_start = {"sweep": earlier.name, "optional": True}
    changes = [setting("name", name)]
    if earlier.search.sampler != "grid":  # which tries all values anyway
        changes.append(setting("search.warm_start", warm_start))
    config = load_sweep(path, [*settings, *changes])
    if not (results / name).exists():
        _require_new_data(earlier, results, header_of)
    return config


def _require_new_data(earlier: SweepConfig, results: Path, header_of: HeaderOf | None) -> None:
    found = headers_of([Source(spec.name, spec.folder) for spec in earlier.data], header_of)
    bound = [each for each in bound_data(results / earlier.name, found) if each.source in found]
    if bound and all(each.digests == (found[each.source].digest,) for each in bound):
        raise UserError(
            f"{OPTION}: the data are those that sweep '{earlier.name}' was started on; leave the option out to "
            "continue with it, or replace them first, as with: ndcl data import --replace"
        )
