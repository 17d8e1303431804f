/* part_verdict.c - what came of it, in one sentence with its uncertainty, and what that sentence cannot say. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/page/verdict.h"

static const dk_node *blocks_of(const di_sheet_run *r) { return di_node(r->eval, "blocks"); }

/* ---- against the hard-label baseline ---- */

static void closed_text(const di_sheet *s, di_words *w, int32_t i, const di_sheet_run *r, const di_sheet_run *base)
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

static void say_difference(di_sheet *s, di_words *w, const di_interval *gain)
{
    char blocks[DI_FIGURE];
    di_number_text(s, (double)gain->blocks, 0, blocks);
    di_bold(w, 6, blocks);
    if (gain->mean - gain->half > 0)
        di_main_sentence(
            s,
            "Distilled, the student has perplexity {0} on held-out text where the same student on hard labels "
            "alone has {1}: {3} nats per token better (95&#160;%).",
            "Destilado, o aluno tem perplexidade {0} no texto reservado, e o mesmo aluno só com rótulos tem {1}: "
            "{3} nats por token melhor (95&#160;%).",
            w);
    else if (gain->mean + gain->half < 0)
        di_main_sentence(
            s,
            "On this text hard labels alone did better: the distilled student has perplexity {0}, the one on "
            "hard labels {1}, which is {3} nats per token (95&#160;%).",
            "Neste texto os rótulos sozinhos foram melhores: o aluno destilado tem perplexidade {0}, o de rótulos "
            "{1}, ou seja {3} nats por token (95&#160;%).",
            w);
    else
        di_main_sentence(
            s,
            "No difference from hard labels is certain: the distilled student has perplexity {0}, the one on "
            "hard labels {1}, which is {3} nats per token (95&#160;%, and so about nothing).",
            "Nenhuma diferença dos rótulos é certa: o aluno destilado tem perplexidade {0}, o de rótulos {1}, ou "
            "seja {3} nats por token (95&#160;%, portanto quase nada).",
            w);
}

