"""Models, data and training through the handles."""
import json
import pathlib

import pytest

import distill

numpy = pytest.importorskip("numpy")


def test_a_chat_becomes_text(tokenizer):
    talk = [{"role": "user", "content": "caf\u00e9"}, {"role": "assistant", "content": "a"}]
    text = "<|im_start|>user\ncaf\u00e9<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n"
    assert tokenizer.chat(talk, answer=False, chat_template="chatml") == text
    assert tokenizer.chat(talk, chat_template="chatml") == text + "<|im_start|>assistant\n"
    assert tokenizer.chat(talk, continue_last=True, chat_template="chatml") == text[:-len("<|im_end|>\n")]
    own = "{{ messages[0].content }}{{ tools | length }}{{ mood }}"
    assert tokenizer.chat(talk, tools=[{"name": "f"}], chat_template=own, mood="!") == "caf\u00e91!"
    for wrong, part in ((lambda: tokenizer.chat(talk), "no chat template"), (lambda: tokenizer.chat([], chat_template="chatml"), "list of messages"),
                        (lambda: tokenizer.chat(talk, chat_template="chatml", mood="!"), "does not read")):
        with pytest.raises(distill.DistillError, match=part):
            wrong()


def test_tokenizer_goes_there_and_back(tokenizer):
    for text in ("the thing in the inn", "Grüße, 東京 \U0001f600", b"\xff\x00 bytes", ""):
        ids = tokenizer.encode(text)
        assert tokenizer.decode_bytes(ids) == (text if isinstance(text, bytes) else text.encode())
    assert tokenizer.encode("the") == [258] and tokenizer.vocab_size == 261 and tokenizer.unk is None


def test_scores_are_log_likelihoods_of_the_softmax(model_folder, env):
    teacher = distill.Teacher(model_folder, env=env)
    logits = teacher.score([[1, 2, 3, 4], [5, 6]])
    assert logits.shape == (4, 300) and teacher.vocab_size == 300 and teacher.layers == 3
    assert numpy.isfinite(logits).all()
    assert numpy.allclose(teacher.score([1, 2, 3, 4], rows=[0, 3])[0], logits[0], atol=1e-5)


def test_log_probs_need_no_logits(model_folder, env):
    teacher = distill.Teacher(model_folder, env=env)
    assert teacher.vocab_valid == 261  # ids from there on are padding
    logits = teacher.score([[1, 2, 3, 4], [5, 6]])[:, :261].astype("float64") / 2.0
    wanted = logits - numpy.log(numpy.exp(logits).sum(axis=1, keepdims=True))
    chosen, values, ids, tail = teacher.log_probs([[1, 2, 3, 4], [5, 6]], k=5, temperature=2.0)
    assert values.shape == ids.shape == (4, 5) and chosen.shape == tail.shape == (4,)
    assert numpy.allclose(chosen, wanted[range(4), [2, 3, 4, 6]], atol=1e-5)
    order = numpy.argsort(-wanted, axis=1, kind="stable")
    assert numpy.allclose(values, numpy.take_along_axis(wanted, order[:, :5], axis=1), atol=1e-5)
    assert numpy.allclose(numpy.take_along_axis(wanted, ids.astype("int64"), axis=1), values, atol=1e-5)
    assert numpy.allclose(tail, numpy.log(1 - numpy.exp(values.astype("float64")).sum(axis=1)), atol=1e-5)
    assert numpy.allclose(teacher.log_probs([1, 2, 3], rows=[1]), teacher.log_probs([1, 2, 3])[1:], atol=1e-6)
    for wrong in (lambda: teacher.log_probs([1, 2], k=262), lambda: teacher.log_probs([1, 2], rows=[1]), lambda: teacher.log_probs([1, 2], k=-1)):
        with pytest.raises(ValueError):
            wrong()


def test_numbers_that_are_none_are_errors(model_folder, env):
    student = distill.Student(model_folder, env=env)
    student.parameter("model.norm.weight").array()[0] = numpy.nan
    student.weights_changed()
    teacher = student.as_teacher()
    for call in (lambda: teacher.score([1, 2, 3]), lambda: teacher.log_probs([1, 2, 3]), lambda: teacher.generate([1, 2], max_tokens=2)):
        with pytest.raises(distill.DistillError, match="nan"):
            call()


def test_a_student_says_what_it_is(model_folder, env):
    student = distill.Student(model_folder, env=env, freeze=["*layers.0.*"])
    assert student.vocab_size == 300 and student.vocab_valid == 261 and student.layers == 3
    assert student.parameters > student.trainable_parameters > 0 and student.context_length > 0
    assert student.head_name in student.parameter_names()
    assert student.tokenizer().vocab_size == 261


