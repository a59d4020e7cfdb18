"""setup.sh in real shells: from any folder, twice, with local settings, and with everything that can go wrong."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHELLS = [
    pytest.param(shell, marks=pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed"))
    for shell in ("bash", "zsh")
]
pytestmark = pytest.mark.skipif(
    not Path(sys.prefix, "pyvenv.cfg").is_file(), reason="these tests hand their own virtual environment to setup.sh"
)
STUB_TASK = '''"""A task."""
import law
import luigi


class ROCCurveTask(law.Task):
    """A task."""

    config = luigi.Parameter(description="a config")

    def run(self):
        """Does nothing."""
'''
OURS = re.compile("^(HONEYGUIDE|LAW|VIRTUAL_ENV|CONDA|PIP|UV|PYTHON)")

Source = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one light task, in a folder with a space in its name."""
    folder = tmp_path / "a checkout"
    for package in ("tasks", "workflows"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").touch()
    for name in ("setup.sh", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / "law.cfg").write_text("[modules]\ntasks.roc\n")
    (folder / "tasks" / "roc.py").write_text(STUB_TASK)
    return folder


@pytest.fixture
def shims(tmp_path: Path) -> Path:
    """A folder to put in front of the PATH. Installing is an error: no test here may change an environment."""
    folder = tmp_path / "shims"
    folder.mkdir()
    for name in ("uv", "pip"):
        write_program(folder / name, "echo 'no installation in this test' >&2; exit 1")
    return folder


@pytest.fixture
def source(checkout: Path, shims: Path, tmp_path: Path) -> Source:
    """Runs a script in a clean environment, from another folder, with this test's environment as HONEYGUIDE_VENV."""

    def run(shell: str, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = clean_environment(shims) | {"SETUP": str(checkout / "setup.sh"), "HONEYGUIDE_VENV": sys.prefix}
        environment |= variables
        arguments = [shell, "-f"] if shell == "zsh" else [shell, "--norc", "--noprofile"]
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        return subprocess.run(
            [*arguments, "-c", script], cwd=elsewhere, env=environment, capture_output=True, text=True, check=False
        )

    return run


def clean_environment(shims: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not OURS.match(name)}
    folders = [folder for folder in os.environ["PATH"].split(":") if not folder.startswith(sys.prefix)]
    return {**kept, "PATH": ":".join([str(shims), *folders]), "PIP_NO_INDEX": "1"}


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("shell", SHELLS)
def test_sets_everything_up_from_another_folder(shell: str, source: Source, checkout: Path) -> None:
    done = source(shell, 'source "$SETUP" && env && law run ROCCurveTask --config x --print-status 0')
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for expected in (
        f"HONEYGUIDE_ROOT={checkout}",
        f"HONEYGUIDE_STORE={checkout}/store",
        f"LAW_HOME={checkout}/.law",
        f"LAW_CONFIG_FILE={checkout}/law.cfg",
        f"PYTHONPATH={checkout}",
        f"VIRTUAL_ENV={sys.prefix}",
    ):
        assert expected in lines
    assert "ROCCurveTask(config=x)" in done.stdout
    assert f"using {sys.prefix}" in done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_second_time_changes_nothing_and_starts_no_python(shell: str, source: Source, tmp_path: Path) -> None:
    calls, fake = tmp_path / "calls", tmp_path / "venv"
    (fake / "bin").mkdir(parents=True)
    for name in ("python", "law"):
        write_program(fake / "bin" / name, f'echo {name} >> "{calls}"; exec "{sys.prefix}/bin/{name}" "$@"')
    (fake / "bin" / "activate").write_text(f'export VIRTUAL_ENV="{fake}" PATH="{fake}/bin:$PATH"\n')
    script = (
        f'source "$SETUP" || exit 3; env | sort > "{tmp_path}/first"; cat "{calls}"; rm "{calls}"; '
        f'source "$SETUP" || exit 4; env | sort > "{tmp_path}/second"; [ ! -e "{calls}" ] || cat "{calls}"'
    )
    done = source(shell, script, HONEYGUIDE_VENV=str(fake))
    assert (done.returncode, done.stdout.split()) == (0, ["python", "law"]), done.stderr
    assert (tmp_path / "first").read_text() == (tmp_path / "second").read_text()


@pytest.mark.parametrize("shell", SHELLS)
def test_leaves_nothing_behind_in_the_shell(shell: str, source: Source) -> None:
    everything = {"bash": "set -o; shopt; declare -F", "zsh": "setopt; unsetopt; print -l ${(k)functions}"}[shell]
    script = (
        f'before="$({everything})"; source "$SETUP" || exit 3; after="$({everything})"; set | grep -i "^_honeyguide"; '
        'printf "%s\\n" "$before" > before; printf "%s\\n" "$after" > after; diff before after'
    )
    done = source(shell, script)
    assert "using" in done.stderr
    changed = [line for line in done.stdout.splitlines() if line.startswith(("<", ">", "_"))]
    # what an activated environment brings
    assert [line for line in changed if line.split()[-1] != "deactivate"] == []


@pytest.mark.parametrize("shell", SHELLS)
def test_works_in_a_strict_shell(shell: str, source: Source) -> None:
    done = source(shell, 'set -eu; source "$SETUP"; source "$SETUP"; echo survived')
    assert (done.returncode, done.stdout) == (0, "survived\n"), done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_local_setup_is_honoured(shell: str, source: Source, checkout: Path, tmp_path: Path) -> None:
    (checkout / "local_setup.sh").write_text(f'export HONEYGUIDE_STORE="{tmp_path}/my store"\nmine=1\n')
    done = source(shell, 'source "$SETUP" && echo "$HONEYGUIDE_STORE $mine"')
    assert done.stdout == f"{tmp_path}/my store 1\n", done.stderr
    (checkout / "local_setup.sh").write_text("false\n")
    done = source(shell, 'source "$SETUP" || echo "refused with $?"')
    assert done.stdout == "refused with 1\n"
    assert "local_setup.sh failed" in done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_the_site_is_sourced_and_must_exist(shell: str, source: Source, checkout: Path) -> None:
    sites = checkout / "configs" / "sites"
    sites.mkdir(parents=True)
    (sites / "mine.cfg").touch()
    (sites / "mine.sh").write_text("export HONEYGUIDE_JOBS=/jobs\n")
    (checkout / "local_setup.sh").write_text("export HONEYGUIDE_SITE=mine\n")
    done = source(shell, 'source "$SETUP" && echo "$HONEYGUIDE_SITE $HONEYGUIDE_JOBS"')
    assert done.stdout == "mine /jobs\n", done.stderr
    (checkout / "local_setup.sh").write_text("export HONEYGUIDE_SITE=their\n")
    done = source(shell, 'source "$SETUP" || echo "refused with $?"')
    assert done.stdout == "refused with 1\n"
    assert "HONEYGUIDE_SITE=their: no such site, there are mine" in done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_relative_folders_stay_where_they_were_meant(shell: str, source: Source, tmp_path: Path) -> None:
    script = 'source "$SETUP" && cd / && source "$SETUP" && echo "$HONEYGUIDE_STORE:$HONEYGUIDE_DATA"'
    done = source(shell, script, HONEYGUIDE_STORE="my store", HONEYGUIDE_DATA="../data")
    assert done.stdout == f"{tmp_path}/elsewhere/my store:{tmp_path}/elsewhere/../data\n", done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_wrong_python_is_refused_with_a_reason(shell: str, source: Source, shims: Path, tmp_path: Path) -> None:
    write_program(shims / "oldpython", '[ "$1" = --version ] && echo Python 3.9.1 && exit 0; exit 1')
    variables = {"HONEYGUIDE_VENV": str(tmp_path / "new" / "venv")}
    done = source(shell, 'source "$SETUP"; echo "refused with $?"', HONEYGUIDE_PYTHON="oldpython", **variables)
    assert done.stdout == "refused with 1\n"
    assert "HONEYGUIDE_PYTHON=oldpython: got Python 3.9.1, need Python 3.11, 3.12 or 3.13" in done.stderr
    done = source(shell, 'source "$SETUP"; echo "refused with $?"', HONEYGUIDE_PYTHON="/no/such/python", **variables)
    assert done.stdout == "refused with 1\n"
    assert "no such program" in done.stderr
    assert not (tmp_path / "new" / "venv").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_failed_installation_is_told_and_tried_again(shell: str, source: Source, shims: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    done = source(shell, 'source "$SETUP"; echo "refused with $?"', HONEYGUIDE_VENV=str(venv))
    assert done.stdout == "refused with 1\n"
    assert "no installation in this test" in done.stderr
    assert f"the installation into {venv} failed" in done.stderr
    # an installation killed half-way looks just like that: the next one starts afresh
    write_program(shims / "uv", f'echo "$@" >> "{tmp_path}/uv calls"; exit 1')
    done = source(shell, 'source "$SETUP"; echo "refused with $?"', HONEYGUIDE_VENV=str(venv))
    assert "interrupted" in done.stderr
    assert "venv --quiet --clear" in (tmp_path / "uv calls").read_text()


def test_new_constraints_are_installed_and_find_links_passed_on(
    source: Source, checkout: Path, shims: Path, tmp_path: Path
) -> None:
    assert source("bash", 'source "$SETUP"').returncode == 0
    with (checkout / "constraints.txt").open("a") as file:
        file.write("# changed\n")
    write_program(shims / "uv", f'echo "$UV_FIND_LINKS $@" >> "{tmp_path}/uv calls"')
    done = source("bash", 'source "$SETUP" && source "$SETUP"', PIP_FIND_LINKS="one two")
    assert done.returncode == 0, done.stderr
    (call,) = (tmp_path / "uv calls").read_text().splitlines()
    assert call.startswith(
        f"one,two pip install --quiet --python {sys.prefix}/bin/python -c {checkout}/constraints.txt"
    )


def test_other_folders_are_not_overwritten(source: Source, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").touch()
    done = source("bash", 'source "$SETUP"; echo "refused with $?"', HONEYGUIDE_VENV=str(tmp_path / "precious"))
    assert done.stdout == "refused with 1\n"
    assert "is not a virtual environment" in done.stderr
    assert [path.name for path in (tmp_path / "precious").iterdir()] == ["thesis.tex"]


def test_active_environment_with_the_packages_is_used(source: Source) -> None:
    active = {"HONEYGUIDE_VENV": "", "VIRTUAL_ENV": sys.prefix}
    script = f'PATH="{sys.prefix}/bin:$PATH"; source "$SETUP" && command -v python'
    done = source("bash", script, **active)
    assert done.stdout == f"{sys.prefix}/bin/python\n", done.stderr
    assert "using the active environment" in done.stderr


def test_active_environment_without_the_packages_is_not_used(source: Source, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    active = {"HONEYGUIDE_VENV": "", "CONDA_PREFIX": str(tmp_path / "bare")}
    done = source("bash", f'PATH="{tmp_path}/bare/bin:$PATH"; source "$SETUP"', **active)
    assert f"not using the active environment {tmp_path}/bare: it lacks" in done.stderr
    assert "a checkout/.venv with uv" in done.stderr


def test_broken_task_is_named_and_a_changed_one_indexed(source: Source, checkout: Path) -> None:
    assert source("bash", 'source "$SETUP"').returncode == 0
    time.sleep(0.01)
    (checkout / "tasks" / "roc.py").write_text(STUB_TASK.replace("ROCCurveTask", "OtherTask"))
    done = source("bash", 'source "$SETUP" && cat "$LAW_HOME/index"')
    assert "tasks.roc:OtherTask:" in done.stdout
    (checkout / "tasks" / "roc.py").write_text("import no_such_module\n")
    done = source("bash", 'source "$SETUP"; echo "refused with $?"')
    assert done.stdout == "refused with 1\n"
    assert "No module named 'no_such_module'" in done.stderr


def test_other_shells_and_execution_are_refused(checkout: Path, shims: Path) -> None:
    script = str(checkout / "setup.sh")
    for command in (["sh", "-c", '. "$0"', script], ["bash", script]):
        if command[0] == "sh" and Path(shutil.which("sh") or "").resolve().name == "bash":
            continue
        done = subprocess.run(command, env=clean_environment(shims), capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "needs bash or zsh" in done.stderr or "sourced, not run" in done.stderr


def test_header_documents_every_variable() -> None:
    header, _, code = (ROOT / "setup.sh").read_text().partition("\n\n")
    used = set(re.findall(r"\b((?:HONEYGUIDE|LAW|UV|PIP)_[A-Z_]+)\b", code)) - {"LAW_CLI_SKIP_COMPLETION"}
    exported = set(re.findall(r"export ([A-Z_]+)", code))
    assert {"HONEYGUIDE_STORE", "LAW_HOME"} <= used
    assert {name for name in used | exported if name not in header} == set()


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_task_names(shell: str, checkout: Path, shims: Path) -> None:
    """In a real interactive shell on a terminal: `law run ROCC` and the tabulator key."""
    checkout = checkout.rename(checkout.with_name("checkout"))  # law's completion can't read paths with spaces
    arguments = [shell, "-f", "-i"] if shell == "zsh" else [shell, "--norc", "--noprofile", "-i"]
    environment = clean_environment(shims) | {"HONEYGUIDE_VENV": sys.prefix, "TERM": "dumb", "HOME": str(checkout)}
    # a process of its own forks for the terminal: this one may have threads by now
    spawn = [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])", *arguments]
    with subprocess.Popen(spawn, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None
        try:
            process.stdin.write(f'source "{checkout}/setup.sh"; echo ready-$?\n'.encode())
            assert "ready-0" in read_until(process, r"ready-\d\r")
            process.stdin.write(b"law run ROCC\t")
            assert "ROCCurveTask" in read_until(process, "ROCCurveTask")
            process.stdin.write(b" --conf\t")
            assert "--config" in read_until(process, "--config")
        finally:
            process.kill()


def read_until(process: subprocess.Popen[bytes], pattern: str) -> str:
    """Returns what the terminal shows, until the pattern or a long silence."""
    assert process.stdout is not None
    shown, chunk = "", b"any"
    while chunk and not re.search(pattern, shown) and select.select([process.stdout], [], [], 30)[0]:
        chunk = os.read(process.stdout.fileno(), 65536)
        shown += chunk.decode(errors="replace")
    return shown
