/* test_cache_rows.c - rows of each tier to bytes and back: what is exact is, what is rounded keeps its bound. */
#include "base/hash.h"
#include "cache_fixture.h"

TEST(codes_decode_to_what_was_coded)
{
    static const uint32_t values[] = {0, 1, 2, 5, 23, 24, 25, 1000, 151935, 1u << 24, INT32_MAX};
    dk_host *host = NULL;
    dk_strbuf bytes;
    dk_error err;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    for (int kinds = 1; kinds <= 2; kinds++)
        for (int n = 1; n <= 11; n++) {
            int kind, parameter;
            dk_strbuf_init(&bytes, host);
            di_bit_writer writer = {&bytes, 0, 0};
            di_code_choose(values, n, kinds, 32, &kind, &parameter);
            for (int i = 0; i < n; i++) di_code_put(&writer, kind, parameter, values[i]);
            di_bits_end(&writer);
            di_bit_reader reader = {(const uint8_t *)bytes.data, bytes.size, 0, bytes.size * 8};
            for (int i = 0; i < n; i++)
                CHECK_INT(kind == DI_CODE_RICE ? di_code_get_rice(&reader, parameter)
                                               : di_code_get_exp_golomb(&reader, parameter),
                          values[i]);
            CHECK_INT((reader.at + 7) / 8, bytes.size);
            dk_strbuf_free(&bytes);
        }
    dk_host_release(host);
}

typedef struct coded { /* one row */
    dk_host *host;
    di_cache_header header;
    di_row_writer *writer;
    float powers[DI_ROW_POWERS];
    int32_t ids[512];
    float values[512], tail;
    int64_t count;
    size_t bytes;
    dk_error err;
} coded;

static int begin(coded *c, di_cache_header header)
{
    memset(c, 0, sizeof *c);
    c->header = header;
    if (header.step) di_row_powers(&header, c->powers);
    return dk_host_create(NULL, &c->host, &c->err) == DK_OK &&
           di_row_writer_create(c->host, &c->header, &c->writer, &c->err) == DK_OK;
}

static void end(coded *c)
{
    di_row_writer_free(c->writer);
    dk_host_release(c->host);
}

static int32_t there_and_back(coded *c, const int32_t *ids, const float *values, int64_t k, double tail)
{
    di_row_reader reader;
    const void *data;
    int64_t rows;
    int32_t rc = di_row_put(c->writer, ids, values, k, tail, &c->err);
    if (!rc) rc = di_row_writer_take(c->writer, &data, &c->bytes, &rows, &c->err);
    if (!rc) rc = di_row_reader_begin(&reader, &c->header, c->powers, data, c->bytes, rows, &c->err);
    if (!rc) rc = di_row_get(&reader, c->ids, c->values, &c->count, &c->tail, &c->err);
    return rc;
}

TEST(top_k_keeps_ids_and_its_bound)
{
    coded c;
    double mass = 0, worst = 0;
    REQUIRE(begin(&c, cache_header(DI_TIER_TOP_K)));
    for (uint64_t n = 0; n < 200; n++) {
        const cache_row row = make_row(&c.header, n);
        dk_error err;
        REQUIRE_OK((there_and_back(&c, row.ids, row.values, row.count, row.tail), err = c.err, c.err.code));
        CHECK_INT(c.count, row.count);
        mass = exp((double)c.tail);
        for (int64_t i = 0; i < c.count; i++) {
            const int at = row_has(&row, c.ids[i]);
            REQUIRE(at > 0);
            worst = test_worst(worst, fabs((double)c.values[i] - (double)row.values[at - 1]));
            mass += exp((double)c.values[i]);
        }
        CHECK_NEAR(mass, 1, 1e-5);
        CHECK_NEAR((double)c.tail, row.tail, 1.0 / 1024);
    }
    CHECK(worst <= 1.0 / 32 + 1.0 / 1024);
    CHECK(worst > 1e-3); /* it is rounded, or the bound says nothing */
    end(&c);
}

