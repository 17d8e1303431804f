#include "text/spm_rules.h"

#include "text/codepoint.h"

#include <string.h>

int32_t dk_spm_rules_create(dk_host *host, dk_spm_rules **out, dk_error *err)
{
    int32_t rc = dk_new(host, 1, out, err);
    if (!rc) (*out)->host = host;
    return rc;
}

void dk_spm_rules_free(dk_spm_rules *rules)
{
    if (!rules) return;
    dk_charsmap_free(rules->charsmap);
    dk_pieces_free(&rules->kept);
    dk_free(rules->host, rules);
}

static size_t find_kept(const dk_pieces *kept, const char *text, size_t size)
{
    size_t found = 0;
    int32_t node = 0;
    if (!kept->count) return 0;
    for (size_t i = 0; i < size && (node = dk_pieces_next(kept, node, (uint8_t)text[i])) >= 0; i++)
        if (kept->units[node].id >= 0) found = i + 1;
    return found;
}

/* What text begins with and what becomes of it; returns the bytes of text that are behind. */
static size_t next_part(const dk_spm_rules *rules, const char *text, size_t size, dk_slice *with)
{
    size_t length = find_kept(&rules->kept, text, size);
    if (!length && rules->charsmap)
        if ((length = dk_charsmap_find(rules->charsmap, DK_CHARSMAP_LONGEST, text, size, &with->data, &with->size)))
            return length;
    if (!length) length = dk_codepoint_size(text);
    *with = (dk_slice){text, length};
    return length;
}

static void append_marked(dk_strbuf *out, dk_slice part)
{
    for (size_t i = 0; i < part.size; i++)
        if (part.data[i] == ' ') dk_strbuf_append(out, DK_MARK, 3);
        else dk_strbuf_append(out, part.data + i, 1);
}

static void drop_last_marks(dk_strbuf *out, size_t from)
{
    while (out->size - from >= 3 && !memcmp(out->data + out->size - 3, DK_MARK, 3)) out->size -= 3;
}

static void apply_own(const dk_spm_rules *rules, int32_t goes_on, const char *text, size_t size, dk_strbuf *out)
{
    const size_t from = out->size;
    int32_t skips = rules->merge_spaces && !goes_on; /* spaces: the part before ended in one */
    size_t at = 0;
    dk_slice part;
    for (size_t length; skips && at < size; at += length) {
        length = next_part(rules, text + at, size - at, &part);
        if (part.size != 1 || part.data[0] != ' ') break;
    }
    if (at < size && rules->prefix && !goes_on) dk_strbuf_append(out, DK_MARK, 3);
    while (at < size) {
        at += next_part(rules, text + at, size - at, &part);
        while (skips && part.size && part.data[0] == ' ') part.data++, part.size--;
        append_marked(out, part);
        if (part.size) skips = rules->merge_spaces && part.data[part.size - 1] == ' ';
    }
    if (rules->merge_spaces) drop_last_marks(out, from);
}

static void apply_llama(const dk_spm_rules *rules, int32_t goes_on, const char *text, size_t size, dk_strbuf *out)
{
    int32_t inside = goes_on, begun = goes_on;
    dk_slice part;
    for (size_t at = 0; at < size;) {
        at += next_part(rules, text + at, size - at, &part);
        for (size_t i = 0; i < part.size; i++) {
            const int32_t space = part.data[i] == ' ';
            if (space ? !rules->merge_spaces : !inside && ((rules->prefix && !begun) || rules->merge_spaces)) {
                dk_strbuf_append(out, DK_MARK, 3);
                begun |= !space;
            }
            inside = !space;
            if (!space) dk_strbuf_append(out, part.data + i, 1);
        }
    }
}

void dk_spm_apply(const dk_spm_rules *rules, int32_t goes_on, const char *text, size_t size, dk_strbuf *out)
{
    if (rules->llama) apply_llama(rules, goes_on, text, size, out);
    else apply_own(rules, goes_on, text, size, out);
}
