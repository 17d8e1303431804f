/* verdict_kinds.c - the verdict on pairs, on a classifier and on several runs. */
#include <math.h>
#include <string.h>

#include "report/page/verdict.h"

/* Wilson, Probable inference, JASA 22 (1927): the shares that are within 1.96 of their own deviations of share. Unlike
 * share +- 1.96 deviations it says something where all or none of few trials came out. */
static void wilson(double share, double count, double *low, double *high)
{
    const double z = 1.959963984540054, z2 = z * z / count;
    const double middle = (share + z2 / 2) / (1 + z2);
    const double half = z / (1 + z2) * sqrt(share * (1 - share) / count + z2 / (4 * count));
    *low = fmax(middle - half, 0);
    *high = fmin(middle + half, 1);
}

int32_t di_verdict_pairs(di_sheet *s, const di_sheet_run *r)
{
    di_words w = {{{0}}, {0}};
    double share, count, low, high;
    char text[DI_FIGURE];
    const int32_t rewards = di_value(r->eval, "pairs/reward_accuracy", &share);
    if ((!rewards && !di_value(r->eval, "pairs/accuracy", &share)) || !di_value(r->eval, "pairs/count", &count))
        return 0;
    if (count < 1 || share < 0 || share > 1) return 0;
    wilson(share, count, &low, &high);
    di_put_share(s, &w, 0, share);
    di_put_range(s, &w, 1, low, high);
    di_number_text(s, count, 0, text);
    di_bold(&w, 2, text);
    di_main_sentence(s, "Of {2} held-out pairs the student puts the chosen side first in {0} ({1}, 95&#160;%).",
                     "De {2} pares reservados o aluno põe o lado escolhido à frente em {0} ({1}, 95&#160;%).", &w);
    di_note(s,
            rewards ? "By rewards: how far the student moved from its reference." : "By the likelihood of both sides.",
            rewards ? "Por recompensas: quanto o aluno se moveu de sua referência."
                    : "Pela verossimilhança dos dois lados.",
            &w);
    return 1;
}

/* ---- a classifier ---- */

/* What it may answer without its teacher. */
static void promise(di_sheet *s, const di_sheet_run *r)
{
    const dk_node *p = di_node(r->student, "promise");
    di_words w = {{{0}}, {0}};
    double agreement, level, threshold, coverage;
    if (!di_value(p, "agreement", &agreement) || !di_value(p, "confidence_level", &level)) return;
    di_put_share(s, &w, 0, agreement);
    di_put_share(s, &w, 1, level);
    if (!di_value(p, "threshold", &threshold) || !di_value(p, "coverage", &coverage)) {
        di_note(s,
                "An agreement of {0} cannot be promised with confidence {1}: in a cascade the teacher is always asked.",
                "Uma concordância de {0} não pode ser prometida com confiança {1}: numa cascata o professor é "
                "sempre "
                "perguntado.",
                &w);
        return;
    }
    di_put_share(s, &w, 2, coverage);
    di_put_share(s, &w, 3, threshold);
    di_note(
        s,
        "Where it is at least {3} sure, which is for {2} of texts, it agrees with its teacher on {0} or more of them, "
        "with confidence {1}; in a cascade the teacher is asked about the others alone.",
        "Onde tem ao menos {3} de certeza, o que vale para {2} dos textos, concorda com seu professor em {0} deles ou "
        "mais, com confiança {1}; numa cascata só os outros vão ao professor.",
        &w);
}

int32_t di_verdict_classes(di_sheet *s, const di_sheet_run *r)
{
    const dk_node *interval = di_node(r->eval, "agreement_interval");
    di_words w = {{{0}}, {0}};
    double value, texts;
    char text[DI_FIGURE];
    if (!di_value(r->eval, "agreement", &value) || !di_value(r->eval, "texts", &texts)) return 0;
    di_put_share(s, &w, 0, value);
    di_number_text(s, texts, 0, text);
    di_bold(&w, 1, text);
    const dk_node *low = interval && interval->type == DK_NODE_LIST && interval->size == 2 ? interval->items[0] : NULL;
    if (low && low->type == DK_NODE_FLOAT) {
        di_put_range(s, &w, 2, low->f64, interval->items[1]->f64);
        di_main_sentence(s, "Of {1} held-out texts the classifier puts {0} where its teacher does ({2}, 95&#160;%).",
                         "De {1} textos reservados o classificador põe {0} onde o professor "
                         "põe ({2}, 95&#160;%).",
                         &w);
    } else
        di_main_sentence(s, "Of {1} held-out texts the classifier puts {0} where its teacher does.",
                         "De {1} textos reservados o classificador põe {0} onde o professor põe.", &w);
    promise(s, r);
    return 1;
}

