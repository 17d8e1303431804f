"""Data by a teacher: samples go through the operators of a recipe (docs/augmentation.md)."""
import ctypes

from . import _signatures as c
from ._base import Report, encoded, env_of, interruptible, options_for, raw_or_none
from ._errors import call
from .cache import _progress


def augment(options=None, teacher=None, seeds=None, out=None, on_progress=None, env=None, **keys):
    """Samples of a file (seeds, or augment.in; None for operators that make them of nothing) become lines of JSONL at out (or augment.out):
    a Report of what was written, tokens, and what was dropped by why. options is a recipe; keywords are options of augment: steps, budget,
    seed, overwrite, ... It goes on where an earlier call was stopped. on_progress(progress) may return False to stop."""
    env = env_of(env, teacher)
    with_options = options_for(env, "augment", options, keys)
    raw = ctypes.POINTER(c.distill_report)()
    with _progress(on_progress) as (fn, key):
        interruptible(lambda: call("dataset_augment", env.raw, raw_or_none(teacher), encoded(seeds) if seeds is not None else None,
                                   encoded(out) if out is not None else None, raw_or_none(with_options), fn, key, raw), env.cancel)
    return Report._wrap(raw, env)


def augment_plan(options=None, teacher=None, seeds=None, env=None, **keys):
    """What augment would ask first ("prompts"), and an estimate from a few samples that go through. Nothing is written."""
    env = env_of(env, teacher)
    with_options = options_for(env, "augment", options, keys)
    raw = ctypes.POINTER(c.distill_report)()
    interruptible(lambda: call("dataset_augment_plan", env.raw, raw_or_none(teacher), encoded(seeds) if seeds is not None else None,
                               raw_or_none(with_options), raw), env.cancel)
    return Report._wrap(raw, env)
