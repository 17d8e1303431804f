#include "augment/curate/seen_slots.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAGE_SLOTS = 128, PAGE_BYTES = PAGE_SLOTS * 8, PAGES = DI_SLOTS_MEMORY / PAGE_BYTES, FIRST_BITS = 12 };
enum { MOST_BITS = 31 };

typedef struct page {
    int64_t number; /* -1 = none */
    int32_t dirty;
} page;
typedef struct page_file { /* a file of slots, of which some pages are in memory */
    dk_host *host;
    const char *folder; /* borrowed */
    int fd;
    int64_t size; /* pages that were ever written; behind them all is 0 */
    page *kept;   /* [PAGES], page p at p % PAGES */
    uint64_t *data;
} page_file;
struct di_slots {
    dk_host *host;
    char *folder;
    page_file now;
    int32_t bits;
    int64_t count;
};

static int32_t file_in(const char *folder, int *fd, dk_error *err)
{
    char name[4096];
    if (snprintf(name, sizeof name, "%s/.distill-slots-XXXXXX", folder) >= (int)sizeof name)
        return dk_fail(err, DK_E_INVALID, "%.60s...: the name of the folder is too long", folder);
    *fd = mkstemp(name);
    if (*fd < 0) return dk_fail_errno(err, errno, "%s: no temporary file", folder);
    unlink(name);
    return DK_OK;
}

static void pages_free(page_file *pages)
{
    if (pages->fd >= 0) close(pages->fd);
    if (pages->host) dk_free(pages->host, pages->kept);
    if (pages->host) dk_free(pages->host, pages->data);
}

static int32_t pages_open(dk_host *host, const char *folder, page_file *out, dk_error *err)
{
    int32_t rc;
    *out = (page_file){.host = host, .folder = folder, .fd = -1};
    DK_TRY(file_in(folder, &out->fd, err));
    DK_TRY(dk_new(host, PAGES, &out->kept, err));
    DK_TRY(dk_new(host, PAGES * PAGE_SLOTS, &out->data, err));
    for (int64_t i = 0; i < PAGES; i++) out->kept[i].number = -1;
out:
    return rc;
}

static int32_t give_back(page_file *pages, page *kept, const uint64_t *data, dk_error *err)
{
    const char *bytes = (const char *)data;
    for (size_t done = 0; done < PAGE_BYTES;) {
        ssize_t put =
            pwrite(pages->fd, bytes + done, PAGE_BYTES - done, (off_t)(kept->number * PAGE_BYTES + (off_t)done));
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0)
            return dk_fail_errno(err, put ? errno : ENOSPC, "%s: the table of what was kept cannot be written",
                                 pages->folder);
        done += (size_t)put;
    }
    if (kept->number >= pages->size) pages->size = kept->number + 1;
    kept->dirty = 0;
    return DK_OK;
}

