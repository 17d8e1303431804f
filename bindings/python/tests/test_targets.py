"""Every kind of target through a loss, a teacher of one's own and the pull mode; views as DLPack."""
import gc

import pytest

import distill
from distill import _dlpack

numpy = pytest.importorskip("numpy")
ROWS, VOCAB = 5, 12


def log_softmax(z):
    z = numpy.asarray(z, dtype="float64")
    z = z - z.max(-1, keepdims=True)
    return z - numpy.log(numpy.exp(z).sum(-1, keepdims=True))


@pytest.fixture
def logits():
    return numpy.random.default_rng(5).normal(size=(ROWS, VOCAB)).astype("float32")


def test_one_hot_is_cross_entropy_with_that_label(env, logits):
    ids = numpy.array([3, 0, 11, 3, 7], dtype="int32")
    gradient, values = numpy.zeros_like(logits), numpy.zeros(ROWS, dtype="float32")
    result = distill.Loss("forward_kl", env=env)(logits, distill.one_hot(ids), gradient=gradient, row_values=values)
    log_q = log_softmax(logits)
    expected = numpy.exp(log_q)
    expected[numpy.arange(ROWS), ids] -= 1
    assert values == pytest.approx(-log_q[numpy.arange(ROWS), ids], rel=1e-5)
    assert result.sum == pytest.approx(values.sum(), rel=1e-6) and numpy.allclose(gradient, expected, atol=1e-6)


def test_sampled_has_the_gradient_of_its_frequencies(env, logits):
    ids = numpy.array([[3, 5, -1], [0, 1, 2], [4, -1, -1], [9, 10, 11], [7, 6, -1]], dtype="int32")
    counts = numpy.array([[3, 1, 0], [1, 1, 2], [4, 0, 0], [2, 1, 1], [1, 3, 0]], dtype="float32")
    gradient = numpy.zeros_like(logits)
    distill.Loss("forward_kl", env=env)(logits, distill.sampled(counts, ids), gradient=gradient)
    expected = numpy.exp(log_softmax(logits))
    for row in range(ROWS):
        for at, count in zip(ids[row], counts[row]):
            if at >= 0:
                expected[row, at] -= count / counts[row].sum()
    assert numpy.allclose(gradient, expected, atol=1e-6)


def test_draws_with_their_entropy_have_a_kl(env, logits):
    """forward_kl is linear in what was drawn: the mean over draws is the divergence, the gradient does not know the entropy."""
    log_p = log_softmax(numpy.random.default_rng(9).normal(size=(ROWS, VOCAB)))
    entropy = -(numpy.exp(log_p) * log_p).sum(-1).astype("float32")
    every = numpy.tile(numpy.arange(VOCAB, dtype="int32"), (ROWS, 1))
    counts = numpy.exp(log_p).astype("float32") * 1000  # as often as they are likely
    loss, made = distill.Loss("forward_kl", env=env), {}
    for name, target in (("draws", distill.sampled(counts, every)), ("kl", distill.sampled(counts, every, entropy=entropy)),
                         ("dense", distill.dense(log_p.astype("float32")))):
        gradient, values = numpy.zeros_like(logits), numpy.zeros(ROWS, dtype="float32")
        loss(logits, target, gradient=gradient, row_values=values)
        made[name] = values, gradient
    assert made["kl"][0] == pytest.approx(made["dense"][0], rel=1e-4) and numpy.allclose(made["kl"][1], made["dense"][1], atol=1e-6)
    assert made["draws"][0] == pytest.approx(made["kl"][0] + entropy, rel=1e-5) and numpy.array_equal(made["draws"][1], made["kl"][1])
    picked = distill.sampled(counts[::2], every[::2], entropy=entropy[::2])  # strided rows
    assert loss(numpy.ascontiguousarray(logits[::2]), picked).sum == pytest.approx(float(made["kl"][0][::2].sum()), rel=1e-5)
    for wrong, said in ((entropy[:-1], "entropy: dimension 0"), (numpy.full(ROWS, numpy.nan, dtype="float32"), "entropy of row 0 is nan"),
                        (-1 - entropy, "entropy of row 0")):
        with pytest.raises(distill.DistillError, match=said):
            loss(logits, distill.sampled(counts, every, entropy=wrong))
    other = distill.dense(logits)
    other.entropy = distill.sampled(counts, every, entropy=entropy).entropy
    with pytest.raises(distill.DistillError, match="entropy is of SAMPLED targets alone, and this is DENSE"):
        loss(logits, other)
    with pytest.raises(ValueError, match="entropy goes with draws"):
        distill.Form(vocab=VOCAB, k=2, entropy=True)


