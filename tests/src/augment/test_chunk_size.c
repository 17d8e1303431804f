/* How many samples a chunk has: growing where a teacher writes, small where a budget ends. */
#include "augment/chunk_size.h"
#include "test.h"

static int64_t size_of(int64_t samples, int64_t tokens, double seconds, int64_t tokens_left, double seconds_left)
{
    const di_chunk_facts facts = {.samples = samples,
                                  .tokens = tokens,
                                  .seconds = seconds,
                                  .tokens_left = tokens_left,
                                  .seconds_left = seconds_left};
    return di_chunk_in_time(di_chunk_size(&facts), &facts);
}

TEST(it_grows_where_a_teacher_writes)
{
    CHECK_INT(size_of(0, 0, 0, 0, 0), 32);
    CHECK_INT(size_of(3200, 0, 1, 0, 0), 32); /* curation: nothing is gained */
    CHECK_INT(size_of(32, 320, 1, 0, 0), 96);
    CHECK_INT(size_of(128, 1280, 4, 0, 0), 384);
    CHECK_INT(size_of(100000, 1000000, 100, 0, 0), 512);
    CHECK_INT(size_of(1000, 128000, 100, 0, 0), 128);        /* 16,384 tokens at most */
    CHECK_INT(size_of(1000, 10000, 1000, 0, 0), 60);         /* a minute at most, */
    CHECK_INT(size_of(1000, 10000, 30000, 0, 0), 32);        /* but never fewer than at first */
    CHECK_INT(size_of(1000, 10000, 30000, 1000000, 0), 512); /* time does not say where tokens have a budget */
}

TEST(time_does_not_say_where_a_budget_of_tokens_ends)
{
    di_chunk_facts facts = {.samples = 1000, .tokens = 10000, .seconds = 10, .tokens_left = 1000, .seconds_left = 0.1};
    CHECK_INT(di_chunk_size(&facts), 50);
    CHECK_INT(di_chunk_in_time(50, &facts), 5);
    facts.seconds_left = 1e-9;
    CHECK_INT(di_chunk_size(&facts), 50);
    CHECK_INT(di_chunk_in_time(50, &facts), 1);
}

TEST(a_budget_ends_at_a_sample)
{
    CHECK_INT(size_of(0, 0, 0, 1, 1), 32);
    CHECK_INT(size_of(1000, 10000, 10, 1000, 0), 50); /* 100 samples are left */
    CHECK_INT(size_of(1000, 10000, 10, 1, 0), 1);
    CHECK_INT(size_of(1000, 10000, 10, 0, 1), 50);
    CHECK_INT(size_of(1000, 10000, 10, 0, 1e-9), 1);
    int64_t samples = 32, tokens = 320;
    while (tokens < 100003) { /* ten tokens each */
        const int64_t size = size_of(samples, tokens, 1, 100003 - tokens, 0);
        samples += size;
        tokens += 10 * size;
    }
    CHECK_INT(samples, 10001);
}

TEST_MAIN(TEST_CASE(it_grows_where_a_teacher_writes) TEST_CASE(time_does_not_say_where_a_budget_of_tokens_ends)
              TEST_CASE(a_budget_ends_at_a_sample))
