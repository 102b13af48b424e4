"""What pods ask for: names of resources and amounts, as Kubernetes reads them. Pure."""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.cluster.checks.findings import Finding

NATIVE = ("cpu", "ephemeral-storage", "memory")
EXTENDED = ("amd.com/gpu", "google.com/tpu", "nvidia.com/gpu", "vpc.amazonaws.com/efa")
"""Those that device plugins of the providers offer; there are others."""
NAMED_ALIKE = 0.85
LEAST_MEMORY_BYTES = 2**26
_QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(e\d+|E\d+|[numkMGTPE]|[KMGTPE]i)?")
_SCALE = {
    **{prefix: 1000.0**power for power, prefix in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)},
    **{f"{prefix}i": 1024.0**power for power, prefix in enumerate("KMGTPE", 1)},
}


def amount(text: object) -> float | None:
    """`16Gi` as a number; None for what Kubernetes does not take."""
    found = _QUANTITY.fullmatch(str(text))
    if not found:
        return None
    number, suffix = found.group(1), found.group(2) or ""
    return float(number + suffix) if suffix[1:].isdigit() else float(number) * _SCALE[suffix]


def wrong_names(asked: Mapping[str, Any], where: str) -> Iterator[Finding]:
    """Resources that no node has, by which a pod waits for ever."""
    for side in ("requests", "limits"):
        for name in asked.get(side) or {}:
            if name in NATIVE or name in EXTENDED or str(name).startswith("hugepages-"):
                continue
            near = difflib.get_close_matches(str(name), (*NATIVE, *EXTENDED), n=1, cutoff=NAMED_ALIKE)
            if near or "/" not in str(name):
                what = f"no node has {name}, so that the pod would wait for ever"
                remedy = near[0] if near else f"one of {', '.join((*NATIVE, *EXTENDED))}"
                yield Finding(where=where, what=what, remedy=remedy)


def wrong_memory(asked: Mapping[str, Any], where: str) -> Iterator[Finding]:
    """Both amounts, the same, and of a size that Ray can live in."""
    limit, request = ((asked.get(side) or {}).get("memory") for side in ("limits", "requests"))
    given = {str(text): amount(text) for text in (request, limit) if text is not None}
    unread = [text for text, number in given.items() if number is None]
    tiny = [text for text, number in given.items() if number is not None and number < LEAST_MEMORY_BYTES]
    if unread:
        yield Finding(where=where, what=f"memory: {unread[0]} is no amount", remedy="such as 16Gi")
    elif tiny:
        what = f"memory: {tiny[0]} are so many bytes"
        remedy = f"{tiny[0]}Gi" if tiny[0].isdigit() else "such as 16Gi"
        yield Finding(where=where, what=what, remedy=remedy)
    elif limit is None or limit != request:
        what = f"memory: {request} requested, limit {limit}; Ray counts on the limit, Kubernetes on the request"
        yield Finding(where=where, what=what, remedy="give both, the same")


def wrong_gpus(asked: Mapping[str, Any], tolerates: bool, where: str) -> Iterator[Finding]:
    """GPUs of a worker; `tolerates`: whether it may stand on nodes that are kept for them."""
    requests, limits = asked.get("requests") or {}, asked.get("limits") or {}
    wanted = {name: number for name, number in requests.items() if str(name).endswith(".com/gpu")}
    for name, number in wanted.items():
        if limits.get(name) != number:
            what = f"{name}: {number} requested, limit {limits.get(name)}, which Kubernetes refuses"
            yield Finding(where=where, what=what, remedy=f'limits: {{{name}: "{number}"}}')
    if tolerates and not any("gpu" in str(name) for name in (*requests, *limits)):
        what = "it may stand on nodes with GPUs, but asks for none: no trial with a GPU would ever fit"
        yield Finding(where=where, what=what, remedy='nvidia.com/gpu: "1" under requests and limits')
