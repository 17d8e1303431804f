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
    di_html(s, "<div class=\"scroll\"><table><thead><tr>");
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
                           di_say(s, "same first choice", "mesma 1ª escolha")};
    if (!list || list->type != DK_NODE_MAP || !list->size) return;
    head(s, names, 6);
    for (size_t i = 0; i < list->size; i++) {
        const dk_node *source = list->items[i];
        row(s, source);
        count_cell(s, source, "tokens");
        cell(s, source, "perplexity", 0);
        cell(s, source, "teacher_perplexity", 0);
        cell(s, source, "forward_kl", 0);
        cell(s, source, "top1_agreement", 1);
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

static int32_t some(const di_sheet_run *r, const char *path, const dk_node *map, size_t least)
{
    const dk_node *list = di_node(map, path);
    (void)r;
    return list && list->type == DK_NODE_MAP && list->size >= least;
}

void di_part_sources(di_sheet *s)
{
    const di_sheet_run *r = s->main;
    if (!r) return;
    if (!some(r, "sources", r->eval, 1) && !some(r, "teachers", r->eval, 1) && !some(r, "data/sources", r->result, 2))
        return;
    di_section(s, "By source and by teacher", "Por fonte e por professor");
    di_html(s, "<div class=\"grid\">\n");
    sources(s, r);
    trained(s, r);
    teachers(s, r);
    di_html(s, "</div>\n");
    di_section_end(s);
}
