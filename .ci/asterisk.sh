#!/usr/bin/env bash
# Prints a folder that contains Asterisk 22, SIPp and baresip, for the tests in adapters/asterisk/tests/real. The first
# run downloads Debian's packages with this machine's apt and extracts them into a cache folder; later runs reuse it.
# Nothing is installed on the machine, and root is not needed: the programs run with the libraries in the folder.
# TRANSFERKIT_CACHE overrides the cache folder. Any Debian works, whichever release it is.
set -euo pipefail

suites=(forky sid) # Debian 12 and 13 have no Asterisk
packages=(asterisk sip-tester baresip-core)
recipe=$(sha256sum "${BASH_SOURCE[0]}")
cache=${TRANSFERKIT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/transferkit}
folder=$cache/asterisk-${recipe:0:12}

fail() {
    echo "$*" >&2
    exit 1
}

for command in apt-get apt-cache dpkg-deb flock; do
    command -v "$command" >/dev/null || fail "$command is missing. Run this on Debian, for example in a container."
done
for keyring in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do
    [ ! -e "$keyring" ] || break
done
[ -e "$keyring" ] || fail "Debian's keys are missing. Install the package debian-archive-keyring."

mkdir -p "$cache"
exec 9>"$cache/asterisk.lock"
flock 9 # another run may be building the folder
if [ -d "$folder" ]; then
    echo "$folder"
    exit 0
fi

rm -rf "$cache"/building.* # of a run that was killed
build=$(mktemp -d "$cache/building.XXXXXX")
trap 'rm -rf "$build"' EXIT
mkdir -p "$build"/{apt/lists/partial,apt/archives/partial,root}
: >"$build/apt/status" # no package is installed, so apt resolves all dependencies

# apt of this machine, with its mirrors and proxies, but with its own package lists, cache and status.
private() { # private COMMAND ARGUMENTS...
    local command=$1
    shift
    "$command" -qq -o Dir::Etc::sourcelist="$build/apt/sources.list" -o Dir::Etc::sourceparts=- \
        -o Dir::State="$build/apt" -o Dir::State::lists="$build/apt/lists" -o Dir::State::status="$build/apt/status" \
        -o Dir::Cache="$build/apt" -o Dir::Cache::archives="$build/apt/archives" \
        -o APT::Sandbox::User="$(id -un)" -o APT::Update::Error-Mode=any "$@" </dev/null
}

# Selects the first suite and mirror that offer Asterisk 22.
select_source() {
    local mirrors suite mirror
    mirrors=$(apt-get update --print-uris | sed -n "s|^'\(http[^']*\)/dists/[^']*' .*|\1|p" | sort -u)
    for suite in "${suites[@]}"; do
        for mirror in $mirrors; do
            echo "deb [signed-by=$keyring] $mirror $suite main" >"$build/apt/sources.list"
            private apt-get update >"$build/apt/log" 2>&1 || continue
            if private apt-cache madison asterisk | grep -q '| *1:22\.'; then
                echo "Asterisk 22 from Debian $suite" >&2
                return
            fi
        done
    done
    cat "$build/apt/log" >&2
    fail "No mirror of this machine's apt configuration offers Asterisk 22 in Debian ${suites[*]}."
}

select_source
private apt-get install --yes --no-install-recommends --download-only "${packages[@]}" >&2
for package in "$build"/apt/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" |
        tar -x -C "$build/root" --no-same-owner --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
            --exclude='./usr/share/locale/*' --exclude='./usr/lib/python3*' --exclude='./usr/share/perl*'
done
chmod 755 "$build/root"
mv -T "$build/root" "$folder" # atomic: the folder is complete or does not exist
echo "$folder"
