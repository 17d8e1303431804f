#include "loss/kernels/teacher_head.h"

/* Keys are narrowed from their highest bits down, three times; at each level the bins above the cut have no more than
 * the mass together, and the cut lies in one bin, in which the next level looks. */
enum { BINS = 2048, LEVELS = 3 };
#define SLACK 1e-12 /* of sums of rounded probabilities: two of 1/4 are no more than 1/2 */
static const int shifts[LEVELS] = {21, 10, 0}, widths[LEVELS] = {11, 11, 10};

typedef struct di_bins {
    double mass[BINS];
    int64_t count[BINS];
} di_bins;

/* Of the outcomes whose bits above this level are `prefix`. */
static void fill_bins(const di_pair *pair, int level, uint32_t prefix, di_bins *bins)
{
    const int64_t count = di_pair_count(pair);
    const uint64_t above = (uint64_t)shifts[level] + (uint64_t)widths[level];
    double lanes[DK_VD];
    memset(bins, 0, sizeof *bins);
    for (int64_t i = 0; i < count; i += DK_VD) {
        int32_t computed = 0;
        for (int64_t j = 0; j < DK_VD && i + j < count; j++) {
            const uint32_t key = di_key_at(pair, i + j);
            const uint32_t bin = key >> shifts[level] & ((1u << widths[level]) - 1);
            if (di_id_at(pair, i + j) < 0 || (uint64_t)key >> above != prefix) continue;
            if (!computed++) dk_vd_store(lanes, di_outcomes_at(pair, i).p);
            bins->mass[bin] += lanes[j];
            bins->count[bin]++;
        }
    }
}

static int64_t ties_up_to(const di_pair *pair, uint32_t key, int64_t last_id)
{
    const int64_t count = di_pair_count(pair);
    int64_t ties = 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t id = di_id_at(pair, i);
        ties += id >= 0 && id <= last_id && di_key_at(pair, i) == key;
    }
    return ties;
}

/* The lowest id up to which there are so many with this key. */
static int64_t id_of_tie(const di_pair *pair, uint32_t key, int64_t ties)
{
    int64_t low = 0, high = pair->n - 1;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (ties_up_to(pair, key, middle) < ties) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* How many of `ties` outcomes of equal mass fit. */
static int64_t fit(double taken, double each, double mass, int64_t ties)
{
    int64_t fits = 0;
    while (fits < ties && taken + each <= mass + SLACK) {
        taken += each;
        fits++;
    }
    return fits;
}

/* The cut lies in bin `bin` of the last level, whose outcomes have one key. */
static di_head cut_ties(const di_pair *pair, const di_bins *bins, int64_t bin, uint32_t key, double left, int32_t first)
{
    const int64_t ties = bins->count[bin], fits = fit(0, bins->mass[bin] / (double)ties, left, ties);
    const int64_t taken = fits == 0 && first ? 1 : fits;
    di_head head = {key, key, INT64_MAX};
    if (taken < ties) head.last_id = taken ? id_of_tie(pair, key, taken) : -1;
    return head;
}

di_head DK_VARIANT(di_find_head)(const di_pair *pair, double mass)
{
    di_bins bins;
    uint32_t prefix = 0;
    double taken = 0;
    int32_t first = 1; /* nothing is taken yet */
    int64_t bin = 0;
    for (int level = 0; level < LEVELS; level++) {
        fill_bins(pair, level, prefix, &bins);
        for (bin = (1 << widths[level]) - 1; bin >= 0; bin--) {
            if (!bins.count[bin]) continue;
            if (taken + bins.mass[bin] > mass + SLACK) break;
            taken += bins.mass[bin];
            first = 0;
        }
        if (bin < 0 && level == 0) return (di_head){0, 0, INT64_MAX}; /* all of them */
        if (bin < 0) return (di_head){(prefix << shifts[level - 1]) - 1, 0, -1};
        prefix = prefix << widths[level] | (uint32_t)bin;
    }
    return cut_ties(pair, &bins, bin, prefix, mass - taken, first);
}
