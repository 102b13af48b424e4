"""Gives the trials of a node back before the cloud takes it: `python -m harness.cluster.notice_guard --cloud aws`.

Started on each worker beside Ray. It asks the machine's own metadata server, at a link-local address, every few seconds
whether the cloud takes the machine: AWS tells two minutes ahead, Google Cloud and Azure about 30 seconds. Then Ray is
told to drain the node, so that nothing new is put there, and a mark is left, at which each trial writes a checkpoint
after the step that it is in, and continues elsewhere.
"""

import argparse
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial

from harness.cluster.notice import GUARD_LOCK_FILE, leave_mark, remove_mark
from harness.cluster.one_at_a_time import keep_alone
from harness.cluster.ray_internals import drain_this_node

SERVER = "http://169.254.169.254"
"""The metadata server of all three clouds."""
REQUEST_SECONDS = 2.0
POLL_SECONDS = 5.0
"""As AWS advises for `spot/instance-action`."""
DRAIN_SECONDS = {"aws": 120, "gcp": 30, "azure": 30}
"""From the notice until the machine goes, at the least."""
_without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def aws(server: str = SERVER) -> str | None:
    """What EC2 says of the end of this spot instance, by IMDSv2; None while it says nothing.

    A rebalance recommendation isn't counted: most of the instances that get one run on for hours.
    """
    token = _answer("PUT", f"{server}/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    if token is None:
        return None
    headers = {"X-aws-ec2-metadata-token": token}
    action = _answer("GET", f"{server}/latest/meta-data/spot/instance-action", headers)
    if action is None:
        return None
    told = json.loads(action)
    return f"AWS: {told['action']} at {told['time']}"


def gcp(server: str = SERVER) -> str | None:
    """Whether Google Cloud preempts this machine, or ends it for maintenance; None if not."""
    headers, place = {"Metadata-Flavor": "Google"}, f"{server}/computeMetadata/v1/instance"
    if _answer("GET", f"{place}/preempted", headers) == "TRUE":
        return "Google Cloud: preempted"
    if _answer("GET", f"{place}/maintenance-event", headers) == "TERMINATE_ON_HOST_MAINTENANCE":
        return "Google Cloud: ended for maintenance"
    return None


def azure(server: str = SERVER) -> str | None:
    """Whether an event that preempts this machine is scheduled; None if none is."""
    headers, place = {"Metadata": "true"}, f"{server}/metadata"
    events = _answer("GET", f"{place}/scheduledevents?api-version=2020-07-01", headers)
    preempting = [event for event in json.loads(events or "{}").get("Events", ()) if event["EventType"] == "Preempt"]
    if not preempting:
        return None
    name = _answer("GET", f"{place}/instance/compute/name?api-version=2021-02-01&format=text", headers)
    own = [event for event in preempting if name in event["Resources"]]
    return f"Azure: preempted, not before {own[0].get('NotBefore') or 'now'}" if own else None


CLOUDS: dict[str, Callable[[str], str | None]] = {"aws": aws, "gcp": gcp, "azure": azure}


def _answer(method: str, url: str, headers: dict[str, str]) -> str | None:
    """The text of an answer; None where there is nothing at that address."""
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with _without_proxy.open(request, timeout=REQUEST_SECONDS) as response:
            return str(response.read().decode()).strip()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


class NoticeGuard:
    """Passes one notice on."""

    def __init__(self, look: Callable[[], str | None], drain: Callable[[str], None]) -> None:
        self._look, self._drain = look, drain
        self._is_drained = self._is_marked = False

    def step(self) -> None:
        """Look once. Where Ray can't be told, its error is raised, once the trials know; the next step tries again."""
        if self._is_drained:
            return
        reason = self._look()
        if reason is None:
            return
        try:
            self._drain(reason)  # before the mark: a trial that is given back must not come here again
            self._is_drained = True
        finally:
            if not self._is_marked:
                logging.info("%s: the trials are given back", reason)
                leave_mark(reason)
                self._is_marked = True


def main() -> None:
    """Guard until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m harness.cluster.notice_guard", description=__doc__)
    parser.add_argument("--cloud", choices=tuple(CLOUDS), required=True)
    parser.add_argument("--poll-seconds", type=float, default=POLL_SECONDS)
    parser.add_argument("--server", default=SERVER, help="the metadata server, for tests")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    remove_mark()
    look = partial(CLOUDS[options.cloud], options.server)
    guard = NoticeGuard(look, partial(drain_this_node, DRAIN_SECONDS[options.cloud]))
    keep_alone(GUARD_LOCK_FILE, guard.step, options.poll_seconds)


if __name__ == "__main__":
    main()
