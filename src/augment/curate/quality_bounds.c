#include <math.h>
#include <stdio.h>
#include <string.h>

#include "augment/curate/quality.h"
#include "base/strbuf.h"

static const struct {
    const char *name;
    double low, high;
} measures[DI_QUALITIES] = {
    {"letters", -INFINITY, INFINITY},      {"digits", -INFINITY, INFINITY},
    {"symbols", -INFINITY, INFINITY},      {"word_length", 3, 10},
    {"alphabetic_words", 0.8, INFINITY},   {"longest_run", -INFINITY, 100}, /* ours: rules of tables are shorter */
    {"marks_per_word", -INFINITY, 0.1},    {"bullet_lines", -INFINITY, 0.9},
    {"ellipsis_lines", -INFINITY, 0.3},    {"ended_lines", -INFINITY, INFINITY},
    {"duplicate_lines", -INFINITY, 0.3},   {"duplicate_line_chars", -INFINITY, 0.2},
    {"top_2gram", -INFINITY, 0.2},         {"top_3gram", -INFINITY, 0.18},
    {"top_4gram", -INFINITY, 0.16},        {"duplicate_5grams", -INFINITY, 0.15},
    {"duplicate_6grams", -INFINITY, 0.14}, {"duplicate_7grams", -INFINITY, 0.13},
    {"duplicate_8grams", -INFINITY, 0.12}, {"duplicate_9grams", -INFINITY, 0.11},
    {"duplicate_10grams", -INFINITY, 0.1},
};

const char *di_quality_name(di_quality_measure measure) { return measures[measure].name; }

void di_quality_defaults(di_quality_bounds *bounds)
{
    for (int i = 0; i < DI_QUALITIES; i++) {
        bounds->low[i] = measures[i].low;
        bounds->high[i] = measures[i].high;
    }
}

static int32_t find_name(const char *name, size_t size)
{
    for (int32_t i = 0; i < DI_QUALITIES; i++)
        if (strlen(measures[i].name) == size && memcmp(measures[i].name, name, size) == 0) return i;
    return -1;
}

static int32_t fail_name(const char *name, size_t size, dk_error *err)
{
    char known[320] = "";
    for (size_t i = 0, used = 0; i < DI_QUALITIES; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", measures[i].name);
    return dk_fail(err, DK_E_OPTION, "\"%.*s\" is no measure of quality; there are %s", (int)(size < 40 ? size : 40),
                   name, known);
}

int32_t di_quality_set(di_quality_bounds *bounds, const char *rule, dk_error *err)
{
    const size_t name = strcspn(rule, " <>="), size = strlen(rule);
    const int32_t measure = find_name(rule, name);
    const char *rest = rule + name + strspn(rule + name, " ");
    double bound;
    if (measure < 0) return fail_name(rule, name, err);
    if (strcmp(rest, "off") == 0) {
        bounds->low[measure] = -INFINITY;
        bounds->high[measure] = INFINITY;
        return DK_OK;
    }
    const char *number = strlen(rest) > 2 ? rest + 2 + strspn(rest + 2, " ") : rest;
    if ((strncmp(rest, "<=", 2) != 0 && strncmp(rest, ">=", 2) != 0) ||
        !dk_parse_f64(number, size - (size_t)(number - rule), &bound) || !isfinite(bound))
        return dk_fail(err, DK_E_OPTION, "\"%.60s\" is no bound: write \"%s <= NUMBER\", >= or off", rule,
                       measures[measure].name);
    (*rest == '<' ? bounds->high : bounds->low)[measure] = bound;
    return DK_OK;
}

di_quality_measure di_quality_fails(const di_quality_bounds *bounds, const double measured[DI_QUALITIES])
{
    int32_t i = 0;
    while (i < DI_QUALITIES &&
           (isnan(measured[i]) || (measured[i] >= bounds->low[i] && measured[i] <= bounds->high[i])))
        i++;
    return (di_quality_measure)i;
}
