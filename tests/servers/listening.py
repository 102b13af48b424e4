"""Which processes below one listen for connections, and on which addresses, as the kernel tells in /proc."""

import contextlib
import ipaddress
import re
import threading
from collections.abc import Iterator
from pathlib import Path

LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp."""
Listener = tuple[str, str]
"""An address, such as `127.0.0.1` or `::`, and what process listens on it, such as `raylet`."""
MAY_LISTEN = ("driver", "gcs_server", "raylet", "dashboard", "monitor", "DashboardAgent", "RuntimeEnvAgent", "worker")
"""The processes of a sweep and its Ray, which may listen on the loopback."""
UNTITLED = {"default_worker.py": "worker", "agent.py": "DashboardAgent", "main.py": "RuntimeEnvAgent"}
"""Scripts of Ray's processes that have not given themselves a title yet."""


def listeners(pid: int) -> set[Listener]:
    """Those of the process and of all below it; a socket is the one's who has opened it, not also its forks'."""
    addresses = _listening()
    found: set[Listener] = set()
    for each in family(pid):
        kind = "driver" if each == pid else _kind(each)
        own = [addresses.pop(inode) for inode in _sockets(each) if inode in addresses]
        found |= {(address, kind) for address in own}
    return found


@contextlib.contextmanager
def listeners_meanwhile(pid: int, every_seconds: float = 0.3) -> Iterator[set[Listener]]:
    """Collect those of the process and of all below it for as long as the block lasts."""
    found: set[Listener] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(every_seconds):
            found.update(listeners(pid))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def family(pid: int) -> list[int]:
    """The process and all below it, parents first."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents.setdefault(int(path.read_text().rpartition(")")[2].split()[1]), []).append(int(path.parent.name))
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found


def _listening() -> dict[str, str]:
    """Addresses by the inode of the socket."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN:
                found[fields[9]] = _address(fields[1].partition(":")[0])
    return found


def _address(text: str) -> str:
    """Of the kernel's hexadecimal words, each with its least byte first; an IPv4 address within IPv6 as IPv4."""
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    return str(getattr(address, "ipv4_mapped", None) or address)


def _sockets(pid: int) -> set[str]:
    """Inodes of a process's sockets; none of one that has ended, or isn't ours."""
    found = set()
    with contextlib.suppress(OSError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.update(re.findall(r"^socket:\[(\d+)\]$", str(path.readlink())))
    return found


def _kind(pid: int) -> str:
    """`gcs_server`, `raylet`, a script such as `dashboard`, an agent of Ray's, or `worker`, whatever it does now."""
    with contextlib.suppress(OSError):
        words = [word for word in Path(f"/proc/{pid}/cmdline").read_text().split("\0") if word.strip()]
        if not words:  # one that ends has no command line any more, but for a while its sockets
            words = [Path(f"/proc/{pid}/comm").read_text().strip()]
        if words[0].startswith("ray::"):
            title = words[0].removeprefix("ray::").strip()
            return title if title.endswith("Agent") else "worker"
        name = Path(next((word for word in words if word.endswith(".py")), words[0])).name
        return UNTITLED.get(name, name.removesuffix(".py"))
    return ""


def check_listeners(found: set[Listener]) -> None:
    """Only what may listen did so, on the loopback; what always does has been seen."""
    strange = found - {("127.0.0.1", kind) for kind in MAY_LISTEN}
    missing = {("127.0.0.1", kind) for kind in ("driver", "gcs_server", "raylet", "worker")} - found
    assert not strange, f"listen and may not: {sorted(strange)}"
    assert not missing, f"never seen to listen: {sorted(missing)}"
