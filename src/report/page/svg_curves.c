/* svg_curves.c - curves over steps or over categories: axes, lines with their names at the end, a point for each value
 * that tells itself when the mouse is over it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/page/sheet.h"

enum { WIDTH = 430, HEIGHT = 252, LEFT = 50, RIGHT = 112, TOP = 14, BOTTOM = 40, TICKS = 5, LINE = 14, NAME = 11 };

typedef struct plane { /* where values lie */
    const di_chart *chart;
    double x_low, x_high, y_low, y_high; /* y as its logarithm, where it is drawn so */
} plane;

di_curve *di_chart_curve(di_chart *chart, const char *label, const char *colour)
{
    if (chart->count == DI_CURVES) return NULL;
    di_curve *curve = &chart->curves[chart->count++];
    memset(curve, 0, sizeof *curve);
    snprintf(curve->label, sizeof curve->label, "%s", label);
    curve->colour = colour;
    return curve;
}

/* Where there are too many, two become their mean, and from then on as many more go into one. */
static void halve(di_curve *c)
{
    for (int64_t i = 0; i < c->count / 2; i++) {
        c->x[i] = (c->x[2 * i] + c->x[2 * i + 1]) / 2;
        c->y[i] = (c->y[2 * i] + c->y[2 * i + 1]) / 2;
    }
    c->count /= 2;
}

void di_curve_add(di_curve *c, double x, double y)
{
    if (!c || !isfinite(x) || !isfinite(y)) return;
    if (c->count == DI_POINTS) halve(c);
    c->x[c->count] = x;
    c->y[c->count++] = y;
    c->seen++;
}

/* ---- the plane ---- */

static double height_of(const plane *p, double y) { return p->chart->y_log ? log10(y) : y; }

static double px(const plane *p, double x)
{
    return LEFT + (x - p->x_low) / (p->x_high - p->x_low) * (WIDTH - LEFT - RIGHT);
}

static double py(const plane *p, double y)
{
    return HEIGHT - BOTTOM - (height_of(p, y) - p->y_low) / (p->y_high - p->y_low) * (HEIGHT - BOTTOM - TOP);
}

static int32_t drawable(const di_chart *chart, double y) { return !chart->y_log || y > 0; }

static void widen(plane *p)
{
    double space = 0.06 * (p->y_high - p->y_low);
    if (space <= 0) space = p->chart->y_log ? 0.05 : 0.05 * fabs(p->y_high) + 1e-6;
    p->y_high += space;
    if (!p->chart->y_zero) p->y_low -= space;
    if (p->x_high <= p->x_low) {
        p->x_low -= 1;
        p->x_high += 1;
    }
}

static int32_t span(const di_chart *chart, plane *p)
{
    int32_t some = 0;
    *p = (plane){chart, INFINITY, -INFINITY, INFINITY, -INFINITY};
    for (int64_t c = 0; c < chart->count; c++) {
        const di_curve *curve = &chart->curves[c];
        for (int64_t i = 0; i < curve->count; i++) {
            if (!drawable(chart, curve->y[i])) continue;
            some = 1;
            p->y_low = fmin(p->y_low, height_of(p, curve->y[i]));
            p->y_high = fmax(p->y_high, height_of(p, curve->y[i]));
            if (curve->level) continue;
            p->x_low = fmin(p->x_low, curve->x[i]);
            p->x_high = fmax(p->x_high, curve->x[i]);
        }
    }
    if (chart->names) {
        p->x_low = -0.5;
        p->x_high = (double)chart->categories - 0.5;
    }
    if (!isfinite(p->x_low)) return 0;
    if (chart->y_zero && !chart->y_log) p->y_low = fmin(p->y_low, 0);
    widen(p);
    return some;
}

/* ---- axes ---- */

