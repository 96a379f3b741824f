#!/usr/bin/env bash
# Checks what `make image-archives` made, without a container runtime: the archives' form, and that the programs run as they will
# in a pod: as user 65532 without a capability, or as admission writes it for superserve-init and superserve-sidecar, on a read-only
# root with a writable /tmp, with nothing but what the image has.
set -euo pipefail
cd "$(dirname "$0")/../.."

[ "$(id -u)" -eq 0 ] || { echo "Run this as root: it unpacks the images and runs programs in them." >&2; exit 1; }
# Mounts, ports and processes of its own, which end with it.
[ -n "${SUPERSERVE_CHECK_INSIDE:-}" ] || SUPERSERVE_CHECK_INSIDE=yes exec unshare --mount --net --ipc --pid --fork --kill-child "$0"

version=$(sed -nE 's|.*<Version>(.+)</Version>.*|\1|p' Directory.Build.props)
limit=40000000 # bytes of the sidecar's archive, compressed: it is on every node
work=$(mktemp -d)
trap 'umount -R "$work"/superserve-* 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT
ip link set lo up
passed=0

fail() {
  echo "$*" >&2
  exit 1
}

# Takes an image: checks and unpacks its archive; the functions below then speak of it.
take() {
  image=$1 root=$work/$1
  local archive=artifacts/images/$1.tar
  [ -e "$archive" ] || fail "$archive is not there: run make image-archives first."
  mkdir "$root"
  python3 tests/images/unpack.py "$archive" "$image" "$version" "$root" >"$root.env"
  mapfile -t environment <"$root.env"
  # What every container runtime provides: a resolvers' file, and devices.
  echo "nameserver 127.0.0.1" >"$root/etc/resolv.conf"
  mount --bind "$root" "$root"
  mount -o remount,bind,ro "$root"
  mount -t proc proc "$root/proc"
  mount -t tmpfs tmpfs "$root/tmp"
  mount -t tmpfs -o mode=755 tmpfs "$root/dev"
  local device
  for device in null zero full random urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
  done
  passed=$((passed + 1))
}

# The command line that runs a command as a pod would, as the user $user with the capability $capability alone.
in_pod=()
python=$(command -v python3)
nobody() { user=65532 capability=none; }
root_with() { user=0 capability=$1; }
nobody
as_in_pod() {
  in_pod=(env -i "${environment[@]}" "$python" tests/images/in_pod.py "$user" "$capability" "$root" "$@")
}

# Waits until a program that runs in the background is healthy.
expect_health() {
  local process=$1 path=${2:-healthz} i
  for ((i = 0; ; i++)); do
    curl --silent --fail --noproxy '*' --output /dev/null "http://127.0.0.1:16021/$path" && break
    kill -0 "$process" 2>/dev/null && [ "$i" -lt 300 ] || fail "$image: it does not answer: $(cat "$work/log")"
    sleep 0.2
  done
}

# Ends it, which has to go well.
expect_end() {
  kill -TERM "$1"
  wait "$1" || fail "$image: it ended with $?: $(cat "$work/log")"
  passed=$((passed + 1))
}

# expect STATUS WORDS COMMAND...: it ends with the status and prints the words; $printed is all of it.
expect() {
  local wanted=$1 words=$2 status=0
  shift 2
  as_in_pod "$@"
  printed=$(timeout 60 "${in_pod[@]}" 2>&1) || status=$?
  [ "$status" -eq "$wanted" ] || fail "$image: $* ended with $status instead of $wanted: $printed"
  [[ $printed == *"$words"* ]] || fail "$image: $* does not say '$words': $printed"
  passed=$((passed + 1))
}

# Every program and library finds the libraries that it names: the image's own loader says so.
expect_libraries() {
  local loader file count=0 listed
  loader=$(cd "$root" && find usr/lib64 usr/lib -maxdepth 1 -name 'ld-linux-*')
  while read -r file; do
    head -c 4 "$root/$file" | grep -q ELF || continue
    as_in_pod "/$loader" --list "/$file"
    listed=$("${in_pod[@]}" 2>&1) || fail "$image: $file: $listed"
    [[ $listed != *"not found"* ]] || fail "$image: $file: $listed"
    count=$((count + 1))
  done < <(cd "$root" && find usr -xdev -type f)
  [ "$count" -gt 5 ] || fail "$image: only $count programs and libraries were found."
  passed=$((passed + 1))
}

take superserve-sidecar
[ "$(gzip -9 <artifacts/images/superserve-sidecar.tar | wc -c)" -lt "$limit" ] || fail "$image: it is larger than $limit bytes, compressed."
expect_libraries
expect 0 "Usage:" /usr/bin/superserve-sidecar --help
expect 0 "$version" /usr/bin/superserve-sidecar --version
expect 0 "nftables" /usr/sbin/nft --version
expect 0 "integer" /usr/sbin/nft describe tcp dport
expect 2 "/tmp/none.json" /usr/bin/superserve-sidecar run --config /tmp/none.json
# A whole sidecar starts, with a CA of its own and the image's public roots, around a command: that needs OpenSSL.
echo '{"sandbox": "check", "trustDirectory": "/tmp/trust", "eventsFile": "/tmp/events.jsonl", "secrets": []}' >"$root/tmp/sidecar.json"
expect 0 "$version" /usr/bin/superserve-sidecar exec --config /tmp/sidecar.json -- /usr/bin/superserve-sidecar --version
roots=$(grep -c BEGIN "$root/etc/ssl/certs/ca-certificates.crt")
[ "$roots" -gt 100 ] || fail "$image: there are only $roots public roots."
[ "$(grep -c BEGIN "$root/tmp/trust/ca-bundle.crt")" -eq $((roots + 1)) ] || fail "$image: the sidecar's bundle is not the $roots public roots and its own."

