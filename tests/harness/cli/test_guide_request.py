"""The request to a served model, as the guide has it, for a photo of a size that photos have."""

import base64
import json
import os
import subprocess
from pathlib import Path

from tests.journeys.guides import block

PHOTO = os.urandom(400_000)
"""More than the system takes as one argument of a program."""


def test_the_request_takes_a_real_photo(tmp_path: Path) -> None:
    command = block("docs/models.md", "curl -s").text.partition('{"predictions"')[0]
    curl = tmp_path / "curl"
    curl.write_text('#!/bin/sh\ncase "$*" in *"-d @-") cat ;; *) printf %s "$6" ;; esac\n')
    curl.chmod(0o755)
    (tmp_path / "digit.png").write_bytes(PHOTO)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    asked = json.loads(done.stdout)["dataframe_split"]
    assert base64.b64decode(asked["data"][0][0]) == PHOTO
