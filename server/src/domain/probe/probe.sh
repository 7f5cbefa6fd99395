# Looks inside a space for signs of work, for /bin/sh -s. It prints numbers and names of programs, leaves nothing
# behind and needs a shell, date, sleep and /proc. What it prints and what that means is in docs/probe.md.

# Whoever set up the space may have set up its shells: functions and aliases must not stand in for what is used here.
# In bash this makes `unset` itself, then, when the next lines are read, everything else.
POSIXLY_CORRECT=1
\unset -f unalias unset read printf kill wait command date sleep nvidia-smi shopt [
\unalias -a
# All of it is read before any of it runs, so a script that arrives by half does nothing; nothing below reads stdin.
{
PATH=/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin:/usr/local/sbin:/usr/local/nvidia/bin:/opt/bin
LC_ALL=C
IFS=' '
export PATH LC_ALL
set +aCefuvx
unset ENV BASH_ENV TMOUT LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT
# shellcheck disable=SC3044 # bash has it, which may have been told to read patterns in another way.
if [ "${BASH_VERSION-}" ]; then shopt -u failglob nullglob nocaseglob nocasematch dotglob extglob; fi

out=
say() {
    out="$out$1
"
}

is_number() {
    case $1 in '' | *[!0-9]*) return 1 ;; esac
    [ "${#1}" -le 18 ]
}

tell_clock() {
    clock=$(date -u +%s)
    if is_number "$clock"; then say "clock $clock"; else clock=; say 'clock failed'; fi
}

tell_uptime() {
    up=
    read -r up rest </proc/uptime
    case $up in
        *[!0-9.]* | *.*.* | .* | *.) say 'uptime failed' ;;
        *.*) say "uptime $up" ;;
        *) say 'uptime failed' ;;
    esac
}

# CPU time since the space began: what its cgroup has used, or what its processes have.
tell_cpu() {
    used=
    while read -r key value rest; do
        if [ "$key" = usage_usec ]; then used=$value; fi
    done </sys/fs/cgroup/cpu.stat
    if is_number "$used"; then say "cpu cgroup2 $used"; return; fi
    for file in /sys/fs/cgroup/cpuacct/cpuacct.usage /sys/fs/cgroup/cpu,cpuacct/cpuacct.usage; do
        used=
        if [ -r "$file" ]; then read -r used rest <"$file"; fi
        if is_number "$used"; then say "cpu cgroup1 $used"; return; fi
    done
    if [ "$whole" ] && [ "$total" -gt 0 ]; then say "cpu processes $total $busy"; else say 'cpu failed'; fi
}

# The age of the newest write to any terminal.
tell_pty() {
    if [ -d /dev/pts ] && [ ! -r /dev/pts ]; then say 'pty failed'; return; fi
    # One that is closed meanwhile is no failure.
    for _ in 1 2 3; do
        newest=
        for pty in /dev/pts/[0-9]*; do
            if [ ! -e "$pty" ]; then continue; fi
            # shellcheck disable=SC3013 # dash, busybox and bash know -nt, and POSIX does since 2024.
            if [ -z "$newest" ] || [ "$pty" -nt "$newest" ]; then newest=$pty; fi
        done
        if [ -z "$newest" ]; then say 'pty none'; return; fi
        written=$(date -r "$newest" +%s)
        if is_number "$written" && [ "$clock" ]; then
            age=$((clock - written))
            if [ "$age" -lt 0 ]; then age=0; fi
            say "pty $age"
            return
        fi
        if [ -e "$newest" ]; then break; fi
    done
    say 'pty failed'
}

# Asks nvidia-smi and says how it ended. Should not even SIGKILL end it, as when its driver hangs, it is left alone.
ask_nvidia() {
    read -r me rest </proc/self/stat
    LD_LIBRARY_PATH=/usr/local/nvidia/lib64:/usr/local/nvidia/lib nvidia-smi \
        --query-gpu=utilization.gpu --format=csv,noheader,nounits &
    tool=$!
    (
        trap 'if [ "$!" != "$tool" ]; then kill -9 "$!"; wait "$!"; fi; exit' TERM
        sleep 1.5 &
        wait "$!" || { sleep 1 & wait "$!"; }
        kill -9 "$tool"
        sleep 0.2 &
        wait "$!"
        kill "$me"
    ) >/dev/null &
    timer=$!
    # Not before: a child that has just been made with a trap can lose the signal that is to end it.
    trap 'printf "late\n"; exit' TERM
    wait "$tool"
    code=$?
    kill "$timer"
    wait "$timer"
    printf 'exit %s\n' "$code"
}

