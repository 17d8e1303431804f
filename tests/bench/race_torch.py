"""The same step by PyTorch with whole logits, as its users write it, eager and, where it can, compiled: any torch from 1.13 on.
Usage: race_torch.py PRECISION BATCH SEQUENCE THREADS [eager]"""
import os
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

STEPS, VOCABULARY, TEMPERATURE = int(os.environ.get("RACE_STEPS", 6)), 32000, 2.0
precision, (batch, sequence, threads) = sys.argv[1], map(int, sys.argv[2:5])


class Norm(nn.Module):
    """torch.nn.RMSNorm, which old ones lack."""
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        y = x.float()
        return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype) * self.weight


def attend(q, k, v):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    mask = torch.full((q.shape[2], q.shape[2]), float("-inf")).triu(1)
    return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + mask).float().softmax(-1).to(v.dtype) @ v


class Block(nn.Module):
    def __init__(self, width, heads, kv_heads, inner):
        super().__init__()
        self.shape = heads, kv_heads, width // heads
        narrow = kv_heads * width // heads
        self.q, self.k, self.v = (nn.Linear(width, n, bias=False) for n in (width, narrow, narrow))
        self.o, self.down = nn.Linear(width, width, bias=False), nn.Linear(inner, width, bias=False)
        self.gate, self.up = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        norm = getattr(nn, "RMSNorm", Norm)
        self.before, self.between = norm(width, 1e-5), norm(width, 1e-5)

    def forward(self, x, cos, sin):
        heads, kv_heads, size = self.shape
        normed = self.before(x)
        q, k, v = (layer(normed).unflatten(-1, (count, size)).transpose(1, 2) for layer, count in ((self.q, heads), (self.k, kv_heads), (self.v, kv_heads)))
        q, k = ((y * cos + torch.cat((-y[..., size // 2:], y[..., :size // 2]), -1) * sin).to(v.dtype) for y in (q, k))
        x = x + self.o(attend(q, k, v).transpose(1, 2).flatten(-2))
        normed = self.between(x)
        return x + self.down(F.silu(self.gate(normed)) * self.up(normed))


class Model(nn.Module):
    def __init__(self, layers, width, heads, kv_heads, inner):
        super().__init__()
        self.embed, self.norm = nn.Embedding(VOCABULARY, width), getattr(nn, "RMSNorm", Norm)(width, 1e-5)
        self.blocks = nn.ModuleList(Block(width, heads, kv_heads, inner) for _ in range(layers))
        size = width // heads
        angles = torch.outer(torch.arange(sequence).float(), 1e4 ** (-torch.arange(0, size, 2) / size)).repeat(1, 2)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return F.linear(self.norm(x), self.embed.weight)


def measure(compiled):
    torch.manual_seed(0)
    teacher, student = Model(12, 768, 12, 4, 2048).eval(), Model(6, 384, 6, 2, 1024)
    if precision == "bf16":
        teacher = teacher.bfloat16()
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4)
    ask, learn = (torch.compile(teacher), torch.compile(student)) if compiled else (teacher, student)
    ids = torch.randint(0, VOCABULARY, (batch, sequence + 1))

    def step():
        with torch.no_grad():
            wanted = F.log_softmax(ask(ids[:, :-1]).float().flatten(0, 1) / TEMPERATURE, -1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            logits = learn(ids[:, :-1])
        logits = logits.float().flatten(0, 1)
        soft = F.kl_div(F.log_softmax(logits / TEMPERATURE, -1), wanted, reduction="batchmean", log_target=True)
        loss = 0.5 * TEMPERATURE ** 2 * soft + 0.5 * F.cross_entropy(logits, ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()

    for _ in range(2):
        step()
    times = []
    for _ in range(STEPS):
        start = time.perf_counter(), time.process_time()
        step()
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    release = "torch-" + torch.__version__.split("+")[0]
    print(release + "-compiled" if compiled else release, precision, *map(statistics.median, zip(*times)), flush=True)


torch.set_num_threads(threads)
measure(False)
try:
    if hasattr(torch, "compile") and "eager" not in sys.argv[5:]:
        measure(True)
except Exception as problem:  # no compiler here: the eager one stays
    print("race_torch.py: not compiled:", str(problem).splitlines()[0], file=sys.stderr)
