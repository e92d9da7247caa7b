# shellcheck shell=bash
# What the sbatch files share; they source it from the root of the checkout, under Slurm or plain bash.
# SCALE (default full) and SEED (default 0) come from the environment.
set -euo pipefail

fail() { echo "slurm: $*" >&2; exit 2; }  # 2: the user can mend it (configs/script.py)

SCALE=${SCALE:-full} SEED=${SEED:-0}
VENV=$PWD/.venv container=(env)  # a command to put before others; env changes nothing
# shellcheck source=slurm/site.sh
. slurm/site.sh
export PYTHON=$VENV/bin/python PYTHONPATH=$PWD  # this checkout's code, wherever its environment was made
export TQDM_MININTERVAL=30 TQDM_ASCII=' #'  # in a log: a line now and then, of characters that srun does not cut in two
run_python() { "${container[@]}" "$PYTHON" "$@"; }
run_python -c 'import configs.loader' || fail "$PYTHON has not what requirements.txt names: run 'make setup' where there is Internet, or set VENV in slurm/site.sh"

# ---------------------------------------------------------------- one torchrun a node

# look_at_allocation: NODES and RANKS_PER_NODE, a rank for each GPU of the job, or of this workstation
look_at_allocation() {
  export NODES=${SLURM_JOB_NUM_NODES:-1} RANKS_PER_NODE=${SLURM_GPUS_ON_NODE:-}
  if [ -z "${SLURM_JOB_ID:-}" ]; then
    RANKS_PER_NODE=$(run_python -c 'import torch; print(torch.cuda.device_count() or 1)')
  elif [ -z "$RANKS_PER_NODE" ]; then
    fail "this job has no GPU: submit with --gres=gpu:2, for instance"
  fi
}

# Single quotes: SLURM_NODEID must be expanded on each node; expanded here, every node would be node 0.
# shellcheck disable=SC2016
CHECK_NODE='
  complain() { echo "slurm: $SLURMD_NODENAME $*" >&2; exit 2; }
  [ -x "$PYTHON" ] || complain "does not see $PYTHON: the checkout must lie where all nodes see it"
  [ "${SLURM_GPUS_ON_NODE:-0}" = "$RANKS_PER_NODE" ] || complain "has ${SLURM_GPUS_ON_NODE:-0} GPUs, the first node" \
    "$RANKS_PER_NODE: ask for as many on every node, with --nodes=N --gres=gpu:M"'
# shellcheck disable=SC2016
START_NODE='
  cpus=$(nproc)  # a cluster that does not bind tasks to their cores shows all of the node
  if [ "$SLURM_CPUS_PER_TASK" -lt "$cpus" ]; then cpus=$SLURM_CPUS_PER_TASK; fi
  export OMP_NUM_THREADS=$((cpus < RANKS_PER_NODE ? 1 : cpus / RANKS_PER_NODE))
  first=$((SLURM_NODEID * RANKS_PER_NODE))
  echo "$SLURMD_NODENAME: ranks $first to $((first + RANKS_PER_NODE - 1)), $OMP_NUM_THREADS threads each"
  exec "$PYTHON" -m torch.distributed.run --nnodes="$NODES" --node-rank="$SLURM_NODEID" \
    --nproc-per-node="$RANKS_PER_NODE" --master-addr="$MASTER_ADDR" --master-port="$MASTER_PORT" \
    --shutdown-timeout=180 "$@"'  # after SIGTERM torchrun kills ranks that are still saving after 30 s by default

# on_each_node SCRIPT [ARGUMENT ...]: one task a node, whatever the job's headers say
on_each_node() {
  # Without --kill-on-bad-exit the other nodes outlive a dead one, and wait for it until the time limit.
  srun --nodes="$NODES" --ntasks="$NODES" --ntasks-per-node=1 --kill-on-bad-exit=1 --label \
    "${container[@]}" bash -c "$@"
}

