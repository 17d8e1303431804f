/* html_say.c - words and numbers as a language has them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/page/sheet.h"

const char *di_say(const di_sheet *s, const char *english, const char *portuguese)
{
    return s->portuguese ? portuguese : english;
}

void di_fill(di_sheet *s, const char *english, const char *portuguese, const char *const *html)
{
    for (const char *at = di_say(s, english, portuguese); *at; at++) {
        if (at[0] == '{' && at[1] >= '0' && at[1] <= '9' && at[2] == '}') {
            dk_strbuf_puts(s->out, html[at[1] - '0']);
            at += 2;
        } else dk_strbuf_append(s->out, at, 1);
    }
}

/* Digits in groups of three; the locale of the process has no part in it. */
static size_t grouped(const di_sheet *s, unsigned long long whole, char *out)
{
    char digits[32];
    size_t used = 0;
    const int size = snprintf(digits, sizeof digits, "%llu", whole);
    for (int i = 0; i < size; i++) {
        if (i && (size - i) % 3 == 0) out[used++] = s->portuguese ? '.' : ',';
        out[used++] = digits[i];
    }
    return used;
}

void di_number_text(const di_sheet *s, double value, int32_t decimals, char out[DI_FIGURE])
{
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    const double power = powers[decimals < 0 ? 0 : decimals > 9 ? 9 : decimals], size = fabs(value);
    size_t used = 0;
    if (!isfinite(value) || size > 1e15) {
        if (isfinite(value)) (void)dk_format_f64(value, out);
        else snprintf(out, DI_FIGURE, "%s", di_say(s, "not a number", "n\xc3\xa3o \xc3\xa9 n\xc3\xbamero"));
        return;
    }
    double whole = floor(size), rest = floor((size - whole) * power + 0.5);
    if (rest >= power) {
        whole++;
        rest = 0;
    }
    if (value < 0 && (whole > 0 || rest > 0)) used += (size_t)snprintf(out, DI_FIGURE, "\xe2\x88\x92");
    used += grouped(s, (unsigned long long)whole, out + used);
    if (decimals > 0)
        used += (size_t)snprintf(out + used, DI_FIGURE - used, "%c%0*llu", s->portuguese ? ',' : '.', (int)decimals,
                                 (unsigned long long)rest);
    out[used] = 0;
}

void di_short_number(const di_sheet *s, double value, char out[DI_FIGURE])
{
    const double size = fabs(value);
    const int32_t decimals = size >= 100 || value == 0 ? 0
                             : size >= 10              ? 1
                             : size >= 1               ? 2
                             : size >= 0.1             ? 3
                             : size >= 0.01            ? 4
                             : size >= 0.001           ? 5
                                                       : 6;
    di_number_text(s, value, decimals, out);
}

/* 0.1484 +- 0.0046 has two digits of its reach, and as many places of its mean. */
void di_interval_text(const di_sheet *s, double mean, double half, char out[DI_FIGURE])
{
    char value[DI_FIGURE], reach[DI_FIGURE];
    const double power = half > 0 ? floor(log10(half)) : 0;
    const int32_t decimals = power >= 1 ? 0 : power < -7 ? 8 : 1 - (int32_t)power;
    di_number_text(s, mean, decimals, value);
    di_number_text(s, half, decimals, reach);
    snprintf(out, DI_FIGURE, "%.24s \xc2\xb1 %.19s", value, reach);
}

static void scaled(const di_sheet *s, double value, double step, const char *const *units, int32_t count, char *out)
{
    int32_t at = 0;
    char text[DI_FIGURE];
    while (at + 1 < count && fabs(value) >= 0.9995 * step) {
        value /= step;
        at++;
    }
    if (at == 0) di_number_text(s, value, 0, text);
    else di_short_number(s, value, text);
    snprintf(out, DI_FIGURE, "%.38s%s%.3s", text, *units[at] ? "\xc2\xa0" : "", units[at]);
}

void di_large_number(const di_sheet *s, double value, char out[DI_FIGURE])
{
    static const char *const english[] = {"", "k", "M", "B", "T"};
    static const char *const portuguese[] = {"", "mil", "mi", "bi", "tri"};
    scaled(s, value, 1000, s->portuguese ? portuguese : english, 5, out);
}

void di_bytes_text(const di_sheet *s, double value, char out[DI_FIGURE])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    scaled(s, value, 1000, units, 5, out);
}

void di_percent_text(const di_sheet *s, double share, char out[DI_FIGURE])
{
    char text[DI_FIGURE];
    di_number_text(s, 100 * share, 1, text);
    snprintf(out, DI_FIGURE, "%.40s\xc2\xa0%%", text);
}

void di_seconds_text(const di_sheet *s, double seconds, char out[DI_FIGURE])
{
    char text[DI_FIGURE];
    if (seconds < 90) {
        di_number_text(s, seconds, seconds < 10 ? 1 : 0, text);
        snprintf(out, DI_FIGURE, "%.40s\xc2\xa0s", text);
    } else if (seconds < 5400)
        snprintf(out, DI_FIGURE, "%d\xc2\xa0min %02d\xc2\xa0s", (int)(seconds / 60), (int)seconds % 60);
    else
        snprintf(out, DI_FIGURE, "%lld\xc2\xa0h %02d\xc2\xa0min", (long long)(seconds / 3600),
                 (int)(seconds / 60) % 60);
}
