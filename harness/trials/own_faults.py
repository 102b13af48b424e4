"""What goes wrong inside a user's own algorithm, told by its file and line."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ndcl.algorithm_configs import is_own, own_module
from ndcl.errors import UserError


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn an exception that passes through the module of the user's own algorithm `name` into a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        file = own_module(name).__file__ if is_own(name) else None
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        if file is None or not own:
            raise
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        where = f"{Path(file).name}, line {own[-1].lineno}, in {own[-1].name}"
        raise UserError(f"'{name}' fails with {said} ({where}); mend it, then run the same command again") from error
