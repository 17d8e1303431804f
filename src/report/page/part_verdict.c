/* part_verdict.c - what came of it, in one sentence with its uncertainty, and what that sentence cannot say. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/page/sheet.h"

enum { ARGS = 10 };
typedef struct words {                   /* html of {0}, {1}, ... */
    char text[ARGS][2 * DI_FIGURE + 24]; /* an interval, and its markup */
    const char *at[ARGS];
} words;

static void bold(words *w, int32_t i, const char *text)
{
    snprintf(w->text[i], sizeof w->text[i], "<b>%s</b>", text);
    w->at[i] = w->text[i];
}

static void put_value(const di_sheet *s, words *w, int32_t i, double value)
{
    char text[DI_FIGURE];
    di_short_number(s, value, text);
    bold(w, i, text);
}

static void put_interval(const di_sheet *s, words *w, int32_t i, double mean, double half)
{
    char text[DI_FIGURE];
    di_interval_text(s, mean, half, text);
    bold(w, i, text);
}

static void main_sentence(di_sheet *s, const char *english, const char *portuguese, const words *w)
{
    di_html(s, "<p class=\"main\">");
    di_fill(s, english, portuguese, w->at);
    di_html(s, "</p>\n");
}

static void note(di_sheet *s, const char *english, const char *portuguese, const words *w)
{
    di_html(s, "<p class=\"note\">");
    di_fill(s, english, portuguese, w->at);
    di_html(s, "</p>\n");
}

static const dk_node *blocks_of(const di_sheet_run *r) { return di_node(r->eval, "blocks"); }

/* ---- against the hard-label baseline ---- */

static void closed_text(const di_sheet *s, words *w, int32_t i, const di_sheet_run *r, const di_sheet_run *base)
{
    double student, teacher, hard;
    char text[DI_FIGURE] = "";
    w->at[i] = "";
    if (!di_value(r->student, "nats", &student) || !di_value(r->teacher, "nats", &teacher)) return;
    if (!di_value(base->student, "nats", &hard) || hard <= teacher || student >= hard) return;
    di_number_text(s, 100 * (hard - student) / (hard - teacher), 0, text);
    snprintf(w->text[i], sizeof w->text[i], "<b>%s&#160;%%</b>", text);
    w->at[i] = w->text[i];
}

static void say_difference(di_sheet *s, words *w, const di_interval *gain)
{
    char blocks[DI_FIGURE];
    di_number_text(s, (double)gain->blocks, 0, blocks);
    bold(w, 6, blocks);
    if (gain->mean - gain->half > 0)
        main_sentence(
            s,
            "Distilled, the student has perplexity {0} on held-out text where the same student on hard labels "
            "alone has {1}: {3} nats per token better (95&#160;%).",
            "Destilado, o aluno tem perplexidade {0} no texto reservado, e o mesmo aluno só com rótulos tem {1}: "
            "{3} nats por token melhor (95&#160;%).",
            w);
    else if (gain->mean + gain->half < 0)
        main_sentence(
            s,
            "On this text hard labels alone did better: the distilled student has perplexity {0}, the one on "
            "hard labels {1}, which is {3} nats per token (95&#160;%).",
            "Neste texto os rótulos sozinhos foram melhores: o aluno destilado tem perplexidade {0}, o de rótulos "
            "{1}, ou seja {3} nats por token (95&#160;%).",
            w);
    else
        main_sentence(
            s,
            "No difference from hard labels is certain: the distilled student has perplexity {0}, the one on "
            "hard labels {1}, which is {3} nats per token (95&#160;%, and so about nothing).",
            "Nenhuma diferença dos rótulos é certa: o aluno destilado tem perplexidade {0}, o de rótulos {1}, ou "
            "seja {3} nats por token (95&#160;%, portanto quase nada).",
            w);
}

static void note_difference(di_sheet *s, const words *w)
{
    if (*w->at[4])
        note(s,
             "That closes {4} of the way from hard labels to the teacher (perplexity {2}). The interval is paired, "
             "over {6} "
             "blocks of the same held-out text; another seed of the training moves both students, too.",
             "Isso fecha {4} do caminho dos rótulos até o professor (perplexidade {2}). O intervalo é pareado, "
             "sobre "
             "{6} "
             "blocos do mesmo texto reservado; outra semente do treino também move os dois alunos.",
             w);
    else
        note(s,
             "The interval is paired, over {6} blocks of the same held-out text; another seed of the training moves "
             "both "
             "students, too.",
             "O intervalo é pareado, sobre {6} blocos do mesmo texto reservado; outra semente do treino também "
             "move os "
             "dois "
             "alunos.",
             w);
}

