# What the scripts of this folder share. Sourced, never run.
# shellcheck shell=bash

say() {
  printf '%s: %s\n' "$(basename "$0")" "$*"
}

die() {
  say "$*" >&2
  exit 1
}

on_debian_as_root() {
  [[ -e /etc/debian_version && $(id -u) -eq 0 ]] && command -v apt-get >/dev/null
}

# Asks for the package lists where they are older than a day.
refresh_package_lists() {
  local age_limit
  age_limit=$(($(date +%s) - 86400))
  if [[ $(stat --format=%Y /var/lib/apt/lists/partial 2>/dev/null || echo 0) -lt $age_limit ]]; then
    apt-get update --quiet --quiet
  fi
}

install_packages() {
  say "installing $* (Debian packages)"
  refresh_package_lists
  DEBIAN_FRONTEND=noninteractive apt-get --option DPkg::Lock::Timeout=300 install --quiet --quiet --yes --no-install-recommends "$@" >/dev/null
}

engine_answers() {
  command -v docker >/dev/null && timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}
