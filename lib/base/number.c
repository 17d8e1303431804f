/* Numbers and text. The C library knows only the locale's decimal point; here it is always '.'. */
#include "base/strbuf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_SIZE = 512 };

static size_t count_digits(const char *text, size_t size)
{
    size_t n = 0;
    while (n < size && text[n] >= '0' && text[n] <= '9') n++;
    return n;
}

static int32_t same_word(const char *text, size_t size, const char *word)
{
    if (size != strlen(word)) return 0;
    for (size_t i = 0; i < size; i++)
        if ((text[i] | 0x20) != word[i]) return 0;
    return 1;
}

/* [digits][.digits][e[sign]digits] with a digit before the exponent; *point is the place of the '.', or size. */
static int32_t is_decimal(const char *text, size_t size, size_t *point)
{
    size_t at = count_digits(text, size), digits = at;
    *point = size;
    if (at < size && text[at] == '.') {
        *point = at++;
        size_t more = count_digits(text + at, size - at);
        digits += more;
        at += more;
    }
    if (!digits) return 0;
    if (at < size && (text[at] | 0x20) == 'e') {
        at++;
        if (at < size && (text[at] == '+' || text[at] == '-')) at++;
        size_t exponent = count_digits(text + at, size - at);
        if (!exponent) return 0;
        at += exponent;
    }
    return at == size;
}

static int32_t is_decimal_byte(char c) { return (c >= '0' && c <= '9') || c == '+' || c == '-' || c == 'e'; }

/* strtod on a copy in which '.' became what the locale writes between 0 and 5. */
static int32_t convert(const char *text, size_t size, size_t point, double *out)
{
    char copy[NUMBER_SIZE + 16], probe[16], *end;
    size_t used = point;
    memcpy(copy, text, point);
    if (point < size) {
        snprintf(probe, sizeof probe, "%.1f", 0.5);
        size_t length = strlen(probe) - 2;
        memcpy(copy + used, probe + 1, length);
        used += length;
        memcpy(copy + used, text + point + 1, size - point - 1);
        used += size - point - 1;
    }
    copy[used] = 0;
    double value = strtod(copy, &end);
    if (*end || isinf(value)) return 0;
    *out = value;
    return 1;
}

int32_t dk_parse_f64(const char *text, size_t size, double *out)
{
    double value = 0;
    size_t point, sign = size && (text[0] == '+' || text[0] == '-');
    const char *body = text + sign;
    if (size - sign == 0 || size > NUMBER_SIZE) return 0;
    if (same_word(body, size - sign, "inf") || same_word(body, size - sign, "infinity")) value = (double)INFINITY;
    else if (same_word(body, size - sign, "nan")) value = (double)NAN;
    else if (!is_decimal(body, size - sign, &point) || !convert(body, size - sign, point, &value)) return 0;
    *out = text[0] == '-' ? -value : value;
    return 1;
}

int32_t dk_parse_i64(const char *text, size_t size, int64_t *out)
{
    size_t sign = size && (text[0] == '+' || text[0] == '-');
    uint64_t limit = (uint64_t)INT64_MAX + (sign && text[0] == '-'), value = 0;
    if (size == sign || count_digits(text + sign, size - sign) != size - sign) return 0;
    for (size_t i = sign; i < size; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (value > (limit - digit) / 10) return 0;
        value = value * 10 + digit;
    }
    *out = sign && text[0] == '-' ? (int64_t)(0 - value) : (int64_t)value;
    return 1;
}

/* Whatever the locale put between the digits becomes one '.'. */
static size_t restore_point(char *text)
{
    size_t used = 0;
    for (size_t i = 0; text[i]; i++) {
        if (is_decimal_byte(text[i])) text[used++] = text[i];
        else if (used && text[used - 1] != '.') text[used++] = '.';
    }
    text[used] = 0;
    return used;
}

size_t dk_format_f64(double value, char out[32])
{
    if (!isfinite(value)) {
        const char *word = isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
        return strlen(strcpy(out, word));
    }
    for (int digits = 15;; digits++) {
        char text[48];
        double back = 0;
        snprintf(text, sizeof text, "%.*g", digits, value);
        size_t size = restore_point(text);
        if (digits < 17 && (!dk_parse_f64(text, size, &back) || back != value)) continue;
        memcpy(out, text, size + 1);
        return size;
    }
}