/* Pages that were never given back are holes or lie behind the end: zeros. */
static int32_t fetch(const page_file *pages, int64_t number, uint64_t *data, dk_error *err)
{
    char *bytes = (char *)data;
    memset(data, 0, PAGE_BYTES);
    for (size_t done = 0; number < pages->size && done < PAGE_BYTES;) {
        ssize_t got = pread(pages->fd, bytes + done, PAGE_BYTES - done, (off_t)(number * PAGE_BYTES + (off_t)done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return dk_fail_errno(err, errno, "%s: the table of what was kept cannot be read", pages->folder);
        if (!got) break;
        done += (size_t)got;
    }
    return DK_OK;
}

/* The slot, borrowed until the next one is asked for. */
static int32_t slot_at(page_file *pages, int64_t slot, int32_t writes, uint64_t **out, dk_error *err)
{
    const int64_t number = slot / PAGE_SLOTS, place = number % PAGES;
    page *kept = &pages->kept[place];
    uint64_t *data = pages->data + place * PAGE_SLOTS;
    int32_t rc = DK_OK;
    if (kept->number != number) {
        if (kept->dirty) DK_TRY(give_back(pages, kept, data, err));
        kept->number = -1;
        DK_TRY(fetch(pages, number, data, err));
        kept->number = number;
    }
    kept->dirty |= writes;
    *out = data + slot % PAGE_SLOTS;
out:
    return rc;
}

int32_t di_slots_create(dk_host *host, const char *folder, di_slots **out, dk_error *err)
{
    di_slots *slots;
    int32_t rc = dk_new(host, 1, &slots, err);
    if (rc) return rc;
    slots->host = host;
    slots->bits = FIRST_BITS;
    slots->now.fd = -1;
    DK_TRY((slots->folder = dk_strdup(host, folder)) ? DK_OK : dk_fail_nomem(err, strlen(folder)));
    DK_TRY(pages_open(host, slots->folder, &slots->now, err));
    *out = slots;
    slots = NULL;
out:
    di_slots_free(slots);
    return rc;
}

void di_slots_free(di_slots *slots)
{
    if (!slots) return;
    pages_free(&slots->now);
    dk_free(slots->host, slots->folder);
    dk_free(slots->host, slots);
}

static int32_t insert(page_file *pages, int32_t bits, uint64_t entry, dk_error *err)
{
    const int64_t mask = (INT64_C(1) << bits) - 1;
    uint64_t *slot;
    int32_t rc;
    for (int64_t at = (int64_t)(entry >> (64 - bits));; at = (at + 1) & mask) {
        DK_TRY(slot_at(pages, at, 0, &slot, err));
        if (!*slot) {
            DK_TRY(slot_at(pages, at, 1, &slot, err));
            *slot = entry;
            break;
        }
    }
out:
    return rc;
}

static int32_t give_back_all(page_file *pages, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < PAGES; i++)
        if (pages->kept[i].dirty) DK_TRY(give_back(pages, &pages->kept[i], pages->data + i * PAGE_SLOTS, err));
out:
    return rc;
}

typedef struct old_slots { /* read once, in order */
    const page_file *pages;
    int64_t held; /* page */
    uint64_t data[PAGE_SLOTS];
} old_slots;

static int32_t old_slot(old_slots *old, int64_t slot, uint64_t *out, dk_error *err)
{
    int32_t rc = DK_OK;
    if (old->held != slot / PAGE_SLOTS) DK_TRY(fetch(old->pages, slot / PAGE_SLOTS, old->data, err));
    old->held = slot / PAGE_SLOTS;
    *out = old->data[slot % PAGE_SLOTS];
out:
    return rc;
}

/* Entries in the order of the old slots lie in the order of the new ones, so the disk is written from its beginning to
 * its end. It begins behind an empty slot, so that a run which goes on at the front stays one. */
static int32_t copy_to(page_file *next, int32_t bits, const page_file *now, dk_error *err)
{
    const int64_t size = INT64_C(1) << (bits - 1);
    old_slots old = {.pages = now, .held = -1};
    int64_t first = 0;
    uint64_t entry;
    int32_t rc = DK_OK;
    do DK_TRY(old_slot(&old, first++, &entry, err));
    while (entry);
    for (int64_t i = 0; i < size; i++) {
        DK_TRY(old_slot(&old, (first + i) & (size - 1), &entry, err));
        if (entry) DK_TRY(insert(next, bits, entry, err));
    }
out:
    return rc;
}

/* Twice the slots, in the memory of the old ones. */
static int32_t grow(di_slots *slots, dk_error *err)
{
    page_file old = slots->now;
    int fd = -1;
    int32_t rc;
    if (slots->bits == MOST_BITS)
        return dk_fail(err, DK_E_UNSUPPORTED, "more than %lld entries to remember", (long long)slots->count);
    DK_TRY(file_in(slots->folder, &fd, err));
    DK_TRY(give_back_all(&slots->now, err));
    old.size = slots->now.size;
    slots->now.fd = fd;
    slots->now.size = 0;
    fd = old.fd;
    for (int64_t i = 0; i < PAGES; i++) slots->now.kept[i].number = -1;
    DK_TRY(copy_to(&slots->now, ++slots->bits, &old, err));
out:
    if (fd >= 0) close(fd);
    return rc;
}

int32_t di_slots_add(di_slots *slots, uint32_t hash, uint32_t number, dk_error *err)
{
    int32_t rc = DK_OK;
    if (number == UINT32_MAX) return dk_fail(err, DK_E_UNSUPPORTED, "more than %u samples to remember", UINT32_MAX - 1);
    if (4 * (slots->count + 1) > 3 * (INT64_C(1) << slots->bits)) DK_TRY(grow(slots, err));
    DK_TRY(insert(&slots->now, slots->bits, (uint64_t)hash << 32 | (number + 1), err));
    slots->count++;
out:
    return rc;
}

int32_t di_slots_find(di_slots *slots, uint32_t hash, uint32_t *numbers, int64_t room, int64_t *count, dk_error *err)
{
    const int64_t mask = (INT64_C(1) << slots->bits) - 1;
    uint64_t *slot;
    int32_t rc = DK_OK;
    *count = 0;
    for (int64_t at = hash >> (32 - slots->bits); *count < room; at = (at + 1) & mask) {
        DK_TRY(slot_at(&slots->now, at, 0, &slot, err));
        if (!*slot) break;
        if (*slot >> 32 == hash) numbers[(*count)++] = (uint32_t)*slot - 1;
    }
out:
    return rc;
}

int32_t di_slots_replace(di_slots *slots, uint32_t hash, uint32_t old, uint32_t number, dk_error *err)
{
    const int64_t mask = (INT64_C(1) << slots->bits) - 1;
    const uint64_t from = (uint64_t)hash << 32 | (old + 1);
    uint64_t *slot;
    int32_t rc = DK_OK;
    for (int64_t at = hash >> (32 - slots->bits);; at = (at + 1) & mask) {
        DK_TRY(slot_at(&slots->now, at, 0, &slot, err));
        if (!*slot) break;
        if (*slot != from) continue;
        DK_TRY(slot_at(&slots->now, at, 1, &slot, err));
        *slot = (uint64_t)hash << 32 | (number + 1);
        break;
    }
out:
    return rc;
}
