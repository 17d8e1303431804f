#!/usr/bin/env python3
"""kill -9 of a random rank at random moments, then --resume on the newest checkpoint: the student is that of the run that nobody touched, bit for bit.
usage: tests/soak/kill_ranks.py [PROGRAM] [MOMENTS] [SEED]; PROGRAM is distill, with libdistill_mpi.so beside it. 77 = no MPI here.

A moment is drawn from all of the run: start, steps, evaluations, checkpoints, files of the end. Every job has a deadline, and a line says
what became of it; a run that is over before a rank is killed is made once more."""
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PROGRAM = os.path.realpath(sys.argv[1] if len(sys.argv) > 1 else "build/tests-gcc/distill")
MOMENTS = int(sys.argv[2]) if len(sys.argv) > 2 else 20
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 1
WHOLE, ENDS = 300, 60  # seconds: for a run, and for a job to end of which a rank was killed
TRIES = 5
TEACHER = pathlib.Path(__file__).resolve().parents[2] / "examples" / "quickstart" / "teacher"
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OPENBLAS_NUM_THREADS="1",
                   OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_btl_vader_single_copy_mechanism="none", OMPI_MCA_mpi_yield_when_idle="1")
RECIPE = """
teacher: {path: %s}
student: {from: teacher, layers: [0]}
data: {train: text.txt, sequence_length: 32, pack: true, eval_fraction: 0.05}
loss: forward_kl
train: {steps: 120, batch_size: 4, micro_batch_size: 1, learning_rate: 1.0e-3, log_every: 1, eval_every: 40, checkpoint_every: 7%s}
output: {type: f32}
"""


def start(ranks, recipe, out, log, *more):
    command = ["mpirun", "-n", str(ranks), PROGRAM, "run", str(recipe), "--communicator", "mpi", "--quiet", "--set", "output.path=%s" % out, *more]
    return subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def end(process, seconds):
    """Seconds that it took; None where it was over the deadline, and was ended. A time in which this script itself stood still, and so the
    machine did, is no part of it."""
    passed, last = 0.0, time.time()
    while process.poll() is None:
        time.sleep(0.05)
        now = time.time()
        passed, last = passed + min(now - last, 1), now
        if passed > seconds:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None
    return passed


def run(ranks, recipe, out, *more):
    """Seconds of a run that nobody kills; else what went wrong."""
    with tempfile.TemporaryFile("w+") as log:
        process = start(ranks, recipe, out, log, *more)
        seconds = end(process, WHOLE)
        if process.returncode == 0:
            return seconds, None
        log.seek(0)
        said = [line for line in log.read().splitlines() if line.startswith("distill")]
        return seconds, "no end within %d s" % WHOLE if seconds is None else said[0] if said else "code %d" % process.returncode


def ranks_of(process):
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=False, timeout=20).stdout
    return sorted(int(pid) for pid in listed.split())


def kill_one(draw, ranks, recipe, out, seconds):
    """Which rank was killed (None = the run was over), and in how many seconds the job ended (None = it did not)."""
    with tempfile.TemporaryFile("w+") as log:
        process = start(ranks, recipe, out, log)
        time.sleep(draw.uniform(0.05, 1.05) * seconds)
        found = ranks_of(process) if process.poll() is None else []
        victim = draw.randrange(len(found)) if found else None
        if victim is not None:
            try:
                os.kill(found[victim], signal.SIGKILL)
            except ProcessLookupError:
                victim = None
        return victim, end(process, ENDS)


def steps(out):
    path = out / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def go_on(ranks, recipe, out):
    begun = out.exists() and any((out / "checkpoints").glob("*"))
    return run(ranks, recipe, out, *(["--resume"] if begun else ["--set", "output.overwrite=true"]))[1]


def moment(draw, work, number, wholes):
    """Did it go as it should?"""
    ranks, shards = draw.choice([2, 2, 3]), draw.random() < 0.5
    recipe = work / ("shards.yaml" if shards else "recipe.yaml")
    recipe.write_text(RECIPE % (json.dumps(str(TEACHER)), ", shard_optimizer: true" if shards else ""))
    if (ranks, shards) not in wholes:
        whole = work / ("whole-%d-%d" % (ranks, shards))
        seconds, problem = run(ranks, recipe, whole)
        if problem:
            sys.exit("kill_ranks.py: a run that nobody touched: %s" % problem)
        wholes[ranks, shards] = ((whole / "model.safetensors").read_bytes(), seconds)
    expected, seconds = wholes[ranks, shards]
    out, victim = work / "killed", None
    for _ in range(TRIES):  # a run that is over too soon is no moment
        shutil.rmtree(out, ignore_errors=True)
        victim, ended = kill_one(draw, ranks, recipe, out, seconds)
        if victim is not None or ended is None:
            break
    reached, over = steps(out), (out / "result.json").exists()
    problem = "did not end within %d s" % ENDS if ended is None else None if over else go_on(ranks, recipe, out)
    student = out / "model.safetensors"
    if not problem and not (student.exists() and student.read_bytes() == expected):
        problem = "OTHER BITS"
    print("%2d: %d ranks%s, %s after %d lines of metrics, the job was over %s s later%s: %s"
          % (number, ranks, ", shards" if shards else "", "nobody killed" if victim is None else "rank %d killed" % victim, reached,
             "?" if ended is None else "%.1f" % ended, ", its run complete" if over else "", problem or "the same bits"), flush=True)
    return problem is None


def main():
    if not shutil.which("mpirun") or not os.path.exists(os.path.join(os.path.dirname(PROGRAM), "libdistill_mpi.so")):
        print("kill_ranks.py: no mpirun, or no libdistill_mpi.so beside %s" % PROGRAM, file=sys.stderr)
        return 77
    work, draw, wholes = pathlib.Path(tempfile.mkdtemp(prefix="kill-ranks-")), random.Random(SEED), {}
    try:
        (work / "text.txt").write_text("".join("the thing %d is in the inn and then the man went to number %d\n" % (i, i * 7919 % 4001)
                                               for i in range(800)))
        failures = sum(not moment(draw, work, number + 1, wholes) for number in range(MOMENTS))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print("%d moments, %d failures" % (MOMENTS, failures))
    return failures > 0


sys.exit(main())
