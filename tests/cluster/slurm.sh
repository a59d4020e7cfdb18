#!/usr/bin/env bash
# A Slurm on this machine, with two nodes and accounting, until standard input ends: slurm.sh FOLDER PORT
# All it writes is below FOLDER, all its ports are on the loopback device: PORT and the 4 after it. Once jobs can run, FOLDER
# has `ready`; `environment` is what clients need. Ends with 75 where Slurm can't be had here.
set -euo pipefail
S="$1" PORT="$2" NODES=2
HOST="$(hostname -s)"
# shellcheck source=daemons.sh
. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"

install() {
    local missing=()
    for package in slurm-wlm munge slurmdbd mariadb-server; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" = installed ] || missing+=("$package")
    done
    [ "${#missing[@]}" != 0 ] || return 0
    say "installing ${missing[*]}"
    # keeps the packages from starting services where there is an init system
    if ! [ -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
        policy=1
    fi
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o DPkg::Lock::Timeout=300 \
        --no-install-recommends "${missing[@]}" > /dev/null
}

write_configuration() {
    mkdir -p "$S"/{munge,ctld,log,run,work}
    (umask 077 && head -c 128 /dev/urandom > "$S/munge/key" && cat > "$S/slurmdbd.conf") << END
AuthType=auth/munge
AuthInfo=socket=$S/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((PORT + 1))
SlurmUser=root
LogFile=$S/log/slurmdbd.log
PidFile=$S/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((PORT + 2))
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CommunicationParameters=NoInAddrAny
END
    local node nodes=''
    for node in $(seq "$NODES"); do
        nodes+="NodeName=n$node NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((PORT + 2 + node)) CPUs=8 RealMemory=16000"$'\n'
    done
    # with munge, AccountingStoragePass is its socket; nodes have more CPUs than the machine (config_overrides); no control
    # groups; decisions at once, also on jobs that go back into the queue (cred_expire)
    cat > "$S/slurm.conf" << END
ClusterName=test
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$PORT
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$S/munge/socket,cred_expire=6
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation=$S/ctld
SlurmdSpoolDir=$S/d_%n
SlurmctldPidFile=$S/run/slurmctld.pid
SlurmdPidFile=$S/run/slurmd_%n.pid
SlurmctldLogFile=$S/log/slurmctld.log
SlurmdLogFile=$S/log/slurmd_%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=500
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,batch_sched_delay=0
ReturnToService=2
KillWait=5
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((PORT + 1))
AccountingStoragePass=$S/munge/socket
${nodes}PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes=ALL Default=NO MaxTime=00:01:00 State=UP
END
    printf 'SLURM_CONF=%s\n' "$S/slurm.conf" > "$S/environment"
    export SLURM_CONF="$S/slurm.conf"
}

start() {
    munged --key-file="$S/munge/key" --socket="$S/munge/socket" --pid-file="$S/run/munged.pid" \
        --log-file="$S/log/munged.log" --seed-file="$S/munge/seed" --origin=127.0.0.1 < /dev/null
    mariadb-install-db --no-defaults --user=root --datadir="$S/sql" --skip-test-db \
        --auth-root-authentication-method=normal > "$S/log/mariadb.log" 2>&1
    mariadbd --no-defaults --user=root --datadir="$S/sql" --socket="$S/run/sql.sock" --bind-address=127.0.0.1 \
        --port=$((PORT + 2)) --pid-file="$S/run/mariadbd.pid" --innodb-flush-log-at-trx-commit=0 --skip-name-resolve \
        < /dev/null >> "$S/log/mariadb.log" 2>&1 &
    local sql=(mariadb --no-defaults --socket="$S/run/sql.sock" -u root)
    wait_for MariaDB "${sql[@]}" -e 'SELECT 1'
    "${sql[@]}" -e "CREATE DATABASE slurm_acct_db; CREATE USER 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm';
        GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1';"
    slurmdbd < /dev/null
    wait_for slurmdbd sacctmgr -n list cluster
    slurmctld < /dev/null
    for node in $(seq "$NODES"); do slurmd -N "n$node" < /dev/null; done
    wait_for "idle nodes" nodes_are_idle
}

nodes_are_idle() { [ "$(sinfo -h -p main -o '%T %D')" = "idle $NODES" ]; }

stop() {
    [ -z "${policy:-}" ] || rm -f /usr/sbin/policy-rc.d
    # while there is somebody to end them
    timeout 10 scancel --user=root 2> /dev/null || true
    for _ in $(seq 50); do
        [ -n "$(timeout 10 squeue -h 2> /dev/null)" ] || break
        sleep 0.1
    done
    end slurmd_n1 slurmd_n2 slurmctld slurmdbd mariadbd munged
}

trap finish EXIT
[ "$(id -u)" = 0 ] || unavailable "Slurm's daemons need root"
command -v apt-get > /dev/null || unavailable "there is no apt-get to install Slurm with"
install || unavailable "the packages of Slurm can't be installed"
write_configuration
start
until_input_ends
