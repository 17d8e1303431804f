/* part_table.c - all figures in one table: teacher beside student, or several runs beside each other. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/page/sheet.h"

typedef enum { OF_MODEL, OF_RUN, GROUP, DIFFERENCE } line_kind; /* where a figure stands, or a line of its own */
typedef struct line {
    line_kind kind;
    const char *path, *english, *portuguese;
    int32_t better; /* -1 = less is, 1 = more is, 0 = neither */
    di_text_fn text;
} line;

static void million_euros(const di_sheet *s, double of_1000, char out[DI_FIGURE])
{
    di_euros_text(s, 1000 * of_1000, out);
}

static void million_dollars(const di_sheet *s, double of_1000, char out[DI_FIGURE])
{
    di_dollars_text(s, 1000 * of_1000, out);
}

static const line lines[] = {
    {GROUP, "", "Quality on held-out text", "Qualidade em texto reservado", 0, NULL},
    {OF_MODEL, "perplexity", "perplexity", "perplexidade", -1, di_short_number},
    {DIFFERENCE, "", "nats from the first run", "nats da primeira execução", 0, NULL},
    {OF_MODEL, "bits_per_byte", "bits per byte", "bits por byte", -1, di_short_number},
    {OF_MODEL, "forward_kl", "KL from the teacher, nats", "KL em relação ao professor, nats", -1, di_short_number},
    {OF_MODEL, "forward_kl_median", "&#8230; median", "&#8230; mediana", -1, di_short_number},
    {OF_MODEL, "forward_kl_p99", "&#8230; of the worst hundredth", "&#8230; do pior centésimo", -1, di_short_number},
    {OF_MODEL, "top1_agreement", "same first choice", "mesma primeira escolha", 1, di_percent_text},
    {OF_MODEL, "accuracy", "likeliest token is right", "token mais provável está certo", 1, di_percent_text},
    {OF_MODEL, "calibration_error", "calibration error (ECE)", "erro de calibração (ECE)", -1, di_percent_text},
    {GROUP, "", "As the teacher's draft", "Como rascunho do professor", 0, NULL},
    {OF_MODEL, "expected_acceptance", "accepted, expected", "aceito, esperado", 1, di_percent_text},
    {OF_RUN, "eval/draft/sampled/acceptance", "accepted, drawing", "aceito, com sorteio", 1, di_percent_text},
    {OF_RUN, "eval/draft/greedy/acceptance", "accepted, greedily", "aceito, sem sorteio", 1, di_percent_text},
    {OF_RUN, "eval/draft/greedy/tokens_per_pass", "tokens a pass, greedily", "tokens por passada, sem sorteio", 1,
     di_short_number},
    {OF_RUN, "eval/draft/sampled/speedup", "speed-up, drawing", "aceleração, com sorteio", 1, di_times_text},
    {OF_RUN, "eval/draft/greedy/speedup", "speed-up, greedily", "aceleração, sem sorteio", 1, di_times_text},
    {GROUP, "", "Size, speed and latency", "Tamanho, velocidade e latência", 0, NULL},
    {OF_MODEL, "parameters", "parameters", "parâmetros", 0, di_large_number},
    {OF_MODEL, "bytes", "bytes on disk", "bytes em disco", 0, di_bytes_text},
    {OF_MODEL, "prompt_tokens_per_second", "tokens/s, reading", "tokens/s, leitura", 0, di_large_number},
    {OF_MODEL, "decode_tokens_per_second", "tokens/s, writing", "tokens/s, escrita", 0, di_large_number},
    {OF_MODEL, "first_token_seconds", "to the first token", "até o primeiro token", 0, di_milliseconds_text},
    {OF_MODEL, "token_seconds_p50", "between tokens, p50", "entre tokens, p50", 0, di_milliseconds_text},
    {OF_MODEL, "token_seconds_p95", "between tokens, p95", "entre tokens, p95", 0, di_milliseconds_text},
    {OF_MODEL, "token_seconds_p99", "between tokens, p99", "entre tokens, p99", 0, di_milliseconds_text},
    {GROUP, "", "Cost of answers", "Custo das respostas", 0, NULL},
    {OF_MODEL, "cost_per_1000_tokens/cpu_seconds", "CPU time, 1,000 tokens", "tempo de CPU, 1.000 tokens", 0,
     di_cpu_text},
    {OF_MODEL, "cost_per_1000_tokens/joules", "energy, 1,000 tokens", "energia, 1.000 tokens", 0, di_joules_text},
    {OF_MODEL, "cost_per_1000_tokens/eur", "energy, a million tokens", "energia, um milhão de tokens", 0,
     million_euros},
    {OF_MODEL, "cost_per_1000_tokens/usd", "at a service's price, a million", "a preço de serviço, um milhão", 0,
     million_dollars},
    {GROUP, "", "The run", "A execução", 0, NULL},
    {OF_RUN, "training/steps", "steps", "passos", 0, di_large_number},
    {OF_RUN, "training/tokens", "tokens of training", "tokens de treino", 0, di_large_number},
    {OF_RUN, "training/seconds", "training", "treino", 0, di_seconds_text},
    {OF_RUN, "cost/seconds", "in all", "ao todo", 0, di_seconds_text},
    {OF_RUN, "cost/cpu_seconds", "CPU time", "tempo de CPU", 0, di_seconds_text},
    {OF_RUN, "cost/joules", "energy", "energia", 0, di_joules_text},
    {OF_RUN, "cost/eur", "of energy", "de energia", 0, di_euros_text},
    {OF_RUN, "cost/usd", "of tokens", "de tokens", 0, di_dollars_text},
};
enum { LINES = sizeof lines / sizeof *lines, COLUMNS = 2 * DI_SHEET_RUNS + 2 };

