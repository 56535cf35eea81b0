#!/bin/sh
# Install Debian packages, as root or through sudo; without either, say the one command that does it.
set -e
as_root=""
if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null; then as_root=sudo; else
        echo "palmar needs these packages. Next, as root: apt-get install -y $*" >&2
        exit 1
    fi
fi
command -v apt-get >/dev/null || { echo "palmar needs these packages (Debian names): $*" >&2; exit 1; }
$as_root apt-get update -qq
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends "$@"
