"""os.fork and multiprocessing: a child computes with what it inherited, and frees it."""
import gc
import multiprocessing
import os
import signal
import traceback

import pytest

import distill

TOKENS = [[1, 2, 3, 4, 5, 6, 7, 8] * 4] * 8

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@pytest.fixture
def parts(model_folder):
    """A trainer whose workers run, and its teacher."""
    with distill.Env(threads=3) as env:
        teacher, student = distill.Teacher(model_folder, env=env), distill.Student(model_folder, env=env)
        data = distill.Dataset.from_tokens(TOKENS, env=env, sequence_length=16)
        recipe = {"loss": "forward_kl", "train": {"steps": 12, "batch_size": 2, "learning_rate": 0.01}, "data": {"sequence_length": 16}}
        trainer = distill.Trainer(recipe, teacher=teacher, student=student, train=data, env=env)
        trainer.step()
        yield [trainer, teacher, student, data, env]
        trainer.close()


def use_and_free(parts, compute):
    signal.alarm(120)  # a child that hangs is killed, and the parent sees it
    trainer, teacher = parts[:2]
    if compute:
        assert trainer.step().loss > 0
        assert len(teacher.score([TOKENS[0]])) == len(TOKENS[0]) - 1
    for handle in parts:
        handle.close()
    parts.clear()
    gc.collect()


def in_child(parts, compute):
    child = os.fork()
    if not child:
        code = 1
        try:
            use_and_free(parts, compute)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


@pytest.mark.parametrize("compute", [False, True])
def test_a_forked_child_computes_and_frees(parts, compute):
    assert in_child(parts, compute) == 0
    assert parts[0].step().step == 2  # the parent goes on


@pytest.mark.parametrize("compute", [False, True])
def test_multiprocessing_with_fork(parts, compute):
    process = multiprocessing.get_context("fork").Process(target=use_and_free, args=(parts, compute))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert parts[0].step().step == 2
