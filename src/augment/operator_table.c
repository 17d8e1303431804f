/* operator_table.c - every operator: what it is called, which options it reads, what it needs. */
#include "augment/operator.h"

static const di_operator_row rows[] = {
    {"keep", "length", "min|max|unit|field", 0, &di_keep_length},
    {"drop", "regex", "pattern|invert|field", 0, &di_drop_regex},
};

int64_t di_operator_count(void) { return (int64_t)(sizeof rows / sizeof *rows); }

const di_operator_row *di_operator_at(int64_t index)
{
    return index >= 0 && index < di_operator_count() ? &rows[index] : NULL;
}
