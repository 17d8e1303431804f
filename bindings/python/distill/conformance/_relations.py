"""Relations that a loss keeps whatever its formula: each asks it several times and says what differs."""
import numpy as np

from . import _cases
from ._probe import ask

TOLERANCE = 5e-4


class Relation:
    """holds(loss, claim, make) -> None, or what is wrong; make dresses a case as the loss's targets want it. defect: its name if
    that is what a failure means. dense: for dense targets alone."""

    def __init__(self, name, holds, defect=None, dense=False, reduction=None):
        self.name, self.holds, self.defect, self.dense, self.reduction = name, holds, defect, dense, reduction


def near(a, b, scale=None):
    size = max(np.abs(b).max() if scale is None else scale, 1e-6)
    return bool(np.abs(np.asarray(a) - np.asarray(b)).max() <= TOLERANCE * size + 1e-7)


def same(one, other):
    """What differs between two answers; None = nothing."""
    for answer in (one, other):
        if answer.error is not None:
            return answer.error
    if not near(one.value, other.value):
        return "value %.6g, not %.6g" % (other.value, one.value)
    if not near(other.gradient, one.gradient):
        return "gradient off by %.2g of %.2g" % (np.abs(other.gradient - one.gradient).max(), np.abs(one.gradient).max())
    return None


def _plain(masked=True):
    return _cases.cases()[3 if masked else 0]


def _logit_loss(claim):
    return claim.loss in ("logit_mse", "logit_cosine")


def shift(loss, claim, make):
    """A number added to all logits of a row changes nothing."""
    if _logit_loss(claim):
        return None
    case = _plain()
    moved = case.but(student=case.student + np.float32(7), teacher=case.dense - np.float32(3))
    return same(ask(loss, make(case)), ask(loss, make(moved)))


def permute_ids(loss, claim, make):
    """Ids in another order change nothing but the gradient's order."""
    case = _plain(masked=False)
    order = np.random.default_rng(3).permutation(case.vocab)
    back = np.argsort(order)
    other = case.but(student=case.student[..., order], teacher=case.dense[..., order], labels=back[case.labels])
    one, two = ask(loss, make(case)), ask(loss, make(other))
    if two.error is None:
        two.gradient = two.gradient[..., back]
    return same(one, two)


def permute_sequences(loss, claim, make):
    """Sequences in another order change nothing but the gradient's order."""
    case = _plain()
    order = [2, 0, 1]
    one, two = ask(loss, make(case)), ask(loss, make(case.cut(order)))
    if two.error is None:
        two.gradient = two.gradient[np.argsort(order)]
    return same(one, two)


def masked_content(loss, claim, make):
    """What stands in rows without loss is harmless, even where it is not finite."""
    case = _plain()
    wrong, teacher = case.student.copy(), case.dense.copy()
    wrong[~case.mask], teacher[~case.mask] = 900, 77
    wrong[~case.mask, 0], teacher[~case.mask, 1] = np.nan, -np.inf
    return same(ask(loss, make(case)), ask(loss, make(case.but(student=wrong, teacher=teacher))))


def rows_that_count(loss, claim, make):
    """Rows with loss have a gradient, the others have none."""
    case = _plain()
    answer = ask(loss, make(case))
    if answer.error is not None:
        return answer.error
    sizes = np.abs(answer.gradient).max(-1)
    wrong = (sizes > 1e-9) != case.mask
    if not wrong.any():
        return None
    sequence, row = np.argwhere(wrong)[0]
    return "row %d of sequence %d %s" % (row, sequence, "has no gradient" if case.mask[sequence, row] else "carries no loss and has a gradient")


def more_padding(loss, claim, make):
    """More rows without loss change nothing."""
    case = _plain()
    extra = [np.concatenate([part, part[:, :2]], 1) for part in (case.student, case.dense)]
    labels = np.concatenate([case.labels, np.full_like(case.labels[:, :2], -100)], 1)
    one, two = ask(loss, make(case)), ask(loss, make(case.but(student=extra[0], teacher=extra[1], labels=labels)))
    if two.error is None:
        two.gradient = two.gradient[:, :case.labels.shape[1]]
    return same(one, two)


def accumulation(loss, claim, make):
    """Micro-batches of a window add up to the window in one."""
    case = _plain()
    whole, parts = ask(loss, make(case)), [ask(loss, make(case.cut(np.s_[i:i + 1]))) for i in range(3)]
    if any(part.error for part in parts):
        return next(part.error for part in parts if part.error)
    total = type(whole)(sum(part.value for part in parts), np.concatenate([part.gradient for part in parts]))
    return same(whole, total)


def agreement(loss, claim, make):
    """Where student and teacher agree the loss is 0, and so is its gradient."""
    if claim.loss in ("cross_entropy", "rank_hinge", "rank_logistic", "taid", "alpha_beta"):
        return None
    case = _plain(masked=False)
    answer = ask(loss, make(case.but(teacher=case.student)))
    if answer.error is not None:
        return answer.error
    return None if abs(answer.value) < 1e-5 else "value %.6g where student and teacher are the same" % answer.value


def agreement_gradient(loss, claim, make):
    """The gradient where student and teacher agree."""
    if claim.loss in ("cross_entropy", "rank_hinge", "rank_logistic", "taid", "alpha_beta"):
        return None
    case = _plain(masked=False)
    flat = np.zeros_like(case.student)
    flat[..., :4] = np.log([4, 2, 1, 1])
    answer = ask(loss, make(case.but(student=flat, teacher=flat)))
    if answer.error is not None:
        return answer.error
    worst = np.abs(answer.gradient).max() * (case.divisor if claim.reduction == "mean" else 1)
    return None if worst < 1e-5 else "gradient %.2g of a row where student and teacher are the same" % worst


