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


def program(ranks, *arguments):
    return subprocess.run([MPIRUN, "-n", str(ranks), PROGRAM, *map(str, arguments), "--communicator", "mpi"], capture_output=True, timeout=300,
                          check=False, env=ENVIRONMENT, text=True)


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
    one_line(differ, "ranks differ in the options", "rank 0 has train.seed: 1, rank 1 has train.seed: 2")
    alone = subprocess.run([PROGRAM, "run", str(long_recipe), "--communicator", "mpi"], capture_output=True, timeout=300, check=False, text=True,
                           env=dict(ENVIRONMENT, PMI_SIZE="4"))
    one_line(alone, "another MPI")
    assert "--communicator smoke" in subprocess.run([PROGRAM, "run", str(long_recipe), "--communicator", "smoke"], capture_output=True,
                                                    timeout=60, check=False, text=True).stderr


def test_ranks_that_do_not_know_of_each_other(long_recipe):
    done = subprocess.run([MPIRUN, "-n", "3", PROGRAM, "run", str(long_recipe)], capture_output=True, timeout=60, check=False, env=ENVIRONMENT,
                          text=True)
    one_line(done, "3 processes of it were started", "--communicator mpi", "--communicator none")
    assert not (long_recipe.parent / "out").exists()
    done = subprocess.run([MPIRUN, "-n", "2", PROGRAM, "options", "train.steps"], capture_output=True, timeout=60, check=False, env=ENVIRONMENT)
    assert done.returncode == 0  # it has no files
    wanted = subprocess.run([PROGRAM, "run", str(long_recipe), "--communicator", "none", "--quiet"], capture_output=True, timeout=60, check=False,
                            env=dict(ENVIRONMENT, OMPI_COMM_WORLD_SIZE="3", OMPI_COMM_WORLD_RANK="2"), text=True)
    assert wanted.returncode == 0, wanted.stderr