static void line(di_sheet *s, const char *class, double x1, double y1, double x2, double y2)
{
    const double at[] = {x1, y1, x2, y2};
    static const char *const names[] = {"x1", "y1", "x2", "y2"};
    dk_strbuf_printf(s->out, "<line class=\"%s\"", class);
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

static void tick_text(di_sheet *s, double value, int32_t decimals)
{
    char text[DI_FIGURE];
    if (fabs(value) >= 1e5) di_large_number(s, value, text);
    else di_number_text(s, value, decimals, text);
    di_html(s, text);
    di_html(s, "</text>");
}

static void y_tick(di_sheet *s, const plane *p, double value, int32_t decimals)
{
    line(s, "grid", LEFT, py(p, value), WIDTH - RIGHT, py(p, value));
    begin_text(s, "tick end", LEFT - 7, py(p, value) + 4);
    tick_text(s, value, decimals);
}

/* Round numbers, three at least: fewer say nothing of the scale. */
static void round_ticks(di_sheet *s, const plane *p, double low, double high)
{
    enum { MOST = 2 * TICKS };
    double ticks[MOST + 2];
    int32_t decimals;
    int64_t count = 0;
    for (int64_t most = TICKS; count < 3 && most <= MOST; most += 2)
        count = di_ticks(low, high, most, ticks, &decimals);
    for (int64_t i = 0; i < count; i++)
        if (ticks[i] > 0 || !p->chart->y_log) y_tick(s, p, ticks[i], decimals);
}

/* 1, 2, 5, 10, ... where they fit; round numbers over less than a factor of five. */
static void log_ticks(di_sheet *s, const plane *p)
{
    static const double steps[] = {1, 2, 5};
    if (p->y_high - p->y_low < 0.7) {
        round_ticks(s, p, pow(10, p->y_low), pow(10, p->y_high));
        return;
    }
    const int32_t stride = p->y_high - p->y_low > 6 ? 2 : 1, each = p->y_high - p->y_low < 2.5 ? 3 : 1;
    for (int32_t power = (int32_t)floor(p->y_low); power <= (int32_t)ceil(p->y_high); power += stride)
        for (int32_t i = 0; i < each; i++) {
            const double value = steps[i] * pow(10, power), at = log10(value);
            if (at >= p->y_low && at <= p->y_high) y_tick(s, p, value, power < 0 ? -power : 0);
        }
}

static void y_axis(di_sheet *s, const plane *p)
{
    if (p->chart->y_log) log_ticks(s, p);
    else round_ticks(s, p, p->y_low, p->y_high);
}

/* Names of categories that would lie over each other. */
static int32_t crowded(const plane *p)
{
    size_t most = 0;
    for (int64_t i = 0; p->chart->names && i < p->chart->categories; i++) {
        const size_t width = di_html_width(p->chart->names[i], strlen(p->chart->names[i]));
        if (width > most) most = width;
    }
    return p->chart->names && 6.6 * (double)most + 4 > px(p, 1) - px(p, 0);
}

static void x_axis(di_sheet *s, const plane *p)
{
    double ticks[TICKS + 2];
    int32_t decimals;
    const double base = HEIGHT - BOTTOM;
    line(s, "axis", LEFT, base, WIDTH - RIGHT, base);
    if (!p->chart->names) {
        const int64_t count = di_ticks(p->x_low, p->x_high, TICKS, ticks, &decimals);
        for (int64_t i = 0; i < count; i++) {
            line(s, "axis", px(p, ticks[i]), base, px(p, ticks[i]), base + 4);
            begin_text(s, "tick mid", px(p, ticks[i]), base + 16);
            tick_text(s, ticks[i], decimals);
        }
    }
    const int64_t stride = crowded(p) ? 2 : 1;
    for (int64_t i = 0; p->chart->names && i < p->chart->categories; i += stride) {
        begin_text(s, "tick mid", px(p, (double)i), base + 16);
        dk_strbuf_printf(s->out, "%s</text>", p->chart->names[i]);
    }
    begin_text(s, "name mid", (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 6);
    dk_strbuf_printf(s->out, "%s</text>", p->chart->x_title);
}

/* How many tokens each category has, behind everything. */
static void shares(di_sheet *s, const plane *p)
{
    const double room = HEIGHT - BOTTOM - TOP, width = 0.62 * (px(p, 1) - px(p, 0));
    double most = 0;
    for (int64_t i = 0; p->chart->shares && i < p->chart->categories; i++) most = fmax(most, p->chart->shares[i]);
    for (int64_t i = 0; most > 0 && i < p->chart->categories; i++) {
        const double height = p->chart->shares[i] / most * room * 0.42;
        char text[DI_FIGURE];
        di_percent_text(s, p->chart->shares[i], text);
        di_html(s, "<rect class=\"share\" x=\"");
        di_svg_number(s->out, px(p, (double)i) - width / 2);
        di_html(s, "\" y=\"");
        di_svg_number(s->out, HEIGHT - BOTTOM - height);
        di_html(s, "\" width=\"");
        di_svg_number(s->out, width);
        di_html(s, "\" height=\"");
        di_svg_number(s->out, height);
        dk_strbuf_printf(s->out, "\"><title>%s: %s %s</title></rect>", p->chart->names[i], text,
                         di_say(s, "of the tokens", "dos tokens"));
    }
}

/* ---- lines ---- */

static void dot(di_sheet *s, const plane *p, const di_curve *c, int64_t i)
{
    char text[DI_FIGURE], at[DI_FIGURE];
    di_short_number(s, c->y[i], text);
    di_html(s, "<circle cx=\"");
    di_svg_number(s->out, px(p, c->x[i]));
    di_html(s, "\" cy=\"");
    di_svg_number(s->out, py(p, c->y[i]));
    dk_strbuf_printf(s->out, "\" r=\"%s\"><title>", c->dots ? "3" : "5");
    di_html_text(s->out, c->label, strlen(c->label));
    if (p->chart->names) dk_strbuf_printf(s->out, ", %s: %s</title></circle>", p->chart->names[(int64_t)c->x[i]], text);
    else {
        di_number_text(s, c->x[i], 0, at);
        dk_strbuf_printf(s->out, ", %s %s: %s</title></circle>", di_say(s, "step", "passo"), at, text);
    }
}

static void draw_curve(di_sheet *s, const plane *p, const di_curve *c)
{
    int32_t pen = 0;
    dk_strbuf_printf(s->out, "<g class=\"%s\"><path class=\"line%s\" d=\"", c->colour, c->level ? " level" : "");
    for (int64_t i = 0; i < c->count; i++) {
        if (!drawable(p->chart, c->y[i])) continue;
        dk_strbuf_puts(s->out, pen++ ? "L" : "M");
        di_svg_number(s->out, c->level ? LEFT : px(p, c->x[i]));
        dk_strbuf_puts(s->out, " ");
        di_svg_number(s->out, py(p, c->y[i]));
        if (c->level) {
            dk_strbuf_printf(s->out, "H%d", WIDTH - RIGHT);
            break;
        }
    }
    di_html(s, "\"/>");
    const int32_t dots = c->dots || c->count == 1;
    dk_strbuf_printf(s->out, "<g class=\"%s\">", dots ? "dots" : "ghosts"); /* seen, or under the mouse alone */
    for (int64_t i = 0; i < c->count && !c->level; i++)
        if (drawable(p->chart, c->y[i])) dot(s, p, c, i);
    di_html(s, "</g></g>");
}

typedef struct end_label {
    const di_curve *curve;
    double y, at; /* where its line ends, and where the name goes */
} end_label;

static int64_t end_labels(const plane *p, end_label *labels)
{
    int64_t count = 0;
    for (int64_t c = 0; c < p->chart->count; c++) {
        const di_curve *curve = &p->chart->curves[c];
        if (!curve->count || !*curve->label || !drawable(p->chart, curve->y[curve->count - 1])) continue;
        int64_t at = count++;
        const double y = py(p, curve->y[curve->count - 1]);
        for (; at > 0 && labels[at - 1].y > y; at--) labels[at] = labels[at - 1];
        labels[at] = (end_label){curve, y, y};
    }
    return count;
}

/* Names that would lie over each other are pushed apart, by as little as it takes. */
static void spread_labels(end_label *labels, int64_t count, double each)
{
    for (int32_t pass = 0; pass < 40; pass++)
        for (int64_t i = 0; i + 1 < count; i++) {
            const double over = each - (labels[i + 1].at - labels[i].at);
            if (over <= 0) continue;
            labels[i].at -= over / 2;
            labels[i + 1].at += over / 2;
        }
    for (int64_t i = 0; i < count; i++)
        if (labels[i].at < TOP + (double)i * each) labels[i].at = TOP + (double)i * each;
    for (int64_t i = count - 1; i >= 0; i--) {
        const double most = HEIGHT - BOTTOM + LINE - (double)(count - i) * each;
        if (labels[i].at > most) labels[i].at = most;
    }
}

static void draw_labels(di_sheet *s, const plane *p)
{
    end_label labels[DI_CURVES];
    const int64_t count = end_labels(p, labels);
    char text[DI_FIGURE];
    spread_labels(labels, count, p->chart->names ? LINE : 2 * LINE);
    for (int64_t i = 0; i < count; i++) {
        const di_curve *c = labels[i].curve;
        const double value = c->y[c->count - 1], from = c->level ? WIDTH - RIGHT : px(p, c->x[c->count - 1]);
        dk_strbuf_printf(s->out, "<g class=\"%s\">", c->colour);
        line(s, "leader", from + 4, labels[i].y, WIDTH - RIGHT + 9, labels[i].at);
        begin_text(s, "label", WIDTH - RIGHT + 12, labels[i].at + 4);
        di_html_cut(s->out, c->label, strlen(c->label), NAME);
        if (!p->chart->names) {
            di_short_number(s, value, text);
            dk_strbuf_printf(s->out, "<tspan class=\"figure\" x=\"%d\" dy=\"13\">%s</tspan>", WIDTH - RIGHT + 12, text);
        }
        di_html(s, "</text></g>");
    }
}

void di_chart_draw(di_sheet *s, const di_chart *chart)
{
    plane p;
    dk_strbuf_printf(s->out, "<figure><figcaption><b>%s</b> %s</figcaption>", chart->title, chart->about);
    if (!span(chart, &p)) {
        di_missing(s, "No value of it was recorded.", "Nenhum valor foi registrado.");
        di_html(s, "</figure>");
        return;
    }
    dk_strbuf_printf(s->out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">", WIDTH, HEIGHT, chart->title);
    shares(s, &p);
    y_axis(s, &p);
    x_axis(s, &p);
    for (int64_t c = chart->count - 1; c >= 0; c--) draw_curve(s, &p, &chart->curves[c]);
    draw_labels(s, &p);
    di_html(s, "</svg></figure>\n");
}
