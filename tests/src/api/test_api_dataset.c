/* test_api_dataset.c - datasets through the public header: the handle's own cursor, counts, and what is refused. */
#include "distill.h"
#include "test.h"

enum { SEQUENCES = 7, LENGTH = 5 };

typedef struct data {
    distill_env *env;
    distill_options *options;
    distill_dataset *dataset;
} data;

static int open_data(data *d, const char *yaml)
{
    static int32_t ids[SEQUENCES * LENGTH];
    static int64_t offsets[SEQUENCES + 1];
    distill_error err;
    distill_batch batch;
    memset(d, 0, sizeof *d);
    for (int i = 0; i < SEQUENCES * LENGTH; i++) ids[i] = i;
    for (int i = 0; i <= SEQUENCES; i++) offsets[i] = i * LENGTH;
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = SEQUENCES;
    int32_t rc = distill_env_create(NULL, &d->env, &err);
    if (!rc) rc = distill_options_create(d->env, &d->options, &err);
    if (!rc) rc = distill_options_parse(d->options, yaml, strlen(yaml), "test", &err);
    if (!rc) rc = distill_dataset_from_tokens(d->env, &batch, d->options, &d->dataset, &err);
    if (rc) FAIL("%s", err.message);
    return !rc;
}

static void close_data(data *d)
{
    distill_dataset_free(d->dataset);
    distill_options_free(d->options);
    distill_env_free(d->env);
}

TEST(next_gives_every_window_of_an_epoch)
{
    data d;
    distill_error err;
    distill_sample sample;
    int seen[SEQUENCES] = {0};
    REQUIRE(open_data(&d, "data: {sequence_length: 5}"));
    for (int epoch = 1; epoch <= 2; epoch++) {
        for (int i = 0; i < SEQUENCES; i++) {
            DISTILL_INIT(&sample);
            REQUIRE_OK(distill_dataset_next(d.dataset, &sample, &err));
            CHECK(sample.kind == DISTILL_SAMPLE_TOKENS && sample.count == LENGTH && sample.ids[0] % LENGTH == 0 &&
                  sample.ids[4] == sample.ids[0] + 4);
            CHECK(sample.learn && !sample.learn[0] && sample.learn[1] && sample.learn[4]);
            seen[sample.ids[0] / LENGTH]++;
        }
        CHECK_INT(distill_dataset_next(d.dataset, &sample, &err), DISTILL_E_END);
        for (int i = 0; i < SEQUENCES; i++) CHECK_INT(seen[i], epoch);
    }
    close_data(&d);
}

TEST(a_cursor_comes_back)
{
    data d;
    distill_error err;
    distill_sample sample;
    char cursor[64];
    size_t needed = 0;
    int32_t first[SEQUENCES];
    REQUIRE(open_data(&d, "{data: {sequence_length: 5}, train: {seed: 3}}"));
    DISTILL_INIT(&sample);
    for (int i = 0; i < SEQUENCES; i++) {
        if (i == 4) REQUIRE_OK(distill_dataset_tell(d.dataset, cursor, sizeof cursor, &needed, &err));
        REQUIRE_OK(distill_dataset_next(d.dataset, &sample, &err));
        first[i] = sample.ids[0];
    }
    CHECK_INT(needed, strlen(cursor) + 1);
    CHECK_INT(distill_dataset_tell(d.dataset, cursor, 3, &needed, &err), DISTILL_E_BUFFER);
    REQUIRE_OK(distill_dataset_seek(d.dataset, "", &err));
    REQUIRE_OK(distill_dataset_next(d.dataset, &sample, &err));
    CHECK_INT(sample.ids[0], first[0]);
    REQUIRE_OK(distill_dataset_tell(d.dataset, cursor, sizeof cursor, NULL, &err));
    for (int i = 1; i < 4; i++) REQUIRE_OK(distill_dataset_next(d.dataset, &sample, &err));
    REQUIRE_OK(distill_dataset_seek(d.dataset, cursor, &err));
    REQUIRE_OK(distill_dataset_next(d.dataset, &sample, &err));
    CHECK_INT(sample.ids[0], first[1]);
    CHECK_INT(distill_dataset_seek(d.dataset, "somewhere", &err), DISTILL_E_FORMAT);
    CHECK_HAS(err.message, "cursor \"somewhere\" is not what distill_dataset_tell gives");
    close_data(&d);
}

TEST(counts_and_errors)
{
    data d;
    distill_error err;
    int64_t value = 0;
    REQUIRE(open_data(&d, "data: {sequence_length: 4, too_long: truncate_left}"));
    REQUIRE_OK(distill_dataset_get_i64(d.dataset, "truncated", &value, &err));
    CHECK_INT(value, SEQUENCES);
    REQUIRE_OK(distill_dataset_get_i64(d.dataset, "learnt", &value, &err));
    CHECK_INT(value, SEQUENCES * 3);
    CHECK_INT(distill_dataset_get_i64(d.dataset, "sample", &value, &err), DISTILL_E_NOT_FOUND);
    CHECK_HAS(err.message, "key sample is not one of samples, tokens");
    distill_dataset *other = NULL;
    CHECK_INT(distill_dataset_open(d.env, "no-such-file.txt", NULL, d.options, &other, &err), DISTILL_E_NOT_FOUND);
    CHECK_INT(distill_dataset_from_tokens(d.env, NULL, d.options, &other, &err), DISTILL_E_INVALID);
    CHECK(other == NULL);
    close_data(&d);
}

TEST_MAIN(TEST_CASE(next_gives_every_window_of_an_epoch) TEST_CASE(a_cursor_comes_back) TEST_CASE(counts_and_errors))
