#!/usr/bin/env bash
# From kubectl apply to a swapped request, without a cluster: an API server in one process, the operator, real kubectl and helm, and
# the containers of the pod that admission made run as processes of this machine. Shows what each of them sees, and ends by itself:
# with status 0 only if everything happened as it should.
#
# As root the pod has a network of its own, and the sidecar captures all that leaves it. Without root it captures what heeds the
# proxy variables; a kernel that lets users make namespaces is needed then for the pod's mounts, and the ports 16002, 16021 and
# 16090 have to be free.
#
# usage: demo.sh SIDECAR OPERATOR APISERVER     (the binary, and two .dll files)
set -euo pipefail

# All of it runs in a network without a way out: nothing of the demo leaves this machine.
if [ "$(id -u)" -eq 0 ] && [ -z "${DEMO_NETWORK:-}" ]; then DEMO_NETWORK=1 exec unshare --net "$0" "$@"; fi

sidecar=$(realpath "$1") operator=$(realpath "$2") apiserver=$(realpath "$3")
source=$(realpath "$(dirname "$0")")
root=$(realpath "$source/../..")
work=$(mktemp -d)
PATH=$root/artifacts/tools:$PATH
export KUBECONFIG=$work/kubeconfig HOME=$work
ns=superserve-quickstart
failures=0
pids=()

finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

. "$source/../lib.sh"

if [ "$(id -u)" -eq 0 ]; then
  # The pod's network is held by a process that sleeps, as container runtimes do it.
  capture=Transparent node=10.244.0.1 pod_address=10.244.0.2
  ip link set lo up
  unshare --net sleep infinity &
  pause=$!
  pids+=("$pause")
  wait_for "The pod has a network" bash -c "[ \"\$(readlink /proc/$pause/ns/net)\" != \"\$(readlink /proc/self/ns/net)\" ]"
  ip link add veth0 type veth peer name eth0 netns "$pause"
  ip addr add "$node/24" dev veth0
  ip link set veth0 up
  nsenter --net="/proc/$pause/ns/net" sh -c "ip link set lo up; ip addr add $pod_address/24 dev eth0; ip link set eth0 up; ip route add default via $node"
  echo "$pause" >"$work/pause.pid"
  echo "nameserver $node" >"$work/resolv.conf"
else
  capture=Explicit node=127.0.0.1 pod_address=127.0.0.1
fi

read -r api webhook delivery health metrics service audit_api audit audit_health audit_metrics <<<"$(free_ports 10)"
cd "$work"

say "1. An API server, a service that plays api.anthropic.com, the operator and the audit service start"
dotnet exec "$apiserver" --kubeconfig "$KUBECONFIG" --port "$api" >apiserver.log 2>&1 &
pids+=($!)
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout service.key -out service.crt -days 2 \
  -subj "/CN=demo service" -addext "subjectAltName=DNS:api.anthropic.com" 2>/dev/null
python3 "$root/examples/local/service.py" "$node:$service" service.crt service.key seen.txt >service.log 2>&1 &
pids+=($!)
wait_for "The API server answers" kubectl get --raw /readyz
kubectl create namespace superserve-system >/dev/null
# The chart, with the operator outside of the cluster and the service's name led to this machine.
helm template superserve "$root/charts/superserve" -n superserve-system --set "webhook.url=https://127.0.0.1:$webhook" \
  --set "webhook.port=$webhook,delivery.port=$delivery,audit.apiPort=$audit_api,audit.port=$audit,drainSeconds=0,sidecar.capture=$capture" \
  --set "sidecar.extraArgs={--upstream-host,api.anthropic.com=$node:$service,--trusted-roots,$work/service.crt}" >chart.yaml
kubectl apply --server-side -f chart.yaml >/dev/null
kubectl apply --server-side -f - >/dev/null <<YAML
# Where the API server finds the audit log's API, and the pod that the operator would be in.
{apiVersion: v1, kind: Endpoints, metadata: {name: superserve-operator, namespace: superserve-system},
 subsets: [{addresses: [{ip: 127.0.0.1}], ports: [{name: audit-api, port: $audit_api}]}]}
