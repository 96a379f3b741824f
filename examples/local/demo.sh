#!/usr/bin/env bash
# A client uses a credential that it never sees. Starts a service, the sidecar and a client on this machine, shows what each of
# them sees, and ends by itself: with status 0 only if everything happened as it should.
#
# usage: demo.sh SIDECAR
set -euo pipefail

sidecar=$(realpath "$1")
source=$(realpath "$(dirname "$0")")
work=$(mktemp -d)
failures=0
pids=()

finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

. "$source/../lib.sh"

# The demo's own ports, so that it runs beside anything.
read -r service_port proxy_port health_port metrics_port <<<"$(free_ports 4)"
cd "$work"
sed -e "s/:9443/:$service_port/; s/:16002/:$proxy_port/; s/:16021/:$health_port/; s/:16090/:$metrics_port/" "$source/sidecar.json" >sidecar.json

say "1. The owner keeps two credentials where only the sidecar reads them"
anthropic=sk-ant-api03-the-real-one-$(openssl rand -hex 12)
linear=lin_api_the-real-one-$(openssl rand -hex 12)
(umask 077; printf '%s\n' "$anthropic" >anthropic.key; printf '%s\n' "$linear" >linear.key)
show "anthropic.key: $anthropic"
show "linear.key:    $linear"

say "2. A service (for both names) and the sidecar start"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout service.key -out service.crt -days 2 \
  -subj "/CN=demo service" -addext "subjectAltName=DNS:api.anthropic.com,DNS:api.linear.app" 2>/dev/null
python3 "$source/service.py" "$service_port" service.crt service.key seen.txt >service.log 2>&1 &
pids+=($!)
"$sidecar" run --config sidecar.json >sidecar.log 2>&1 &
pids+=($!)
wait_for "The sidecar is ready" curl -sf --noproxy '*' "http://127.0.0.1:$health_port/readyz"
wait_for "The service listens" bash -c "exec 3<>/dev/tcp/127.0.0.1/$service_port"
show "the sidecar is ready"

# The client: an environment of its own, with the stand-ins, the proxy and the trust variables, and nothing else.
client() {
  env -i PATH="$PATH" HOME="$work" HTTPS_PROXY="http://127.0.0.1:$proxy_port" CURL_CA_BUNDLE="$work/run/trust/ca-bundle.crt" \
    SSL_CERT_FILE="$work/run/trust/ca-bundle.crt" $(cat run/trust/env) "$@"
}

say "3. What the client has: stand-ins, shaped like the real thing"
environment=$(client env)
grep -E '^(ANTHROPIC_API_KEY|LINEAR_KEY)=' <<<"$environment" | sed 's/^/  /'
expect "the client's environment holds no credential" lacks "$environment" the-real-one

say "4. The client sends the stand-in; the service sees the credential"
status=$(client bash -c 'curl -sS -o answer.txt -w "%{http_code}" https://api.anthropic.com/v1/models -H "x-api-key: $ANTHROPIC_API_KEY"')
show "client:  GET https://api.anthropic.com/v1/models with its x-api-key -> $status"
show "service: $(tail -n 1 seen.txt)"
expect "the service was asked once, with the credential" is "$(cat seen.txt)" "api.anthropic.com /v1/models $anthropic"
expect "the service echoed it, and the client got its stand-in back instead" lacks "$(cat answer.txt)" "$anthropic"

say "5. The same stand-in to another bound host is refused"
client bash -c 'curl -sS -D headers.txt -o answer.txt https://api.linear.app/graphql -H "Authorization: $ANTHROPIC_API_KEY"'
grep -iE '^(HTTP|x-superserve)' headers.txt | tr -d '\r' | sed 's/^/  /'
show "$(cat answer.txt)"
expect "refused as credential_host_mismatch" holds "$(tr -d '\r' <headers.txt)" credential_host_mismatch
expect "the service was not asked" is "$(grep -c . seen.txt)" 1

say "6. The owner rotates the credential: the next request carries the new one"
rotated=lin_api_the-real-one-rotated-$(openssl rand -hex 8)
client bash -c 'curl -sS -o /dev/null https://api.linear.app/graphql -H "Authorization: $LINEAR_KEY"'
before=$(tail -n 1 seen.txt)
printf '%s\n' "$rotated" >linear.key
client bash -c 'curl -sS -o /dev/null https://api.linear.app/graphql -H "Authorization: $LINEAR_KEY"'
show "service: $before"
show "service: $(tail -n 1 seen.txt)"
expect "first the old one" is "$before" "api.linear.app /graphql $linear"
expect "then the new one, with the same stand-in and no restart" is "$(tail -n 1 seen.txt)" "api.linear.app /graphql $rotated"

say "7. The owner revokes it: the next request is refused"
rm linear.key
status=$(client bash -c 'curl -sS -o answer.txt -w "%{http_code}" https://api.linear.app/graphql -H "Authorization: $LINEAR_KEY"')
show "client:  $status $(cat answer.txt)"
expect "refused as credential_revoked" holds "$(cat answer.txt)" '"reason":"credential_revoked"'
expect "the service was not asked" is "$(grep -c . seen.txt)" 3

say "8. Each use is on record"
wait_for "The last event is written" grep -q credential_revoked run/events.jsonl
grep '"kind":"request"' run/events.jsonl | sed 's/^/  /'
expect "five requests: three swapped, two refused" is \
  "$(grep -c '"kind":"request"' run/events.jsonl) $(grep -c '"upstreamStatus":200' run/events.jsonl) $(grep '"kind":"request"' run/events.jsonl | grep -c '"error"')" "5 3 2"

say "9. And counted"
metrics=$(curl -sS --noproxy '*' "http://127.0.0.1:$metrics_port/metrics")
grep -E '^superserve_sidecar_swaps_total' <<<"$metrics" | sed 's/^/  /'
swaps() { grep -E "^superserve_sidecar_swaps_total\{.*outcome=\"$2\".*secret=\"$1\"" <<<"$metrics" | awk '{ print $NF }'; }
expect "swaps of anthropic-prod: 1" is "$(swaps anthropic-prod swapped)" 1
expect "swaps of linear: 2" is "$(swaps linear swapped)" 2
expect "revoked requests of linear: 1" is "$(swaps linear credential_revoked)" 1

say "10. Nothing that the sidecar wrote holds a credential"
written=$(cat sidecar.log run/events.jsonl run/trust/env run/trust/*.crt)$metrics
expect "no credential in its log, events, metrics and trust directory" lacks "$written" the-real-one

echo
if [ "$failures" -eq 0 ]; then echo "All of it happened."; else echo "$failures of the above did not happen as they should."; exit 1; fi
