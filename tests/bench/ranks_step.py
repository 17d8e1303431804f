"""One rank of tests/bench/ranks.sh: training steps of 4 x 256 random tokens, teacher and student of the shapes of shared/bench with
random weights; rank 0 prints medians. usage: ranks_step.py FOLDER THREADS STEPS [KEY=VALUE...]; FOLDER has the models; 0 0 makes them."""
import json
import os
import random
import statistics
import sys
import time

import distill

FOLDER, THREADS, STEPS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
BATCH, LENGTH, VOCAB = 4, 256, 32000
SHAPES = {"teacher": (12, 768, 12, 4, 2048), "student": (6, 384, 6, 2, 1024)}


def write_config(name):
    layers, width, heads, groups, inner = SHAPES[name]
    path = os.path.join(FOLDER, name + ".json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCAB, "hidden_size": width, "intermediate_size": inner,
                   "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": groups, "max_position_embeddings": 8192,
                   "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": True}, file)
    return path


def make_models():
    env = distill.Env()
    for name in SHAPES:
        distill.Student.fresh(write_config(name), env=env).save(os.path.join(FOLDER, name))


def main():
    settings = {"loss.type": "forward_kl", "loss.temperature": 2.0, "loss.hard_label_weight": 0.5, "train.steps": STEPS + 2,
                "train.batch_size": BATCH, "train.learning_rate": 1e-4, "train.schedule": "constant", "data.sequence_length": LENGTH}
    for key, value in (item.split("=") for item in sys.argv[4:]):
        settings[key] = json.loads(value) if value[:1] in "0123456789[" or value in ("true", "false") else value
    env = distill.Env(threads=THREADS)
    ranks = int(os.environ.get("OMPI_COMM_WORLD_SIZE", "1"))
    if ranks > 1:
        env.set_communicator(distill.mpi_communicator())
    teacher, student = (kind(os.path.join(FOLDER, name), env=env) for kind, name in ((distill.Teacher, "teacher"), (distill.Student, "student")))
    draw = random.Random(0)
    data = distill.Dataset.from_tokens([[draw.randrange(VOCAB) for _ in range(LENGTH)] for _ in range(BATCH * (STEPS + 2))], env=env,
                                       sequence_length=LENGTH)
    trainer = distill.Trainer(settings=settings, teacher=teacher, student=student, train=data, env=env)
    seconds = []
    for _ in range(STEPS + 1):
        begin = time.perf_counter()
        progress = trainer.step()
        seconds.append(time.perf_counter() - begin)
    training = trainer.report().to_dict()["training"]  # a call of all ranks
    if int(os.environ.get("OMPI_COMM_WORLD_RANK", "0")) == 0:
        sent = training.get("sent_bytes", 0) / (STEPS + 1)
        print(json.dumps({"seconds": statistics.median(seconds[1:]), "sent": sent, "loss": progress.loss,
                          "gradients": 4 * student.trainable_parameters}))


if THREADS == 0:
    make_models()
else:
    main()
