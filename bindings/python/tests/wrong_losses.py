"""Losses with the defects that losses were seen with, each written out as one would write it: the suite has to find every one."""
import numpy as np


def log_softmax(z):
    top = z.max(-1, keepdims=True)
    return z - top - np.log(np.exp(z - top).sum(-1, keepdims=True))


def kl(a, b):
    with np.errstate(invalid="ignore"):
        return np.where(a > -np.inf, np.exp(a) * (a - b), 0).sum(-1)


def forward(q, p):
    """Value of each row and its gradient with respect to the logits over T."""
    return kl(p, q), np.exp(q) - np.exp(p)


def reverse(q, p):
    value = kl(q, p)
    with np.errstate(invalid="ignore"):
        return value, np.exp(q) * (q - p - value[..., None])


def jsd(weight):
    def divergence(q, p):
        with np.errstate(divide="ignore"):
            m = np.logaddexp(p + np.log(weight), q + np.log1p(-weight))
        inner = kl(q, m)
        return weight * kl(p, m) + (1 - weight) * inner, (1 - weight) * np.exp(q) * (q - m - inner[..., None])
    return divergence


def prepared(case, width=None):
    """Logits of the ids that count, with harmless numbers in rows without loss."""
    width = case.vocab if width is None else width
    z, t = (np.where(case.mask[..., None], part[..., :width], 0).astype(np.float64) for part in (case.student, case.teacher))
    return z, t


def finish(case, values, gradient, divisor):
    full = np.zeros(case.student.shape)
    full[..., :gradient.shape[-1]] = np.where(case.mask[..., None], gradient, 0) / divisor
    return float(np.where(case.mask, values, 0).sum() / divisor), full


def right(case, divergence=forward, t_squared=True):
    T, (z, t) = case.temperature, prepared(case)
    values, gradient = divergence(log_softmax(z / T), log_softmax(t / T))
    scale = T * T if t_squared else 1
    return finish(case, values * scale, gradient / T * scale, max(case.divisor, 1))


# ---- each of these is wrong ----

LOSSES = {}


def wrong(defect, **claims):
    def add(function):
        function.claims, function.defect = dict({"loss": "forward_kl"}, **claims), defect
        LOSSES[function.__name__] = function
        return function
    return add


@wrong("temperature never used")
def without_temperature(case):
    z, t = prepared(case)
    values, gradient = forward(log_softmax(z), log_softmax(t))
    return finish(case, values, gradient, max(case.divisor, 1))


@wrong("temperature of the student alone")
def student_alone(case):
    z, t = prepared(case)
    values, gradient = forward(log_softmax(z / case.temperature), log_softmax(t))
    return finish(case, values * case.temperature ** 2, gradient * case.temperature, max(case.divisor, 1))


@wrong("temperature of the teacher alone", t_squared=False)
def teacher_alone(case):
    z, t = prepared(case)
    return finish(case, *forward(log_softmax(z), log_softmax(t / case.temperature)), max(case.divisor, 1))


@wrong("T squared missing")
def no_t_squared(case):
    return right(case, t_squared=False)


@wrong("T squared where it was not claimed", loss="tvd")
def tvd_with_t_squared(case):
    def tvd(q, p):
        h = np.exp(q) * np.sign(np.exp(q) - np.exp(p)) / 2
        return np.abs(np.exp(p) - np.exp(q)).sum(-1) / 2, h - np.exp(q) * h.sum(-1, keepdims=True)
    return right(case, tvd)


@wrong("T squared of the value only")
def reported_t_squared(case):
    value, gradient = right(case, t_squared=False)
    return value * case.temperature ** 2, gradient


@wrong("T squared of the gradient only", loss="reverse_kl")
def hidden_t_squared(case):
    value, gradient = right(case, reverse, t_squared=False)
    return value, gradient * case.temperature ** 2


@wrong("T squared twice", loss="jsd", options={"jsd__teacher_weight": 0.3})
def squared_outside_too(case):
    value, gradient = right(case, jsd(0.3))
    return value * case.temperature ** 2, gradient * case.temperature ** 2


@wrong("gradient by z/T", t_squared=False)
def by_scaled_logits(case):
    value, gradient = right(case, t_squared=False)
    return value, gradient * case.temperature


@wrong("gradient by z/T", loss="reverse_kl")
def by_scaled_logits_again(case):
    value, gradient = right(case, reverse)
    return value, gradient * case.temperature


