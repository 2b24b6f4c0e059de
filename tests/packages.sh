# What the commands under tests/ need of this machine: programs from apt, and .venv.
# To be sourced in the project's folder; `command` is the name that messages give the caller.

say() { printf '\n== %s\n' "$*"; }

has_package() {
    case $1 in
        dcmtk) command -v storescu >/dev/null ;;
        strace) command -v strace >/dev/null ;;
        orthanc) [ -x /usr/sbin/Orthanc ] ;;
        orthanc-dicomweb) [ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] ;;
        dicom3tools) command -v dciodvfy >/dev/null ;;
        systemd) command -v systemd-analyze >/dev/null ;;
        postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ;;
        *) return 1 ;;
    esac
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }
}

# The packages bring services that the tests do not use: keep them from starting.
apt_install() {
    local policy=/usr/sbin/policy-rc.d made=
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod +x "$policy"
        made=yes
    fi
    local status=0
    { as_root apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -qq --yes --no-install-recommends "$@" >/dev/null; } || status=$?
    [ -z "$made" ] || as_root rm -f "$policy"
    return "$status"
}

require_packages() {
    local package missing=()
    for package in "$@"; do
        has_package "$package" || missing+=("$package")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    if ! may_install; then
        echo "$command needs these packages and may not install them: ${missing[*]}" >&2
        echo "    apt-get install $*" >&2
        return 1
    fi
    say "apt: ${missing[*]}"
    apt_install "${missing[@]}"
}

find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null && "$name" -c '
import ensurepip, sys, venv
sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    echo "$command needs Python 3.11, 3.12 or 3.13 with venv; on Debian or Ubuntu:" >&2
    echo '    apt-get install python3 python3-venv' >&2
    return 1
}

# Makes .venv with the project and what its tests need, unless it is there already.
require_venv() {
    local venv=.venv python wanted stamp
    python=$(find_python)
    wanted=$(sha256sum pyproject.toml | cut -d' ' -f1)
    stamp=$venv/.installed-from
    if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ] || [ ! -x "$venv/bin/gateway" ]; then
        say "install into $venv"
        [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[test]'
        echo "$wanted" >"$stamp"
    fi
}
