"""The suite finds the defect of every wrong loss, finds nothing in right ones, and says what it cannot check."""
import json
import pathlib
import subprocess
import sys

import pytest

np = pytest.importorskip("numpy")
import wrong_losses  # noqa: E402

import distill  # noqa: E402
from distill import conformance  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent


def run(*arguments):
    return subprocess.run([sys.executable, "-B", "-m", "distill.conformance", *arguments], capture_output=True, text=True, check=False, cwd=HERE)


@pytest.mark.parametrize("name", sorted(wrong_losses.LOSSES))
def test_every_planted_defect_is_found(name):
    loss = wrong_losses.LOSSES[name]
    found = conformance.check(loss)
    assert not found["ok"] and loss.defect in [defect["name"] for defect in found["defects"]], found
    assert [defect["name"] for defect in found["defects"]] == [loss.defect], found["defects"]


def test_no_known_defect_lacks_a_wrong_loss():
    planted = {loss.defect for loss in wrong_losses.LOSSES.values()}
    assert {defect.name for defect in conformance.defects} - planted == {"teacher is differentiated"}  # torch's: below


def with_claims(function, **claims):
    function.claims = claims
    return function


@pytest.mark.parametrize("loss", [
    with_claims(lambda case: wrong_losses.right(case), loss="forward_kl"),
    with_claims(lambda case: wrong_losses.right(case, wrong_losses.reverse, t_squared=False), loss="reverse_kl", t_squared=False),
    with_claims(lambda case: wrong_losses.right(case, wrong_losses.jsd(0.3)), loss="jsd", options={"jsd__teacher_weight": 0.3}),
    wrong_losses.right_top_k, wrong_losses.right_drawn], ids=["forward_kl", "reverse_kl", "jsd", "top_k", "drawn"])
def test_nothing_is_found_in_right_losses(loss):
    found = conformance.check(loss)
    assert found["ok"] and not found["defects"], found


@pytest.mark.parametrize("name", [name for name in distill.inspect().to_dict()["loss_table"]])
def test_nothing_is_found_in_the_librarys_own(name):
    def own(case):
        z, t = (part.reshape(-1, part.shape[-1]) for part in (case.student, case.teacher))
        gradient, scale = np.zeros(z.shape, dtype=np.float32), 1 / max(case.divisor, 1)
        result = distill.Loss(name, temperature=case.temperature)(distill.dense(z, vocab_valid=case.vocab), distill.dense(t, vocab_valid=case.vocab),
                                                                 labels=case.labels.reshape(-1), gradient=gradient, grad_scale=scale)
        return result.sum * scale, gradient.reshape(case.student.shape)

    found = conformance.check(own, loss=name)
    assert found["ok"], found


def test_a_loss_that_says_nothing_is_recognised():
    found = conformance.check(lambda case: wrong_losses.right(case, wrong_losses.jsd(0.5), t_squared=False))
    assert found["ok"] and found["claim"].startswith("jsd, T squared off")
    with pytest.raises(ValueError, match="say which it is meant to be"):
        conformance.check(lambda case: (1.0, np.ones(case.student.shape)))


def test_two_defects_at_once_are_both_named():
    def both(case):
        value, gradient = wrong_losses.right(case, wrong_losses.reverse, t_squared=False)
        width = case.student.shape[-1]
        return value / width, gradient / width

    found = conformance.check(both, loss="forward_kl")
    assert {"directions swapped", "divided by the vocabulary"} <= {defect["name"] for defect in found["defects"]} or len(found["defects"]) == 2
    broken = conformance.check(lambda case: (1.0, np.zeros(case.student.shape)), loss="forward_kl")
    assert broken["unexplained"] and not broken["ok"]