# Makes a line of what nvidia-smi said: a number for each GPU.
hear_nvidia() {
    gpus=
    count=0
    strange=
    while read -r line; do
        count=$((count + 1))
        case $line in
            late | 'exit 137') break ;;
            'exit 0')
                if [ "$gpus" ] && [ -z "$strange" ]; then printf 'gpu%s\n' "$gpus"; return; fi
                printf 'gpu failed nonsense\n'
                return
                ;;
            exit*) printf 'gpu failed exit\n'; return ;;
            [0-9] | [0-9][0-9] | 100) gpus="$gpus $line" ;;
            *) strange=1 ;;
        esac
        if [ "$count" -gt 64 ]; then printf 'gpu failed nonsense\n'; return; fi
    done
    printf 'gpu failed late\n'
}

# What nvidia-smi says comes as a line of its own while the processes are read, since it may take its time.
tell_gpu() {
    asking=
    nvidia=
    for device in /dev/nvidia[0-9]*; do
        if [ -e "$device" ]; then nvidia=1; fi
    done
    # Other makers' need tools of their own.
    for device in /dev/neuron[0-9]* /dev/kfd; do
        if [ -e "$device" ]; then say 'gpu failed other'; return; fi
    done
    if [ -z "$nvidia" ]; then say 'gpu none'; return; fi
    if ! command -v nvidia-smi >/dev/null; then say 'gpu failed missing'; return; fi
    { ask_nvidia | hear_nvidia; } &
    asking=$!
}

# The state of a process: more than a line if its name has a line break in it and the kernel prints it as it is.
read_stat() {
    stat=
    while IFS= read -r line; do stat="$stat$line "; done <"$1/stat"
}

# Adds the processes up and finds those that have used most. `busy` changes with the set of those that have used a
# second or more, so that one of them cannot end and take its time out of the sum unseen.
scan() {
    total=0 busy=0 count=0 whole=1
    t1=0 t2=0 t3=0 t4=0 t5=0
    n1='' n2='' n3='' n4='' n5=''
    # This script, what it starts and whatever else is as new is left out.
    read_stat /proc/self
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    began=${20}
    for process in /proc/[0-9]*; do
        pid=${process#/proc/}
        count=$((count + 1))
        if [ "$count" -gt 10000 ]; then whole=; break; fi
        read_stat "$process"
        # A name may look like anything: what follows the last parenthesis is the kernel's.
        # shellcheck disable=SC2086 # Fields, to be split.
        set -f -- ${stat##*) }
        if [ "$#" -lt 20 ]; then continue; fi
        case $7${12}${13}${14}${15}${20} in *[!0-9]*) continue ;; esac
        # PF_KTHREAD: a thread of the kernel.
        if [ $(($7 & 2097152)) -ne 0 ] || [ "${20}" -ge "$began" ]; then continue; fi
        own=$((${12} + ${13}))
        family=$((own + ${14} + ${15}))
        total=$((total + family))
        if [ "$family" -ge 100 ]; then busy=$(((busy + pid * (${20} + 1)) & 1073741823)); fi
        if [ "$own" -gt "$t5" ]; then
            name=${stat#*\(}
            place "${name%\) *}"
        fi
    done
    set +f
}

place() {
    if [ "$own" -gt "$t1" ]; then
        t5=$t4 n5=$n4 t4=$t3 n4=$n3 t3=$t2 n3=$n2 t2=$t1 n2=$n1 t1=$own n1=$1
    elif [ "$own" -gt "$t2" ]; then
        t5=$t4 n5=$n4 t4=$t3 n4=$n3 t3=$t2 n3=$n2 t2=$own n2=$1
    elif [ "$own" -gt "$t3" ]; then
        t5=$t4 n5=$n4 t4=$t3 n4=$n3 t3=$own n3=$1
    elif [ "$own" -gt "$t4" ]; then
        t5=$t4 n5=$n4 t4=$own n4=$1
    else
        t5=$own n5=$1
    fi
}

# The first 15 characters, with everything unusual replaced.
tell_program() {
    left=$1
    name=
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
        if [ -z "$left" ]; then break; fi
        rest=${left#?}
        case ${left%"$rest"} in
            [A-Za-z0-9] | [-._:+@/\ ]) name=$name${left%"$rest"} ;;
            *) name="$name?" ;;
        esac
        left=$rest
    done
    say "program ${name:-?}"
}

printf 'spaceport-probe 1\n'
tell_gpu
tell_clock
tell_uptime
scan
tell_cpu
tell_pty
if [ "$t1" -gt 0 ]; then tell_program "$n1"; fi
if [ "$t2" -gt 0 ]; then tell_program "$n2"; fi
if [ "$t3" -gt 0 ]; then tell_program "$n3"; fi
if [ "$t4" -gt 0 ]; then tell_program "$n4"; fi
if [ "$t5" -gt 0 ]; then tell_program "$n5"; fi
printf '%s' "$out"
if [ "$asking" ]; then wait "$asking"; fi
printf 'end\n'
exit
} </dev/null 2>/dev/null
