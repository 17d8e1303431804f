"""Writes tests/src/loss/preset_goldens.h: what TRL, DistillKit, ms-swift and verl make of some rows, value and gradient.

TRL's numbers are TRL's own (trl 1.16, torch 2.13); the other three are written out here, step by step as those tools compute
them, in float32 and by torch's autograd. Usage: make_presets.py > tests/src/loss/preset_goldens.h"""
import os

import torch

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
from trl.experimental.gkd import GKDTrainer  # noqa: E402

ROWS, VOCAB, K = 6, 7, 3
LABELS = torch.tensor([2, -100, 0, 6, -100, 3])  # of each row, aligned with it


def numbers(seed, scale):
    made = torch.Generator().manual_seed(seed)
    return torch.round(torch.randn(ROWS, VOCAB, generator=made) * scale * 64) / 64  # exact as text


def rows():
    student, teacher = numbers(1, 1.5), numbers(2, 1.5)
    student[2] = teacher[2]
    student[2, teacher[2].topk(K).indices] += 1.5  # surer of the ids than its teacher: a truncated sum below 0
    student[5, teacher[5].argmax()] += 60          # nothing is left outside of the ids that float32 could tell from 1
    return student, teacher


def top_k(teacher, k, made_at):
    log_p, ids = torch.log_softmax(teacher / made_at, -1).topk(k, -1)
    return ids, log_p


def trl_gkd(student, teacher, beta, items=None):
    return GKDTrainer.generalized_jsd_loss(student[None], teacher[None], labels=LABELS[None], beta=beta, num_items_in_batch=items)


def distillkit(student, teacher, T, listed=None, made_at=1.0, symmetric=False):
    mask = (LABELS >= 0).float()
    log_q = torch.log_softmax(student / T, -1)
    if listed is None:
        log_p = torch.log_softmax(teacher / T, -1)
        per_row = (log_p.exp() * (log_p - log_q)).sum(-1)
    else:
        ids, log_p = listed
        power, left = made_at / T, None
        if not symmetric:
            log_p = torch.log_softmax(power * log_p, -1)
        elif power != 1:
            left = (1 - log_p.exp().sum(-1, keepdim=True)).clamp(0, 1)
            log_p = power * log_p - ((power * log_p).exp().sum(-1, keepdim=True) + left ** power).log()
        here = log_q.gather(-1, ids)
        per_row = (log_p.exp() * (log_p - here)).sum(-1)
        if symmetric:
            p_rest, q_rest = (torch.log(-torch.expm1(part.logsumexp(-1).clamp(max=-1e-6))) for part in (log_p, here))
            per_row = per_row + torch.where(p_rest.exp() > 1e-6, p_rest.exp() * (p_rest - q_rest), 0.0)
    return (per_row * mask).sum() * T * T / mask.sum()


def kl(log_a, log_b):
    return (log_a.exp() * (log_a - log_b)).sum(-1)


def msswift(student, beta, T, listed):
    ids, log_p = listed
    q, p = torch.log_softmax(student.gather(-1, ids) / T, -1), torch.log_softmax(log_p / T, -1)
    m = torch.logaddexp(q + torch.log1p(torch.tensor(-beta)), p + torch.log(torch.tensor(beta)))
    per_row = kl(p, q) if beta == 0 else kl(q, p) if beta == 1 else beta * kl(p, m) + (1 - beta) * kl(q, m)
    return per_row[LABELS >= 0].sum() / (LABELS >= 0).sum()


def verl(student, listed, low=None, most=None, items=None):
    ids, log_p = listed
    log_q = torch.log_softmax(student, -1).gather(-1, ids)
    if low is not None:
        log_p, log_q = log_p.clamp_min(low), log_q.clamp_min(low)
    per_row = (log_p.exp() * (log_p - log_q)).sum(-1).clamp_min(0)
    if most is not None:
        per_row = per_row.clamp(-most, most)
    return per_row[LABELS >= 0].sum() / (items or (LABELS >= 0).sum())