# The first port from a number on that nobody listens on; this shell runs on the node that will.
FREE_PORT='import socket, sys; print(next(p for p in range(int(sys.argv[1]), 65536) if socket.socket().connect_ex(("", p))))'

# torchrun_everywhere SCRIPT [ARGUMENT ...]: after look_at_allocation
torchrun_everywhere() {
  if [ -z "${SLURM_JOB_ID:-}" ]; then
    run_python -m torch.distributed.run --standalone --nproc-per-node="$RANKS_PER_NODE" "$@"
    return
  fi
  export MASTER_ADDR MASTER_PORT SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}  # Slurm >= 22.05: srun forgets the job's
  MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
  MASTER_PORT=$(run_python -c "$FREE_PORT" $((10000 + SLURM_JOB_ID % 20000)))  # jobs that share a node do not meet
  export EXPECTED_WORLD_SIZE=$((NODES * RANKS_PER_NODE))  # train/pretrain.py refuses any other
  echo "job $SLURM_JOB_ID, start $((${SLURM_RESTART_COUNT:-0} + 1)): $NODES x $RANKS_PER_NODE ranks on $SLURM_JOB_NODELIST"
  on_each_node "$CHECK_NODE" || exit
  on_each_node "$START_NODE" torchrun "$@" &
  local nodes=$!
  while kill -0 "$nodes" 2>/dev/null; do wait "$nodes" || true; done  # a signal to this shell ends `wait`, not srun
  wait "$nodes"
}

# ---------------------------------------------------------------- training that outlives its job

# train RUN [key=value ...] [--force]: start or resume configs/runs/RUN.yaml, and requeue the job when its time is up.
# Slurm signals this shell shortly before the limit (--signal=B:USR1 in the headers). The STOP file passes it on:
# all ranks agree on a step, save and leave; a signal of their own would end torchrun instead.
train() {
  local run=$1 folder signalled='' code=0
  shift
  look_at_allocation
  # The checks of train/pretrain.py that need no GPU, before a hundred processes start.
  folder=$(run_python - "$run" "$SCALE" "$SEED" "$((NODES * RANKS_PER_NODE))" "$@" <<'END'
import sys
from pathlib import Path
from configs.loader import default_data_root, default_runs_root, parse_overrides, run_main
from train.config import load_run
from train.data.shards import open_tokens

def main() -> None:
    name, scale, seed, world_size, *more = sys.argv[1:]
    overrides = [word for word in more if word != "--force"]
    run = load_run(Path("configs/runs", f"{name}.yaml"), scale, int(seed), parse_overrides(overrides))
    run.grad_accum_steps(int(world_size))
    open_tokens(default_data_root(scale), run.recipe.corpus, run.recipe.tokenizer, "train")
    print(default_runs_root() / run.run_id)

run_main(main)
END
  ) || exit
  mkdir -p "$folder"
  rm -f "$folder/STOP"  # an earlier job's
  [ -z "${SLURM_JOB_ID:-}" ] || trap 'signalled=1; touch "$folder/STOP"' USR1
  torchrun_everywhere train/pretrain.py "configs/runs/$run.yaml" \
    --scale "$SCALE" --seed "$SEED" --out "$folder" --resume auto "$@" || code=$?
  # Requeued only if a checkpoint came after the STOP (torchrun's exit code cannot say so): a run that fails does not
  # start over and over.
  if [ -n "$signalled" ] && [ ! -e "$folder/DONE" ] && [ "$folder/checkpoints" -nt "$folder/STOP" ]; then
    scontrol requeue "$SLURM_JOB_ID"
    exit 75  # stopped to be requeued
  fi
  [ "$code" = 0 ] || echo "slurm: the ranks left with code $code; the first 'error:' or 'stopped' above says why. If they" \
    "timed out before they met, the nodes need NCCL_SOCKET_IFNAME in slurm/site.sh" >&2
  exit "$code"
}
