"""The step of race_torch.py by transformers with sdpa, and an evaluation: both models' forward passes and KL(teacher||student).
Usage: race_transformers.py MODELS PRECISION BATCH SEQUENCE THREADS step|evaluation"""
import os
import statistics
import sys
import time

import torch
from torch.nn import functional as F
from transformers import LlamaForCausalLM

STEPS, TEMPERATURE = int(os.environ.get("RACE_STEPS", 6)), 2.0
models, precision = sys.argv[1:3]
batch, sequence, threads = map(int, sys.argv[3:6])
what = sys.argv[6]
torch.set_num_threads(threads)
torch.manual_seed(0)
low = torch.bfloat16 if precision == "bf16" else torch.float32
teacher = LlamaForCausalLM.from_pretrained(models + "/t", attn_implementation="sdpa", dtype=low).eval()
student = LlamaForCausalLM.from_pretrained(models + "/s", attn_implementation="sdpa", dtype=low if what == "evaluation" else torch.float32)
optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4)
ids = torch.randint(0, teacher.config.vocab_size, (batch, sequence + 1))


def logits(model):
    return model(input_ids=ids[:, :-1], use_cache=False).logits.float().flatten(0, 1)


def step():
    with torch.no_grad():
        wanted = F.log_softmax(logits(teacher) / TEMPERATURE, -1)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        given = logits(student)
    soft = F.kl_div(F.log_softmax(given / TEMPERATURE, -1), wanted, reduction="batchmean", log_target=True)
    loss = 0.5 * TEMPERATURE ** 2 * soft + 0.5 * F.cross_entropy(given, ids[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
    optimizer.step()


@torch.no_grad()
def evaluation():
    wanted, given = logits(teacher), logits(student)
    own, other = F.log_softmax(given, -1), F.log_softmax(wanted, -1)
    return (F.kl_div(own, other, reduction="batchmean", log_target=True).item(), F.nll_loss(own, ids[:, 1:].flatten()).item(),
            F.nll_loss(other, ids[:, 1:].flatten()).item(), (given.argmax(-1) == wanted.argmax(-1)).float().mean().item())


run = {"step": step, "evaluation": evaluation}[what]
run()
times = []
for _ in range(STEPS):
    start = time.perf_counter(), time.process_time()
    run()
    times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
name, label = ("transformers", precision) if what == "step" else ("transformers-" + precision, what)
print(name, label, *map(statistics.median, zip(*times)))
