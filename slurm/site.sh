# shellcheck shell=bash disable=SC2034  # container is lib.sh's
# What differs from cluster to cluster. Uncomment and edit; every script in slurm/ reads this file.

# Partition and account are sbatch's own, so they must stand in the environment before a job is submitted:
#   . slurm/site.sh && sbatch slurm/train_run20.sh
#export SBATCH_PARTITION=gpu
#export SBATCH_ACCOUNT=my-project
#export SBATCH_CONSTRAINT='a100&80gb'

# Software: modules that hold Python >= 3.11 and the CUDA driver's libraries, another place for the virtual
# environment, or a container, which is then started once on each node.
#module load python/3.11 cuda/12
#VENV=$HOME/venvs/arxiv-to-model
#container=(apptainer exec --nv "$HOME/images/arxiv-to-model.sif")

# Storage: corpora and runs on the parallel file system that all nodes see (not on a node's own disk: a requeued
# job may start on another node).
#export ARXIV_DATA=/scratch/$USER/arxiv/data
#export ARXIV_RUNS=/scratch/$USER/arxiv/runs

# Network of more than one node: the interface that reaches the other nodes (`ip -br addr`), for NCCL and, without
# GPUs, for gloo; the InfiniBand adapters. NCCL_DEBUG=INFO shows in the log what it chose.
#export NCCL_SOCKET_IFNAME=ib0 GLOO_SOCKET_IFNAME=ib0
#export NCCL_IB_HCA=mlx5
#export NCCL_DEBUG=INFO
