"""A whole run asks nothing of the network: every attempt is an error, and none is made."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import SAMPLE, environment, iac_seg

BLOCKED = """
import os
import sys

def refuse(event, arguments):
    # AF_UNIX alone stays on this machine
    if event.startswith("socket.") and (event != "socket.__new__" or arguments[1] != 1):
        os.write(2, f"NETWORK: {event} {arguments[1:]}\\n".encode())
        raise SystemExit("no network here")

sys.addaudithook(refuse)
sys.modules["requests"] = None
"""
"""`requests` is none of our dependencies. Where something else (Ray) has brought it, pydicom
imports it, and it binds a socket to ::1 to see whether there is IPv6. An attempt is written down at
once: in a thread or a forked process the error ends only that."""

RUN = "from iac_cli.cli.exits import main\nsys.exit(main())\n"


def run_blocked(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python code in an interpreter whose sockets are refused."""
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')",
        "import socket; socket.getaddrinfo('localhost', 80)",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    ],
)
def test_the_block_notices_an_attempt(code: str) -> None:
    run = run_blocked(code)
    assert run.returncode != 0
    assert "NETWORK" in run.stderr


def test_the_block_notices_an_attempt_of_a_thread() -> None:
    code = "import socket, threading; threading.Thread(target=socket.socket).start()"
    assert "NETWORK" in run_blocked(code).stderr


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_whole_run_opens_no_socket(tmp_path: Path, backend: str) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    run = run_blocked(RUN, "segment", SAMPLE, "-o", tmp_path / "out", "--backend", backend)
    assert run.returncode == 0, run.stderr
    assert "NETWORK" not in run.stderr
    assert (tmp_path / "out" / "result.json").is_file()


def test_doctor_opens_no_socket() -> None:
    run = run_blocked(RUN, "doctor")
    assert "NETWORK" not in run.stderr


def test_a_whole_run_works_where_there_is_no_network(tmp_path: Path) -> None:
    """In a network namespace of its own, where this user may make one."""
    try_it = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    prefix = ["unshare", "--net"] if try_it.returncode == 0 else []
    script = [*prefix, str(Path(sys.executable).parent / "iac-seg")]
    run = subprocess.run(
        [*script, "segment", str(SAMPLE), "-o", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_help_needs_no_home_and_no_network(tmp_path: Path) -> None:
    run = iac_seg("--help", cwd=tmp_path, HOME="/nonexistent")
    assert run.returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_no_dependency_keeps_or_queues_telemetry(tmp_path: Path, backend: str) -> None:
    """onnxruntime's Linux builds queue events under HOME and TMPDIR unless they are told not to;
    openvino keeps an id under HOME, but not where it believes to be in CI."""
    if backend == "openvino":
        pytest.importorskip("openvino")
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    home.mkdir()
    scratch.mkdir()
    done = iac_seg(
        *("segment", SAMPLE, "-o", tmp_path / "out", "-q", "--backend", backend),
        HOME=str(home),
        TMPDIR=str(scratch),
        CI="",
    )
    assert done.returncode == 0, done.stderr
    assert not list(home.rglob("*")) and not list(scratch.rglob("*"))
