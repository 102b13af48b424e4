"""Weights of timm's networks: those of a tag, in torch's or the hub's own cache, or a file. Nothing in them is run."""

import os
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from ndcl.errors import UserError
from ndcl.models.weights import State, read_state, require_whole
from ndcl.timm_models import PREFIX, pretrained_config, require_pretrained

PRETRAINED = "pretrained"
"""In a config: the weights of the backbone's tag, or of its first one."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def read_timm_weights(name: str, weights: str) -> State:
    """The state dict that `weights`, `pretrained` or a path, means for the backbone `name`.

    Raises UserError if it cannot be had, is damaged, or is not a state dict.
    """
    if weights != PRETRAINED:
        return read_state(Path(weights).expanduser(), f"{PRETRAINED}, none, or the path of a state dict")
    config = pretrained_config(name)
    require_pretrained(name)
    file = timm_weights_file(name)
    if file.is_file():
        _require_digest_beside(file)
        return read_state(file)
    return _from_hub(name, config, file) if config.hf_hub_id else _from_address(name, config.url, file)


def timm_weights_file(name: str) -> Path:
    """Where a tag's weights are looked for first: by hand, or downloaded where they lie at no hub."""
    config, folder = pretrained_config(name), Path(torch.hub.get_dir()) / "checkpoints"
    if not config.hf_hub_id:
        return folder / Path(urlsplit(config.url).path).name
    return folder / "timm" / f"{config.architecture}.{config.tag}.safetensors"


def _from_hub(name: str, config: Any, place: Path) -> State:
    """From the hub's cache, which is filled if there is a network."""
    import huggingface_hub
    from huggingface_hub import constants

    file = config.hf_hub_filename or "model.safetensors"
    found = huggingface_hub.try_to_load_from_cache(config.hf_hub_id, file)
    if not isinstance(found, str):
        try:
            _require_host(constants.ENDPOINT)
            found = huggingface_hub.hf_hub_download(config.hf_hub_id, file)
        except Exception as error:  # of the hub's own kinds, of its transport's, or the system's
            reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
            raise UserError(
                f"model.weights: the weights of {name} could not be downloaded ({reason}); put the file {file} of "
                f"{config.hf_hub_id} at {place}, or set model.weights to its path"
            ) from None
    digest = Path(found).resolve().name  # the hub's cache names large files by their SHA-256
    if _SHA256.fullmatch(digest):
        require_whole(Path(found), digest)
    return read_state(Path(found))


def _from_address(name: str, url: str, place: Path) -> State:
    expected = re.search(r"-([0-9a-f]{8,})\.", place.name)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(place), expected and expected[1], progress=False)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"model.weights: the weights of {name} could not be downloaded ({error}); put the file {place.name} at "
            f"{place}, or set model.weights to its path"
        ) from None
    return read_state(place)


def _require_host(endpoint: str) -> None:
    """Raise OSError at once where there is no network: the hub's client would try again for half a minute."""
    if not any(map(os.environ.get, _PROXIES)):
        address = urlsplit(endpoint)
        socket.getaddrinfo(address.hostname, address.port or 443)


def _require_digest_beside(file: Path) -> None:
    """Compare a file with the SHA-256 in its name (`-0676ba61.pth`), or in FILE.sha256 as `sha256sum` writes it."""
    beside, in_name = file.with_name(f"{file.name}.sha256"), re.search(r"-([0-9a-f]{8,})\.", file.name)
    if beside.is_file():
        require_whole(file, (beside.read_text().split() or ["nothing"])[0].lower())
    elif in_name and not file.name.endswith(".safetensors"):
        require_whole(file, in_name[1])


__all__ = ["PREFIX", "PRETRAINED", "read_timm_weights", "timm_weights_file"]
