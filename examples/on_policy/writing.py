"""What a student's own text is worth, by its teacher.

Exposure bias is the accumulated excess error of Arora et al. (arXiv 2204.01171): a student that writes errs more at each token than where the
teacher wrote what stands before it; the sum of KL(teacher || student) along the student's texts over that along the teacher's, less 1."""
import json
import math

import distill


def prompts_of(tokenizer, path, count, length):
    """The first tokens of so many lines that have more than those, evenly over a text."""
    with open(path, encoding="utf-8") as lines:
        ids = [ids for ids in (tokenizer.encode(line.strip()) for line in lines) if len(ids) > length]
    return [ids[i * len(ids) // count][:length] for i in range(count)]


def log_softmax(rows):
    import numpy
    rows = rows.astype(numpy.float64)
    top = rows.max(axis=-1, keepdims=True)
    return rows - top - numpy.log(numpy.exp(rows - top).sum(axis=-1, keepdims=True))


def distances(teacher, student, prompts, texts):
    """KL(teacher || student) at each token of each text, behind its prompt."""
    import numpy
    out = []
    for begin in range(0, len(prompts), 8):  # as many logits as stay small
        some = [list(prompt) + list(text) for prompt, text in zip(prompts[begin:begin + 8], texts[begin:begin + 8])]
        p, q = log_softmax(teacher.score(some)), log_softmax(student.score(some))
        kl, at = (numpy.exp(p) * (p - q)).sum(axis=-1), 0
        for prompt, whole in zip(prompts[begin:begin + 8], some):
            out.append(kl[at + len(prompt) - 1:at + len(whole) - 1])
            at += len(whole) - 1
    return out


def by_place(distances_of_texts, length):
    """The mean at each place of a text, as far as texts go."""
    columns = [[d[t] for d in distances_of_texts if len(d) > t] for t in range(length)]
    return [sum(column) / len(column) for column in columns if column]


def rouge_l(a, b):
    """F1 of the longest common subsequence of two lists."""
    row = [0] * (len(b) + 1)
    for x in a:
        before = 0
        for j, y in enumerate(b, 1):
            row[j], before = before + 1 if x == y else max(row[j], row[j - 1]), row[j]
    return 2 * row[-1] / (len(a) + len(b)) if a and b else 0.0


def likelihood(teacher, prompts, texts):
    """Nats a token that the teacher gives the texts."""
    total = count = 0
    for prompt, text in zip(prompts, texts):
        if text:
            chosen = teacher.log_probs([list(prompt) + list(text)])[len(prompt) - 1:]
            total, count = total - float(chosen.sum()), count + len(text)
    return total / count if count else math.nan


class Judge:
    """The teacher, prompts as ids (a function of its tokenizer gives them), and what the teacher writes behind them: made once, asked about every
    student."""

    def __init__(self, teacher, prompts, length):
        self.teacher, self.length = distill.Teacher(teacher), length
        self.prompts = prompts(self.teacher.tokenizer())
        self.written = self.write(self.teacher, seed=1)
        self.greedy = self.write(self.teacher, temperature=0.0)

    def write(self, model, **how):
        return [answer.ids for answer in model.generate(self.prompts, max_tokens=self.length, **how)]

    def kept(self, folder, exposure=True):
        """What is said of a student, beside it; asked once for each run of it."""
        kept = folder / "judged.json"
        if not kept.exists() or kept.stat().st_mtime < (folder / "result.json").stat().st_mtime:
            kept.write_text(json.dumps(self.of(folder, exposure)))
        return json.loads(kept.read_text())

    def of(self, folder, exposure):
        student = distill.Teacher(folder)
        own, greedy = self.write(student, seed=1), self.write(student, temperature=0.0)
        found = {"rouge_l": sum(map(rouge_l, greedy, self.greedy)) / len(greedy), "sample_nats": likelihood(self.teacher, self.prompts, own)}
        return {**found, **self.exposure(student, own)} if exposure else found

    def exposure(self, student, own):
        free = by_place(distances(self.teacher, student, self.prompts, own), self.length)
        led = by_place(distances(self.teacher, student, self.prompts, self.written), self.length)
        return {"exposure_bias": sum(free) / sum(led) - 1, "own_kl": sum(free) / len(free), "by_place": {"own": free, "teacher": led}}