static int32_t with_baseline(di_sheet *s)
{
    const di_sheet_run *r = s->main, *base = s->baseline;
    di_interval gain;
    words w = {{{0}}, {0}};
    double student, hard, teacher;
    if (!base || !di_value(r->student, "perplexity", &student) || !di_value(base->student, "perplexity", &hard))
        return 0;
    put_value(s, &w, 0, student);
    put_value(s, &w, 1, hard);
    w.at[2] = "?";
    if (di_value(r->teacher, "perplexity", &teacher)) put_value(s, &w, 2, teacher);
    if (di_paired(blocks_of(base), "nats", blocks_of(r), "nats", &gain)) {
        put_interval(s, &w, 3, gain.mean, gain.half);
        closed_text(s, &w, 4, r, base);
        say_difference(s, &w, &gain);
        note_difference(s, &w);
        return 1;
    }
    main_sentence(
        s,
        "Distilled, the student has perplexity {0} on held-out text, on hard labels alone {1}; how certain that "
        "difference is cannot be told.",
        "Destilado, o aluno tem perplexidade {0} no texto reservado, só com rótulos {1}; não se pode dizer quão "
        "certa é essa diferença.",
        &w);
    note(s, "The two runs do not have the same blocks of held-out text in their result.json, so nothing can be paired.",
         "As duas execuções não têm os mesmos blocos de texto reservado em seu result.json: nada pode ser pareado.",
         &w);
    return 1;
}

/* ---- alone ---- */

static const char alone_en[] =
    "What distillation itself gave is not known: no run on hard labels stands beside this one "
    "(loss.hard_label_weight=1; then distill report A B).";
static const char alone_pt[] =
    "O que a destilação em si trouxe não se sabe: não há ao lado uma execução só com rótulos "
    "(loss.hard_label_weight=1; depois distill report A B).";

static int32_t by_distance(di_sheet *s, const di_sheet_run *r)
{
    di_interval kl;
    words w = {{{0}}, {0}};
    double value, student = 0, teacher, agreement;
    char text[DI_FIGURE];
    if (!di_value(r->student, "forward_kl", &value)) return 0;
    if (di_paired(blocks_of(r), "forward_kl", NULL, NULL, &kl)) put_interval(s, &w, 0, kl.mean, kl.half);
    else put_value(s, &w, 0, value);
    w.at[1] = w.at[2] = w.at[3] = "?";
    if (di_value(r->student, "perplexity", &student)) put_value(s, &w, 1, student);
    if (di_value(r->student, "top1_agreement", &agreement)) {
        di_percent_text(s, agreement, text);
        bold(&w, 3, text);
    }
    if (di_value(r->teacher, "perplexity", &teacher)) {
        put_value(s, &w, 2, teacher);
        main_sentence(
            s,
            "The student is {0} nats per token from its teacher (KL, 95&#160;%): perplexity {1} where the teacher "
            "has {2}, and the same first choice for {3} of held-out tokens.",
            "O aluno está a {0} nats por token de seu professor (KL, 95&#160;%): perplexidade {1} onde o professor "
            "tem {2}, e a mesma primeira escolha em {3} dos tokens reservados.",
            &w);
    } else
        main_sentence(
            s,
            "The student is {0} nats per token from what its teacher says (KL over the teacher's ids and the "
            "rest), at perplexity {1} on held-out text.",
            "O aluno está a {0} nats por token do que o professor diz (KL sobre os ids do professor e o resto), com "
            "perplexidade {1} no texto reservado.",
            &w);
    note(s, alone_en, alone_pt, &w);
    return 1;
}

static int32_t by_pairs(di_sheet *s, const di_sheet_run *r)
{
    words w = {{{0}}, {0}};
    double share, count;
    char text[DI_FIGURE];
    const int32_t rewards = di_value(r->eval, "pairs/reward_accuracy", &share);
    if ((!rewards && !di_value(r->eval, "pairs/accuracy", &share)) || !di_value(r->eval, "pairs/count", &count))
        return 0;
    if (count < 1) return 0;
    di_percent_text(s, share, text);
    bold(&w, 0, text);
    di_percent_text(s, 1.96 * sqrt(share * (1 - share) / count), text); /* normal approximation */
    bold(&w, 1, text);
    di_number_text(s, count, 0, text);
    bold(&w, 2, text);
    main_sentence(s, "Of {2} held-out pairs the student puts the chosen side first in {0} &#177; {1} (95&#160;%).",
                  "De {2} pares reservados o aluno põe o lado escolhido à frente em {0} &#177; {1} (95&#160;%).", &w);
    note(s, rewards ? "By rewards: how far the student moved from its reference." : "By the likelihood of both sides.",
         rewards ? "Por recompensas: quanto o aluno se moveu de sua referência."
                 : "Pela verossimilhança dos dois lados.",
         &w);
    return 1;
}

static int32_t by_text(di_sheet *s, const di_sheet_run *r)
{
    di_interval nats;
    words w = {{{0}}, {0}};
    double value;
    if (!di_value(r->student, "perplexity", &value)) return 0;
    put_value(s, &w, 0, value);
    w.at[1] = "";
    if (di_paired(blocks_of(r), "nats", NULL, NULL, &nats)) put_interval(s, &w, 1, nats.mean, nats.half);
    if (*w.at[1])
        main_sentence(s, "The student has perplexity {0} on held-out text: {1} nats per token (95&#160;%).",
                      "O aluno tem perplexidade {0} no texto reservado: {1} nats por token (95&#160;%).", &w);
    else
        main_sentence(s, "The student has perplexity {0} on held-out text.",
                      "O aluno tem perplexidade {0} no texto reservado.", &w);
    if (r->teacher)
        note(s, "Its teacher gave no distribution that a distance could be taken from.",
             "Seu professor não deu uma distribuição da qual se pudesse medir distância.", &w);
    else note(s, "There was no teacher.", "Não houve professor.", &w);
    return 1;
}