@pytest.mark.parametrize("kind", ["top_k", "sampled"])
def test_what_was_made_at_a_temperature_is_taken_at_no_other(env, logits, kind):
    ids = numpy.array([[1, 2]] * ROWS, dtype="int32")
    target = distill.top_k(numpy.log(numpy.full((ROWS, 2), 0.25, dtype="float32")), ids, temperature=2.0) if kind == "top_k" else \
        distill.sampled(numpy.ones((ROWS, 2), dtype="float32"), ids, temperature=2.0)
    assert distill.Loss("forward_kl", temperature=2.0, env=env)(logits, target).count == ROWS
    for temperature in (1.0, 3.0):
        with pytest.raises(distill.DistillError, match="carry 2, which cannot be changed; set loss.temperature to 2"):
            distill.Loss("forward_kl", temperature=temperature, env=env)(logits, target)


def test_gradients_are_added_where_one_says_so(env, logits):
    loss, random = distill.Loss("cross_entropy", env=env), numpy.random.default_rng(6)
    rows, head = random.normal(size=(ROWS, 4)).astype("float32"), random.normal(size=(VOCAB, 4)).astype("float32")
    labels = numpy.array([1, 2, 3, 4, 5], dtype="int32")
    once = numpy.zeros_like(rows), numpy.zeros_like(head)
    loss(distill.hidden(rows, head), labels=labels, gradient=once[0], grad_head=once[1])
    added = numpy.ones_like(rows), numpy.ones_like(head)
    loss(distill.hidden(rows, head), labels=labels, gradient=added[0], grad_head=added[1], add_gradient=True, add_head=True)
    assert numpy.allclose(added[0] - 1, once[0], atol=1e-6) and numpy.allclose(added[1] - 1, once[1], atol=1e-6)


def teacher_of(kind, env):
    """A host's teacher over 300 ids that always says the same."""
    def score(batch, first, count, target):
        assert target.kind == kind
        if kind == "one_hot":
            return numpy.full(count, 7)
        target.ids[...] = [7, 8]
        if kind == "top_k":
            target.tail[...] = numpy.log(0.25)
        return numpy.log([[0.5, 0.25]]) if kind == "top_k" else [[3.0, 1.0]]

    forms = {"one_hot": {"one_hot": True}, "sampled": {"draws": 2}, "top_k": {"k": 2, "tail": True}}
    return distill.Teacher.from_function(score, distill.Form(vocab=300, **forms[kind]), env=env)


@pytest.mark.parametrize("kind", ["one_hot", "sampled", "top_k"])
def test_a_teacher_of_any_kind_teaches(kind, recipe, env, model_folder):
    for section in ("output", "teacher"):
        recipe.pop(section)
    recipe["student"], recipe["loss"] = {}, {"type": "forward_kl"}
    recipe["train"].update(steps=6, learning_rate=0.01)
    recipe["data"].pop("eval")
    student = distill.Student(model_folder, env=env)
    losses = [step.loss for step in distill.Trainer(recipe, student=student, teacher=teacher_of(kind, env), env=env)]
    assert len(losses) == 6 and losses[-1] < losses[0]


def test_forms_say_one_thing():
    for wrong in ({"k": 2, "draws": 3}, {"draws": 2, "tail": True}, {"one_hot": True, "k": 1}):
        with pytest.raises(ValueError):
            distill.Form(vocab=300, **wrong)
    with pytest.raises(ValueError, match="vocab"):
        distill.Form(draws=3)


