/* part_models.c - what it is to have the student instead of the teacher: size, speed, latency, cost. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/page/sheet.h"

enum { PARTS = 3, BARS = PARTS * (2 * DI_SHEET_RUNS + 2) };
typedef struct quantity {
    const char *keys[PARTS]; /* several: bars below each other */
    const char *title, *about;
    double times; /* what is shown of one that is found */
    di_text_fn text;
    const char *names[PARTS]; /* behind each value; NULL = nothing */
} quantity;
typedef struct bars {
    di_bar items[BARS];
    int64_t count;
} bars;

static void add(const di_sheet *s, const quantity *q, const dk_node *model, const char *label, const char *colour,
                bars *out)
{
    double value;
    char text[DI_FIGURE];
    int32_t some = 0;
    for (int i = 0; i < PARTS && q->keys[i] && out->count < BARS; i++) {
        if (!di_value(model, q->keys[i], &value) || value <= 0) continue;
        di_bar *bar = &out->items[out->count++];
        *bar = (di_bar){.label = label, .colour = colour, .value = q->times * value, .below = some++};
        q->text(s, bar->value, text);
        snprintf(bar->text, sizeof bar->text, "%.40s%s%.5s", text, q->names[i] ? "\xc2\xa0" : "",
                 q->names[i] ? q->names[i] : "");
    }
}

static void add_teachers(const di_sheet *s, const quantity *q, bars *out)
{
    for (int64_t i = 0; i < s->teacher_count; i++)
        if (!s->teachers[i].again) add(s, q, s->teachers[i].model, s->teachers[i].label, "ct", out);
}

static int32_t draw(di_sheet *s, const quantity *q)
{
    bars drawn = {.count = 0};
    add_teachers(s, q, &drawn);
    if (s->main) {
        add(s, q, s->main->student, di_say(s, "student", "aluno"), "c0", &drawn);
        add(s, q, di_node(s->main->result, "gguf"), "GGUF", "c5", &drawn);
    }
    for (int64_t i = 0; !s->main && i < s->count; i++)
        add(s, q, s->runs[i].student, s->runs[i].label, s->runs[i].colour, &drawn);
    if (!drawn.count) return 0;
    di_bars_draw(s, q->title, q->about, drawn.items, drawn.count);
    return 1;
}

/* ---- distance from the teacher, with intervals ---- */

static void mark(di_mark *marks, int64_t *count, const di_sheet_run *r, const char *label, const char *colour)
{
    const dk_node *blocks = di_node(r->eval, "blocks");
    di_interval gap;
    double student, teacher;
    if (di_paired(blocks, "nats", blocks, "teacher_nats", &gap))
        marks[(*count)++] = (di_mark){label, colour, gap.mean, gap.half};
    else if (di_value(r->student, "nats", &student) && di_value(r->teacher, "nats", &teacher))
        marks[(*count)++] = (di_mark){label, colour, student - teacher, -1};
}

static int32_t gaps(di_sheet *s)
{
    di_mark marks[DI_SHEET_RUNS + 1];
    int64_t count = 0;
    marks[count++] = (di_mark){di_say(s, "teacher", "professor"), "ct", 0, -1};
    if (s->main) {
        mark(marks, &count, s->main, s->baseline ? di_say(s, "distilled", "destilado") : di_say(s, "student", "aluno"),
             "c0");
        if (s->baseline) mark(marks, &count, s->baseline, di_say(s, "hard labels", "só rótulos"), "cb");
    }
    for (int64_t i = 0; !s->main && i < s->count; i++)
        mark(marks, &count, &s->runs[i], s->runs[i].label, s->runs[i].colour);
    if (count < 2) return 0;
    di_marks_draw(s, di_say(s, "Behind the teacher", "Atrás do professor"),
                  di_say(s,
                         "Nats per held-out token more than the teacher needs, paired over blocks of text, with "
                         "95&#160;% intervals.",
                         "Nats por token reservado a mais que o professor, pareado em blocos de texto, com intervalos "
                         "de 95&#160;%."),
                  marks, count);
    return 1;
}