static int32_t by_classes(di_sheet *s, const di_sheet_run *r)
{
    words w = {{{0}}, {0}};
    double value;
    char text[DI_FIGURE];
    if (!di_value(r->eval, "agreement", &value) && !di_value(r->result, "classifier/eval/agreement", &value)) return 0;
    di_percent_text(s, value, text);
    bold(&w, 0, text);
    main_sentence(s, "The classifier says what its teacher says for {0} of held-out texts.",
                  "O classificador diz o que seu professor diz em {0} dos textos reservados.", &w);
    return 1;
}

/* ---- of several, or under way ---- */

static void of_several(di_sheet *s)
{
    const di_sheet_run *best = NULL;
    words w = {{{0}}, {0}};
    double value, least = INFINITY;
    char text[DI_FIGURE];
    for (int64_t i = 0; i < s->count; i++)
        if (di_value(s->runs[i].student, "perplexity", &value) && value < least) {
            least = value;
            best = &s->runs[i];
        }
    if (!best) {
        main_sentence(s, "None of these runs was measured on held-out text.",
                      "Nenhuma destas execuções foi medida em texto reservado.", &w);
        return;
    }
    dk_strbuf name;
    dk_strbuf_init(&name, s->host);
    di_html_cut(&name, best->label, strlen(best->label), 60);
    w.at[0] = name.data ? name.data : "";
    put_value(s, &w, 1, least);
    di_number_text(s, (double)s->count, 0, text);
    bold(&w, 2, text);
    main_sentence(s, "Of {2} runs <b>{0}</b> predicts held-out text best, at perplexity {1}.",
                  "De {2} execuções <b>{0}</b> prevê melhor o texto reservado, com perplexidade {1}.", &w);
    note(s,
         "Differences in the table are paired over blocks of the same held-out text, with their 95&#160;% intervals; "
         "the best "
         "of many runs looks better than it is.",
         "As diferenças da tabela são pareadas em blocos do mesmo texto reservado, com intervalos de 95&#160;%; a "
         "melhor de "
         "muitas execuções parece melhor do que é.",
         &w);
    dk_strbuf_free(&name);
}

static int32_t under_way(di_sheet *s, const di_sheet_run *r)
{
    double step, steps;
    words w = {{{0}}, {0}};
    char text[DI_FIGURE];
    if (!di_value(r->result, "live/step", &step) || !di_value(r->result, "live/steps", &steps) || steps < 1) return 0;
    di_number_text(s, step, 0, text);
    bold(&w, 0, text);
    di_number_text(s, steps, 0, text);
    bold(&w, 1, text);
    main_sentence(s, "Training: step {0} of {1}. The verdict comes at the end.",
                  "Treinando: passo {0} de {1}. O veredito vem no fim.", &w);
    dk_strbuf_printf(s->out, "<div class=\"progress\"><i style=\"width:%d%%\"></i></div>\n",
                     (int)(100 * fmin(fmax(step / steps, 0), 1)));
    if (s->refresh)
        note(s, "This page reads itself again every few seconds.", "Esta página se recarrega a cada poucos segundos.",
             &w);
    return 1;
}

static void of_one(di_sheet *s)
{
    const di_sheet_run *r = s->main;
    const words none = {{{0}}, {0}};
    if (under_way(s, r) || with_baseline(s)) return;
    if (r->kind == DI_RUN_CLASSIFIER && by_classes(s, r)) return;
    if (by_pairs(s, r) || by_distance(s, r) || by_text(s, r)) return;
    if (di_node(r->student, "perplexity")) {
        main_sentence(s, "The student's perplexity on held-out text is not a number.",
                      "A perplexidade do aluno no texto reservado não é um número.", &none);
        return;
    }
    if (!r->result)
        main_sentence(s, "This run has no result: it is under way, or was stopped.",
                      "Esta execução não tem resultado: está em curso ou foi interrompida.", &none);
    else
        main_sentence(s, "How good the student is, nobody measured: the run had no held-out text.",
                      "Quão bom é o aluno ninguém mediu: a execução não tinha texto reservado.", &none);
    note(s, "Give data.eval or data.eval_fraction.", "Dê data.eval ou data.eval_fraction.", &none);
}

void di_part_verdict(di_sheet *s)
{
    const int32_t live = s->main && di_node(s->main->result, "live") != NULL;
    dk_strbuf_printf(s->out, "<div class=\"verdict%s\">\n", live ? " live" : "");
    if (s->main) of_one(s);
    else of_several(s);
    di_html(s, "</div>\n");
}
