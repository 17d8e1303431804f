#include "dataset/walk.h"

#include <string.h>

#include "base/random.h"

int32_t di_walk_init(const di_dataset *dataset, di_walk *walk, dk_error *err)
{
    const int64_t sources = di_dataset_sources(dataset);
    int32_t rc;
    memset(walk, 0, sizeof *walk);
    walk->dataset = dataset;
    DK_TRY(dk_new(dataset->host, sources, &walk->windows, err));
    DK_TRY(dk_new(dataset->host, sources, &walk->tokens, err));
    return DK_OK;
out:
    di_walk_free(dataset, walk);
    return rc;
}

void di_walk_free(const di_dataset *dataset, di_walk *walk)
{
    dk_free(dataset->host, walk->windows);
    dk_free(dataset->host, walk->tokens);
    memset(walk, 0, sizeof *walk);
}

/* Window number `place` of a source's stream of epochs. */
static int64_t window_at(const di_dataset *source, uint64_t seed, int64_t place)
{
    const uint64_t windows = (uint64_t)source->plan.windows, epoch = (uint64_t)place / windows;
    const uint64_t window = (uint64_t)place % windows;
    if (!source->rules.shuffle) return (int64_t)window;
    return (int64_t)dk_random_permute(dk_random_u64(seed, DK_STREAM_SHUFFLE, epoch), DK_STREAM_SHUFFLE, window,
                                      windows);
}

static int64_t tokens_of(const di_plan *plan, int64_t window)
{
    int64_t tokens = 0;
    for (int64_t i = plan->first[window]; i < plan->first[window + 1]; i++) tokens += plan->sequences[i].count;
    return tokens;
}

/* How often a source has given its weight; no rounding makes two sources change places, for these are quotients. */
static double given(const di_mix *mix, const di_walk *walk, int64_t source)
{
    return (double)walk->tokens[source] / mix->weights[source];
}

static int64_t next_source(const di_mix *mix, const di_walk *walk)
{
    int64_t next = -1;
    for (int64_t s = 0; s < mix->count; s++)
        if (mix->weights[s] > 0 && (next < 0 || given(mix, walk, s) < given(mix, walk, next))) next = s;
    return next;
}

di_stop di_walk_next(const di_dataset *dataset, di_walk *walk)
{
    const int64_t s = dataset->mix.count ? next_source(&dataset->mix, walk) : 0;
    const di_dataset *source = di_dataset_source(dataset, s);
    /* counters of epochs never come so far: each source has an order of its own */
    const uint64_t seed =
        dataset->mix.count ? dk_random_u64(walk->seed, DK_STREAM_SHUFFLE, UINT64_MAX - (uint64_t)s) : walk->seed;
    const int64_t window = window_at(source, seed, walk->windows[s]++);
    if (dataset->mix.count) walk->tokens[s] += tokens_of(&source->plan, window);
    walk->place++;
    return (di_stop){source, window};
}

static void restart(const di_dataset *dataset, uint64_t seed, di_walk *walk)
{
    walk->seed = seed;
    walk->place = 0;
    for (int64_t s = 0; s < di_dataset_sources(dataset); s++) walk->windows[s] = walk->tokens[s] = 0;
}

void di_walk_to(const di_dataset *dataset, uint64_t seed, int64_t place, di_walk *walk)
{
    if (walk->seed != seed || walk->place > place) restart(dataset, seed, walk);
    if (!dataset->mix.count) walk->windows[0] = walk->place = place;
    while (walk->place < place) di_walk_next(dataset, walk);
}

int64_t di_walk_count(const di_dataset *dataset, uint64_t seed, double times, di_walk *walk)
{
    const di_mix *mix = &dataset->mix;
    double last = 0;
    for (int64_t s = 0; s < mix->count; s++) {
        double tokens = (double)mix->sources[s]->plan.counts.tokens;
        if (mix->weights[s] > 0 && times * tokens / mix->weights[s] > last) last = times * tokens / mix->weights[s];
    }
    restart(dataset, seed, walk);
    while (given(mix, walk, next_source(mix, walk)) < last * (1 - 1e-12)) di_walk_next(dataset, walk);
    return walk->place;
}
