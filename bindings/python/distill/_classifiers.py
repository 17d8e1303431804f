"""Students that are no language models: distill_classifier_*."""
import ctypes
import json
import os

from . import _signatures as c
from ._base import Handle, Report, default_env, encoded, interruptible, options_for, raw_or_none, sized
from ._callbacks import destroy, register
from ._errors import call
from ._lib import lib
from ._training import _on_progress


class Verdict:
    """What a classifier says of a text: label, confidence, sure (the promise of classifier.agreement covers it), answer (number of the
    class), probabilities {class: p}."""

    def __init__(self, names, verdict, probabilities):
        self.answer, self.confidence, self.sure = verdict.answer, verdict.confidence, bool(verdict.sure)
        self.label, self.probabilities = names[verdict.answer], dict(zip(names, probabilities))

    def __repr__(self):
        return "Verdict(%r, confidence=%.3f, sure=%r)" % (self.label, self.confidence, self.sure)


class Classifier(Handle):
    """A text as hashed n-grams or a model's embedding, then one layer, or two. path: the folder of a training or of save; embedding: where
    the embedding's model is now."""
    _kind = c.distill_classifier

    def __init__(self, path, embedding=None, options=None, env=None):
        self.env = env if env is not None else default_env()
        keys = {} if embedding is None else {"classifier.embedding.path": os.fspath(embedding)}
        with_options = options_for(self.env, "classifier", options, keys)
        self._create("classifier_open", self.env.raw, encoded(path), raw_or_none(with_options))

    @classmethod
    def train(cls, samples=None, options=None, resume=False, on_progress=None, env=None, **keys):
        """(Classifier, Report). samples: dicts {"text", "probabilities": {class: p}} (or "label"), or none for the files of data.train.
        options: a recipe; keywords are options of section classifier (hidden, type, agreement, ...). on_progress(progress) may return False
        to stop; with output.path a checkpoint stays, from which resume=True goes on."""
        env = env if env is not None else getattr(options, "env", None) or default_env()
        with_options = options_for(env, "classifier", options, {"classifier." + key: value for key, value in keys.items()})
        texts = [json.dumps(sample).encode() for sample in samples or ()]
        table = (c.distill_sample * max(len(texts), 1))(*[sized(c.distill_sample, kind=c.DISTILL_SAMPLE_JSON, size=len(text), text=text)
                                                          for text in texts])
        raw, report = ctypes.POINTER(cls._kind)(), ctypes.POINTER(c.distill_report)()
        key = register(on_progress) if on_progress is not None else None
        try:
            interruptible(lambda: call("classifier_train", env.raw, table if samples is not None else None, len(texts),
                                       raw_or_none(with_options), c.DISTILL_RUN_RESUME if resume else 0,
                                       _on_progress if key is not None else c.distill_progress_fn(), key, raw, report), env.cancel)
        finally:
            if key is not None:
                destroy(key)
        return cls._wrap(raw, env), Report._wrap(report, env)

    @property
    def classes(self):
        """Names, in order."""
        if not hasattr(self, "_names"):
            names, index = [], 0
            while (name := lib.distill_classifier_class_name(self.raw, index)) is not None:
                names.append(name.decode())
                index += 1
            self._names = tuple(names)
        return list(self._names)

    def __getitem__(self, key):
        """"threshold", "coverage", "bytes", ..."""
        value = ctypes.c_double()
        call("classifier_get_f64", self.raw, encoded(key), value)
        return value.value

    def predict(self, text):
        """A Verdict on a text, or a list of them on a list of texts."""
        names = self.classes
        if isinstance(text, (str, bytes)):  # over before a Ctrl-C could come: no thread waits for one
            data, shares, verdict = text if isinstance(text, bytes) else text.encode(), (ctypes.c_float * len(names))(), sized(c.distill_verdict)
            call("classifier_predict", self.raw, data, len(data), shares, len(names), verdict)
            return Verdict(names, verdict, shares)
        texts = [item if isinstance(item, bytes) else item.encode() for item in text]
        kind = ctypes.POINTER(ctypes.c_char)
        pointers = (kind * max(len(texts), 1))(*[ctypes.cast(ctypes.c_char_p(item), kind) for item in texts])
        sizes = (ctypes.c_size_t * max(len(texts), 1))(*map(len, texts))
        shares = (ctypes.c_float * max(len(texts) * len(names), 1))()
        verdicts = (c.distill_verdict * max(len(texts), 1))(*[sized(c.distill_verdict) for _ in texts])
        interruptible(lambda: call("classifier_predict_many", self.raw, pointers, sizes, len(texts), shares, verdicts), self.env.cancel)
        return [Verdict(names, verdicts[i], shares[i * len(names):(i + 1) * len(names)]) for i in range(len(texts))]

    def ask(self, teacher, text, options=None, **keys):
        """{class: p} as the teacher says behind classifier.question. precision="bf16" is faster."""
        names = self.classes
        with_options = options_for(self.env, "generate", options, keys)
        shares, data = (ctypes.c_double * len(names))(), text if isinstance(text, bytes) else text.encode()
        interruptible(lambda: call("classifier_ask", self.raw, teacher.raw, data, len(data), raw_or_none(with_options), shares, len(names)),
                      self.env.cancel)
        return dict(zip(names, shares))

    def cascade(self, teacher, text, **keys):
        """(label, by): the classifier's where it is sure, else the teacher's; by says whose."""
        verdict = self.predict(text)
        if verdict.sure:
            return verdict.label, "classifier"
        told = self.ask(teacher, text, **keys)
        return max(told, key=told.get), "teacher"

    def save(self, path):
        call("classifier_save", self.raw, encoded(path))

    def report(self):
        raw = ctypes.POINTER(c.distill_report)()
        call("classifier_report", self.raw, raw)
        return Report._wrap(raw, self.env)

    def evaluate(self, path):
        """Agreement with a file's probabilities, calibration, and what a cascade would do on it: a Report."""
        raw = ctypes.POINTER(c.distill_report)()
        interruptible(lambda: call("classifier_evaluate", self.raw, encoded(path), raw), self.env.cancel)
        return Report._wrap(raw, self.env)


def choose(teacher, prompt, choices, chat=False, per_token=False, options=None, **keys):
    """{choice: p} behind a prompt, of the choices alone; chat: the prompt is what a user says, in the teacher's chat template; per_token:
    by the mean over a choice's tokens. precision="bf16" is faster."""
    choices = list(choices)
    with_options = options_for(teacher.env, "generate", options, keys)
    kind = ctypes.POINTER(ctypes.c_char)
    names = (kind * max(len(choices), 1))(*[ctypes.cast(ctypes.c_char_p(encoded(choice)), kind) for choice in choices])
    flags = (c.DISTILL_CHOOSE_CHAT if chat else 0) | (c.DISTILL_CHOOSE_PER_TOKEN if per_token else 0)
    shares, data = (ctypes.c_double * max(len(choices), 1))(), prompt if isinstance(prompt, bytes) else prompt.encode()
    interruptible(lambda: call("teacher_choose", teacher.raw, data, len(data), flags, names, len(choices), raw_or_none(with_options), shares),
                  teacher.env.cancel)
    return dict(zip(choices, shares))
