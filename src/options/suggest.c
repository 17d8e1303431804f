#include "options/suggest.h"

#include <string.h>

enum { WORD_MAX = 48 };

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Edit distance with swaps of neighbours (Damerau, Levenshtein; restricted form). Longer words are far from all. */
static size_t distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t rows[3][WORD_MAX + 1], *before = rows[0], *last = rows[1], *row = rows[2];
    if (a_size > WORD_MAX || b_size > WORD_MAX) return WORD_MAX;
    for (size_t j = 0; j <= b_size; j++) last[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            row[j] = least(least(last[j], row[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
        size_t *free_row = before;
        before = last, last = row, row = free_row;
    }
    return last[b_size];
}

static size_t tolerance(size_t size) { return size < 3 ? 0 : size < 6 ? 1 : size < 10 ? 2 : 3; }

/* A whole name, or the right key in the wrong group or without one. */
static size_t distance_to(const di_table *table, int64_t id, const char *text, size_t size)
{
    const char *dot = memchr(text, '.', size), *name = di_table_name(table, id), *key = di_table_key(table, id);
    const char *last = dot ? dot + 1 : text;
    const size_t key_size = size - (size_t)(last - text);
    const size_t whole = dot || !strchr(name, '.') ? distance(text, size, name, strlen(name)) : WORD_MAX;
    const size_t part = strchr(name, '.') ? distance(last, key_size, key, strlen(key)) + (dot != NULL) : WORD_MAX;
    return part <= tolerance(key_size) ? least(whole, part) : whole;
}

const char *di_option_suggest(const di_table *table, const char *text, size_t size)
{
    const char *best = NULL;
    size_t best_distance = 2 * tolerance(size) + 2;
    for (int64_t id = 0; id < table->row_count + table->group_count; id++) {
        const di_option_info *row = di_table_row(table, id);
        const size_t d = 2 * distance_to(table, id, text, size) + (row && row->flags & DI_OPTION_RARE ? 1 : 0);
        if (d < best_distance) best_distance = d, best = di_table_name(table, id);
    }
    return best;
}

const char *di_choice_suggest(const char *choices, const char *text, char *out, size_t cap)
{
    size_t size = strlen(text), best_distance = tolerance(size) + 1;
    *out = 0;
    for (const char *at = choices; *at;) {
        const size_t length = strcspn(at, "|"), d = distance(text, size, at, length);
        if (d < best_distance && length < cap) {
            best_distance = d;
            memcpy(out, at, length);
            out[length] = 0;
        }
        at += length + (at[length] == '|');
    }
    return *out ? out : NULL;
}
