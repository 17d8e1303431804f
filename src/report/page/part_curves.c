/* part_curves.c - how loss, distance and perplexity went while it trained. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/page/sheet.h"

typedef struct measure { /* where a quantity stands: in a line of metrics, and in the result */
    const char *line, *result, *teacher;
} measure;
static const measure loss = {"loss", NULL, NULL};
static const measure distance = {"eval/forward_kl", "student/forward_kl", NULL};
static const measure soft = {"eval/soft_cross_entropy", "student/soft_cross_entropy", NULL};
static const measure perplexity = {"eval/perplexity", "student/perplexity", "teacher/perplexity"};
static const measure pairs = {"eval/pairs/accuracy", "eval/pairs/accuracy", NULL};
static const measure rewards = {"eval/pairs/reward_margin", "eval/pairs/reward_margin", NULL};
static const measure own_text = {"on_policy/mean_length", NULL, NULL};
static const measure agreement = {"eval/agreement", "classifier/held_out/agreement", NULL};

static void add_lines(di_curve *curve, const di_sheet_run *r, const measure *m)
{
    double step, value, last = -1;
    const size_t count = r->metrics ? r->metrics->size : 0;
    for (size_t i = 0; i < count; i++) {
        const dk_node *line = dk_node_at(r->metrics, i);
        if (!di_value(line, "step", &step) || !di_value(line, m->line, &value)) continue;
        if (m == &own_text && value <= 0) continue; /* a step on the data's text */
        di_curve_add(curve, step, value);
        last = step;
    }
    if (!m->result || !di_value(r->result, m->result, &value)) return;
    if (!di_value(r->training, "steps", &step) || step <= last) return; /* the last one is there */
    di_curve_add(curve, step, value);
}

static void curve_of(di_chart *chart, const di_sheet_run *r, const char *label, const char *colour, const measure *m)
{
    di_curve *curve = di_chart_curve(chart, label, colour);
    if (!curve) return;
    add_lines(curve, r, m);
    curve->dots = curve->count <= 60 && m != &loss;
    if (!curve->count) chart->count--;
}

static void level_of(di_sheet *s, di_chart *chart, const di_sheet_run *r, const measure *m)
{
    double value;
    if (!m->teacher || !di_value(r->result, m->teacher, &value)) return;
    di_curve *curve = di_chart_curve(chart, di_say(s, "teacher", "professor"), "ct");
    if (curve) curve->level = 1;
    di_curve_add(curve, 0, value);
}

/* 1 = something was drawn */
static int32_t draw(di_sheet *s, di_chart *chart, const measure *m, const char *title, const char *about, int32_t y_log)
{
    *chart = (di_chart){.title = title, .about = about, .y_log = y_log, .y_zero = !y_log};
    chart->x_title = di_say(s, "step", "passo");
    if (s->main) {
        curve_of(chart, s->main, s->baseline ? di_say(s, "distilled", "destilado") : di_say(s, "student", "aluno"),
                 "c0", m);
        if (s->baseline) curve_of(chart, s->baseline, di_say(s, "hard labels", "só rótulos"), "cb", m);
        level_of(s, chart, s->main, m);
    } else {
        for (int64_t i = 0; i < s->count; i++) curve_of(chart, &s->runs[i], s->runs[i].label, s->runs[i].colour, m);
        if (s->count) level_of(s, chart, &s->runs[0], m);
    }
    int64_t lines = 0;
    for (int64_t i = 0; i < chart->count; i++) lines += !chart->curves[i].level;
    if (!lines) return 0;
    di_chart_draw(s, chart);
    return 1;
}

static int32_t lines_of(const di_sheet_run *r) { return r->metrics && r->metrics->size > 0; }

