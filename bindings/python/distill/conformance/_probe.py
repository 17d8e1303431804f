"""Calling somebody's loss: with numpy arrays, or with torch tensors and torch's autograd."""
import numpy as np


class Answer:
    """value and gradient in doubles; or what it raised."""

    def __init__(self, value=None, gradient=None, error=None, teacher_gradient=0.0):
        self.value, self.gradient, self.error, self.teacher_gradient = value, gradient, error, teacher_gradient

    @property
    def finite(self):
        return self.error is None and np.isfinite(self.value) and bool(np.isfinite(self.gradient).all())


def _plain(loss, case):
    value, gradient = loss(case)
    return Answer(float(value), np.asarray(gradient, dtype=np.float64))


def _by_torch(loss, case):
    import torch
    arrays = {name: torch.from_numpy(np.ascontiguousarray(getattr(case, name))) for name in case.ARRAYS if getattr(case, name) is not None}
    given = case.but()
    given.__dict__.update(arrays, dense=None)
    given.student = arrays["student"].clone().requires_grad_()
    if given.teacher is not None:
        given.teacher = given.teacher.clone().requires_grad_()
    value = loss(given)
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        raise TypeError("it gave %r, not a tensor of one element" % (value,))
    leak = 0.0
    if value.requires_grad:
        value.backward()
    if given.teacher is not None and given.teacher.grad is not None:
        leak = float(given.teacher.grad.abs().max())
    gradient = given.student.grad if given.student.grad is not None else torch.zeros_like(given.student)
    return Answer(float(value.detach()), gradient.double().numpy(), teacher_gradient=leak)


def ask(loss, case):
    """What a loss says of a case."""
    try:
        given = case.but()
        given.dense = None  # what a target was made of is not for losses
        answer = _by_torch(loss, case) if getattr(loss, "torch", False) else _plain(loss, given)
    except Exception as error:  # whatever it is, it is the loss's answer
        return Answer(error="%s: %s" % (type(error).__name__, str(error).splitlines()[0] if str(error) else ""))
    if answer.gradient.shape != tuple(case.student.shape):
        return Answer(error="the gradient has shape %s, the student %s" % (list(answer.gradient.shape), list(case.student.shape)))
    return answer


def ask_drawn(loss, case, make):
    """The mean over what the student may draw: make(case, id) gives the case in which every row drew that id."""
    from ._cases import log_softmax
    q = np.exp(log_softmax(case.student[..., :case.vocab] / case.temperature))
    rows = np.zeros(case.student.shape)
    values = 0.0
    for token in range(case.vocab):
        answer = ask(loss, make(case, token))
        if answer.error is not None:
            return answer
        rows += q[..., token, None] * answer.gradient
        for row in np.argwhere(case.mask):  # a row's own value: the others are masked
            alone = np.full_like(case.labels, -100)
            alone[tuple(row)] = case.labels[tuple(row)]
            only = make(case.but(labels=alone, divisor=case.divisor), token)
            values += q[tuple(row)][token] * ask(loss, only).value
    return Answer(values, rows)
