#!/bin/bash
# slurm_nodes.sh FOLDER COMMAND...   Slurm with two nodes on this machine; run COMMAND where one would submit.
# Each node has its own processes, network, host name and shared memory, so that Ray on one knows nothing of the other,
# nor of any Ray outside. Needs root, and Debian's slurm-wlm, munge and iproute2.
set -euo pipefail

if [ "${1}" != --inside ]; then
  exec unshare --net --pid --mount --uts --ipc --fork --mount-proc --kill-child bash "$0" --inside "$@"
fi
shift
folder=$1
shift

# A file system of one's own where Ray keeps its sessions and its shared memory.
own_memory() { mount -t tmpfs tmpfs /dev/shm; mkdir -p /tmp/ray; mount -t tmpfs tmpfs /tmp/ray; }
export -f own_memory

ip link set lo up
ip link add lan type bridge
ip addr add 10.77.0.100/24 dev lan
ip link set lan up
hostname login
mkdir -p "$folder"/{state,munge}
printf '127.0.0.1 localhost\n10.77.0.100 login\n10.77.0.1 node1\n10.77.0.2 node2\n' > "$folder/hosts"
mount --bind "$folder/hosts" /etc/hosts
own_memory
chmod 755 "$folder" "$folder/munge"
(umask 077; head -c 128 /dev/urandom > "$folder/munge/key")
munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munge/pid" \
  --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
cat > "$folder/slurm.conf" <<CONF
ClusterName=made
SlurmctldHost=login
AuthInfo=socket=$folder/munge/socket
SlurmUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/controller.pid
SlurmdPidFile=$folder/%n.pid
SlurmctldLogFile=$folder/controller.log
SlurmdLogFile=$folder/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
NodeName=node[1-2] CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP
CONF
export SLURM_CONF=$folder/slurm.conf
slurmctld -c

for number in 1 2; do
  unshare --net --pid --mount --uts --ipc --fork --mount-proc --kill-child bash -c '
    set -eu
    hostname "node$1"
    own_memory
    ip link set lo up
    until ip link show eth0 >/dev/null 2>&1; do sleep 0.1; done
    ip addr add "10.77.0.$1/24" dev eth0
    ip link set eth0 up
    slurmd -D &
    while :; do wait -n || sleep 1; done  # as the first process of a node it has to collect what has ended
  ' node "$number" > "$folder/node$number.out" 2>&1 &
  until [ "$(readlink "/proc/$!/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
  ip link add "to$number" type veth peer name eth0 netns "$!"
  ip link set "to$number" master lan up
done
for _ in $(seq 60); do
  [ "$(timeout 5 sinfo --noheader --states=idle --Node | wc -l)" = 2 ] && break
  sleep 0.5
done
"$@"
