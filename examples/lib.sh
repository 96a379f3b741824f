# What the demos share; sourced. The caller sets work (a directory of its own) and failures=0.

if [ -t 1 ]; then bold=$(printf "\033[1m") plain=$(printf "\033[0m"); else bold="" plain=""; fi
say() { printf "\n%s%s%s\n" "$bold" "$*" "$plain"; }
show() { printf '  %s\n' "$*"; }
expect() { # expect WHAT COMMAND...: says whether it is so
  local what=$1
  shift
  if "$@"; then show "ok: $what"; else show "FAILED: $what"; failures=$((failures + 1)); fi
}
is() { [ "$1" = "$2" ] || { show "  wanted: $2"; show "  got:    $1"; return 1; }; }
holds() { grep -qF -- "$2" <<<"$1"; }
lacks() { ! grep -qF -- "$2" <<<"$1"; }
wait_for() { # wait_for WHAT COMMAND...: up to thirty seconds
  local what=$1
  shift
  for _ in $(seq 300); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
  echo "$what: it did not come about." >&2
  tail -n 40 "$work"/*.log >&2 || true
  exit 1
}
free_ports() {
  python3 - "$1" <<'PYTHON'
import socket, sys
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in sockets))
PYTHON
}