---
{apiVersion: v1, kind: Pod, metadata: {name: superserve-operator, namespace: superserve-system},
 spec: {serviceAccountName: superserve-operator, containers: [{name: operator, image: operator}]}}
YAML
kubectl get configmap superserve-operator -n superserve-system -o jsonpath='{.data.operator\.json}' >rendered.json
kubectl get configmap superserve-audit -n superserve-system -o jsonpath='{.data.audit\.json}' >rendered-audit.json
python3 - "$health" "$metrics" "$node" "$audit_health" "$audit_metrics" <<'PYTHON'
import json, os, sys
options, audit = json.load(open("rendered.json")), json.load(open("rendered-audit.json"))
health, metrics, node, audit_health, audit_metrics = sys.argv[1:]
listen = "127.0.0.1" if node == "127.0.0.1" else "0.0.0.0"
options.update(listenAddress=listen, extraServingNames=["127.0.0.1", node], healthPort=int(health), metricsPort=int(metrics))
options.update(auditAddress=f"127.0.0.1:{audit['port']}", auditTokenFile=os.path.abspath("operator.token"))
options["sidecar"].update(operatorAddress=f"{node}:{options['deliveryPort']}", auditAddress=f"{node}:{audit['port']}")
audit.update(listenAddress=listen, healthPort=int(audit_health), metricsPort=int(audit_metrics))
audit.update(certificateDirectory=os.path.abspath("audit-serving"), sqliteFile=os.path.abspath("audit.db"))
json.dump(options, open("operator.json", "w"))
json.dump(audit, open("audit.json", "w"))
PYTHON
start_operator() {
  dotnet exec "$operator" run --config operator.json --kubeconfig "$KUBECONFIG" >>operator.log 2>&1 &
  operator_pid=$!
  pids+=("$operator_pid")
}
start_operator
wait_for "The operator is ready" curl -sf --noproxy '*' "http://127.0.0.1:$health/readyz"
wait_for "The webhooks have their CA" bash -c '[ "$(kubectl get mutatingwebhookconfiguration superserve -o jsonpath="{.webhooks[*].clientConfig.caBundle}" | wc -w)" -eq 1 ] && [ "$(kubectl get validatingwebhookconfiguration superserve -o jsonpath="{.webhooks[*].clientConfig.caBundle}" | wc -w)" -eq 5 ]'
show "the operator is ready"
# As the operator's kubelet: the token that its pod has for the audience superserve.ai.
kubectl --as system:node:demo --as-group system:nodes --as-group system:masters create token superserve-operator -n superserve-system --audience superserve.ai \
  --bound-object-kind Pod --bound-object-name superserve-operator >operator.token
wait_for "The audit service has a certificate" kubectl get secret superserve-audit-serving -n superserve-system
mkdir audit-serving
for entry in tls.crt tls.key ca.crt; do
  kubectl get secret superserve-audit-serving -n superserve-system -o "jsonpath={.data.${entry/./\\.}}" | base64 -d >"audit-serving/$entry"
done
dotnet exec "$operator" audit --config audit.json --kubeconfig "$KUBECONFIG" >audit.log 2>&1 &
pids+=($!)
wait_for "The audit service is ready" curl -sf --noproxy '*' "http://127.0.0.1:$audit_health/readyz"
wait_for "The API server has the audit log's API" kubectl wait apiservice/v1alpha1.audit.superserve.ai --for=condition=Available --timeout=1s
show "the audit service is ready"

say "2. The owner applies the quickstart: a credential, where it may go, which pods get it, and a pod"
credential=sk-ant-api03-the-real-one-$(openssl rand -hex 12)
sed "s/replace-me-with-a-key/$credential/" "$root/examples/quickstart.yaml" >quickstart.yaml
kubectl apply --server-side -f quickstart.yaml | sed 's/^/  /'
wait_for "The Superserve Secret is ready" kubectl wait -n "$ns" ssec/anthropic --for=condition=Ready --timeout=1s

