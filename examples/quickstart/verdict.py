"""What a comparison of students says: rows side by side as a table, how they stand to the teacher, and which one to ship."""

# Two perplexities this near count as the same: seeds move them by about as much (see seeds.sh).
SAME = 0.02

COLUMNS = (("", "name", "{}"), ("perplexity", "perplexity", "{:.2f}"), ("KL", "forward_kl", "{:.4f}"), ("agree", "top1_agreement", "{:.1%}"),
           ("MB", "megabytes", "{:.1f}"), ("train s", "seconds", "{:.0f}"), ("train TFLOP", "teraflops", "{:.2f}"))


def cell(value, form):
    return "-" if value is None else form.format(value)


def table(rows):
    """Rows (dicts) as text, a line each."""
    lines = [[title for title, _, _ in COLUMNS]]
    for row in rows:
        row = dict(row, megabytes=row["bytes"] / 1e6 if row.get("bytes") else None,
                   teraflops=row["flops"] / 1e12 if row.get("flops") else None)
        lines.append([cell(row.get(key), form) for _, key, form in COLUMNS])
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    return "\n".join("  ".join(text.ljust(width) if i == 0 else text.rjust(width) for i, (text, width) in enumerate(zip(line, widths)))
                     for line in lines)


def knows_the_text(teacher, hard):
    """Whether the teacher has something to teach: a student that saw only labels does not beat it on this text."""
    return teacher["perplexity"] <= hard["perplexity"]


def gap_closed(teacher, hard, distilled):
    """Share of the way from the hard labels' nats to the teacher's; None where there is no way to go."""
    gap = hard["nats"] - teacher["nats"]
    return (hard["nats"] - distilled["nats"]) / gap if gap > 0 else None


def choose(teacher, students):
    """(student to ship, why). The lowest perplexity wins; among those as good as it, the one nearest to the teacher."""
    best = min(students, key=lambda row: row["perplexity"])
    if not knows_the_text(teacher, min((row for row in students if row["hard"]), key=lambda row: row["perplexity"])):
        return best, "the lowest perplexity; being like this teacher is worth nothing on this text"
    as_good = [row for row in students if row["perplexity"] <= best["perplexity"] * (1 + SAME)]
    chosen = min(as_good, key=lambda row: row["forward_kl"])
    if chosen is best:
        return best, "the lowest perplexity" + (", and of those as good the nearest to the teacher" if len(as_good) > 1 else "")
    return chosen, "its perplexity is that of the best to %.1f %% (%.2f against %.2f), and its KL to the teacher %.2f of that one's" % (
        100 * (chosen["perplexity"] / best["perplexity"] - 1), chosen["perplexity"], best["perplexity"], chosen["forward_kl"] / best["forward_kl"])


def verdict(teacher, students):
    """Sentences, one a line."""
    hard = min((row for row in students if row["hard"]), key=lambda row: row["perplexity"])
    distilled = min((row for row in students if not row["hard"]), key=lambda row: row["perplexity"])
    chosen, why = choose(teacher, students)
    lines = []
    if not knows_the_text(teacher, hard):
        lines.append("This teacher does not know this text: its perplexity is %.1f, a student on hard labels alone reaches %.1f. "
                     "Distilling makes a student like its teacher, not better than it: take text that the teacher knows, or hard labels."
                     % (teacher["perplexity"], hard["perplexity"]))
    else:
        closed = gap_closed(teacher, hard, distilled)
        if closed is None:
            lines.append("The student on hard labels is as good as the teacher on this text: there is no gap to close.")
        elif closed > 0:
            lines.append("At equal steps distilling closes %.0f %% of the gap to the teacher." % (100 * closed))
        else:
            lines.append("At equal steps distilling closes none of the gap to the teacher (perplexity %.2f against %.2f from hard labels); "
                         "KL to the teacher %.4f against %.4f." % (distilled["perplexity"], hard["perplexity"], distilled["forward_kl"], hard["forward_kl"]))
        lines.append("A step of distilling costs about twice one on hard labels, since the teacher runs too.")
    lines.append("To ship: %s (%s)." % (chosen["name"], why))
    return lines
