"""The losses as functions of torch tensors, against torch's autograd of their formulas in doubles."""
import concurrent.futures
import subprocess
import sys

import pytest

import distill


def test_without_torch_the_module_says_what_is_missing():
    for module, package in (("torch", "PyTorch"), ("jax", "JAX")):
        code = "import sys; sys.modules[%r] = None\ntry:\n import distill.%s\nexcept ImportError as e: print(e)" % (module, module)
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert said.startswith("distill.%s needs %s" % (module, package)) and "pip install " + module in said


torch = pytest.importorskip("torch")
import distill.torch as losses  # noqa: E402
import torch_formulas  # noqa: E402

NAMES = [name for name in losses.__all__ if name in distill.inspect().to_dict()["loss_table"]]
T_SQUARED = {name for name, told in distill.inspect().to_dict()["loss_table"].items() if told["t_squared"]}
PLAIN = {name for name, told in distill.inspect().to_dict()["loss_table"].items() if not told["temperature"]}
OTHER = {"jsd": {"teacher_weight": 0.3}, "skew_reverse_kl": {"lambda_": 0.25}, "cross_entropy": {"label_smoothing": 0.1, "z_loss": 1e-3},
         "alpha_beta": {"alpha": 0.5, "beta": 0.5}, "dkd": {"non_target_weight": 2.0}, "rank_hinge": {"top_k": 4, "margin": 0.3}}


@pytest.fixture(name="case")
def _case():
    random = torch.Generator().manual_seed(7)
    rows, vocab, width = (3, 4), 13, 6
    made = {"z": torch.randn(*rows, vocab, generator=random) * 2, "t": torch.randn(*rows, vocab, generator=random) * 2,
            "labels": torch.randint(0, vocab, rows, generator=random), "weights": torch.rand(*rows, generator=random) + 0.5,
            "hidden": torch.randn(*rows, width, generator=random), "head": torch.randn(vocab, width, generator=random),
            "bias": torch.randn(vocab, generator=random)}
    made["labels"][1, 2] = -100
    made["mask"] = torch.rand(*rows, generator=random) > 0.3
    return made


def expected(name, case, z, temperature, options, reduction="mean", t=None):
    """The value by formula over the rows that count."""
    target = (case["t"] if t is None else t).double()
    counts = torch.where((case["labels"] >= 0) & case["mask"], case["weights"].double(), 0.0)
    flat = z.reshape(-1, z.shape[-1]), target.reshape(-1, target.shape[-1]), case["labels"].reshape(-1).clamp(min=0)
    defaults = {key: default for key, (_, default) in distill._losses.builtins()[name].options.items()}
    values = torch_formulas.value(name, *flat, 1.0 if name in PLAIN else temperature, dict(defaults, **options))
    total = (values * counts.reshape(-1)).sum() * (temperature ** 2 if name in T_SQUARED else 1)
    return total if reduction == "sum" else total / counts.sum()


def given(case, *names):
    return {name: case[name] for name in names or ("labels", "mask", "weights")}


def test_every_built_in_loss_is_there():
    told = distill.inspect().to_dict()
    assert NAMES == list(told["loss_table"]) and len(NAMES) >= 17
    assert sorted(NAMES + ["dpo"] + list(told["feature_table"]) + list(told["preset_table"])) == sorted(told["losses"].split(", "))
    assert distill._training._PRESETS == tuple(told["preset_table"])
    for name in NAMES:
        assert callable(getattr(losses, "fused_linear_" + name))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_are_those_of_the_formula(name, temperature, case):
    for options in ({}, OTHER.get(name, {})):
        z = case["z"].clone().requires_grad_()
        heat = {} if name in PLAIN else {"temperature": temperature}
        value = getattr(losses, name)(z, case["t"], **heat, **options, **given(case))
        (3 * value).backward()
        exact = case["z"].double().requires_grad_()
        wanted = expected(name, case, exact, temperature, options)
        (3 * wanted).backward()
        assert value.dtype == torch.float32 and value.item() == pytest.approx(wanted.item(), rel=2e-6, abs=1e-7)
        assert z.grad.dtype == torch.float32 and torch.allclose(z.grad.double(), exact.grad, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["forward_kl", "reverse_kl", "logit_mse"])
