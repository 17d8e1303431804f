"""A program built without parts that it can do without: it says which one is missing, and how to get it."""
import pathlib

import pytest
from conftest import PROGRAM


def test_without_a_server(distill):
    done = distill("serve", "nowhere")
    if "has no server" not in done.err:
        pytest.skip("this build has a server")
    assert done.code == 1 and "libmicrohttpd" in done.err and "DISTILL_WITH_SERVER" in done.err and done.err.count("\n") == 1
    assert distill("serve", "--help").code == 0
    assert distill("serve").code == 1


def test_without_mpi(distill, recipe):
    if (pathlib.Path(PROGRAM).resolve().parent / "libdistill_mpi.so").exists():
        pytest.skip("this build has libdistill_mpi")
    done = distill("run", recipe, "--communicator", "mpi")
    assert done.code == 1 and "libdistill_mpi.so" in done.err and "libopenmpi-dev" in done.err
    assert distill("run", recipe, "--quiet").code == 0
