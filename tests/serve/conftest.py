"""Runs `distill serve` of the program that DISTILL_PROGRAM names, on the quickstart's teacher."""
import os
import pathlib
import subprocess

import pytest
from client import Server

PROGRAM = os.environ.get("DISTILL_PROGRAM", "distill")
MODEL = pathlib.Path(__file__).resolve().parents[2] / "examples" / "quickstart" / "teacher"


def start(*arguments, model=MODEL, template="chatml", **environment):
    form = ["--chat-template", template] if template else []
    return Server([PROGRAM, "serve", str(model), "--port", "0"] + form + [str(item) for item in arguments], environment)


@pytest.fixture(scope="session", autouse=True)
def has_server():
    done = subprocess.run([PROGRAM, "serve", "nowhere"], capture_output=True, text=True, check=False)
    if "has no server" in done.stderr:
        pytest.skip("this build has no server: libmicrohttpd is not installed", allow_module_level=True)


@pytest.fixture(scope="session")
def server(has_server):
    with start("--name", "small", "--context", 256) as running:
        yield running


@pytest.fixture
def serve(has_server):
    """Starts servers of a test's own; they are stopped behind it."""
    running = []

    def begin(*arguments, **environment):
        running.append(start(*arguments, **environment))
        return running[-1]
    yield begin
    for one in running:
        one.stop()


@pytest.fixture(scope="session")
def distill():
    def run(*arguments, given=b""):
        return subprocess.run([PROGRAM] + [str(item) for item in arguments], input=given, capture_output=True, timeout=300, check=False)
    return run
