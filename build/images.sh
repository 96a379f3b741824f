#!/usr/bin/env bash
# Makes the images of operator and sidecar as archives for `ctr images import`, `podman load`, `docker load` and `skopeo`:
# artifacts/images/superserve-{operator,sidecar}.tar, of this machine's architecture. It takes no registry, no daemon and no root:
# apt fetches Debian's packages with a state of its own from the sources that this machine has, checks their signatures, and the
# files that the programs need are taken out of them. Programs that were built here run with the libraries of the same release.
set -euo pipefail
cd "$(dirname "$0")/.."

output=artifacts/images
work=$PWD/$output/work
packages=(base-files ca-certificates libc6 libgcc-s1 libssl3 libstdc++6 nftables)

[ -d artifacts/publish/operator ] || { echo "The operator is not published: run make image-archives, which does that first." >&2; exit 1; }
for program in apt-get dpkg-deb; do
  command -v "$program" >/dev/null && continue
  echo "$program is missing: the images are made of Debian's packages, so make them on Debian, or in a container of it." >&2
  exit 1
done

version=$(sed -nE 's|.*<Version>(.+)</Version>.*|\1|p' Directory.Build.props)
[ -n "$version" ] || { echo "Directory.Build.props has no <Version>, which is the images' tag." >&2; exit 1; }
# The time that every file gets, so that the same source makes the same image.
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Directory.Build.props)}

echo "Fetching Debian's packages ..."
rm -rf "$work/archives" "$work/packages"
mkdir -p "$work/lists/partial" "$work/archives/partial"
: >"$work/status"
apt() {
  apt-get -qq -o "Dir::State=$work" -o "Dir::State::status=$work/status" -o "Dir::Cache=$work" -o APT::Sandbox::User=root "$@"
}
apt update
apt install --download-only --yes --no-install-recommends "${packages[@]}"
for archive in "$work"/archives/*.deb; do
  folder=$work/packages/$(dpkg-deb --field "$archive" Package)
  mkdir -p "$folder"
  dpkg-deb --extract "$archive" "$folder"
  dpkg-deb --field "$archive" >"$folder/control"
done

python3 build/images.py "$version" "$epoch" "$work/packages" "$output"
