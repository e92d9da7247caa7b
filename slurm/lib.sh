# shellcheck shell=bash
# What the sbatch files share; they source it from the root of the checkout, under Slurm or plain bash.
#   SCALE (default full) and SEED (default 0) come from the environment.
set -euo pipefail

fail() { echo "slurm: $*" >&2; exit 2; }  # 2: the user can mend it (configs/loader.py)

SCALE=${SCALE:-full} SEED=${SEED:-0}
VENV=$PWD/.venv container=()
# shellcheck source=slurm/site.sh
. slurm/site.sh
export PYTHON=$VENV/bin/python PYTHONPATH=$PWD  # this checkout's code, wherever its venv was made
"${container[@]}" "$PYTHON" -c '' 2>/dev/null ||
  fail "$PYTHON does not run: make the virtual environment with 'make setup' on a node that has Internet"

# ---------------------------------------------------------------- one torchrun a node

# Single quotes: SLURM_NODEID must be expanded on each node; expanded here, every node would be node 0.
# shellcheck disable=SC2016
readonly ON_EACH_NODE='
  if [ "$SLURM_GPUS_ON_NODE" != "$RANKS_PER_NODE" ]; then
    echo "slurm: node $SLURMD_NODENAME has ${SLURM_GPUS_ON_NODE:-0} GPUs, the first node $RANKS_PER_NODE:" \
      "ask for the same number on every node, --nodes=N --gres=gpu:M" >&2
    exit 2
  fi
  cpus=$(nproc)  # what the step may use; a cluster that does not bind tasks shows all of the node
  if [ "$SLURM_CPUS_PER_TASK" -lt "$cpus" ]; then cpus=$SLURM_CPUS_PER_TASK; fi
  export OMP_NUM_THREADS=$((cpus < RANKS_PER_NODE ? 1 : cpus / RANKS_PER_NODE))
  exec "$PYTHON" -m torch.distributed.run --nnodes="$SLURM_JOB_NUM_NODES" --node-rank="$SLURM_NODEID" \
    --nproc-per-node="$RANKS_PER_NODE" --master-addr="$MASTER_ADDR" --master-port="$MASTER_PORT" "$@"'

# torchrun_everywhere SCRIPT [ARGUMENT ...]: a rank for each GPU of the allocation, or of this workstation
torchrun_everywhere() {
  if [ -z "${SLURM_JOB_ID:-}" ]; then
    local gpus
    gpus=$("$PYTHON" -c 'import torch; print(torch.cuda.device_count())')
    "${container[@]}" "$PYTHON" -m torch.distributed.run --standalone --nproc-per-node=$((gpus ? gpus : 1)) "$@"
    return
  fi
  export RANKS_PER_NODE=${SLURM_GPUS_ON_NODE:-} MASTER_ADDR MASTER_PORT SRUN_CPUS_PER_TASK
  [ -n "$RANKS_PER_NODE" ] || fail "this allocation has no GPU: submit with --gres=gpu:2, for instance"
  MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
  MASTER_PORT=$((10000 + SLURM_JOB_ID % 20000))  # two jobs on one node do not meet; below the ephemeral ports
  SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}   # since Slurm 22.05 srun does not take it from the job
  export SLURM_CPUS_PER_TASK=$SRUN_CPUS_PER_TASK
  # What each node's torchrun must add up to; train/pretrain.py refuses any other world.
  export EXPECTED_WORLD_SIZE=$((SLURM_JOB_NUM_NODES * RANKS_PER_NODE))
  echo "job $SLURM_JOB_ID, restart ${SLURM_RESTART_COUNT:-0}: $SLURM_JOB_NUM_NODES x $RANKS_PER_NODE ranks on $SLURM_JOB_NODELIST"
  # --kill-on-bad-exit: without it the other nodes wait for a dead one until the time limit.
  srun --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --kill-on-bad-exit=1 --label \
    "${container[@]}" bash -c "$ON_EACH_NODE" torchrun "$@" &
  local srun=$!
  # A signal for the batch shell ends `wait`, not srun.
  while kill -0 "$srun" 2>/dev/null; do wait "$srun" || true; done
  wait "$srun"
}

# ---------------------------------------------------------------- training that outlives its job

# train RUN [key=value ...]: start or resume configs/runs/RUN.yaml, and requeue the job when its time is up.
# Slurm signals this shell shortly before the limit (--signal=B:USR1 in the headers); the STOP file passes it on to
# all ranks at once, they agree on a step, save and leave. A signal to the ranks themselves would end torchrun.
train() {
  local run=$1 signalled='' code=0
  shift
  [ -f "configs/runs/$run.yaml" ] || fail "configs/runs/$run.yaml: no such file; there are $(cd configs/runs && echo *.yaml)"
  local folder
  folder=$("$PYTHON" -c 'from configs.loader import default_runs_root as r; print(r())')/$SCALE/$run/seed$SEED
  mkdir -p "$folder"
  rm -f "$folder/STOP"  # of an earlier job
  [ -z "${SLURM_JOB_ID:-}" ] || trap 'signalled=1; touch "$folder/STOP"' USR1
  torchrun_everywhere train/pretrain.py "configs/runs/$run.yaml" \
    --scale "$SCALE" --seed "$SEED" --out "$folder" --resume auto "$@" || code=$?
  [ -n "$signalled" ] && [ ! -e "$folder/DONE" ] || exit "$code"
  scontrol requeue "$SLURM_JOB_ID"
  exit 75  # stopped to be requeued
}
