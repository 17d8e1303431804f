/* page_table.h - which page holds which tokens of a sequence: pages of DK_PAGE places with counts of how many sequences
 * hold them. What is held by several is never written: who appends gets a page of its own first. Memory and copies are
 * the cache's business. For lib/model only. */
#ifndef DK_MODEL_PAGE_TABLE_H
#define DK_MODEL_PAGE_TABLE_H

#include "base/host.h"
#include "compute/compute.h"

typedef struct dk_page_table {
    dk_host *host;
    int64_t sequences, each; /* each: most pages of a sequence */
    int64_t pages, free_count;
    int32_t *free;    /* [free_count] pages that nobody holds, the next one last */
    int32_t *holders; /* [pages] */
    int32_t *of;      /* [sequences, each] pages in order */
    int64_t *held;    /* [sequences] how many */
    int64_t *length;  /* [sequences] tokens */
} dk_page_table;

typedef struct dk_page_copy { /* from -1 = nothing to copy */
    int32_t from, to;
    int64_t places;
} dk_page_copy;

static inline int64_t dk_pages_for(int64_t tokens) { return (tokens + DK_PAGE - 1) / DK_PAGE; }
static inline const int32_t *dk_pages_of(const dk_page_table *table, int64_t sequence)
{
    return table->of + sequence * table->each;
}

int32_t dk_page_table_init(dk_page_table *table, dk_host *host, int64_t sequences, int64_t capacity, int64_t pages,
                           dk_error *err);
void dk_page_table_free(dk_page_table *table);
/* Pages that a call takes which adds offsets[s + 1] - offsets[s] tokens to each of which[sequences]. */
int64_t dk_pages_wanted(const dk_page_table *table, const int64_t *which, const int64_t *offsets, int64_t sequences);
/* Takes them, which are there, and says what of a shared page is to be copied. The length stays. */
dk_page_copy dk_pages_take(dk_page_table *table, int64_t sequence, int64_t fresh);
void dk_pages_cut(dk_page_table *table, int64_t sequence, int64_t tokens); /* at most the length */
/* `to` holds the first tokens of `from`, and nothing else. */
void dk_pages_share(dk_page_table *table, int64_t from, int64_t to, int64_t tokens);

#endif