say "3. Admission has made a sandbox of the pod"
pod=$(kubectl get pod agent -n "$ns" -o yaml)
show "init containers: $(kubectl get pod agent -n "$ns" -o jsonpath='{.spec.initContainers[*].name}')"
"$source/run-pod.py" env "$work" "$ns" agent >environment.txt
grep -E '^(ANTHROPIC_API_KEY|HTTPS_PROXY|SSL_CERT_FILE)=' environment.txt | sed 's/^/  /'
expect "the pod holds a stand-in" grep -q '^ANTHROPIC_API_KEY=sk-ant-' environment.txt
expect "the pod holds no credential" lacks "$pod" the-real-one

say "4. The pod's containers start: the sidecar gets what it needs from the operator"
if [ "$capture" = Transparent ]; then
  expect "the init container puts the sidecar in the way of all that leaves the pod" "$source/run-pod.py" init "$work" "$ns" agent "$sidecar"
fi
"$source/run-pod.py" sidecar "$work" "$ns" agent "$sidecar" >sidecar.log 2>&1 &
pids+=($!)
wait_for "The sidecar is ready" curl -sf --noproxy '*' "http://$pod_address:16021/readyz"
wait_for "The binding is ready" kubectl wait -n "$ns" sbb/agent --for=condition=Ready --timeout=1s
[ "$capture" = Explicit ] || wait_for "The binding is enforced" kubectl wait -n "$ns" sbb/agent --for=condition=Enforced --timeout=1s
kubectl get superserve -n "$ns" | sed 's/^/  /'
agent() { "$source/run-pod.py" exec "$work" "$ns" agent -- sh -c "$1"; }
ask='curl -sS -o /run/answer.txt -w "%{http_code} " https://api.anthropic.com/v1/models -H "x-api-key: $ANTHROPIC_API_KEY" && cat /run/answer.txt'

say "5. The sandbox uses the credential that it does not have"
answer=$(agent "$ask")
show "sandbox: $answer"
show "service: $(tail -n 1 seen.txt)"
expect "the service saw the credential" is "$(cat seen.txt)" "api.anthropic.com /v1/models $credential"
expect "the sandbox did not, though the service echoed it" lacks "$answer" the-real-one

if [ "$capture" = Transparent ]; then
  show "the sandbox tries to get around the sidecar, as root:"
  answer=$(agent "curl -sS -m 5 https://$node:$service/ -H \"x-api-key: \$ANTHROPIC_API_KEY\" -k -o /dev/null -w '%{http_code}' 2>&1 || true")
  show "  straight to the service's address: $answer"
  answer=$(agent "python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect((\"$node\", 4433)); s.send(b\"x\"); s.settimeout(2); s.recv(1)' 2>&1 | tail -n 1 || true")
  show "  over UDP: $answer"
  answer=$(agent "python3 -c 'import socket; socket.socket().setsockopt(socket.SOL_SOCKET, 36, 0x5353)' 2>&1 | tail -n 1 || true")
  show "  with the sidecar's mark: $answer"
  expect "the mark is not to be had" holds "$answer" "not permitted"
  expect "the service saw nothing of it" is "$(grep -c . seen.txt)" 1
fi

say "6. The owner rotates the credential in the core Secret"
rotated=sk-ant-api03-the-real-one-rotated-$(openssl rand -hex 8)
kubectl create secret generic anthropic-credentials -n "$ns" --from-literal=api-key="$rotated" --dry-run=client -o yaml | kubectl apply --server-side --force-conflicts -f - | sed 's/^/  /'
carries() { agent "$ask" >/dev/null; [ "$(tail -n 1 seen.txt)" = "api.anthropic.com /v1/models $1" ]; }
wait_for "Requests carry the new credential" carries "$rotated"
show "service: $(tail -n 1 seen.txt)"
expect "the same stand-in, the new credential, no restart" is "$(tail -n 1 seen.txt)" "api.anthropic.com /v1/models $rotated"
wait_for "The rotation is told" bash -c "kubectl get events.events.k8s.io -n $ns --field-selector reason=CredentialRotated -o name | grep -q ."

