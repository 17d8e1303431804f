#include "text/codepoint.h"
#include "text/steps.h"

#include <string.h>

static int32_t replace_run(const dk_matcher *matcher, dk_regex_state *state, const char *with, size_t with_size,
                           const char *text, size_t size, dk_strbuf *out, dk_error *err)
{
    size_t at = 0, last_end = SIZE_MAX, done = 0, before = out->size;
    for (;;) {
        size_t begin, end;
        int32_t rc = dk_matcher_next(matcher, state, text, size, &at, &last_end, &begin, &end, err);
        if (!rc) rc = dk_check_growth(out->size - before, size, err);
        if (rc) return rc;
        if (begin == SIZE_MAX) break;
        dk_strbuf_append(out, text + done, begin - done);
        dk_strbuf_append(out, with, with_size);
        done = end;
    }
    dk_strbuf_append(out, text + done, size - done);
    return DK_OK;
}

void dk_replace_byte(char byte, const char *with, size_t with_size, const char *text, size_t size, dk_strbuf *out)
{
    enum { STEP = 16 }; /* words are shorter: they are copied with what stands behind them */
    char block[512 + STEP + DK_SHORT_TEXT], padded[DK_SHORT_TEXT] = {0};
    size_t used = 0;
    memcpy(padded, with, with_size);
    for (size_t at = 0; at < size;) {
        const char *hit = size - at >= STEP ? memchr(text + at, byte, STEP) : memchr(text + at, byte, size - at);
        size_t run = hit ? (size_t)(hit - (text + at)) : size - at < STEP ? size - at : STEP;
        memcpy(block + used, text + at, size - at >= STEP ? STEP : run);
        memcpy(block + used + run, padded, DK_SHORT_TEXT);
        used += run + (hit ? with_size : 0);
        at += run + (hit ? 1 : 0);
        if (used < 512) continue;
        dk_strbuf_append(out, block, used);
        used = 0;
    }
    if (used) dk_strbuf_append(out, block, used);
}

int32_t dk_replace_all(const dk_matcher *matcher, dk_regex_state *state, const char *with, size_t with_size,
                       const char *text, size_t size, dk_strbuf *out, dk_error *err)
{
    if (matcher->kind == DK_MATCH_TEXT && matcher->size == 1 && with_size <= DK_SHORT_TEXT) /* a space and its mark */
        return dk_replace_byte(matcher->text[0], with, with_size, text, size, out), DK_OK;
    while (size) { /* escaped bytes are no text for a pattern */
        size_t run = dk_unescaped_prefix(text, size);
        int32_t rc = run ? replace_run(matcher, state, with, with_size, text, run, out, err) : DK_OK;
        if (rc) return rc;
        size_t skip = run < size ? 3 : 0;
        dk_strbuf_append(out, text + run, skip);
        text += run + skip;
        size -= run + skip;
    }
    return DK_OK;
}

static void lowercase(const char *text, size_t size, dk_strbuf *out)
{
    for (size_t at = 0; at < size;) {
        uint32_t c;
        char bytes[4];
        at += dk_codepoint(text + at, &c);
        if (c == 0x130) dk_strbuf_puts(out, "i\xcc\x87"); /* the one letter whose lower case is two characters */
        else dk_strbuf_append(out, bytes, dk_codepoint_write(dk_lowercase(c), bytes));
    }
}

static void strip(const dk_step *step, const char **text, size_t *size)
{
    uint32_t c;
    while (step->left && *size) {
        size_t length = dk_codepoint(*text, &c);
        if (!dk_is_space(c)) break;
        *text += length;
        *size -= length;
    }
    while (step->right && *size) {
        size_t at = dk_codepoint_before(*text, *size);
        dk_codepoint(*text + at, &c);
        if (!dk_is_space(c)) break;
        *size = at;
    }
}

static void letters(const char *text, size_t size, dk_strbuf *out)
{
    while (size) {
        size_t run = dk_unescaped_prefix(text, size), skip = run < size ? 3 : 0;
        dk_append_letters(out, text, run);
        dk_strbuf_append(out, text + run, skip);
        text += run + skip;
        size -= run + skip;
    }
}

static int32_t apply(const dk_step *step, dk_regex_state *state, int32_t goes_on, const char *text, size_t size,
                     dk_strbuf *out, dk_error *err)
{
    switch (step->kind) {
    case DK_STEP_LOWERCASE:
        lowercase(text, size, out);
        break;
    case DK_STEP_BYTES:
        letters(text, size, out);
        break;
    case DK_STEP_SENTENCEPIECE:
        dk_spm_apply(step->rules, goes_on, text, size, out);
        break;
    case DK_STEP_CHARSMAP:
        dk_charsmap_apply(step->charsmap, text, size, out);
        break;
    case DK_STEP_STRIP_ACCENTS:
    case DK_STEP_NMT:
    case DK_STEP_CLEAN:
    case DK_STEP_SPACE_IDEOGRAPHS:
    case DK_STEP_STRIP_NONSPACING:
        dk_clean(step->kind, text, size, out);
        break;
    case DK_STEP_REPLACE:
        return dk_replace_all(&step->matcher, state, step->text, step->size, text, size, out, err);
    case DK_STEP_PREPEND:
        dk_strbuf_append(out, step->text, step->size);
        dk_strbuf_append(out, text, size);
        break;
    default:
        return dk_normal_form(step->kind, text, size, out, err);
    }
    return DK_OK;
}

static int32_t changes(const dk_step *step, const char *text, size_t size)
{
    if (step->kind > DK_STEP_NFKD) return 1;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] >= (step->kind == DK_STEP_NFC ? 0xcc : 0x80)) return 1; /* U+0300 begins with CC */
    return 0;
}

/* One step over text, and what becomes of its first bytes alone. */
static int32_t run_step(const dk_step *step, dk_regex_state *state, int32_t goes_on, dk_normal_text *text,
                        dk_strbuf *buffer, dk_error *err)
{
    int32_t rc = DK_OK;
    dk_strbuf_clear(buffer);
    if (text->front) rc = apply(step, state, goes_on, text->text, text->front, buffer, err);
    if (rc) return rc;
    text->front = buffer->size;
    dk_strbuf_clear(buffer);
    rc = apply(step, state, goes_on, text->text, text->size, buffer, err);
    if (!rc) rc = dk_strbuf_check(buffer, err);
    text->text = buffer->size ? buffer->data : "";
    text->size = buffer->size;
    if (text->front > text->size) text->front = text->size;
    return rc;
}

int32_t dk_normalise(const dk_steps *steps, dk_regex_state *state, dk_strbuf buffers[2], int32_t goes_on,
                     const char *text, size_t size, dk_normal_text *out, dk_error *err)
{
    *out = (dk_normal_text){text, size, size ? dk_codepoint_size(text) : 0};
    for (int32_t i = 0, current = 0; i < steps->count && out->size; i++) {
        const dk_step *step = &steps->items[i];
        if (step->kind == DK_STEP_STRIP) {
            const char *from = out->text;
            strip(step, &out->text, &out->size);
            const size_t dropped = (size_t)(out->text - from);
            out->front = out->front > dropped ? out->front - dropped : 0;
        } else if (step->kind == DK_STEP_PREPEND && goes_on) {
            continue;
        } else if (changes(step, out->text, out->size)) {
            int32_t rc = run_step(step, state, goes_on, out, &buffers[current], err);
            if (!rc) rc = dk_check_growth(out->size, size, err);
            if (rc) return rc;
            current = !current;
        }
    }
    return DK_OK;
}
