#!/usr/bin/env bash
# A flame graph of the server's CPU time under a load of varied `Rank` calls: perf samples it, and inferno draws
# docs/rank-flame.svg. `make flame` builds the requirements: the release with frame pointers (target/flame), ghz, and
# inferno.
set -euo pipefail
cd "$(dirname "$0")/.."

rate=${RPS:-3000}
proffer=${1:-target/flame/release/proffer}
inferno=var/inferno/bin
made=var/flame
command -v perf > /dev/null || { echo "perf was not found: install it (Debian: apt-get install linux-perf)"; exit 1; }

rm -rf "$made"
mkdir -p "$made"
ORT_DISABLE_TELEMETRY=1 "$proffer" init --store "$made/store" --from models
"$proffer" serve --store "$made/store" --data "$made/data" --listen 127.0.0.1:0 --admin 127.0.0.1:0 --log-format text --log-filter info 2> "$made/log" &
server=$!
load=
# Always stop both processes.
trap 'kill "$server" $load 2> /dev/null || true; wait' EXIT
addresses=
for _ in $(seq 200); do
  kill -0 "$server" 2> /dev/null || { tail -3 "$made/log"; exit 1; }
  addresses=$(sed -nE 's/.* grpc=([^ ]+) admin=([^ ]+) .*/\1 \2/p' "$made/log")
  [ -n "$addresses" ] && break
  sleep 0.05
done
read -r grpc admin <<< "$addresses"
until curl --silent --fail --output /dev/null "http://$admin/readyz"; do
  kill -0 "$server" 2> /dev/null || { tail -3 "$made/log"; exit 1; }
  sleep 0.05
done

python3 benches/load/load.py test "ADDRESS=$grpc" "ADMIN=$admin" "RPS=$rate" P99_MS=60000 SECONDS=16 WARMUP=4 > "$made/load" 2>&1 &
load=$!
# Wait until ghz has read its requests and the warm-up is over.
sleep 8
perf record --quiet --event cpu-clock --freq 1997 --call-graph fp --pid "$server" --output "$made/perf.data" -- sleep 8
wait "$load" || { cat "$made/load"; exit 1; }
load=
cat "$made/load"

perf script --input "$made/perf.data" 2> /dev/null | "$inferno/inferno-collapse-perf" > "$made/stacks"
"$inferno/inferno-flamegraph" --title "Rank at $rate calls per second, CPU time of the server" --minwidth 0.3 --countname ns "$made/stacks" > docs/rank-flame.svg
echo "docs/rank-flame.svg, $(awk '{ sum += $NF } END { printf "%.1f", sum / 1e9 }' "$made/stacks") s of CPU time"
