"""The files of a user's own algorithms, which machines that join a sweep don't have."""

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

from ndcl.algorithm_configs import is_own, own_module


def own_modules(names: Iterable[str]) -> list[str]:
    """Paths of the modules of those of `names` that are the user's own: each a file, or the folder of a package.

    Raises UserError for one that can't be imported here.
    """
    paths = set()
    for name in filter(is_own, names):
        top = sys.modules[own_module(name).__name__.partition(".")[0]]
        path = Path(str(top.__file__))
        paths.add(str(path.parent if path.name == "__init__.py" else path))
    return sorted(paths)


def own_digests(names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of what those of `names` that are the user's own are made of, by the name of the file or folder."""
    found = {}
    for path in map(Path, own_modules(names)):
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        found[path.name] = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return found