/* ---- several runs ---- */

/* The runs of the least and of the next perplexity, of those on the text of the first: others cannot be compared. */
static int64_t best_two(const di_sheet *s, const di_sheet_run *best[2])
{
    double value, other;
    int64_t measured = 0;
    best[0] = best[1] = NULL;
    for (int64_t i = 0; i < s->count; i++) {
        const di_sheet_run *r = &s->runs[i];
        if (!di_value(r->student, "perplexity", &value) || !di_same_text(r, &s->runs[0])) continue;
        measured++;
        if (!best[0] || (di_value(best[0]->student, "perplexity", &other) && value < other)) {
            best[1] = best[0];
            best[0] = r;
        } else if (!best[1] || (di_value(best[1]->student, "perplexity", &other) && value < other)) best[1] = r;
    }
    return measured;
}

static void tell_best(di_sheet *s, const di_sheet_run *const best[2], di_words *w)
{
    di_interval gain;
    if (!best[1])
        di_main_sentence(
            s, "Of {2} runs <b class=\"name\">{0}</b> alone was measured on held-out text, at perplexity {1}.",
            "De {2} execuções só <b class=\"name\">{0}</b> foi medida em texto reservado, com perplexidade {1}.", w);
    else if (!di_paired_runs(best[1], "nats", best[0], "nats", &gain))
        di_main_sentence(s,
                         "Of {2} runs <b class=\"name\">{0}</b> has the least perplexity, {1}; it and the next, <b "
                         "class=\"name\">{3}</b>, were not "
                         "measured on the "
                         "same blocks of text, so how certain that is cannot be told.",
                         "De {2} execuções <b class=\"name\">{0}</b> tem a menor perplexidade, {1}; ela e a "
                         "seguinte, "
                         "<b class=\"name\">{3}</b>, "
                         "não "
                         "foram medidas "
                         "nos mesmos blocos de texto: não se pode dizer quão certo isso é.",
                         w);
    else {
        di_put_interval(s, w, 4, gain.mean, gain.half);
        if (gain.mean - gain.half > 0)
            di_main_sentence(s,
                             "Of {2} runs <b class=\"name\">{0}</b> predicts held-out text best, at perplexity {1}: "
                             "{4} nats per token better than "
                             "the next, <b class=\"name\">{3}</b> (95&#160;%).",
                             "De {2} execuções <b class=\"name\">{0}</b> prevê melhor o texto reservado, com "
                             "perplexidade {1}: {4} nats por "
                             "token "
                             "melhor que a seguinte, <b class=\"name\">{3}</b> (95&#160;%).",
                             w);
        else
            di_main_sentence(s,
                             "Of {2} runs <b class=\"name\">{0}</b> has the least perplexity, {1}, but no difference "
                             "from the next, <b class=\"name\">{3}</b>, is "
                             "certain: {4} nats per token (95&#160;%).",
                             "De {2} execuções <b class=\"name\">{0}</b> tem a menor perplexidade, {1}, mas nenhuma "
                             "diferença da seguinte, "
                             "<b class=\"name\">{3}</b>, é certa: {4} nats por token (95&#160;%).",
                             w);
    }
}

void di_verdict_several(di_sheet *s)
{
    const di_sheet_run *best[2];
    di_words w = {{{0}}, {0}};
    dk_strbuf names[2];
    double least = 0;
    char text[DI_FIGURE];
    const int64_t measured = best_two(s, best);
    if (!measured) {
        di_main_sentence(s, "None of these runs was measured on held-out text.",
                         "Nenhuma destas execuções foi medida em texto reservado.", &w);
        return;
    }
    for (int i = 0; i < 2; i++) {
        dk_strbuf_init(&names[i], s->host);
        if (best[i]) di_html_cut(&names[i], best[i]->label, strlen(best[i]->label), 60);
        w.at[i ? 3 : 0] = names[i].data ? names[i].data : "";
    }
    (void)di_value(best[0]->student, "perplexity", &least);
    di_put_value(s, &w, 1, least);
    di_number_text(s, (double)s->count, 0, text);
    di_bold(&w, 2, text);
    tell_best(s, best, &w);
    di_note(s,
            "Differences are paired over blocks of the same held-out text, with their 95&#160;% intervals; the best of "
            "many runs looks better than it is.",
            "As diferenças são pareadas em blocos do mesmo texto reservado, com intervalos de 95&#160;%; a melhor de "
            "muitas execuções parece melhor do que é.",
            &w);
    for (int i = 0; i < 2; i++) dk_strbuf_free(&names[i]);
}
