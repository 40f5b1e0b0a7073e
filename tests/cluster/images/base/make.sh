#!/usr/bin/env bash
# Make the image that stands for Docker's python:X.Y-slim-RELEASE where no registry of images is reached: Debian's own packages of the
# same release and the same Python, with pip, and with the headers that Docker's has. usage: make.sh IMAGE X.Y RELEASE
# BUILDAH: the command and its global options. DEBS: a folder that keeps the packages.
set -euo pipefail
image=$1 version=$2 release=$3
mkdir -p "${DEBS:?}"
read -ra buildah <<<"$BUILDAH"
# The mirror that this machine has for Debian; debootstrap knows one itself.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(COMPONENT)' 'Created-By: Packages' | sed -n '/ Debian main$/{s///p;q}')
container=$("${buildah[@]}" from scratch)
trap '"${buildah[@]}" rm "$container" >/dev/null' EXIT
root=$("${buildah[@]}" mount "$container")
packages=python3,python3-venv,libpython3-dev,ca-certificates
if ! debootstrap --variant=minbase --cache-dir="$DEBS" --include=$packages "$release" "$root" ${mirror:+"$mirror"} >"$root.log" 2>&1; then
  tail -n 30 "$root.log" "$root/debootstrap/debootstrap.log" >&2 || true
  exit 1
fi
rm "$root.log"
found=$(chroot "$root" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[ "$found" = "$version" ] || { echo "Debian $release: python3: found $found, the Dockerfile's base has $version: name a base of one release" >&2; exit 1; }
# As in Docker's image: `python`, a pip that may install, no list of packages, nothing to read.
ln -s /usr/bin/python3 "$root/usr/local/bin/python"
rm "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
wheel=$(cd "$root" && echo usr/share/python-wheels/pip-*.whl)
chroot "$root" python3 "/$wheel/pip" install --quiet --no-index --root-user-action=ignore "/$wheel"
chroot "$root" python -m pip --version >&2
chroot "$root" apt-get clean
rm -rf "$root"/usr/share/python-wheels "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/{doc,info,locale,man}/* "$root"/usr/lib/*/libpython*.a
"${buildah[@]}" umount "$container" >/dev/null
"${buildah[@]}" commit --quiet "$container" "$image" >/dev/null
