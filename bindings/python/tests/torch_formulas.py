"""The losses as docs/losses.md writes them, in torch and doubles, for torch's autograd to differentiate."""
import torch


def _log(z, temperature=1.0):
    return torch.log_softmax(z / temperature, -1)


def _kl(log_a, log_b):
    return (log_a.exp() * (log_a - log_b)).sum(-1)


def _mix(log_a, log_b, share):
    """log(share a + (1 - share) b)"""
    return (share * log_a.exp() + (1 - share) * log_b.exp()).log()


def _head(p, mass):
    """Of each row the likeliest ids with no more than mass together, at least one."""
    order = torch.argsort(p, dim=-1, descending=True, stable=True)
    sums = torch.gather(p, -1, order).cumsum(-1)
    inside = sums <= mass
    inside[..., 0] = True
    return torch.zeros_like(p, dtype=torch.bool).scatter(-1, order, inside)


def _adaptive(q, p, mass):
    gap = (p.exp() - q.exp()).abs().detach()
    head = _head(p.exp(), mass)
    share = (gap * head).sum(-1) / gap.sum(-1)
    return share * _kl(p, q) + (1 - share) * _kl(q, p)


def _two(log_x, labels):
    label = torch.gather(log_x, -1, labels[:, None])
    return torch.cat([label, torch.log1p(-label.exp())], -1)


def _rest(log_x, labels):
    return torch.log_softmax(log_x.scatter(-1, labels[:, None], -torch.inf), -1)


def _dkd(q, p, labels, target_weight, non_target_weight):
    rest_q, rest_p = _rest(q, labels), _rest(p, labels)
    others = torch.ones_like(rest_q, dtype=torch.bool).scatter(-1, labels[:, None], False)
    rest = torch.where(others, rest_p.exp() * (rest_p.masked_fill(~others, 0) - rest_q.masked_fill(~others, 0)), 0).sum(-1)
    return target_weight * _kl(_two(p, labels), _two(q, labels)) + non_target_weight * rest


def _pairs(values, p, top_k):
    """values_i - values_j of the pairs i better than j among the teacher's top_k ids, and p_i - p_j."""
    ids = torch.argsort(p, dim=-1, descending=True, stable=True)[:, :top_k]
    i, j = torch.triu_indices(ids.shape[1], ids.shape[1], 1)
    taken, said = torch.gather(values, -1, ids), torch.gather(p, -1, ids)
    return taken[:, i] - taken[:, j], said[:, i] - said[:, j]


def _hinge(q, p, top_k, margin):
    lead, wanted = _pairs(q.exp(), p.exp(), top_k)
    return torch.relu((wanted if margin is None else margin) - lead).mean(-1)


def _alpha_beta(q, p, a, b):
    p, q = p.exp(), q.exp()
    return -((p ** a * q ** b - a / (a + b) * p ** (a + b) - b / (a + b) * q ** (a + b)).sum(-1)) / (a * b)


def _smoothed(z, labels, smoothing, z_loss):
    q = _log(z)
    hard = torch.gather(q, -1, labels[:, None])[:, 0]
    return -(1 - smoothing) * hard - smoothing * q.mean(-1) + z_loss * torch.logsumexp(z, -1) ** 2


def value(name, z, t, labels, temperature, options):
    """[rows] in double, without T^2."""
    q, p = _log(z, temperature), _log(t, temperature)
    kl = {"forward_kl": lambda: _kl(p, q), "reverse_kl": lambda: _kl(q, p)}
    get = options.__getitem__
    table = dict(
        kl, cross_entropy=lambda: _smoothed(z, labels, get("label_smoothing"), get("z_loss")),
        symmetric_kl=lambda: (1 - get("reverse_weight")) * _kl(p, q) + get("reverse_weight") * _kl(q, p),
        jsd=lambda: (lambda b: b * _kl(p, _mix(p, q, b)) + (1 - b) * _kl(q, _mix(p, q, b)))(get("teacher_weight")),
        skew_forward_kl=lambda: _kl(p, _mix(p, q, get("lambda_"))),
        skew_reverse_kl=lambda: _kl(q, _mix(q, p, get("lambda_"))),
        tvd=lambda: (p.exp() - q.exp()).abs().sum(-1) / 2,
        alpha_beta=lambda: _alpha_beta(q, p, get("alpha"), get("beta")),
        taid=lambda: _kl(_log((1 - get("t")) * z.detach() + get("t") * t, temperature), q),
        adaptive_kl=lambda: _adaptive(q, p, get("head_mass")),
        dkd=lambda: _dkd(q, p, labels, get("target_weight"), get("non_target_weight")),
        logit_mse=lambda: (((z - t) / temperature) ** 2).mean(-1),
        logit_cosine=lambda: 1 - torch.cosine_similarity(z, t, -1),
        acceptance=lambda: -torch.minimum(p.exp(), q.exp()).sum(-1).log(),
        rank_hinge=lambda: _hinge(q, p, get("top_k"), get("margin")),
        rank_logistic=lambda: torch.nn.functional.softplus(-_pairs(z / temperature, p, get("top_k"))[0]).mean(-1))
    return table[name]()