def test_other_types_have_gradients_of_their_own(name, dtype, case):
    z, t = case["z"].to(dtype).requires_grad_(), case["t"].to(dtype)
    value = getattr(losses, name)(z, t, **given(case))
    value.backward()
    exact = z.detach().double().requires_grad_()
    wanted = expected(name, case, exact, 1.0, {}, t=t)
    wanted.backward()
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert float(value) == pytest.approx(float(wanted), rel=5e-6) and z.grad.dtype == dtype
    assert torch.allclose(z.grad.double(), exact.grad, rtol=1e-2 if dtype == torch.bfloat16 else 2e-3, atol=2e-5)


@pytest.mark.parametrize("view", [lambda x: x[:, 1:], lambda x: x[:, :-1], lambda x: x.transpose(0, 1), lambda x: x[::2],
                                  lambda x: x[..., :7], lambda x: x.flip(0), lambda x: x[:1].expand(5, -1, -1)])
def test_views_of_any_strides(view, case):
    z = case["z"].clone().requires_grad_()
    value = losses.reverse_kl(view(z), view(case["t"]), reduction="sum")
    value.backward()
    exact = case["z"].double().requires_grad_()
    wanted = torch_formulas.value("reverse_kl", view(exact), view(case["t"].double()), None, 1.0, {}).sum()
    wanted.backward()
    assert float(value) == pytest.approx(float(wanted), rel=1e-6) and torch.allclose(z.grad.double(), exact.grad, atol=1e-5)


def test_nothing_is_copied(case, monkeypatch):
    """All that the library is shown lies in the tensors' own memory."""
    shown = []
    make = losses._view
    monkeypatch.setattr(losses, "_view", lambda tensor, name: (shown.append((name, tensor.untyped_storage().data_ptr())), make(tensor, name))[1])
    z, t = case["z"].to(torch.bfloat16), case["t"].to(torch.bfloat16)
    losses.forward_kl(z[:, 1:], t[:, 1:])
    known = {z.untyped_storage().data_ptr(), t.untyped_storage().data_ptr()}
    assert len(shown) >= 2 and {place for name, place in shown} == known


@pytest.mark.parametrize("name", NAMES)
def test_the_fused_form_gives_all_three_gradients(name, case):
    parts = [case[part].clone().requires_grad_() for part in ("hidden", "head", "bias")]
    heat = {} if name in PLAIN else {"temperature": 2.0}
    value = getattr(losses, "fused_linear_" + name)(*parts[:2], case["t"], bias=parts[2], softcap=5.0, logit_scale=0.5, **heat, **given(case))
    value.backward()
    exact = [case[part].double().requires_grad_() for part in ("hidden", "head", "bias")]
    z = 5 * torch.tanh(0.5 * (exact[0] @ exact[1].T + exact[2]) / 5)
    wanted = expected(name, case, z, 2.0, {})
    wanted.backward()
    assert float(value) == pytest.approx(float(wanted), rel=1e-5, abs=1e-6)
    for part, other in zip(parts, exact):
        assert torch.allclose(part.grad.double(), other.grad, rtol=1e-3, atol=1e-5)


def test_a_fused_head_in_bfloat16_against_a_fused_teacher(case):
    hidden, head = (case[part].to(torch.bfloat16).requires_grad_() for part in ("hidden", "head"))
    teacher = torch.randn(13, 6, generator=torch.Generator().manual_seed(3))
    target = distill.hidden(case["hidden"].reshape(-1, 6), teacher)
    losses.fused_linear_jsd(hidden[:, 1:], head, case["t"][:, 1:]).backward()
    assert hidden.grad.dtype == head.grad.dtype == torch.bfloat16 and hidden.grad[:, 0].abs().sum() == 0
    value = losses.fused_linear_forward_kl(hidden, head, target)
    exact = torch_formulas.value("forward_kl", hidden.detach().double() @ head.detach().double().T,
                                 case["hidden"].double() @ teacher.double().T, None, 1.0, {})
    assert float(value) == pytest.approx(float(exact.mean()), rel=1e-4)