def derivative(loss, claim, make):
    """The gradient is the derivative of the value."""
    if claim.loss in ("taid", "adaptive_kl", "skew_reverse_kl", "tvd", "acceptance", "rank_hinge"):
        return None  # constants in the gradient, or corners
    case = _plain()
    case = case.but(temperature=2.0) if claim.temperature else case
    way = np.random.default_rng(4).normal(size=case.student.shape).astype(np.float32)
    step = 2e-2
    here = ask(loss, make(case))
    ends = [ask(loss, make(case.but(student=(case.student + sign * step * way).astype(np.float32)))) for sign in (1, -1)]
    for answer in [here] + ends:
        if answer.error is not None:
            return answer.error
    slope, wanted = (ends[0].value - ends[1].value) / (2 * step), float((here.gradient * way)[..., :].sum())
    size = max(abs(slope), 1e-4 * max(abs(here.value), 1e-3))
    return None if abs(slope - wanted) <= 0.02 * size + 1e-6 else "the value goes by %.4g along a direction, the gradient says %.4g" % (slope, wanted)


def scaling(loss, claim, make):
    """Logits and temperature times c: the same distributions."""
    if not claim.temperature or claim.loss == "logit_cosine":
        return None
    case = _plain()
    other = case.but(student=case.student * 2, teacher=case.dense * 2, temperature=2.0)
    one, two = ask(loss, make(case)), ask(loss, make(other))
    if one.error is None and two.error is None:
        factor = 4.0 if claim.t_squared else 1.0
        two = type(two)(two.value / factor, two.gradient * 2 / factor)
    return same(one, two)


def nothing(loss, claim, make):
    """No row counts: 0, and no gradient."""
    case = _plain()
    answer = ask(loss, make(case.but(labels=np.full_like(case.labels, -100), divisor=0)))
    if answer.error is not None:
        return answer.error
    if not answer.finite:
        return "%s where no row counts" % ("value %s" % answer.value if not np.isfinite(answer.value) else "a gradient that is not finite")
    return None if answer.value == 0 and not answer.gradient.any() else "value %.6g where no row counts" % answer.value


def large_logits(loss, claim, make):
    """Logits of 1e4 are legal."""
    case = _plain(masked=False)
    sizes = np.where(np.arange(case.vocab) % 3 == 0, np.float32(1e4), np.float32(-1e4))
    cases = [case.but(student=case.student * 100, teacher=case.dense * 100), case.but(teacher=case.dense + sizes)]
    for i, large in enumerate(cases):
        answer = ask(loss, make(large))
        if not answer.finite:
            return answer.error or ("%s with %s" % ("value %s" % answer.value if not np.isfinite(answer.value) else "a gradient that is not finite",
                                                    ("logits near 150", "logits of the teacher of 1e4")[i]))
    return None


def excluded(loss, claim, make):
    """The teacher may exclude ids: -inf."""
    if claim.loss in ("reverse_kl", "symmetric_kl", "adaptive_kl", "taid", "logit_mse", "logit_cosine", "alpha_beta"):
        return None  # infinite, or as one defines it
    case = _plain(masked=False)
    teacher = case.dense.copy()
    teacher[..., 2] = -np.inf
    if claim.loss in ("cross_entropy", "dkd"):
        teacher = case.dense
    answer = ask(loss, make(case.but(teacher=teacher)))
    if answer.finite:
        return None
    return answer.error or "%s where the teacher excludes an id" % ("value %s" % answer.value if not np.isfinite(answer.value)
                                                                    else "a gradient that is not finite")


def never_negative(loss, claim, make):
    """A divergence is at least 0."""
    if claim.loss == "cross_entropy":
        return None
    for case in _cases.cases()[:4]:
        answer = ask(loss, make(case))
        if answer.error is None and answer.value < -1e-6:
            return "value %.6g" % answer.value
    return None


def confident_tail(loss, claim, make):
    """The rest of a confident student's ids is not lost in 1 - sum."""
    if claim.targets != "top_k":
        return None
    from ._predict import predict
    case = make(_cases.confident())
    answer, (_, wanted) = ask(loss, case), predict(claim, case)
    if not answer.finite:
        return answer.error or "not finite"
    outside = np.ones(case.student.shape, dtype=bool)
    np.put_along_axis(outside, case.ids, False, -1)
    have, want = (np.abs(part[outside]).sum() for part in (answer.gradient, wanted))
    return None if abs(have - want) <= 0.05 * want else "the ids that are not listed have %.2g of the gradient %.2g that is theirs" % (have, want)


def teacher_still(loss, claim, make):
    """No gradient goes to the teacher."""
    answer = ask(loss, make(_plain()))
    return "its largest is %.2g" % answer.teacher_gradient if answer.error is None and answer.teacher_gradient else None


TABLE = [
    Relation("adding a number to a row's logits changes nothing", shift), Relation("ids may be permuted", permute_ids),
    Relation("sequences may be permuted", permute_sequences),
    Relation("masked rows may hold anything", masked_content, "masked rows reach the result"),
    Relation("the rows that count have gradients, no others", rows_that_count), Relation("more padding changes nothing", more_padding),
    Relation("micro-batches add up", accumulation), Relation("0 where both agree", agreement),
    Relation("no gradient where both agree", agreement_gradient, "gradient where both agree"),
    Relation("the gradient is the value's derivative", derivative), Relation("logits and T scale together", scaling),
    Relation("0 where no row counts", nothing, "NaN without rows"), Relation("large logits stay finite", large_logits, "not finite"),
    Relation("-inf of the teacher is legal", excluded, "not finite"), Relation("never negative", never_negative),
    Relation("a confident student's tail is kept", confident_tail, "tail by subtraction"),
    Relation("the teacher gets no gradient", teacher_still, "teacher is differentiated"),
]
