"""The median step, or evaluation, of ours as a line for race_table.py. Usage: race_ours.py MODELS PRECISION BATCH SEQUENCE THREADS [step|evaluation]"""
import os
import statistics
import sys
import time

import distill
import numpy

STEPS = int(os.environ.get("RACE_STEPS", 6))
models, precision = sys.argv[1:3]
batch, sequence, threads = map(int, sys.argv[3:6])
what = sys.argv[6] if len(sys.argv) > 6 else "step"
env = distill.Env(threads=threads)
ids = numpy.random.default_rng(0).integers(0, 32000, (batch * (STEPS + 1), sequence)).tolist()
settings = {"loss.type": "forward_kl", "loss.temperature": 2.0, "loss.hard_label_weight": 0.5, "train.steps": STEPS + 1, "train.batch_size": batch,
            "train.learning_rate": 1e-4, "train.schedule": "constant", "data.sequence_length": sequence, "train.precision": precision}
teacher, student = distill.Teacher(models + "/t", env=env), distill.Student(models + "/s", env=env)


def trained():
    data = distill.Dataset.from_tokens(ids, env=env, sequence_length=sequence)
    return distill.Trainer(settings=settings, teacher=teacher, student=student, train=data, env=env).step


def evaluated():
    data = distill.Dataset.from_tokens(ids[:batch], env=env, sequence_length=sequence)
    return lambda: distill.evaluate(student, data, teacher, eval_precision=precision)


run = {"step": trained, "evaluation": evaluated}[what]()
run()
times = []
for _ in range(STEPS):
    start = time.perf_counter(), time.process_time()
    run()
    times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
name, label = ("libdistill", precision) if what == "step" else ("libdistill" if precision == "bf16" else "libdistill-fp32", what)
print(name, label, *map(statistics.median, zip(*times)))