TEST(top_k_at_its_edges)
{
    const int32_t ids[] = {7, -1, 151642};
    const float sharp[] = {0, 0, -90}, far[] = {0, 0, -200}, zero[] = {0, 0, -INFINITY}, bad[] = {0, 0, NAN};
    const int32_t outside[] = {151643, 1, 2}, twice[] = {4, 5, 4};
    const float even[] = {-1.0986123f, -1.0986123f, -1.0986123f};
    coded c;
    REQUIRE(begin(&c, cache_header(DI_TIER_TOP_K)));
    CHECK_INT(there_and_back(&c, ids, sharp, 3, -INFINITY), 0);
    CHECK_INT(c.count, 2);
    CHECK_INT(c.ids[1], 151642);
    CHECK_NEAR((double)c.values[1], -90, 0.04);
    CHECK(c.tail <= -INFINITY);
    CHECK_INT(there_and_back(&c, ids, far, 3, -INFINITY), 0); /* e^-200 is the tail's */
    CHECK_INT(c.count, 1);
    CHECK(c.tail < -60);
    CHECK_INT(there_and_back(&c, ids, zero, 3, -INFINITY), 0);
    CHECK_INT(c.count, 1);
    CHECK_NEAR((double)c.values[0], 0, 1e-6);
    CHECK_INT(there_and_back(&c, ids, zero, 0, 0), 0); /* nothing but a tail */
    CHECK_INT(c.count, 0);
    CHECK_NEAR((double)c.tail, 0, 0);
    CHECK_INT(there_and_back(&c, ids, bad, 3, -1), DK_E_NUMERIC);
    CHECK_INT(there_and_back(&c, outside, even, 3, -INFINITY), DK_E_INVALID);
    CHECK_HAS(c.err.message, "id 151643 is outside the 151643 ids that count");
    CHECK_INT(there_and_back(&c, twice, even, 3, -INFINITY), DK_E_INVALID);
    CHECK_HAS(c.err.message, "id 4 twice");
    CHECK_INT(there_and_back(&c, outside + 1, even, 2, log(1 / 3.0)), 0); /* failures left nothing behind */
    CHECK_INT(c.count, 2);
    end(&c);
}

TEST(draws_are_exact)
{
    const int32_t ids[] = {3, 151642};
    const float counts[] = {11, 1}, few[] = {1, 1}, half[] = {11.5f, 0.5f};
    coded c;
    REQUIRE(begin(&c, cache_header(DI_TIER_SAMPLED)));
    CHECK_INT(there_and_back(&c, ids, counts, 2, 0), 0);
    CHECK_INT(c.count, 2);
    CHECK_NEAR((double)c.values[0], 11, 0);
    CHECK_INT(there_and_back(&c, ids, few, 2, 0), DK_E_INVALID);
    CHECK_HAS(c.err.message, "2 draws, the target cache has 12");
    CHECK_INT(there_and_back(&c, ids, half, 2, 0), DK_E_INVALID);
    end(&c);
}

TEST(draws_keep_the_entropy_of_what_they_are_drawn_from)
{
    const int32_t ids[] = {3, 151642};
    const float counts[] = {11, 1};
    const double entropies[] = {0, 1.25, 11.93, 31.99};
    di_cache_header header = cache_header(DI_TIER_SAMPLED);
    coded c;
    header.entropy = 1;
    REQUIRE(begin(&c, header));
    for (int i = 0; i < 4; i++) {
        CHECK_INT(there_and_back(&c, ids, counts, 2, entropies[i]), 0);
        CHECK_NEAR((double)c.tail, entropies[i], 1.0 / 4096);
        CHECK_NEAR((double)c.values[0], 11, 0);
    }
    CHECK_INT(there_and_back(&c, ids, counts, 2, NAN), DK_E_NUMERIC);
    CHECK_INT(there_and_back(&c, ids, counts, 2, -0.5), DK_E_NUMERIC);
    CHECK_INT(there_and_back(&c, ids, counts, 2, 32), DK_E_NUMERIC);
    end(&c);
}

