/* part_models.c - what it is to have the student instead of the teacher: size, speed, latency, cost. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/page/sheet.h"

typedef void (*text_fn)(const di_sheet *s, double value, char out[DI_FIGURE]);

static void per_second(const di_sheet *s, double value, char out[DI_FIGURE])
{
    char text[DI_FIGURE];
    if (value >= 1e5) di_large_number(s, value, text);
    else di_number_text(s, value, value < 100 ? 1 : 0, text);
    snprintf(out, DI_FIGURE, "%.36s /s", text);
}

static void milliseconds(const di_sheet *s, double value, char out[DI_FIGURE])
{
    char text[DI_FIGURE];
    di_short_number(s, value, text);
    snprintf(out, DI_FIGURE, "%.40s ms", text);
}

static void euros(const di_sheet *s, double value, char out[DI_FIGURE])
{
    char text[DI_FIGURE];
    const int32_t decimals = value > 0 && value < 0.1 ? 1 - (int32_t)floor(log10(value)) : 2;
    di_number_text(s, value, decimals, text);
    snprintf(out, DI_FIGURE, "%.40s EUR", text);
}

static void dollars(const di_sheet *s, double value, char out[DI_FIGURE])
{
    char text[DI_FIGURE];
    euros(s, value, text);
    snprintf(out, DI_FIGURE, "%.*s USD", (int)(strlen(text) - 4), text);
}

static void cpu_seconds(const di_sheet *s, double value, char out[DI_FIGURE])
{
    char text[DI_FIGURE];
    di_short_number(s, value, text);
    snprintf(out, DI_FIGURE, "%.40s s", text);
}

static void joules(const di_sheet *s, double value, char out[DI_FIGURE])
{
    static const char *const units[] = {"J", "kJ", "MJ"};
    char text[DI_FIGURE];
    int32_t at = 0;
    for (; at < 2 && value >= 1000; at++) value /= 1000;
    di_short_number(s, value, text);
    snprintf(out, DI_FIGURE, "%.40s %s", text, units[at]);
}

typedef struct quantity {
    const char *key, *title, *about;
    double over; /* 0 = the value itself, else over / value */
    text_fn text;
} quantity;

static int32_t read(const dk_node *model, const quantity *q, double *value)
{
    if (!di_value(model, q->key, value) || *value <= 0) return 0;
    if (q->over > 0) *value = q->over / *value;
    return 1;
}

static void add(const di_sheet *s, const quantity *q, const dk_node *model, const char *label, const char *colour,
                di_bar *bars, int64_t *count)
{
    double value;
    if (!read(model, q, &value)) return;
    bars[*count] = (di_bar){.label = label, .colour = colour, .value = value};
    q->text(s, value, bars[(*count)++].text);
}