@wrong("divided by the vocabulary")
def mean_over_everything(case):
    value, gradient = right(case)
    return value / case.student.shape[-1], gradient / case.student.shape[-1]


@wrong("divided by sequences")
def batchmean(case):
    scale = max(case.divisor, 1) / len(case.student)
    value, gradient = right(case)
    return value * scale, gradient * scale


@wrong("divided by masked rows, too")
def mean_over_padding(case):
    scale = max(case.divisor, 1) / case.mask.size
    value, gradient = right(case)
    return value * scale, gradient * scale


@wrong("divided by the data's labels", loss="reverse_kl", t_squared=False)
def counts_the_data(case):
    other = case.dataset_labels is not case.labels and (case.dataset_labels >= 0).sum() != case.mask.sum()
    scale = case.divisor / (case.dataset_labels >= 0).sum() if other else 1
    value, gradient = right(case, reverse, t_squared=False)
    return value * scale, gradient * scale


@wrong("mean of micro-batches")
def local_mean(case):
    return finish_local(case, case.mask.sum())


@wrong("divided twice")
def divided_twice(case):
    return finish_local(case, case.divisor * case.mask.sum())


@wrong("not divided")
def summed(case):
    return finish_local(case, 1)


def finish_local(case, divisor):
    value, gradient = right(case)
    scale = max(case.divisor, 1) / max(divisor, 1)
    return value * scale, gradient * scale


@wrong("gradient divided twice")
def scaled_grads(case):
    value, gradient = right(case)
    return value, gradient / max(case.mask.sum(), 1)


@wrong("gradient not divided", loss="reverse_kl", t_squared=False)
def gradient_of_the_sum(case):
    value, gradient = right(case, reverse, t_squared=False)
    return value, gradient * max(case.divisor, 1)


@wrong("mean of sequences")
def sequence_means(case):
    T, (z, t) = case.temperature, prepared(case)
    values, gradient = forward(log_softmax(z / T), log_softmax(t / T))
    share = np.where(case.mask, T * T, 0) / np.maximum(case.mask.sum(-1, keepdims=True), 1)
    return finish(case, values * share, gradient / T * share[..., None], len(case.mask))


@wrong("sign turned", loss="reverse_kl", t_squared=False)
def minus_reverse(case):
    value, gradient = right(case, reverse, t_squared=False)
    return -value, -gradient


@wrong("student's entropy left out", loss="reverse_kl")
def reverse_cross_entropy(case):
    def cross(q, p):
        value = -(np.exp(q) * p).sum(-1)
        return value, -np.exp(q) * (p + value[..., None])
    return right(case, cross)


@wrong("gradient not through the softmax", loss="reverse_kl", t_squared=False)
def by_log_probabilities(case):
    def half(q, p):
        return kl(q, p), np.exp(q) * (q - p + 1)
    return right(case, half, t_squared=False)


@wrong("gradient not through the softmax")
def minus_teacher(case):
    return right(case, lambda q, p: (kl(p, q), -np.exp(p)))


@wrong("student's probabilities clamped")
def clamped_student(case):
    def held(q, p):
        h = np.where(q > np.log(1e-8), -np.exp(p), 0)
        return kl(p, np.maximum(q, np.log(1e-8))), h - np.exp(q) * h.sum(-1, keepdims=True)
    return right(case, held)


@wrong("mixture held constant", loss="skew_reverse_kl")
def detached_mixture(case):
    def skewed(q, p):
        m = np.logaddexp(p + np.log(0.9), q + np.log(0.1))
        value = kl(q, m)
        h = np.exp(q) * (q - m)
        return value, h - np.exp(q) * value[..., None]
    return right(case, skewed)


@wrong("directions swapped")
def the_other_direction(case):
    return right(case, reverse)


@wrong("directions swapped", loss="reverse_kl")
def the_other_direction_again(case):
    return right(case, forward)


@wrong("value of one direction, gradient of the other", loss="reverse_kl")
def two_directions(case):
    return right(case, reverse)[0], right(case, forward)[1]


@wrong("weight of the other distribution", loss="jsd", options={"jsd__teacher_weight": 0.3})
def beta_of_the_student(case):
    return right(case, jsd(0.7))


@wrong("cross-entropy form")
def without_entropy(case):
    def cross(q, p):
        return -(np.exp(p) * q).sum(-1), np.exp(q) - np.exp(p)
    return right(case, cross)


