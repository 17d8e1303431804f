/* part_sources.c - each source of the held-out text, and each of several teachers. */
#include <stdio.h>
#include <string.h>

#include "report/page/sheet.h"

static void cell(di_sheet *s, const dk_node *map, const char *path, int32_t percent)
{
    double value;
    char text[DI_FIGURE] = "&#8212;";
    if (di_value(map, path, &value)) {
        if (percent) di_percent_text(s, value, text);
        else di_short_number(s, value, text);
    }
    dk_strbuf_printf(s->out, "<td>%s</td>", text);
}

static void count_cell(di_sheet *s, const dk_node *map, const char *path)
{
    double value;
    char text[DI_FIGURE] = "&#8212;";
    if (di_value(map, path, &value)) di_number_text(s, value, 0, text);
    dk_strbuf_printf(s->out, "<td>%s</td>", text);
}

static void head(di_sheet *s, const char *const *names, size_t count)
{
    di_html(s, "<div class=\"scroll panel\"><table><thead><tr>");
    for (size_t i = 0; i < count; i++) dk_strbuf_printf(s->out, "<th>%s</th>", names[i]);
    di_html(s, "</tr></thead><tbody>\n");
}

static void row(di_sheet *s, const dk_node *named)
{
    di_html(s, "<tr><th>");
    di_html_cut(s->out, named->key, named->key_size, 48);
    di_html(s, "</th>");
}

/* What was scored of each source, and what of it was learnt. */
static void sources(di_sheet *s, const di_sheet_run *r)
{
    const dk_node *list = di_node(r->eval, "sources");
    const char *names[] = {di_say(s, "Held-out source", "Fonte reservada"),
                           di_say(s, "tokens", "tokens"),
                           di_say(s, "perplexity", "perplexidade"),
                           di_say(s, "of the teacher", "do professor"),
                           di_say(s, "KL, nats", "KL, nats"),
                           di_say(s, "same first choice", "mesma 1ª escolha"),
                           di_say(s, "perplexity on hard labels", "perplexidade só com rótulos")};
    const dk_node *base = s->baseline ? di_node(s->baseline->eval, "sources") : NULL;
    if (!list || list->type != DK_NODE_MAP || !list->size) return;
    head(s, names, base ? 7 : 6);
    for (size_t i = 0; i < list->size; i++) {
        const dk_node *source = list->items[i];
        row(s, source);
        count_cell(s, source, "tokens");
        cell(s, source, "perplexity", 0);
        cell(s, source, "teacher_perplexity", 0);
        cell(s, source, "forward_kl", 0);
        cell(s, source, "top1_agreement", 1);
        if (base) cell(s, di_node(base, source->key), "perplexity", 0);
        di_html(s, "</tr>\n");
    }
    di_html(s, "</tbody></table></div>\n");
}

static void trained(di_sheet *s, const di_sheet_run *r)
{
    const dk_node *list = di_node(r->result, "data/sources");
    const char *names[] = {di_say(s, "Training source", "Fonte de treino"), di_say(s, "tokens", "tokens"),
                           di_say(s, "share", "parcela"), di_say(s, "passes", "passagens"),
                           di_say(s, "seen", "vistos")};
    if (!list || list->type != DK_NODE_MAP || list->size < 2) return;
    head(s, names, 5);
    for (size_t i = 0; i < list->size; i++) {
        const dk_node *source = list->items[i];
        row(s, source);
        count_cell(s, source, "tokens");
        cell(s, source, "share", 1);
        cell(s, source, "passes", 0);
        count_cell(s, source, "seen_tokens");
        di_html(s, "</tr>\n");
    }
    di_html(s, "</tbody></table></div>\n");
}

static void teacher_row(di_sheet *s, const di_sheet_run *r, const dk_node *teacher)
{
    const dk_node *members = di_node(r->training, "members");
    const dk_node *part = members && members->type == DK_NODE_MAP ? dk_node_get(members, teacher->key) : NULL;
    const char *problem = di_text(teacher, "problem");
    row(s, teacher);
    count_cell(s, part, "tokens");
    cell(s, part, "weight", 1);
    if (*problem) {
        di_html(s, "<td colspan=\"4\">");
        di_html_cut(s->out, problem, strlen(problem), 200);
        di_html(s, "</td></tr>\n");
        return;
    }
    cell(s, teacher, "perplexity", 0);
    cell(s, teacher, "forward_kl", 0);
    cell(s, teacher, "top1_agreement", 1);
    cell(s, teacher, "disagreement", 0);
    di_html(s, "</tr>\n");
}

static void teachers(di_sheet *s, const di_sheet_run *r)
{
    const dk_node *list = di_node(r->eval, "teachers");
    const char *names[] = {di_say(s, "Teacher", "Professor"),
                           di_say(s, "tokens taught", "tokens ensinados"),
                           di_say(s, "weight", "peso"),
                           di_say(s, "perplexity", "perplexidade"),
                           di_say(s, "KL to the student", "KL ao aluno"),
                           di_say(s, "same first choice", "mesma 1ª escolha"),
                           di_say(s, "from the others", "dos outros")};
    if (!list || list->type != DK_NODE_MAP || !list->size) return;
    head(s, names, 7);
    for (size_t i = 0; i < list->size; i++) teacher_row(s, r, list->items[i]);
    di_html(s, "</tbody></table></div>\n");
}

/* ---- as bars ---- */

enum { MOST = 12 };

/* The distance of each; label and value of what has one. */
static void bars(di_sheet *s, const dk_node *list, const char *colour, const char *title, const char *about)
{
    di_bar drawn[MOST];
    char names[MOST][DI_LABEL];
    int64_t count = 0;
    double value;
    if (!list || list->type != DK_NODE_MAP) return;
    for (size_t i = 0; i < list->size && count < MOST; i++) {
        const dk_node *item = list->items[i];
        if (!di_value(item, "forward_kl", &value) || value < 0) continue;
        snprintf(names[count], DI_LABEL, "%.*s", (int)(item->key_size < DI_LABEL ? item->key_size : DI_LABEL - 1),
                 item->key);
        drawn[count] = (di_bar){.label = names[count], .colour = colour, .value = value};
        di_short_number(s, value, drawn[count].text);
        count++;
    }
    if (count > 1) di_bars_draw(s, title, about, drawn, count);
}

static int32_t has(const dk_node *map, const char *path, size_t least)
{
    const dk_node *list = di_node(map, path);
    return list && list->type == DK_NODE_MAP && list->size >= least;
}

void di_part_sources(di_sheet *s)
{
    const di_sheet_run *r = s->main;
    if (!r || r->kind != DI_RUN_MODEL) return;
    if (!has(r->eval, "sources", 1) && !has(r->eval, "teachers", 1) && !has(r->result, "data/sources", 2)) return;
    di_section(s, "By source and by teacher", "Por fonte e por professor");
    di_html(s, "<div class=\"grid bars\">\n");
    bars(s, di_node(r->eval, "sources"), "c0", di_say(s, "KL by source", "KL por fonte"),
         di_say(s, "From the teacher, on each held-out source, nats per token.",
                "Em relação ao professor, em cada fonte reservada, nats por token."));
    bars(s, di_node(r->eval, "teachers"), "ct", di_say(s, "KL by teacher", "KL por professor"),
         di_say(s, "KL(that teacher &#8741; student) on held-out text, nats per token.",
                "KL(esse professor &#8741; aluno) em texto reservado, nats por token."));
    di_html(s, "</div>\n");
    sources(s, r);
    trained(s, r);
    teachers(s, r);
    di_section_end(s);
}
