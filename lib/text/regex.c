#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

enum {
    PATTERN_LIMIT = 1 << 16,
    MATCH_LIMIT = 10000000, /* PCRE2's own default; grows with the text, whose length a fair pattern may need */
    DEPTH_LIMIT = 100000,
    HEAP_LIMIT = 65536, /* KiB */
    JIT_STACK = 1 << 20
};

struct dk_regex {
    dk_host *host;
    pcre2_general_context *memory;
    pcre2_code *code;
    int32_t jit;
    char name[48]; /* beginning of the pattern, for messages */
};
struct dk_regex_state {
    dk_host *host;
    pcre2_general_context *memory;
    pcre2_match_context *context;
    pcre2_match_data *data;
    pcre2_jit_stack *stack;
};

static void *take(PCRE2_SIZE size, void *host) { return dk_alloc(host, size, 1); }

static void give(void *ptr, void *host) { dk_free(host, ptr); }

static int32_t compile(dk_regex *regex, const char *pattern, size_t size, dk_error *err)
{
    int code;
    PCRE2_SIZE at;
    PCRE2_UCHAR reason[128];
    pcre2_compile_context *context = pcre2_compile_context_create(regex->memory);
    if (!context) return dk_fail_nomem(err, 256);
    pcre2_set_max_pattern_length(context, PATTERN_LIMIT * 16);
    regex->code =
        pcre2_compile((PCRE2_SPTR)pattern, size, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &at, context);
    pcre2_compile_context_free(context);
    if (regex->code) {
        regex->jit = pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE) == 0;
        return DK_OK;
    }
    if (code == PCRE2_ERROR_HEAP_FAILED) return dk_fail_nomem(err, size);
    pcre2_get_error_message(code, reason, sizeof reason);
    return dk_fail(err, DK_E_FORMAT, "pattern '%s' is not a regular expression: %s", regex->name, (const char *)reason);
}

int32_t dk_regex_compile(dk_host *host, const char *pattern, size_t size, dk_regex **out, dk_error *err)
{
    int32_t rc;
    dk_regex *regex = NULL;
    dk_strbuf spelled;
    dk_strbuf_init(&spelled, host);
    if (!size || size > PATTERN_LIMIT) {
        rc = dk_fail(err, DK_E_FORMAT, "pattern of %zu bytes, must be 1 to %d", size, PATTERN_LIMIT);
        goto out;
    }
    DK_TRY(dk_new(host, 1, &regex, err));
    regex->host = host;
    size_t shown = size < sizeof regex->name - 1 ? size : sizeof regex->name - 1;
    while (shown < size && ((unsigned char)pattern[shown] & 0xc0) == 0x80) shown--;
    memcpy(regex->name, pattern, shown);
    regex->memory = pcre2_general_context_create(take, give, host);
    if (!regex->memory) {
        rc = dk_fail_nomem(err, 64);
        goto out;
    }
    DK_TRY(dk_pattern_translate(pattern, size, &spelled, err));
    DK_TRY(compile(regex, spelled.data, spelled.size, err));
    *out = regex;
    regex = NULL;
out:
    dk_regex_free(regex);
    dk_strbuf_free(&spelled);
    return rc;
}

void dk_regex_free(dk_regex *regex)
{
    if (!regex) return;
    pcre2_code_free(regex->code);
    pcre2_general_context_free(regex->memory);
    dk_free(regex->host, regex);
}

int32_t dk_regex_state_create(dk_host *host, dk_regex_state **out, dk_error *err)
{
    dk_regex_state *state;
    int32_t rc = dk_new(host, 1, &state, err);
    if (rc) return rc;
    state->host = host;
    state->memory = pcre2_general_context_create(take, give, host);
    if (state->memory) state->context = pcre2_match_context_create(state->memory);
    if (state->memory) state->data = pcre2_match_data_create(1, state->memory);
    if (!state->context || !state->data) {
        dk_regex_state_free(state);
        return dk_fail_nomem(err, 256);
    }
    state->stack = pcre2_jit_stack_create(32768, JIT_STACK, state->memory);
    if (state->stack) pcre2_jit_stack_assign(state->context, NULL, state->stack);
    pcre2_set_depth_limit(state->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(state->context, HEAP_LIMIT);
    *out = state;
    return DK_OK;
}

void dk_regex_state_free(dk_regex_state *state)
{
    if (!state) return;
    pcre2_jit_stack_free(state->stack);
    pcre2_match_data_free(state->data);
    pcre2_match_context_free(state->context);
    pcre2_general_context_free(state->memory);
    dk_free(state->host, state);
}

int32_t dk_regex_find(const dk_regex *regex, dk_regex_state *state, const char *text, size_t size, size_t at,
                      size_t *begin, size_t *end, dk_error *err)
{
    int rc = PCRE2_ERROR_JIT_STACKLIMIT;
    uint64_t limit = (uint64_t)MATCH_LIMIT + 8 * (uint64_t)size;
    PCRE2_UCHAR reason[128];
    pcre2_set_match_limit(state->context, limit > UINT32_MAX ? UINT32_MAX : (uint32_t)limit);
    if (regex->jit) rc = pcre2_jit_match(regex->code, (PCRE2_SPTR)text, size, at, 0, state->data, state->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(regex->code, (PCRE2_SPTR)text, size, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, state->data,
                         state->context);
    if (rc >= 0) {
        const PCRE2_SIZE *place = pcre2_get_ovector_pointer(state->data);
        *begin = place[0];
        *end = place[1];
        return DK_OK;
    }
    if (rc == PCRE2_ERROR_NOMATCH) return *begin = *end = SIZE_MAX, DK_OK;
    if (rc == PCRE2_ERROR_NOMEMORY) return dk_fail_nomem(err, size);
    pcre2_get_error_message(rc, reason, sizeof reason);
    return dk_fail(err, DK_E_FORMAT, "pattern '%s' gave up at byte %zu of a text of %zu: %s", regex->name, at, size,
                   (const char *)reason);
}