@wrong("hard labels mixed in", loss="jsd", t_squared=False)
def half_hard(case):
    value, gradient = right(case, jsd(0.5), t_squared=False)
    q = log_softmax(prepared(case)[0])
    one_hot = np.eye(q.shape[-1])[np.maximum(case.labels, 0)]
    hard, hard_gradient = finish(case, -(one_hot * q).sum(-1), np.exp(q) - one_hot, max(case.divisor, 1))
    return (value + hard) / 2, (gradient + hard_gradient) / 2


def on_ids(treat):
    """A loss of top-k targets: treat(log q of the ids, log p of the ids, log q, ids) gives values and gradients."""
    def loss(case):
        q = log_softmax(np.where(case.mask[..., None], case.student[..., :case.vocab], 0).astype(np.float64) / case.temperature)
        values, gradient = treat(np.take_along_axis(q, case.ids, -1), case.log_probs.astype(np.float64), q, case)
        return finish(case, values * case.temperature ** 2, gradient * case.temperature, max(case.divisor, 1))
    return loss


def scatter(values, ids, like):
    out = np.zeros_like(like)
    np.put_along_axis(out, ids, values, -1)
    return out


def both(q, p, full, case):
    q, p = log_softmax(q), log_softmax(p)
    return kl(p, q), scatter(np.exp(q) - np.exp(p), case.ids, full)


def teacher(q, p, full, case):
    p = log_softmax(p)
    return kl(p, q), np.exp(full) - scatter(np.exp(p), case.ids, full)


def truncated(q, p, full, case):
    return kl(p, q), np.exp(full) * np.exp(p).sum(-1, keepdims=True) - scatter(np.exp(p), case.ids, full)


def tail(subtract):
    def treat(q, p, full, case):
        if subtract:
            rest = np.log(np.maximum(np.float32(1) - np.exp(q.astype(np.float32)).sum(-1, dtype=np.float32), np.float32(1e-7))).astype(np.float64)
            inside = rest > np.log(2e-7)
        else:
            others = full.copy()
            np.put_along_axis(others, case.ids, -np.inf, -1)
            rest, inside = np.logaddexp.reduce(others, -1), np.ones(q.shape[:-1], dtype=bool)
        ratio = np.exp(case.tail - rest)
        gradient = np.exp(full) * np.where(inside, 1 - ratio, 0)[..., None]
        np.put_along_axis(gradient, case.ids, np.exp(q) - np.exp(p), -1)
        return kl(p, q) + np.exp(case.tail) * (case.tail - rest), gradient
    return treat


def clamped(q, p, full, case):
    values, gradient = truncated(q, p, full, case)
    return np.maximum(values, 0), np.where(values[..., None] > 0, gradient, 0)


right_top_k = on_ids(tail(subtract=False))
right_top_k.claims = {"loss": "forward_kl", "targets": "top_k"}
for _name, _defect, _loss in (("renormalised", "top-k renormalised on both sides", on_ids(both)),
                              ("teacher_renormalised", "top-k of the teacher renormalised", on_ids(teacher)),
                              ("cut_off", "top-k truncated", on_ids(truncated)), ("cut_off_and_clamped", "top-k truncated and clamped", on_ids(clamped)),
                              ("one_less_sum", "tail by subtraction", on_ids(tail(subtract=True)))):
    _loss.__name__ = _name
    wrong(_defect, targets="top_k")(_loss)


def widened(fill):
    """Both sides at the wider of the two widths."""
    def loss(case):
        width = max(case.student.shape[-1], case.teacher.shape[-1])
        z, t = (np.where(case.mask[..., None], part, 0).astype(np.float64) for part in (case.student, case.teacher))
        z, t = fill(z, t, width), fill(t, z, width)
        values, gradient = forward(log_softmax(z / case.temperature), log_softmax(t / case.temperature))
        return finish(case, values * case.temperature ** 2, gradient[..., :case.student.shape[-1]] * case.temperature, max(case.divisor, 1))
    return loss


def refuse(a, b, width):
    if a.shape != b.shape:
        raise ValueError("widths differ")
    return a


def zeroes(a, b, width):
    return np.concatenate([a, np.zeros(a.shape[:-1] + (width - a.shape[-1],))], -1)


def copied(a, b, width):
    return np.concatenate([a, b[..., a.shape[-1]:]], -1) if a.shape[-1] < width else a


