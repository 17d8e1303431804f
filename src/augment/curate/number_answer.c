/* number_answer.c - the number at the end of a text. */
#include <math.h>
#include <string.h>

#include "augment/curate/answers.h"
#include "augment/curate/words.h"
#include "base/strbuf.h"
#include "text/codepoint.h"

enum { LONGEST = 64 };

static int32_t is_digit(char c) { return c >= '0' && c <= '9'; }

static size_t count_digits(const char *text, size_t size)
{
    size_t n = 0;
    while (n < size && is_digit(text[n])) n++;
    return n;
}

/* Digits with , and . between two of them, as they stand. */
static size_t number_length(const char *text, size_t size)
{
    size_t at = 0;
    while (at < size && (is_digit(text[at]) ||
                         (at && (text[at] == ',' || text[at] == '.') && at + 1 < size && is_digit(text[at + 1]))))
        at++;
    return at;
}

/* 1,234,567.89: after a comma three digits and no more. */
static int32_t read_number(const char *text, size_t size, double *out)
{
    char plain[LONGEST];
    size_t used = count_digits(text, size), at = used;
    if (!used || used >= LONGEST) return 0;
    memcpy(plain, text, used);
    if (at < size && text[at] == ',' && used > 3) return 0;
    while (at < size && text[at] == ',') {
        const size_t digits = count_digits(text + at + 1, size - at - 1);
        if (digits != 3 || used + 3 >= LONGEST) return 0;
        memcpy(plain + used, text + at + 1, 3);
        used += 3;
        at += 4;
    }
    if (at < size && (text[at] != '.' || count_digits(text + at + 1, size - at - 1) != size - at - 1)) return 0;
    if (used + size - at >= LONGEST) return 0;
    memcpy(plain + used, text + at, size - at);
    return dk_parse_f64(plain, used + size - at, out);
}

/* A minus in front that is no hyphen and no subtraction: nothing, a space or a bracket stands before it. */
static int32_t is_negative(const char *text, size_t begin)
{
    size_t at = begin;
    if (at && text[at - 1] == '$') at--;
    if (at && text[at - 1] == '-') at--;
    else if (at >= 3 && memcmp(text + at - 3, "\xe2\x88\x92", 3) == 0) at -= 3;
    else return 0;
    if (at && text[at - 1] == '$') at--;
    return !at || strchr(" \t\r\n([{:=", text[at - 1]) != NULL;
}

static size_t find_last(const char *text, size_t size, const char *what)
{
    const size_t length = strlen(what);
    for (size_t at = size >= length ? size - length + 1 : 0; at-- > 0;)
        if (memcmp(text + at, what, length) == 0) return at;
    return SIZE_MAX;
}

static int32_t last_number(const char *text, size_t size, size_t *begin, size_t *length)
{
    size_t end = size;
    while (end && !is_digit(text[end - 1])) end--;
    *begin = end;
    while (*begin && (is_digit(text[*begin - 1]) || ((text[*begin - 1] == ',' || text[*begin - 1] == '.') &&
                                                     *begin > 1 && is_digit(text[*begin - 2]))))
        --*begin;
    *length = end - *begin;
    return *length > 0;
}

/* Behind the text there is nothing but its number, with a unit that is a sign, and spaces. */
static int32_t stands_alone(const char *text, size_t size, size_t begin, size_t length)
{
    for (size_t i = 0; i < size; i++) {
        if (i == begin) i += length;
        if (i < size && !strchr(" \t\r\n$%.+-*", text[i]) && (unsigned char)text[i] < 0x80) return 0;
    }
    return number_length(text + begin, size - begin) == length;
}

static int32_t whole_number(const char *text, size_t size, double *out)
{
    size_t begin, length;
    if (!last_number(text, size, &begin, &length) || !stands_alone(text, size, begin, length)) return 0;
    if (!read_number(text + begin, length, out)) return 0;
    if (is_negative(text, begin)) *out = -*out;
    return 1;
}

int32_t di_find_number(const char *text, size_t size, double *out)
{
    const size_t mark = find_last(text, size, "####"), box = find_last(text, size, "\\boxed{");
    size_t begin, length;
    if (mark != SIZE_MAX) {
        const char *answer = text + mark + 4, *end = memchr(answer, '\n', size - mark - 4);
        return whole_number(answer, end ? (size_t)(end - answer) : size - mark - 4, out);
    }
    if (box != SIZE_MAX) {
        const char *answer = text + box + 7, *end = memchr(answer, '}', size - box - 7);
        return end && whole_number(answer, (size_t)(end - answer), out);
    }
    if (!last_number(text, size, &begin, &length) || !read_number(text + begin, length, out)) return 0;
    if (is_negative(text, begin)) *out = -*out;
    return 1;
}

int32_t di_same_number(double a, double b, double tolerance) { return fabs(a - b) <= tolerance * fmax(1, fabs(b)); }

typedef struct answer_reader {
    const char *text;
    size_t size, at;
} answer_reader;

/* The next character in lower case, a run of spaces as one; 0 at the end, before which no space stands. */
static uint32_t next_of(answer_reader *reader)
{
    uint32_t c = 0;
    if (reader->at >= reader->size) return 0;
    c = di_fold_case(di_next_char(reader->text, reader->size, &reader->at));
    if (!dk_is_space(c)) return c;
    while (reader->at < reader->size) {
        size_t next = reader->at;
        if (!dk_is_space(di_next_char(reader->text, reader->size, &next))) return ' ';
        reader->at = next;
    }
    return 0;
}

static answer_reader read_answer(const char *text, size_t size)
{
    answer_reader reader = {text, size, 0};
    while (reader.size && strchr(" \t\r\n.", text[reader.size - 1])) reader.size--;
    while (reader.at < reader.size && strchr(" \t\r\n", text[reader.at])) reader.at++;
    return reader;
}

int32_t di_same_answer(const char *a, size_t a_size, const char *b, size_t b_size)
{
    answer_reader first = read_answer(a, a_size), second = read_answer(b, b_size);
    for (;;) {
        const uint32_t x = next_of(&first), y = next_of(&second);
        if (x != y) return 0;
        if (!x) return 1;
    }
}
