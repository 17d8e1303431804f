/* part_head.c - what was distilled from what, how far it is, and the numbers that people ask for first. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/page/sheet.h"

void di_section(di_sheet *s, const char *english, const char *portuguese)
{
    dk_strbuf_printf(s->out, "<section><h2>%s</h2>\n", di_say(s, english, portuguese));
}

void di_section_end(di_sheet *s) { di_html(s, "</section>\n"); }

void di_missing(di_sheet *s, const char *english, const char *portuguese)
{
    dk_strbuf_printf(s->out, "<p class=\"missing\">%s</p>\n", di_say(s, english, portuguese));
}

/* ---- names ---- */

/* The last part of a path says enough. */
static void put_name(di_sheet *s, const char *path, const char *otherwise)
{
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/') size--;
    size_t from = size;
    while (from > 0 && path[from - 1] != '/') from--;
    if (size > from) di_html_cut(s->out, path + from, size - from, 60);
    else di_html(s, otherwise);
}

static void teacher_name(di_sheet *s, const di_sheet_run *r)
{
    const char *path = di_text(r->teacher, "path"), *kind = di_text(r->teacher, "manifest/kind");
    const dk_node *members = di_node(r->teacher, "manifest/members");
    char count[DI_FIGURE];
    if (!*path && members && members->type == DK_NODE_LIST) {
        di_number_text(s, (double)members->size, 0, count);
        dk_strbuf_printf(s->out, "%s %s", count, di_say(s, "teachers", "professores"));
    } else if (!*path && !strcmp(kind, "callbacks"))
        di_html(s, di_say(s, "a host's teacher", "um professor do programa"));
    else put_name(s, path, di_say(s, "a teacher", "um professor"));
}

static void title(di_sheet *s)
{
    const di_sheet_run *r = s->main;
    char count[DI_FIGURE];
    if (!r) {
        di_number_text(s, (double)s->count, 0, count);
        dk_strbuf_printf(s->out, "<h1>%s %s</h1>\n", count, di_say(s, "runs, side by side", "execuções comparadas"));
        return;
    }
    di_html(s, "<h1>");
    if (r->teacher) {
        di_html(s, "<span class=\"ct\">");
        teacher_name(s, r);
        di_html(s, "</span> <span class=\"to\">&#8594;</span> ");
    }
    di_html(s, "<span class=\"c0\">");
    di_html_cut(s->out, r->label, strlen(r->label), 80);
    di_html(s, "</span></h1>\n");
}

static void lead_number(di_sheet *s, const dk_node *map, const char *path, const char *english, const char *portuguese)
{
    double value;
    char text[DI_FIGURE];
    if (!di_value(map, path, &value)) return;
    di_large_number(s, value, text);
    dk_strbuf_printf(s->out, " &#183; %s %s", text, di_say(s, english, portuguese));
}

static void lead(di_sheet *s)
{
    const di_sheet_run *r = s->main;
    char text[DI_FIGURE];
    double value;
    if (!r) return;
    di_html(s, "<p class=\"lead\">");
    const char *loss = di_text(r->training, "loss");
    if (*loss) di_html_cut(s->out, loss, strlen(loss), 160);
    else di_html(s, di_say(s, "a run", "uma execução"));
    lead_number(s, r->training, "steps", "steps", "passos");
    lead_number(s, r->training, "tokens", "tokens of training", "tokens de treino");
    if (di_value(r->training, "on_policy/windows", &value) && value > 0)
        lead_number(s, r->training, "on_policy/windows", "steps on its own text", "passos em texto próprio");
    lead_number(s, r->student, "parameters", "parameters", "parâmetros");
    if (di_value(r->training, "seconds", &value)) {
        di_seconds_text(s, value, text);
        dk_strbuf_printf(s->out, " &#183; %s", text);
    }
    di_html(s, "</p>\n");
}

/* ---- cards ---- */

static void card(di_sheet *s, const char *name, const char *value, const char *beside)
{
    dk_strbuf_printf(s->out, "<li><span class=\"of\">%s</span><strong>%s</strong><span class=\"of\">%s</span></li>",
                     name, value, beside);
}

static void beside_teacher(const di_sheet *s, const char *value, char *out, size_t cap)
{
    snprintf(out, cap, "%s %s", di_say(s, "teacher", "professor"), value);
}

static void perplexity_card(di_sheet *s, const di_sheet_run *r)
{
    double value, of_teacher;
    char text[DI_FIGURE], other[DI_FIGURE], beside[2 * DI_FIGURE] = "";
    if (!di_value(r->student, "perplexity", &value)) return;
    di_short_number(s, value, text);
    if (di_value(r->teacher, "perplexity", &of_teacher)) {
        di_short_number(s, of_teacher, other);
        beside_teacher(s, other, beside, sizeof beside);
    }
    card(s, di_say(s, "Perplexity", "Perplexidade"), text,
         *beside ? beside : di_say(s, "on held-out text", "em texto reservado"));
}

