#!/usr/bin/env bash
# An HTCondor on this machine until standard input ends: htcondor.sh FOLDER PORT
# All it writes is below FOLDER, and it listens at PORT of the loopback device. Once jobs can run, FOLDER has `ready`;
# `environment` is what clients need, `as` runs a command as the user that daemons, jobs and law are: HTCondor takes no jobs
# of root. Ends with 75 where HTCondor can't be had here.
#
# Debian 12 has no HTCondor. The packages of Debian 13 are unpacked, with the libraries that they need, and their programs
# are told to use these: so they run on this machine, as do their jobs, and nothing is installed.
set -euo pipefail
S="$1" PORT="$2" R="$1/root"
# shellcheck source=daemons.sh
. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"

# condor, and the packages of the libraries that its programs load
PACKAGES=(condor patchelf libbrotli1 libc6 libcom-err2 libcurl4t64 libexpat1 libffi8 libgcc-s1 libgmp10 libgnutls30t64
    libgomp1 libgssapi-krb5-2 libhogweed6t64 libidn2-0 libk5crypto3 libkeyutils1 libkrb5-3 libkrb5support0 libldap2
    libmunge2 libnettle8t64 libnghttp2-14 libnghttp3-9 libp11-kit0 libpcre2-8-0 libpsl5t64 librtmp1 libsasl2-2
    libscitokens0t64 libsqlite3-0 libssh2-1t64 libssl3t64 libstdc++6 libtasn1-6 libunistring5 libuuid1 libvomsapi1t64
    libzstd1 zlib1g)