for _name, _defect, _fill in (("all_columns", "padded vocabulary counts", refuse), ("filled_with_zeroes", "vocabulary padded with zeroes", zeroes),
                              ("filled_from_the_other", "vocabulary filled from the other model", copied)):
    _loss = widened(_fill)
    _loss.__name__ = _name
    wrong(_defect)(_loss)


@wrong("labels shifted once more")
def shifted(case):
    labels = np.concatenate([case.labels[:, 1:], np.full((len(case.labels), 1), -100)], 1)
    usual = case.divisor == case.mask.sum()
    return right(case.but(labels=labels, **({} if usual else {"divisor": case.divisor})))


@wrong("labels not shifted")
def own_token(case):
    labels = np.concatenate([np.full((len(case.labels), 1), -100), case.labels[:, :-1]], 1)
    usual = case.divisor == case.mask.sum()
    return right(case.but(labels=labels, **({} if usual else {"divisor": case.divisor})))


@wrong("end of each answer masked", loss="jsd")
def end_is_padding(case):
    labels = case.labels.copy()
    for row, mask in zip(labels, case.mask):
        row[np.flatnonzero(mask)[-1:]] = -100
    usual = case.divisor == case.mask.sum()
    return right(case.but(labels=labels, **({} if usual else {"divisor": case.divisor})), jsd(0.5))


@wrong("mask not used")
def learns_prompts(case):
    return right(case.but(labels=np.maximum(case.labels, 0), divisor=case.divisor))


def drawn(gradient_of):
    def loss(case):
        q = log_softmax(case.student[..., :case.vocab].astype(np.float64) / case.temperature)
        mine = np.take_along_axis(q, case.sampled[..., None], -1)[..., 0]
        values, factor = gradient_of(mine, case.sampled_log_prob)
        one_hot = np.eye(case.vocab)[case.sampled]
        return finish(case, values, factor[..., None] * (one_hot - np.exp(q)), max(case.divisor, 1))
    return loss


def two_outcomes(q, p):
    """KL of the token and the rest; the gradient's factor is d value / d log q."""
    rest_q, rest_p = np.log(-np.expm1(q)), np.log(-np.expm1(p))
    return np.exp(q) * (q - p) + np.exp(rest_q) * (rest_q - rest_p), np.exp(q) * ((q - p) - (rest_q - rest_p))


right_drawn = drawn(lambda q, p: (q - p, q - p))  # what REINFORCE gives
right_drawn.claims = {"loss": "reverse_kl", "targets": "sampled", "t_squared": False}
for _name, _defect, _of in (("token_and_rest", "two outcomes for a drawn token", two_outcomes),
                            ("k1", "draws without their probability's gradient", lambda q, p: (q - p, np.ones_like(q)))):
    _loss = drawn(_of)
    _loss.__name__ = _name
    wrong(_defect, loss="reverse_kl", targets="sampled", t_squared=False)(_loss)


@wrong("gradient where both agree", loss="tvd", t_squared=False)
def tie_is_less(case):
    def tvd(q, p):
        h = np.exp(q) * np.where(np.exp(p) > np.exp(q) - 1e-12, -1, 1) / 2
        h[..., 0] = np.where(q[..., 0] == p[..., 0], np.exp(q[..., 0]) / 2, h[..., 0])
        return np.abs(np.exp(p) - np.exp(q)).sum(-1) / 2, h - np.exp(q) * h.sum(-1, keepdims=True)
    return right(case, tvd, t_squared=False)


@wrong("not finite")
def probabilities_first(case):
    def plain(q, p):
        with np.errstate(divide="ignore", invalid="ignore"):
            q, p = np.exp(q), np.exp(p)
            return (p * (np.log(p) - np.log(q))).sum(-1), q - p
    return right(case, plain)


@wrong("NaN without rows")
def empty_is_nan(case):
    value, gradient = right(case)
    return (value, gradient) if case.mask.any() else (float("nan"), gradient)


@wrong("masked rows reach the result")
def mask_by_product(case):
    T = case.temperature
    with np.errstate(invalid="ignore", over="ignore"):
        z, t = (part[..., :case.vocab].astype(np.float64) for part in (case.student, case.teacher))
        values, gradient = forward(log_softmax(z / T), log_softmax(t / T))
        full = np.zeros(case.student.shape)
        full[..., :case.vocab] = gradient * case.mask[..., None] * T / max(case.divisor, 1)
        return float((values * case.mask).sum()) * T * T / max(case.divisor, 1), full
