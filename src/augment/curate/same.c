#include <string.h>

#include "augment/curate/near.h"
#include "augment/curate/seen_slots.h"
#include "base/file.h"
#include "base/hash.h"
#include "text/codepoint.h"

enum { DIGEST = 16, MOST_OF_ONE_HASH = 64 };

struct di_same {
    dk_host *host;
    di_same_rules rules;
    di_kept_log *log;
    di_slots *slots;
};

typedef struct digester {
    dk_sha256 sha;
    char part[512];
    size_t used;
} digester;

static void add_char(digester *to, uint32_t c)
{
    if (to->used + 4 > sizeof to->part) {
        dk_sha256_add(&to->sha, to->part, to->used);
        to->used = 0;
    }
    to->used += dk_codepoint_write(c, to->part + to->used);
}

static void digest_chars(digester *to, di_same_rules rules, const char *text, size_t size)
{
    int32_t space = 0, any = 0;
    for (size_t at = 0; at < size;) {
        uint32_t c = di_next_char(text, size, &at);
        if (rules.letter_case) c = di_fold_case(c);
        if (rules.spaces && dk_is_space(c)) {
            space = 1;
            continue;
        }
        if (space && any) add_char(to, ' ');
        add_char(to, c);
        space = 0;
        any = 1;
    }
}

static void digest(di_same_rules rules, const char *text, size_t size, uint8_t out[DIGEST])
{
    digester to = {.used = 0};
    uint8_t whole[32];
    dk_sha256_begin(&to.sha);
    if (!rules.spaces && !rules.letter_case) dk_sha256_add(&to.sha, text, size);
    else digest_chars(&to, rules, text, size);
    dk_sha256_add(&to.sha, to.part, to.used);
    dk_sha256_end(&to.sha, whole);
    memcpy(out, whole, DIGEST);
}

static uint32_t hash_of(const uint8_t *digest)
{
    return (uint32_t)digest[0] | (uint32_t)digest[1] << 8 | (uint32_t)digest[2] << 16 | (uint32_t)digest[3] << 24;
}

static int32_t fill_slots(di_same *same, dk_error *err)
{
    const void *record;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < di_kept_log_count(same->log); i++) {
        DK_TRY(di_kept_log_walk(same->log, i, &record, err));
        DK_TRY(di_slots_add(same->slots, hash_of(record), (uint32_t)i, err));
    }
out:
    return rc;
}

int32_t di_same_open(dk_host *host, const char *path, di_same_rules rules, const di_kept_state *at, di_same **out,
                     dk_error *err)
{
    char *folder = dk_path_folder(host, path);
    di_same *same = NULL;
    int32_t rc;
    DK_TRY(folder ? DK_OK : dk_fail_nomem(err, strlen(path)));
    DK_TRY(dk_new(host, 1, &same, err));
    same->host = host;
    same->rules = rules;
    DK_TRY(di_kept_log_open(host, path, DIGEST,
                            UINT64_C(0x53414d4500) | (uint64_t)(2 * !!rules.spaces + !!rules.letter_case), at,
                            &same->log, err));
    DK_TRY(di_slots_create(host, folder, &same->slots, err));
    DK_TRY(fill_slots(same, err));
    *out = same;
    same = NULL;
out:
    di_same_close(same);
    dk_free(host, folder);
    return rc;
}

void di_same_close(di_same *same)
{
    if (!same) return;
    di_kept_log_close(same->log);
    di_slots_free(same->slots);
    dk_free(same->host, same);
}

int32_t di_same_add(di_same *same, const char *text, size_t size, int64_t *before, dk_error *err)
{
    uint8_t wanted[DIGEST];
    uint32_t numbers[MOST_OF_ONE_HASH];
    int64_t count;
    const void *record;
    int32_t rc;
    digest(same->rules, text, size, wanted);
    *before = -1;
    DK_TRY(di_slots_find(same->slots, hash_of(wanted), numbers, MOST_OF_ONE_HASH, &count, err));
    for (int64_t i = 0; i < count; i++) {
        DK_TRY(di_kept_log_read(same->log, numbers[i], &record, err));
        if (memcmp(record, wanted, DIGEST) == 0) {
            *before = numbers[i];
            return DK_OK;
        }
    }
    DK_TRY(di_slots_add(same->slots, hash_of(wanted), (uint32_t)di_kept_log_count(same->log), err));
    DK_TRY(di_kept_log_append(same->log, wanted, err));
out:
    return rc;
}

int32_t di_same_flush(di_same *same, di_kept_state *state, dk_error *err)
{
    return di_kept_log_flush(same->log, state, err);
}