/* A file without entropies is of version 1, byte for byte as before there were any; another tier has none. */
TEST(headers_say_whether_there_is_an_entropy)
{
    di_cache_header header = cache_header(DI_TIER_SAMPLED), back;
    uint8_t bytes[DI_CACHE_HEADER];
    dk_error err;
    for (uint32_t entropy = 0; entropy < 2; entropy++) {
        header.entropy = entropy;
        di_cache_header_write(&header, bytes);
        CHECK_INT(bytes[8], 1 + entropy);
        CHECK_INT(di_cache_header_read(bytes, sizeof bytes, "f", &back, &err), 0);
        CHECK_INT(back.entropy, entropy);
    }
    bytes[8] = 1; /* version 1 says nothing of an entropy */
    di_put(bytes + 252, dk_crc32c(0, bytes, 252), 4);
    CHECK_INT(di_cache_header_read(bytes, sizeof bytes, "f", &back, &err), DK_E_FORMAT);
    bytes[8] = 3;
    CHECK_INT(di_cache_header_read(bytes, sizeof bytes, "f", &back, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "reads 1 to 2");
    header = cache_header(DI_TIER_TOP_K);
    header.entropy = 1;
    CHECK_INT(di_cache_header_check(&header, "f", &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "entropy 1");
    header = cache_header(DI_TIER_SAMPLED);
    back = header;
    back.entropy = 1;
    CHECK_INT(di_cache_header_match(&header, &back, "f", &err), DK_E_MISMATCH);
    CHECK_HAS(err.message, "without their entropy");
}

TEST(dense_tiers_keep_their_bounds)
{
    coded c;
    di_cache_header bf16 = cache_header(DI_TIER_HIDDEN);
    bf16.bits = 16;
    const di_cache_header headers[] = {cache_header(DI_TIER_HIDDEN), bf16, cache_header(DI_TIER_FULL)};
    const double bounds[] = {0, 0x1p-8, 0x1p-11};
    for (int i = 0; i < 3; i++) {
        REQUIRE(begin(&c, headers[i]));
        const cache_row row = make_row(&c.header, 5);
        float top = 0;
        CHECK_INT(there_and_back(&c, NULL, row.values, 0, 0), 0);
        CHECK_INT(c.bytes, c.header.width * c.header.bits / 8);
        for (int64_t j = 0; i == 2 && j < c.header.vocab_valid; j++) top = fmaxf(top, row.values[j]);
        for (int64_t j = 0; j < c.header.width; j++) {
            const double want = (double)(row.values[j] - top);
            if (i == 2 && j >= c.header.vocab_valid) CHECK((double)c.values[j] <= -INFINITY);
            else CHECK_NEAR((double)c.values[j], want, fabs(want) * bounds[i]);
        }
        end(&c);
    }
}

/* The largest floats are infinite in BF16. */
TEST(a_state_that_bf16_does_not_hold_is_refused)
{
    for (int i = 0; i < 2; i++) {
        coded c;
        di_cache_header header = cache_header(DI_TIER_HIDDEN);
        header.bits = i ? 16 : 32;
        REQUIRE(begin(&c, header));
        cache_row row = make_row(&c.header, 5);
        row.values[2] = -3.4e38f;
        CHECK_INT(there_and_back(&c, NULL, row.values, 0, 0), i ? DK_E_NUMERIC : DK_OK);
        if (i)
            CHECK_HAS(c.err.message, "value 2 of a row is -3.4e+38, more than bf16 holds (3.39e38): keep rows in f32");
        row.values[2] = -3.389e38f;
        CHECK_INT(there_and_back(&c, NULL, row.values, 0, 0), DK_OK);
        CHECK_NEAR((double)c.values[2], -3.389e38, 3.389e38 * 0x1p-8);
        end(&c);
    }
}

TEST(vocabularies_reach_two_to_the_31)
{
    di_cache_header header = cache_header(DI_TIER_TOP_K);
    const int32_t ids[] = {0, INT32_MAX};
    const float half[] = {-0.693147f, -0.693147f};
    coded c;
    header.vocab = header.vocab_valid = INT64_C(1) << 31;
    REQUIRE(begin(&c, header));
    CHECK_INT(there_and_back(&c, ids, half, 2, -INFINITY), 0);
    CHECK_INT(c.ids[1], INT32_MAX);
    end(&c);
}

/* The sizes that docs/target-cache.md promises for ids by a Zipf law. */
TEST(rows_are_small)
{
    const double most[] = {130, 40};
    for (int i = 0; i < 2; i++) {
        coded c;
        double bytes = 0;
        REQUIRE(begin(&c, cache_header(i ? DI_TIER_SAMPLED : DI_TIER_TOP_K)));
        for (uint64_t n = 0; n < 500; n++) {
            const cache_row row = make_row(&c.header, n);
            CHECK_INT(di_row_put(c.writer, row.ids, row.values, row.count, row.tail, &c.err), 0);
        }
        bytes = (double)di_row_writer_bytes(c.writer) / 500;
        fprintf(stderr, "%s: %.1f bytes a row\n", di_tier_name(c.header.tier), bytes);
        CHECK(bytes <= most[i]);
        end(&c);
    }
}

TEST_MAIN(TEST_CASE(codes_decode_to_what_was_coded) TEST_CASE(top_k_keeps_ids_and_its_bound)
              TEST_CASE(top_k_at_its_edges) TEST_CASE(draws_are_exact)
                  TEST_CASE(draws_keep_the_entropy_of_what_they_are_drawn_from)
                      TEST_CASE(headers_say_whether_there_is_an_entropy) TEST_CASE(dense_tiers_keep_their_bounds)
                          TEST_CASE(a_state_that_bf16_does_not_hold_is_refused)
                              TEST_CASE(vocabularies_reach_two_to_the_31) TEST_CASE(rows_are_small))
