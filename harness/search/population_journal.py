"""The population's decisions, written before they are acted on."""

import json
from collections.abc import Sequence
from pathlib import Path

from harness.records.journal import Put
from harness.records.sweep_files import json_of, unreadable
from harness.search.population import Move
from ndcl.errors import UserError
from ndcl.files import write_whole
from ndcl.strict import from_dict

DAMAGED = "take it from a copy, or delete it: the population then decides anew"


class PopulationJournal:
    """What the populations of a sweep have decided, a file each, so that it is decided once."""

    def __init__(self, folder: Path, put: Put | None = None) -> None:
        """What is written is given to `put` first, if there is one."""
        self.folder = folder / "populations"
        self._put = put

    def read(self, study: str, step: int) -> list[Move] | None:
        """What was decided at a step, or None. Raises UserError if it can't be read."""
        path = self._path(study, step)
        if not path.exists():
            return None
        values = json_of(path, DAMAGED)
        try:
            return [from_dict(Move, move) for move in values]
        except (TypeError, UserError) as error:
            raise unreadable(path, str(error), DAMAGED) from None

    def write(self, study: str, step: int, moves: Sequence[Move]) -> None:
        """Keep what is decided, whole or not at all."""
        path = self._path(study, step)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps([vars(move) for move in moves], indent=1)
        if self._put is not None:
            self._put(f"{self.folder.name}/{path.name}", text)
        write_whole(path, text)

    def _path(self, study: str, step: int) -> Path:
        return self.folder / f"{study}.step-{step:08d}.json"
