"""What is asked of AWS for a hint alone: where nobody may ask, or nobody answers, nothing is said."""

from collections.abc import Callable
from typing import Any

from harness.cluster.aws.session import code_of

Answer = dict[str, Any]


def answer(ask: Callable[..., Answer], *, absent: str = "", **parameters: Any) -> Answer | None:
    """None where the call is refused, fails, or is answered by something that is not AWS.

    Empty where the error is `absent`: AWS has answered that there is nothing.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        return ask(**parameters)
    except ClientError as error:
        return {} if absent and code_of(error) == absent else None
    except (BotoCoreError, ResponseParserError, NotImplementedError):
        return None


def client(service: str, region: str) -> Any:
    """One that gives up soon."""
    import boto3
    from botocore.config import Config

    patience = Config(retries={"total_max_attempts": 2}, connect_timeout=5, read_timeout=20)
    return boto3.client(service, region_name=region, config=patience)
