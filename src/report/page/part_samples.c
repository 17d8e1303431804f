/* part_samples.c - the same beginnings, continued by both. */
#include "report/page/sheet.h"

static int32_t is_blank(const dk_node *text)
{
    size_t i = 0;
    while (i < text->size && (text->text[i] == ' ' || text->text[i] == '\n' || text->text[i] == '\t')) i++;
    return i == text->size;
}

static void told(di_sheet *s, const dk_node *text, const char *class, const char *who)
{
    if (!text || text->type != DK_NODE_TEXT) return;
    dk_strbuf_printf(s->out, "<p class=\"%s\"><span class=\"who%s\">%s</span><span class=\"data\">", class,
                     *class ? "" : " truth", who);
    if (is_blank(text))
        dk_strbuf_printf(s->out, "</span><span class=\"missing\">%s</span><span>",
                         text->size ? di_say(s, "white space alone", "só espaços")
                                    : di_say(s, "nothing: it ends at once", "nada: termina logo"));
    else di_html_text(s->out, text->text, text->size);
    di_html(s, "</span></p>\n");
}

/* What the baseline made of the same beginning; NULL = it was not asked. */
static const dk_node *of_baseline(const di_sheet *s, const dk_node *sample, size_t number)
{
    const dk_node *list = s->baseline ? di_node(s->baseline->result, "samples") : NULL;
    const dk_node *other = list && list->type == DK_NODE_LIST ? dk_node_at(list, number) : NULL;
    const dk_node *a = di_node(sample, "prompt"), *b = di_node(other, "prompt");
    return a && b && dk_node_is_text(a, di_text(other, "prompt")) ? di_node(other, "student") : NULL;
}

static void one(di_sheet *s, const dk_node *sample, size_t number)
{
    di_html(s, "<div class=\"box sample\">");
    told(s, di_node(sample, "prompt"), "", di_say(s, "held-out text begins", "o texto reservado começa"));
    told(s, di_node(sample, "teacher"), "ct", di_say(s, "teacher", "professor"));
    told(s, di_node(sample, "student"), "c0", di_say(s, "student", "aluno"));
    told(s, of_baseline(s, sample, number), "cb", di_say(s, "on hard labels", "só com rótulos"));
    told(s, di_node(sample, "text"), "", di_say(s, "the text itself goes on", "o próprio texto continua"));
    di_html(s, "</div>\n");
}

void di_part_samples(di_sheet *s)
{
    const dk_node *list = s->main ? di_node(s->main->result, "samples") : NULL;
    if (!s->main || s->main->kind != DI_RUN_MODEL || di_node(s->main->result, "live")) return;
    di_section(s, "Samples", "Amostras");
    if (!list || list->type != DK_NODE_LIST || !list->size)
        di_missing(s, "No samples were written: no held-out text, no tokenizer, or output.samples: 0.",
                   "Nenhuma amostra foi escrita: sem texto reservado, sem tokenizador, ou output.samples: 0.");
    else {
        dk_strbuf_printf(s->out, "<p class=\"about\">%s</p><div class=\"grid\">\n",
                         di_say(s, "Always the likeliest token, the same beginning for both.",
                                "Sempre o token mais provável, o mesmo começo para ambos."));
        for (size_t i = 0; i < list->size && i < 100; i++) one(s, dk_node_at(list, i), i);
        di_html(s, "</div>\n");
    }
    di_section_end(s);
}
