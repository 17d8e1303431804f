"""What a user of distill.run relies on: the folder, the report, resuming, stopping; and losses against the definition."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

import distill

numpy = pytest.importorskip("numpy")

ROOT = pathlib.Path(__file__).resolve().parents[3]
REAL = ROOT / "examples" / "quickstart" / "teacher"


def weights(folder):
    return (pathlib.Path(folder) / "model.safetensors").read_bytes()


def test_the_output_folder_and_the_report(recipe, env):
    report = distill.run(recipe, env=env)
    found = {path.name for path in pathlib.Path(recipe["output"]).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "metrics.jsonl", "result.json"} <= found
    for key in ("student.perplexity", "student.forward_kl", "student.top1_agreement", "teacher.perplexity"):
        assert numpy.isfinite(report[key]), key
    with pytest.raises(distill.NotFound, match="no.such"):
        report["no.such"]
    again = distill.Student(recipe["output"], env=env)
    assert again.as_teacher().layers == 2


def test_checkpoints_on_the_way(recipe, env):
    distill.run(recipe, {"train.checkpoint_every": 2}, env=env)
    folders = sorted((pathlib.Path(recipe["output"]) / "checkpoints").glob("step-*"))
    assert folders and distill.inspect(folders[-1], env=env).to_dict()["whole"] is True


def test_stopped_and_resumed_is_never_stopped(recipe, env, tmp_path):
    recipe["train"]["steps"] = 8
    distill.run(recipe, env=env)
    whole, recipe["output"] = weights(recipe["output"]), str(tmp_path / "stopped")
    with pytest.raises(distill.Cancelled):
        distill.run(recipe, env=env, on_progress=lambda progress: progress.step < 3)
    report = distill.run(recipe, resume=True, env=env)
    assert report["training.steps"] == 8 and weights(recipe["output"]) == whole


def test_nothing_to_resume_is_said(recipe, env):
    with pytest.raises(distill.NotFound):
        distill.run(recipe, resume=True, env=env)


def test_an_exception_in_progress_comes_back(recipe, env):
    def broken(progress):
        raise ArithmeticError("in progress at %d" % progress.step)

    with pytest.raises(ArithmeticError, match="in progress"):
        distill.run(recipe, env=env, on_progress=broken)


def test_steps_lower_the_loss(model_folder, env):
    data = distill.Dataset.from_tokens([[1, 2, 3, 4, 5, 6, 7, 8] * 4] * 8, env=env, sequence_length=16)
    recipe = {"loss": "cross_entropy", "train": {"steps": 15, "batch_size": 4, "learning_rate": 0.02, "warmup_steps": 0}}
    losses = [progress.loss for progress in distill.Trainer(recipe, student=distill.Student(model_folder, env=env), train=data, env=env)]
    assert losses[-1] < 0.7 * losses[0]


def test_several_sources(recipe, env, tmp_path):
    (tmp_path / "en.txt").write_text("the man is in the inn\n" * 4)
    data = dict(recipe["data"], train=[{"path": recipe["data"]["train"], "source": "pt"}, {"path": str(tmp_path / "en.txt")}], mix={"pt": 1, "en": 3})
    result = distill.run(dict(recipe, data=data), env=env).to_dict()
    together = distill.Dataset(None, distill.Tokenizer(recipe["teacher"]["path"], env=env), env=env, train=data["train"], mix={"pt": 1, "en": 3})
    assert together["samples"] == 41
    sources = result["data"]["sources"]
    assert list(sources) == ["pt", "en"] and sources["en"]["share"] == 0.75 and sources["en"]["passes"] > 1
    with pytest.raises(distill.OptionError, match="data.mix.fr is not a source"):
        distill.Trainer(dict(recipe, data=dict(data, mix={"pt": 1, "fr": 1})), env=env)


def test_live_options_and_checkpoints(recipe, env, tmp_path):
    recipe.pop("output")
    trainer = distill.Trainer(recipe, env=env)
    trainer.step()
    trainer.save(tmp_path / "checkpoint")
    after = [trainer.step().loss for _ in range(2)]
    again = distill.Trainer(recipe, env=env)
    again.load(tmp_path / "checkpoint")
    assert [again.step().loss for _ in range(2)] == after
    with pytest.raises(distill.StageError):
        trainer.configure(recipe, {"data.sequence_length": 12})


def test_settings_change_items_of_the_trainers_own_lists(recipe, env):
    recipe.pop("output")
    recipe["loss"] = [{"type": "forward_kl"}, {"type": "cross_entropy", "weight": 0.0}]
    trainer = distill.Trainer(recipe, env=env)
    trainer.configure(settings={"loss.1.weight": 0.5})
    trainer.configure(settings={"loss.0.weight": 0.0})  # the first change stays
    trainer.step()
    terms = trainer.report().to_dict()["training"]["terms"]
    assert [(term["loss"], term["weight"]) for term in terms] == [("cross_entropy", 0.5)]
    with pytest.raises(distill.OptionError, match="every term has weight 0"):
        trainer.configure(settings={"loss.1.weight": 0.0})


def test_numpy_numbers_are_numbers(env):
    options = distill.Options({"train": {"steps": numpy.int64(7), "learning_rate": numpy.float32(0.5)}, "data.shuffle": numpy.bool_(False),
                               "student.layers": numpy.array([0, 2])}, env=env)
    assert [options[key] for key in ("train.steps", "train.learning_rate", "data.shuffle", "student.layers.1")] == ["7", "0.5", "false", "2"]


def test_forward_kl_and_its_gradient_in_double(env):
    random = numpy.random.default_rng(5)
    student, teacher = (random.normal(size=(6, 11)).astype("float32") for _ in range(2))
    labels, row_weights = numpy.array([1, 2, -1, 3, 4, 5], dtype="int32"), numpy.array([1, 2, 1, 0, 0.5, 1], dtype="float32")
    heat, scale = 2.0, 0.25

    def softmax(z):
        e = numpy.exp((z - z.max(1, keepdims=True)).astype("float64") / heat)
        return e / e.sum(1, keepdims=True)

    p, q = softmax(teacher), softmax(student)
    rows = heat ** 2 * (p * (numpy.log(p) - numpy.log(q))).sum(1)
    used = row_weights * (labels >= 0)
    gradient, values = numpy.zeros_like(student), numpy.zeros(6, dtype="float32")
    result = distill.Loss("forward_kl", env=env, temperature=heat, hard_label_weight=0.0)(
        student, teacher, labels, row_weights, gradient=gradient, row_values=values, grad_scale=scale)
    assert result.sum == pytest.approx((rows * used).sum(), rel=1e-5) and result.weight_sum == pytest.approx(used.sum())
    assert result.count == (used > 0).sum() and result.mean == pytest.approx(result.sum / used.sum())
    assert numpy.allclose(gradient, scale * heat * (q - p) * used[:, None], atol=2e-6)
    assert numpy.allclose(values, rows * (used > 0), atol=1e-5)


def test_strided_gradients_and_broadcast_inputs(env):
    loss, random = distill.Loss("forward_kl", env=env), numpy.random.default_rng(6)
    student, teacher = random.normal(size=(4, 10)).astype("float32"), random.normal(size=(1, 10)).astype("float32")
    wide, plain = numpy.full((4, 20), 7, dtype="float32"), numpy.zeros((4, 10), dtype="float32")
    same = numpy.broadcast_to(teacher, (4, 10))
    assert loss(student, same, gradient=wide[:, 1::2]).sum == pytest.approx(loss(student, same.copy(), gradient=plain).sum)
    assert numpy.array_equal(wide[:, 1::2], plain) and (wide[:, ::2] == 7).all()
    with pytest.raises(TypeError, match="float32"):
        loss(student, same, gradient=numpy.zeros((4, 10)))
    with pytest.raises(ValueError, match="read-only"):
        loss(student, same, gradient=same)


@pytest.mark.skipif(not REAL.is_dir(), reason="the quickstart's teacher is not in this tree")
def test_a_real_model(env):
    teacher = distill.Teacher(REAL, env=env)
    tokenizer = teacher.tokenizer()
    ids = tokenizer.encode("a small bird that sings")
    assert tokenizer.decode(ids, skip_special=True).strip() == "a small bird that sings"
    logits = teacher.score(ids).astype("float64")
    assert logits.shape == (len(ids) - 1, teacher.vocab_size)
    log_q = logits - numpy.log(numpy.exp(logits).sum(1, keepdims=True))
    said = -log_q[numpy.arange(len(ids) - 1), ids[1:]].mean()
    mixed = -log_q[numpy.arange(len(ids) - 1), ids[1:][::-1]].mean()
    assert said < mixed and said < numpy.log(teacher.vocab_size)
    assert teacher.generate("a small", max_tokens=6, temperature=0.0).text


@pytest.mark.skipif(not REAL.is_dir(), reason="the quickstart's teacher is not in this tree")
@pytest.mark.parametrize("script", ["distill_recipe.py", "custom_loss.py"])
def test_the_examples_run(script, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join("a small bird number %d that sings in the morning" % i for i in range(200)))
    path = os.path.dirname(os.path.dirname(distill.__file__))
    done = subprocess.run([sys.executable, "-B", str(ROOT / "examples" / "python" / script), str(REAL), str(text), "--steps", "2"],
                          env=dict(os.environ, PYTHONPATH=path), capture_output=True, text=True)
    assert done.returncode == 0 and "KL(teacher || student)" in done.stdout, done.stderr


def test_reports_are_json(recipe, env):
    report = distill.run(recipe, {"output": None}, env=env)
    assert json.loads(report.json()) == report.to_dict() and not os.path.exists(recipe["output"])


@pytest.mark.parametrize("name, keys, row", [
    ("reverse_kl", {}, lambda p, q: q * numpy.log(q / p)),
    ("jsd", {"jsd": {"teacher_weight": 0.3}},
     lambda p, q: 0.3 * p * numpy.log(p / (0.3 * p + 0.7 * q)) + 0.7 * q * numpy.log(q / (0.3 * p + 0.7 * q))),
    ("tvd", {}, lambda p, q: abs(p - q) / 2),
])
def test_losses_by_name_with_their_options(env, name, keys, row):
    random = numpy.random.default_rng(8)
    student, teacher = (random.normal(size=(4, 9)).astype("float32") for _ in range(2))
    p, q = (numpy.exp(z.astype("float64")) / numpy.exp(z.astype("float64")).sum(1, keepdims=True) for z in (teacher, student))
    assert distill.Loss(name, env=env, **keys)(student, teacher).sum == pytest.approx(row(p, q).sum(), rel=1e-5)
    assert distill.Loss(options={"loss": {"type": name, **keys}}, env=env)(student, teacher).sum == pytest.approx(row(p, q).sum(), rel=1e-5)
    with pytest.raises(distill.OptionError, match="skew.lambda"):
        distill.Loss(name, env=env, skew={"lambda": 0.2})


def test_the_student_teaches_itself(recipe, env, model_folder, tmp_path):
    recipe["student"] = {"path": str(model_folder)}
    recipe["teacher"] = {"self": "student", "prefix": "the same, and more of it: "}
    report = distill.run(recipe, env=env)
    assert report["training.steps"] == 4 and report["student.forward_kl"] > 0
    recipe["teacher"] = {"self": "average", "average": {"decay": 0.5}}
    recipe["train"]["checkpoint_every"] = 2
    recipe["output"] = str(tmp_path / "average")
    distill.run(recipe, env=env)
    folder = sorted((tmp_path / "average" / "checkpoints").glob("step-*"))[-1] / "average"
    assert distill.Teacher(folder, env=env).layers == distill.Teacher(model_folder, env=env).layers
    assert weights(folder) != weights(folder.parent / "student")
    with pytest.raises(distill.OptionError, match="a teacher is one of them"):
        distill.Teacher(model_folder, {"teacher": {"self": "average"}}, env=env)
