"""What is said about tasks that run and have run: luigi's web page, messages at the end."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.law_command import Law
from tests.remote.test_stand_ins import COUNTED, Batch, batch, wait_for  # noqa: F401 (a fixture)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def ask(port: int, what: str, **data: str) -> Any:
    query = urllib.parse.urlencode({"data": json.dumps(data)})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{what}?{query}", timeout=10) as answer:
        return json.load(answer)["response"]


@pytest.mark.parametrize("batch", ["slurm"], indirect=True)
def test_the_page_of_luigi_shows_how_many_jobs_run_and_are_done(batch, tmp_path):  # noqa: F811
    port = free_port()
    luigid = [Path(sys.executable).with_name("luigid"), "--address", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "luigid.txt").open("w") as said:
        server = subprocess.Popen([*luigid, "--state-path", tmp_path / "state"], stdout=said, stderr=said, cwd=tmp_path)
    try:
        wait_for(lambda: is_open(port))
        with batch.closed_gate():
            law = batch.started(
                "--branches-wanted", "2", "--tasks-per-job", "2", "--gate", "--local-scheduler", "False",
                "--scheduler-host", "127.0.0.1", "--scheduler-port", str(port),
            )  # fmt: skip
            wait_for(lambda: batch.executions())
            ((name, task),) = ask(port, "task_list", status="RUNNING", upstream_status="").items()
            assert task["display_name"].startswith("CountedTask(")
            wait_for(lambda: "running: 1" in ask(port, "get_task_status_message", task_id=name)["statusMessage"])
        text, _ = law.communicate(timeout=60)
        assert law.returncode == 0, text
        assert list(ask(port, "task_list", status="DONE", upstream_status="")) == [name]
        said = ask(port, "get_task_status_message", task_id=name)["statusMessage"]
        assert "CountedTask: 2 done" in said
        assert ask(port, "get_task_progress_percentage", task_id=name)["progressPercentage"] == 100
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def mattermost() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server for Mattermost's hooks and what it was sent."""
    messages: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", messages
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def mail() -> Iterator[tuple[int, list[str]]]:
    """A server for mail and what it was sent."""
    messages: list[str] = []

    def serve() -> None:
        connection, _ = server.accept()
        with connection, connection.makefile("rw", newline="\r\n") as file:

            def say(text: str) -> None:
                file.write(text + "\n")
                file.flush()

            say("220 here")
            for line in file:
                if line.upper().startswith("DATA"):
                    say("354 go on")
                    messages.append("".join(iter(file.readline, ".\r\n")))
                say("250 good")

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1], messages


def test_a_workflow_says_that_it_has_ended_and_one_upstream_that_it_has_failed(tmp_path):
    with mattermost() as (hook, posts), mail() as (port, mails):
        law = Law(
            tmp_path,
            {
                "LAW__notifications__mattermost_hook_url": hook,
                "LAW__notifications__mail_recipient": "me@here.org",
                "LAW__notifications__mail_sender": "law@here.org",
                "LAW__notifications__mail_smtp_host": "127.0.0.1",
                "LAW__notifications__mail_smtp_port": str(port),
            },
        )
        following = ("tests.remote.counted.FollowingTask", "--branches-wanted", "2", "--notify-mattermost")
        assert law(*following).returncode == 0
        (post,) = posts
        assert "FollowingTask(" in post["text"]
        assert "success" in post["text"]
        usage = law(*following, "--print-usage", "-1").text
        assert "FollowingTask: 2 done" in usage
        assert "CountedTask: 2 done" in usage
        assert len(posts) == 1, "nothing ran"
        failed = law(*following, "--notify-mail", "--fails", "0:always,1:always")
        assert failed.returncode != 0
        (message,) = mails
        assert "Subject: Task CountedTask failed!" in message
        assert re.search("RuntimeError: branch [01] fails always", message)


def test_a_message_that_can_not_be_sent_fails_nothing(tmp_path):
    law = Law(
        tmp_path,
        {"LAW__notifications__mail_recipient": "me@here.org", "LAW__notifications__mail_sender": "law@127.0.0.1",
         "LAW__notifications__mail_smtp_port": str(free_port())},
    )  # fmt: skip
    outcome = law(COUNTED, "--branches-wanted", "1", "--notify-mail", "--notify-slack", "--notify-mattermost")
    assert outcome.returncode == 0, outcome.text
    assert "cannot create SMTP server 127.0.0.1" in outcome.text
    assert "cannot send mattermost notification" in outcome.text.lower()
    assert "slackclient" in outcome.text
