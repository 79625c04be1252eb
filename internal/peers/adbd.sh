# Makes a small file system and starts the genuine adbd in it. It runs as the
# first process of namespaces of its own (mounts, processes and network), so that
# nothing done through the daemon, which obeys anybody as root, can touch the
# machine: what it can write is in memory and goes with it.
#
#   sh adbd.sh ROOT DEBIAN PHONE PROGRAM PORT [NAME=VALUE]... LOADER ARG...
#
# ROOT is an empty folder to mount on, DEBIAN holds the daemon, PHONE holds the
# links that stand first in its PATH, all of them to PROGRAM. The rest is its
# environment and command line.
set -eu
root=$1 debian=$2 phone=$3 program=$4 port=$5
shift 5

mount --make-rprivate /
mount -t tmpfs -o mode=755,size=1g tmpfs "$root"
cd "$root"
mkdir -p usr etc proc sys dev tmp opt/adbd opt/phone system/bin data/local/tmp sdcard
for dir in bin sbin lib lib64; do
  # Old machines keep these apart.
  if [ -L "/$dir" ]; then
    ln -s "$(readlink "/$dir")" "$dir"
  elif [ -d "/$dir" ]; then
    mkdir "$dir"
    mount --bind -o ro "/$dir" "$dir"
  fi
done
readonly_bind() { mount --bind "$1" "$2" && mount -o remount,bind,ro "$2"; }
readonly_bind /usr usr
readonly_bind "$debian" opt/adbd
readonly_bind "$phone" opt/phone
touch opt/program
readonly_bind "$program" opt/program
if [ -d /etc/alternatives ]; then
  mkdir etc/alternatives
  readonly_bind /etc/alternatives etc/alternatives
fi
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom; do
  touch "dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
printf 'root:x:0:0::/:/bin/sh\nshell:x:2000:2000::/:/bin/sh\ntcpdump:x:99:99::/:/bin/sh\n' >etc/passwd
printf 'root:x:0:\nshell:x:2000:\ntcpdump:x:99:\n' >etc/group
printf 'hosts: dns\n' >etc/nsswitch.conf
cp "$phone/resolv.conf" etc/resolv.conf
ln -s /bin/sh system/bin/sh

chroot=$(command -v chroot)
# The shell stays as the first process, which buries what a connection that was
# cut has left behind, as a phone's init does.
env -i PATH=/opt/phone/bin:/system/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/ TMPDIR=/data/local/tmp ADBD_PORT="$port" \
  "$chroot" . env "$@" &
wait $!
