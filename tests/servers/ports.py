"""Ports for servers that tests start."""

import socket


def free_port() -> int:
    """A port on the loopback that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
