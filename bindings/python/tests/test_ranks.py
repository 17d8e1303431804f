"""Ranks whose bytes Python carries: threads of this process with an env each; and MPI's, by the plug-in."""
import os
import pathlib
import shutil
import subprocess
import sys
import threading

import pytest

import distill

EXAMPLE = pathlib.Path(__file__).resolve().parents[3] / "examples" / "python" / "torch_ranks.py"


class Ranks:
    """Where threads meet: each brings bytes, and takes those of all."""

    def __init__(self, size):
        self.size, self.gate, self.slots = size, threading.Barrier(size, timeout=60), [None] * size


class Rank:
    def __init__(self, ranks, rank):
        self.ranks, self.rank, self.size = ranks, rank, ranks.size

    def _meet(self, mine):
        self.ranks.slots[self.rank] = bytes(mine)
        self.ranks.gate.wait()
        found = list(self.ranks.slots)
        self.ranks.gate.wait()
        return found

    def all_to_all(self, given, out):
        each = len(given) // self.size
        out[:] = b"".join(one[self.rank * each:(self.rank + 1) * each] for one in self._meet(given))

    def all_gather(self, given, out):
        out[:] = b"".join(self._meet(given))

    def broadcast(self, data, root):
        data[:] = self._meet(data)[root]

    def barrier(self):
        self._meet(b"")


def run_in_threads(size, work):
    results, threads = [None] * size, []
    for rank in range(size):
        def begin(rank=rank):
            try:
                results[rank] = work(rank)
            except Exception as error:  # shown by the test's own thread
                results[rank] = error
        threads.append(threading.Thread(target=begin))
        threads[-1].start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def test_threads_are_as_good_as_one(recipe, tmp_path):
    numpy = pytest.importorskip("numpy")

    def train(communicator, out):
        env = distill.Env(threads=1)
        env.set_communicator(communicator)
        settings = dict(recipe, output=str(out), train=dict(recipe["train"], batch_size=4))
        trainer = distill.Trainer(settings, env=env)
        trainer.run()
        student = trainer.student()
        return {name: numpy.array(student.parameter(name)) for name in student.parameter_names()}

    one = train(None, tmp_path / "one")
    ranks = Ranks(3)
    several = run_in_threads(3, lambda rank: train(Rank(ranks, rank), tmp_path / "three"))
    for name, value in one.items():
        assert numpy.allclose(several[0][name], value, atol=2e-6)
        assert (several[0][name] == several[2][name]).all()


def test_what_a_communicator_raises_comes_back(env):
    class Broken(Rank):
        def all_gather(self, given, out):
            raise ValueError("the cable is out")

    own = distill.Env(threads=1)
    own.set_communicator(Broken(Ranks(2), 0))
    with pytest.raises(ValueError, match="the cable is out"):
        distill.Trainer({"data": {"train": "nowhere.jsonl"}}, env=own)


@pytest.mark.skipif(not EXAMPLE.exists(), reason="the examples are not in this tree")
def test_torch_distributed(recipe, tmp_path):
    torch = pytest.importorskip("torch")
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("torch was built without Gloo")
    numpy = pytest.importorskip("numpy")
    students = []
    for name, ranks in (("one", 1), ("two", 2)):
        settings = dict(recipe, output={"path": str(tmp_path / name), "type": "f32"}, train=dict(recipe["train"], batch_size=4))
        (tmp_path / "recipe.yaml").write_text(distill.Options(settings).to_yaml())
        done = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), str(EXAMPLE),
                               str(tmp_path / "recipe.yaml")], capture_output=True, timeout=300, check=False, text=True,
                              env=dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(distill.__file__))))
        assert done.returncode == 0, done.stderr
        students.append(distill.Student(str(tmp_path / name)))
    for name in students[0].parameter_names():
        assert numpy.allclose(students[0].parameter(name), students[1].parameter(name), atol=2e-6)


PLUGIN = pathlib.Path(os.path.realpath(distill.lib._name)).parent / "libdistill_mpi.so"


@pytest.mark.skipif(not shutil.which("mpirun"), reason="mpirun is not installed (openmpi-bin)")
@pytest.mark.skipif(not PLUGIN.exists(), reason="libdistill_mpi was not built: MPI was not found (libopenmpi-dev)")
@pytest.mark.parametrize("handle", ["None", "MPI.COMM_WORLD"])
def test_mpi(recipe, tmp_path, handle):
    if handle != "None":
        pytest.importorskip("mpi4py")
    program = tmp_path / "rank.py"
    program.write_text("%s\nimport distill\nenv = distill.Env(threads=1)\nenv.set_communicator(distill.mpi_communicator(%s))\n"
                       "distill.Trainer(%r, env=env).run()\n" % ("" if handle == "None" else "from mpi4py import MPI", handle,
                                                                 dict(recipe, output=str(tmp_path / "shared"))))
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1",
                       OMPI_MCA_btl_vader_single_copy_mechanism="none", OPENBLAS_NUM_THREADS="1")
    done = subprocess.run(["mpirun", "-n", "2", sys.executable, str(program)], env=environment, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "shared" / "result.json").exists()


THREADS = """
import ctypes, sys, threading
import distill
mpi = ctypes.CDLL(%r, mode=ctypes.RTLD_GLOBAL)
level = ctypes.c_int()
mpi.MPI_Init_thread(None, None, int(sys.argv[1]), ctypes.byref(level))
def ask():
    try:
        distill.mpi_communicator()
        print("taken")
    except distill.DistillError as error:
        print(error)
if sys.argv[2] == "main":
    ask()
else:
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
mpi.MPI_Finalize()
"""


@pytest.mark.skipif(not shutil.which("mpirun"), reason="mpirun is not installed (openmpi-bin)")
@pytest.mark.skipif(not PLUGIN.exists(), reason="libdistill_mpi was not built: MPI was not found (libopenmpi-dev)")
@pytest.mark.parametrize("level, thread, said", [(0, "main", "MPI grants thread level 0"), (1, "main", "taken"), (2, "other", "taken"),
                                                 (1, "other", "MPI grants thread level 1, and calls come from threads")])
def test_thread_levels_of_mpi(tmp_path, level, thread, said):
    program = tmp_path / "level.py"
    program.write_text(THREADS % str(PLUGIN))
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    done = subprocess.run(["mpirun", "-n", "1", sys.executable, str(program), str(level), thread], env=environment, capture_output=True, timeout=60,
                          check=False, text=True)
    assert said in done.stdout, done.stderr
