/* part_disagreements.c - the contexts in which student and teacher differ most, with what both expected. */
#include <string.h>

#include "report/page/sheet.h"

static void one(di_sheet *s, const dk_node *d, size_t number)
{
    const dk_node *context = di_node(d, "context"), *label = di_node(d, "label/text"),
                  *start = di_node(d, "from_start");
    const dk_node *id = di_node(d, "label/id");
    double kl = 0, p;
    char text[DI_FIGURE];
    (void)di_value(d, "forward_kl", &kl);
    di_number_text(s, kl, 2, text);
    dk_strbuf_printf(s->out, "<div class=\"box\"><h3>%d &#183; <b>%s</b> %s</h3><p class=\"data context\">",
                     (int)number + 1, text, "nats");
    if (!(start && start->type == DK_NODE_BOOL && start->i64)) di_html(s, "<span class=\"more\">&#8230;</span>");
    if (context && context->type == DK_NODE_TEXT) di_html_text(s->out, context->text, context->size);
    di_html(s, "<mark>");
    if (label && label->type == DK_NODE_TEXT) di_html_token(s->out, label->text, label->size, 40);
    di_html(s, "</mark></p>\n");
    di_mirror_draw(s, di_node(d, "tokens"), id && id->type == DK_NODE_INT ? (int32_t)id->i64 : -1);
    if (di_value(d, "label/student", &p)) {
        di_percent_text(s, p, text);
        dk_strbuf_printf(
            s->out, "<p class=\"foot\">%s %s",
            di_say(s, "The text goes on with the marked token: student", "O texto segue com o token marcado: aluno"),
            text);
        if (di_value(d, "label/teacher", &p)) {
            di_percent_text(s, p, text);
            dk_strbuf_printf(s->out, ", %s %s", di_say(s, "teacher", "professor"), text);
        }
        di_html(s, ".</p>");
    }
    di_html(s, "</div>\n");
}

void di_part_disagreements(di_sheet *s)
{
    const dk_node *list = s->main ? di_node(s->main->eval, "disagreements") : NULL;
    if (!s->main || s->main->kind != DI_RUN_MODEL || !s->main->teacher || di_node(s->main->result, "live")) return;
    di_section(s, "Where they disagree most", "Onde mais discordam");
    if (!list || list->type != DK_NODE_LIST || !list->size) {
        di_missing(s, "There is no teacher's distribution to disagree with, or nothing was evaluated.",
                   "Não há distribuição de um professor com que discordar, ou nada foi avaliado.");
    } else {
        dk_strbuf_printf(
            s->out, "<p class=\"about\">%s</p><div class=\"grid\">\n",
            di_say(s,
                   "The contexts of the held-out text with the largest KL, one of a window at most, and what both "
                   "expected next. The marked token is how the text goes on.",
                   "Os contextos do texto reservado com o maior KL, um por janela, e o que ambos esperavam a "
                   "seguir. O token marcado é como o texto continua."));
        for (size_t i = 0; i < list->size && i < 10; i++) one(s, dk_node_at(list, i), i);
        di_html(s, "</div>\n");
    }
    di_section_end(s);
}
