/* verdict_words.c - numbers inside sentences of two languages. */
#include <stdio.h>

#include "report/page/verdict.h"

void di_bold(di_words *w, int32_t i, const char *text)
{
    snprintf(w->text[i], sizeof w->text[i], "<b>%s</b>", text);
    w->at[i] = w->text[i];
}

void di_put_value(const di_sheet *s, di_words *w, int32_t i, double value)
{
    char text[DI_FIGURE];
    di_short_number(s, value, text);
    di_bold(w, i, text);
}

void di_put_share(const di_sheet *s, di_words *w, int32_t i, double share)
{
    char text[DI_FIGURE];
    di_percent_text(s, share, text);
    di_bold(w, i, text);
}

void di_put_range(const di_sheet *s, di_words *w, int32_t i, double low, double high)
{
    char from[DI_FIGURE], to[DI_FIGURE], text[2 * DI_FIGURE];
    di_number_text(s, 100 * low, 1, from);
    di_percent_text(s, high, to);
    snprintf(text, sizeof text, "%.30s %s %.40s", from, di_say(s, "to", "a"), to);
    di_bold(w, i, text);
}

void di_put_interval(const di_sheet *s, di_words *w, int32_t i, double mean, double half)
{
    char text[DI_FIGURE];
    di_interval_text(s, mean, half, text);
    di_bold(w, i, text);
}

void di_main_sentence(di_sheet *s, const char *english, const char *portuguese, const di_words *w)
{
    di_html(s, "<p class=\"main\">");
    di_fill(s, english, portuguese, w->at);
    di_html(s, "</p>\n");
}

void di_note(di_sheet *s, const char *english, const char *portuguese, const di_words *w)
{
    di_html(s, "<p class=\"note\">");
    di_fill(s, english, portuguese, w->at);
    di_html(s, "</p>\n");
}
