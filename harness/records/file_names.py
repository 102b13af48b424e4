"""Names of files and folders for what may be called anything: short, readable, unique, the same on every system.

Plain names stay as they are. Others are written in ASCII and marked by a digest of the whole name, so that no two are
alike, not even where a file system takes `A` for `a` or two forms of `é` for one. They can't be turned back: the name
itself stands in the record.
"""

import functools
import hashlib
import re
import unicodedata

MAX_LENGTH = 200
"""Of a name in characters. File systems take 255 bytes, and suffixes such as `.search-000.json` follow."""
MAX_SHOWN = 40
"""Characters that are kept of a part that is not plain."""
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@functools.lru_cache(maxsize=4096)
def file_name(*parts: str) -> str:
    """The parts as one name, joined by dots: `ndcl.digits.long_tail-65.scan`, `erm.shop.natural.Real_World~d1b8c6f2`.

    A slash between plain names becomes `~`, as in `released~cross`.
    """
    name = ".".join(map(_written, parts))
    return name if len(name) <= MAX_LENGTH else ".".join(map(_shortened, parts))


def _written(part: str) -> str:
    return part.replace("/", "~") if all(map(_PLAIN.fullmatch, part.split("/"))) else _marked(part)


def _shortened(part: str) -> str:
    written = _written(part)
    return written if len(written) <= MAX_SHOWN else _marked(part)


def _marked(part: str) -> str:
    """What can be shown of it, and eight digits of its digest."""
    digest = hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    ascii_only = unicodedata.normalize("NFKD", part.replace("ß", "ss")).encode("ascii", "ignore").decode()
    return f"{re.sub('[^A-Za-z0-9+-]+', '_', ascii_only).strip('_')[:MAX_SHOWN]}~{digest}"
