#include <string.h>

#include "augment/curate/rouge.h"

typedef struct remembered {
    uint64_t *words; /* [count] */
    int64_t count;
} remembered;
struct di_novelty {
    dk_host *host;
    double threshold;
    int64_t window, kept; /* texts */
    remembered *texts;    /* [window], text i at i % window */
    di_kept_log *log;     /* of each text its words, then how many they are */
    di_hashes words;
    di_lcs lcs;
};

static int32_t remember(di_novelty *novelty, int64_t number, const uint64_t *words, int64_t count, dk_error *err)
{
    remembered *text = &novelty->texts[number % novelty->window];
    uint64_t *copy = dk_alloc(novelty->host, (uint64_t)(count + 1), sizeof *copy);
    if (!copy) return dk_fail_nomem(err, (uint64_t)(count + 1) * sizeof *copy);
    dk_free(novelty->host, text->words);
    if (count) memcpy(copy, words, (size_t)count * sizeof *copy);
    *text = (remembered){copy, count};
    return DK_OK;
}

static int32_t read_one(di_novelty *novelty, int64_t at, uint64_t *out, dk_error *err)
{
    const void *record;
    int32_t rc = di_kept_log_read(novelty->log, at, &record, err);
    if (!rc) memcpy(out, record, sizeof *out);
    return rc;
}

/* From the last text to the first of the window: where they begin is known from behind. Texts are numbered so that the
 * next one takes the place of the oldest. */
static int32_t recall(di_novelty *novelty, dk_error *err)
{
    uint64_t words[DI_NOVELTY_WORDS], count;
    int64_t end = di_kept_log_count(novelty->log);
    int32_t rc = DK_OK;
    for (int64_t number = novelty->window - 1; end > 0 && number >= 0; number--) {
        DK_TRY(read_one(novelty, --end, &count, err));
        if (count > DI_NOVELTY_WORDS || (int64_t)count > end)
            return dk_fail(err, DK_E_FORMAT, "what was kept for novelty is damaged: a text of %llu words; begin anew",
                           (unsigned long long)count);
        end -= (int64_t)count;
        for (int64_t i = 0; i < (int64_t)count; i++) DK_TRY(read_one(novelty, end + i, &words[i], err));
        DK_TRY(remember(novelty, number, words, (int64_t)count, err));
    }
    novelty->kept = novelty->window;
out:
    return rc;
}

int32_t di_novelty_open(dk_host *host, const char *path, double threshold, int64_t window, const di_kept_state *at,
                        di_novelty **out, dk_error *err)
{
    di_novelty *novelty;
    int32_t rc = dk_new(host, 1, &novelty, err);
    if (rc) return rc;
    novelty->host = host;
    novelty->threshold = threshold;
    novelty->window = window;
    di_hashes_init(&novelty->words, host);
    di_lcs_init(&novelty->lcs, host);
    if (!(threshold > 0 && threshold <= 1) || window < 1)
        DK_TRY(dk_fail(err, DK_E_INVALID, "a threshold in (0, 1] and a window of 1 or more are needed, not of %lld",
                       (long long)window));
    DK_TRY(dk_new(host, window, &novelty->texts, err));
    DK_TRY(di_kept_log_open(host, path, sizeof(uint64_t), UINT64_C(0x4e4f56454c), at, &novelty->log, err));
    DK_TRY(recall(novelty, err));
    *out = novelty;
    novelty = NULL;
out:
    di_novelty_close(novelty);
    return rc;
}

void di_novelty_close(di_novelty *novelty)
{
    if (!novelty) return;
    for (int64_t i = 0; novelty->texts && i < novelty->window; i++) dk_free(novelty->host, novelty->texts[i].words);
    dk_free(novelty->host, novelty->texts);
    di_kept_log_close(novelty->log);
    di_hashes_free(&novelty->words);
    di_lcs_free(&novelty->lcs);
    dk_free(novelty->host, novelty);
}

/* No common subsequence is longer than the shorter text. */
static int32_t cannot_reach(int64_t m, int64_t n, double bound) { return di_rouge_l_f1(m < n ? m : n, m, n) < bound; }

static double nearest_of(di_novelty *novelty)
{
    double best = 0;
    for (int64_t i = 0; i < novelty->window && best < novelty->threshold; i++) {
        const remembered *text = &novelty->texts[i];
        const int64_t m = novelty->words.count, n = text->count;
        if (!n || cannot_reach(m, n, best)) continue;
        const double score = di_rouge_l_f1(di_lcs_length(&novelty->lcs, text->words, n), m, n);
        if (score > best) best = score;
    }
    return best;
}

static int32_t keep(di_novelty *novelty, dk_error *err)
{
    const uint64_t count = (uint64_t)novelty->words.count;
    int32_t rc = DK_OK;
    for (uint64_t i = 0; i < count; i++) DK_TRY(di_kept_log_append(novelty->log, &novelty->words.items[i], err));
    DK_TRY(di_kept_log_append(novelty->log, &count, err));
    DK_TRY(remember(novelty, novelty->kept++, novelty->words.items, novelty->words.count, err));
out:
    return rc;
}

int32_t di_novelty_add(di_novelty *novelty, const char *text, size_t size, double *nearest, int32_t *is_new,
                       dk_error *err)
{
    int32_t rc;
    DK_TRY(di_read_words(&novelty->words, DI_WORDS_UNICODE, text, size, err));
    if (novelty->words.count > DI_NOVELTY_WORDS) novelty->words.count = DI_NOVELTY_WORDS;
    DK_TRY(di_lcs_set(&novelty->lcs, novelty->words.items, novelty->words.count, err));
    *nearest = nearest_of(novelty);
    *is_new = *nearest < novelty->threshold;
    if (*is_new) DK_TRY(keep(novelty, err));
out:
    return rc;
}

int32_t di_novelty_flush(di_novelty *novelty, di_kept_state *state, dk_error *err)
{
    return di_kept_log_flush(novelty->log, state, err);
}
