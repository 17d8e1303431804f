"""Who frees what, and when: handles in any order, calls in flight, borrowed memory, exceptions on their way through C."""
import array
import gc
import os
import pickle
import subprocess
import sys
import threading
import traceback
import weakref

import pytest

import distill
from distill import _tensor

TOKENS = [[1, 2, 3, 4, 5, 6, 7, 8] * 4] * 8
ROW = [[1.0, 2.0]]


@pytest.fixture
def student(model_folder, env):
    with distill.Student(model_folder, env=env) as made:
        yield made


@pytest.fixture
def trainer(student, env):
    data = distill.Dataset.from_tokens(TOKENS, env=env, sequence_length=16)
    recipe = {"loss": "cross_entropy", "train": {"steps": 12, "batch_size": 2, "learning_rate": 0.01}, "data": {"sequence_length": 16}}
    with distill.Trainer(recipe, student=student, train=data, env=env) as made:
        yield made


def test_the_wrong_kind_is_a_type_error(env, tokenizer):
    for make in (lambda: distill.Trainer({}, teacher=tokenizer, env=env), lambda: distill.Trainer({}, teacher="folder", env=env),
                 lambda: distill.Dataset("file", "tokenizer"), lambda: distill.Teacher(5, env=env), lambda: distill.Student.derive(tokenizer)):
        with pytest.raises(TypeError):
            make()


def test_every_handle_refuses_after_close(model_folder, env):
    teacher = distill.Teacher(model_folder, env=env)
    uses = {teacher: lambda: teacher.vocab_size, (t := teacher.tokenizer()): lambda: t.encode("x"),
            (s := distill.Student.derive(teacher)): s.parameter_names, (d := distill.Dataset.from_tokens(TOKENS, env=env)): lambda: next(iter(d)),
            (n := distill.Loss("forward_kl", env=env)): lambda: n(ROW, ROW), (r := distill.inspect(env=env)): r.json}
    for handle, use in uses.items():
        use()
        handle.close()
        handle.close()
        with pytest.raises(ValueError, match="closed"):
            use()


def test_handles_close_in_any_order(model_folder):
    names = ("env", "options", "teacher", "tokenizer", "student", "data", "trainer")
    for turn in range(len(names)):
        env = distill.Env()
        options = distill.Options({"loss": "forward_kl", "train": {"steps": 2, "batch_size": 1}, "data": {"sequence_length": 16}}, env=env)
        teacher = distill.Teacher(model_folder, env=env)
        tokenizer, student = teacher.tokenizer(), distill.Student.derive(teacher, layers=[0])
        data = distill.Dataset.from_tokens(TOKENS, env=env, sequence_length=16)
        trainer = distill.Trainer(options, teacher, student, data)
        parts = dict(zip(names, (env, options, teacher, tokenizer, student, data, trainer)))
        order = names[turn:] + names[:turn]
        for at, name in enumerate(order):
            if at == 3 and "trainer" not in order[:3]:
                assert trainer.step().step == 1  # what was closed before lives on inside it
            parts[name].close()


def test_closing_inside_a_callback_waits_for_the_call(student, env):
    data = distill.Dataset.from_tokens(TOKENS, env=env, sequence_length=16)
    trainer = distill.Trainer({"loss": "cross_entropy", "train": {"steps": 3, "batch_size": 2}}, student=student, train=data, env=env,
                              on_progress=lambda progress: trainer.close())
    trainer.run()
    with pytest.raises(ValueError, match="closed"):
        trainer.step()
    data.close()


def test_closing_from_another_thread_waits_for_the_call():
    entered, go_on = threading.Event(), threading.Event()

    def slow(rows):
        entered.set()
        assert go_on.wait(10)
        rows.value[0] = 3.0

    with distill.Env() as env:
        env.add_loss("slow", slow)
        loss, results = distill.Loss("slow", env=env), []
        thread = threading.Thread(target=lambda: results.append(loss(ROW, ROW).sum))
        thread.start()
        assert entered.wait(10)
        loss.close()
        go_on.set()
        thread.join()
    assert results == [3.0]


