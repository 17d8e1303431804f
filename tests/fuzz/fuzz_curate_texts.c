/* A text of any bytes: whatever is measured, found or parsed in it stays inside it. */
#include "augment/curate/answers.h"
#include "augment/curate/minhash.h"
#include "augment/curate/overlap.h"
#include "augment/curate/quality.h"
#include "augment/curate/rouge.h"
#include "test_files.h"

static void measure(dk_host *host, const char *text, size_t size)
{
    double measured[DI_QUALITIES], f1;
    uint32_t signature[DI_MINHASH_SIZE];
    int64_t count;
    di_quality quality;
    di_minhash minhash;
    di_overlap overlap;
    dk_error err;
    di_quality_init(&quality, host);
    di_minhash_init(&minhash, host, (di_shingles){(int32_t)(size % 2), 5}, 0);
    di_overlap_init(&overlap, host, 3);
    di_quality_measure_text(&quality, text, size, measured, &err);
    di_minhash_text(&minhash, text, size, signature, &count, &err);
    di_overlap_text(&overlap, text, size / 2, &err);
    di_overlap_find(&overlap, text, size, &count, &err);
    if (di_rouge_l(host, DI_WORDS_ASCII, text, size / 2, text, size, &f1, &err) == DK_OK && !(f1 >= 0 && f1 <= 1))
        exit(3);
    di_overlap_free(&overlap);
    di_minhash_free(&minhash);
    di_quality_free(&quality);
}

static void parse(const char *text, size_t size)
{
    double number, score = 5;
    di_find_number(text, size, &number);
    if (di_find_score(text, size, 1, 10, &score) && !(score >= 1 && score <= 10)) exit(3);
    di_find_verdict(text, size);
    if (!di_same_answer(text, size, text, size)) exit(3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dk_host *host = NULL;
    char *exact = malloc(size + !size); /* of its own size, so that a byte too far is seen */
    if (!exact || dk_host_create(NULL, &host, NULL)) exit(3);
    memcpy(exact, data, size);
    measure(host, exact, size);
    parse(exact, size);
    free(exact);
    dk_host_release(host);
    return 0;
}
