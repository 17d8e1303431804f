/* operator_find.c - which operator an item of augment.steps is, and whether it reads all that stands there. */
#include "augment/operator.h"

#include <stdio.h>
#include <string.h>

#include "options/suggest.h"

static const char *const verbs[] = {"expand", "label", "keep", "drop", "score", "feedback", "vote"};
enum { VERBS = sizeof verbs / sizeof *verbs, NAMES = 512 };
static const char group[] = "augment.steps.";

/* "a|b|c" of the names that a verb has; "" = the verb has none yet. */
static void names_of(const char *verb, char out[NAMES])
{
    size_t used = 0;
    *out = 0;
    for (int64_t i = 0; i < di_operator_count(); i++) {
        const di_operator_row *row = di_operator_at(i);
        if (strcmp(row->verb, verb) != 0) continue;
        used += (size_t)snprintf(out + used, NAMES - used, "%s%s", used ? "|" : "", row->name);
    }
}

static int32_t fail_name(int64_t number, const char *verb, const char *name, dk_error *err)
{
    char names[NAMES], near[64];
    names_of(verb, names);
    const char *meant = di_choice_suggest(names, name, near, sizeof near);
    return dk_fail(err, DK_E_OPTION, "augment.steps.%lld.%s \"%.60s\" is not one of %s%s%s%s", (long long)number, verb,
                   name, *names ? names : "any: there are none", meant ? "; did you mean " : "", meant ? meant : "",
                   meant ? "?" : "");
}

static int32_t find_row(int64_t number, const char *verb, const char *name, const di_operator_row **out, dk_error *err)
{
    for (int64_t i = 0; i < di_operator_count(); i++) {
        const di_operator_row *row = di_operator_at(i);
        if (!strcmp(row->verb, verb) && !strcmp(row->name, name)) return *out = row, DK_OK;
    }
    return fail_name(number, verb, name, err);
}

/* Every key that is set is the verb or one that the operator reads. keys: "a|b". */
static int32_t check_keys(const di_options *item, int64_t number, const char *verb, const char *name, const char *keys,
                          dk_error *err)
{
    for (int64_t i = 0; i < di_option_count(); i++) {
        const di_option_info *option = di_option_at(i);
        char near[64];
        const char *key = option->name + sizeof group - 1;
        if (strncmp(option->name, group, sizeof group - 1) != 0) continue;
        key += strcspn(key, ".") + 1; /* behind N */
        if (!strcmp(key, verb) || !di_options_is_set(item, key) || di_option_has_choice(keys, key, strlen(key)))
            continue;
        const char *meant = di_choice_suggest(keys, key, near, sizeof near);
        return dk_fail(err, DK_E_OPTION, "augment.steps.%lld.%s is not read by %s %s, which reads %s%s%s%s",
                       (long long)number, key, verb, name, *keys ? keys : "no options", meant ? "; did you mean " : "",
                       meant ? meant : "", meant ? "?" : "");
    }
    return DK_OK;
}

int32_t di_operator_find(const di_options *item, int64_t number, const di_operator_row **row, const char **hosted,
                         dk_error *err)
{
    const char *verb = NULL, *name = di_options_text(item, "name");
    int32_t rc;
    *row = NULL;
    *hosted = NULL;
    for (int i = 0; i < VERBS; i++) {
        if (!di_options_is_set(item, verbs[i])) continue;
        if (verb)
            return dk_fail(err, DK_E_OPTION, "augment.steps.%lld has both %s and %s: a step is one of them",
                           (long long)number, verb, verbs[i]);
        verb = verbs[i];
    }
    if (!verb && !name)
        return dk_fail(err, DK_E_OPTION,
                       "augment.steps.%lld names no operator: give one of expand, label, keep, drop, score, feedback "
                       "and vote, or the name of a host's",
                       (long long)number);
    if (!verb) {
        *hosted = name;
        return check_keys(item, number, "name", name, "", err);
    }
    DK_TRY(find_row(number, verb, di_options_text(item, verb), row, err));
    rc = check_keys(item, number, verb, (*row)->name, (*row)->options, err);
out:
    return rc;
}
