#!/usr/bin/env bash
# Builds and runs every test project, and ends with one line of totals. A test that is skipped counts as failed:
# what cannot run where it should says nothing about the product.
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
dotnet build Superserve.K8s.sln --nologo -v quiet || exit 1
# A test that hangs fails: nobody watches.
dotnet test --solution Superserve.K8s.sln --no-build --no-progress --timeout 10m 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

count() { sed -nE "s/^ *$1: ([0-9]+)$/\1/p" "$log" | tail -n 1; }
passed=$(count succeeded) failed=$(count failed) skipped=$(count skipped)
failed=$(( ${failed:-0} + ${skipped:-0} ))
[ "${skipped:-0}" -eq 0 ] || echo "$skipped tests were skipped: they count as failed."
[ "${passed:-0}" -gt 0 ] || { echo "No test ran."; status=1; }
[ "$failed" -eq 0 ] || status=1
echo "${passed:-0} passed, $failed failed"
exit "$status"