def test_generates_text_and_ids(model_folder, env):
    teacher, seen = distill.Teacher(model_folder, env=env), []
    answer = teacher.generate("the", max_tokens=5, temperature=0.0, on_token=lambda s, token, text: seen.append(token))
    assert len(answer.ids) <= 5 and seen == answer.ids and answer.ids == teacher.generate([258], max_tokens=5, temperature=0.0).ids
    both = teacher.generate([[258], [10, 11]], max_tokens=3, temperature=1.0, seed=2)
    assert len(both) == 2
    with pytest.raises(distill.Cancelled):
        teacher.generate("the", max_tokens=5, on_token=lambda s, token, text: False)


def test_several_answers_of_a_prompt(model_folder, env):
    teacher = distill.Teacher(model_folder, env=env)
    three = teacher.generate("the", max_tokens=4, samples=3, seed=5)
    assert len(three) == 3 and three[0].ids == teacher.generate("the", max_tokens=4, seed=5).ids and three[1].ids != three[0].ids
    assert len(teacher.generate(["the", "a"], max_tokens=1, samples=2)) == 4
    cut = teacher.generate("the", max_tokens=6, temperature=0.0, logit_bias={65: 100.0}, stop="AA")
    assert cut.text == "" and cut.ids == [65, 65] and cut.stopped and cut.finished == 3
    assert not teacher.generate("the", max_tokens=2, temperature=0.0, logit_bias={65: 100.0}, stop=["AB"]).stopped
    with pytest.raises(distill.DistillError, match="an empty text"):
        teacher.generate("the", stop="")


