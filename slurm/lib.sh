# shellcheck shell=bash
# Functions for the sbatch files, which source this file in the root of the checkout, under Slurm or in a plain shell.
# SCALE (default full) and SEED (default 0) come from the environment.
set -euo pipefail

fail() { echo "slurm: $*" >&2; exit 2; }  # 2: an error that the user can correct (configs/script.py)

SCALE=${SCALE:-full} SEED=${SEED:-0}
VENV=$PWD/.venv container=(env)  # container: the command that starts others in a container; env does nothing
# shellcheck source=slurm/site.sh
. slurm/site.sh
export PYTHON=$VENV/bin/python PYTHONPATH=$PWD  # run this checkout's code, even with another checkout's VENV
export TQDM_MININTERVAL=30 TQDM_ASCII=' #'  # short logs; srun may cut a character of several bytes in two
run_python() { "${container[@]}" "$PYTHON" "$@"; }
run_python -c 'import configs.loader' || fail "$PYTHON lacks packages of requirements.txt: run 'make setup' where there is Internet, or set VENV in slurm/site.sh"

# ---------------------------------------------------------------- one torchrun per node

# look_at_allocation: set NODES and RANKS_PER_NODE, one rank for each GPU of the job or of this workstation
look_at_allocation() {
  [ "${SLURM_HET_SIZE:-1}" = 1 ] || fail "this job is heterogeneous, with $SLURM_HET_SIZE components: all ranks share one" \
    "torchrun setup, so submit one component with the same GPUs on every node (--nodes=N --gres=gpu:M)"
  export NODES=${SLURM_JOB_NUM_NODES:-1} RANKS_PER_NODE=${SLURM_GPUS_ON_NODE:-}
  if [ -z "${SLURM_JOB_ID:-}" ]; then
    RANKS_PER_NODE=$(run_python -c 'import torch; print(torch.cuda.device_count() or 1)')
  elif [ -z "$RANKS_PER_NODE" ]; then
    fail "this job has no GPU: submit with --gres=gpu:2, for instance"
  fi
}

# In single quotes, because each node must expand SLURM_NODEID itself; expanded here, it would be 0 on all nodes.
# shellcheck disable=SC2016
CHECK_NODE='
  complain() { echo "slurm: $SLURMD_NODENAME $*" >&2; exit 2; }
  [ -z "${ATTEMPT:-}" ] || touch "$ATTEMPT/node_$SLURMD_NODENAME"  # this node has answered
  [ -x "$PYTHON" ] || complain "does not see $PYTHON: put the checkout on a file system that all nodes see"
  [ "${SLURM_GPUS_ON_NODE:-0}" = "$RANKS_PER_NODE" ] || complain "has ${SLURM_GPUS_ON_NODE:-0} GPUs, the first node" \
    "$RANKS_PER_NODE: request the same number on every node, with --nodes=N --gres=gpu:M"'
# shellcheck disable=SC2016
START_NODE='
  cpus=$(nproc)  # all cores of the node, if the cluster does not bind tasks to their cores
  if [ "$SLURM_CPUS_PER_TASK" -lt "$cpus" ]; then cpus=$SLURM_CPUS_PER_TASK; fi
  export OMP_NUM_THREADS=$((cpus < RANKS_PER_NODE ? 1 : cpus / RANKS_PER_NODE))
  first=$((SLURM_NODEID * RANKS_PER_NODE))
  echo "$SLURMD_NODENAME: ranks $first to $((first + RANKS_PER_NODE - 1)), $OMP_NUM_THREADS threads each"
  trap : TERM  # this shell outlives torchrun, to say which node failed first
  "$PYTHON" -m torch.distributed.run --nnodes="$NODES" --node-rank="$SLURM_NODEID" \
    --nproc-per-node="$RANKS_PER_NODE" --master-addr="$MASTER_ADDR" --master-port="$MASTER_PORT" \
    --shutdown-timeout=180 "$@" || {  # by default torchrun kills ranks that still save 30 s after SIGTERM
    code=$?
    [ -z "${ATTEMPT:-}" ] || echo "$code" >"$ATTEMPT/node_$SLURMD_NODENAME"
    exit "$code"
  }'

# on_each_node SCRIPT [ARGUMENT ...]: run one task on each node, whatever the job's headers say
on_each_node() {
  # Without --kill-on-bad-exit, the other nodes would wait for a dead one until the time limit.
  srun --nodes="$NODES" --ntasks="$NODES" --ntasks-per-node=1 --kill-on-bad-exit="${KILL_OTHERS:-1}" --label \
    "${container[@]}" bash -c "$@"
}

# Print the first free port from a number on. This shell runs on the node whose port is used.
FREE_PORT='import socket, sys; print(next(p for p in range(int(sys.argv[1]), 65536) if socket.socket().connect_ex(("", p))))'

# torchrun_everywhere SCRIPT [ARGUMENT ...]: run a script on all ranks; call look_at_allocation first
torchrun_everywhere() {
  if [ -z "${SLURM_JOB_ID:-}" ]; then
    run_python -m torch.distributed.run --standalone --nproc-per-node="$RANKS_PER_NODE" "$@"
    return
  fi
  export MASTER_ADDR MASTER_PORT SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}  # since Slurm 22.05 srun ignores the job's
  MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
  MASTER_PORT=$(run_python -c "$FREE_PORT" $((10000 + SLURM_JOB_ID % 20000)))  # jobs that share a node begin at different numbers
  export EXPECTED_WORLD_SIZE=$((NODES * RANKS_PER_NODE))  # train/pretrain.py refuses any other number of ranks
  echo "job $SLURM_JOB_ID, start $((${SLURM_RESTART_COUNT:-0} + 1)): $NODES x $RANKS_PER_NODE ranks on $SLURM_JOB_NODELIST"
  KILL_OTHERS=0 on_each_node "$CHECK_NODE" || exit  # each check ends by itself; one that is killed would hide the code 2
  on_each_node "$START_NODE" torchrun "$@" &
  local nodes=$!
  while kill -0 "$nodes" 2>/dev/null; do wait "$nodes" || true; done  # a signal ends `wait` but not srun
  wait "$nodes"
}
