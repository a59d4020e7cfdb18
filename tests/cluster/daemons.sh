# What both schedulers' scripts share; $S is the folder of the scheduler.
# shellcheck shell=bash

say() { echo "$(date +%T) $*"; }

# Ends this script: the scheduler can't be had on this machine.
unavailable() {
    echo "$*" | tee "$S/unavailable"
    exit 75
}

# What is done at the end, whatever led there.
finish() {
    local status=$?
    set +e
    stop
    echo "$status" > "$S/ended"
    # whoever wanted the scheduler was killed, and removes nothing any more
    [ -d "/proc/$PPID" ] || rm -rf "$(dirname "$S")"
}

# Tells whether the process of $S/run/NAME.pid lives. Where nobody reaps them, those that have ended stay as zombies.
lives() {
    local pid
    pid="$(cat "$S/run/$1.pid" 2> /dev/null)" && [ -d "/proc/$pid" ] && ! grep -q '^State:.Z' "/proc/$pid/status" 2> /dev/null
}

# Waits until a command succeeds: wait_for WHAT COMMAND...
wait_for() {
    local what="$1" last=$((SECONDS + 60))
    shift
    until "$@" > /dev/null 2>&1; do
        if [ "$SECONDS" -ge "$last" ]; then
            say "no $what after 60 s"
            tail -n 5 "$S"/log/*
            exit 1
        fi
        sleep 0.1
    done
}

# Ends the processes of these names, and waits for that.
end() {
    local name
    for name in "$@"; do
        lives "$name" || continue
        kill "$(cat "$S/run/$name.pid")"
        for _ in $(seq 100); do
            lives "$name" || continue 2
            sleep 0.1
        done
        say "$name does not end and is killed"
        kill -9 "$(cat "$S/run/$name.pid")"
    done
}

# Says that jobs can run, and waits. Whoever wants the scheduler holds the other end of the pipe; it ends with it.
until_input_ends() {
    say "ready"
    touch "$S/ready"
    cat > /dev/null
    say "stopping"
}
