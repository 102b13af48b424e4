"""Roles and instance profiles: what head and workers may do."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from harness.cluster.aws.desired_state import Step, Wanted
from harness.cluster.aws.policies import head_policy, trust, worker_policy
from harness.cluster.aws.session import Session

SPOT_SERVICE = "spot.amazonaws.com"


def missing(session: Session, wanted: Wanted) -> Iterator[Step]:
    """Role and instance profile of head and workers, and EC2's own role for spot."""
    account, bucket = session.account, wanted.bucket
    of_head = head_policy(account, bucket, wanted.cluster, wanted.worker_role, wanted.kms_key)
    own = "start, tag and end this cluster's instances, and use"
    yield from _role(session.iam, wanted, wanted.head_role, of_head, f"{own} s3://{bucket}")
    yield from _role(
        session.iam, wanted, wanted.worker_role, worker_policy(account, bucket, wanted.kms_key), f"use s3://{bucket}"
    )
    if wanted.has_spot and not session.iam.list_roles(PathPrefix=f"/aws-service-role/{SPOT_SERVICE}/")["Roles"]:
        # An account gets it when it first asks for spot in the console; the head may not make it.
        what = f"make the role of {SPOT_SERVICE}, by which EC2 itself starts spot instances in this account"
        yield Step(what=what, do=partial(session.iam.create_service_linked_role, AWSServiceName=SPOT_SERVICE))


def removal(session: Session, wanted: Wanted) -> Iterator[Step]:
    """What was made here; EC2's own role stays."""
    for name in (wanted.head_role, wanted.worker_role):
        profile, role = existing_profile(session.iam, name), existing_role(session.iam, name)
        if profile is not None and wanted.is_ours(profile.get("Tags", ())):
            yield Step(what=f"delete instance profile {name}", do=partial(_delete_profile, session.iam, profile))
        if role is not None and wanted.is_ours(role.get("Tags", ())):
            yield Step(what=f"delete role {name}", do=partial(_delete_role, session.iam, name))


def existing_role(iam: Any, name: str) -> dict[str, Any] | None:
    """A role; None if there is none of that name."""
    try:
        role: dict[str, Any] = iam.get_role(RoleName=name)["Role"]
    except iam.exceptions.NoSuchEntityException:
        return None
    return role


def existing_profile(iam: Any, name: str) -> dict[str, Any] | None:
    """An instance profile; None if there is none of that name."""
    try:
        profile: dict[str, Any] = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    except iam.exceptions.NoSuchEntityException:
        return None
    return profile


def _role(iam: Any, wanted: Wanted, name: str, policy: dict[str, Any], may: str) -> Iterator[Step]:
    role, profile = existing_role(iam, name), existing_profile(iam, name)
    if role is None:
        yield Step(
            what=f"make role {name}",
            do=partial(
                iam.create_role,
                RoleName=name,
                AssumeRolePolicyDocument=json.dumps(trust()),
                Tags=wanted.marks,
                **({"PermissionsBoundary": wanted.boundary} if wanted.boundary else {}),
            ),
        )
    else:
        wanted.require_ours(role.get("Tags", ()), f"role {name}")
        if wanted.boundary not in (None, _boundary_of(role)):
            limit = partial(iam.put_role_permissions_boundary, RoleName=name, PermissionsBoundary=wanted.boundary)
            yield Step(what=f"limit role {name} by {wanted.boundary}", do=limit)
    if role is None or _policy_of(iam, name) != policy:
        allow = partial(iam.put_role_policy, RoleName=name, PolicyName=name, PolicyDocument=json.dumps(policy))
        yield Step(what=f"let role {name} {may}, nothing else", do=allow)
    if profile is None:
        yield Step(what=f"make instance profile {name}", do=partial(_make_profile, iam, wanted, name))
    elif not profile["Roles"]:  # made, but cut off before it had its role
        add = partial(iam.add_role_to_instance_profile, InstanceProfileName=name, RoleName=name)
        yield Step(what=f"put role {name} into its instance profile", do=add)


def _boundary_of(role: dict[str, Any]) -> str | None:
    return (role.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")


def _policy_of(iam: Any, name: str) -> Any:
    try:
        return iam.get_role_policy(RoleName=name, PolicyName=name)["PolicyDocument"]
    except iam.exceptions.NoSuchEntityException:
        return None


def _make_profile(iam: Any, wanted: Wanted, name: str) -> None:
    iam.create_instance_profile(InstanceProfileName=name, Tags=wanted.marks)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


def _delete_profile(iam: Any, profile: dict[str, Any]) -> None:
    name = profile["InstanceProfileName"]
    for role in profile["Roles"]:
        iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role["RoleName"])
    iam.delete_instance_profile(InstanceProfileName=name)


def _delete_role(iam: Any, name: str) -> None:
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    iam.delete_role(RoleName=name)
