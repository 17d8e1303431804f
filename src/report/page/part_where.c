/* part_where.c - where the student is far from its teacher: by how much it has read, and by how often a token is. */
#include <stdio.h>
#include <string.h>

#include "report/page/sheet.h"

enum { CATEGORIES = 24 };
typedef struct categories {
    char text[CATEGORIES][DI_FIGURE];
    const char *names[CATEGORIES];
    double shares[CATEGORIES];
    int64_t count;
} categories;

/* 1, 999, 1k, 10k: bounds are round */
static void bound_text(double value, char out[DI_FIGURE])
{
    const long long whole = value < 9e15 ? (long long)value : 0;
    if (whole < 1000) snprintf(out, DI_FIGURE, "%lld", whole);
    else snprintf(out, DI_FIGURE, "%lldk", (whole + 1) / 1000);
}

/* "1", "2–3", "10k+" */
static void name_of(const dk_node *bucket, char out[DI_FIGURE])
{
    double from = 0, to;
    char first[DI_FIGURE], last[DI_FIGURE];
    (void)di_value(bucket, "from", &from);
    bound_text(from, first);
    if (!di_value(bucket, "to", &to)) snprintf(out, DI_FIGURE, "%.30s+", first);
    else if (to <= from) snprintf(out, DI_FIGURE, "%.40s", first);
    else {
        bound_text(to, last);
        snprintf(out, DI_FIGURE, "%.20s\xe2\x80\x93%.20s", first, last);
    }
}

static int32_t same_bucket(const dk_node *a, const dk_node *b)
{
    double x = -1, y = -1;
    return di_value(a, "from", &x) && di_value(b, "from", &y) && x == y;
}

static void read_categories(const dk_node *list, categories *out)
{
    double tokens, all = 0;
    out->count = 0;
    for (size_t i = 0; list && list->type == DK_NODE_LIST && i < list->size && out->count < CATEGORIES; i++) {
        if (!di_value(dk_node_at(list, i), "tokens", &tokens)) continue;
        name_of(dk_node_at(list, i), out->text[out->count]);
        out->names[out->count] = out->text[out->count];
        out->shares[out->count++] = tokens;
        all += tokens;
    }
    for (int64_t i = 0; i < out->count; i++) out->shares[i] = all > 0 ? out->shares[i] / all : 0;
}

/* The buckets of one run over those of the first. */
static void curve_of(di_chart *chart, const dk_node *list, const dk_node *axis, const char *key, const char *label,
                     const char *colour)
{
    di_curve *curve = di_chart_curve(chart, label, colour);
    double value;
    if (!curve) return;
    curve->dots = 1;
    for (size_t i = 0; list && list->type == DK_NODE_LIST && i < list->size; i++)
        for (size_t j = 0; j < axis->size && (int64_t)j < chart->categories; j++)
            if (same_bucket(dk_node_at(list, i), dk_node_at(axis, j)) && di_value(dk_node_at(list, i), key, &value))
                di_curve_add(curve, (double)j, value);
    if (!curve->count) chart->count--;
}

static void add_curves(di_sheet *s, di_chart *chart, const dk_node *axis, const char *where, const char *key)
{
    if (!s->main) {
        for (int64_t i = 0; i < s->count; i++)
            curve_of(chart, di_node(s->runs[i].eval, where), axis, key, s->runs[i].label, s->runs[i].colour);
        return;
    }
    curve_of(chart, axis, axis, key, s->baseline ? di_say(s, "distilled", "destilado") : di_say(s, "student", "aluno"),
             "c0");
    if (s->baseline)
        curve_of(chart, di_node(s->baseline->eval, where), axis, key, di_say(s, "hard labels", "só rótulos"), "cb");
    if (!strcmp(key, "nats")) curve_of(chart, axis, axis, "teacher_nats", di_say(s, "teacher", "professor"), "ct");
}

typedef struct view {
    const char *where, *key, *title, *about, *x_title;
} view;

static int32_t draw(di_sheet *s, di_chart *chart, const view *v)
{
    const di_sheet_run *first = s->main ? s->main : s->count ? &s->runs[0] : NULL;
    const dk_node *axis = first ? di_node(first->eval, v->where) : NULL;
    categories names;
    if (!axis || axis->type != DK_NODE_LIST) return 0;
    read_categories(axis, &names);
    *chart = (di_chart){.title = v->title,
                        .about = v->about,
                        .x_title = v->x_title,
                        .y_zero = 1,
                        .names = names.names,
                        .shares = names.shares,
                        .categories = names.count};
    if (names.count != (int64_t)axis->size) return 0;
    add_curves(s, chart, axis, v->where, v->key);
    if (!chart->count) return 0;
    di_chart_draw(s, chart);
    return 1;
}

int32_t di_part_where(di_sheet *s, dk_error *err)
{
    di_chart *chart = NULL;
    int32_t rc, some = 0;
    const char *read = di_say(s, "tokens read before it", "tokens lidos antes");
    const char *often = di_say(s, "times in the held-out text", "vezes no texto reservado");
    const char *behind =
        di_say(s, "The bars behind are the share of tokens.", "As barras ao fundo são a parcela dos tokens.");
    const char *distance =
        di_say(s, "KL from the teacher, nats per token.", "KL em relação ao professor, nats por token.");
    const char *nats = di_say(s, "Nats per token, lower is better.", "Nats por token, menor é melhor.");
    char about[2][200];
    DK_TRY(dk_new(s->host, 1, &chart, err));
    snprintf(about[0], sizeof about[0], "%s %s", distance, behind);
    snprintf(about[1], sizeof about[1], "%s %s", nats, behind);
    const view views[] = {
        {"by_position", "forward_kl", di_say(s, "KL by position", "KL por posição"), about[0], read},
        {"by_frequency", "forward_kl", di_say(s, "KL by token frequency", "KL por frequência do token"), about[0],
         often},
        {"by_frequency", "nats", di_say(s, "Surprise by frequency", "Surpresa por frequência"), about[1], often},
    };
    const int32_t alone = s->main && !s->main->teacher;
    di_section(s, alone ? "Where it is hard" : "Where it is far", alone ? "Onde é difícil" : "Onde está longe");
    di_html(s, "<div class=\"grid\">\n");
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) some += draw(s, chart, &views[i]);
    di_html(s, "</div>\n");
    if (!some)
        di_missing(
            s, "The result has no distances by position or frequency: nothing was evaluated, or an older version did.",
            "O resultado não tem distâncias por posição ou frequência: nada foi avaliado, ou por versão antiga.");
    di_section_end(s);
out:
    dk_free(s->host, chart);
    return rc;
}