def test_exceptions_keep_class_identity_and_traceback():
    def raising_here(rows):
        raise raised

    for raised in (ZeroDivisionError("one"), KeyboardInterrupt(), SystemExit(3)):
        with distill.Env() as env:
            env.add_loss("raising", raising_here)
            with pytest.raises(type(raised)) as caught:
                distill.Loss("raising", env=env)(ROW, ROW)
        assert caught.value is raised
        assert "raising_here" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_an_exception_in_training_leaves_the_trainer_usable(student, env):
    calls = []

    def third_time_broken(rows):
        calls.append(rows.count)
        if len(calls) == 3:
            raise LookupError("third")

    env.add_loss("third_time_broken", third_time_broken)
    data = distill.Dataset.from_tokens(TOKENS, env=env, sequence_length=16)
    teacher = student.as_teacher()
    with distill.Trainer({"loss": "third_time_broken", "train": {"steps": 50, "batch_size": 1}}, teacher, student, data, env=env) as trainer:
        with pytest.raises(LookupError, match="third"):
            trainer.run()
        assert trainer.step() is not None


def test_nothing_stays_registered(model_folder):
    gc.collect()
    before = distill.registered()
    with distill.Env() as env:
        env.add_loss("mine", lambda rows: None)
        teacher = distill.Teacher.from_function(lambda *_: None, distill.Form(vocab=300), env=env)
        student = distill.Student(model_folder, env=env)
        data = distill.Dataset.from_sequence(TOKENS, env=env, sequence_length=16)
        trainer = distill.Trainer({"loss": "mine", "train": {"steps": 1}}, teacher, student, data, env=env, on_progress=print)
        assert distill.registered() > before + 3
    for handle in (trainer, data, student, teacher):
        handle.close()
    assert distill.registered() == before


def test_errors_travel_between_processes():
    with pytest.raises(distill.OptionError) as caught:
        distill.Options({"train.step": 1})
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is distill.OptionError and (again.code, str(again)) == (caught.value.code, str(caught.value))


def test_errors_are_the_builtin_kinds_too(tmp_path, env):
    for kind in (LookupError, distill.NotFound):
        with pytest.raises(kind, match="missing"):
            distill.Teacher(tmp_path / "missing", env=env)
    (tmp_path / "bad.yaml").write_text("train: [1\n")
    with pytest.raises(distill.FormatError, match=r"bad\.yaml"):
        distill.Options(tmp_path / "bad.yaml", env=env)


def test_what_was_lent_ends(trainer):
    forward = trainer.forward()
    hidden, labels = forward.hidden, forward.labels
    assert len(labels.tolist()) == forward.rows
    trainer.backward()
    for use in (hidden.memory, labels.tolist, lambda: forward.student):
        with pytest.raises(RuntimeError, match="borrowed"):
            use()
    assert forward.last and forward.rows > 0  # numbers stay
    trainer.apply()


def test_what_was_lent_keeps_the_trainer(model_folder, env):
    data = distill.Dataset.from_tokens(TOKENS, env=env, sequence_length=16)
    labels = distill.Trainer({"loss": "cross_entropy"}, student=distill.Student(model_folder, env=env), train=data, env=env).forward().labels
    assert min(labels.tolist()) > 0
    trainer = weakref.ref(labels.owner)
    del labels
    assert trainer() is None


def test_rows_of_a_loss_end_with_it():
    kept = []
    with distill.Env() as env:
        env.add_loss("keeps", kept.append)
        distill.Loss("keeps", env=env)(ROW, ROW)
    with pytest.raises(RuntimeError, match="borrowed"):
        print(kept[0].student)


def test_views_see_the_weights_and_keep_them(model_folder, env):
    student = distill.Student(model_folder, env=env)
    name = student.parameter_names()[0]
    memory = student.parameter(name).memory()
    memory[0, 0] = 42.0
    assert student.parameter(name).memory()[0, 0] == 42.0
    alive = weakref.ref(student)
    del student
    assert alive() is not None and memory[0, 0] == 42.0
    view = alive().parameter(name)
    alive().close()
    with pytest.raises(ValueError, match="closed"):
        view.memory()


