#!/usr/bin/env bash
# Makes a job's environment, whatever little of one it starts with; law_job.sh sources it.
# What stands in double braces is filled in when jobs are submitted.

_honeyguide_bootstrap() {
    # a batch system may set neither
    export HOME="${HOME:-$LAW_JOB_HOME}"
    export USER="${USER:-$(id -un)}"
    export PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}:/usr/local/bin:/usr/bin:/bin"
    export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
    # the scheduler's number of cores, where it says one
    export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-${OMP_NUM_THREADS:-1}}"

    local root="{{honeyguide_root}}" venv="{{honeyguide_venv}}" bundle="{{honeyguide_bundle}}" site="{{honeyguide_site}}"
    if ! [ -f "$root/law.cfg" ]; then
        # no shared file system: what was shipped
        if [ -z "$bundle" ] || ! [ -f "$bundle" ]; then
            echo "the checkout $root is not seen from $(hostname), and nothing was shipped: set ship=true" >&2
            return 1
        fi
        root="$LAW_JOB_HOME/honeyguide"
        mkdir -p "$root" && tar -xzf "$bundle" -C "$root" || return 1
        venv="$root/.venv"
    fi
    export HONEYGUIDE_SITE="$site"
    if [ -n "$site" ] && [ -f "$root/configs/sites/$site.sh" ]; then
        # shellcheck disable=SC1090
        . "$root/configs/sites/$site.sh" || return 1
    fi
    if [ -f "$venv/bin/activate" ]; then
        # shellcheck disable=SC1091
        . "$venv/bin/activate" || return 1
    elif [ -x "$venv/bin/python" ]; then
        export PATH="$venv/bin:$PATH"  # conda
    else
        echo "the environment $venv is not seen from $(hostname): set ship=true, or put it on a shared file system" >&2
        return 1
    fi
    export HONEYGUIDE_ROOT="$root"
    export HONEYGUIDE_STORE="{{honeyguide_store}}"
    export HONEYGUIDE_DATA="{{honeyguide_data}}"
    export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
    export LAW_CONFIG_FILE="$root/law.cfg"
    export LAW_HOME="$LAW_JOB_HOME/.law"
    mkdir -p "$LAW_HOME"
    # SIGTERM (preemption, the time limit) is for the task, which writes a checkpoint; this shell waits for it
    trap ':' TERM
    cd "$root" || return 1
    echo "honeyguide job on $(hostname), $(date -Iseconds), python $(command -v python)"
}

_honeyguide_bootstrap
