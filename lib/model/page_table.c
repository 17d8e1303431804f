#include "model/page_table.h"

#include <string.h>

int32_t dk_page_table_init(dk_page_table *table, dk_host *host, int64_t sequences, int64_t capacity, int64_t pages,
                           dk_error *err)
{
    int32_t rc;
    *table = (dk_page_table){.host = host, .sequences = sequences, .each = dk_pages_for(capacity), .pages = pages};
    DK_TRY(dk_new(host, pages, &table->free, err));
    DK_TRY(dk_new(host, pages, &table->holders, err));
    DK_TRY(dk_new(host, sequences * table->each, &table->of, err));
    DK_TRY(dk_new(host, sequences, &table->held, err));
    DK_TRY(dk_new(host, sequences, &table->length, err));
    table->free_count = pages;
    for (int64_t i = 0; i < pages; i++) table->free[i] = (int32_t)(pages - 1 - i);
out:
    return rc;
}

void dk_page_table_free(dk_page_table *table)
{
    dk_free(table->host, table->free);
    dk_free(table->host, table->holders);
    dk_free(table->host, table->of);
    dk_free(table->host, table->held);
    dk_free(table->host, table->length);
}

/* The page that the next token goes to, where it has tokens of several sequences; else -1. */
static int32_t shared_end(const dk_page_table *table, int64_t sequence)
{
    int64_t length = table->length[sequence];
    int32_t page = length % DK_PAGE ? dk_pages_of(table, sequence)[length / DK_PAGE] : -1;
    return page >= 0 && table->holders[page] > 1 ? page : -1;
}

/* Who leaves a shared page for a copy of it leaves one holder less: the last one writes in it as it is. */
static int32_t wants_copy(const dk_page_table *table, const int64_t *which, int64_t s)
{
    int32_t page = shared_end(table, which[s]), before = 0;
    for (int64_t i = 0; i < s && page >= 0; i++) before += shared_end(table, which[i]) == page;
    return page >= 0 && table->holders[page] - before > 1;
}

int64_t dk_pages_wanted(const dk_page_table *table, const int64_t *which, const int64_t *offsets, int64_t sequences)
{
    int64_t wanted = 0;
    for (int64_t s = 0; s < sequences; s++) {
        int64_t more = dk_pages_for(table->length[which[s]] + offsets[s + 1] - offsets[s]) - table->held[which[s]];
        wanted += (more > 0 ? more : 0) + wants_copy(table, which, s);
    }
    return wanted;
}

static int32_t take(dk_page_table *table)
{
    int32_t page = table->free[--table->free_count];
    table->holders[page] = 1;
    return page;
}

static void drop(dk_page_table *table, int32_t page)
{
    if (--table->holders[page] == 0) table->free[table->free_count++] = page;
}

dk_page_copy dk_pages_take(dk_page_table *table, int64_t sequence, int64_t fresh)
{
    int64_t length = table->length[sequence], want = dk_pages_for(length + fresh);
    int32_t *of = table->of + sequence * table->each;
    dk_page_copy copy = {.from = -1};
    if (shared_end(table, sequence) >= 0) {
        copy = (dk_page_copy){of[length / DK_PAGE], take(table), length % DK_PAGE};
        drop(table, copy.from);
        of[length / DK_PAGE] = copy.to;
    }
    while (table->held[sequence] < want) of[table->held[sequence]++] = take(table);
    return copy;
}

void dk_pages_cut(dk_page_table *table, int64_t sequence, int64_t tokens)
{
    int64_t keep = dk_pages_for(tokens);
    while (table->held[sequence] > keep) drop(table, dk_pages_of(table, sequence)[--table->held[sequence]]);
    table->length[sequence] = tokens;
}

void dk_pages_share(dk_page_table *table, int64_t from, int64_t to, int64_t tokens)
{
    int64_t count = dk_pages_for(tokens);
    dk_pages_cut(table, to, 0);
    for (int64_t i = 0; i < count; i++) table->holders[dk_pages_of(table, from)[i]]++;
    if (count) memcpy(table->of + to * table->each, dk_pages_of(table, from), (size_t)count * sizeof *table->of);
    table->held[to] = count;
    table->length[to] = tokens;
}
