/* term.c - one term of a loss: its numbers, some of which are schedules, and what they are at a step. */
#include <stdio.h>
#include <string.h>

#include "loss/loss_parts.h"

enum { WEIGHT, TEMPERATURE, OPTIONS };

static di_number constant(double value) { return (di_number){value, {0, 0, DI_CONSTANT}}; }

static int64_t choice_of(const di_options *options, int64_t index, const char *key, const char *choices)
{
    const char *text = di_options_at_text(options, "loss", index, key);
    int64_t number = 0;
    for (const char *at = choices; text; at += strcspn(at, "|") + 1, number++) {
        if (strcspn(at, "|") == strlen(text) && !strncmp(at, text, strlen(text))) return number;
        if (!at[strcspn(at, "|")]) break;
    }
    return 0;
}

/* An option that is not set and has no default reads as -1; a choice as its number. */
static di_number read_option(const di_options *options, int64_t index, const char *key)
{
    char name[96];
    snprintf(name, sizeof name, "loss.%s", key);
    const di_option_info *row = di_option_at(di_option_find(name, strlen(name)));
    const int32_t unset = !row->default_text && !di_options_at_is_set(options, "loss", index, key);
    const int64_t whole = di_options_at_i64(options, "loss", index, key);
    const double from = di_options_at_f64(options, "loss", index, key);
    if (unset) return constant(-1);
    if (row->type == DI_OPTION_CHOICE) return constant((double)choice_of(options, index, key, row->choices));
    if (row->type != DI_OPTION_NUMBER) return constant((double)whole);
    const di_course course = di_options_at_course(options, "loss", index, key);
    return (di_number){from, course};
}

static int32_t on_of(const char *text)
{
    return !text || !strcmp(text, "all") ? DI_OF_ALL : !strcmp(text, "data") ? DI_OF_DATA : DI_OF_STUDENT;
}

static int32_t t_squared_of(const char *text)
{
    if (!text || !strcmp(text, "auto")) return -1;
    return !strcmp(text, "on");
}

const di_builtin *di_entry_builtin(const di_entry *entry)
{
    while (entry && !entry->builtin) entry = entry->fallback;
    return entry ? entry->builtin : NULL;
}

/* What the options of the term are at its beginning or at its end. */
static void at_end(const di_term *term, int32_t end, double out[DI_LOSS_OPTIONS])
{
    for (int i = 0; i < DI_LOSS_OPTIONS; i++) {
        const di_number *number = &term->numbers[OPTIONS + i];
        out[i] = end && number->course.kind != DI_CONSTANT ? number->course.to : number->from;
    }
}

int32_t di_term_read(di_term *term, const di_options *options, int64_t index, dk_error *err)
{
    const di_builtin *builtin = di_entry_builtin(term->entry);
    int32_t rc = DK_OK;
    term->numbers[WEIGHT] = (di_number){di_options_at_f64(options, "loss", index, "weight"),
                                        di_options_at_course(options, "loss", index, "weight")};
    term->numbers[TEMPERATURE] = (di_number){di_options_at_f64(options, "loss", index, "temperature"),
                                             di_options_at_course(options, "loss", index, "temperature")};
    term->t_squared = t_squared_of(di_options_at_text(options, "loss", index, "t_squared"));
    term->log_floor = (float)di_options_at_f64(options, "loss", index, "log_floor");
    term->on = on_of(di_options_at_text(options, "loss", index, "on"));
    term->by_logits = 0;
    if (builtin && builtin->pairs)
        term->teacher_labels = !strcmp(di_options_at_text(options, "loss", index, "dpo.label"), "teacher");
    for (int i = 0; builtin && i < DI_LOSS_OPTIONS && builtin->options[i]; i++)
        term->numbers[OPTIONS + i] = read_option(options, index, builtin->options[i]);
    for (int32_t end = 0; builtin && end < 2; end++) {
        double values[DI_LOSS_OPTIONS];
        at_end(term, end, values);
        if (builtin->check) DK_TRY(builtin->check(values, err));
        if (builtin->by_logits) term->by_logits |= builtin->by_logits(values);
    }
    *term = di_term_at(term, 0);
out:
    return rc;
}

