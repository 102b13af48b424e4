"""EC2 on this machine: moto answers its requests, and each instance that it tells of is a made-up machine.

A program: `ip netns exec NETWORK python -m tests.clusters_live.ec2_simulator NETWORK FOLDER`, in a network without a
way out, since moto gives its instances random public addresses, to which `ray up` connects. It also serves the
instances' metadata (IMDSv2), with credentials of their roles, whose policies it holds each request to, by action.

Below FOLDER it keeps `nodes.json` (instances that run), `calls.jsonl` (requests, and how they were refused), and obeys
`faults.json`: `no_spot` (true: no capacity for spot), `reclaim` (ids of instances to take back), `revoked` (actions
that no role may do for so long, as `ec2:RunInstances`).
"""

import fnmatch
import io
import json
import os
import re
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"  # Ray asks for them

from moto.ec2.models import ec2_backends
from moto.ec2.models.instance_types import InstanceTypeBackend
from moto.iam.models import iam_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.clusters_live.machines import Machine, Network, sh

ACCOUNT, REGION = "123456789012", "us-west-2"
ROUTER, PORT = "172.31.0.1", 5000
METADATA = "169.254.169.254"
UNKNOWN_TO_MOTO = {
    "DescribePlacementGroups": '<DescribePlacementGroupsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
    "<placementGroupSet/></DescribePlacementGroupsResponse>"
}
"""Requests that moto has no answer to, and one."""
FAMILIES = ("m6i.", "g5.")
"""Machine types of this region: each of Ray's commands asks for all of them, and reads them for seconds."""
GRACE_SECONDS = 2
"""Between the word and the end, as an instance is shut down."""
Start = Callable[[str, list[tuple[str, str]]], Any]


