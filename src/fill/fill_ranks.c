/* fill_ranks.c - several ranks fill caches together. Each asks about a batch of its own and holds what it is told; then
 * all of it goes to all, rank by rank, and is added in the order of windows: rank 0's files are those that one rank
 * would have written, byte for byte.
 *
 * A row that two batches of a round have would be asked twice, where one rank asks once. Whoever comes second then asks
 * anew, knowing what the first one added. */
#include "fill/fill_ranks.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/message.h"
#include "base/ranks.h"
#include "cache/target_cache.h"

/* ---- inputs ---- */

static int32_t add_cache(void *user, di_cache *cache, dk_error *err)
{
    const di_cache_info info = di_cache_get_info(cache);
    const int64_t counts[2] = {info.records, info.rows};
    uint8_t header[DI_CACHE_HEADER];
    dk_strbuf *texts = user;
    di_cache_header_write(di_cache_get_header(cache), header);
    dk_strbuf_append(&texts[0], header, sizeof header);
    dk_strbuf_append(&texts[1], counts, sizeof counts);
    (void)err;
    return DK_OK;
}

static int32_t describe(di_fill *f, dk_ranks_item *items, dk_error *err)
{
    dk_strbuf texts[2];
    int32_t rc = DK_OK;
    for (int i = 0; i < 2; i++) dk_strbuf_init(&texts[i], f->host);
    for (int64_t i = 0; i < f->parts.count; i++) DK_TRY(di_dataset_hash(f->parts.sets[i], items[i].value, err));
    DK_TRY(di_teacher_caches(f->parts.teacher, add_cache, texts, err));
    for (int i = 0; i < 2; i++) DK_TRY(dk_strbuf_check(&texts[i], err));
    dk_ranks_item_hash(&items[2], texts[0].data, texts[0].size);
    dk_ranks_item_hash(&items[3], texts[1].data, texts[1].size);
    snprintf(items[4].value, sizeof items->value, "%s", f->backend->products);
out:
    for (int i = 0; i < 2; i++) dk_strbuf_free(&texts[i]);
    return rc;
}

int32_t di_fill_inputs(di_fill *f, dk_error *err)
{
    dk_ranks_item items[] = {{.name = "data"},
                             {.name = "held-out data"},
                             {.name = "teacher, or in how its targets are kept (teacher.cache)"},
                             {.name = "targets that are there: give a file that all ranks share"},
                             {.name = "kernels of products (compute.products)"}};
    if (dk_ranks(f->host) == 1) return DK_OK;
    return dk_ranks_same(f->host, describe(f, items, err), items, sizeof items / sizeof *items, err);
}

/* ---- what a rank holds, as a message: of each cache eight bytes of size, and records ---- */

static int32_t pack(void *user, di_cache *cache, dk_error *err)
{
    const dk_strbuf *held = di_cache_held(cache);
    const uint64_t size = held->size;
    dk_strbuf *message = user;
    dk_strbuf_append(message, &size, sizeof size);
    if (size) dk_strbuf_append(message, held->data, size);
    di_cache_drop_held(cache);
    return dk_strbuf_check(message, err);
}

typedef struct reading {
    dk_message message;
    int32_t known; /* a row of it is there already */
} reading;

static int32_t next(reading *r, const char **records, uint64_t *size, dk_error *err)
{
    dk_message_take(&r->message, size, 1, sizeof *size);
    *records = dk_message_next(&r->message, *size > INT64_MAX ? -1 : (int64_t)*size, 1);
    return dk_message_check(&r->message, "targets that ranks asked for", err);
}

static int32_t look(void *user, di_cache *cache, dk_error *err)
{
    reading *r = user;
    const char *records;
    uint64_t size;
    int32_t rc;
    DK_TRY(next(r, &records, &size, err));
    r->known |= di_cache_has_any(cache, records, size);
out:
    return rc;
}

static int32_t put(void *user, di_cache *cache, dk_error *err)
{
    const char *records;
    uint64_t size;
    int32_t rc;
    DK_TRY(next(user, &records, &size, err));
    rc = di_cache_put(cache, records, size, err);
out:
    return rc;
}

