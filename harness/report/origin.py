"""What a report was made from, and by which code: other code never rewrites it otherwise without a word."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ndcl
from harness.records import TrialRecord
from harness.records.places import SWEEP_FILE
from harness.records.revision import git_revision
from harness.report.analysis.comparison import Comparison

UNSAID: dict[str, Any] = {"ndcl": "0.1", "git_revision": None, "from": None}
Say = Callable[[str], None]
MADE = "made"
"""Key of report.json: by which code, and from what."""
KEPT = "report-of-{}"
"""Name of the folder that earlier files go to, by their revision."""


def made_from(folder: Path, comparison: Comparison, records: Sequence[TrialRecord]) -> dict[str, Any]:
    """The code that makes the report, and digests of all that it is made from."""
    plan = folder / SWEEP_FILE
    parts = [asdict(record) for record in sorted(records, key=lambda record: record.name)]
    content = [parts, comparison.reference, plan.read_text() if plan.exists() else None]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return {"ndcl": ndcl.__version__, "git_revision": git_revision(), "from": digest}


def keep_what_differs(folder: Path, files: Mapping[str, str], made: Mapping[str, Any], say: Say) -> None:
    """If the report in `folder` is of the same trials, but `files` tell something else, keep it, and say so.

    Where trials have been added a report differs anyway, and is written over.
    """
    earlier = _made(folder / "report.json")
    if earlier is None or earlier["from"] not in (None, made["from"]):
        return
    changed = [name for name, text in files.items() if _told(folder / name) != _plain(name, text)]
    if not changed:
        return
    kept = folder / KEPT.format(_short(earlier))
    kept.mkdir(exist_ok=True)
    for name in files:
        if (folder / name).is_file():
            (folder / name).replace(kept / name)
    say(
        f"{', '.join(changed)}: this code ({_shown(made)}) reads the same trials differently from the code that wrote "
        f"them ({_shown(earlier)}); the earlier report is kept in {kept}"
    )


def _made(path: Path) -> dict[str, Any] | None:
    """How the report was made; None if there is none, or it is damaged. Early versions did not say from what."""
    try:
        made = json.loads(path.read_text(encoding="utf-8")).get(MADE, {})
        return UNSAID | {key: made[key] for key in UNSAID if key in made}
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def _told(path: Path) -> Any:
    """What a report's file says; None if it can't be read."""
    try:
        return _plain(path.name, path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _plain(name: str, text: str) -> Any:
    """The content without who made it."""
    if not name.endswith(".json"):
        return text
    return {key: value for key, value in json.loads(text).items() if key != MADE}


def _short(made: Mapping[str, Any]) -> str:
    """The code in a folder's name."""
    revision = made["git_revision"]
    return str(revision)[:8] if revision else str(made["ndcl"])


def _shown(made: Mapping[str, Any]) -> str:
    return f"ndcl {made['ndcl']}{f', revision {_short(made)}' if made['git_revision'] else ''}"
