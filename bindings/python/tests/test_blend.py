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


def test_members_go_side_by_side(model_folder):
    env = distill.Env(threads=2)
    members = {"a": distill.Teacher(model_folder, env=env), "b": {"teacher": distill.Teacher(model_folder, env=env), "temperature": 2.0}}
    for together, alone in ((distill.blend(members, parallel=True), distill.blend(members)), (distill.route(members, parallel=True), distill.route(members))):
        texts = {"sequences": [TOKENS, TOKENS[:4]], "sources": ["a", "b"]}
        assert (together.score(**texts) == alone.score(**texts)).all()
    with pytest.raises(distill.OptionError, match="teacher.parallel"):
        distill.blend(members, parallel="both")


def test_members_outlive_their_handles_and_weight_0_is_not_asked(env, voices):
    alone = voices["b"].score(TOKENS)
    both = distill.Teacher.blend(voices, [0, 1])
    for teacher in voices.values():
        teacher.close()
    assert (both.score(TOKENS) == alone).all()


def test_what_is_refused(env, voices):
    for members, weights, keys, part in (
            (voices, [0.7, 0.2], {}, "0.9 together"), (voices, [1.2, -0.2], {}, "-0.2"), (voices, None, {"mode": "both"}, "none of linear"),
            (voices, None, {"mode": "linear", "seed": 3}, "seed has no use"), ([], None, {}, "at least one"),
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


# ---- sparse members ----

def lister(ids, shares, env, vocab=300):
    """A host's teacher that always lists these ids with these probabilities."""
    def score(batch, first, count, target):
        target.ids[...] = ids
        target.tail[...] = math.log(1 - sum(shares))
        return numpy.log([shares])
    return distill.Teacher.from_function(score, distill.Form(vocab=vocab, k=len(ids), tail=True), env=env)


@pytest.fixture
def task(recipe):
    for section in ("output", "teacher"):
        recipe.pop(section)
    return dict(recipe, student={}, loss={"type": "forward_kl"})


def test_a_blend_of_top_k_targets_is_on_the_ids_that_all_list(task, env, model_folder):
    members = {"a": lister([7, 8], [0.5, 0.25], env), "b": lister([8, 9, 11], [0.5, 0.25, 0.125], env)}
    student = distill.Student(model_folder, env=env)
    with pytest.raises(distill.Mismatch, match="step 1, nothing was changed: the teachers of the blend know ids of mass 0.375 together, below teacher.blend.min_common_mass 0.8"):
        distill.Trainer(task, student=student, teacher=distill.blend(members), env=env).step()
    both = distill.blend(members, [0.6, 0.4], min_common_mass=0.3)
    trainer = distill.Trainer(task, student=student, teacher=both, env=env)
    trainer.forward()
    for strip in trainer.strips():
        assert strip.teacher is None and strip.target.kind == "top_k"
        assert numpy.array_equal(strip.target.ids, numpy.tile([8, -1], (strip.rows, 1)))
        assert numpy.allclose(strip.target.values[:, 0], math.log(0.35), atol=1e-6)
        assert numpy.allclose(strip.target.tail, math.log(0.65), atol=1e-6)
        strip.student[...] = 0
    trainer.close()
    losses = [step.loss for step in distill.Trainer(task, student=student, teacher=both, env=env)]
    assert losses[-1] < losses[0]
    data = distill.Dataset(task["data"]["eval"], tokenizer=student.tokenizer(), env=env, sequence_length=24)
    report = distill.evaluate(student, data, both)
    assert report["common_mass"] == pytest.approx(0.35, abs=1e-6) and report.to_dict()["teacher_target"] == "TOPK"
    with pytest.raises(distill.Mismatch, match="held-out data"):
        distill.evaluate(student, data, distill.blend(members, min_common_mass=0.5))


def test_cached_and_live_teachers_blend(task, env, model_folder, tmp_path):
    live = distill.Teacher(model_folder, env=env)
    data = distill.Dataset(task["data"]["train"], tokenizer=live.tokenizer(), env=env, sequence_length=24)
    for tier, keys in (("top_k", {"k": 250}), ("sampled", {"draws": 50})):
        distill.cache.build(tmp_path / tier, live, data, tier=tier, **keys)
    top, drawn = (distill.Teacher.cached(tmp_path / tier, env=env) for tier in ("top_k", "sampled"))
    task["data"].pop("eval")
    student = lambda: distill.Student(model_folder, env=env)  # noqa: E731
    for members, kind in (({"a": top, "b": live}, "top_k"), ({"a": drawn, "b": live}, "sampled")):
        trainer = distill.Trainer(task, student=student(), teacher=distill.blend(members, [0.3, 0.7]), env=env)
        trainer.forward()
        kinds = set()
        for strip in trainer.strips():
            kinds.add(strip.target.kind)
        assert kinds == {kind}
        trainer.close()
        assert len(list(distill.Trainer(task, student=student(), teacher=distill.blend(members), env=env))) == 4
    for first, second in ((top, live), (drawn, drawn)):  # from one to the other: who has no weight yet is not asked
        turns = distill.schedule([{"teacher": first, "until": 2}, {"teacher": second, "fade": 1}])
        trainer = distill.Trainer(task, student=student(), teacher=turns, env=env)
        trainer.run()
        report = trainer.report()
        counted = [report["training.members.%d.tokens" % i] for i in range(2)]
        assert 0 < counted[1] < report["training.tokens"] and counted[0] > 0
    for members, keys, part in (({"a": top, "b": drawn}, {}, "teacher a gives TOPK targets and teacher b SAMPLED"),
                                ({"a": top, "b": live}, {"mode": "log_linear"}, "mode linear alone"),
                                ({"a": drawn, "b": live}, {"weighting": "entropy"}, "need logits"),
                                ({"a": top, "b": live}, {"seed": 3}, "seed has no use")):
        with pytest.raises(distill.DistillError, match=part):
            distill.blend(members, **keys)


def test_strips_of_a_blend_are_its_log_probabilities(task, env, model_folder):
    table = {name: numpy.random.default_rng(seed).normal(size=(200, 300)).astype("float32") for name, seed in (("a", 1), ("b", 2))}

    def voice_of(name):
        return distill.Teacher.from_function(lambda batch, first, count, target: table[name][first:first + count], distill.Form(vocab=300), env=env)

    task["loss"] = {"type": "forward_kl", "temperature": 2.0}
    both = distill.blend({name: voice_of(name) for name in table}, [0.7, 0.3])
    trainer = distill.Trainer(task, student=distill.Student(model_folder, env=env), teacher=both, env=env)
    forward, seen = trainer.forward(), 0
    for strip in trainer.strips():
        a, b = (log_softmax(table[name][strip.first_row:strip.first_row + strip.rows] / 2) for name in ("a", "b"))
        want = numpy.log(0.7 * numpy.exp(a) + 0.3 * numpy.exp(b))[:, :strip.vocab]
        assert strip.target.temperature == 2.0 and strip.target.kind == "dense"
        assert numpy.allclose(numpy.array(strip.teacher)[:, :strip.vocab], want, atol=3e-6)
        q = log_softmax(numpy.array(strip.student)[:, :strip.vocab] / 2)
        strip.student[...] = 2 * (numpy.exp(q) - numpy.exp(want))
        seen += strip.rows
    assert seen == forward.rows > 0
    trainer.backward()
    assert trainer.apply().step == 1


FADE = [{"schedule": "linear", "from": 1, "to": 0, "steps": 4}, {"schedule": "linear", "from": 0, "to": 1, "steps": 4}]


def test_weights_over_the_steps(env, voices):
    with distill.blend(voices, FADE) as both:
        assert (both.score(TOKENS) == voices["a"].score(TOKENS)).all()  # outside of a training: step 0
    with distill.schedule([{"teacher": voices["a"], "until": 3}, {"teacher": voices["b"], "fade": 2}]) as turns:
        assert (turns.score(TOKENS) == voices["a"].score(TOKENS)).all()
    for turns, part in (([{"teacher": voices["a"]}, {"teacher": voices["b"]}], "no until"),
                        ([{"teacher": voices["a"], "until": 3, "fade": 1}, {"teacher": voices["b"]}], "follows nobody")):
        with pytest.raises(distill.DistillError, match=part):
            distill.schedule(turns)
    with pytest.raises(distill.DistillError, match="together at step"):
        distill.blend(voices, [FADE[0], 0.5])


def test_recipes_with_weights_over_the_steps(recipe, env):
    names = {"one": recipe["teacher"], "two": dict(recipe["teacher"], temperature=2.0)}
    alone = trained(recipe, {}, env)
    first = trained(recipe, {"teachers": names, "teacher": {"schedule": [{"teacher": "one", "until": 4}, {"teacher": "two"}]}}, env)
    assert first["training.last_loss"] == alone["training.last_loss"] and first["training.members.two.tokens"] == 0
    faded = trained(recipe, {"teachers": names, "teacher": {"blend": {"of": ["one", "two"], "weights": FADE}}}, env)
    assert faded["training.members.one.weight"] == pytest.approx((1 + 0.75 + 0.5 + 0.25) / 4, rel=0.1)  # windows differ in length
    assert faded["training.members.two.tokens"] < faded["training.members.one.tokens"]
    assert faded["training.last_loss"] != alone["training.last_loss"]


def test_learned_weights(recipe, env, voices):
    with pytest.raises(distill.DistillError, match="weighting=learned only"):
        distill.blend(voices, mode="linear", learn={"every": 2})
    with distill.blend(voices, weighting="learned", learn={"every": 2, "rate": 1.0}) as both:  # outside of a training: the first weights
        want = numpy.log((numpy.exp(log_softmax(logits_of(1))) + numpy.exp(log_softmax(logits_of(2)))) / 2)
        assert numpy.allclose(both.score(TOKENS), want, atol=2e-6)
    names = {"one": recipe["teacher"], "two": dict(recipe["teacher"], temperature=20.0)}
    learn = {"blend": {"of": ["one", "two"], "weighting": "learned", "learn": {"every": 1, "rate": 2.0, "floor": 0.05}}}
    result = trained(recipe, {"teachers": names, "teacher": learn}, env)
    weights = [result["training.learned.weights.one"], result["training.learned.weights.two"]]
    assert result["training.learned.updates"] == 3 and sum(weights) == pytest.approx(1) and min(weights) >= 0.05
    data = {key: value for key, value in recipe["data"].items() if key != "eval"}
    with pytest.raises(distill.DistillError, match="held out"):
        trained(recipe, {"teachers": names, "teacher": learn, "data": data}, env)

def test_each_teacher_by_itself_in_results_and_evaluations(recipe, env, tmp_path):
    """Perplexity and KL of a member are those of that teacher alone; who disagrees is told; metrics have them on request."""
    model = recipe["teacher"]["path"]
    for seed in (3, 4):
        made = distill.Student.fresh(pathlib.Path(model) / "config.json", distill.Tokenizer(model, env=env), distill.Options({"train": {"seed": seed}}, env=env), env=env)
        made.save(tmp_path / ("t%d" % seed))
    (tmp_path / "other.jsonl").write_text('{"text": "a man and then the inn"}')
    names = {"a": {"path": str(tmp_path / "t3")}, "b": {"path": str(tmp_path / "t4"), "temperature": 2}}
    blended = dict(recipe, teachers=names, teacher={"blend": {"of": ["a", "b"], "weights": [0.75, 0.25]}}, student={"path": model})
    blended["data"] = dict(recipe["data"], eval=[{"path": str(tmp_path / "valid.jsonl"), "source": "x"}, {"path": str(tmp_path / "other.jsonl"), "source": "y"}])
    blended["train"] = dict(recipe["train"], eval_every=2, eval_teachers="always")
    report = distill.run(blended, env=env)
    student = distill.Student(recipe["output"], env=env)
    data = distill.Dataset(None, distill.Tokenizer(model, env=env), distill.Options({"data": {"train": blended["data"]["eval"], "sequence_length": recipe["data"]["sequence_length"]}}, env=env), env=env)
    for name, path in (("a", tmp_path / "t3"), ("b", tmp_path / "t4")):
        alone = distill.evaluate(student, data, teacher=distill.Teacher(path, env=env)).to_dict()
        at = "eval.teachers.%s." % name
        assert report[at + "perplexity"] == pytest.approx(alone["teacher_perplexity"], rel=1e-5)
        assert report[at + "forward_kl"] == pytest.approx(alone["forward_kl"], rel=1e-4)
        assert report[at + "sources.y.perplexity"] == pytest.approx(alone["sources"]["y"]["teacher_perplexity"], rel=1e-5)
        assert report[at + "disagreement"] == pytest.approx(report["eval.teacher_disagreement"])
    assert report["eval.teacher_disagreement"] > 0 and report["training.members.a.weight"] == pytest.approx(0.75)
    lines = [line for line in (pathlib.Path(recipe["output"]) / "metrics.jsonl").read_text().splitlines() if '"eval"' in line]
    assert lines and all('"teachers":{"a":{' in line for line in lines)
    again = distill.evaluate(student, data, teacher=distill.blend({"a": distill.Teacher(tmp_path / "t3", env=env), "b": distill.Teacher(tmp_path / "t4", env=env)}))
    assert again["teachers.b.nats"] == pytest.approx(report["eval.teachers.b.nats"], rel=1e-5)
    blended["output"], blended["train"] = str(tmp_path / "never"), dict(recipe["train"], eval_teachers="never")
    assert "teachers" not in distill.run(blended, env=env).to_dict()["eval"]


def test_functions_say_who_they_are(env, tmp_path):
    table = logits_of(1)

    def voice_called(identity):
        return distill.Teacher.from_function(lambda batch, first, count, target: table[first:first + count], distill.Form(vocab=VOCAB), env=env,
                                             identity=identity)

    with distill.Teacher.cached(tmp_path / "kept", voice_called("large 1"), tier="full", env=env) as kept:
        kept.score(TOKENS)
    with distill.Teacher.cached(tmp_path / "kept", voice_called("large 1"), tier="full", env=env) as kept:
        assert kept.vocab_size == VOCAB
    for other in ("large 2", None):
        with pytest.raises(distill.Mismatch):
            distill.Teacher.cached(tmp_path / "kept", voice_called(other), tier="full", env=env)
