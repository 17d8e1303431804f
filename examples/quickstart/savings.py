"""What a student saves, and what that costs: its teacher beside it in one table, of what `distill compare --json` measured."""

# Title, key of one model, factor, form. What neither has is left out.
ROWS = (("parameters, million", "parameters", 1e-6, "%.1f"), ("files, MB", "bytes", 1e-6, "%.1f"), ("memory, MB", "memory_bytes", 1e-6, "%.1f"),
        ("first token behind 128, ms", "first_token_seconds", 1e3, "%.1f"), ("between tokens, ms", "token_seconds_p50", 1e3, "%.2f"),
        ("  of the slowest hundredth", "token_seconds_p99", 1e3, "%.2f"), ("prompt, tokens/s", "prompt_tokens_per_second", 1, "%.0f"),
        ("writing, tokens/s", "decode_tokens_per_second", 1, "%.0f"), ("CPU s per 1,000 tokens", "cpu_seconds_per_1000_tokens", 1, "%.2f"),
        ("joules per 1,000 tokens", "joules_per_1000_tokens", 1, "%.1f"), ("EUR per million tokens", "eur_per_1000_tokens", 1e3, "%.4f"))
QUALITY = (("perplexity", "perplexity", 1, "%.2f"), ("same likeliest token, %", "top1_agreement", 100, "%.1f"))


def of_teacher(teacher, student):
    """The student's share of the teacher's; times where it has more."""
    if not teacher:
        return ""
    share = student / teacher
    return "%.0f %%" % (100 * share) if share < 1 else "%.1f times" % share


def line(title, teacher, student, form, share):
    return "%-28s %10s %10s  %12s" % (title, form % teacher, form % student, share)


def savings(compared, teacher, student):
    """Lines of the table. compared: the document of `distill compare`; teacher and student: rows of the other table."""
    a, b = compared["a"], compared["b"]
    lines = ["%-28s %10s %10s  %12s" % ("", "teacher", "student", "of it")]
    for title, key, factor, form in ROWS:
        if a.get(key) is None or b.get(key) is None:
            continue
        if key in ("joules_per_1000_tokens", "eur_per_1000_tokens") and b["cost_of_timing"]["energy"] == "estimated":
            title += ", estimated"
        lines.append(line(title, factor * a[key], factor * b[key], form, of_teacher(a[key], b[key])))
    for title, key, factor, form in QUALITY:
        if teacher.get(key) is not None and student.get(key) is not None:
            lines.append(line(title, factor * teacher[key], factor * student[key], form, ""))
    problem = b["cost_of_timing"].get("energy_problem")
    if b.get("joules_per_1000_tokens") is None and problem:
        lines.append("energy: not known (%s); `distill compare TEACHER STUDENT --set cost.watts_per_core=W` estimates it" % problem)
    return lines
