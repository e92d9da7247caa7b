# shellcheck shell=bash disable=SC2034  # lib.sh uses the variable container
# Settings that differ between clusters. Uncomment and edit them; every script in slurm/ reads this file.

# sbatch itself reads partition and account from the environment, so set them before you submit a job:
#   . slurm/site.sh && sbatch slurm/train_run20.sh
#export SBATCH_PARTITION=gpu
#export SBATCH_ACCOUNT=my-project
#export SBATCH_CONSTRAINT='a100&80gb'

# Software: modules with Python >= 3.11 and the CUDA driver's libraries; another folder for the virtual environment;
# or a container, which is started once on each node.
#module load python/3.11 cuda/12
#VENV=$HOME/venvs/arxiv-to-model
#container=(apptainer exec --nv "$HOME/images/arxiv-to-model.sif")

# Storage: keep corpora and runs on a file system that all nodes see. A node's own disk will not do, because a
# requeued job may start on another node.
#export ARXIV_DATA=/scratch/$USER/arxiv/data
#export ARXIV_RUNS=/scratch/$USER/arxiv/runs

# Network, for jobs on several nodes: the interface that reaches the other nodes (see `ip -br addr`), for NCCL and,
# without GPUs, for gloo; and the InfiniBand adapters. With NCCL_DEBUG=INFO the log shows what NCCL chose.
#export NCCL_SOCKET_IFNAME=ib0 GLOO_SOCKET_IFNAME=ib0
#export NCCL_IB_HCA=mlx5
#export NCCL_DEBUG=INFO
