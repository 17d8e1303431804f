"""What a model is worth, alone and beside another one (docs/evaluation.md), and what a run would take (docs/plan.md)."""
import ctypes

from . import _signatures as c
from ._base import Options, Report, encoded, interruptible, options_for, raw_or_none
from ._errors import call
from .cache import _progress


def evaluate_tasks(model, options=None, on_progress=None, **keys):
    """How many questions a model (a Teacher) answers right: a Report. choices, answers: files of lines of JSON; verify, chat, limit, aside
    are options of section tasks, too. on_progress(progress) may return False to stop."""
    with_options = options_for(model.env, "tasks", options, keys)
    raw = ctypes.POINTER(c.distill_report)()
    with _progress(on_progress) as (fn, key):
        interruptible(lambda: call("evaluate_tasks", model.raw, raw_or_none(with_options), fn, key, raw), model.env.cancel)
    return Report._wrap(raw, model.env)


def compare(a, b, data=None, options=None, on_progress=None, **keys):
    """Two models (Teachers) side by side, a the one that is imitated: a Report of quality, size, speed, latency and cost of each ("a.", "b."),
    and of what lies between them ("between."). data: a file, read by each with its own tokenizer. Keywords are options of section data."""
    with_options = options_for(a.env, "data", options, keys)
    raw = ctypes.POINTER(c.distill_report)()
    with _progress(on_progress) as (fn, key):
        interruptible(lambda: call("compare", a.raw, b.raw, encoded(data) if data is not None else None, raw_or_none(with_options), fn, key, raw),
                      a.env.cancel)
    return Report._wrap(raw, a.env)


def plan(recipe, settings=None, on_progress=None, env=None):
    """What a run of a recipe (a path, a dict of sections, Options) would take: a Report of memory, disk, time, energy and money, with a cache
    of targets and without. A few steps are made and forgotten; nothing is written."""
    tree = Options(recipe, settings, env=env)
    raw = ctypes.POINTER(c.distill_report)()
    with _progress(on_progress) as (fn, key):
        interruptible(lambda: call("plan", tree.env.raw, tree.raw, fn, key, raw), tree.env.cancel)
    return Report._wrap(raw, tree.env)
