"""Ports of a cluster's head on this machine: `python -m harness.cluster.forward CLUSTER.yaml HERE:THERE...`.

`ray attach -p` has one number for both ends, which may be taken here.
"""

import argparse
import re
import signal
import sys


def pair(text: str) -> tuple[int, int]:
    """`5001:5000` as the port here and the one on the head."""
    if not re.fullmatch(r"\d+:\d+", text):
        raise argparse.ArgumentTypeError(f"{text}: expected HERE:THERE, such as 5001:5000")
    here, there = text.split(":")
    return int(here), int(there)


def main() -> None:
    """Forward until the connection ends."""
    parser = argparse.ArgumentParser(prog="python -m harness.cluster.forward", description=__doc__)
    parser.add_argument("cluster", help="the cluster's YAML")
    parser.add_argument("ports", nargs="+", type=pair, metavar="HERE:THERE")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    from ray.autoscaler.sdk import configure_logging, run_on_cluster

    configure_logging(log_style="pretty", color_mode="auto", verbosity=0)
    run_on_cluster(options.cluster, port_forward=options.ports, no_config_cache=True)


def _end(*_: object) -> None:
    """End with the connection: what waits for ssh ends it when this is raised."""
    sys.exit(0)


if __name__ == "__main__":
    main()