# Unpacks them into $R, from the mirror that this machine's apt uses, with a state of apt's own.
install() {
    local apt="$S/apt" mirror loader libraries file
    # the second where apt has never been updated
    mirror="$({ apt-get indextargets --format '$(SITE)' 'Origin: Debian'; apt-get indextargets --no-release-info \
        --format '$(SITE)'; } 2> /dev/null | grep -v security | head -n 1)"
    [ -n "$mirror" ] || return 1
    say "unpacking HTCondor"
    mkdir -p "$apt"/etc/{sources.list.d,preferences.d,apt.conf.d} "$apt"/{state/lists/partial,cache/archives/partial,debs}
    : > "$apt/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" > "$apt/etc/sources.list"
    local options=(-qq -o Dir::Etc="$apt/etc" -o Dir::State="$apt/state" -o Dir::State::status="$apt/status"
        -o Dir::Cache="$apt/cache" -o APT::Sandbox::User="$(id -un)")
    apt-get "${options[@]}" update && (cd "$apt/debs" && apt-get "${options[@]}" download "${PACKAGES[@]}") || return 1
    for file in "$apt"/debs/*.deb; do dpkg-deb -x "$file" "$R"; done
    rm -rf "$apt"
    libraries="$(echo "$R"/usr/lib/*-linux-gnu)"
    loader="$(echo "$libraries"/ld-linux-*.so.*)"
    # RPATH, not RUNPATH: libraries' own needs are looked for there as well
    for file in "$R"/usr/{bin,sbin,libexec/condor}/*; do
        [ -f "$file" ] && ! [ -L "$file" ] && [ "$(head -c 4 "$file" | tail -c 3)" = ELF ] || continue
        case "$file" in *patchelf) continue ;; esac
        "$loader" --library-path "$libraries" "$R/usr/bin/patchelf" --set-interpreter "$loader" --force-rpath \
            --set-rpath "$libraries:$R/usr/lib" "$file" 2> /dev/null || true # static ones have no interpreter
    done
}

# Makes the user, where this is root, and the script `as`. The user may read all files, whoever owns them: the checkout and
# the environment may be below a home folder that is closed to others. Nothing is copied, nobody else gets that right.
make_user() {
    local may=(--inh-caps=+dac_read_search --ambient-caps=+dac_read_search) become=()
    user="$(id -un)"
    if [ "$(id -u)" = 0 ]; then
        user="hgtest$$"
        useradd --no-create-home --home-dir "$S/home" --shell /bin/bash "$user"
        become=(setpriv --reuid="$user" --regid="$user" --clear-groups)
        if "${become[@]}" "${may[@]}" true 2> /dev/null; then become+=("${may[@]}"); fi
        become+=(--)
    fi
    mkdir -p "$S"/{home,log,lock,run,spool,execute,tokens,passwords,work}
    chmod 700 "$S"/{tokens,passwords}
    printf '#!/bin/sh\nexec %s "$@"\n' "${become[*]}" > "$S/as"
    chmod 755 "$S/as"
    [ "$(id -u)" != 0 ] || chown "$user:" "$S"/{home,log,lock,run,spool,execute,tokens,passwords,work}
}

# Loopback only, one port, one user who proves to be it through the file system; one slot that is shared out, with more CPUs
# than the machine has; decisions at once. USE_PROCD=false crashes when a running job is removed, in 23.9.6.
write_configuration() {
    cat > "$S/condor_config" << END
RELEASE_DIR = $R/usr
LOCAL_DIR = $S
BIN = \$(RELEASE_DIR)/bin
SBIN = \$(RELEASE_DIR)/sbin
LIB = \$(RELEASE_DIR)/lib/condor
LIBEXEC = \$(RELEASE_DIR)/libexec/condor
SHARE = \$(RELEASE_DIR)/share/condor
LOG = $S/log
LOCK = $S/lock
RUN = $S/run
SPOOL = $S/spool
EXECUTE = $S/execute
LOCAL_CONFIG_FILE =
LOCAL_CONFIG_DIR =
SEC_TOKEN_DIRECTORY = $S/tokens
SEC_TOKEN_SYSTEM_DIRECTORY = $S/tokens
SEC_PASSWORD_DIRECTORY = $S/passwords
CONDOR_HOST = 127.0.0.1
COLLECTOR_HOST = 127.0.0.1:$PORT
COLLECTOR_NAME = test
NETWORK_INTERFACE = 127.0.0.1
BIND_ALL_INTERFACES = false
ENABLE_IPV6 = false
NO_DNS = true
DEFAULT_DOMAIN_NAME = test
UID_DOMAIN = test
TRUST_UID_DOMAIN = true
FILESYSTEM_DOMAIN = test
USE_SHARED_PORT = true
SHARED_PORT_PORT = $PORT
CONDOR_IDS = $(id -u "$user").$(id -g "$user")
DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR SCHEDD STARTD
MASTER_BACKOFF_CONSTANT = 2
CONDOR_ADMIN =
MAIL = /bin/true
SEC_DEFAULT_AUTHENTICATION = REQUIRED
SEC_DEFAULT_AUTHENTICATION_METHODS = FS
ALLOW_READ = *
ALLOW_WRITE = *
ALLOW_DAEMON = *
ALLOW_NEGOTIATOR = *
ALLOW_ADMINISTRATOR = *
NUM_CPUS = 16
MEMORY = 32000
DISK = 10000000
NUM_SLOTS = 1
NUM_SLOTS_TYPE_1 = 1
SLOT_TYPE_1 = cpus=100%,mem=100%,disk=100%
SLOT_TYPE_1_PARTITIONABLE = true
START = true
SUSPEND = false
PREEMPT = false
KILL = false
NEGOTIATOR_CONSIDER_PREEMPTION = false
STARTD_RECOMPUTE_DISK_FREE = false
RUNBENCHMARKS = false
STARTD_CRON_JOBLIST =
SCHEDD_CRON_JOBLIST =
BASE_CGROUP =
DOCKER =
SINGULARITY =
PROCD_ADDRESS = $S/run/procd
NEGOTIATOR_INTERVAL = 2
NEGOTIATOR_MIN_INTERVAL = 1
NEGOTIATOR_CYCLE_DELAY = 1
SCHEDD_INTERVAL = 2
SCHEDD_MIN_INTERVAL = 1
JOB_START_DELAY = 0
UPDATE_INTERVAL = 5
POLLING_INTERVAL = 2
PERIODIC_EXPR_INTERVAL = 5
STARTER_UPDATE_INTERVAL = 5
STARTER_INITIAL_UPDATE_INTERVAL = 2
SHADOW_QUEUE_UPDATE_INTERVAL = 5
SHUTDOWN_FAST_TIMEOUT = 10
KILLING_TIMEOUT = 5
MachineMaxVacateTime = 3
END
    printf '%s\n' "CONDOR_CONFIG=$S/condor_config" "PATH=$R/usr/bin:$PATH" "HOME=$S/home" "USER=$user" > "$S/environment"
    export CONDOR_CONFIG="$S/condor_config"
}

start() {
    "$S/as" "$R/usr/sbin/condor_master" -pidfile "$S/run/master.pid" < /dev/null
    wait_for "slot of HTCondor" has_slot
    wait_for "schedd of HTCondor" "$S/as" "$R/usr/bin/condor_q"
}

has_slot() { [ -n "$("$S/as" "$R/usr/bin/condor_status" -af Name)" ]; }

stop() {
    local children='' child
    if lives master; then
        children="$(cat "/proc/$(cat "$S/run/master.pid")/task/"*/children)"
        kill -QUIT "$(cat "$S/run/master.pid")" # at once, with all jobs
        end master
    fi
    # of those that it has started one may stay
    for child in $children; do
        echo "$child" > "$S/run/child.pid"
        end child
    done
    if [ "$(id -u)" = 0 ] && [ -n "${user:-}" ]; then
        ps -o pid= -u "$user" | xargs -r kill -9 # what a test has left behind
        userdel "$user"
    fi
}

trap finish EXIT
command -v apt-get > /dev/null || unavailable "there is no apt-get to get HTCondor with"
if [ "$(id -u)" = 0 ] && ! command -v setpriv > /dev/null; then unavailable "there is no setpriv to leave root with"; fi
install || unavailable "the packages of HTCondor can't be had"
make_user
write_configuration
start
until_input_ends