static int32_t draw(di_sheet *s, const quantity *q)
{
    di_bar bars[DI_SHEET_RUNS + 2];
    int64_t count = 0;
    if (s->main) {
        add(s, q, s->main->teacher, di_say(s, "teacher", "professor"), "ct", bars, &count);
        add(s, q, s->main->student, di_say(s, "student", "aluno"), "c0", bars, &count);
        add(s, q, di_node(s->main->result, "gguf"), "GGUF", "c5", bars, &count);
    } else {
        if (s->count) add(s, q, s->runs[0].teacher, di_say(s, "teacher", "professor"), "ct", bars, &count);
        for (int64_t i = 0; i < s->count; i++)
            add(s, q, s->runs[i].student, s->runs[i].label, s->runs[i].colour, bars, &count);
    }
    if (!count) return 0;
    di_bars_draw(s, q->title, q->about, bars, count);
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

static void cost_row(di_sheet *s, const dk_node *cost, const char *key, text_fn text, const char *english,
                     const char *portuguese)
{
    double value;
    char out[DI_FIGURE];
    if (!di_value(cost, key, &value) || value <= 0) return; /* no tokens went through a model */
    text(s, value, out);
    dk_strbuf_printf(s->out, "<dt>%s</dt><dd>%s</dd>", di_say(s, english, portuguese), out);
}

static void run_cost(di_sheet *s, const di_sheet_run *r)
{
    const dk_node *cost = di_node(r->result, "cost");
    if (!cost) return;
    const char *note = di_text(cost, "energy_note"), *problem = di_text(cost, "energy_problem");
    dk_strbuf_printf(s->out, "<div class=\"box\"><h3><b>%s</b></h3><dl>",
                     di_say(s, "What this run took", "O que esta execução custou"));
    cost_row(s, cost, "seconds", di_seconds_text, "wall time", "tempo");
    cost_row(s, cost, "cpu_seconds", di_seconds_text, "CPU time", "tempo de CPU");
    cost_row(s, cost, "peak_memory_bytes", di_bytes_text, "memory at its peak", "pico de memória");
    cost_row(s, cost, "model_tokens", di_large_number, "tokens through models", "tokens pelos modelos");
    cost_row(s, cost, "model_flops", di_large_number, "floating-point operations", "operações de ponto flutuante");
    cost_row(s, cost, "joules", joules, "energy", "energia");
    cost_row(s, cost, "eur", euros, "of energy", "de energia");
    cost_row(s, cost, "usd", dollars, "of tokens", "de tokens");
    di_html(s, "</dl>");
    if (*note || *problem) {
        di_html(s, "<p class=\"missing\">");
        if (!di_node(cost, "joules")) di_html(s, di_say(s, "Energy is not known: ", "A energia não é conhecida: "));
        di_html_cut(s->out, *note ? note : problem, strlen(*note ? note : problem), 300);
        di_html(s, "</p>");
    }
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
    if (!s->main || !s->main->teacher || di_node(s->main->result, "live")) return;
    if (!di_value(s->main->student, key, &value) || di_value(s->main->teacher, key, &value)) return;
    di_missing(
        s, "The teacher's speed was not measured: it is several models, a host's or a cache, and writes no text.",
        "A velocidade do professor não foi medida: são vários modelos, de um programa ou um cache, e não escreve "
        "texto.");
}

void di_part_models(di_sheet *s)
{
    const quantity all[] = {
        {"parameters", di_say(s, "Parameters", "Parâmetros"), "", 0, di_large_number},
        {"bytes", di_say(s, "Bytes on disk", "Bytes em disco"), "", 0, di_bytes_text},
        {"prompt_tokens_per_second", di_say(s, "Reading", "Leitura"),
         di_say(s, "Tokens per second of a prompt of 128.", "Tokens por segundo de um prompt de 128."), 0, per_second},
        {"decode_tokens_per_second", di_say(s, "Writing", "Escrita"),
         di_say(s, "Tokens per second, one text at a time.", "Tokens por segundo, um texto por vez."), 0, per_second},
        {"decode_tokens_per_second", di_say(s, "Latency of a token", "Latência de um token"),
         di_say(s, "Milliseconds between tokens while it writes.", "Milissegundos entre tokens ao escrever."), 1e3,
         milliseconds},
        {"cost_per_1000_tokens/cpu_seconds", di_say(s, "Cost of 1,000 tokens", "Custo de 1.000 tokens"),
         di_say(s, "CPU seconds of all threads; four tokens are read for one that is written.",
                "Segundos de CPU de todas as threads, quatro tokens lidos para um escrito."),
         0, cpu_seconds},
        {"cost_per_1000_tokens/joules", di_say(s, "Energy of 1,000 tokens", "Energia de 1.000 tokens"), energy_about(s),
         0, joules},
        {"cost_per_1000_tokens/eur", di_say(s, "Money of 1,000 tokens", "Dinheiro de 1.000 tokens"),
         di_say(s, "That energy at cost.eur_per_kwh.", "Essa energia a cost.eur_per_kwh."), 0, euros},
    };
    const int32_t teacher = has_teacher(s);
    int32_t some = 0;
    di_section(s, teacher ? "What the student saves" : "Size, speed and cost",
               teacher ? "O que o aluno economiza" : "Tamanho, velocidade e custo");
    di_html(s, "<div class=\"grid bars\">\n");
    some += gaps(s);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) some += draw(s, &all[i]);
    if (s->main) run_cost(s, s->main);
    di_html(s, "</div>\n");
    tell_slow(s);
    if (!some) di_missing(s, "Neither size nor speed was measured.", "Nem tamanho nem velocidade foram medidos.");
    di_section_end(s);
}
