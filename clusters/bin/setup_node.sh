#!/bin/bash
# Make a node ready: a virtual environment with what requirements-node.lock pins, and RAY_AUTH_MODE in every shell.
# Run on every node by setup_commands, more than once. Where the environment is there (a baked image, a second run) it
# installs nothing. NDCL_VENV: where the environment lies, default ~/ndcl-venv. NDCL_LOCAL_DISKS: where disks of the machine's
# own may be mounted.
set -euo pipefail
app=$(cd "$(dirname "$0")/../.." && pwd)
venv=${NDCL_VENV:-$HOME/ndcl-venv}
wanted=$(sed -n 's/^ray==//p' "$app/requirements-node.lock")

once() { grep -qxF "$1" ~/.bashrc 2>/dev/null || echo "$1" >> ~/.bashrc; }
installed() { python -c 'import importlib.metadata as m; print(m.version("ray"))' 2>/dev/null || true; }

once 'export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true'
once "export PYTHONPATH=$app"
[ ! -f ~/.ray/auth_token ] || chmod 600 ~/.ray/auth_token

# Copies of data sets go to a disk of the machine's own, where one is mounted that has more room than the root disk: AWS's
# images mount NVMe so, Azure's the temporary disk. It ends with the machine, as a copy may.
room() { df --output=avail "$1" | tail -1; }
for disk in ${NDCL_LOCAL_DISKS:-/opt/dlami/nvme /mnt}; do
  source=$(findmnt --noheadings --output SOURCE --mountpoint "$disk" 2>/dev/null) || continue
  case $source in /dev/*) ;; *) continue ;; esac
  [ "$(room "$disk")" -gt "$(room ~)" ] || continue
  [ -w "$disk/ndcl" ] || sudo install -d -m 700 -o "$(id -un)" "$disk/ndcl"
  once "export NDCL_CACHE=$disk/ndcl"
  break
done

# An image may bring an environment on its PATH; otherwise it is made here.
if [ "$(installed)" != "$wanted" ] || [ -d "$venv" ]; then
  stamp="$venv/.installed-$(sha256sum "$app/requirements-node.lock" | cut -c1-16)"
  if [ ! -f "$stamp" ]; then
    python3 -m venv --help >/dev/null 2>&1 && python3 -c 'import ensurepip' 2>/dev/null \
      || { sudo apt-get update -qq; sudo apt-get install -y -qq python3-venv; }
    [ -x ~/.ndcl-uv/bin/uv ] || {
      python3 -m venv ~/.ndcl-uv
      ~/.ndcl-uv/bin/pip install -q "$(grep '^uv==' "$app/requirements-node.lock")"
    }
    # The same Python on every node: Ray refuses nodes of another minor version.
    [ -x "$venv/bin/python" ] || ~/.ndcl-uv/bin/uv venv --quiet --python 3.11 "$venv"
    ~/.ndcl-uv/bin/uv pip install --quiet --python "$venv/bin/python" -r "$app/requirements-node.lock"
    touch "$stamp"
  fi
  once "export PATH=$venv/bin:\$PATH"
  export PATH="$venv/bin:$PATH"
fi
[ "$(installed)" = "$wanted" ] || {
  echo "setup_node.sh: ray $wanted is not installed on $(hostname), found '$(installed)'" >&2
  exit 1
}
