#!/bin/bash
# Process 1 of a made-up machine: the host's files under an overlay, its own /tmp, /dev/shm and host name, user ubuntu, sshd.
# Run in network, mount, process, UTS and IPC namespaces of its own. MACHINE: its folder, with authorized_keys.
# MACHINE_NAME: host name. MACHINE_BINDS: folders of other disks to show, read-only. MACHINE_DATA: one to show as
# /mnt/data. MACHINE_SHARED: one to share, or empty. MACHINE_PROFILE: lines for the user's .bashrc.
set -euo pipefail
root=$MACHINE/root
mkdir -p "$MACHINE"/{up,work,root,tmp}
mount -t overlay overlay -o "lowerdir=/,upperdir=$MACHINE/up,workdir=$MACHINE/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/dev"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir -p "$root"/dev/{pts,shm}
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for number in 0 1 2; do ln -s "/proc/self/fd/$number" "$root/dev/$(echo stdin stdout stderr | cut -d' ' -f$((number + 1)))"; done
mount -t tmpfs -o size=2g tmpfs "$root/dev/shm"
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$root"/run/{sshd,lock}
chmod 1777 "$MACHINE/tmp"
mount --bind "$MACHINE/tmp" "$root/tmp"
show() {
  mkdir -p "$root$2"
  mount --bind "$1" "$root$2"
  mount -o remount,bind,ro "$root$2"
}
for folder in $MACHINE_BINDS; do show "$folder" "$folder"; done
show "$MACHINE_DATA" /mnt/data
if [ -n "$MACHINE_SHARED" ]; then
  mkdir -p "$root/mnt/shared"
  mount --bind "$MACHINE_SHARED" "$root/mnt/shared"
fi

hostname "$MACHINE_NAME"
address=$(ip -4 -o addr show dev eth0 | awk '{print $4}' | head -1 | cut -d/ -f1)
printf '127.0.0.1 localhost\n%s %s\n' "$address" "$MACHINE_NAME" > "$root/etc/hosts"

chmod 755 "$root/root" # a Python below root's home has to be found
chroot "$root" useradd -m -s /bin/bash ubuntu
chroot "$root" usermod -p '*' ubuntu
home=$root/home/ubuntu
mkdir -p "$home/.ssh"
cp "$MACHINE/authorized_keys" "$home/.ssh/"
chmod 700 "$home/.ssh"
chmod 600 "$home/.ssh/authorized_keys"
printf '%s\n' "$MACHINE_PROFILE" > "$home/.bashrc"
echo '. ~/.bashrc' > "$home/.profile"
chroot "$root" chown -R ubuntu:ubuntu /home/ubuntu

rm -f "$root"/etc/ssh/ssh_host_*
chroot "$root" ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
cat > "$root/etc/ssh/machine_config" <<END
HostKey /etc/ssh/ssh_host_ed25519_key
UsePAM no
PasswordAuthentication no
PermitRootLogin no
MaxSessions 200
MaxStartups 200
UseDNS no
END
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" \
  /bin/bash -c '/usr/sbin/sshd -D -e -f /etc/ssh/machine_config & while :; do wait -n || sleep 1; done'