def test_messages_of_all(long_recipe):
    done = run(3, long_recipe, "--log-ranks", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["training"]["ranks"] == 3  # the result is told once
    for rank in range(3):
        assert "rank %d: 3 ranks share each window" % rank in done.stderr


def test_mpirun_passes_on_a_signal_at_once(long_recipe):
    more = ("--set", "train.steps=400", "--set", "train.log_every=1", "--quiet")
    process, out = start(2, long_recipe, *more), long_recipe.parent / "out"
    wait_for(lambda: steps(out) >= 5, process)
    process.send_signal(signal.SIGUSR1)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert list((out / "checkpoints").glob("step-*"))
    assert "To go on: mpirun -n 2 distill run" in said and "--communicator mpi --resume" in said


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


def test_evaluation_is_shared(long_recipe, model):
    folder = long_recipe.parent
    (folder / "held.jsonl").write_text("".join(json.dumps({"text": "the thing %d is in the inn and the man" % i}) + "\n" for i in range(60)))
    asked = ("eval", "--student", model, "--teacher", model, "--data", folder / "held.jsonl", "--set", "data.sequence_length=24", "--json")
    alone = json.loads(subprocess.run([PROGRAM, *map(str, asked)], capture_output=True, check=True, timeout=300).stdout)
    done = program(3, *asked)
    assert done.returncode == 0, done.stderr
    shared = json.loads(done.stdout)
    assert shared["tokens"] == alone["tokens"]
    for key in ("perplexity", "nats", "forward_kl_p99", "top1_agreement"):
        assert shared[key] == pytest.approx(alone[key], rel=1e-12, abs=1e-12)
    other = folder / "other.jsonl"
    other.write_text((folder / "held.jsonl").read_text().replace("man", "inn", 1))
    first = [MPIRUN, "-n", "1", PROGRAM, *map(str, asked), "--communicator", "mpi"]
    second = [str(other) if item == str(folder / "held.jsonl") else item for item in first[1:]]
    differ = subprocess.run(first + [":"] + second, capture_output=True, timeout=300, check=False, env=ENVIRONMENT, text=True)
    one_line(differ, "ranks differ in the held-out data")


def test_a_cache_is_filled_by_all(long_recipe):
    folder = long_recipe.parent
    alone = subprocess.run([PROGRAM, "cache", "build", str(long_recipe), "--cache", str(folder / "one.targets"), "--quiet"], capture_output=True,
                           check=False, timeout=300, text=True)
    assert alone.returncode == 0, alone.stderr
    for ranks in (2, 3):
        done = program(ranks, "cache", "build", long_recipe, "--cache", folder / "several.targets", "--quiet", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["rows"] > 100
        assert (folder / "several.targets").read_bytes() == (folder / "one.targets").read_bytes()
        (folder / "several.targets").unlink()


def test_a_run_fills_its_cache_first(long_recipe, distill):
    folder = long_recipe.parent
    outs = [("--quiet", "--set", "output.type=f32", "--set", "output.path=%s" % (folder / name)) for name in ("one", "several")]
    caches = [("--set", "teacher.cache.path=%s" % (folder / name)) for name in ("one.targets", "several.targets")]
    assert distill("run", long_recipe, *outs[0], *caches[0]).code == 0
    for ranks in (3, 2):  # made by three, read by two
        done = run(ranks, long_recipe, *outs[1], *caches[1], "--set", "output.overwrite=true")
        assert done.returncode == 0, done.stderr
        assert distance(folder / "several", folder / "one") <= 2e-6
    built = distill("cache", "build", long_recipe, "--cache", folder / "built.targets", "--quiet")
    assert built.code == 0, built.err
    assert (folder / "several.targets").read_bytes() == (folder / "built.targets").read_bytes()


def test_folders_that_are_not_shared(long_recipe, tmp_path):
    parts = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        parts += ["-n", "1", "-wdir", tmp_path / name, PROGRAM, "run", long_recipe, "--communicator", "mpi", "--set", "output.path=out", ":"]
    done = subprocess.run([MPIRUN, *map(str, parts[:-1])], capture_output=True, timeout=300, check=False, env=ENVIRONMENT, text=True)
    one_line(done, "output.path out is not the folder that rank 0 writes to", "share")


def test_mpi_is_missing(long_recipe, tmp_path):
    alone = tmp_path / "distill"  # the same program, which looks for a plug-in that is nowhere
    alone.write_bytes(pathlib.Path(PROGRAM).read_bytes().replace(b"libdistill_mpi.so", b"libdistill_not.so"))
    alone.chmod(0o755)
    done = subprocess.run([str(alone), "run", str(long_recipe), "--communicator", "mpi"], capture_output=True, timeout=60, check=False, text=True,
                          env=ENVIRONMENT)
    one_line(done, "--communicator mpi needs libdistill_not.so", "openmpi-bin")


def test_a_plan_is_of_all(long_recipe):
    done = program(2, "plan", long_recipe, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["ranks"] == 2 and plan["steps"] == 12 and plan["time"]["seconds"] > 0 and not (long_recipe.parent / "out").exists()
    done = program(2, "plan", long_recipe, "--json", "--quiet", "--set", "teacher.cache.path=%s" % (long_recipe.parent / "new.targets"))
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["cache"]["missing_rows"] > 100 and plan["cache"]["first_seconds"] > plan["cache"]["again_seconds"] > 0
    assert not (long_recipe.parent / "new.targets").exists()


AUGMENT = """
teacher: {path: %s}
augment:
  in: seeds.jsonl
  out: %s
  seed: 5
  steps: [{expand: continue, samples: 2, max_new_tokens: 12, temperature: 0.9}, {keep: length, min: 12}, {drop: duplicate},
          {score: likelihood}, {keep: quality}]
"""


def augmented(folder, model, name):
    (folder / "seeds.jsonl").write_text("".join(json.dumps({"text": "the thing %d is" % i}) + "\n" for i in range(50)))
    (folder / (name + ".yaml")).write_text(AUGMENT % (json.dumps(str(model)), name))
    return folder / (name + ".yaml")


def are_the_same(one, other, model):
    """By our own products two files have the same bytes. CBLAS sums by how many rows it is given, so numbers may differ a little."""
    if one.read_bytes() == other.read_bytes():
        return True
    said = subprocess.run([PROGRAM, "generate", str(model), "--prompt", "the", "--max-tokens", "1", "--precision", "bf16"], capture_output=True,
                          check=False, timeout=60, text=True).stderr

    def near(a, b):
        if isinstance(a, float) and isinstance(b, float):
            return a == pytest.approx(b, rel=1e-4, abs=1e-5)
        if isinstance(a, dict) and isinstance(b, dict):
            return list(a) == list(b) and all(near(a[key], b[key]) for key in a)
        if isinstance(a, list) and isinstance(b, list):
            return len(a) == len(b) and all(map(near, a, b))
        return a == b
    lines = [[json.loads(line) for line in path.read_text().splitlines()] for path in (one, other)]
    return "products are by cblas" in said and near(*lines)


def test_augmented_files_are_those_of_one_rank(tmp_path, model):
    recipe = augmented(tmp_path, model, "one.jsonl")
    alone = subprocess.run([PROGRAM, "augment", str(recipe), "--quiet"], capture_output=True, check=False, timeout=300, text=True)
    assert alone.returncode == 0, alone.stderr
    recipe = augmented(tmp_path, model, "several.jsonl")
    for ranks in (2, 3):
        done = program(ranks, "augment", recipe, "--quiet", "--json", "--overwrite")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["ended"] == "whole"
        assert are_the_same(tmp_path / "several.jsonl", tmp_path / "one.jsonl", model)
    # a budget's end, and more by another number of ranks
    recipe = augmented(tmp_path, model, "parts.jsonl")
    for ranks, tokens in ((2, 300), (3, 700), (1, 0)):
        done = program(ranks, "augment", recipe, "--quiet", "--resume", "--set", "augment.budget.tokens=%d" % tokens)
        assert done.returncode == 0, done.stderr
    assert are_the_same(tmp_path / "parts.jsonl", tmp_path / "one.jsonl", model)


@pytest.mark.parametrize("number, which", [(signal.SIGTERM, 0), (signal.SIGTERM, 1), (signal.SIGKILL, 0), (signal.SIGKILL, 1)])
def test_an_augmentation_that_is_stopped_or_killed(tmp_path, model, number, which):
    recipe = augmented(tmp_path, model, "one.jsonl")
    assert program(1, "augment", recipe, "--quiet").returncode == 0
    recipe = augmented(tmp_path, model, "stopped.jsonl")
    process = subprocess.Popen([MPIRUN, "-n", "2", PROGRAM, "augment", str(recipe), "--communicator", "mpi", "--quiet"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=ENVIRONMENT, text=True)
    wait_for(lambda: (tmp_path / "stopped.jsonl.partial").exists(), process)
    ranks = sorted(children(process))
    if len(ranks) == 2:
        os.kill(ranks[which], number)
    process.communicate(timeout=60)
    done = program(2, "augment", recipe, "--quiet", "--resume") if not (tmp_path / "stopped.jsonl").exists() else None
    assert done is None or done.returncode == 0, done.stderr
    assert are_the_same(tmp_path / "stopped.jsonl", tmp_path / "one.jsonl", model)
