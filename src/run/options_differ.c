/* options_differ.c - several ranks were given other options: which one it is. */
#include <string.h>

#include "base/ranks.h"
#include "run/run_state.h"

enum { DEPTH = 16 };

typedef struct lines { /* of YAML: one key each, below those that it is further in than */
    const char *at;
    struct {
        const char *key;
        int size, indent;
    } above[DEPTH];
    int depth;
    const char *line; /* the last one, without its indent */
    int size, indent;
} lines;

static int next_line(lines *l)
{
    if (!*l->at) return 0;
    for (l->line = l->at; *l->line == ' ' || (l->line[0] == '-' && l->line[1] == ' ');) l->line++;
    l->indent = (int)(l->line - l->at);
    l->size = (int)strcspn(l->line, "\n");
    l->at = l->line + l->size;
    l->at += *l->at == '\n';
    while (l->depth && l->above[l->depth - 1].indent >= l->indent) l->depth--;
    return 1;
}

/* It becomes one that others may be below. */
static void go_in(lines *l)
{
    if (l->depth == DEPTH) return;
    l->above[l->depth].key = l->line;
    l->above[l->depth].size = (int)strcspn(l->line, ":\n");
    l->above[l->depth++].indent = l->indent;
}

static void show(const lines *l, int found, dk_strbuf *out)
{
    dk_strbuf_clear(out);
    for (int i = 0; found && i < l->depth; i++) dk_strbuf_printf(out, "%.*s.", l->above[i].size, l->above[i].key);
    if (found) dk_strbuf_printf(out, "%.*s", l->size, l->line);
    else dk_strbuf_puts(out, "nothing more");
}

int32_t di_options_first_difference(const char *a, const char *b, dk_strbuf *in_a, dk_strbuf *in_b)
{
    lines one = {.at = a}, two = {.at = b};
    for (;;) {
        const int left = next_line(&one), right = next_line(&two);
        if (!left && !right) return 0;
        if (left != right || one.indent != two.indent || one.size != two.size ||
            memcmp(one.line, two.line, (size_t)one.size) != 0) {
            show(&one, left, in_a);
            show(&two, right, in_b);
            return 1;
        }
        go_in(&one);
        go_in(&two);
    }
}

static int32_t compare(dk_host *host, const dk_strbuf *first, const dk_strbuf *own, dk_error *err)
{
    dk_strbuf theirs, here;
    int32_t rc = DK_OK;
    dk_strbuf_init(&theirs, host);
    dk_strbuf_init(&here, host);
    if (!di_options_first_difference(first->data ? first->data : "", own->data ? own->data : "", &theirs, &here))
        goto out;
    DK_TRY(dk_strbuf_check(&theirs, err));
    DK_TRY(dk_strbuf_check(&here, err));
    rc = dk_fail(err, DK_E_MISMATCH,
                 "ranks differ in the options (give all ranks the same recipe and settings): rank 0 has %.120s, rank "
                 "%lld has %.120s",
                 theirs.data, (long long)dk_rank(host), here.data);
out:
    dk_strbuf_free(&theirs);
    dk_strbuf_free(&here);
    return rc;
}

int32_t di_options_name_difference(dk_host *host, const di_options *options, dk_error *err)
{
    dk_strbuf own, first;
    int32_t rc;
    dk_strbuf_init(&own, host);
    dk_strbuf_init(&first, host);
    rc = di_options_write_yaml(options, 0, &own, err);
    if (rc == DK_OK && own.size) dk_strbuf_append(&first, own.data, own.size);
    if (rc == DK_OK) rc = dk_strbuf_check(&first, err);
    DK_TRY(dk_ranks_agree(host, rc, err));
    DK_TRY(dk_ranks_text(host, &first, err));
    rc = dk_ranks_agree(host, compare(host, &first, &own, err), err);
out:
    dk_strbuf_free(&own);
    dk_strbuf_free(&first);
    return rc;
}
