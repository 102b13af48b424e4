#!/bin/bash
# Start MLflow's server on the head, on its loopback. Open it by: ndcl cluster ui clusters/aws.yaml
# Run by head_start_ray_commands at every `ray up`: a server that answers is left alone.
# MLFLOW_STORE: another store than the results folder's sqlite file, such as postgresql://USER@HOST/NAME, without the
# password, which stands in PGPASSWORD or ~/.pgpass: the store's address is seen by whoever lists the processes.
# MLFLOW_ARTIFACTS: another place for artifacts than the results folder, such as s3://BUCKET/mlflow.
set -euo pipefail
health() { python -c "import urllib.request as u; u.urlopen('http://127.0.0.1:5000/health', timeout=2)" 2>/dev/null; }
if health; then exit 0; fi

results=$HOME/results
store=${MLFLOW_STORE:-sqlite:///$results/mlflow.db}
if [[ $store =~ ://[^/@]*:[^/@]*@ || $store =~ [?\&]password= ]]; then
  echo "start_mlflow.sh: MLFLOW_STORE holds a password; leave it out, and give it as PGPASSWORD or in ~/.pgpass" >&2
  exit 2
fi
mkdir -p "$results" "$HOME/mlflow"
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false # its jobs judge language models, in separate processes
setsid nohup python -m mlflow server --host 127.0.0.1 --port 5000 --workers 1 \
  --backend-store-uri "$store" \
  --artifacts-destination "${MLFLOW_ARTIFACTS:-$results/mlartifacts}" --serve-artifacts \
  > "$HOME/mlflow/server.log" 2>&1 < /dev/null &
echo $! > "$HOME/mlflow/server.pid"
for _ in $(seq 120); do
  if health; then exit 0; fi
  kill -0 "$(cat "$HOME/mlflow/server.pid")" 2>/dev/null || break
  sleep 1
done
echo "start_mlflow.sh: MLflow did not come up; the end of ~/mlflow/server.log:" >&2
tail -20 "$HOME/mlflow/server.log" >&2
exit 1
