"""Parts that several checks stand on: ranges of addresses, amounts of Kubernetes, one finding for one cause."""

import pytest

from harness.cluster.checks.address_ranges import lets_everybody_in, open_ports
from harness.cluster.checks.findings import Finding, merged
from harness.cluster.checks.quantities import amount


@pytest.mark.parametrize(
    ("ranges", "everybody"),
    [
        (["0.0.0.0/0"], True),
        (["::/0"], True),
        (["0.0.0.0/1", "128.0.0.0/1"], True),
        (["0.0.0.0/1"], True),
        (["0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/2"], True),
        (["::/1", "8000::/1"], True),
        (["203.0.113.7/32", "10.0.0.0/8", "2001:db8::/32"], False),
        (["203.0.113.0/25", "203.0.113.128/25"], False),
        (["not a range"], False),
        ([], False),
    ],
)
def test_who_is_let_in(ranges: list[str], everybody: bool) -> None:
    assert lets_everybody_in(ranges) is everybody


def test_halves_in_two_permissions_for_the_same_port_and_not_for_others() -> None:
    halves = [
        {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": cidr}]}
        for port, cidr in ((22, "0.0.0.0/1"), (22, "128.0.0.0/1"), (443, "203.0.113.0/24"))
    ]
    assert list(open_ports(halves)) == ["port 22 is"]
    assert list(open_ports([{"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}])) == ["all ports are"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("16Gi", 16 * 2**30),
        ("500m", 0.5),
        ("1e3", 1000),
        ("16", 16),
        (16, 16),
        ("2k", 2000),
        ("16GB", None),
        ("", None),
    ],
)
def test_amounts_as_kubernetes_reads_them(text: object, number: float | None) -> None:
    assert amount(text) == number


def test_what_several_types_have_from_one_place_is_told_once() -> None:
    places = [f"available_node_types.{name}.node_config.ImageId" for name in ("head", "gpu")]
    twice = [Finding(where=place, what="x", remedy="y") for place in (*places, places[0], "max_workers")]
    assert [str(finding) for finding in merged(twice)] == [
        "available_node_types.{head,gpu}.node_config.ImageId: x; y",
        "max_workers: x; y",
    ]