static const char *energy_about(const di_sheet *s)
{
    const di_sheet_run *r = s->main ? s->main : &s->runs[0];
    if (!strcmp(di_text(r->student, "cost_per_1000_tokens/energy"), "measured"))
        return di_say(s, "Measured, of whole packages: other processes are in it.",
                      "Medida, de pacotes inteiros: outros processos estão nela.");
    return di_say(s, "An estimate: CPU seconds times cost.watts_per_core.",
                  "Uma estimativa: segundos de CPU vezes cost.watts_per_core.");
}

/* ---- what the run took ---- */

static void cost_row(di_sheet *s, const dk_node *cost, const char *key, di_text_fn text, const char *english,
                     const char *portuguese)
{
    double value;
    char out[DI_FIGURE];
    if (!di_value(cost, key, &value) || value <= 0) return; /* no tokens went through a model */
    text(s, value, out);
    dk_strbuf_printf(s->out, "<dt>%s</dt><dd>%s</dd>", di_say(s, english, portuguese), out);
}

static void watts(const di_sheet *s, double value, char out[DI_FIGURE])
{
    char text[DI_FIGURE];
    di_short_number(s, value, text);
    snprintf(out, DI_FIGURE, "%.40s\xc2\xa0W", text);
}

/* What the figure is, or why there is none, which is as the system said it. */
static void energy_note(di_sheet *s, const dk_node *cost)
{
    const char *energy = di_text(cost, "energy"), *problem = di_text(cost, "energy_problem");
    if (!strcmp(energy, "measured"))
        di_missing(s, "Energy is measured, of whole packages: what other processes took meanwhile is in it.",
                   "A energia foi medida, de pacotes inteiros: o que outros processos gastaram está nela.");
    else if (!strcmp(energy, "estimated"))
        di_missing(s, "Energy is an estimate: CPU seconds times cost.watts_per_core.",
                   "A energia é uma estimativa: segundos de CPU vezes cost.watts_per_core.");
    else if (*problem) {
        dk_strbuf_printf(s->out, "<p class=\"missing\">%s",
                         di_say(s, "Energy is not known: ", "A energia não é conhecida: "));
        di_html_cut(s->out, problem, strlen(problem), 300);
        di_html(s, "</p>");
    }
}

static void run_cost(di_sheet *s, const di_sheet_run *r)
{
    const dk_node *cost = di_node(r->result, "cost");
    if (!cost) return;
    dk_strbuf_printf(s->out, "<div class=\"box\"><h3><b>%s</b></h3><dl>",
                     di_say(s, "What this run took", "O que esta execução custou"));
    cost_row(s, cost, "seconds", di_seconds_text, "wall time", "tempo");
    cost_row(s, cost, "cpu_seconds", di_seconds_text, "CPU time", "tempo de CPU");
    cost_row(s, cost, "peak_memory_bytes", di_bytes_text, "memory at its peak", "pico de memória");
    cost_row(s, cost, "model_tokens", di_large_number, "tokens through models", "tokens pelos modelos");
    cost_row(s, cost, "model_flops", di_large_number, "floating-point operations", "operações de ponto flutuante");
    cost_row(s, cost, "idle_watts", watts, "idle, before it", "ocioso, antes");
    cost_row(s, cost, "joules", di_joules_text, "energy", "energia");
    cost_row(s, cost, "eur", di_euros_text, "of energy", "de energia");
    cost_row(s, cost, "usd", di_dollars_text, "of tokens", "de tokens");
    di_html(s, "</dl>");
    energy_note(s, cost);
    di_html(s, "</div>\n");
}

static int32_t has_teacher(const di_sheet *s)
{
    double value;
    for (int64_t i = 0; i < s->count; i++)
        if (di_value(s->runs[i].teacher, "parameters", &value)) return 1;
    return 0;
}

/* A blend, a host's callbacks and a cache write no text of their own, so that nothing was timed. */
static void tell_slow(di_sheet *s)
{
    const char *key = "decode_tokens_per_second";
    double value;
    if (!s->main || di_node(s->main->result, "live")) return;
    if (di_value(s->main->result, "options/output/timing_seconds", &value) && value == 0)
        di_missing(s, "No speed was measured: output.timing_seconds is 0.",
                   "Nenhuma velocidade foi medida: output.timing_seconds é 0.");
    if (!s->main->teacher || !di_value(s->main->student, key, &value) || di_value(s->main->teacher, key, &value))
        return;
    di_missing(
        s, "The teacher's speed was not measured: it is several models, a host's or a cache, and writes no text.",
        "A velocidade do professor não foi medida: são vários modelos, de um programa ou um cache, e não escreve "
        "texto.");
}

