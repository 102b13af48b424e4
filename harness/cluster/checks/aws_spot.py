"""How likely spot capacity is, in the region of a cluster and elsewhere, by EC2's own scores. Only looks."""

from collections.abc import Iterator
from typing import Any

from harness.cluster.aws.session import Session
from harness.cluster.checks.hints import answer, client
from harness.cluster.files import ClusterFile
from harness.cluster.market import is_spot

LIKELY = 7
"""Of ten, from which on EC2 mostly has what is asked for."""
SHOWN = 3


def placement_notes(session: Session, file: ClusterFile, ec2: Any = None) -> Iterator[str]:
    """A line for all spot types together, as a group that may take any of them; none where nobody may ask."""
    spot = {name: of for name, of in file.node_types.items() if is_spot(of)}
    machines = sorted({file.machine(of["node_config"]) for of in spot.values()})
    if not machines:
        return
    ceiling = int(file.values.get("max_workers") or 1)
    wanted = min(ceiling, sum(int(of.get("max_workers", ceiling)) for of in spot.values())) or 1
    asked: dict[str, Any] = {
        "InstanceTypes": machines,
        "TargetCapacity": wanted,
        "TargetCapacityUnitType": "units",
        "SingleAvailabilityZone": False,
    }
    ec2 = ec2 or client("ec2", session.account.region)
    found = answer(ec2.get_spot_placement_scores, **asked)
    if found is not None:
        scores = {each["Region"]: each["Score"] for each in found["SpotPlacementScores"]}
        yield _note(scores, wanted, machines, session)


def _note(scores: dict[str, Any], wanted: int, machines: list[str], session: Session) -> str:
    here = session.account.region
    asked = f"{wanted} spot {' or '.join(machines)}"
    told = f"EC2's score for {asked} in {here}: {scores.get(here, 1)} of 10"
    better = sorted((-score, region) for region, score in scores.items() if score > scores.get(here, 1))[:SHOWN]
    if scores.get(here, 1) >= LIKELY or not better:
        return told
    return f"{told}; elsewhere: {', '.join(f'{region} {-score}' for score, region in better)}"