# As in a pod: superserve-init installs the rules with NET_ADMIN alone, superserve-sidecar judges what they lead to it with NET_RAW alone.
expect 0 "table inet superserve" /usr/bin/superserve-sidecar init-network --print
root_with NET_RAW
expect 1 "lacks the capability NET_ADMIN" /usr/bin/superserve-sidecar init-network
root_with NET_ADMIN
expect 0 "" /usr/sbin/nft list ruleset
[ -z "$printed" ] || fail "$image: init-network changed rules that it says are unchanged: $printed"
expect 0 "" /usr/bin/superserve-sidecar init-network
expect 0 "hook postrouting" /usr/sbin/nft list ruleset
# A network whose router takes everything and answers nothing: what is answered, the sidecar answers.
ip link add eth0 type veth peer name peer
ip link set peer up
ip link set eth0 up
ip address add 10.83.0.2/24 dev eth0
ip route add default via 10.83.0.1
cat >"$root/tmp/sidecar.json" <<CONFIGURATION
{"sandbox": "check", "capture": "Transparent", "trustDirectory": "/tmp/pod/trust", "eventsFile": "/tmp/pod/events.jsonl", "secrets": [],
 "network": {"denyOut": ["denied.example.net"]}, "upstream": {"hosts": {"free.example.net": "127.0.0.1:8000"}}}
CONFIGURATION
(cd "$work" && exec "$python" -m http.server --bind 127.0.0.1 8000 >/dev/null 2>&1) &
service=$!
root_with none
expect 2 "needs the capability NET_RAW" /usr/bin/superserve-sidecar run --config /tmp/sidecar.json
root_with NET_RAW
as_in_pod /usr/bin/superserve-sidecar run --config /tmp/sidecar.json
"${in_pod[@]}" >"$work/log" 2>&1 &
sidecar=$!
expect_health "$sidecar"
for case in "free.example.net 200" "denied.example.net 403 host_denied"; do
  read -r host answer <<<"$case"
  judged=$(curl --silent --noproxy '*' --max-time 60 --output /dev/null --write-out '%{http_code} %header{x-superserve-proxy-reason}' --resolve "$host:80:45.83.1.2" "http://$host/" || true)
  [ "$judged" = "$answer" ] || [ "$judged" = "$answer " ] || fail "$image: the sidecar answered '$judged' for $host instead of '$answer': $(cat "$work/log")"
  passed=$((passed + 1))
done
expect_end "$sidecar"
kill "$service"
root_with NET_ADMIN
expect 0 "" /usr/bin/superserve-sidecar init-network --remove
nobody

take superserve-operator
expect_libraries
expect 0 "Usage:" /usr/bin/superserve-operator --help
expect 0 "$version" /usr/bin/superserve-operator --version
expect 2 "/tmp/none.json" /usr/bin/superserve-operator run --config /tmp/none.json
# It starts, serves, and ends when it is told to; the API server that it is told of is not there.
echo '{"namespace": "superserve-system", "drainSeconds": 0}' >"$root/tmp/operator.json"
cat >"$root/tmp/kubeconfig" <<KUBECONFIG
apiVersion: v1
kind: Config
current-context: check
contexts: [{name: check, context: {cluster: check, user: check}}]
clusters: [{name: check, cluster: {server: "https://127.0.0.1:1", certificate-authority-data: $(openssl x509 -in "$root/etc/ssl/certs/ca-certificates.crt" | base64 -w 0)}}]
users: [{name: check, user: {token: none}}]
KUBECONFIG
as_in_pod /usr/bin/superserve-operator run --config /tmp/operator.json --kubeconfig /tmp/kubeconfig
"${in_pod[@]}" >"$work/log" 2>&1 &
operator=$!
expect_health "$operator"
expect_end "$operator"

# The audit service opens its store, for which it brings SQLite along, with a certificate as the operator's leader keeps one.
mkdir -p "$root/tmp/serving"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=audit -addext subjectAltName=DNS:superserve-audit.superserve-system.svc \
  -addext extendedKeyUsage=serverAuth -keyout "$root/tmp/serving/tls.key" -out "$root/tmp/serving/tls.crt" 2>/dev/null
cp "$root/tmp/serving/tls.crt" "$root/tmp/serving/ca.crt"
chmod 0644 "$root/tmp/serving/tls.key"
echo '{"certificateDirectory": "/tmp/serving", "sqliteFile": "/tmp/audit/audit.db"}' >"$root/tmp/audit.json"
as_in_pod /usr/bin/superserve-operator audit --config /tmp/audit.json --kubeconfig /tmp/kubeconfig
"${in_pod[@]}" >"$work/log" 2>&1 &
audit=$!
expect_health "$audit" readyz
[ -s "$root/tmp/audit/audit.db" ] || fail "$image: the audit service is ready without a store: $(cat "$work/log")"
expect_end "$audit"

echo "$passed passed, 0 failed"
