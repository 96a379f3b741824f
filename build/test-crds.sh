#!/usr/bin/env bash
# Checks crds/ and tests/manifests with the API server's own validation code: structural schemas, the cost of the CEL rules,
# the verdict and message on each manifest, and the webhooks' matchConditions. Optional: it needs root and mmdebstrap, and makes a Debian tree with Go and
# the library in artifacts/crds (some 1.5 GB, several minutes the first time).
set -euo pipefail
cd "$(dirname "$0")/.."

tree=artifacts/crds
if ! command -v mmdebstrap >/dev/null; then
  if command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null
  else
    echo "mmdebstrap is missing (the name of Debian's package). Install it, and run this as root." >&2
    exit 1
  fi
fi
[ "$(id -u)" -eq 0 ] || { echo "Run this as root: it makes a Debian tree and runs a program in it." >&2; exit 1; }

if [ ! -x "$tree/usr/bin/go" ]; then
  rm -rf "$tree"
  mkdir -p "$(dirname "$tree")"
  mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' \
    --include=golang-go,golang-k8s-apiextensions-apiserver-dev,ca-certificates sid "$tree"
fi

mkdir -p "$tree/proc"
mount -t proc proc "$tree/proc"
trap 'umount "$tree/proc"' EXIT
rm -rf "$tree/check"
mkdir -p "$tree/check/src/crds"
cp tests/crds/*.go "$tree/check/src/crds/"
cp -r crds "$tree/check/crds"
artifacts/tools/helm template superserve charts/superserve >"$tree/check/chart.yaml"
cp -r tests/manifests "$tree/check/manifests"
chroot "$tree" env HOME=/tmp GOTELEMETRY=off GO111MODULE=off GOPATH=/check:/usr/share/gocode \
  sh -c 'cd /check/src/crds && go build -o /check/crdcheck . && /check/crdcheck /check/crds /check/manifests /check/chart.yaml'