class State:
    """What the simulator and the test tell each other, as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.roles: dict[str, str] = {}
        """Names of roles by the access keys that the metadata service has given out."""
        self._calls = (folder / "calls.jsonl").open("a", buffering=1)

    def faults(self) -> dict[str, Any]:
        path = self.folder / "faults.json"
        values: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return values

    def note(self, call: dict[str, Any]) -> None:
        self._calls.write(json.dumps(call) + "\n")

    def show(self, nodes: dict[str, dict[str, Any]]) -> None:
        partial = self.folder / "nodes.json.partial"
        partial.write_text(json.dumps(nodes))
        partial.replace(self.folder / "nodes.json")


class Front:
    """Before moto: writes down each request, and refuses what the role may not do or the region has not."""

    def __init__(self, app: Any, state: State) -> None:
        self._app, self._state = app, state

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        signed = re.search(r"Credential=([^/]+)/\d+/[^/]+/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        key, service = signed.groups() if signed else ("", "")
        if service not in ("ec2", "iam", "sts"):  # objects' contents come in pieces, and only moto puts them together
            return self._app(environ, start)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        query = {name: values[0] for name, values in parse_qs(body.decode("latin1")).items()}
        role, action = self._state.roles.get(key), query.get("Action", "")
        error = self._refusal(role, service, action, query)
        call = {"time": time.time(), "role": role, "action": action, "error": error and error[1]}
        if action == "RunInstances":
            call |= {"spot": _is_spot(query), "type": query.get("InstanceType"), "dry": "DryRun" in query}
        self._state.note(call)
        if error is not None:
            return _answer_error(start, *error)
        if action in UNKNOWN_TO_MOTO:
            return _answer(start, "200 OK", UNKNOWN_TO_MOTO[action])
        return self._app(environ, start)

    def _refusal(self, role: str | None, service: str, action: str, query: dict[str, str]) -> tuple[int, str] | None:
        faults, full = self._state.faults(), f"{service}:{action}"
        if role is not None and (full in faults.get("revoked", ()) or not is_allowed(role, full)):
            return 403, "UnauthorizedOperation"
        if action == "RunInstances" and "DryRun" not in query and _is_spot(query) and faults.get("no_spot"):
            return 500, "InsufficientInstanceCapacity"
        return None


def _is_spot(query: dict[str, str]) -> bool:
    return query.get("InstanceMarketOptions.MarketType") == "spot"


def _answer_error(start: Start, status: int, code: str) -> list[bytes]:
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?><Response><Errors><Error><Code>{code}</Code>'
        f"<Message>by the simulator</Message></Error></Errors><RequestID>{uuid.uuid4()}</RequestID></Response>"
    )
    return _answer(start, f"{status} Refused", text)


def _answer(start: Start, status: str, text: str) -> list[bytes]:
    start(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(text.encode())))])
    return [text.encode()]


def is_allowed(role: str, action: str) -> bool:
    """Whether a policy of the role allows the action, on whatever resource and condition."""
    iam = iam_backends[ACCOUNT]["aws"]
    documents = [iam.get_role_policy(role, name)[1] for name in iam.list_role_policies(role)]
    statements = [s for d in documents for s in _document(d)["Statement"] if s["Effect"] == "Allow"]
    allowed = [a for s in statements for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])]
    return any(fnmatch.fnmatch(action.lower(), pattern.lower()) for pattern in allowed)


def _document(policy: Any) -> dict[str, Any]:
    text = policy["policy_document"] if isinstance(policy, dict) and "policy_document" in policy else policy
    values: dict[str, Any] = json.loads(text) if isinstance(text, str) else text
    return values


def instances() -> Iterator[tuple[Any, Any]]:
    """All that moto tells of, with the backend of their region."""
    for backend in list(ec2_backends[ACCOUNT].values()):
        for reservation in list(backend.reservations.values()):
            for instance in list(reservation.instances):
                yield backend, instance


def metadata_service(state: State) -> Callable[[dict[str, Any], Start], list[bytes]]:
    """IMDSv2: what an instance is told of itself, found by the address that it asks from."""

    def answer(environ: dict[str, Any], start: Start) -> list[bytes]:
        found = [
            (b, i) for b, i in instances() if i.private_ip == environ["REMOTE_ADDR"] and i._state.name == "running"
        ]
        if not found:
            return _answer(start, "404 Not Found", "")
        [(backend, instance)] = found
        path, token = environ["PATH_INFO"], f"token-{instance.id}"
        if path == "/latest/api/token":
            return _answer(start, "200 OK", token)
        if environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN") != token:
            return _answer(start, "401 Unauthorized", "")
        value = _told(state, backend, instance, path.removeprefix("/latest/meta-data/"))
        return _answer(start, "404 Not Found", "") if value is None else _answer(start, "200 OK", value)

    return answer


def _told(state: State, backend: Any, instance: Any, name: str) -> str | None:
    profile = backend.iam_instance_profile_associations.get(instance.id)
    role = profile.iam_instance_profile.roles[0].name if profile else None
    name = name.rstrip("/")
    if name == "iam/security-credentials":
        return role
    if role and name == f"iam/security-credentials/{role}":
        key = f"ASIA{uuid.uuid4().hex[:16].upper()}"
        state.roles[key] = role
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 6 * 3600))
        return json.dumps(
            {"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": end}
            | {"AccessKeyId": key, "SecretAccessKey": "secret", "Token": "token"}
        )
    facts = {
        "instance-id": instance.id,
        "instance-type": instance.instance_type,
        "local-ipv4": instance.private_ip,
        "placement/region": instance.region_name,
        "ami-id": instance.image_id,
    }
    return facts.get(name)


class Machines:
    """Keeps a machine for each instance that runs, and for no other."""

    def __init__(self, network: Network, state: State) -> None:
        self._network, self._state = network, state
        self._running: dict[str, Machine] = {}

    def keep_in_step(self) -> None:
        """For ever, in a thread."""
        while True:
            for backend, instance in instances():
                if instance.id in self._state.faults().get("reclaim", ()) and instance._state.name == "running":
                    backend.terminate_instances([instance.id])
            running = {instance.id: (b, instance) for b, instance in instances() if instance._state.name == "running"}
            for name in self._running.keys() - running.keys():
                self._halt(name)
            for name in running.keys() - self._running.keys():
                self._boot(*running[name])
            self._state.show({name: _facts(running[name][1]) for name in self._running})
            time.sleep(0.3)

    def _boot(self, backend: Any, instance: Any) -> None:
        addresses = [f"{instance.private_ip}/16", *([f"{instance.public_ip}/32"] if instance.public_ip else [])]
        machine = Machine(self._network, instance.id[2:10], addresses, self._state.folder / "nodes" / instance.id)
        key = backend.key_pairs[instance.key_name].material_public
        profile = {
            "PATH": f"{Path(sys.executable).parent}:$PATH",
            "AWS_ENDPOINT_URL": f"http://{ROUTER}:{PORT}",  # the one line that an image would not have
            "OMP_NUM_THREADS": "1",
        }
        self._running[instance.id] = machine
        machine.start(key.decode() if isinstance(key, bytes) else key, profile)

    def _halt(self, name: str) -> None:
        machine = self._running.pop(name)
        machine.ask_to_end()
        time.sleep(GRACE_SECONDS)
        machine.power_off()

    def stop(self) -> None:
        for machine in self._running.values():
            machine.power_off()


def _facts(instance: Any) -> dict[str, Any]:
    return {"type": instance.instance_type, "address": instance.private_ip, "spot": instance.lifecycle == "spot"}


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        """Nothing: requests are written down before moto."""


def _lead_out(backend: Any) -> None:
    """Give the default VPC its way to the internet, as a real account's has one."""
    vpc = backend.get_default_vpc()
    gateway = backend.create_internet_gateway()
    backend.attach_internet_gateway(gateway.id, vpc.id)
    table = next(
        table for table in backend.route_tables.values() if table.vpc_id == vpc.id and table.main_association_id
    )
    backend.create_route(table.id, "0.0.0.0/0", None, gateway_id=gateway.id)


def main(network: str, folder: Path) -> None:
    """Simulate until SIGTERM."""
    assert not sh("ip", "route", "show", "default"), "there is a way out of this network"
    known = InstanceTypeBackend.instance_types
    InstanceTypeBackend.instance_types = [kind for kind in known if str(kind.get("InstanceType")).startswith(FAMILIES)]
    sh("ip", "addr", "add", f"{METADATA}/32", "dev", "br0")
    state = State(folder)
    machines = Machines(Network(name=network, gateway=f"{ROUTER}/16"), state)

    def stop(*_: Any) -> None:
        machines.stop()
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    service = make_server(METADATA, 80, metadata_service(state), threaded=True, request_handler=_Quiet)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    threading.Thread(target=machines.keep_in_step, daemon=True).start()
    moto = Front(DomainDispatcherApplication(create_backend_app), state)
    server = make_server(ROUTER, PORT, moto, threaded=True, request_handler=_Quiet)
    _lead_out(ec2_backends[ACCOUNT][REGION])
    (folder / "ready").touch()
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
