"""What the runs showed, as Markdown."""
from outputs import QUESTIONS, TYPES
from plan import KINDS

TITLES = {"text": "text", "chat": "answers"}


def lines_of(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)] + ["| " + " | ".join(row) + " |" for row in rows]


def ppl(value):
    return f"{value:.1f}" if value < 1000 else f"{value:,.0f}"


def quality(found):
    """Each student's last evaluation."""
    names = list(next(iter(found["students"].values()))["start"])
    head = ["student", "parameters", "trained", "steps"] + [f"{TITLES[n]}: {what}" for n in names for what in ("KL", "agreement", "perplexity")]
    teacher = found["teacher"]
    rows = [["teacher", f"{teacher['parameters'] / 1e6:.0f} M", "", ""]
            + [cell for n in names for cell in ("0", "100 %", ppl(teacher["sources"][n]["perplexity"]))]]
    for shape, student in found["students"].items():
        for kind, run in [("not yet", {"steps": 0, "last": student["start"]})] + list(student["runs"].items()):
            cells = [run["last"][n] for n in names]
            rows.append([shape, f"{student['parameters'] / 1e6:.0f} M", KINDS.get(kind, kind), str(run["steps"])]
                        + [text for c in cells for text in (f"{c['forward_kl']:.2f}", f"{100 * c['top1_agreement']:.0f} %", ppl(c["perplexity"]))])
    return lines_of(head, rows)


def recovery(found):
    """KL, agreement and perplexity on text, over tokens seen, distilled | on hard labels."""
    rows = []
    for shape, student in found["students"].items():
        for kind, run in student["runs"].items():
            rows += [[shape, KINDS[kind], f"{tokens:,.0f}", f"{text['forward_kl']:.2f}", f"{100 * text['top1_agreement']:.0f} %", ppl(text["perplexity"])]
                     for tokens, text in run["curve"]]
    end = run["curve"][-1][1]
    return [f"On the first {end['tokens']:,} held-out tokens of text, where the teacher's perplexity is {ppl(end['teacher_perplexity'])}.", "",
            *lines_of(["student", "trained", "tokens seen", "KL", "agreement", "perplexity"], rows)]


def sizes(found):
    rows = [[shape] + [f"{student['files'][t]['bytes'] / 1e6:.1f} MB, {ppl(student['files'][t]['perplexity'])}" for t in TYPES]
            for shape, student in found["students"].items()]
    return lines_of(["student", *(t.upper() for t in TYPES)], rows)


def llama(found):
    rows = []
    for shape, student in found["students"].items():
        for kind, texts in (student["llama_cpp"] or {"": None}).items():
            rows.append([shape, kind.upper(), "skipped: not installed" if texts is None else f"{sum(t['same'] == t['of'] for t in texts)} of {len(texts)} texts",
                         ", ".join(f"{t['same']}/{t['of']}" for t in texts or ()),
                         ", ".join("-" if t.get("apart") is None else f"{t['apart']:.2f}" for t in texts or () if t["same"] != t["of"])])
    return lines_of(["student", "file", "the same greedy text", "tokens that are the same, each text", "nats between the two tokens where they part"], rows)


def chats(found):
    rows = []
    for number, question in enumerate(QUESTIONS):
        for name, answers in [("teacher", found["teacher"]["answers"])] + [(s, student["answers"]) for s, student in found["students"].items()]:
            rows.append([question if name == "teacher" else "", name, " ".join(answers[number].split()).replace("|", "\\|")])
    return lines_of(["asked", "who", "answer"], rows)


def times(found):
    rows = [[shape, f"{student['times']['distilled']:.2f}", f"{student['times']['hard']:.2f}", f"{student['times']['distilled'] / student['times']['hard']:.2f}"]
            for shape, student in found["students"].items()]
    return lines_of(["student", "distilled", "hard labels", "steps on hard labels for one distilled"], rows)


def page(found):
    out = [found["material"], "Processor: " + found["cpu"], ""]
    for title, part in (("Quality on held-out text", quality), ("Over tokens seen", recovery), ("CPU seconds of a step, in turn in one process", times),
                        ("Files: size, perplexity on text", sizes), ("llama.cpp", llama), ("Answers, greedy", chats)):
        out += ["## " + title, "", *part(found), ""]
    return "\n".join(out)
