#!/usr/bin/env bash
# A real Slurm for tests: two nodes with eight fake A100 GPUs each, on one Debian or Ubuntu host without systemd.
#   eval "$(slurm/devcluster.sh start)"   # then: SCALE=demo sbatch slurm/train_run20.sh
#   slurm/devcluster.sh status | stop | crash n1        (start restarts a crashed node)
# It needs root. A node is a slurmd with its own hostname, mount and process namespaces, so it resolves the other node's
# name, and all its processes die with it. The GPUs are copies of /dev/null: Slurm allocates them, torch does not see
# them. Jobs of the partition urgent preempt others. All files are in ${ARXIV_DEVCLUSTER:-/tmp/arxiv-devcluster}.

set -euo pipefail

dir=${ARXIV_DEVCLUSTER:-/tmp/arxiv-devcluster}
nodes=(n0 n1)
# From the folder's name: two clusters share no ports. Below ephemeral ones (32768), above torchrun's (lib.sh, to 29999).
port=$((30000 + $(cksum <<<"$dir" | cut -d' ' -f1) % 900 * 3))
export SLURM_CONF=$dir/slurm.conf

die() { echo "devcluster: $*" >&2; exit 1; }

running() {  # running PROGRAM NAME: is the process in NAME.pid this program, alive and not a zombie?
  local pid
  pid=$(cat "$dir/$2.pid" 2>/dev/null) && readlink "/proc/$pid/exe" >/dev/null && [ "$(cat "/proc/$pid/comm")" = "$1" ]
}

write_conf() {
  local tracking=linuxproc  # misses processes that leave their session; the cgroup freezer misses none
  if [ -w /sys/fs/cgroup/freezer ]; then tracking=cgroup; echo CgroupPlugin=cgroup/v1 >"$dir/cgroup.conf"; fi
  printf '127.0.0.1 localhost\n127.0.0.2 n0\n127.0.0.3 n1\n' >"$dir/hosts"
  echo "NodeName=n[0-1] Name=gpu Type=a100 File=$dir/dev/nvidia[0-7]" >"$dir/gres.conf"
  # FirstJobId: do not use the job numbers of an earlier start again, which would append to its logs.
  # cred_expire: a requeued job starts after seconds, not minutes. config_overrides: nodes may claim more than there is.
  # DefMemPerCPU: else a job takes all memory of a node. MinJobAge: `scontrol show job` shows ended jobs for a day.
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
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
SlurmdTimeout=10
KillWait=5
ReturnToService=2
GresTypes=gpu
NodeName=n[0-1] NodeHostname=localhost NodeAddr=127.0.0.[2-3] Port=[$((port + 1))-$((port + 2))] Sockets=2 CoresPerSocket=64 RealMemory=1000000 Gres=gpu:a100:8
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE GraceTime=60
PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=2
END
}

start_node() {  # the inner shell is the namespace's first process and reaps what job steps leave behind
  running unshare "$1" && return
  # shellcheck disable=SC2016  # the inner shell expands the variables, inside the namespaces
  setsid unshare --uts --mount --pid --fork --kill-child --mount-proc --propagation private \
    bash -c 'hostname "$1" && mount --bind "$2/hosts" /etc/hosts && { slurmd -D -N "$1" & wait; }' node "$1" "$dir" \
    </dev/null >>"$dir/log/$1.out" 2>&1 &
  echo $! >"$dir/$1.pid"
}

kill_node() { if running unshare "$1"; then kill -9 "$(cat "$dir/$1.pid")"; fi; }

both_up() { running unshare n0 && running unshare n1 && [ "$(timeout 5 sinfo -h -N -p gpu -o %T 2>/dev/null | grep -Ecx 'idle|mixed|allocated')" = 2 ]; }

start() {
  [[ $dir =~ ^/[A-Za-z0-9_./-]+$ ]] || die "$dir: slurm.conf takes plain absolute paths only; set ARXIV_DEVCLUSTER to one"
  if ! { command -v munged && command -v slurmctld && command -v slurmd; } >/dev/null; then  # flock: two apt-get at once fail
    DEBIAN_FRONTEND=noninteractive flock /var/lib/apt sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends \
      slurm-wlm munge' >&2 || die "could not install slurm-wlm and munge with apt-get: install slurmctld, slurmd and munge yourself"
  fi
  umask 022  # munge's socket must be open to clients of any user
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
  "status ") both_up || die "not running: $0 start"; sinfo -N -p gpu -o '%N %T %G'; squeue ;;
  "crash n0" | "crash n1") running unshare "$2" || die "$2 is not running"; kill_node "$2" ;;
  *) die "usage: $0 start | stop | status | crash n0 | crash n1" ;;
esac
