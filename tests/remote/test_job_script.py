"""``tasks/bootstrap.sh``, which is the job, with a bare environment: what it finds, unpacks, says and leaves behind."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from law.job.base import BaseJobFileFactory

from tests.law_command import ROOT

SCRIPT = ROOT / "tasks" / "bootstrap.sh"
COUNTED = ("tests.remote.counted", "CountedTask", "--local-scheduler True")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    store = tmp_path / "store"
    store.mkdir()
    return store


def job(
    tmp_path: Path,
    *,
    task: tuple[str, str, str] = COUNTED,
    branches: str = "0",
    environment: dict[str, str] | None = None,
    **values: str,
) -> str:
    """What a job says; ``values`` are filled in in the script."""
    filled = {
        "honeyguide_root": str(ROOT), "honeyguide_venv": sys.prefix, "honeyguide_store": str(tmp_path / "store"),
        "honeyguide_data": str(tmp_path), "honeyguide_cpus": "1", **values,
    }  # fmt: skip
    script = tmp_path / "job.sh"
    BaseJobFileFactory.render_file(str(SCRIPT), str(script), filled)
    bare = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path / "tmp"), **(environment or {})}
    (tmp_path / "tmp").mkdir(exist_ok=True)
    parameters, numbers = (base64.b64encode(text.encode()).decode() for text in (task[2], branches))
    process = subprocess.run(
        ["bash", script, task[0], task[1], parameters, numbers, "1", "no", "LQ=="],
        env=bare, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert process.stderr == ""
    assert not list((tmp_path / "tmp").iterdir()), "the job has left something behind"
    said = process.stdout
    assert said.splitlines()[-1].endswith(f"ends with status {process.returncode}")
    return said


def numbers(store: Path) -> list[str]:
    return sorted(path.read_text() for path in store.glob("CountedTask/*/*/*/number.txt"))


def test_all_branches_of_a_job_run_in_one_process(tmp_path, store):
    job(tmp_path, branches="0 2 3")
    assert numbers(store) == ["0", "2", "3"]
    pids = {path.read_text() for path in (store / "executions").iterdir()}
    assert len(pids) == 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"honeyguide_root": "/nowhere"}, "the checkout /nowhere is not seen from"),
        ({"honeyguide_venv": "/nowhere"}, "the environment /nowhere is not seen from"),
        ({"honeyguide_store": "/nowhere"}, "the store /nowhere is not seen from"),
        ({"honeyguide_bundle": "/nowhere/repository-0.tar.gz"}, "what was shipped is not there"),
    ],
)
def test_a_job_says_what_its_node_does_not_see(tmp_path, store, value, said):
    assert said in job(tmp_path, **value)
    assert numbers(store) == []


def test_a_job_sources_its_site_first(tmp_path, store):
    """The environment may come from there: a module, cvmfs."""
    checkout = tmp_path / "checkout"
    (checkout / "configs" / "sites").mkdir(parents=True)
    (checkout / "law.cfg").touch()
    (checkout / "configs" / "sites" / "mine.sh").write_text("echo the site of $USER; false\n")
    said = job(tmp_path, honeyguide_root=str(checkout), honeyguide_site="mine")
    assert "the site of " in said
    assert "configs/sites/mine.sh failed" in said


def test_a_job_enters_its_container_with_its_folders(tmp_path, store):
    """A stand-in for apptainer, as it can't be had everywhere: it shows what it was given and starts it."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "apptainer").write_text(
        '#!/bin/bash\necho "apptainer $*"\nwhile [ "$1" != bash ]; do shift; done\nexec "$@"\n'
    )
    (tools / "apptainer").chmod(0o755)
    path = {"PATH": f"{tools}:/usr/bin:/bin"}
    image = {"honeyguide_container": "/images/hg.sif", "honeyguide_container_options": "--nv"}
    said = job(tmp_path, environment=path, **image)
    entered = next(line for line in said.splitlines() if line.startswith("apptainer "))
    assert entered.startswith("apptainer exec --nv ")
    for folder in (ROOT, sys.prefix, store, tmp_path):
        assert f"--bind {folder} " in entered
    assert " /images/hg.sif bash " in entered
    assert numbers(store) == ["0"]
    if shutil.which("apptainer", path="/usr/local/bin:/usr/bin:/bin") is None:
        assert "there is no apptainer on" in job(tmp_path, **image)


@pytest.fixture
def small_environment(tmp_path: Path) -> Path:
    """A virtual environment of its own with little in it: the packages are found where they are."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (site,) = environment.glob("lib/python3*/site-packages")
    (real,) = {path for path in sys.path if path.endswith("site-packages") and Path(path, "law").is_dir()}
    (site / "real.pth").write_text(f"{real}\n")
    (environment / "share").mkdir()
    (environment / "share" / "data.txt").write_text("of a package")
    return environment


def test_shipped_checkout_and_environment_are_all_that_a_job_needs(tmp_path, store, small_environment):
    code = (
        "from pathlib import Path; from tasks.shipping import ship; import sys\n"
        "print(*ship('environment', Path(sys.argv[1])))"
    )
    command = [small_environment / "bin" / "python", "-c", code, tmp_path / "shipped"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "LAW_HOME": str(tmp_path / "law")}
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    again = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    assert again == found
    shipped = [Path(path) for path in found.split()]
    assert len(list((tmp_path / "shipped").iterdir())) == len(shipped) == 2
    # HTCondor brings them into the folder where the job starts
    for path in shipped:
        path.rename(tmp_path / path.name)
    values = {"honeyguide_root": "/nowhere", "honeyguide_venv": "/nowhere", "honeyguide_bundle": found}
    python = Path(sys.executable).resolve()
    cache = tmp_path / "node"
    given = {"HONEYGUIDE_PYTHON": str(python), "HONEYGUIDE_NODE_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    task = ("tasks.generate", "GenerateEventsTask", "--config quickstart --print-status 0")
    said = job(tmp_path, task=task, environment=given, **values)
    assert "ends with status 0" in said
    assert "> GenerateEventsTask(" in said
    (made,) = cache.glob("venv-*/share/data.txt")
    assert made.read_text() == "of a package"
