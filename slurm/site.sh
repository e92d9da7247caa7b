# shellcheck shell=bash disable=SC2034  # lib.sh uses the variable container
# Settings that differ between clusters. Uncomment and edit them; every script in slurm/ reads this file.
# `make site-check` reads the cluster and proposes values. Scripts run with `set -u`: write ${NAME:-} for what may be unset.
# The examples for conda, containers, EFA and Ethernet follow their makers' descriptions; nobody has run them here yet.

# sbatch itself reads partition and account from the environment, so set them before you submit a job:
#   . slurm/site.sh && sbatch slurm/train_run20.sh
#export SBATCH_PARTITION=gpu
#export SBATCH_ACCOUNT=my-project
#export SBATCH_CONSTRAINT='a100&80gb'
# sbatch options of slurm/submit_all.sh for jobs without and with GPUs, where they need different ones:
#export CPU_OPTIONS="--partition=cpu" GPU_OPTIONS="--partition=gpu --nodes=2 --gres=gpu:a100:4"

# ---- Software: Python >= 3.11 and the CUDA driver's libraries. One of these:
# modules, with a virtual environment made by `make setup` after the same `module load`:
#module load python/3.11 cuda/12
#VENV=$HOME/venvs/arxiv-to-model
# conda: the environment's folder serves as VENV (conda create -p ... python=3.11, then pip install -r requirements.txt):
#VENV=$HOME/conda/envs/arxiv-to-model
# Apptainer: one container a node, with the image of slurm/container.def; bind what is neither below $HOME nor $PWD:
#container=(apptainer exec --nv --bind "/scratch,$PWD" "$HOME/images/arxiv-to-model.sif")
#VENV=/usr/local  # where the image has its Python
# pyxis: its enroot starts a container as a plain command, which both the batch shell and srun need:
#container=(enroot start --mount /scratch --mount "$PWD" "$HOME/images/arxiv-to-model.sqsh")

# ---- Storage: keep corpora and runs on a file system that all nodes see. A node's own disk will not do, because a
# requeued job may start on another node.
#export ARXIV_DATA=/scratch/$USER/arxiv/data
#export ARXIV_RUNS=/scratch/$USER/arxiv/runs
# A folder on each node's own disk: training copies its token shards there while it already runs (train/data/staging.py).
#export SITE_SCRATCH=${SLURM_TMPDIR:-}

# ---- Network, for jobs on several nodes: the interface that reaches the other nodes (see `ip -br addr`), for NCCL and,
# without GPUs, for gloo. With NCCL_DEBUG=INFO the log shows what NCCL chose.
# InfiniBand: addresses over ib0, data over the adapters named mlx5_*:
#export NCCL_SOCKET_IFNAME=ib0 GLOO_SOCKET_IFNAME=ib0 NCCL_IB_HCA=mlx5
# EFA on AWS: needs the plugin aws-ofi-nccl, which must be found; the log then says `NET/OFI`:
#export FI_PROVIDER=efa LD_LIBRARY_PATH=/opt/amazon/ofi-nccl/lib:/opt/amazon/efa/lib:${LD_LIBRARY_PATH:-}
#export NCCL_SOCKET_IFNAME=^lo,docker GLOO_SOCKET_IFNAME=ens5
# Ethernet alone: no InfiniBand is looked for; expect exchange to dominate the step (make step-time shows it):
#export NCCL_SOCKET_IFNAME=eth0 GLOO_SOCKET_IFNAME=eth0 NCCL_IB_DISABLE=1
#export NCCL_DEBUG=INFO
