"""What a run would take, by `distill plan`, and what it took."""
import json
import os


def files_of(folder):
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_plan(distill, recipe):
    before = files_of(recipe.parent)
    done = distill("plan", recipe, "--set", "cost.watts_per_core=5", "--set", "cost.powercap=none", "--set", "cost.eur_per_kwh=0.3", "--json")
    assert done.code == 0, done.err
    assert files_of(recipe.parent) == before
    plan = done.json
    result = distill("run", recipe, "--quiet", "--json").json
    assert plan["steps"] == 6 and plan["parameters"] == result["student"]["parameters"] and plan["teacher_parameters"] == result["teacher"]["parameters"]
    assert abs(plan["tokens"] / result["training"]["tokens"] - 1) < 0.05
    assert abs(plan["cost"]["flops"] / result["training"]["flops"] - 1) < 0.05
    assert plan["cost"]["energy"] == "estimated" and plan["cost"]["joules"] > 0 and plan["cost"]["eur"] > 0
    assert plan["time"]["seconds"] >= 6 * plan["time"]["step_seconds"]
    saved = os.path.getsize(recipe.parent / "out" / "model.safetensors")
    assert abs(plan["disk"]["student_bytes"] / saved - 1) < 0.2
    cache = plan["cache"]
    assert not cache["in_recipe"] and cache["bytes"] > 0 and cache["again_seconds"] <= cache["first_seconds"] + 1e-9


def test_with_a_cache(distill, recipe):
    arguments = (recipe, "--set", "teacher.cache.path=%s" % (recipe.parent / "targets"), "--set", "teacher.cache.tier=top_k", "--set", "teacher.cache.k=8",
                 "--set", "loss.temperature=1")
    before = files_of(recipe.parent)
    empty = distill("plan", *arguments, "--json")
    assert empty.code == 0, empty.err
    assert files_of(recipe.parent) == before
    assert empty.json["cache"]["in_recipe"] and empty.json["cache"]["missing_rows"] > 0 and empty.json["disk"]["cache_bytes"] > 0
    assert distill("cache", "build", *arguments[:-2]).code == 0
    kept = files_of(recipe.parent)
    full = distill("plan", *arguments, "--json")
    assert full.code == 0, full.err
    assert full.json["cache"]["missing_rows"] == 0 and files_of(recipe.parent) == kept
    assert abs(empty.json["disk"]["cache_bytes"] / full.json["disk"]["cache_bytes"] - 1) < 0.1
    assert "full before" in distill("plan", *arguments).out


def test_evaluations_keep_what_the_teacher_says(distill, recipe):
    (recipe.parent / "valid.jsonl").write_text((recipe.parent / "train.jsonl").read_text())
    arguments = (recipe, "--json", "--set")
    once, more = (distill("plan", *arguments, "train.eval_every=%d" % every).json["memory"] for every in (0, 2))
    assert once["evaluation_bytes"] == 0
    done = distill("run", recipe, "--quiet", "--json").json
    width = json.loads((recipe.parent / "out" / "config.json").read_text())["hidden_size"]  # the student's is the teacher's here
    assert abs(more["evaluation_bytes"] / (4 * width * done["eval"]["tokens"]) - 1) < 0.1
    assert more["peak_bytes"] >= more["tried_bytes"]


def test_what_the_run_would_refuse(distill, recipe):
    done = distill("plan", recipe, "--set", "teacher.cache.path=%s" % (recipe.parent / "targets"), "--set", "teacher.cache.tier=top_k")
    assert done.code == 1 and "set loss.temperature to 1" in done.err


def test_what_is_not_planned(distill, recipe):
    recipe.write_text(recipe.read_text() + "stages: [{name: a, train: {steps: 1}}, {name: b, train: {steps: 1}}]\n")
    done = distill("plan", recipe)
    assert done.code == 1 and "a plan is of one run" in done.err
    assert distill("plan").code == 2
