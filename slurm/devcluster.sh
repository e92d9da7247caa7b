#!/usr/bin/env bash
# A real two-node Slurm with eight fake A100s a node, on one Debian or Ubuntu host without systemd.
#   eval "$(slurm/devcluster.sh start)"   # then: SCALE=demo sbatch slurm/train_run20.sh
#   slurm/devcluster.sh status | stop | crash n1        (start brings a crashed node back)
# Needs root: a node is a slurmd in its own hostname, mount and process namespaces, so that it resolves its
# peers' names and, when it crashes, takes all its processes along. The GPUs are copies of /dev/null: Slurm
# counts and hands them out, torch sees none of them and trains on the CPU.
# Everything lies in one private folder: ${ARXIV_DEVCLUSTER:-/tmp/arxiv-devcluster}.

set -euo pipefail

dir=${ARXIV_DEVCLUSTER:-/tmp/arxiv-devcluster}
nodes=(n0 n1)
# Two clusters in two folders do not meet: ports from the folder's name, below the kernel's ephemeral ports
# (32768) and above those that lib.sh gives to torchrun (10000 to 29999).
port=$((30000 + $(cksum <<<"$dir" | cut -d' ' -f1) % 900 * 3))
export SLURM_CONF=$dir/slurm.conf

die() { echo "devcluster: $*" >&2; exit 1; }

running() {  # running PROGRAM NAME: is the number in NAME.pid this program, not a zombie, not given to another?
  local pid
  pid=$(cat "$dir/$2.pid" 2>/dev/null) && readlink "/proc/$pid/exe" >/dev/null && [ "$(cat "/proc/$pid/comm")" = "$1" ]
}

write_conf() {
  local tracking=linuxproc  # loses processes that leave their session; the freezer loses none
  if [ -w /sys/fs/cgroup/freezer ]; then tracking=cgroup; echo CgroupPlugin=cgroup/v1 >"$dir/cgroup.conf"; fi
  printf '127.0.0.1 localhost\n127.0.0.2 n0\n127.0.0.3 n1\n' >"$dir/hosts"
  echo "NodeName=n[0-1] Name=gpu Type=a100 File=$dir/dev/nvidia[0-7]" >"$dir/gres.conf"
  # FirstJobId: job numbers of an earlier start are not given again, nor appended to their logs.
  # cred_expire: a requeued job starts after seconds, not after the default two minutes.
  # config_overrides: nodes may claim more cores and memory than this host has.
  # DefMemPerCPU: a job that names no memory would take all of a node's.
  # MinJobAge: ended jobs stay visible to `scontrol show job` for a day (there is no sacct here).
  cat >"$SLURM_CONF" <<END
ClusterName=devcluster
SlurmctldHost=localhost
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$dir/munge.socket,cred_expire=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool-%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/%n.log
MailProg=/bin/true
FirstJobId=$(($(date +%s) % 10000000 + 1))
MinJobAge=86400
ProctrackType=proctrack/$tracking
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=1000
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=5,bf_interval=1
SlurmdTimeout=10
KillWait=5
ReturnToService=2
GresTypes=gpu
NodeName=n[0-1] NodeHostname=localhost NodeAddr=127.0.0.[2-3] Port=[$((port + 1))-$((port + 2))] Sockets=2 CoresPerSocket=64 RealMemory=1000000 Gres=gpu:a100:8
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE
END
}

start_node() {  # the shell is the namespace's first process: it reaps what the steps leave behind
  running unshare "$1" && return
  # shellcheck disable=SC2016  # the inner shell expands: it is the one inside the namespaces
  setsid unshare --uts --mount --pid --fork --kill-child --mount-proc --propagation private \
    bash -c 'hostname "$1" && mount --bind "$2/hosts" /etc/hosts && { slurmd -D -N "$1" & wait; }' node "$1" "$dir" \
    </dev/null >>"$dir/log/$1.out" 2>&1 &
  echo $! >"$dir/$1.pid"
}

kill_node() { if running unshare "$1"; then kill -9 "$(cat "$dir/$1.pid")"; fi; }

both_up() { running unshare n0 && running unshare n1 && [ "$(timeout 5 sinfo -h -N -o %T 2>/dev/null | grep -Ecx 'idle|mixed|allocated')" = 2 ]; }

start() {
  [[ $dir =~ ^/[A-Za-z0-9_./-]+$ ]] || die "$dir: slurm.conf takes plain absolute paths only; set ARXIV_DEVCLUSTER to one"
  if ! { command -v munged && command -v slurmctld && command -v slurmd; } >/dev/null; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge; } \
      >&2 || die "could not install slurm-wlm and munge with apt-get: install slurmctld, slurmd and munge yourself"
  fi
  umask 022  # clients of any user reach munge's socket
  mkdir -p "$dir"/{dev,log,state,spool-n0,spool-n1}
  for i in {0..7}; do [ -c "$dir/dev/nvidia$i" ] || mknod "$dir/dev/nvidia$i" c 1 3; done
  [ -s "$dir/munge.key" ] || (umask 077 && head -c 128 /dev/urandom >"$dir/munge.key")
  running munged munged || munged --key-file="$dir/munge.key" --socket="$dir/munge.socket" --seed-file="$dir/munge.seed" \
    --pid-file="$dir/munged.pid" --log-file="$dir/log/munged.log"
  running slurmctld slurmctld || { write_conf && slurmctld -c; }
  for node in "${nodes[@]}"; do start_node "$node"; done
  for _ in {1..150}; do both_up && break; sleep 0.2; done
  both_up || { tail -n 5 "$dir"/log/*.log >&2; die "the nodes do not answer; the logs are in $dir/log"; }
  printf 'export SLURM_CONF=%q\n' "$SLURM_CONF"
}

stop() {
  for node in "${nodes[@]}"; do kill_node "$node"; done
  for daemon in slurmctld munged; do
    if running "$daemon" "$daemon"; then kill "$(cat "$dir/$daemon.pid")"; fi
    for _ in {1..50}; do running "$daemon" "$daemon" || break; sleep 0.1; done
  done
  for node in "${nodes[@]}"; do  # cgroups that a killed node could not remove
    find "/sys/fs/cgroup/freezer/slurm_$node" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
}

[ "$(id -u)" = 0 ] || die "needs root: sudo $0 $*"
case "${1:-} ${2:-}" in
  "start ") start ;;
  "stop ") stop ;;
  "status ") both_up || die "not running: $0 start"; sinfo -N -o '%N %T %G'; squeue ;;
  "crash n0" | "crash n1") running unshare "$2" || die "$2 is not running"; kill_node "$2" ;;
  *) die "usage: $0 start | stop | status | crash n0 | crash n1" ;;
esac