def test_a_head_whose_gradient_nobody_wants_gets_none(case):
    hidden, head = case["hidden"].clone().requires_grad_(), case["head"]
    losses.fused_linear_forward_kl(hidden, head, case["t"]).backward()
    assert hidden.grad is not None and head.grad is None
    with torch.no_grad():
        assert not losses.forward_kl(case["z"].requires_grad_(), case["t"]).requires_grad


def test_targets_that_are_not_logits_follow_the_rows_of_a_view(case):
    log_p, ids = torch.log_softmax(case["t"], -1).topk(4, -1)
    rows = [part[:, 1:].reshape(-1, 4) for part in (log_p, ids.int())]
    target = distill.top_k(rows[0], rows[1], torch.log1p(-rows[0].exp().sum(-1)))
    pieces, whole = case["z"].clone().requires_grad_(), case["z"].clone().requires_grad_()
    first, second = losses.jsd(pieces[:, 1:], target), losses.jsd(whole[:, 1:].contiguous(), target)
    first.backward()
    second.backward()
    assert float(first) == pytest.approx(float(second), rel=1e-6) and torch.allclose(pieces.grad, whole.grad, atol=1e-7)


def test_sums_of_micro_batches_are_the_sum(case):
    whole = losses.jsd(case["z"], case["t"], reduction="sum", **given(case))
    parts = [losses.jsd(case["z"][i], case["t"][i], reduction="sum", **{name: part[i] for name, part in given(case).items()}) for i in range(3)]
    assert float(sum(parts)) == pytest.approx(float(whole), rel=1e-6)


def test_nothing_that_counts_is_zero_and_has_a_zero_gradient(case):
    z = case["z"].clone().requires_grad_()
    value = losses.reverse_kl(z, case["t"], mask=torch.zeros(3, 4, dtype=torch.bool))
    value.backward()
    assert float(value) == 0 and z.grad.abs().sum() == 0
    empty = torch.zeros(0, 13, requires_grad=True)
    assert float(losses.forward_kl(empty, torch.zeros(0, 13))) == 0


def test_the_graph_may_be_gone_through_twice_but_not_differentiated_twice(case):
    z = case["z"].clone().requires_grad_()
    value = losses.forward_kl(z, case["t"])
    value.backward(retain_graph=True)
    once = z.grad.clone()
    value.backward()
    assert torch.equal(z.grad, 2 * once)
    gradient, = torch.autograd.grad(losses.forward_kl(z, case["t"]), z, create_graph=True)
    assert torch.allclose(gradient, once)
    with pytest.raises(RuntimeError, match="forward_kl: second derivatives are not implemented"):
        gradient.square().sum().backward()


def test_a_loss_of_several_terms_and_one_of_a_hosts_own(case, env):
    def squared(rows):
        rows.value[:] = ((rows.student - rows.teacher) ** 2).sum(1)
        rows.gradient[:] = 2 * (rows.student - rows.teacher)

    env.add_loss("torch_squared", squared)
    both = distill.Loss(options={"loss": [{"type": "jsd"}, {"type": "torch_squared", "weight": 0.5}]}, env=env)
    z = case["z"].clone().requires_grad_()
    losses.loss(both, z, case["t"]).backward()
    exact = case["z"].double().requires_grad_()
    value = torch_formulas.value("jsd", exact, case["t"].double(), None, 1.0, {"teacher_weight": 0.5}) + 0.5 * ((exact - case["t"]) ** 2).sum(-1)
    value.mean().backward()
    assert torch.allclose(z.grad.double(), exact.grad, atol=1e-5)


def test_a_loss_that_measures_has_a_sequence_for_each_of_a_batch(env):
    def first(rows, out):
        out[:, 0], out[:, 1] = rows.student[:, 0], 1

    def apart(rows):
        rows.value[:] = (rows.sequence_sums[rows.sequences, 0] / rows.sequence_sums[rows.sequences, 1] - rows.student[:, 0]) ** 2

    env.add_loss("torch_apart", apart, targets=(), measure=first, sums=2)
    handle = distill.Loss("torch_apart", env=env)
    z = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(1))[:, 1:, :]  # no strides make one matrix of it
    wanted = float((z[..., 0] - z[..., 0].mean(1, keepdim=True)).square().sum())
    for student in (z, z.contiguous()):
        assert float(losses.loss(handle, student, reduction="sum")) == pytest.approx(wanted, rel=1e-5)


