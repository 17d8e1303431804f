"""Several teachers as one, from Python: functions and models, in recipes, trained from."""
import math
import pathlib

import pytest

import distill

numpy = pytest.importorskip("numpy")
VOCAB, TOKENS = 30, [3, 5, 7, 9, 11, 13]


def log_softmax(z):
    z = numpy.asarray(z, dtype="float64")
    z = z - z.max(-1, keepdims=True)
    return z - numpy.log(numpy.exp(z).sum(-1, keepdims=True))


def logits_of(seed, count=len(TOKENS) - 1):
    return numpy.random.default_rng(seed).normal(size=(count, VOCAB)).astype("float32") * 2


def voice(seed, env):
    table = logits_of(seed)
    return distill.Teacher.from_function(lambda batch, first, count, target: table[first:first + count], distill.Form(vocab=VOCAB), env=env)


@pytest.fixture
def voices(env):
    return {"a": voice(1, env), "b": voice(2, env)}


def test_modes(env, voices):
    a, b = log_softmax(logits_of(1)), log_softmax(logits_of(2))
    linear = numpy.log(0.7 * numpy.exp(a) + 0.3 * numpy.exp(b))
    product = log_softmax(0.7 * a + 0.3 * b)
    surest = numpy.where((a.max(-1) >= b.max(-1))[:, None], a, b)
    for mode, want, weights in (("linear", linear, [0.7, 0.3]), ("log_linear", product, [0.7, 0.3]), ("max_confidence", surest, None)):
        with distill.blend(voices, weights, mode=mode) as both:
            assert both.vocab_size == VOCAB
            assert numpy.allclose(both.score(TOKENS), want, atol=2e-6), mode
    with distill.blend([voices["a"], {"teacher": voices["b"], "temperature": 2.0}]) as both:
        want = numpy.log((numpy.exp(a) + numpy.exp(log_softmax(logits_of(2) / 2))) / 2)
        assert numpy.allclose(both.score(TOKENS), want, atol=2e-6)
    at_two = distill.blend(voices, [0.7, 0.3]).log_probs(TOKENS, temperature=2.0)
    want = numpy.log(0.7 * numpy.exp(log_softmax(logits_of(1) / 2)) + 0.3 * numpy.exp(log_softmax(logits_of(2) / 2)))
    assert numpy.allclose(at_two, want[numpy.arange(len(TOKENS) - 1), TOKENS[1:]], atol=2e-6)


def test_members_outlive_their_handles_and_weight_0_is_not_asked(env, voices):
    alone = voices["b"].score(TOKENS)
    both = distill.Teacher.blend(voices, [0, 1])
    for teacher in voices.values():
        teacher.close()
    assert (both.score(TOKENS) == alone).all()


def test_what_is_refused(env, voices):
    for members, weights, keys, part in (
            (voices, [0.7, 0.2], {}, "0.9 together"), (voices, [1.2, -0.2], {}, "-0.2"), (voices, None, {"mode": "both"}, "none of linear"),
            (voices, None, {"mode": "linear", "seed": 3}, "stochastic"), ([], None, {}, "at least one"),
            ([{"teacher": voices["a"], "name": "x"}, {"teacher": voices["b"], "name": "x"}], None, {}, "called x")):
        with pytest.raises(distill.DistillError) as told:
            distill.blend(members, weights, env=env, **keys)
        assert part in str(told.value), told.value
        assert "\n" not in str(told.value)
    with pytest.raises(ValueError):
        distill.blend(voices, [1])


def trained(recipe, change, env):
    changed = dict(recipe, student={"path": recipe["teacher"]["path"]}, **change)
    changed.pop("output")
    return distill.run(changed, env=env)


def test_a_recipe_with_two_handles_of_one_model_is_that_model(recipe, env):
    names = {"one": recipe["teacher"], "two": recipe["teacher"]}
    alone = trained(recipe, {}, env)
    both = trained(recipe, {"teachers": names, "teacher": {"blend": {"of": ["one", "two"], "weights": [0.7, 0.3]}}}, env)
    assert both["student.perplexity"] == pytest.approx(alone["student.perplexity"], rel=1e-5)
    assert both["student.forward_kl"] == pytest.approx(alone["student.forward_kl"], abs=1e-6)
    assert both["training.members.one.weight"] == pytest.approx(0.7) and both["training.members.two.weight"] == pytest.approx(0.3)
    assert both["training.members.one.tokens"] == both["training.members.two.tokens"] > 0
    first = trained(recipe, {"teachers": names, "teacher": {"blend": {"of": ["one", "two"], "weights": [1, 0]}}}, env)
    assert first["student.perplexity"] == alone["student.perplexity"] and math.isfinite(alone["student.perplexity"])


def test_a_manifest_of_members_and_which_of_them_changed(recipe, env, tmp_path, voices):
    """In the checkpoint, in the result, and by name when a run goes on with another member."""
    names = {"one": recipe["teacher"], "two": recipe["teacher"]}
    blended = dict(recipe, teachers=names, teacher={"blend": {"of": ["one", "two"], "weights": [0.75, 0.25]}},
                   student={"path": recipe["teacher"]["path"]})
    blended["train"] = dict(recipe["train"], steps=8)
    with pytest.raises(distill.Cancelled):
        distill.run(blended, env=env, on_progress=lambda progress: progress.step < 3)
    kept = distill.inspect(blended["output"], env=env).to_dict()["run"]["teacher"]
    assert [(member["name"], member["weight"], member["kind"]) for member in kept["members"]] == [("one", 0.75, "model"), ("two", 0.25, "model")]
    assert kept["members"][0]["hash"] == kept["members"][1]["hash"] != kept["hash"]
    other = distill.Student.fresh(pathlib.Path(recipe["teacher"]["path"]) / "config.json", distill.Tokenizer(recipe["teacher"]["path"], env=env),
                                  distill.Options({"train": {"seed": 99}}, env=env), env=env)
    other.save(tmp_path / "other")
    blended["teachers"] = {"one": recipe["teacher"], "two": {"path": str(tmp_path / "other")}}
    result = distill.run(blended, resume=True, env=env).to_dict()
    changed = {change["what"]: (change["from"], change["to"]) for change in result["changes"]}
    assert "the teacher two" in changed and "the teacher one" not in changed and "the teacher" not in changed
    assert kept["members"][1]["hash"][:12] in changed["the teacher two"][0] and "/other (" in changed["the teacher two"][1]
    assert result["teacher"]["manifest"]["members"][0] == kept["members"][0]
