#!/usr/bin/env bash
# Train on every GPU of one or several machines without a scheduler.
#
#   launch/torchrun.sh pretrain --out run --set parallel.shard=8
#
# Several machines: the same command on each, with the first one's address.
#
#   NODES=4 HEAD=10.0.0.1:29400 launch/torchrun.sh pretrain --out /shared/run --set parallel.shard=32
#
# PROCESSES   of this machine; its GPUs, or 1 without any
# RESTARTS    how often all processes are started again after one of them died (they go on from the last checkpoint)
# RUN_ID      the same on all machines
set -euo pipefail

processes=${PROCESSES:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l || true)}
if [ "$processes" -lt 1 ]; then processes=1; fi

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# A store of its own for every start: addresses of processes that died must not be found by those that follow.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes "${NODES:-1}" --nproc-per-node "$processes" --max-restarts "${RESTARTS:-3}" \
    --rdzv-backend c10d --rdzv-endpoint "${HEAD:-localhost:0}" --rdzv-id "${RUN_ID:-dokja}" \
    -m dokja build train "$@"
