"""The data that a sweep is bound to: by digest, since another data set can take the name of the one it began with.

The first start writes each data set's digest to DATA_FILE in the sweep's folder. A sweep of version 0.1 has no such
file; what its records say of their data stands in for it.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config.commands import typed
from harness.records import Journal, TrialRecord
from harness.records.record import digest_of
from harness.storage.storage import recorded_storage
from ndcl.data.store.format import short_digest
from ndcl.errors import ReplacedDataError, UserError
from ndcl.files import write_whole

if TYPE_CHECKING:
    from harness.plan import Plan
    from harness.storage import Storage
    from ndcl.data.store.format import Header

OPTION = "--on-new-data"
DATA_FILE = "data.json"
HeaderOf = Callable[[str, str | None], "Header"]


@dataclass(frozen=True, order=True)
class Source:
    """A data set as a sweep names it."""

    name: str
    folder: str | None

    @classmethod
    def of(cls, config: dict[str, Any]) -> "Source":
        """The one of a training's config."""
        return cls(config["data"]["name"], config["data"]["folder"])


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What is known of the content that a data set of a sweep had when its trainings were made."""

    source: Source
    digests: tuple[str, ...] = ()
    """More than one only if version 0.1 ran it on several."""
    num_unknown: int = 0
    """Trainings of version 0.1 that do not say what they saw."""

    def is_same(self, digest: str) -> bool:
        """Whether a data set of this digest may be what all trainings saw."""
        return all(known == digest for known in self.digests)

    @property
    def shown(self) -> str:
        """`digest 0123456789ab`, for messages."""
        return "digest " + " and ".join(map(short_digest, self.digests))


def bound_data(folder: Path, sources: Iterable[Source], records: Sequence[TrialRecord] | None = None) -> list[Bound]:
    """What the sweep in `folder` is bound to, for each of these data sets; nothing is known of those that are new."""
    known = _read(folder)
    unknown = [source for source in dict.fromkeys(sources) if source not in known]
    recorded = (Journal(folder).read() if records is None else records) if unknown else ()
    return [*known.values(), *(_from_records(source, recorded) for source in unknown)]


def _from_records(source: Source, records: Sequence[TrialRecord]) -> Bound:
    own = [record for record in records if record.evaluations and Source.of(record.config) == source]
    digests = [digest_of(record) for record in own]
    return Bound(
        source=source,
        digests=tuple(dict.fromkeys(digest for digest in digests if digest)),
        num_unknown=sum(digest is None for digest in digests),
    )


def _read(folder: Path) -> dict[Source, Bound]:
    path = folder / DATA_FILE
    if not path.exists():
        return {}
    try:
        listed = json.loads(path.read_text())["data"]
        found = [Bound(source=Source(each["name"], each["folder"]), digests=(each["digest"],)) for each in listed]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is damaged; delete it: what the trials' records say of their data stands in") from None
    return {bound.source: bound for bound in found}


def sources_of(plan: "Plan") -> list[Source]:
    """The data sets of a plan, in its order."""
    return list(dict.fromkeys(Source.of(study.base) for study in plan.studies))


def require_same_data(plan: "Plan", header_of: HeaderOf | None = None) -> dict[Source, "Header"]:
    """What lies under the names of the plan's data sets now. Raises ReplacedDataError if the sweep in the plan's
    folder is bound to other data, and UserError if a data set can't be opened.
    """
    found = headers_of(sources_of(plan), header_of)
    now = {source: header.digest for source, header in found.items()}
    for bound in bound_data(plan.folder, found):
        if bound.source in found and not bound.is_same(now[bound.source]):
            raise ReplacedDataError(refusal(plan.folder, plan.command, bound, now))
    return found


def bind(plan: "Plan", storage: "Storage | None" = None, header_of: HeaderOf | None = None) -> list[str]:
    """Bind the sweep to the data that lie there now, where it is not bound yet; what can't be known, a line each.

    Raises UserError as `require_same_data` does.
    """
    found = require_same_data(plan, header_of)
    known = _read(plan.folder)
    unknown = [bound for bound in bound_data(plan.folder, found) if bound.num_unknown]
    entries = [
        {"name": source.name, "folder": source.folder, "digest": bound.digests[0]} for source, bound in known.items()
    ]
    entries += [
        {"name": source.name, "folder": source.folder, "digest": header.digest}
        for source, header in found.items()
        if source not in known
    ]
    text = json.dumps({"data": entries}, indent=1)
    if storage is not None:
        storage.put(DATA_FILE, text)
    write_whole(plan.folder / DATA_FILE, text)
    return [*map(_unknown_line, unknown), *warm_start_line(plan, found)]


def _unknown_line(bound: Bound) -> str:
    return (
        f"data set '{bound.source.name}': {bound.num_unknown} trainings of an early version do not say what it held; "
        "it is taken to be unchanged since"
    )


def warm_start_line(plan: "Plan", found: Mapping[Source, "Header"]) -> list[str]:
    """That the first values come from a sweep on other data than are `found` now, if they do."""
    sweeps = dict.fromkeys(study.warm_start.sweep for study in plan.studies if study.warm_start)
    return [
        f"search.warm_start: sweep '{sweep}' found its values on other data (data set '{bound.source.name}' of "
        f"{bound.shown}); they are tried as they are"
        for sweep in sweeps
        for bound in bound_data(plan.results / sweep, found)
        if bound.source in found and not bound.is_same(found[bound.source].digest)
    ]


def replaced_meanwhile(plan: "Plan", reason: str) -> ReplacedDataError:
    """Why a trial's data are other ones, and what to do, once a trial has met them."""
    try:
        require_same_data(plan)
    except ReplacedDataError as error:
        return error
    return ReplacedDataError(f"{reason}; have the same data set on all machines, then run the same command again")