typedef struct column {
    const char *label, *small, *colour;
    const dk_node *model;
    const di_sheet_run *run; /* NULL = a teacher, which made no run */
} column;
typedef struct table {
    column columns[COLUMNS];
    int64_t count;
} table;

/* ---- who stands in it ---- */

static void add(table *t, const char *label, const char *small, const char *colour, const dk_node *model,
                const di_sheet_run *run)
{
    if (model && t->count < COLUMNS) t->columns[t->count++] = (column){label, small, colour, model, run};
}

static void fill(const di_sheet *s, table *t)
{
    const char *hard = di_say(s, "hard labels alone", "só rótulos");
    t->count = 0;
    for (int64_t i = 0; i < s->teacher_count; i++)
        add(t, s->teachers[i].label, s->teacher_count > 1 ? di_say(s, "teacher", "professor") : "", "ct",
            s->teachers[i].model, NULL);
    if (!s->main) {
        for (int64_t i = 0; i < s->count; i++)
            add(t, s->runs[i].label, s->runs[i].hard_labels ? hard : "", s->runs[i].colour, s->runs[i].student,
                &s->runs[i]);
        return;
    }
    add(t, s->baseline ? di_say(s, "distilled", "destilado") : di_say(s, "student", "aluno"), "", "c0",
        s->main->student, s->main);
    add(t, "GGUF", di_text(s->main->result, "gguf/type"), "c5", di_node(s->main->result, "gguf"), NULL);
    if (s->baseline) add(t, di_say(s, "hard labels", "só rótulos"), "", "cb", s->baseline->student, s->baseline);
}

/* ---- a line ---- */

static int32_t value_of(const column *c, const line *l, double *value)
{
    if (l->kind == OF_MODEL) return di_value(c->model, l->path, value);
    return l->kind == OF_RUN && c->run && di_value(c->run->result, l->path, value);
}

/* Among students on the text of the first: a teacher is not in the race. */
static double best_of(const di_sheet *s, const table *t, const line *l)
{
    double best = NAN, value;
    int64_t measured = 0;
    for (int64_t i = 0; i < t->count && l->better; i++) {
        const di_sheet_run *r = t->columns[i].run;
        if (!r || !di_same_text(r, &s->runs[0]) || !value_of(&t->columns[i], l, &value)) continue;
        if (!measured++ || (value - best) * l->better > 0) best = value;
    }
    return measured > 1 ? best : NAN;
}

static int32_t has_any(const table *t, const line *l)
{
    double value;
    for (int64_t i = 0; i < t->count; i++)
        if (value_of(&t->columns[i], l, &value)) return 1;
    return 0;
}

/* An estimate is called one. */
static int32_t is_estimate(const table *t, const line *l)
{
    for (int64_t i = 0; i < t->count && (l->text == di_joules_text || l->text == million_euros); i++)
        if (!strcmp(di_text(t->columns[i].model, "cost_per_1000_tokens/energy"), "estimated")) return 1;
    return 0;
}

static void begin_line(di_sheet *s, const table *t, const line *l)
{
    dk_strbuf_printf(s->out, "<tr><th>%s%s</th>", di_say(s, l->english, l->portuguese),
                     is_estimate(t, l) ? di_say(s, " (estimated)", " (estimada)") : "");
}

static void figures(di_sheet *s, const table *t, const line *l)
{
    const double best = best_of(s, t, l);
    double value;
    begin_line(s, t, l);
    for (int64_t i = 0; i < t->count; i++) {
        const int32_t there = value_of(&t->columns[i], l, &value);
        char text[DI_FIGURE] = "&#8212;";
        if (there) l->text(s, value, text);
        const int32_t races = there && t->columns[i].run && di_same_text(t->columns[i].run, &s->runs[0]);
        dk_strbuf_printf(s->out, "<td%s>%s</td>", races && value == best ? " class=\"best\"" : "", text);
    }
    di_html(s, "</tr>\n");
}