void di_term_weigh(di_term *term, di_number weight)
{
    term->numbers[WEIGHT] = weight;
    term->weight = weight.from;
}

di_term di_term_at(const di_term *term, int64_t step)
{
    di_term now = *term;
    double values[DI_TERM_NUMBERS];
    for (int i = 0; i < DI_TERM_NUMBERS; i++)
        values[i] = di_course_at(&term->numbers[i].course, term->numbers[i].from, step);
    now.weight = values[WEIGHT];
    now.temperature = values[TEMPERATURE];
    memcpy(now.options, values + OPTIONS, sizeof now.options);
    return now;
}

int32_t di_term_counts(const di_term *term)
{
    const di_number *weight = &term->numbers[WEIGHT];
    return weight->from != 0 || (weight->course.kind != DI_CONSTANT && weight->course.to != 0);
}

static int32_t is_plain(const di_entry *entry) { return entry->builtin && entry->builtin->plain; }

int32_t di_term_is_heated(const di_term *term)
{
    const di_number *temperature = &term->numbers[TEMPERATURE];
    return temperature->from != 1 || temperature->course.kind != DI_CONSTANT;
}

double di_term_temperature(const di_term *term, const di_entry *entry)
{
    return is_plain(entry) ? 1 : term->temperature;
}

int32_t di_term_heat_differs(const di_term *a, const di_entry *of_a, const di_term *b, const di_entry *of_b)
{
    const di_number one = constant(1), *x = is_plain(of_a) ? &one : &a->numbers[TEMPERATURE],
                    *y = is_plain(of_b) ? &one : &b->numbers[TEMPERATURE];
    if (x->course.kind == DI_CONSTANT && y->course.kind == DI_CONSTANT) return x->from != y->from;
    return x->from != y->from || x->course.kind != y->course.kind || x->course.to != y->course.to ||
           x->course.steps != y->course.steps;
}

int32_t di_term_is_at(const di_term *term, const di_entry *entry, double temperature)
{
    const di_number *own = &term->numbers[TEMPERATURE];
    if (is_plain(entry)) return temperature == 1;
    return own->from == temperature && (own->course.kind == DI_CONSTANT || own->course.to == temperature);
}

int32_t di_term_logs(const di_term *term, const di_entry *entry)
{
    return di_entry_logs(entry) && !(entry->builtin && term->by_logits);
}

double di_term_t_squared(const di_term *term, const di_entry *entry)
{
    const double temperature = di_term_temperature(term, entry);
    const int32_t usual = entry->builtin ? entry->builtin->t_squared : di_entry_logs(entry);
    return (term->t_squared < 0 ? usual : term->t_squared) ? temperature * temperature : 1;
}

/* 2, or 4..1 of a schedule. */
static void describe_number(const di_number *number, dk_strbuf *out)
{
    dk_strbuf_f64(out, number->from);
    if (number->course.kind == DI_CONSTANT) return;
    dk_strbuf_puts(out, "..");
    dk_strbuf_f64(out, number->course.to);
}

void di_term_describe(const di_term *term, int32_t with_weight, int32_t draws, dk_strbuf *out)
{
    const di_number *weight = &term->numbers[WEIGHT], *temperature = &term->numbers[TEMPERATURE];
    if (with_weight && (weight->from != 1 || weight->course.kind != DI_CONSTANT)) {
        describe_number(weight, out);
        dk_strbuf_puts(out, "*");
    }
    dk_strbuf_puts(out, draws && term->entry->builtin && term->entry->table.targets ? "soft_cross_entropy"
                                                                                    : term->entry->name);
    if (!is_plain(term->entry) && di_term_is_heated(term)) {
        dk_strbuf_puts(out, "(T=");
        describe_number(temperature, out);
        dk_strbuf_puts(out, ")");
    }
    if (term->on != DI_OF_ALL) dk_strbuf_puts(out, term->on == DI_OF_DATA ? " on data" : " on student");
}
