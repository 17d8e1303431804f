"""Goes through cases and relations with a loss and says which defects explain what it does."""
import itertools

import numpy as np

from .. import inspect as library
from . import _cases, _defects, _relations
from ._predict import Claim, predict
from ._probe import Answer, ask, ask_drawn


def claim_of(loss, /, **said):
    """What a loss says it is: its attribute `claims`, and what is said beside it. Options go by keyword names (jsd__teacher_weight)."""
    claims = dict(getattr(loss, "claims", {}), **{name: value for name, value in said.items() if value is not None})
    claim = Claim(**claims)
    table = library().to_dict()["loss_table"]
    if claim.loss is not None and claim.loss not in table:
        raise ValueError("there is no loss %r to compare with; there are %s" % (claim.loss, ", ".join(table)))
    if claim.loss is not None and claim.t_squared is None:
        claim.t_squared = bool(table[claim.loss]["t_squared"])
    if claim.loss is not None and not table[claim.loss]["temperature"]:
        claim.temperature = False
    return claim


def _dress(claim, k=4):
    return lambda case: _cases.with_top_k(case, min(k, case.vocab - 1)) if claim.targets == "top_k" else case


def _match(answer, wanted):
    """What differs; None = nothing."""
    if wanted is None:
        return "not comparable"
    return _relations.same(Answer(*wanted), answer)


def identify(loss, said):
    """Which built-in loss, at its default options, this is; None = none of them."""
    for name, told in library().to_dict()["loss_table"].items():
        for t_squared in (True, False):
            claim = claim_of(loss, **dict(said, loss=name, t_squared=t_squared))
            cases = [_dress(claim)(case) for case in _cases.cases()[:2]]
            if claim.targets == "dense" and all(_match(ask(loss, case), predict(claim, case)) is None for case in cases):
                return dict(said, loss=name, t_squared=t_squared)
    return None


def _explains(claim, observed, failed, knobs):
    """Names of the failed cases that a set of knobs explains; None where it makes another of what is right."""
    explained = []
    for case, answer in observed:
        wanted = predict(claim, case, knobs) if answer.error is None else None
        fits = wanted is not None and _match(answer, wanted) is None
        if case.name in failed and fits:
            explained.append(case.name)
        elif case.name not in failed and wanted is not None and not fits:
            return None
    return explained


def _merged(parts):
    """Knobs of several defects, None where two of them turn the same."""
    merged = {}
    for part in parts:
        if set(part) & set(merged):
            return None
        merged.update(part)
    return merged


def _candidates(claim, most=2):
    known = [(defect.name, defect.knobs(claim)) for defect in _defects.TABLE if defect.knobs is not None]
    known = [(name, knobs) for name, knobs in known if knobs]
    for count in range(1, most + 1):
        for chosen in itertools.combinations(known, count):
            knobs = _merged(part for _, part in chosen)
            if knobs is not None:
                yield [name for name, _ in chosen], knobs


def _diagnose(claim, observed, failed):
    """The smallest sets of defects that explain most of what differs, without making another of what is right; and what is left."""
    found, left = [], list(failed)
    while left:
        best, explained = [], []
        for names, knobs in _candidates(claim, 1 if found else 2):
            newly = [name for name in _explains(claim, observed, failed, knobs) or [] if name in left]
            if len(newly) > len(explained):
                best, explained = names, newly
        if not explained:
            break
        found += [name for name in best if name not in found]
        left = [name for name in left if name not in explained]
    return found, left


def _drawn(loss, claim):
    """What an estimator by draws gives on average."""
    case = _cases.cases()[3]
    answer = ask_drawn(loss, case, _cases.with_sample)
    if answer.error is not None:
        return [("mean over draws", answer.error)], []
    wanted = Answer(*predict(Claim(claim.loss, claim.options, claim.t_squared), case))
    differs = _relations.same(wanted, answer)
    if differs is None:
        return [("mean over draws", None)], []
    size = np.linalg.norm(answer.gradient) / np.linalg.norm(wanted.gradient)
    if size < 1e-3:
        return [("mean over draws", differs)], ["draws without their probability's gradient"]
    bucket = np.zeros_like(answer.gradient)
    q = np.exp(_cases.log_softmax(case.student / case.temperature))
    for token in range(case.vocab):
        one = _cases.with_top_k(case, 1)
        one.ids[...] = token
        log_p = _cases.log_softmax(case.dense / case.temperature)[..., token]
        one = one.but(log_probs=log_p[..., None].astype(np.float32), tail=np.log(-np.expm1(log_p)).astype(np.float32))
        bucket += q[..., token, None] * predict(Claim("reverse_kl", {}, claim.t_squared, "top_k"), one)[1]
    found = ["two outcomes for a drawn token"] if _relations.near(answer.gradient, bucket) else []
    return [("mean over draws", "%s; its size is %.3f of the true one" % (differs, size))], found


def _asked(loss, claim):
    dress = _dress(claim)
    asked = _cases.cases() if claim.temperature else [case for case in _cases.cases() if case.temperature == 1]
    if claim.targets != "dense":
        asked = [case for case in asked if not case.optional]
    observed = [(case, ask(loss, case)) for case in map(dress, asked)]
    if claim.targets == "top_k":
        alone, surer = _cases.with_top_k(_cases.cases()[0], 1), _cases.surer(4)
        alone.name = "k = 1"
        observed += [(alone, ask(loss, alone)), (surer, ask(loss, surer))]
    return observed


def _related(loss, claim):
    for relation in _relations.TABLE:
        if claim.targets == "top_k" and relation.holds in (_relations.agreement_gradient,):
            continue
        yield relation, relation.holds(loss, claim, _dress(claim))


def check(loss, /, **said):
    """A dict: claim, cases and relations [{name, problem}], defects [{name, sentence, reference}], unexplained, ok."""
    if said.get("loss", getattr(loss, "claims", {}).get("loss")) is None:
        known = identify(loss, said)
        if known is None:
            raise ValueError("it is none of the library's losses at their default options: say which it is meant to be (claims, --loss)")
        said = known
    claim = claim_of(loss, **said)
    if claim.targets == "sampled":
        cases, found = _drawn(loss, claim)
        related, left = [], []
    else:
        observed = _asked(loss, claim)
        if all(answer.error is not None for _, answer in observed):  # a fault of how it is called, and no defect of its arithmetic
            raise ValueError("the loss answers no case: %s" % observed[0][1].error)
        cases = [(case.name, None if case.optional and answer.error is not None else answer.error or _match(answer, predict(claim, case)))
                 for case, answer in observed]
        failed = [name for name, problem in cases if problem]
        found, left = _diagnose(claim, observed, failed) if failed else ([], [])
        related = list(_related(loss, claim))
        known = set(found).union(*(_defects.FOLLOWS.get(name, ()) for name in found))
        found += sorted({relation.defect for relation, problem in related if problem and relation.defect} - known)
    return {
        "claim": str(claim), "cases": [{"name": name, "problem": problem} for name, problem in cases],
        "relations": [{"name": relation.name, "problem": problem} for relation, problem in related],
        "defects": [{"name": name, "sentence": _defects.BY_NAME[name].sentence, "reference": _defects.BY_NAME[name].reference} for name in found],
        "unexplained": left, "ok": not any(problem for _, problem in cases) and not any(problem for _, problem in related)}
