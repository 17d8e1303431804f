#include "trainer/replay.h"

#include <string.h>

#include "base/random.h"

int32_t di_replay_plan(di_replay *r, dk_host *host, int64_t longest, dk_error *err)
{
    int32_t rc;
    r->host = host;
    r->longest = longest;
    if (r->capacity > INT64_MAX / 64 / longest)
        return dk_fail(err, DK_E_OPTION, "train.on_policy.replay.capacity %lld texts of %lld tokens are out of bounds",
                       (long long)r->capacity, (long long)longest);
    DK_TRY(dk_new(host, r->capacity, &r->items, err));
    DK_TRY(dk_new(host, r->capacity * longest, &r->ids, err));
    if (r->keeps_log_probs) DK_TRY(dk_new(host, r->capacity * longest, &r->log_probs, err));
out:
    return rc;
}

void di_replay_free(di_replay *r)
{
    if (!r->host) return;
    dk_free(r->host, r->names);
    dk_free(r->host, r->items);
    dk_free(r->host, r->ids);
    dk_free(r->host, r->log_probs);
}

static int64_t slot_of(const di_replay *r, int64_t index) { return (r->begin + index) % r->capacity; }

static void drop_oldest(di_replay *r)
{
    r->begin = slot_of(r, 1);
    r->count--;
}

void di_replay_put(di_replay *r, const di_text *text, const int32_t *ids, const float *log_probs, int64_t step)
{
    if (r->count == r->capacity) drop_oldest(r);
    const int64_t slot = slot_of(r, r->count++);
    r->items[slot] = (di_kept){*text, step};
    memcpy(r->ids + slot * r->longest, ids, (size_t)(text->prompt + text->written) * sizeof *ids);
    if (r->log_probs)
        memcpy(r->log_probs + slot * r->longest, log_probs, (size_t)(text->prompt + text->written) * sizeof *log_probs);
}

void di_replay_add(di_replay *r, const di_texts *texts, int64_t step)
{
    for (int64_t i = 0; i < texts->count; i++)
        di_replay_put(r, &texts->items[i], texts->ids + texts->items[i].first, texts->log_probs + texts->items[i].first,
                      step);
}

void di_replay_age(di_replay *r, int64_t step)
{
    while (r->age && r->count && r->items[r->begin].step + r->age < step) drop_oldest(r);
}

const di_kept *di_replay_at(const di_replay *r, int64_t index, const int32_t **ids, const float **log_probs)
{
    const int64_t slot = slot_of(r, index);
    *log_probs = r->log_probs ? r->log_probs + slot * r->longest : NULL;
    *ids = r->ids + slot * r->longest;
    return &r->items[slot];
}

int32_t di_replay_draw(const di_replay *r, uint64_t seed, di_texts *texts, int32_t *drawn, dk_error *err)
{
    const int64_t count = texts->count;
    int32_t rc = DK_OK;
    *drawn = r->count >= count;
    if (!*drawn) goto out;
    di_texts_clear(texts);
    for (int64_t i = 0; i < count; i++) {
        const int32_t *ids;
        const float *log_probs;
        const uint64_t at = dk_random_permute(seed, DK_STREAM_ON_POLICY, (uint64_t)i, (uint64_t)r->count);
        const di_kept *kept = di_replay_at(r, (int64_t)at, &ids, &log_probs);
        DK_TRY(di_texts_add(texts, &kept->text, ids, log_probs, err));
    }
out:
    return rc;
}