/* Nats per token that a run needs more than the first, with the interval of the difference. */
static void differences(di_sheet *s, const table *t, const line *l)
{
    di_interval gap;
    begin_line(s, t, l);
    for (int64_t i = 0; i < t->count; i++) {
        char text[DI_FIGURE] = "&#8212;";
        const di_sheet_run *r = t->columns[i].run;
        const int32_t told = r && r != &s->runs[0] && di_paired_runs(r, "nats", &s->runs[0], "nats", &gap);
        if (told) di_interval_text(s, gap.mean, gap.half, text);
        dk_strbuf_printf(s->out, "<td>%s%s</td>", told && gap.mean > 0 ? "+" : "", r == &s->runs[0] ? "0" : text);
    }
    di_html(s, "</tr>\n");
}

/* A heading where anything stands below it. */
static void heading(di_sheet *s, const table *t, size_t at)
{
    int32_t some = 0;
    for (size_t i = at + 1; i < LINES && lines[i].kind != GROUP; i++) some |= has_any(t, &lines[i]);
    if (!some) return;
    dk_strbuf_printf(s->out, "<tr class=\"group\"><th colspan=\"%d\">%s</th></tr>\n", (int)t->count + 1,
                     di_say(s, lines[at].english, lines[at].portuguese));
}

static void body(di_sheet *s, const table *t)
{
    for (size_t i = 0; i < LINES; i++) {
        if (lines[i].kind == GROUP) heading(s, t, i);
        else if (lines[i].kind == DIFFERENCE && !s->main && s->count > 1) differences(s, t, &lines[i]);
        else if (has_any(t, &lines[i])) figures(s, t, &lines[i]);
    }
}

static void head(di_sheet *s, const table *t)
{
    di_html(s, "<thead><tr><th></th>");
    for (int64_t i = 0; i < t->count; i++) {
        const column *c = &t->columns[i];
        dk_strbuf_printf(s->out, "<th><span class=\"key %s\"></span>", c->colour);
        di_html_cut(s->out, c->label, strlen(c->label), 24);
        di_html(s, "<small>");
        di_html_cut(s->out, c->small, strlen(c->small), 40);
        di_html(s, "</small></th>");
    }
    di_html(s, "</tr></thead>");
}

static int32_t has_figures(const table *t)
{
    int32_t some = 0;
    for (size_t i = 0; i < LINES; i++) some |= has_any(t, &lines[i]);
    return some;
}

/* ---- whether all were asked the same ---- */

static void tell_others(di_sheet *s, const char *path, const char *english, const char *portuguese)
{
    const char *first = di_text(s->runs[0].result, path);
    int64_t others = 0;
    for (int64_t i = 1; i < s->count; i++) {
        const char *hash = di_text(s->runs[i].result, path);
        if (!*first || !*hash || !strcmp(first, hash)) continue;
        dk_strbuf_printf(s->out, "%s", others++ ? ", " : "<p class=\"missing\">");
        if (others == 1) dk_strbuf_printf(s->out, "%s ", di_say(s, english, portuguese));
        di_html_cut(s->out, s->runs[i].label, strlen(s->runs[i].label), 40);
    }
    if (others) di_html(s, ".</p>\n");
}

static void tell_other_data(di_sheet *s)
{
    tell_others(s, "data/eval/hash", "Measured on other held-out text than the first, so that nothing can be compared:",
                "Medidas em outro texto reservado que a primeira, de modo que nada se compara:");
    tell_others(s, "data/hash", "Learnt from other training data than the first:",
                "Aprenderam de outros dados de treino que a primeira:");
}

void di_part_table(di_sheet *s)
{
    table t;
    fill(s, &t);
    if (!t.count || !has_figures(&t)) return;
    di_section(s, s->main ? "In numbers" : "Side by side", s->main ? "Em números" : "Lado a lado");
    if (!s->main)
        dk_strbuf_printf(
            s->out, "<p class=\"about\">%s</p>",
            di_say(s,
                   "On the held-out text of each run. The difference is paired over the same blocks of text, with its "
                   "95&#160;% interval; below 0 is better. What is best is green.",
                   "No texto reservado de cada execução. A diferença é pareada nos mesmos blocos de texto, com "
                   "intervalo de 95&#160;%; abaixo de 0 é melhor. O melhor está em verde."));
    di_html(s, "<div class=\"scroll panel\"><table class=\"figures\">");
    head(s, &t);
    di_html(s, "<tbody>\n");
    body(s, &t);
    di_html(s, "</tbody></table></div>\n");
    if (!s->main || s->baseline) tell_other_data(s);
    di_section_end(s);
}
