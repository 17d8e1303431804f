/* svg_bars.c - bars beside their names, values with their intervals, and two distributions as mirrored bars. */
#include <math.h>
#include <string.h>

#include "report/page/sheet.h"

enum { WIDTH = 430, ROW = 30, NAME = 118, VALUE = 96, INTERVAL = 128, LETTERS = 12, MIRROR_ROW = 19, MIDDLE = 120 };

static void rect(di_sheet *s, const char *class, double x, double y, double width, double height)
{
    const double at[] = {x, y, width, height};
    static const char *const names[] = {"x", "y", "width", "height"};
    dk_strbuf_printf(s->out, "<rect class=\"%s\"", class);
    for (int i = 0; i < 4; i++) {
        dk_strbuf_printf(s->out, " %s=\"", names[i]);
        di_svg_number(s->out, at[i]);
        di_html(s, "\"");
    }
    di_html(s, "/>");
}

static void begin_text(di_sheet *s, const char *class, double x, double y)
{
    dk_strbuf_printf(s->out, "<text class=\"%s\" x=\"", class);
    di_svg_number(s->out, x);
    di_html(s, "\" y=\"");
    di_svg_number(s->out, y);
    di_html(s, "\">");
}

static void begin_figure(di_sheet *s, const char *title, const char *about, double height)
{
    dk_strbuf_printf(s->out,
                     "<figure><figcaption><b>%s</b> %s</figcaption><svg viewBox=\"0 0 %d %d\" role=\"img\" "
                     "aria-label=\"%s\">",
                     title, about, WIDTH, (int)height, title);
}

static void end_figure(di_sheet *s) { di_html(s, "</svg></figure>\n"); }

static void name_row(di_sheet *s, const char *label, double middle)
{
    begin_text(s, "label end", NAME - 8, middle + 4);
    di_html_cut(s->out, label, strlen(label), LETTERS);
    di_html(s, "</text>");
}

void di_bars_draw(di_sheet *s, const char *title, const char *about, const di_bar *bars, int64_t count)
{
    double most = 0;
    for (int64_t i = 0; i < count; i++) most = fmax(most, bars[i].value);
    begin_figure(s, title, about, (double)count * ROW + 6);
    for (int64_t i = 0; i < count; i++) {
        const double y = (double)i * ROW + 4;
        const double width = most > 0 ? fmax(bars[i].value / most * (WIDTH - NAME - VALUE), 1.5) : 0;
        dk_strbuf_printf(s->out, "<g class=\"%s\">", bars[i].colour);
        if (!bars[i].below) name_row(s, bars[i].label, y + ROW / 2.0 - 3);
        rect(s, "bar", NAME, y, width, ROW - 8);
        begin_text(s, "figure", NAME + width + 8, y + ROW / 2.0 + 1);
        dk_strbuf_printf(s->out, "%s</text></g>", bars[i].text);
    }
    end_figure(s);
}

/* ---- values with intervals ---- */

static void scale_of(const di_mark *marks, int64_t count, double *low, double *high)
{
    *low = *high = 0;
    for (int64_t i = 0; i < count; i++) {
        const double half = marks[i].half > 0 ? marks[i].half : 0;
        *low = fmin(*low, marks[i].value - half);
        *high = fmax(*high, marks[i].value + half);
    }
    if (*high <= *low) *high = *low + 1;
}

void di_marks_draw(di_sheet *s, const char *title, const char *about, const di_mark *marks, int64_t count)
{
    double low, high, ticks[8];
    int32_t decimals;
    scale_of(marks, count, &low, &high);
    const double base = (double)count * ROW + 6, room = WIDTH - NAME - INTERVAL, each = room / (high - low);
    const int64_t ticked = di_ticks(low, high, 4, ticks, &decimals);
    char text[DI_FIGURE];
    begin_figure(s, title, about, base + 22);
    for (int64_t i = 0; i < ticked; i++) {
        const double x = NAME + (ticks[i] - low) * each;
        rect(s, "rule", x, 0, 1, base);
        begin_text(s, "tick mid", x, base + 15);
        di_number_text(s, ticks[i], decimals, text);
        dk_strbuf_printf(s->out, "%s</text>", text);
    }
    for (int64_t i = 0; i < count; i++) {
        const double middle = (double)i * ROW + ROW / 2.0 + 2, x = NAME + (marks[i].value - low) * each;
        const double reach = marks[i].half > 0 ? marks[i].half * each : 0;
        dk_strbuf_printf(s->out, "<g class=\"%s\">", marks[i].colour);
        name_row(s, marks[i].label, middle);
        if (reach > 0) rect(s, "reach", x - reach, middle - 5, 2 * reach, 10);
        rect(s, "bar", x - 2, middle - 9, 4, 18);
        if (reach > 0) di_interval_text(s, marks[i].value, marks[i].half, text);
        else di_short_number(s, marks[i].value, text);
        begin_text(s, "figure end", WIDTH, middle + 4); /* a column of its own: over no mark, and never cut */
        dk_strbuf_printf(s->out, "%s</text></g>", text);
    }
    end_figure(s);
}

/* ---- two distributions ---- */

static void side(di_sheet *s, const dk_node *token, int32_t teacher, double y)
{
    const double room = (WIDTH - MIDDLE) / 2.0 - 44, left = (WIDTH - MIDDLE) / 2.0, right = (WIDTH + MIDDLE) / 2.0;
    double p = 0;
    char text[DI_FIGURE];
    const int32_t known = di_value(token, teacher ? "teacher" : "student", &p);
    const double width = fmin(fmax(p, 0), 1) * room;
    dk_strbuf_printf(s->out, "<g class=\"%s\">", teacher ? "ct" : "c0");
    if (known) rect(s, "bar", teacher ? left - width : right, y + 3, width, MIRROR_ROW - 6);
    if (known) di_percent_text(s, p, text);
    begin_text(s, teacher ? "figure end" : "figure", teacher ? left - width - 5 : right + width + 5, y + 14);
    dk_strbuf_printf(s->out, "%s</text></g>", known ? text : "?");
}

void di_mirror_draw(di_sheet *s, const dk_node *tokens, int32_t label)
{
    const int64_t count = tokens && tokens->type == DK_NODE_LIST ? (int64_t)tokens->size : 0;
    const int64_t shown = count < 12 ? count : 12;
    dk_strbuf_printf(s->out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">", WIDTH,
                     (int)(MIRROR_ROW * shown) + 18,
                     di_say(s, "what both expected next", "o que ambos esperavam a seguir"));
    begin_text(s, "name end ct", (WIDTH - MIDDLE) / 2.0, 11);
    dk_strbuf_printf(s->out, "%s</text>", di_say(s, "teacher", "professor"));
    begin_text(s, "name c0", (WIDTH + MIDDLE) / 2.0, 11);
    dk_strbuf_printf(s->out, "%s</text>", di_say(s, "student", "aluno"));
    for (int64_t i = 0; i < shown; i++) {
        const dk_node *token = dk_node_at(tokens, (size_t)i), *text = di_node(token, "text"),
                      *id = di_node(token, "id");
        const double y = (double)(i * MIRROR_ROW) + 16;
        const int32_t right = id && id->type == DK_NODE_INT && id->i64 == label;
        side(s, token, 1, y);
        begin_text(s, right ? "token mid right" : "token mid", WIDTH / 2.0, y + 14);
        if (text && text->type == DK_NODE_TEXT) di_html_token(s->out, text->text, text->size, 13);
        di_html(s, "</text>");
        side(s, token, 0, y);
    }
    di_html(s, "</svg>");
}