def test_an_expired_or_read_only_view_is_refused(env):
    loss, view = distill.Loss("forward_kl", env=env), _tensor.View(_tensor.argument(ROW).tensor, writable=False)
    with pytest.raises(ValueError, match="read-only"):
        loss(ROW, ROW, gradient=view)
    view.expire()
    with pytest.raises(RuntimeError, match="borrowed"):
        loss(view, ROW)


def test_strided_and_read_only_buffers(env):
    teacher = memoryview(array.array("f", [3, 1, 2])).cast("B").cast("f", (1, 3))
    loss = distill.Loss("forward_kl", env=env)
    assert loss([[1.0, 2.0, 3.0]], teacher).sum > 0.1
    assert loss(teacher.toreadonly(), teacher).sum == pytest.approx(0, abs=1e-7)
    labels = memoryview(array.array("i", [0, 1, 0, -1]))[1::2]  # 1, -1: the second is masked
    two = [[1.0, 2.0, 3.0]] * 2
    assert distill.Loss("cross_entropy", env=env)(two, labels=labels).count == 1


def test_numbers_do_not_wrap_around(model_folder, env, tokenizer):
    with pytest.raises(distill.OptionError, match=r"train\.steps"):
        distill.Options({"train.steps": 2 ** 64 + 5}, env=env)
    with pytest.raises(ValueError, match="32 bits"):
        tokenizer.decode([2 ** 32 + 5])
    with pytest.raises(ValueError, match="32 bits"):
        distill.Teacher(model_folder, env=env).score([1, 2 ** 32 + 2, 3])
    with pytest.raises(ValueError, match="NUL"):
        distill.Options({"teacher.path": "a\0b"}, env=env)


def test_cancel_from_another_thread(model_folder, env):
    data = distill.Dataset.from_tokens(TOKENS, env=env, sequence_length=16)
    entered = threading.Event()
    with distill.Trainer({"loss": "cross_entropy", "train": {"steps": 10 ** 6, "batch_size": 2}}, student=distill.Student(model_folder, env=env),
                         train=data, env=env, on_progress=lambda progress: entered.set()) as trainer:
        canceller = threading.Thread(target=lambda: entered.wait(10) and trainer.cancel())
        canceller.start()
        with pytest.raises(distill.Cancelled):
            trainer.run()
        canceller.join()
        trainer.cancel(False)
        assert trainer.step().step > 0


def test_a_student_is_held_by_one_trainer(trainer, student, env):
    data = distill.Dataset.from_tokens(TOKENS, env=env, sequence_length=16)
    with pytest.raises(distill.StageError) as caught:
        distill.Trainer({"loss": "cross_entropy"}, student=student, train=data, env=env)
    assert caught.value.code == distill.DISTILL_E_BUSY
    trainer.close()
    distill.Trainer({"loss": "cross_entropy"}, student=student, train=data, env=env).close()


WITHOUT_NUMPY = """
import sys
sys.modules["numpy"] = None
import distill

def successor(batch, first, count, target):
    for row, place in enumerate(batch.rows[first:first + count]):
        target.values[row, (batch.ids[place] + 1) % 8] = 5.0

teacher = distill.Teacher.from_function(successor, distill.Form(vocab=8))
scores = teacher.score([1, 2, 3])
assert isinstance(scores, memoryview) and scores.shape == (2, 8) and scores[0, 2] == scores[1, 3] == 5.0 and scores[0, 0] == 0.0
assert distill.Loss("forward_kl")(scores, scores).sum < 1e-6
"""


def test_works_without_numpy():
    folder = os.path.dirname(os.path.dirname(distill.__file__))
    done = subprocess.run([sys.executable, "-B", "-c", WITHOUT_NUMPY], env=dict(os.environ, PYTHONPATH=folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