static void distance_card(di_sheet *s, const di_sheet_run *r)
{
    double value;
    char text[DI_FIGURE];
    if (di_value(r->student, "forward_kl", &value)) {
        di_short_number(s, value, text);
        card(s, di_say(s, "KL from the teacher", "KL em relação ao professor"), text,
             di_say(s, "nats per token", "nats por token"));
    } else if (di_value(r->student, "soft_cross_entropy", &value)) {
        di_short_number(s, value, text);
        card(s, di_say(s, "Soft cross-entropy", "Entropia cruzada suave"), text,
             di_say(s, "nats per token", "nats por token"));
    }
    if (!di_value(r->student, "top1_agreement", &value)) return;
    di_percent_text(s, value, text);
    card(s, di_say(s, "Same first choice", "Mesma primeira escolha"), text,
         di_say(s, "of held-out tokens", "dos tokens reservados"));
}

/* How many times as much; words say which way. */
static void ratio_card(di_sheet *s, const di_sheet_run *r, const char *key, int32_t smaller, const char *name)
{
    double student, teacher;
    char text[DI_FIGURE], times[DI_FIGURE + 8], other[DI_FIGURE], beside[2 * DI_FIGURE];
    if (!di_value(r->student, key, &student) || !di_value(r->teacher, key, &teacher)) return;
    if (student <= 0 || teacher <= 0) return;
    di_short_number(s, smaller ? teacher / student : student / teacher, text);
    snprintf(times, sizeof times, "%s&#215;", text);
    if (smaller) di_bytes_text(s, student, other);
    else di_large_number(s, student, other);
    snprintf(beside, sizeof beside, "%s%s", other, smaller ? "" : " tokens/s");
    card(s, name, times, beside);
}

static void acceptance_card(di_sheet *s, const di_sheet_run *r)
{
    double value;
    char text[DI_FIGURE];
    if (!di_value(r->student, "expected_acceptance", &value)) return;
    di_percent_text(s, value, text);
    card(s, di_say(s, "As a draft", "Como rascunho"), text, di_say(s, "of tokens accepted", "dos tokens aceitos"));
}

static void pair_cards(di_sheet *s, const di_sheet_run *r)
{
    double value;
    char text[DI_FIGURE];
    if (di_value(r->eval, "pairs/accuracy", &value)) {
        di_percent_text(s, value, text);
        card(s, di_say(s, "Pairs in order", "Pares em ordem"), text,
             di_say(s, "chosen side likelier", "escolhido mais provável"));
    }
    if (!di_value(r->eval, "pairs/reward_accuracy", &value)) return;
    di_percent_text(s, value, text);
    card(s, di_say(s, "Rewards in order", "Recompensas em ordem"), text,
         di_say(s, "chosen side higher", "escolhido maior"));
}

static void share_card(di_sheet *s, const dk_node *map, const char *key, const char *name, const char *beside)
{
    double value;
    char text[DI_FIGURE];
    if (!di_value(map, key, &value)) return;
    di_percent_text(s, value, text);
    card(s, name, text, beside);
}

static void class_cards(di_sheet *s, const di_sheet_run *r)
{
    const dk_node *classes = di_node(r->student, "classes");
    double value;
    char text[DI_FIGURE];
    share_card(s, r->eval, "agreement", di_say(s, "Same class", "Mesma classe"),
               di_say(s, "as its teacher", "que seu professor"));
    share_card(s, r->student, "promise/coverage", di_say(s, "Answers alone", "Responde sozinho"),
               di_say(s, "of held-out texts", "dos textos reservados"));
    if (di_value(r->eval, "forward_kl", &value)) {
        di_short_number(s, value, text);
        card(s, di_say(s, "KL from the teacher", "KL em relação ao professor"), text,
             di_say(s, "nats per text", "nats por texto"));
    }
    share_card(s, r->eval, "calibration_error", di_say(s, "Calibration error", "Erro de calibração"),
               di_say(s, "of its confidence", "de sua confiança"));
    if (classes && classes->type == DK_NODE_LIST) {
        di_number_text(s, (double)classes->size, 0, text);
        card(s, di_say(s, "Classes", "Classes"), text, "");
    }
    if (di_value(r->student, "bytes", &value)) {
        di_bytes_text(s, value, text);
        card(s, di_say(s, "On disk", "Em disco"), text, "");
    }
}

static void cards(di_sheet *s)
{
    const di_sheet_run *r = s->main;
    if (!r || r->kind == DI_RUN_NOTHING || !r->student) return;
    const size_t before = s->out->size;
    di_html(s, "<ul class=\"cards\">");
    const size_t empty = s->out->size;
    if (r->kind == DI_RUN_CLASSIFIER) class_cards(s, r);
    perplexity_card(s, r);
    if (r->kind == DI_RUN_MODEL) distance_card(s, r);
    pair_cards(s, r);
    acceptance_card(s, r);
    ratio_card(s, r, "bytes", 1, di_say(s, "Smaller on disk", "Menor em disco"));
    ratio_card(s, r, "decode_tokens_per_second", 0, di_say(s, "Faster at writing", "Mais rápido ao escrever"));
    if (s->out->size == empty) s->out->size = before;
    else di_html(s, "</ul>\n");
}

void di_part_head(di_sheet *s)
{
    const char *version = s->main ? di_text(s->main->result, "version") : "";
    di_html(s, "<header><p class=\"eyebrow\">libdistill ");
    di_html_cut(s->out, version, strlen(version), 20);
    dk_strbuf_printf(s->out, " &#183; %s</p>\n",
                     s->main ? di_say(s, "distillation report", "relatório de destilação")
                             : di_say(s, "comparison of runs", "comparação de execuções"));
    title(s);
    lead(s);
    di_part_verdict(s);
    cards(s);
    di_html(s, "</header>\n");
}
