"""The package itself: signatures, errors, callbacks, views. Nothing here needs numpy."""
import array
import ctypes
import gc
import math
import os
import signal
import subprocess
import sys
import threading

import pytest

import distill
from distill import _signatures as c
from distill import _tensor
from distill._lib import lib


def test_structs_have_the_layout_of_the_header():
    for name, (size, offsets) in c.STRUCTS.items():
        kind = getattr(c, name)
        assert ctypes.sizeof(kind) == size, name
        for field, offset in offsets.items():
            assert getattr(kind, field).offset == offset, (name, field)


def test_every_function_is_declared():
    for name, (result, arguments) in c.FUNCTIONS.items():
        function = getattr(lib, name)
        assert function.restype is result and list(function.argtypes) == arguments, name


def test_versions_agree():
    assert distill.__version__ == c.DISTILL_VERSION
    assert lib.distill_abi_version() == c.DISTILL_ABI_VERSION


def test_a_missing_library_is_named(tmp_path):
    missing = str(tmp_path / "libdistill.so.1")
    done = subprocess.run([sys.executable, "-B", "-c", "import distill"], env=dict(os.environ, DISTILL_LIBRARY=missing),
                          capture_output=True, text=True)
    assert done.returncode and missing in done.stderr and "DISTILL_LIBRARY" in done.stderr


def test_handles_of_different_kinds_do_not_mix(env):
    with pytest.raises(ctypes.ArgumentError):
        lib.distill_options_set(env.raw, b"train.steps", b"1", None)


def test_options(env):
    options = distill.Options({"train": {"steps": 5, "learning_rate": 0.5}, "data": {"shuffle": False}, "output": "out"}, env=env)
    assert options["train.steps"] == "5" and float(options["train.learning_rate"]) == 0.5 and options["data.shuffle"] == "false"
    assert options["output.path"] == "out"
    del options["train.steps"]
    assert options["train.steps"] == "1000"
    copy = distill.Options(options, {"student.layers": [0, 3]}, env=env)
    assert copy["student.layers.1"] == "3" and copy["data.shuffle"] == "false"


def test_errors_have_classes_and_say_what_to_do(env):
    with pytest.raises(distill.OptionError) as caught:
        distill.Options({"train": {"step": 3}}, env=env)
    assert caught.value.code == distill.DISTILL_E_OPTION and "train.steps" in str(caught.value)
    with pytest.raises(ValueError):
        distill.Options({"train": {"steps": -1}}, env=env)
    with pytest.raises(distill.DistillError):
        distill.Teacher("no/such/model", env=env)


def test_closed_handles_say_so_and_close_twice(env):
    options = distill.Options(env=env)
    options.close()
    options.close()
    with pytest.raises(ValueError, match="closed"):
        options["train.steps"]


def test_option_table():
    table = {option["name"]: option for option in distill.option_table()}
    assert table["train.decay_steps"]["when"] == "schedule=wsd" and table["train.steps"]["when"] == ""
    assert table["train.steps"]["type"] == "int" and table["train.schedule"]["choices"][0] == "constant"


def rows(*values):
    held = array.array("f", [x for row in values for x in row])
    return memoryview(held).cast("B").cast("f", (len(values), len(values[0])))


def test_loss_of_python_without_numpy():
    with distill.Env() as env:
        def squared(given):
            for i in range(given.count):
                for v in range(given.vocab):
                    difference = given.student[i, v] - given.teacher[i, v]
                    given.value[i] += difference ** 2
                    given.gradient[i, v] = 2 * difference

        env.add_loss("squared", squared)
        loss = distill.Loss("squared", env=env)
        gradient = rows([0, 0, 0], [0, 0, 0])
        result = loss(rows([1, 2, 3], [4, 5, 6]), rows([0, 2, 3], [4, 5, 8]), gradient=gradient)
        assert result.count == 2 and result.sum == pytest.approx(5) and gradient.tolist() == [[2, 0, 0], [0, 0, -4]]


def test_loss_of_python_that_measures_sequences_first():
    with distill.Env() as env:
        def first_logits(given, out):
            assert given.value is None and given.sequence_sums is None
            for i in range(given.count):
                out[i, 0], out[i, 1] = given.student[i, 0], 1

        def apart(given):
            for i in range(given.count):
                whose = given.sequences[i]
                given.value[i] = given.sequence_sums[whose, 0] / given.sequence_sums[whose, 1] - given.student[i, 0]

        env.add_loss("apart", apart, targets=(), measure=first_logits, sums=2)
        loss, values = distill.Loss("apart", env=env), array.array("f", [0] * 3)
        result = loss(rows([1, 0], [4, 0], [9, 0]), row_values=values, sequences=array.array("i", [0, 0, 1]))
        assert result.count == 3 and list(values) == [1.5, -1.5, 0]
        env.add_loss("labelled", lambda given: None, targets=(), measure=lambda given, out: seen.append(list(given.labels)), sums=1)
        seen = []
        distill.Loss("labelled", env=env)(rows([1, 0], [4, 0]), distill.one_hot(array.array("i", [1, 0])))
        assert seen == [[1, 0]]
        with pytest.raises(ValueError, match="args.sequences: entry 0 is 1"):
            loss(rows([1, 0], [4, 0], [9, 0]), sequences=array.array("i", [1, 1, 1]))
        with pytest.raises(distill.OptionError, match="args.memory of 100 bytes does not hold one row of logits"):
            loss(rows([1, 0]), memory=100)
        with pytest.raises(ValueError, match="has no measure and sums 2"):
            env.add_loss("half", apart, sums=2)