def test_strips_and_forwards_show_what_they_are_about(recipe, env, model_folder):
    for section in ("output", "teacher"):
        recipe.pop(section)
    recipe["student"], recipe["loss"] = {}, {"type": "forward_kl"}
    recipe["data"].pop("eval")
    student = distill.Student(model_folder, env=env)
    trainer = distill.Trainer(recipe, student=student, teacher=teacher_of("top_k", env), env=env)
    forward = trainer.forward()
    batch, rows = forward.batch, forward.rows
    assert batch.sequences > 0 and len(batch.ids) == batch.offsets[-1] and len(batch.rows) == rows
    assert numpy.array_equal(numpy.array(forward.labels.array()), batch.ids[numpy.array(batch.rows) + 1])
    seen = 0
    for strip in trainer.strips():
        assert strip.teacher is None and strip.target.kind == "top_k"
        assert numpy.array_equal(strip.target.ids, numpy.tile([7, 8], (strip.rows, 1)))
        own = distill.Loss("forward_kl", env=env)
        gradient = numpy.zeros((strip.rows, strip.vocab), dtype="float32")
        strip.loss = own(numpy.array(strip.student), strip.target, weights=strip.weights, gradient=gradient).sum
        strip.student[:] = gradient
        target, seen = strip.target, seen + strip.rows
    assert seen == rows
    with pytest.raises(RuntimeError, match="borrowed"):
        target.ids
    trainer.backward()
    assert trainer.apply().loss > 0
    with pytest.raises(RuntimeError, match="borrowed"):
        batch.ids


def test_a_loop_over_hidden_states_is_the_trainers_own_loss(recipe, env):
    """The head's gradient is the host's: it goes into the head's parameter."""
    recipe.pop("output")
    recipe["loss"] = {"type": "forward_kl", "temperature": 2.0}
    recipe["train"].update(batch_size=4, micro_batch_size=2)
    own = distill.Trainer(recipe, env=env)
    while own.step() is not None:
        pass
    trainer, loss = distill.Trainer(recipe, env=env), distill.Loss(env=env, options=distill.Options(recipe, env=env))
    student, moved = trainer.student(), False
    while True:
        forward = trainer.forward()
        if forward is None:
            break
        gradient = numpy.empty(forward.hidden.shape, dtype="float32")
        result = loss(forward.student, forward.teacher, labels=forward.labels, weights=forward.weights, gradient=gradient,
                      grad_head=student.parameter(student.head_name, gradient=True), add_head=True)
        trainer.backward(gradient, loss=result.sum)
        moved = moved or forward.micro_batch > 0
        if forward.last:
            trainer.apply()
    assert moved
    for name in student.parameter_names():
        expected, got = own.student().parameter(name).array(), student.parameter(name).array()
        assert numpy.allclose(expected, got, atol=2e-6), name


def test_views_are_dlpack(model_folder, env):
    student = distill.Student(model_folder, env=env)
    view = student.parameter(student.parameter_names()[0])
    lent = len(_dlpack._lent)
    seen = numpy.from_dlpack(view)
    assert view.__dlpack_device__() == (distill.DISTILL_CPU, 0)
    assert seen.shape == view.shape and numpy.shares_memory(seen, view.array()) and len(_dlpack._lent) == lent + 1
    seen = None
    gc.collect()
    assert len(_dlpack._lent) == lent
    for arguments in ({}, {"max_version": (1, 0)}):  # capsules that nobody takes
        view.__dlpack__(**arguments)
    gc.collect()
    assert len(_dlpack._lent) == lent
    with pytest.raises(BufferError):
        view.__dlpack__(copy=True)


def test_a_read_only_view_says_so(recipe, env):
    recipe.pop("output")
    trainer = distill.Trainer(recipe, env=env)
    hidden = trainer.forward().hidden
    with pytest.raises(BufferError, match="read-only"):
        hidden.__dlpack__()
    hidden.__dlpack__(max_version=(1, 0))
