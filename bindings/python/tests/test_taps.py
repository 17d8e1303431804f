"""Losses on features between models of the host's own: places inside them are read, and gradients come back."""
import numpy
import pytest

import distill

WIDTHS = {"student": 4, "teacher": 6}
OUTPUTS = {side: [{"kind": "output", "layer": 2, "width": width}] for side, width in WIDTHS.items()}
LOSS = {"type": "hidden_mse", "hidden_mse.layers": [2], "hidden_mse.teacher_layers": [2]}


class Embedding:
    """A student of numpy with one thing inside: a vector of each id, plain gradient descent."""

    taps = OUTPUTS["student"]

    def __init__(self, vocab):
        self.table = numpy.random.default_rng(3).normal(size=(vocab, WIDTHS["student"])).astype("float32")
        self.read = 0
        self.discard()

    def discard(self):
        self.gradient = numpy.zeros_like(self.table)

    def forward(self, batch, first, count, target):
        return numpy.zeros((count, len(self.table)), dtype="float32")

    def backward(self, first, count, gradient):
        pass

    def read_tap(self, batch, tap, values):
        self.read += 1
        values[...] = self.table[numpy.asarray(batch.ids)]

    def tap_gradient(self, batch, tap, gradient):
        numpy.add.at(self.gradient, numpy.asarray(batch.ids), gradient)

    def apply(self, step, learning_rate, scale):
        self.table -= learning_rate * scale * self.gradient
        self.discard()


def hosts(env, student_taps=True):
    known = numpy.random.default_rng(4).normal(size=(8, WIDTHS["teacher"])).astype("float32")
    teacher = distill.Teacher.from_function(lambda batch, first, count, target: numpy.zeros((count, 8)), distill.Form(vocab=8), env=env,
                                            taps=OUTPUTS["teacher"], read_tap=lambda batch, tap, values: known[numpy.asarray(batch.ids)])
    model = Embedding(8)
    if not student_taps:
        model.taps = []
    return teacher, model, distill.Student.from_object(model, distill.Form(vocab=8), env=env)


def trainer_of(env, teacher, student, loss, steps=60):
    data = distill.Dataset.from_tokens([[1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5]] * 8, env=env, sequence_length=12)
    return distill.Trainer({"loss": loss, "train": {"steps": steps, "batch_size": 4, "learning_rate": 0.5, "schedule": "constant"},
                            "data": {"sequence_length": 12}}, teacher=teacher, student=student, train=data, env=env)


class Writer(Embedding):
    taps = ()

    def generate(self, prompts, writing):
        self.asked = (len(prompts.offsets) - 1, writing.vocab, writing.temperature, list(writing.most))
        return [[1, 2] if sequence else [3] * most for sequence, most in enumerate(writing.most)]


def test_a_student_of_an_object_writes(env):
    teacher, model, _ = hosts(env)
    model = Writer(8)
    student = distill.Student.from_object(model, distill.Form(vocab=8), env=env)
    data = distill.Dataset.from_tokens([[1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5]] * 8, env=env, sequence_length=12)
    trainer = distill.Trainer({"train": {"steps": 3, "batch_size": 4, "on_policy": {"lambda": 1, "max_new_tokens": 5, "prompt_tokens": 4}},
                               "data": {"sequence_length": 12}}, teacher=teacher, student=student, train=data, env=env)
    progress = trainer.step()
    assert progress.generated == 5 + 3 * 2 == progress.weight_sum and progress.on_policy_share == 1
    assert model.asked == (4, 8, 1.0, [5] * 4)


def test_a_table_learns_what_another_one_has_inside(env):
    teacher, model, student = hosts(env)
    with trainer_of(env, teacher, student, LOSS) as trainer:
        losses = [progress.loss for progress in trainer]
    assert losses[-1] < 0.2 * losses[0] and model.read == 60


def test_what_is_not_delivered_is_named(env):
    teacher, _, student = hosts(env, student_taps=False)
    with pytest.raises(distill.DistillError, match="the student is the host's own, and its taps have no output of block 2"):
        trainer_of(env, teacher, student, LOSS)
    with pytest.raises(distill.DistillError, match="its taps have no queries of block 2"):
        trainer_of(env, hosts(env)[0], hosts(env)[2], {"type": "relation", "relation.layers": [2], "relation.teacher_layers": [2]})


def test_a_tap_is_well_said(env):
    with pytest.raises(TypeError, match="a tap has no size"):
        distill.Teacher.from_function(None, distill.Form(vocab=8), env=env, taps=[{"kind": "output", "size": 3}])
    with pytest.raises(ValueError, match="a tap's kind is 'input', none of output"):
        distill.Teacher.from_function(None, distill.Form(vocab=8), env=env, taps=[{"kind": "input"}])


def test_an_exception_inside_comes_out(env):
    teacher, model, student = hosts(env)

    def broken(batch, tap, values):
        raise KeyError("no such place")

    model.read_tap = broken
    with trainer_of(env, teacher, student, LOSS) as trainer, pytest.raises(KeyError, match="no such place"):
        trainer.step()