def cases(teacher):
    """(preset, options, ids listed, temperature that they are made at, divisor, function of the student)"""
    for beta in (0.0, 0.1, 0.5, 1.0):
        yield "trl-gkd", "trl_gkd.beta: %g" % beta, 0, 1, 0, lambda z, beta=beta: trl_gkd(z, teacher, beta)
    yield "trl-gkd", "", 0, 1, 9, lambda z: trl_gkd(z, teacher, 0.5, 9)
    for T in (1.0, 2.0):
        yield "distillkit", "temperature: %g" % T, 0, 1, 0, lambda z, T=T: distillkit(z, teacher, T)
        for made_at in (1.0, 2.0):
            for symmetric in (False, True):
                yield ("distillkit", "temperature: %g, distillkit.symmetric_uniform: %s" % (T, str(symmetric).lower()), K, made_at, 0,
                       lambda z, T=T, made_at=made_at, s=symmetric: distillkit(z, teacher, T, top_k(teacher, K, made_at), made_at, s))
    for beta, T, k in ((0.0, 1.0, K), (0.5, 1.0, K), (1.0, 1.0, K), (0.3, 2.0, K), (0.5, 1.0, 1)):
        yield ("msswift-topk", "temperature: %g, msswift_topk.beta: %g" % (T, beta), k, 1, 0,
               lambda z, beta=beta, T=T, k=k: msswift(z, beta, T, top_k(teacher, k, 1.0)))
    yield "verl-trunc", "", K, 1, 0, lambda z: verl(z, top_k(teacher, K, 1.0))
    yield "verl-trunc", "", K, 1, 9, lambda z: verl(z, top_k(teacher, K, 1.0), items=9)
    yield ("verl-trunc", "verl_trunc.log_prob_min_clamp: -2, verl_trunc.loss_max_clamp: 0.4", K, 1, 0,
           lambda z: verl(z, top_k(teacher, K, 1.0), -2.0, 0.4))


def braced(tensor):
    values = ["%.8gf" % value if "." in "%.8g" % value or "e" in "%.8g" % value else "%.8g.0f" % value for value in tensor.flatten().tolist()]
    lines = [", ".join(values[at:at + VOCAB]) for at in range(0, len(values), VOCAB)]
    return "{" + ",\n     ".join(lines) + "}"


def main():
    student, teacher = rows()
    print("/* preset_goldens.h - made by tests/presets/make_presets.py: what the tools themselves make of these rows. */")
    print("#ifndef TESTS_LOSS_PRESET_GOLDENS_H\n#define TESTS_LOSS_PRESET_GOLDENS_H\n")
    print("#include <stdint.h>\n\n/* clang-format off */")
    print("enum { GOLDEN_ROWS = %d, GOLDEN_VOCAB = %d, GOLDEN_K = %d };" % (ROWS, VOCAB, K))
    print("static int32_t golden_labels[GOLDEN_ROWS] = {%s};" % ", ".join(str(label) for label in LABELS.tolist()))
    for name, part in (("student", student), ("teacher", teacher)):
        print("static float golden_%s[GOLDEN_ROWS * GOLDEN_VOCAB] =\n    %s;" % (name, braced(part)))
    print("typedef struct preset_golden {\n    const char *preset, *options;\n    int64_t k; /* ids listed; 0 = the teacher is dense */")
    print("    double made_at, divisor, value;\n    float gradient[GOLDEN_ROWS * GOLDEN_VOCAB];\n} preset_golden;")
    print("static const preset_golden preset_goldens[] = {")
    for preset, options, k, made_at, divisor, function in cases(teacher):
        z = student.clone().requires_grad_(True)
        value = function(z)
        value.backward()
        print('    {"%s", "%s", %d, %g, %g, %.9g,\n     %s},' % (preset, options, k, made_at, divisor, value.item(), braced(z.grad)))
    print("};\n/* clang-format on */\n\n#endif")


if __name__ == "__main__":
    main()