static void remarks(di_sheet *s)
{
    const di_sheet_run *r = s->main ? s->main : s->count ? &s->runs[0] : NULL;
    int64_t left_out = 0;
    char text[DI_FIGURE];
    for (int64_t i = 0; i < s->count; i++) left_out += s->runs[i].left_out;
    if (r && !lines_of(r))
        di_missing(
            s, "There is no metrics.jsonl beside the result (output.metrics: false, or result.json alone): no curves.",
            "Não há metrics.jsonl junto ao resultado (output.metrics: false, ou só result.json): sem curvas.");
    if (!left_out) return;
    di_number_text(s, (double)left_out, 0, text);
    dk_strbuf_printf(s->out, "<p class=\"missing\">%s %s</p>\n", text,
                     di_say(s, "logged steps are left out of the curves of a long run.",
                            "passos registrados ficaram fora das curvas de uma execução longa."));
}

int32_t di_part_curves(di_sheet *s, dk_error *err)
{
    di_chart *chart = NULL;
    int32_t rc, some = 0;
    DK_TRY(dk_new(s->host, 1, &chart, err));
    di_section(s, "How it learned", "Como aprendeu");
    di_html(s, "<div class=\"grid\">\n");
    const char *own =
        s->baseline || !s->main
            ? di_say(s, "Of each run's own objective, so levels of different objectives cannot be compared.",
                     "Do objetivo de cada execução: níveis de objetivos diferentes não se comparam.")
        : s->main->kind == DI_RUN_CLASSIFIER
            ? di_say(s, "Of the texts of a step, per text.", "Dos textos de um passo, por texto.")
            : di_say(s, "Of the training windows, per position, at each logged step.",
                     "Das janelas de treino, por posição, a cada passo registrado.");
    some += draw(s, chart, &loss, di_say(s, "Training loss", "Perda no treino"), own, 1);
    some += draw(s, chart, &distance, di_say(s, "KL from the teacher", "KL em relação ao professor"),
                 s->main && s->main->kind == DI_RUN_CLASSIFIER
                     ? di_say(s, "KL(teacher &#8741; student) of held-out texts, nats per text.",
                              "KL(professor &#8741; aluno) dos textos reservados, nats por texto.")
                     : di_say(s, "KL(teacher &#8741; student) on held-out text, nats per token.",
                              "KL(professor &#8741; aluno) em texto reservado, nats por token."),
                 1);
    some += draw(s, chart, &soft, di_say(s, "Soft cross-entropy", "Entropia cruzada suave"),
                 di_say(s, "Of the teacher's draws, on held-out text, nats per token.",
                        "Das amostras do professor, em texto reservado, nats por token."),
                 1);
    some += draw(s, chart, &perplexity, di_say(s, "Perplexity", "Perplexidade"),
                 di_say(s, "On held-out text; lower is better.", "Em texto reservado; menor é melhor."), 1);
    some += draw(s, chart, &own_text, di_say(s, "Its own text", "Seu próprio texto"),
                 di_say(s, "Tokens of the texts that it wrote and learnt from, on average of a step.",
                        "Tokens dos textos que escreveu e com que aprendeu, em média de um passo."),
                 0);
    some += draw(s, chart, &agreement, di_say(s, "Agreement", "Concordância"),
                 di_say(s, "How often it says what the teacher says.", "Quantas vezes diz o que diz o professor."), 0);
    some += draw(s, chart, &pairs, di_say(s, "Pairs in order", "Pares em ordem"),
                 di_say(s, "Share of held-out pairs whose chosen side is likelier.",
                        "Parcela dos pares reservados cujo lado escolhido é mais provável."),
                 0);
    some += draw(s, chart, &rewards, di_say(s, "Reward margin", "Margem de recompensa"),
                 di_say(s, "How much more the chosen side's reward is, on held-out pairs.",
                        "Quanto a recompensa do lado escolhido é maior, em pares reservados."),
                 0);
    di_html(s, "</div>\n");
    if (!some) di_missing(s, "Nothing was recorded while it trained.", "Nada foi registrado durante o treino.");
    remarks(s);
    di_section_end(s);
out:
    dk_free(s->host, chart);
    return rc;
}