def test_a_schedule_is_read_at_its_step(case):
    course = {"schedule": "linear", "from": 0.2, "to": 0.8, "steps": 10}
    at = [float(losses.taid(case["z"], case["t"], t=course, step=step)) for step in (0, 5, 10)]
    assert at == pytest.approx([float(losses.taid(case["z"], case["t"], t=t)) for t in (0.2, 0.5, 0.8)], rel=1e-6)


@pytest.mark.parametrize("arguments, said", [
    ({"reduction": "none"}, "reduction is 'none'"), ({"labels": torch.zeros(12, dtype=torch.int64)}, "labels have shape"),
    ({"labels": torch.zeros(3, 4)}, "labels are of type torch.float32"), ({"mask": torch.ones(3, 4)}, "mask are of type"),
    ({"temperature": 0.0}, "temperature"), ({"teacher_weight": 0.0}, "forward_kl"), ({"lambda_": 0.5}, "no option lambda_"),
    ({"labels": torch.full((3, 4), 13)}, "outside the 13 ids"), ({"weights": torch.ones(3, 4, requires_grad=True)}, "require a gradient"),
    ({"target": torch.zeros(2, 4, 13)}, "target has rows"), ({"target": torch.zeros(3, 4, 13, requires_grad=True)}, "none goes to a teacher"),
    ({"target": [1.0]}, "target is a list"), ({"student": torch.zeros(3, 4, 13, device="meta")}, "is on meta"),
    ({"student": torch.zeros(3, 4, 13, dtype=torch.int8)}, "torch.int8"), ({"student": torch.zeros(13)}, "at least one row"),
    ({"target": None}, "needs a teacher"), ({"weights": torch.tensor([1.0] * 5 + [-0.5] + [1.0] * 6).reshape(3, 4)}, "args.weights: entry 5 is -0.5"),
    ({"weights": torch.full((3, 4), float("nan"))}, "args.weights: entry 0 is not finite"), ({"step": -1}, "args.step is -1")])
def test_what_is_wrong_is_named(arguments, said, case):
    called = dict({"student": case["z"], "target": case["t"]}, **arguments)
    with pytest.raises((ValueError, TypeError, distill.DistillError), match=said):
        losses.jsd(called.pop("student"), called.pop("target"), **called)


def test_a_row_that_fp32_does_not_hold_is_named(case):
    powers = {"alpha": -2.0, "beta": -2.0}
    student, target = case["z"].clone(), case["z"].clone()
    student[1, 0, 0] -= 60
    assert torch.isfinite(losses.alpha_beta(case["z"], case["t"], **powers))
    with pytest.raises(distill.NumericError, match="loss alpha_beta: value of row 4 is"):
        losses.alpha_beta(student, target, **powers)


def test_many_threads_share_a_loss(case):
    wanted = {name: float(getattr(losses, name)(case["z"], case["t"], temperature=2.0)) for name in ("forward_kl", "jsd")}

    def one(i):
        name = ("forward_kl", "jsd")[i % 2]
        return name, float(getattr(losses, name)(case["z"].clone(), case["t"], temperature=2.0))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for name, value in pool.map(one, range(200)):
            assert value == wanted[name]


# ---- losses as other tools have them ----

def test_a_preset_is_divided_as_its_tool_does(case):
    labels = case["labels"].clone()
    labels[0, 1] = -100
    counts = int((labels >= 0).sum())
    for reduction in ("mean", "sum"):
        for divisor in (0, 9):
            z = case["z"].clone().requires_grad_()
            value = losses.trl_gkd(z, case["t"], beta=0.0, labels=labels, reduction=reduction, divisor=divisor)
            value.backward()
            exact = case["z"].double().requires_grad_()
            q, p = torch.log_softmax(exact, -1), torch.log_softmax(case["t"].double(), -1)
            wanted = (p.exp() * (p - q)).sum(-1)[labels >= 0].sum() / (divisor or counts)
            wanted.backward()
            assert abs(value.item() - wanted.item()) < 1e-6 * wanted.item()
            assert torch.allclose(z.grad.double(), exact.grad, atol=1e-7)