/* All of the message, which is of as many caches as there are here. */
static int32_t read_message(di_fill *f, const dk_strbuf *message, di_cache_fn fn, reading *r, dk_error *err)
{
    int32_t rc;
    dk_message_open(&r->message, message->data, message->size);
    DK_TRY(di_teacher_caches(f->parts.teacher, fn, r, err));
    rc = dk_message_end(&r->message, "targets that ranks asked for", err);
out:
    return rc;
}

/* ---- a round ---- */

static int32_t ask_own(di_fill *f, int64_t set, int64_t first, dk_strbuf *own, dk_error *err)
{
    const int64_t at = first + dk_rank(f->host) * DI_FILL_WINDOWS;
    int32_t rc;
    DK_TRY(di_fill_check_cancel(f, err));
    f->batch->windows = 0;
    if (at < f->parts.windows[set]) {
        DK_TRY(di_dataset_windows(f->parts.sets[set], at, DI_FILL_WINDOWS, f->batch, err));
        DK_TRY(di_fill_ask(f, err));
    }
    rc = di_teacher_caches(f->parts.teacher, pack, own, err);
out:
    return rc;
}

static int32_t ask_again(di_fill *f, dk_strbuf *own, dk_error *err)
{
    int32_t rc;
    dk_strbuf_clear(own);
    DK_TRY(di_fill_ask(f, err));
    rc = di_teacher_caches(f->parts.teacher, pack, own, err);
out:
    return rc;
}

/* own is this rank's message, *other room for those of the others. */
static int32_t take_from(di_fill *f, int64_t root, dk_strbuf *own, dk_strbuf *other, dk_error *err)
{
    dk_strbuf *message = dk_rank(f->host) == root ? own : other;
    reading r = {.known = 0};
    int32_t rc;
    DK_TRY(dk_ranks_bytes(f->host, message, root, err));
    DK_TRY(dk_ranks_agree(f->host, read_message(f, message, look, &r, err), err));
    if (root && r.known) {
        DK_TRY(dk_ranks_agree(f->host, message == own ? ask_again(f, own, err) : DK_OK, err));
        DK_TRY(dk_ranks_bytes(f->host, message, root, err));
    }
    DK_TRY(dk_ranks_agree(f->host, read_message(f, message, put, &r, err), err));
out:
    return rc;
}

static int32_t count(di_fill *f, dk_error *err)
{
    const int64_t own[2] = {f->batch->windows, f->batch->windows ? f->batch->offsets[f->batch->sequences] : 0};
    int64_t(*all)[2] = NULL;
    int32_t rc;
    DK_TRY(dk_ranks_agree(f->host, dk_new(f->host, dk_ranks(f->host), &all, err), err));
    DK_TRY(dk_ranks_gather(f->host, own, all, sizeof own, err));
    for (int64_t j = 0; j < dk_ranks(f->host); j++) {
        f->progress.done += all[j][0];
        f->progress.tokens += all[j][1];
    }
    rc = di_fill_tell(f, f->progress.done == f->progress.total, err);
    rc = dk_ranks_agree(f->host, rc, err);
out:
    dk_free(f->host, all);
    return rc;
}

/* One of sizes alone is all zeros. */
static uint32_t has_records(const dk_strbuf *message)
{
    for (size_t i = 0; i < message->size; i++)
        if (message->data[i]) return 1;
    return 0;
}

int32_t di_fill_round(di_fill *f, int64_t set, int64_t first, dk_error *err)
{
    dk_strbuf own, other;
    int32_t rc;
    dk_strbuf_init(&own, f->host);
    dk_strbuf_init(&other, f->host);
    rc = ask_own(f, set, first, &own, err);
    uint32_t some = rc == DK_OK && has_records(&own);
    DK_TRY(dk_ranks_meet(f->host, rc, &some, err));
    for (int64_t j = 0; some && j < dk_ranks(f->host); j++) DK_TRY(take_from(f, j, &own, &other, err));
    DK_TRY(count(f, err));
out:
    dk_strbuf_free(&own);
    dk_strbuf_free(&other);
    return rc;
}