static int32_t draw_all(di_sheet *s, const quantity *all, size_t count)
{
    int32_t some = 0;
    for (size_t i = 0; i < count; i++) some += draw(s, &all[i]);
    return some;
}

static int32_t draw_size_and_speed(di_sheet *s)
{
    const quantity all[] = {
        {{"parameters"}, di_say(s, "Parameters", "Parâmetros"), "", 1, di_large_number, {NULL}},
        {{"bytes"}, di_say(s, "Bytes on disk", "Bytes em disco"), "", 1, di_bytes_text, {NULL}},
        {{"prompt_tokens_per_second"},
         di_say(s, "Reading", "Leitura"),
         di_say(s, "Tokens per second of a prompt of 128, or half a context.",
                "Tokens por segundo de um prompt de 128, ou meio contexto."),
         1,
         di_rate_text,
         {NULL}},
        {{"first_token_seconds"},
         di_say(s, "Time to the first token", "Tempo até o primeiro token"),
         di_say(s, "Behind that prompt, in a session: the median.", "Após esse prompt, numa sessão: a mediana."),
         1,
         di_milliseconds_text,
         {NULL}},
        {{"decode_tokens_per_second"},
         di_say(s, "Writing", "Escrita"),
         di_say(s, "Tokens per second, one text at a time.", "Tokens por segundo, um texto por vez."),
         1,
         di_rate_text,
         {NULL}},
        {{"token_seconds_p50", "token_seconds_p95", "token_seconds_p99"},
         di_say(s, "Latency of a token", "Latência de um token"),
         di_say(s, "From token to token as it writes: half come sooner than p50, one in a hundred later than p99.",
                "De token a token ao escrever: metade chega antes de p50, um em cem depois de p99."),
         1,
         di_milliseconds_text,
         {"p50", "p95", "p99"}},
    };
    return draw_all(s, all, sizeof all / sizeof *all);
}

static int32_t draw_cost(di_sheet *s)
{
    const quantity all[] = {
        {{"cost_per_1000_tokens/cpu_seconds"},
         di_say(s, "Cost of 1,000 tokens", "Custo de 1.000 tokens"),
         di_say(s, "CPU seconds of all threads, of those prompts and answers of 32.",
                "Segundos de CPU de todas as threads, desses prompts e de respostas de 32."),
         1,
         di_cpu_text,
         {NULL}},
        {{"cost_per_1000_tokens/joules"},
         di_say(s, "Energy of 1,000 tokens", "Energia de 1.000 tokens"),
         energy_about(s),
         1,
         di_joules_text,
         {NULL}},
        {{"cost_per_1000_tokens/eur"},
         di_say(s, "EUR of a million tokens", "EUR de um milhão de tokens"),
         di_say(s, "That energy at cost.eur_per_kwh.", "Essa energia a cost.eur_per_kwh."),
         1000,
         di_euros_text,
         {NULL}},
        {{"cost_per_1000_tokens/usd"},
         di_say(s, "USD of a million tokens", "USD de um milhão de tokens"),
         di_say(s, "At cost.usd_per_million_tokens, the price of a service, whichever model it serves.",
                "A cost.usd_per_million_tokens, o preço de um serviço, qualquer que seja o modelo."),
         1000,
         di_dollars_text,
         {NULL}},
    };
    return draw_all(s, all, sizeof all / sizeof *all);
}

void di_part_models(di_sheet *s)
{
    const int32_t teacher = has_teacher(s);
    int32_t some = 0;
    di_section(s, teacher ? "What the student saves" : "Size, speed and cost",
               teacher ? "O que o aluno economiza" : "Tamanho, velocidade e custo");
    di_html(s, "<div class=\"grid bars\">\n");
    some += gaps(s);
    some += draw_size_and_speed(s);
    some += draw_cost(s);
    if (s->main) run_cost(s, s->main);
    di_html(s, "</div>\n");
    tell_slow(s);
    if (!some) di_missing(s, "Neither size nor speed was measured.", "Nem tamanho nem velocidade foram medidos.");
    di_section_end(s);
}
