"""Losses of released packages, as their trainers call them (teachers under no_grad), for `python3 -m distill.conformance peer_losses:NAME`."""
import types

import torch
from liger_kernel.chunked_loss.cosine_similarity_loss import LigerFusedLinearCosineSimilarityLoss
from liger_kernel.chunked_loss.jsd_loss import LigerFusedLinearJSDLoss
from trl.experimental.gkd import GKDTrainer
from trl.experimental.server_distillation import server_distillation_trainer as server
from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

LOSSES = {}  # name: (function, what it is)


def loss(what, **claims):
    def add(function):
        function.torch, function.claims = True, dict({"t_squared": False}, **claims)
        LOSSES[function.__name__] = function, what
        return function
    return add


def name_of(beta):
    return {"loss": {0.0: "forward_kl", 1.0: "reverse_kl"}.get(beta, "jsd"), "options": {} if beta in (0.0, 1.0) else {"jsd__teacher_weight": beta}}


def gkd_step(case, beta):
    """GKDTrainer.compute_loss on models that say the case's logits. num_items_in_batch is counted before an answer is generated, on the
    labels of the data, as transformers does; the temperature stands where the trainer has it."""
    class Says:  # a model
        def __init__(self, logits):
            self.logits = logits

        def eval(self):
            return self

        def __call__(self, **_):
            return types.SimpleNamespace(logits=torch.cat([self.logits, self.logits[:, -1:]], 1))

    labels = torch.cat([torch.full_like(case.labels[:, :1], -100), case.labels], 1)
    own = types.SimpleNamespace(teacher_model=Says(case.teacher), beta=beta, generalized_jsd_loss=GKDTrainer.generalized_jsd_loss,
                                temperature=case.temperature, args=types.SimpleNamespace(temperature=case.temperature))
    changed = (case.dataset_labels >= 0).sum() != (case.labels >= 0).sum()
    items = (case.dataset_labels >= 0).sum() if changed else torch.tensor(case.divisor)
    return GKDTrainer.compute_loss(own, Says(case.student), {"input_ids": labels, "attention_mask": labels, "labels": labels}, num_items_in_batch=items)


@loss("TRL GKDTrainer.compute_loss, beta 0.5, answers of its own", **name_of(0.5))
def trl_gkd(case):
    return gkd_step(case, 0.5)


@loss("TRL GKDTrainer.compute_loss, beta 0", **name_of(0.0))
def trl_gkd_forward(case):
    return gkd_step(case, 0.0)


@loss("TRL GKDTrainer.generalized_jsd_loss alone, beta 0.3", **name_of(0.3))
def trl_generalized_jsd(case):
    return GKDTrainer.generalized_jsd_loss(case.student, case.teacher.detach(), case.labels, beta=0.3, temperature=case.temperature,
                                           num_items_in_batch=torch.tensor(max(case.divisor, 1)))


def chunked(case, beta):
    rows = [part.reshape(-1, part.shape[-1]) for part in (case.student, case.teacher)]
    heads = [torch.eye(part.shape[-1]) for part in rows]
    keep = case.mask.reshape(-1)  # the trainer takes the rows of answers alone
    values, _ = ChunkedDivergenceFunction.apply(rows[0][keep], heads[0], None, rows[1][keep], heads[1], None, beta, case.temperature)
    return values.sum() / max(case.divisor, 1)


@loss("TRL DistillationTrainer's ChunkedDivergenceFunction, beta 1 (its default)", **name_of(1.0))
def trl_chunked_reverse(case):
    return chunked(case, 1.0)


@loss("TRL DistillationTrainer's ChunkedDivergenceFunction, beta 0.5", **name_of(0.5))
def trl_chunked_jsd(case):
    return chunked(case, 0.5)


@loss("TRL ServerDistillationTrainer, beta 0: k ids and a tail", loss="forward_kl", targets="top_k")
def trl_server_top_k(case):
    log_q = torch.log_softmax(case.student / case.temperature, -1).gather(-1, case.ids)
    valid = torch.ones_like(case.ids, dtype=torch.bool)
    q, mask = server._add_tail_bucket(log_q, valid)
    p, _ = server._add_tail_bucket(case.log_probs, valid)
    rows = server._jsd_divergence(q, p, 0, mask).sum(-1)
    return rows[case.mask].sum() / max(case.divisor, 1)


@loss("TRL SDFT/SDPO default: k ids, no tail (distillation_add_tail = False)", loss="forward_kl", targets="top_k")
def trl_sdft_top_k(case):
    log_q = torch.log_softmax(case.student / case.temperature, -1).gather(-1, case.ids)
    q, p = (part - torch.logsumexp(part, -1, keepdim=True) for part in (log_q, case.log_probs))
    return (p.exp() * (p - q)).sum(-1)[case.mask].sum() / max(case.divisor, 1)


@loss("TRL ServerDistillationTrainer and Async, beta 1: the drawn token and a tail", loss="reverse_kl", targets="sampled")
def trl_server_reverse(case):
    own = types.SimpleNamespace(beta=1, loss_add_tail=True, _reduce_divergence_loss=lambda rows, completion_mask, **_:
                                rows.sum(-1)[completion_mask].sum() / max(case.divisor, 1))
    log_q = torch.log_softmax(case.student / case.temperature, -1)
    return server.ServerDistillationTrainer._compute_sparse_top_1_divergence_loss(
        own, log_q, case.sampled, case.sampled_log_prob, case.sampled, case.sampled_log_prob, case.labels)


def liger(case, kind, **weights):
    rows = [part.reshape(-1, part.shape[-1]) for part in (case.student, case.teacher)]
    heads = [torch.eye(part.shape[-1]) for part in rows]
    return kind(temperature=case.temperature, compiled=False, **weights)(rows[0], heads[0], rows[1], heads[1], case.labels.reshape(-1))


@loss("Liger LigerFusedLinearJSDLoss, soft loss alone", **name_of(0.5))
def liger_jsd(case):
    return liger(case, LigerFusedLinearJSDLoss, weight_hard_loss=0.0, weight_soft_loss=1.0, beta=0.5)


@loss("Liger LigerFusedLinearJSDLoss at its default weights", **name_of(0.5))
def liger_jsd_default(case):
    return liger(case, LigerFusedLinearJSDLoss)


@loss("Liger LigerFusedLinearCosineSimilarityLoss, soft loss alone", loss="logit_cosine")
def liger_cosine(case):
    return liger(case, LigerFusedLinearCosineSimilarityLoss, weight_hard_loss=0.0, weight_soft_loss=1.0, beta=1.0)