@pytest.mark.parametrize("name", ["trl_gkd", "distillkit"])
def test_a_preset_of_a_view_in_pieces_is_that_of_the_whole(name, case):
    wide = torch.stack([case["z"], case["z"] * 0], 1)[:, 0].transpose(0, 1)  # no strides of two dimensions say it
    whole = wide.contiguous().requires_grad_()
    cut = wide.clone(memory_format=torch.preserve_format).requires_grad_()
    values = []
    for z in (whole, cut):
        value = getattr(losses, name)(z, case["t"].transpose(0, 1), labels=case["labels"].transpose(0, 1))
        value.backward()
        values.append(value.item())
    assert abs(values[0] - values[1]) < 1e-6 and torch.allclose(whole.grad, cut.grad, atol=1e-7)


def test_presets_on_a_few_ids_and_what_they_say_of_themselves(case):
    z, t = case["z"].reshape(-1, 13), case["t"].reshape(-1, 13)
    for k in (1, 3):
        log_p, ids = torch.log_softmax(t, -1).topk(k, -1)
        target = distill.top_k(log_p, ids)
        q, p = torch.log_softmax(z.gather(-1, ids), -1), torch.log_softmax(log_p, -1)
        m = torch.logaddexp(q, p) - torch.log(torch.tensor(2.0))
        wanted = ((p.exp() * (p - m) + q.exp() * (q - m)).sum(-1) / 2).mean()
        assert abs(losses.msswift_topk(z, target).item() - wanted.item()) < 1e-6
        here = torch.log_softmax(z, -1).gather(-1, ids)
        wanted = (log_p.exp() * (log_p - here)).sum(-1).clamp_min(0).mean()
        assert abs(losses.verl_trunc(z, target).item() - wanted.item()) < 1e-6
    for name, odd in (("trl_gkd", "never reaches the loss"), ("distillkit", "of the same position"), ("msswift_topk", "with k 1"), ("verl_trunc", "89 %")):
        function = getattr(losses, name)
        assert odd in function.__doc__ and "instead: " in function.__doc__ and "divisor" in str(losses._inspect.signature(function))
    assert "divisor" not in str(losses._inspect.signature(losses.forward_kl))
    with pytest.raises(distill.DistillError, match="args.divisor is of presets"):
        losses.loss(distill.Loss("jsd"), case["z"], case["t"], divisor=3)
    assert distill.Loss("trl-gkd").preset and distill.Loss(type="verl-trunc").preset and not distill.Loss("jsd").preset
    assert not distill.Loss(temperature=2.0).preset


def test_pairs_stay_together():
    """dpo against the same in torch's own operations, with prompts and padding masked; and what is refused."""
    torch.manual_seed(5)
    logits = torch.randn(6, 5, 7, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 7, (6, 5))
    labels[:, 0] = -1
    labels[3, 3:] = -1
    reference = torch.randn(6)
    loss = losses.dpo(logits, labels=labels, reference=reference, beta=0.3)
    loss.backward()
    other = logits.detach().clone().requires_grad_()
    each = torch.log_softmax(other, -1).gather(-1, labels.clamp(min=0)[..., None])[..., 0] * (labels >= 0)
    reward = 0.3 * (each.sum(-1) - reference)
    wanted = -torch.nn.functional.logsigmoid(reward[0::2] - reward[1::2]).mean()
    wanted.backward()
    assert float(loss) == pytest.approx(float(wanted), rel=1e-5)
    assert torch.allclose(logits.grad, other.grad, atol=1e-6)
    with pytest.raises(ValueError, match="there are 6 sequences"):
        losses.dpo(logits, labels=labels, reference=reference[:4])
    with pytest.raises(TypeError):
        losses.forward_kl(logits, logits.detach(), reference=reference)