def test_a_loss_of_pairs():
    def log_q(row, label):
        return row[label] - math.log(sum(math.exp(z) for z in row))

    logits, labels, reference = [[1, 0], [2, 1], [0, 3], [1, 1]], [0, 1, 0, 1], array.array("f", [-0.5, -2])
    loss, gradient = distill.Loss(options={"loss": {"type": "dpo", "dpo.beta": 0.5}}), rows(*[[0, 0]] * 4)
    result = loss(rows(*logits), labels=array.array("i", labels), sequences=array.array("i", [0, 0, 1, 1]), reference=reference, gradient=gradient)
    sides = [sum(log_q(logits[r], labels[r]) for r in side) for side in ((0, 1), (2, 3))]
    margin = 0.5 * (sides[0] + 0.5 - sides[1] - 2)
    assert result.weight_sum == 1 and result.count == 4 and result.sum == pytest.approx(math.log1p(math.exp(-margin)), rel=1e-5)
    slope, q = -0.5 / (1 + math.exp(margin)), math.exp(log_q(logits[0], 0))
    assert gradient.tolist()[0] == pytest.approx([slope * (1 - q), -slope * (1 - q)], rel=1e-5)
    with pytest.raises(ValueError, match="args.preference goes with loss.dpo.label teacher"):
        loss(rows(*logits), labels=array.array("i", labels), sequences=array.array("i", [0, 0, 1, 1]), preference=reference)


def test_forward_kl_against_the_definition(env):
    from math import exp, log
    q, p = [0.5, -1.0, 2.0], [1.0, 0.0, -0.5]

    def log_softmax(z):
        return [x - log(sum(exp(y) for y in z)) for x in z]

    wanted = sum(exp(a) * (a - b) for a, b in zip(log_softmax(p), log_softmax(q)))
    assert distill.Loss("forward_kl", env=env)([q], [p]).sum == pytest.approx(wanted, rel=1e-5)


def test_exceptions_pass_through_callbacks():
    with distill.Env() as env:
        def broken(given):
            raise ZeroDivisionError("from inside")

        env.add_loss("broken", broken)
        with pytest.raises(ZeroDivisionError, match="from inside"):
            distill.Loss("broken", env=env)([[1.0, 2.0]], [[1.0, 2.0]])


def test_interrupts_pass_through_callbacks():
    with distill.Env() as env:
        def interrupted(given):
            raise KeyboardInterrupt

        env.add_loss("interrupted", interrupted)
        with pytest.raises(KeyboardInterrupt):
            distill.Loss("interrupted", env=env)([[1.0, 2.0]], [[1.0, 2.0]])


def test_callbacks_are_released_with_their_env():
    gc.collect()
    before = distill.registered()
    env = distill.Env()
    env.add_loss("kept", lambda given: None)
    assert distill.registered() > before
    del env
    gc.collect()
    assert distill.registered() == before


def test_a_refused_callback_is_released():
    with distill.Env() as env:
        before = distill.registered()
        with pytest.raises(distill.DistillError):
            env.add_loss("", lambda given: None)
        assert distill.registered() == before


def test_views_end_with_the_callback():
    kept = []
    view = _tensor.View.of_pointer((ctypes.c_float * 4)(1, 2, 3, 4), c.DISTILL_FLOAT, 32, (2, 2))
    assert view.memory().tolist() == [[1, 2], [3, 4]]
    kept.append(view)
    view.expire()
    with pytest.raises(RuntimeError, match="borrowed"):
        view.array()


def test_wrong_element_types_are_refused(env):
    loss = distill.Loss("forward_kl", env=env)
    with pytest.raises(TypeError, match="converted"):
        loss(array.array("d", [1, 2]), [[1.0, 2.0]])
    with pytest.raises(ValueError, match="read-only"):
        loss([[1.0, 2.0]], [[1.0, 2.0]], gradient=bytes(8) and memoryview(bytes(8)).cast("f"))


def test_errors_of_threads_do_not_mix(env):
    caught = []

    def work(key):
        for _ in range(200):
            try:
                distill.Options({key: 1}, env=distill.default_env())
            except distill.OptionError as error:
                if key not in str(error):
                    caught.append(str(error))

    threads = [threading.Thread(target=work, args=("train.no%d" % i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not caught


def test_ctrl_c_stops_a_run(env, recipe):
    recipe["train"]["steps"] = 100000

    def poke(progress):
        if progress.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    trainer = distill.Trainer(recipe, env=env, on_progress=poke)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert trainer.step().step < 100000


def test_limits_of_the_machine():
    limits = distill.Env(threads=1).limits()
    assert limits["threads"] == 1 and limits["fp32.flops"] > 0 and limits["read.bytes_per_second"] > 0