static void note_difference(di_sheet *s, const di_words *w)
{
    if (*w->at[4])
        di_note(s,
                "That closes {4} of the way from hard labels to the teacher (perplexity {2}). The interval is paired, "
                "over {6} "
                "blocks of the same held-out text; another seed of the training moves both students, too.",
                "Isso fecha {4} do caminho dos rótulos até o professor (perplexidade {2}). O intervalo é pareado, "
                "sobre "
                "{6} "
                "blocos do mesmo texto reservado; outra semente do treino também move os dois alunos.",
                w);
    else
        di_note(s,
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
    di_words w = {{{0}}, {0}};
    double student, hard, teacher;
    if (!base || !di_value(r->student, "perplexity", &student) || !di_value(base->student, "perplexity", &hard))
        return 0;
    di_put_value(s, &w, 0, student);
    di_put_value(s, &w, 1, hard);
    w.at[2] = "?";
    if (di_value(r->teacher, "perplexity", &teacher)) di_put_value(s, &w, 2, teacher);
    if (di_paired_runs(base, "nats", r, "nats", &gain)) {
        di_put_interval(s, &w, 3, gain.mean, gain.half);
        closed_text(s, &w, 4, r, base);
        say_difference(s, &w, &gain);
        note_difference(s, &w);
        return 1;
    }
    di_main_sentence(
        s,
        "Distilled, the student has perplexity {0} on held-out text, on hard labels alone {1}; how certain that "
        "difference is cannot be told.",
        "Destilado, o aluno tem perplexidade {0} no texto reservado, só com rótulos {1}; não se pode dizer quão "
        "certa é essa diferença.",
        &w);
    di_note(s,
            "The two runs do not have the same blocks of held-out text in their result.json, so nothing can be paired.",
            "As duas execuções não têm os mesmos blocos de texto reservado em seu result.json: nada pode ser "
            "pareado.",
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
    di_words w = {{{0}}, {0}};
    double value, student = 0, teacher, agreement;
    char text[DI_FIGURE];
    if (!di_value(r->student, "forward_kl", &value)) return 0;
    if (di_paired(blocks_of(r), "forward_kl", NULL, NULL, &kl)) di_put_interval(s, &w, 0, kl.mean, kl.half);
    else di_put_value(s, &w, 0, value);
    w.at[1] = w.at[2] = w.at[3] = "?";
    if (di_value(r->student, "perplexity", &student)) di_put_value(s, &w, 1, student);
    if (di_value(r->student, "top1_agreement", &agreement)) {
        di_percent_text(s, agreement, text);
        di_bold(&w, 3, text);
    }
    if (di_value(r->teacher, "perplexity", &teacher)) {
        di_put_value(s, &w, 2, teacher);
        di_main_sentence(
            s,
            "The student is {0} nats per token from its teacher (KL, 95&#160;%): perplexity {1} where the teacher "
            "has {2}, and the same first choice for {3} of held-out tokens.",
            "O aluno está a {0} nats por token de seu professor (KL, 95&#160;%): perplexidade {1} onde o professor "
            "tem {2}, e a mesma primeira escolha em {3} dos tokens reservados.",
            &w);
    } else
        di_main_sentence(
            s,
            "The student is {0} nats per token from what its teacher says (KL over the teacher's ids and the "
            "rest), at perplexity {1} on held-out text.",
            "O aluno está a {0} nats por token do que o professor diz (KL sobre os ids do professor e o resto), com "
            "perplexidade {1} no texto reservado.",
            &w);
    di_note(s, alone_en, alone_pt, &w);
    return 1;
}

static int32_t by_text(di_sheet *s, const di_sheet_run *r)
{
    di_interval nats;
    di_words w = {{{0}}, {0}};
    double value;
    if (!di_value(r->student, "perplexity", &value)) return 0;
    di_put_value(s, &w, 0, value);
    w.at[1] = "";
    if (di_paired(blocks_of(r), "nats", NULL, NULL, &nats)) di_put_interval(s, &w, 1, nats.mean, nats.half);
    if (*w.at[1])
        di_main_sentence(s, "The student has perplexity {0} on held-out text: {1} nats per token (95&#160;%).",
                         "O aluno tem perplexidade {0} no texto reservado: {1} nats por token (95&#160;%).", &w);
    else
        di_main_sentence(s, "The student has perplexity {0} on held-out text.",
                         "O aluno tem perplexidade {0} no texto reservado.", &w);
    if (r->teacher)
        di_note(s, "Its teacher gave no distribution that a distance could be taken from.",
                "Seu professor não deu uma distribuição da qual se pudesse medir distância.", &w);
    else di_note(s, "There was no teacher.", "Não houve professor.", &w);
    return 1;
}

/* ---- under way ---- */

static int32_t under_way(di_sheet *s, const di_sheet_run *r)
{
    double step, steps;
    di_words w = {{{0}}, {0}};
    char text[DI_FIGURE];
    if (!di_value(r->result, "live/step", &step) || !di_value(r->result, "live/steps", &steps) || steps < 1) return 0;
    di_number_text(s, step, 0, text);
    di_bold(&w, 0, text);
    di_number_text(s, steps, 0, text);
    di_bold(&w, 1, text);
    di_main_sentence(s, "Training: step {0} of {1}. The verdict comes at the end.",
                     "Treinando: passo {0} de {1}. O veredito vem no fim.", &w);
    dk_strbuf_printf(s->out, "<div class=\"progress\"><i style=\"width:%d%%\"></i></div>\n",
                     (int)(100 * fmin(fmax(step / steps, 0), 1)));
    if (s->refresh)
        di_note(s, "This page reads itself again every few seconds.",
                "Esta página se recarrega a cada poucos segundos.", &w);
    return 1;
}

static void of_one(di_sheet *s)
{
    const di_sheet_run *r = s->main;
    const di_words none = {{{0}}, {0}};
    if (under_way(s, r) || with_baseline(s)) return;
    if (r->kind == DI_RUN_CLASSIFIER && di_verdict_classes(s, r)) return;
    if (di_verdict_pairs(s, r) || by_distance(s, r) || by_text(s, r)) return;
    if (di_node(r->student, "perplexity")) {
        di_main_sentence(s, "The student's perplexity on held-out text is not a number.",
                         "A perplexidade do aluno no texto reservado não é um número.", &none);
        return;
    }
    if (!r->result)
        di_main_sentence(s, "This run has no result: it is under way, or was stopped.",
                         "Esta execução não tem resultado: está em curso ou foi interrompida.", &none);
    else
        di_main_sentence(s, "How good the student is, nobody measured: the run had no held-out text.",
                         "Quão bom é o aluno ninguém mediu: a execução não tinha texto reservado.", &none);
    di_note(s, "Give data.eval or data.eval_fraction.", "Dê data.eval ou data.eval_fraction.", &none);
}

void di_part_verdict(di_sheet *s)
{
    const int32_t live = s->main && di_node(s->main->result, "live") != NULL;
    dk_strbuf_printf(s->out, "<div class=\"verdict%s\">\n", live ? " live" : "");
    if (s->main) of_one(s);
    else di_verdict_several(s);
    di_html(s, "</div>\n");
}
