/* part_table.c - several runs beside each other. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/page/sheet.h"

typedef void (*text_fn)(const di_sheet *s, double value, char out[DI_FIGURE]);
typedef struct column {
    const char *path, *english, *portuguese;
    int32_t better; /* -1 = less is, 1 = more is, 0 = neither */
    text_fn text;
} column;

static const column columns[] = {
    {"student/perplexity", "perplexity", "perplexidade", -1, di_short_number},
    {"student/forward_kl", "KL, nats", "KL, nats", -1, di_short_number},
    {"student/top1_agreement", "same first choice", "mesma 1ª escolha", 1, di_percent_text},
    {"student/expected_acceptance", "accepted as a draft", "aceito como rascunho", 1, di_percent_text},
    {"student/parameters", "parameters", "parâmetros", 0, di_large_number},
    {"student/bytes", "bytes", "bytes", 0, di_bytes_text},
    {"student/decode_tokens_per_second", "tokens/s, writing", "tokens/s, escrita", 0, di_large_number},
    {"training/steps", "steps", "passos", 0, di_large_number},
    {"training/seconds", "training", "treino", 0, di_seconds_text},
};
enum { COLUMNS = sizeof columns / sizeof *columns };

static double best_of(const di_sheet *s, const column *c)
{
    double best = NAN, value;
    for (int64_t i = 0; i < s->count; i++)
        if (di_value(s->runs[i].result, c->path, &value) && (isnan(best) || (value - best) * c->better > 0))
            best = value;
    return best;
}

static void cell(di_sheet *s, const di_sheet_run *r, const column *c, double best)
{
    double value;
    char text[DI_FIGURE] = "&#8212;";
    const int32_t there = di_value(r->result, c->path, &value);
    if (there) c->text(s, value, text);
    dk_strbuf_printf(s->out, "<td%s>%s</td>", there && c->better && value == best ? " class=\"best\"" : "", text);
}

/* Nats per token that this run needs less than the first, with the interval of the difference. */
static void difference(di_sheet *s, const di_sheet_run *r)
{
    di_interval gain;
    char text[DI_FIGURE];
    if (r == &s->runs[0]) {
        di_html(s, "<td>0</td>");
        return;
    }
    if (!di_paired(di_node(r->eval, "blocks"), "nats", di_node(s->runs[0].eval, "blocks"), "nats", &gain)) {
        di_html(s, "<td>&#8212;</td>");
        return;
    }
    di_interval_text(s, gain.mean, gain.half, text);
    dk_strbuf_printf(s->out, "<td>%s%s</td>", gain.mean > 0 ? "+" : "", text);
}

static void row(di_sheet *s, const di_sheet_run *r, const double *best)
{
    dk_strbuf_printf(s->out, "<tr><th><span class=\"key %s\"></span>", r->colour);
    di_html_cut(s->out, r->label, strlen(r->label), 40);
    if (r->hard_labels) dk_strbuf_printf(s->out, "<small>%s</small>", di_say(s, "hard labels alone", "só rótulos"));
    di_html(s, "</th>");
    cell(s, r, &columns[0], best[0]);
    difference(s, r);
    for (int32_t c = 1; c < COLUMNS; c++) cell(s, r, &columns[c], best[c]);
    di_html(s, "</tr>\n");
}

static void teacher_row(di_sheet *s)
{
    static const char *const paths[] = {"teacher/perplexity",
                                        "teacher/forward_kl",
                                        "teacher/top1_agreement",
                                        "teacher/expected_acceptance",
                                        "teacher/parameters",
                                        "teacher/bytes",
                                        "teacher/decode_tokens_per_second",
                                        "",
                                        ""};
    if (!s->runs[0].teacher) return;
    dk_strbuf_printf(s->out, "<tr><th><span class=\"key ct\"></span>%s</th>", di_say(s, "teacher", "professor"));
    for (int32_t c = 0; c < COLUMNS; c++) {
        column own = columns[c];
        own.path = paths[c];
        own.better = 0;
        if (*paths[c]) cell(s, &s->runs[0], &own, NAN);
        else di_html(s, "<td></td>");
        if (c == 0) di_html(s, "<td></td>");
    }
    di_html(s, "</tr>\n");
}

void di_part_table(di_sheet *s)
{
    double best[COLUMNS];
    if (!s->count) return;
    for (int32_t c = 0; c < COLUMNS; c++) best[c] = best_of(s, &columns[c]);
    di_section(s, "Side by side", "Lado a lado");
    dk_strbuf_printf(
        s->out, "<p class=\"about\">%s</p><div class=\"scroll\"><table><thead><tr><th>%s</th>",
        di_say(s,
               "On the held-out text of each run. The difference is in nats per token from the first run, paired over "
               "the same blocks of text, with its 95&#160;% interval; below 0 is better. What is best is green.",
               "No texto reservado de cada execução. A diferença é em nats por token em relação à primeira, "
               "pareada nos "
               "mesmos blocos de texto, com intervalo de 95&#160;%; abaixo de 0 é melhor. O melhor está em verde."),
        di_say(s, "run", "execução"));
    for (int32_t c = 0; c < COLUMNS; c++) {
        dk_strbuf_printf(s->out, "<th>%s</th>", di_say(s, columns[c].english, columns[c].portuguese));
        if (c == 0) dk_strbuf_printf(s->out, "<th>%s</th>", di_say(s, "difference, nats", "diferença, nats"));
    }
    di_html(s, "</tr></thead><tbody>\n");
    teacher_row(s);
    for (int64_t i = 0; i < s->count; i++) row(s, &s->runs[i], best);
    di_html(s, "</tbody></table></div>\n");
    di_section_end(s);
}
