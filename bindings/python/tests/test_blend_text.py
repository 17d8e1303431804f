"""Text by several models as one."""
import pytest

import distill

numpy = pytest.importorskip("numpy")
PROMPTS = [[3, 5, 7], [9]]


def test_equal_models_write_as_one(env, model_folder):
    one, two = (distill.Teacher(model_folder, env=env) for _ in range(2))
    alone = [list(text.ids) for text in one.generate(PROMPTS, max_tokens=8, temperature=0)]
    for weights, keys in (([0.7, 0.3], {}), ([0.7, 0.3], {"mode": "log_linear"}), (None, {"weighting": "learned"}),
                          ([{"schedule": "linear", "from": 1, "to": 0, "steps": 4}, {"schedule": "linear", "from": 0, "to": 1, "steps": 4}], {})):
        both = distill.blend({"one": one, "two": two}, weights, **keys)
        assert [list(text.ids) for text in both.generate(PROMPTS, max_tokens=8, temperature=0)] == alone, keys


def test_members_that_are_no_models_are_named(env, model_folder):
    hosted = distill.Teacher.from_function(lambda batch, first, count, target: numpy.zeros((count, 300)), distill.Form(vocab=300), env=env)
    both = distill.blend({"here": distill.Teacher(model_folder, env=env), "there": hosted})
    with pytest.raises(distill.Unsupported, match="teacher there is a teacher of callbacks"):
        both.generate(PROMPTS, max_tokens=2)
