"""Several ranks under mpirun: the weights of one rank, one voice, and what happens when a rank is stopped or killed."""
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import time

import pytest

PROGRAM = os.environ.get("DISTILL_PROGRAM", "distill")
PLUGIN = pathlib.Path(PROGRAM).resolve().parent / "libdistill_mpi.so"
MPIRUN = shutil.which("mpirun")

pytestmark = [pytest.mark.skipif(not MPIRUN, reason="mpirun is not installed (openmpi-bin)"),
              pytest.mark.skipif(not PLUGIN.exists(), reason="libdistill_mpi was not built: MPI was not found (libopenmpi-dev)")]

ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OPENBLAS_NUM_THREADS="1",
                   OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_btl_vader_single_copy_mechanism="none", OMPI_MCA_mpi_yield_when_idle="1",
                   # what Open MPI keeps at the end is not ours, and its parts are unloaded by then, so no suppression can name them
                   ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")


def command(ranks, recipe, *more):
    return [MPIRUN, "-n", str(ranks), PROGRAM, "run", str(recipe), "--communicator", "mpi", *map(str, more)]


def run(ranks, recipe, *more):
    done = subprocess.run(command(ranks, recipe, *more), capture_output=True, timeout=300, check=False, env=ENVIRONMENT, text=True)
    return done


def weights(folder):
    data = (folder / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    tensors = json.loads(data[8:8 + size])
    found = {}
    for name, tensor in tensors.items():
        if name != "__metadata__":
            begin, end = tensor["data_offsets"]
            found[name] = struct.unpack("<%df" % ((end - begin) // 4), data[8 + size + begin:8 + size + end])
    return found


def distance(a, b):
    a, b = weights(a), weights(b)
    assert a.keys() == b.keys()
    off = sum((x - y) ** 2 for name in a for x, y in zip(a[name], b[name]))
    return (off / sum(y * y for name in b for y in b[name])) ** 0.5


@pytest.fixture
def long_recipe(recipe):
    text = recipe.read_text().replace("steps: 6, batch_size: 2", "steps: 12, batch_size: 4, checkpoint_every: 3")
    recipe.write_text(text + "\n")
    return recipe


def one_line(done, *parts):
    lines = [line for line in done.stderr.splitlines() if "distill" in line and not line.startswith("[")]
    found = [line for line in lines if all(part in line for part in parts)]
    assert done.returncode != 0 and len(found) == 1, done.stderr


def test_ranks_are_as_good_as_one(long_recipe, distill):
    folder = long_recipe.parent
    alone = distill("run", long_recipe, "--quiet", "--set", "output.path=%s" % (folder / "one"), "--set", "output.type=f32")
    assert alone.code == 0, alone.err
    for ranks, more in ((1, ()), (2, ()), (3, ("--set", "train.shard_optimizer=true")), (4, ())):
        out = folder / ("by%d" % ranks)
        done = run(ranks, long_recipe, "--json", "--quiet", "--set", "output.path=%s" % out, "--set", "output.type=f32", *more)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)  # rank 0 alone speaks
        assert result["training"].get("ranks", 1) == ranks
        assert distance(out, folder / "one") <= 2e-6
        assert len((out / "metrics.jsonl").read_text().splitlines()) == len((folder / "one" / "metrics.jsonl").read_text().splitlines())


def test_one_line_says_what_is_wrong(long_recipe, tmp_path):
    one_line(run(3, long_recipe, "--set", "train.batch_size=2"), "train.batch_size 2 is below the 3 ranks")
    one_line(run(2, long_recipe, "--set", "train.no=2"), "train.no")
    other = tmp_path / "other.yaml"
    other.write_text(long_recipe.read_text().replace("seed: 1", "seed: 2"))
    apart = command(1, long_recipe)[:3]
    differ = subprocess.run(apart + command(1, long_recipe)[3:] + [":", "-n", "1"] + command(1, other)[3:], capture_output=True, timeout=300,
                            check=False, env=ENVIRONMENT, text=True)
    one_line(differ, "ranks differ in the options")
    alone = subprocess.run([PROGRAM, "run", str(long_recipe), "--communicator", "mpi"], capture_output=True, timeout=300, check=False, text=True,
                           env=dict(ENVIRONMENT, PMI_SIZE="4"))
    one_line(alone, "another MPI")
    assert "--communicator smoke" in subprocess.run([PROGRAM, "run", str(long_recipe), "--communicator", "smoke"], capture_output=True,
                                                    timeout=60, check=False, text=True).stderr


def children(process):
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=False).stdout
    return [int(pid) for pid in listed.split()]


def start(ranks, recipe, *more):
    process = subprocess.Popen(command(ranks, recipe, *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True)
    return process


def wait_for(condition, process):
    for _ in range(6000):
        if condition() or process.poll() is not None:
            return
        time.sleep(0.01)


def steps(out):
    path = out / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_rank_that_is_stopped_or_killed(long_recipe, number):
    folder, more = long_recipe.parent, ("--set", "train.steps=200", "--set", "train.log_every=1", "--set", "output.type=f32")
    assert run(2, long_recipe, *more, "--set", "output.path=%s" % (folder / "whole")).returncode == 0
    out = ("--set", "output.path=%s" % (folder / "stopped"))
    process = start(2, long_recipe, *more, *out)
    wait_for(lambda: steps(folder / "stopped") >= random.Random(int(number)).randint(5, 60), process)
    ranks = children(process)
    assert len(ranks) == 2
    os.kill(random.choice(ranks), number)
    process.communicate(timeout=60)  # a deadline: nobody waits for ever
    assert process.returncode != 0
    assert not (folder / "stopped" / "result.json").exists()
    done = run(2, long_recipe, *more, *out, "--resume")
    assert done.returncode == 0, done.stderr
    assert (folder / "stopped" / "model.safetensors").read_bytes() == (folder / "whole" / "model.safetensors").read_bytes()