def bound_digests(folder: Path) -> dict[Source, str]:
    """The digests that the sweep in `folder` is bound to, as far as it was started by this version."""
    return {source: bound.digests[0] for source, bound in _read(folder).items()}


def refusal(folder: Path, command: str, bound: Bound, now: Mapping[Source, str]) -> str:
    """The one line that says what was replaced since the sweep in `folder` was started by `command`, and what to do.

    `now` has the digests of all its data sets.
    """

    return (
        f"data set '{bound.source.name}' was replaced: sweep '{folder.name}' in {folder.parent} was started on "
        f"{bound.shown}, under this name lies {short_digest(now[bound.source])} now; start anew on it, from the best "
        f"values so far, with: {command_on_new_data(command, folder, now)}"
    )


def header_now(source: Source) -> "Header | None":
    """What lies under the name of a data set now, or None if nothing can be opened there."""
    try:
        return headers_of([source])[source]
    except UserError:
        return None


def digests_here(sources: Iterable[Source]) -> dict[Source, str]:
    """The digests of what lies under the names of data sets on this machine; those that do not are left out."""
    from ndcl.data.datasets import header_here

    found = {}
    for source in sources:
        with contextlib.suppress(UserError):  # damaged
            if header := header_here(source.name, source.folder):
                found[source] = header.digest
    return found


def headers_of(sources: Iterable[Source], header_of: HeaderOf | None = None) -> dict[Source, "Header"]:
    """What lies under the names of data sets now. Raises UserError for one that can't be opened."""
    if header_of is None:
        from ndcl.data.datasets import header_of as header_of_stored

        header_of = header_of_stored
    return {source: header_of(source.name, source.folder) for source in sources}


def command_on_new_data(command: str, folder: Path, now: Mapping[Source, str]) -> str:
    """The command that starts anew on the data of the digests `now`, fit to be copied.

    `command` is the one by which the sweep in `folder` was started.
    """
    storage = recorded_storage(folder)
    place = ["--storage", storage] if storage else []
    return " ".join([command, *map(typed, [OPTION, _new_name(folder, now), *place])])


def _new_name(earlier: Path, now: Mapping[Source, str]) -> str:
    """The name of the sweep that has been started on these data already, else one that is free."""
    stem, number = earlier.name, 2
    numbered = re.fullmatch(r"(.+)-(\d+)", stem)
    if numbered and (earlier.parent / numbered[1]).is_dir():
        stem, number = numbered[1], int(numbered[2]) + 1
    while (folder := earlier.parent / f"{stem}-{number}").exists() and not _is_bound_to(bound_data(folder, now), now):
        number += 1
    return folder.name


def _is_bound_to(bound: Sequence[Bound], now: Mapping[Source, str]) -> bool:
    known = {each.source: each.digests for each in bound}
    return all(known[source] == (digest,) for source, digest in now.items())
