# A space for one look, as pid 1 of namespaces of its own: frame.sh FOLDER COMMAND... runs the command there with the
# folder's `script` on its standard input, after the folder's `setup`. What came of it is written into the folder.
folder=$1
shift
mount -t proc proc /proc
mount --bind "$folder" /mnt
# Another one, for the clock of this script: that above may be made to lie.
mkdir /mnt/proc
mount -t proc proc /mnt/proc
# Devices, terminals, control groups, programs and temporary files of its own.
mkdir /mnt/dev /mnt/home /mnt/cwd
mount -t tmpfs -o mode=755 tmpfs /mnt/dev
touch /mnt/dev/null
mount --bind /dev/null /mnt/dev/null
mkdir /mnt/dev/pts
mount -t devpts -o newinstance,ptmxmode=666 devpts /mnt/dev/pts
ln -s pts/ptmx /mnt/dev/ptmx
mount --rbind /mnt/dev /dev
for mount in /tmp /var/tmp /sys/fs/cgroup /usr/local/bin; do mount -t tmpfs tmpfs "$mount"; done
echo 'usage_usec 5000000' >/sys/fs/cgroup/cpu.stat
cd /mnt/cwd || exit 1

# until_so CONDITION...: waits for it, and gives up after ten seconds.
until_so() {
    tries=0
    until "$@"; do
        sleep 0.02
        tries=$((tries + 1))
        if [ "$tries" -gt 500 ]; then echo "never: $*" >&2; exit 1; fi
    done
}
# terminal N AGE: the Nth terminal, last written to so many seconds ago.
terminal() {
    setsid script -qc ": >/mnt/terminal-$1; exec sleep 1000" /dev/null </dev/null >/dev/null 2>&1 &
    # By whoever is on it, who comes later than the terminal and would be taken for something left by the script.
    until_so test -e "/mnt/terminal-$1"
    until_so test -e "/dev/pts/$1"
    touch -d "@$(($(date +%s) - $2))" "/dev/pts/$1"
}
# gpu TEXT: a GPU, with an nvidia-smi of this text.
gpu() {
    touch /dev/nvidia0
    printf '#!/bin/sh\n%s\n' "$1" >/usr/local/bin/nvidia-smi
    chmod +x /usr/local/bin/nvidia-smi
}
# sleepers N: so many processes.
sleepers() {
    left=$1
    while [ "$left" -gt 0 ]; do
        sleep 1000 &
        left=$((left - 1))
    done
}
# worker NAME: a process of that name that has used CPU.
worker() {
    /bin/sh -c 'printf "$1" >/proc/$$/comm
        turns=0; while [ $turns -lt 150000 ]; do turns=$((turns + 1)); done
        : >"/mnt/worker-$$"; while :; do read -r line; done' worker "$1" <>/mnt/never >/dev/null &
    until_so test -e "/mnt/worker-$!"
}
# stat_of TEXT: a process whose state is this text, as another kernel may show it; `made` is its pid.
stat_of() {
    sleep 1000 &
    made=$!
    printf '%b' "$1" >"/mnt/stat-$made"
    mount --bind "/mnt/stat-$made" "/proc/$made/stat"
}
mkfifo /mnt/never
. /mnt/setup

known=
for process in /proc/[0-9]*; do known="$known $process "; done
read -r began rest </mnt/proc/uptime
cat /mnt/script | "$@" >/mnt/out 2>/mnt/err
read -r ended rest </mnt/proc/uptime
echo "$began $ended" >/mnt/took
for process in /proc/[0-9]*; do
    case $known in *" $process "*) continue ;; esac
    read -r name <"$process/comm" && echo "process $name" >>/mnt/left
done
cd /
find /mnt/home /mnt/cwd /tmp /var/tmp /dev/shm -mindepth 1 >>/mnt/left 2>/dev/null