def test_torch_losses_by_autograd():
    torch = pytest.importorskip("torch")

    def forward_kl(case, detach=True):
        z = torch.where(case.mask[..., None], case.student, 0.0)[..., :case.vocab]
        t = torch.where(case.mask[..., None], case.teacher.detach() if detach else case.teacher, 0.0)[..., :case.vocab]
        q, p = torch.log_softmax(z / case.temperature, -1), torch.log_softmax(t / case.temperature, -1)
        rows = torch.where(p > -torch.inf, p.exp() * (p - q), 0.0).sum(-1) * case.mask
        return rows.sum() * case.temperature ** 2 / max(case.divisor, 1)

    forward_kl.torch, forward_kl.claims = True, {"loss": "forward_kl"}
    found = conformance.check(forward_kl)
    assert found["ok"], found
    leaking = with_claims(lambda case: forward_kl(case, detach=False), loss="forward_kl")
    leaking.torch = True
    assert "teacher is differentiated" in [defect["name"] for defect in conformance.check(leaking)["defects"]]


def test_the_program():
    help_text = run("--help")
    assert help_text.returncode == 0 and "MODULE:FUNCTION" in help_text.stdout and "exit status" in help_text.stdout
    good, bad = run(), run("wrong_losses:reported_t_squared")
    assert good.returncode == 0 and good.stdout.endswith("nothing was found\n")
    assert bad.returncode == 1 and "defect: T squared of the value only: the reported value" in bad.stdout and "Axolotl" in bad.stdout
    as_json = json.loads(run("--json", "wrong_losses:beta_of_the_student").stdout)
    assert as_json["defects"][0]["name"] == "weight of the other distribution" and not as_json["ok"]
    claimed = run("--loss", "jsd", "--option", "jsd.teacher_weight=0.7", "wrong_losses:beta_of_the_student")
    assert claimed.returncode == 0, claimed.stdout
    for arguments, said in ((["wrong_losses"], "not MODULE:FUNCTION"), (["no_such:loss"], "no_such"), (["--loss", "kl", "wrong_losses:summed"], "there is no loss")):
        refused = run(*arguments)
        assert refused.returncode == 2 and said in refused.stderr
    assert len(run("--list").stdout.splitlines()) == len(conformance.defects)


def test_a_loss_that_fails_is_no_defect():
    with pytest.raises(ValueError, match="answers no case: AttributeError.*nothing"):
        conformance.check(with_claims(lambda case: case.nothing, loss="forward_kl"))


PRESETS = {"trl-gkd": ("jsd", False, {"temperature never used"}), "msswift-topk": ("forward_kl", False, {"top-k renormalised on both sides"}),
           "verl-trunc": ("forward_kl", False, {"temperature never used", "top-k truncated and clamped"}),
           "distillkit": ("forward_kl", True, {"top-k of the teacher renormalised"})}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_have_the_defects_of_their_tools(name):
    loss, t_squared, defects = PRESETS[name]
    options = {"loss__msswift_topk__beta": 0.0} if name == "msswift-topk" else {}
    heated = name in ("msswift-topk", "distillkit")

    def theirs(case):
        z, labels = case.student.reshape(-1, case.student.shape[-1]), case.labels.reshape(-1)
        if case.teacher is None:
            k = case.ids.shape[-1]
            log_p = np.ascontiguousarray(case.log_probs.reshape(-1, k))
            target = distill.top_k(log_p, case.ids.reshape(-1, k).astype(np.int32), temperature=case.temperature if heated else 1.0)
        else:
            target = distill.dense(case.teacher.reshape(-1, case.teacher.shape[-1]), vocab_valid=case.vocab)
        gradient = np.zeros(z.shape, dtype=np.float32)
        handle = distill.Loss(name, **options, **({"temperature": case.temperature} if heated else {}))
        result = handle(distill.dense(z, vocab_valid=case.vocab), target, labels=labels, gradient=gradient, divisor=float(max(case.divisor, 1)))
        return result.sum, gradient.reshape(case.student.shape)

    found = conformance.check(theirs, loss=loss, t_squared=t_squared, targets="dense" if name == "trl-gkd" else "top_k")
    assert defects <= {defect["name"] for defect in found["defects"]}, found
