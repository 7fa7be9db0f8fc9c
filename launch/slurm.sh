#!/usr/bin/env bash
# Train under Slurm on as many nodes as sbatch is asked for, one torchrun a node.
#
#   sbatch --nodes=4 --gpus-per-node=8 launch/slurm.sh pretrain --out /shared/run --set parallel.shard=32
#
# Start it where `dokja` runs (or set PYTHON); --out lies where all nodes see it. A process that dies is started again with
# all others, RESTARTS times, from the last checkpoint. Five minutes before the time limit the run saves and ends, and
# the job is put back into the queue until --out has a model.
#
# PROCESSES   of a node; its GPUs, or 1 without any
#SBATCH --job-name=dokja
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=dokja-%j.log
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@300
set -euo pipefail

out=run
previous=
for word in "$@"; do
    case $previous in --out) out=$word ;; esac
    case $word in --out=*) out=${word#--out=} ;; esac
    previous=$word
done

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# A store of its own for every start: addresses of processes that died must not be found by those that follow.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
python=${PYTHON:-python}
processes=${PROCESSES:-${SLURM_GPUS_ON_NODE:-1}}
port=$((20000 + SLURM_JOB_ID % 20000))

srun --kill-on-bad-exit=1 "$python" -m torch.distributed.run \
    --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "$processes" --max-restarts "${RESTARTS:-3}" \
    --rdzv-backend c10d --rdzv-endpoint "$head:$port" --rdzv-id "$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}" \
    -m dokja build train "$@" &
step=$!

# The processes that train, not torchrun above them (which would kill them after 30 seconds): they end after the step.
# shellcheck disable=SC2329  # the trap calls it
stop() {  # [d]: not the srun that carries these words
    echo "the time limit is near: saving"
    srun --overlap --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
        pkill -TERM -u "$(id -u)" -f -- '-u -m [d]okja build train' || true
}
trap stop USR1

status=0
while kill -0 "$step" 2>/dev/null; do
    status=0
    wait "$step" || status=$?
done
if [ "$status" -eq 0 ] && [ ! -e "$out/model" ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