say "7. The operator ends, and another one takes its place"
kill "$operator_pid"
expect "it ends with status 0" wait "$operator_pid"
answer=$(agent "$ask")
show "sandbox, without an operator: $answer"
expect "the sandbox goes on with what it has" holds "$answer" "200 you sent"
start_operator
again=sk-ant-api03-the-real-one-again-$(openssl rand -hex 8)
wait_for "The operator is ready" curl -sf --noproxy '*' "http://127.0.0.1:$health/readyz"
kubectl create secret generic anthropic-credentials -n "$ns" --from-literal=api-key="$again" --dry-run=client -o yaml | kubectl apply --server-side --force-conflicts -f - | sed 's/^/  /'
wait_for "Requests carry the newest credential" carries "$again"
show "service: $(tail -n 1 seen.txt)"
expect "the same stand-in again" is "$(tail -n 1 seen.txt)" "api.anthropic.com /v1/models $again"

say "8. The owner revokes it: kubectl delete ssec anthropic"
kubectl delete ssec anthropic -n "$ns" | sed 's/^/  /'
refused() { answer=$(agent "$ask") && holds "$answer" credential_revoked; }
wait_for "Requests are refused" refused
before=$(grep -c . seen.txt)
answer=$(agent "$ask")
show "sandbox: $answer"
expect "refused as credential_revoked" holds "$answer" '"reason":"credential_revoked"'
expect "the service is not asked" is "$(grep -c . seen.txt)" "$before"
wait_for "The binding says so" bash -c "kubectl get sbb agent -n $ns -o wide | grep -q SecretMissing"
kubectl get sbb agent -n "$ns" | sed 's/^/  /'

say "9. All of it is in the audit log and in the network log"
in_log() { holds "$(kubectl get secretrequests -n "$ns" --field-selector secret=anthropic,statusClass="$1" -o jsonpath='{.items[*].error} {.items[*].status}' 2>/dev/null)" "$2"; }
wait_for "The use is in the log" in_log 2xx 200
wait_for "The refusal is in the log" in_log 5xx credential_revoked
kubectl get secretrequests -n "$ns" --field-selector since=1h | sed 's/^/  /'
expect "each row names the secret and the sandbox" lacks "$(kubectl get secretrequests -n "$ns" --field-selector since=1h -o jsonpath='{range .items[*]}{.secrets[0].name}/{.sandbox.pod}{"\n"}{end}' | grep -v '^anthropic/agent$' || true)" /
connected() { holds "$(kubectl get networkevents -n "$ns" --field-selector kind=connection -o jsonpath='{.items[*].host}' 2>/dev/null)" api.anthropic.com; }
wait_for "The connection is in the log" connected
kubectl get networkevents -n "$ns" --field-selector kind=connection,since=1h | sed 's/^/  /'

say "10. Nothing that anybody wrote holds a credential"
written=$(cat operator.log sidecar.log audit.log; cat audit.db* | tr -c '[:print:]' '\n'; kubectl get secretrequests,networkevents -A --field-selector since=1h -o yaml; curl -sS --noproxy '*' "http://127.0.0.1:$metrics/metrics" "http://$pod_address:16090/metrics"; kubectl get pods,ssec,sbb,events,configmaps -A -o yaml)
expect "no credential in logs, metrics, objects and Events" lacks "$written" the-real-one

echo
if [ "$failures" -eq 0 ]; then echo "All of it happened."; else echo "$failures of the above did not happen as they should."; exit 1; fi
