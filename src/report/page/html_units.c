/* html_units.c - rates, times, energy and money as they are read. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/page/sheet.h"

void di_rate_text(const di_sheet *s, double value, char out[DI_FIGURE])
{
    char text[DI_FIGURE];
    if (value >= 1e5) di_large_number(s, value, text);
    else di_number_text(s, value, value < 100 ? 1 : 0, text);
    snprintf(out, DI_FIGURE, "%.36s\xc2\xa0/s", text);
}

void di_milliseconds_text(const di_sheet *s, double seconds, char out[DI_FIGURE])
{
    char text[DI_FIGURE];
    di_short_number(s, 1e3 * seconds, text);
    snprintf(out, DI_FIGURE, "%.40s\xc2\xa0ms", text);
}

void di_euros_text(const di_sheet *s, double value, char out[DI_FIGURE])
{
    char text[DI_FIGURE];
    const int32_t decimals = value > 0 && value < 0.1 ? 1 - (int32_t)floor(log10(value)) : 2;
    di_number_text(s, value, decimals, text);
    snprintf(out, DI_FIGURE,
             "%.40s\xc2\xa0"
             "EUR",
             text);
}

void di_dollars_text(const di_sheet *s, double value, char out[DI_FIGURE])
{
    char text[DI_FIGURE];
    di_euros_text(s, value, text);
    snprintf(out, DI_FIGURE, "%.*sUSD", (int)(strlen(text) - 3), text);
}

void di_cpu_text(const di_sheet *s, double value, char out[DI_FIGURE])
{
    char text[DI_FIGURE];
    di_short_number(s, value, text);
    snprintf(out, DI_FIGURE, "%.40s\xc2\xa0s", text);
}

void di_joules_text(const di_sheet *s, double value, char out[DI_FIGURE])
{
    static const char *const units[] = {"J", "kJ", "MJ"};
    char text[DI_FIGURE];
    int32_t at = 0;
    for (; at < 2 && value >= 1000; at++) value /= 1000;
    di_short_number(s, value, text);
    snprintf(out, DI_FIGURE, "%.40s\xc2\xa0%s", text, units[at]);
}

void di_times_text(const di_sheet *s, double value, char out[DI_FIGURE])
{
    char text[DI_FIGURE];
    di_short_number(s, value, text);
    snprintf(out, DI_FIGURE, "%.40s\xc2\xa0\xc3\x97", text);
}
