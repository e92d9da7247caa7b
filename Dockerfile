# The environment of requirements.txt; the checkout is mounted, not copied:
#   docker build -t arxiv-to-model . && docker run --gpus all -v "$PWD:/project" arxiv-to-model python train/pretrain.py --help
FROM python:3.11-slim-bookworm
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Any git and make of this Debian will do.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --no-install-recommends --yes git make \
 && rm -rf /var/lib/apt/lists/*
COPY requirements.txt constraints.txt /tmp/
RUN grep '^torch==' /tmp/requirements.txt | xargs pip install --no-cache-dir \
 && pip install --no-cache-dir -r /tmp/requirements.txt -c /tmp/constraints.txt
WORKDIR /project