def test_logits_of_the_host_and_the_likeliest_tokens(model_folder, env):
    teacher, seen = distill.Teacher(model_folder, env=env), []

    def only_a_and_b(sequence, ids, row):
        seen.append((sequence, list(ids)))
        row[:65] = float("-inf")
        row[67:] = float("-inf")

    answer = teacher.generate([258], max_tokens=5, logits=only_a_and_b, top_logprobs=4, seed=3)
    assert set(answer.ids) <= {65, 66} and seen[0] == (0, [258]) and seen[1] == (0, [258] + answer.ids[:1])
    for row, drawn in zip(answer.top, answer.log_probs):
        assert len(row) == 4 and [value for _, value in row] == sorted((value for _, value in row), reverse=True) and row[0][1] >= drawn
    assert answer.top[0][0][0] == teacher.generate([258], max_tokens=1, temperature=0.0).ids[0]
    assert teacher.generate([258], max_tokens=2, logits=lambda s, ids, row: -abs(numpy.arange(len(row)) - 70.0) * 1e3).ids == [70, 70]
    with pytest.raises(distill.Cancelled):
        teacher.generate([258], logits=lambda *_: False)
    with pytest.raises(ZeroDivisionError):
        teacher.generate([258], logits=lambda *_: 1 // 0)
    with pytest.raises(distill.DistillError, match="the callback for logits left nan"):
        teacher.generate([258], logits=lambda s, ids, row: row * float("nan"))


def test_quantised_weights_are_multiplied_as_they_are(model_folder, tokenizer, tmp_path, env, by_cblas):
    config = json.loads((model_folder / "config.json").read_text())
    config.update(hidden_size=64, intermediate_size=96, num_attention_heads=2, num_key_value_heads=1, num_hidden_layers=2, head_dim=32)
    (tmp_path / "config.json").write_text(json.dumps(config))
    wide = distill.Student.fresh(tmp_path / "config.json", tokenizer, env=env, init_std=0.3)
    distill.Teacher.from_student(wide).export(tmp_path / "wide.gguf", format="gguf", type="q8_0")
    teacher, prompt = distill.Teacher(tmp_path / "wide.gguf", env=env), [258, 10, 40]
    exact = teacher.generate(prompt, max_tokens=6, temperature=0.0, quantized="exact")
    whole = teacher.log_probs([prompt + exact.ids])[len(prompt) - 1:]
    rounded = teacher.generate(prompt, max_tokens=1, temperature=0.0)
    assert exact.log_probs == pytest.approx(list(whole[:len(exact.ids)]), abs=1e-5)
    assert (rounded.log_probs == exact.log_probs[:1]) == by_cblas and rounded.log_probs == pytest.approx(exact.log_probs[:1], abs=0.1)
    assert rounded.log_probs == teacher.generate([prompt, [10]], max_tokens=1, temperature=0.0)[0].log_probs
    with distill.Env() as other:
        plain = distill.Teacher(tmp_path / "wide.gguf", {"compute": {"products": "cblas"}}, env=other)
        assert plain.generate(prompt, max_tokens=1, temperature=0.0).log_probs == pytest.approx(exact.log_probs[:1], abs=1e-4)
        with pytest.raises(distill.DistillError, match="generate.quantized: int8 is of our own kernels, and products are by cblas"):
            plain.generate(prompt, max_tokens=1, temperature=0.0, quantized="int8")
        with pytest.raises(distill.DistillError, match="generate.precision: bf16 is of our own kernels, and products are by cblas"):
            plain.generate(prompt, max_tokens=1, temperature=0.0, precision="bf16")


def test_run_and_report(recipe, env):
    steps = []
    report = distill.run(recipe, {"train.steps": 5}, env=env, on_progress=lambda progress: steps.append(progress.step))
    assert max(steps) == 5 and report["student.perplexity"] > 1 and report.to_dict()["training"]["steps"] == 5
    with open(recipe["output"] + "/result.json", encoding="utf-8") as file:
        assert json.load(file)["training"]["steps"] == 5
    with pytest.raises(distill.DistillError, match="overwrite|resume"):
        distill.run(recipe, env=env)


def test_own_loss_in_numpy_is_the_built_in_one(recipe):
    def forward_kl(rows):
        p = numpy.exp(rows.teacher)
        rows.value[:] = (p * (rows.teacher - rows.student)).sum(1)
        if rows.gradient is not None:
            rows.gradient[:] = -p

    weights = []
    for name in ("forward_kl", "mine"):
        with distill.Env() as env:
            env.add_loss("mine", forward_kl, log_probs=True)
            settings = {"loss": {"type": name, "temperature": 1.0, "hard_label_weight": 0}, "output": None}
            recipe.pop("output", None)
            trainer = distill.Trainer(recipe, settings=settings, env=env)
            trainer.run()
            student = trainer.student()
            weights.append(student.parameter(student.parameter_names()[0]).array().copy())
    assert numpy.allclose(weights[0], weights[1], atol=2e-5)  # AdamW magnifies what numpy's floats lose near p = q


def test_stepping_is_running(recipe, env):
    recipe.pop("output")
    losses = [progress.loss for progress in distill.Trainer(recipe, env=env)]
    assert len(losses) == 4 and all(numpy.isfinite(losses))


def test_pull_mode_by_strips_is_the_trainers_own_loss(recipe, env):
    recipe.pop("output")
    recipe["loss"] = {"type": "cross_entropy"}
    own = [progress.loss for progress in distill.Trainer(recipe, env=env)]
    trainer, pulled = distill.Trainer(recipe, env=env), []
    while True:
        forward = trainer.forward()
        if forward is None:
            break
        for strip in trainer.strips():
            logits = numpy.array(strip.student, dtype="float64")
            q = numpy.exp(logits - logits.max(1, keepdims=True))
            q /= q.sum(1, keepdims=True)
            at = numpy.arange(strip.rows), numpy.array(strip.labels)
            strip.loss = float(-(numpy.log(q[at]) * strip.weights).sum())
            q[at] -= 1
            strip.student[:] = q * numpy.array(strip.weights)[:, None]
        trainer.backward()
        if forward.last:
            pulled.append(trainer.apply().loss)
    assert numpy.allclose(own, pulled, rtol=1e-4)


def test_pull_mode_by_hidden_states(recipe, env):
    recipe.pop("output")
    recipe["loss"] = {"type": "cross_entropy"}
    trainer, loss = distill.Trainer(recipe, env=env), distill.Loss("cross_entropy", env=env)
    forward = trainer.forward()
    gradient = numpy.zeros(forward.hidden.shape, dtype="float32")
    result = loss(forward.student, labels=forward.labels, weights=forward.weights, gradient=gradient)
    assert result.count == forward.rows and numpy.abs(gradient).max() > 0
    trainer.backward(gradient, loss=result.sum)


def test_teacher_of_ones_own(recipe, env):
    table = numpy.random.default_rng(1).normal(size=(300, 300)).astype("float32")

    def bigrams(batch, first, count, target):
        return table[batch.ids[batch.rows[first:first + count]]]

    recipe.pop("output")
    recipe.pop("teacher")
    recipe["student"] = {}
    teacher = distill.Teacher.from_function(bigrams, distill.Form(vocab=300), env=env)
    assert numpy.array_equal(teacher.score([1, 2, 3]), table[[1, 2]])

    def broken(batch, first, count, target):
        raise KeyError("no such row")

    with pytest.raises(KeyError, match="no such row"):
        distill.Teacher.from_function(broken, distill.Form(vocab=300), env=env).score([1, 2, 3])


def test_a_slow_teacher_is_told_of_the_next_batch(env):
    events = []

    def name(batch):
        return tuple(batch.ids[:2])

    def score(batch, first, count, target):
        events.append(("score", name(batch)))
        return numpy.zeros((count, 300), dtype="float32")

    teacher = distill.Teacher.from_function(score, distill.Form(vocab=300), env=env, begin=lambda batch: events.append(("begin", name(batch))),
                                            end=lambda batch: events.append(("end", name(batch))))
    data = distill.Dataset.from_tokens([[10 * i + j for j in range(8)] for i in range(6)], env=env, sequence_length=8, pack=False)
    student = distill.Student.from_object(Bigrams(300), distill.Form(vocab=300), env=env)
    with distill.Trainer({"train": {"steps": 3, "batch_size": 2, "micro_batch_size": 2}, "loss": "forward_kl"}, teacher=teacher, student=student,
                         train=data, env=env) as trainer:
        for _ in range(3):
            trainer.step()
    kinds = [kind for kind, _ in events]
    assert kinds == ["begin", "begin", "score", "end", "begin", "score", "end", "score", "end"]
    assert events[1][1] == events[5][1] != events[0][1] == events[2][1] == events[3][1]


class Bigrams:
    """A student of numpy: a table of logits, plain gradient descent."""

    def __init__(self, vocab):
        self.table = numpy.zeros((vocab, vocab), dtype="float32")
        self.discard()

    def forward(self, batch, first, count, target):
        self.last = numpy.array(batch.ids[batch.rows[first:first + count]])
        return self.table[self.last]

    def backward(self, first, count, gradient):
        numpy.add.at(self.gradient, self.last, gradient)

    def apply(self, step, learning_rate, scale):
        self.table -= 100 * learning_rate * scale * self.gradient
        self.discard()

    def discard(self):
        self.gradient = numpy.zeros_like(self.table)


def test_student_of_ones_own(env):
    model, form = Bigrams(8), distill.Form(vocab=8)
    data = distill.Dataset.from_tokens([[1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5]] * 8, env=env, sequence_length=12)
    student = distill.Student.from_object(model, form, env=env)
    own = {"loss": "cross_entropy", "train": {"steps": 20, "batch_size": 4, "learning_rate": 0.05}, "data": {"sequence_length": 12}}
    trainer = distill.Trainer(own, student=student, train=data, env=env)
    losses = [progress.loss for progress in trainer]
    assert losses[-1] < losses[0] / 2 and model.table[3].argmax() == 4


def test_datasets_of_ones_own(env, tokenizer):
    samples = ["the thing", {"prompt": "in the ", "completion": "inn"}, [1, 2, 3, 4], distill.Sample([5, 6, 7, 8], prompt_count=2)]
    data = distill.Dataset.from_sequence(samples, tokenizer, sequence_length=16, shuffle=False, pack=False)
    windows = list(data)
    assert data["samples"] == 4 and len(windows) == 4 and windows[2].ids[:4] == [1, 2, 3, 4]
    cursor = data.tell()
    data.seek()
    assert [window.ids for window in data] == [window.ids for window in windows] and data.tell() == cursor

    def broken(index):
        raise RuntimeError("sample %d" % index)

    with pytest.raises(RuntimeError, match="sample"):
        list(distill.Dataset.from_function(broken, 2, env=env, sequence_length=16))


def test_parameters_are_views(model_folder, env):
    student = distill.Student(model_folder, env=env)
    name = student.parameter_names()[0]
    view = student.parameter(name).array()
    before = student.as_teacher().score([1, 2, 3]).copy()
    view *= 2
    student.weights_changed()
    assert not numpy.array_equal(before, student.as_teacher().score([1, 2, 3]))


def test_save_and_open_is_the_same_model(model_folder, tmp_path, env):
    student = distill.Student.derive(distill.Teacher(model_folder, env=env), layers=[0, 2])
    student.save(tmp_path / "copy")
    again = distill.Student(tmp_path / "copy", env=env)
    assert numpy.array_equal(student.as_teacher().score([1, 2, 3]), again.as_teacher().score([1, 2, 3]))
    info = distill.inspect(tmp_path / "copy", env=env).to_dict()
    assert info["kind"] == "model" and info["whole"] is True


def test_export_to_gguf_is_the_same_model(model_folder, tmp_path, env):
    teacher = distill.Teacher(model_folder, env=env)
    teacher.export(tmp_path / "m.gguf", format="gguf")
    again = distill.Teacher(tmp_path / "m.gguf", env=env)
    assert numpy.array_equal(teacher.score([1, 2, 3]), again.score([1, 2, 3]))
    with pytest.raises(distill.InvalidArgument, match="is there already"):
        teacher.export(tmp_path / "m.gguf", format="gguf", type="bf16")
    student = distill.Student.derive(teacher, layers=[0, 2])
    student.save(tmp_path / "both", format="both", type="f16")
    assert sorted(path.name for path in (tmp_path / "both").iterdir() if path.suffix in (".gguf", ".safetensors")) == [
        "model.gguf", "model.safetensors"]


def test_evaluate(model_folder, recipe, env, tokenizer, by_cblas):
    student = distill.Student(model_folder, env=env)
    data = distill.Dataset(recipe["data"]["eval"], tokenizer, sequence_length=24)
    report = distill.evaluate(student, data, distill.Teacher(model_folder, env=env))
    assert report["forward_kl"] == pytest.approx(0, abs=1e-5) and report["top1_agreement"] == pytest.approx(1) and report.to_dict()["precision"] == "fp32"
    if by_cblas:
        with pytest.raises(distill.DistillError, match="bf16"):
            distill.evaluate(student, data, eval_precision="bf16")
    else:
        half = distill.evaluate(student, data, eval_precision="bf16")
        assert half.to_dict()["precision"] == "bf16" and half["nats"] == pytest.approx(report["nats"], abs=0.05)
    with pytest.raises(TypeError, match="not sequence_length, steps"):
        distill.evaluate(student, data, steps=3, sequence_length=8)


def test_strided_and_half_inputs(env):
    loss, random = distill.Loss("forward_kl", env=env), numpy.random.default_rng(3)
    wide = random.normal(size=(4, 20)).astype("float32")
    teacher = random.normal(size=(4, 10)).astype("float32")
    assert loss(wide[:, ::2], teacher).sum == pytest.approx(loss(wide[:, ::2].copy(), teacher).sum)
    half = teacher.astype("float16")
    assert loss(wide[:, ::2], half).sum == pytest.approx(loss(wide[:, ::2], half.astype("float32")).sum, rel=1e-6)
    with pytest.raises(TypeError):
        loss(wide.astype("float64"), teacher)


def chain_of(recipe, **more):
    top = {key: value for key, value in recipe.items() if key not in ("student",)}
    stages = [{"name": "assistant", "student": {"from": "teacher", "layers": [0, 2]}},
              dict({"name": "student", "teacher": "stages.assistant", "student": {"from": "teacher", "layers": [0]}}, **more)]
    return dict(top, stages=stages)


def test_stages_one_after_another(recipe, env, tmp_path):
    seen, lines = [], chain_of(recipe)

    def watch(progress):
        seen.append((progress.stage, progress.stages, progress.stage_name))
        return len(seen) < 3

    with pytest.raises(distill.Cancelled):
        distill.run(lines, env=env, on_progress=watch)
    report = distill.run(lines, env=env, on_progress=lambda progress: seen.append((progress.stage, progress.stages, progress.stage_name)))
    assert set(seen) == {(1, 2, "assistant"), (2, 2, "student")}
    assert report["stages.student.student.parameters"] < report["stages.assistant.student.parameters"]
    whole = distill.run(chain_of(dict(recipe, output=str(tmp_path / "whole"))), env=env).to_dict()
    for name in ("assistant", "student"):
        folders = [pathlib.Path(result["stages"][name]["student"]["path"]) for result in (report.to_dict(), whole)]
        assert folders[0] != folders[1]
        assert (folders[0] / "model.safetensors").read_bytes() == (folders[1] / "model.safetensors").read_bytes()
    with pytest.raises(distill.Mismatch, match="stages.student was finished .* train.steps changed"):
        distill.run(chain_of(recipe, train={"steps": 2}), env=env)
    again = distill.run(chain_of(recipe, train={"steps": 2}), env=env, again=True)
    assert again["stages.student.training.steps"] == 2
    with pytest.raises(ValueError, match="stages"):
        distill.run(recipe, env=env, again=True)
