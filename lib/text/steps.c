#include "text/steps.h"

#include "text/codepoint.h"

#include <string.h>

enum {
    GROWTH_LIMIT = 64,
    GROWTH_FREE = 16384,
    LETTERS_LIMIT = 4 /* times that bytes become letters: each one may double the text */
};

void dk_steps_free(dk_host *host, dk_steps *steps)
{
    for (int32_t i = 0; i < steps->count; i++) {
        dk_regex_free(steps->items[i].matcher.regex);
        dk_free(host, steps->items[i].matcher.text);
        dk_free(host, steps->items[i].text);
        dk_charsmap_free(steps->items[i].charsmap);
        dk_spm_rules_free(steps->items[i].rules);
    }
    steps->count = 0;
}

dk_step *dk_steps_add(dk_steps *steps, dk_step_kind kind, dk_error *err)
{
    if (steps->count == DK_STEPS_MAX) {
        dk_fail(err, DK_E_UNSUPPORTED, "more than %d stages in one normalizer, pre-tokenizer or decoder", DK_STEPS_MAX);
        return NULL;
    }
    for (int32_t i = 0, letters = 0; kind == DK_STEP_BYTES && i < steps->count; i++) {
        letters += steps->items[i].kind == DK_STEP_BYTES;
        if (letters < LETTERS_LIMIT) continue;
        dk_fail(err, DK_E_UNSUPPORTED, "ByteLevel more than %d times", LETTERS_LIMIT);
        return NULL;
    }
    dk_step *step = &steps->items[steps->count++];
    memset(step, 0, sizeof *step);
    step->kind = kind;
    return step;
}

int32_t dk_check_growth(size_t size, size_t from, dk_error *err)
{
    if (size / GROWTH_LIMIT <= from + GROWTH_FREE) return DK_OK;
    return dk_fail(err, DK_E_FORMAT, "the tokenizer makes more than %d times its length of a text of %zu bytes",
                   GROWTH_LIMIT, from);
}

int32_t dk_step_set_text(dk_host *host, dk_step *step, const char *text, size_t size, dk_error *err)
{
    step->text = dk_strndup(host, text, size);
    step->size = size;
    return step->text ? DK_OK : dk_fail_nomem(err, size);
}

int32_t dk_matcher_set_text(dk_host *host, dk_matcher *matcher, const char *text, size_t size, dk_error *err)
{
    if (!size) return dk_fail(err, DK_E_FORMAT, "an empty pattern matches nothing");
    matcher->kind = DK_MATCH_TEXT;
    matcher->text = dk_strndup(host, text, size);
    matcher->size = size;
    return matcher->text ? DK_OK : dk_fail_nomem(err, size);
}

int32_t dk_steps_add_split(dk_host *host, dk_steps *steps, const char *regex, dk_split_behavior behavior,
                           int32_t invert, dk_error *err)
{
    dk_step *step = dk_steps_add(steps, DK_STEP_SPLIT, err);
    if (!step) return DK_E_UNSUPPORTED;
    step->behavior = behavior;
    step->matcher.kind = DK_MATCH_REGEX;
    step->matcher.invert = invert;
    step->matcher.size = strlen(regex); /* the pattern is kept for writing */
    if (!(step->matcher.text = dk_strdup(host, regex))) return dk_fail_nomem(err, step->matcher.size);
    return dk_regex_compile(host, regex, step->matcher.size, &step->matcher.regex, err);
}

static size_t find_text(const char *text, size_t size, size_t at, const char *what, size_t what_size)
{
    while (at < size && size - at >= what_size) {
        const char *hit = memchr(text + at, what[0], size - at - what_size + 1);
        if (!hit) break;
        at = (size_t)(hit - text);
        if (!memcmp(hit, what, what_size)) return at;
        at++;
    }
    return SIZE_MAX;
}

static size_t find_class(dk_match_kind kind, const char *text, size_t size, size_t at, size_t *end)
{
    while (at < size) {
        uint32_t c;
        size_t length = dk_codepoint(text + at, &c);
        int32_t hit = kind == DK_MATCH_SPACE    ? dk_is_space(c)
                      : kind == DK_MATCH_NUMBER ? dk_is_number(c)
                                                : dk_is_punctuation(c);
        if (hit) return *end = at + length, at;
        at += length;
    }
    return *end = SIZE_MAX;
}

int32_t dk_matcher_next(const dk_matcher *matcher, dk_regex_state *state, const char *text, size_t size, size_t *at,
                        size_t *last_end, size_t *begin, size_t *end, dk_error *err)
{
    *begin = *end = SIZE_MAX;
    while (*at <= size) {
        if (matcher->kind == DK_MATCH_TEXT) {
            *begin = find_text(text, size, *at, matcher->text, matcher->size);
            *end = *begin == SIZE_MAX ? SIZE_MAX : *begin + matcher->size;
        } else if (matcher->kind == DK_MATCH_REGEX) {
            int32_t rc = dk_regex_find(matcher->regex, state, text, size, *at, begin, end, err);
            if (rc) return rc;
        } else {
            *begin = find_class(matcher->kind, text, size, *at, end);
        }
        if (*begin == SIZE_MAX || *begin != *end || *end != *last_end) break;
        *at += *at < size ? dk_codepoint_size(text + *at) : 1;
        *begin = *end = SIZE_MAX;
    }
    if (*begin != SIZE_MAX) *at = *last_end = *end;
    return DK_OK;
}
