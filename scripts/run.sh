#!/usr/bin/env bash
# Serves var/store in the foreground; once it is ready, prints a first ranking and further commands to try.
# Usage: scripts/run.sh [BINARY]
set -euo pipefail
cd "$(dirname "$0")/.."

proffer=${1:-target/release/proffer}
# The path as a user would type it.
proffer=${proffer#"$PWD"/}
listen=${PROFFER_SERVER_LISTEN:-127.0.0.1:50051}
admin=${PROFFER_SERVER_ADMIN:-127.0.0.1:9464}

"$proffer" serve --store var/store --data var/data --listen "$listen" --admin "$admin" &
server=$!
# Stopping this script stops the server, and returns its exit code.
trap 'kill -TERM "$server" 2>/dev/null || true' TERM INT HUP

rank=("$proffer" rank --server "$listen" --placement app_home --customer C000001 --explain --record)
for _ in $(seq 200); do
  kill -0 "$server" 2>/dev/null || { wait "$server"; exit 1; }
  if ranking=$("${rank[@]}" 2>/dev/null); then break; fi
  sleep 0.05
done

# What is decided is on the disk after a moment, and can be read then.
decisions=
for _ in $(seq 100); do
  decisions=$("$proffer" decision list --server "$listen" --customer C000001 2>/dev/null || true)
  case $decisions in *app_home*) break ;; esac
  sleep 0.05
done

shadows=$("$proffer" shadow list --server "$listen" 2>/dev/null || true)

# Another server may have answered on this address.
kill -0 "$server" 2>/dev/null || { wait "$server"; exit 1; }
cat <<EOF

$ ${rank[*]}

${ranking:-no ranking within ten seconds; see the log above}

\$ $proffer decision list --server $listen --customer C000001

${decisions:-no decision is recorded; see the log above}

\$ $proffer shadow list --server $listen

${shadows:-the shadow of the sample is not known; see the log above}

The sample customers and their responses are simulated (models/README.md).

gRPC      $listen   (reflection and health are on)
metrics   http://$admin/metrics   probes: /livez /readyz

To try next, in another terminal:
  $proffer rank --server $listen --placement email_monthly --customer C000042 --json
  $proffer rank --server $listen --placement app_home --customer C000007 --feature balance=5000 --explain
  $proffer decision show ID --server $listen          why this decision, with an ID of the list above
  $proffer replay --store var/store --data var/data   are all decisions the same when they are made again?
  python3 examples/hour/play.py      an hour of this bank in a minute: offers, outcomes, limits (examples/hour/README.md)
  $proffer shadow report --server $listen      after that hour: would a smaller network show the same?
  $proffer check models
  $proffer help
Ctrl-C stops the server.
EOF

code=0
while kill -0 "$server" 2>/dev/null; do
  wait "$server" && code=0 || code=$?
done
exit "$code"
