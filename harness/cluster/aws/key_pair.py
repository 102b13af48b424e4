"""The key pair by which this machine reaches the nodes, and the token that Ray asks everybody for."""

import os
import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from harness.cluster.aws.desired_state import Step, Wanted
from harness.cluster.aws.session import Session, code_of
from ndcl.errors import UserError

TOKEN_FILE = Path("~/.ray/auth_token")
FOR_OTHERS = 0o077
"""Rights that nobody else may have on a secret's file."""


def key_file(wanted: Wanted, region: str) -> Path:
    """Where the private key lies on this machine; `~` stands for the home."""
    return Path(f"~/.ssh/{wanted.key}-{region}.pem")


def missing(session: Session, wanted: Wanted) -> Iterator[Step]:
    """A key pair in the account with its private half here. Raises UserError where one half is without the other."""
    if wanted.key is None:
        return
    shown = key_file(wanted, session.account.region)
    path, pair = shown.expanduser(), _pair(session.ec2, wanted.key)
    if pair is None and path.exists():
        raise UserError(f"{shown}: it is there, but EC2 has no key pair {wanted.key} any more; move the file away")
    if pair is not None:
        wanted.require_ours(pair.get("Tags", ()), f"key pair {wanted.key}")
        if not path.exists():
            raise UserError(
                f"AWS: key pair {wanted.key} is there, but not {shown}; copy that file from the machine that made it, "
                f"or delete the pair: aws ec2 delete-key-pair --key-name {wanted.key} --region {session.account.region}"
            )
    else:
        what = f"make key pair {wanted.key}; the private key goes to {shown}, which you alone may read"
        yield Step(what=what, do=partial(_make_pair, session.ec2, wanted, path))
    if path.exists() and path.stat().st_mode & FOR_OTHERS:
        yield Step(what=f"let nobody else read {shown}", do=partial(path.chmod, 0o600))


def removal(session: Session, wanted: Wanted) -> Iterator[Step]:
    """Both halves of the pair, if it was made here."""
    pair = None if wanted.key is None else _pair(session.ec2, wanted.key)
    if pair is None or not wanted.is_ours(pair.get("Tags", ())):
        return
    shown = key_file(wanted, session.account.region)

    def remove() -> None:
        session.ec2.delete_key_pair(KeyName=wanted.key)
        shown.expanduser().unlink(missing_ok=True)

    yield Step(what=f"delete key pair {wanted.key}, and {shown}", do=remove)


def missing_token() -> Iterator[Step]:
    """The token that all nodes share, in a file that nobody else may read."""
    path = TOKEN_FILE.expanduser()
    if not path.exists():
        yield Step(
            what=f"make {TOKEN_FILE}, the token that Ray asks everybody for",
            do=lambda: _write_secret(path, secrets.token_hex(32)),
        )
    elif path.stat().st_mode & FOR_OTHERS:
        yield Step(what=f"let nobody else read {TOKEN_FILE}", do=partial(path.chmod, 0o600))


def _pair(ec2: Any, name: str) -> dict[str, Any] | None:
    from botocore.exceptions import ClientError

    try:
        pairs: list[dict[str, Any]] = ec2.describe_key_pairs(KeyNames=[name])["KeyPairs"]
    except ClientError as error:
        if code_of(error) == "InvalidKeyPair.NotFound":
            return None
        raise
    return pairs[0]


def _make_pair(ec2: Any, wanted: Wanted, path: Path) -> None:
    tags = [{"ResourceType": "key-pair", "Tags": wanted.marks}]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = ec2.create_key_pair(KeyName=wanted.key, KeyType="ed25519", TagSpecifications=tags)
    _write_secret(path, made["KeyMaterial"].rstrip() + "\n")  # without the last line's end OpenSSH can't read it


def _write_secret(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
