/* Pages of keys and values: what is shared, cut off and written on reads as if it had been read from the beginning. */
#include "test_model.h"

enum { CONTEXT = 620, MOST = 256 };
static const char config[] = "{\"model_type\":\"mistral\",\"hidden_size\":36,\"num_attention_heads\":3,"
                             "\"num_key_value_heads\":1,\"num_hidden_layers\":2,\"intermediate_size\":40,"
                             "\"vocab_size\":61,\"max_position_embeddings\":620,\"sliding_window\":100}";

typedef struct store {
    fixture f;
    dk_cache *cache;
    dk_cache_spec spec;
} store;

static int store_make(store *s, backend_kind kind, int64_t tokens, dk_dtype type)
{
    dk_error err = {0};
    *s = (store){.spec = {.sequences = 3, .capacity = 300, .tokens = tokens, .max_rows = MOST, .type = type}};
    if (!fixture_make(&s->f, kind, config)) return 0;
    CHECK_OK(dk_cache_create(s->f.model, &s->spec, &s->cache, &err));
    return s->cache != NULL;
}

static void store_end(store *s)
{
    dk_cache_free(s->cache);
    fixture_end(&s->f);
}

/* Token i of text `which`. */
static int32_t token(int which, int64_t i)
{
    return (int32_t)(dk_random_u64((uint64_t)which, DK_STREAM_TEST, (uint64_t)i) % 61);
}

/* Tokens [first, first + n) of a text; the hidden state behind them is the caller's to free. */
static double *append(store *s, int64_t sequence, int which, int64_t first, int64_t n)
{
    int32_t ids[MOST];
    int64_t offsets[] = {0, n};
    dk_tokens tokens = {.ids = ids, .offsets = offsets, .sequences = 1};
    dk_view hidden = dk_view_none();
    dk_error err = {0};
    for (int64_t i = 0; i < n; i++) ids[i] = token(which, first + i);
    CHECK_OK(dk_cache_forward(s->cache, &tokens, &sequence, &hidden, &err));
    return dk_view_present(hidden) ? new_read(&s->f, hidden) : NULL;
}

static void pass_over(store *s, int64_t sequence, int which, int64_t first, int64_t n)
{
    free(append(s, sequence, which, first, n));
}

/* `got` is the state behind `shared` tokens of text a and `own` of text b, which a cache of its own reads. */
static void check_fresh(const store *like, backend_kind kind, double *got, int a, int64_t shared, int b, int64_t own,
                        const char *what)
{
    store s;
    if (store_make(&s, kind, 0, like->spec.type)) {
        double tolerance = s.f.backend->invariant_rows == INT64_MAX ? 0 : 1e-4; /* CBLAS: the contract ends early */
        pass_over(&s, 2, a, 0, shared);
        double *want = append(&s, 2, b, shared, own);
        for (int i = 0; got && want && i < 36; i++)
            if (!(fabs(got[i] - want[i]) <= tolerance)) {
                FAIL("%s on %s: entry %d is off by %g", what, backend_names[kind], i, fabs(got[i] - want[i]));
                break;
            }
        free(want);
    }
    store_end(&s);
    free(got);
}

static void check_shared(backend_kind kind, dk_dtype type, int64_t shared)
{
    store s;
    dk_error err = {0};
    if (store_make(&s, kind, 0, type)) {
        pass_over(&s, 0, 1, 0, 150);
        CHECK_OK(dk_cache_share(s.cache, 0, 1, shared, &err));
        CHECK_INT(dk_cache_length(s.cache, 1), shared);
        double *branch = append(&s, 1, 2, shared, 30);
        double *trunk = append(&s, 0, 1, 150, 20);             /* what the branch wrote is not seen here */
        CHECK_OK(dk_cache_share(s.cache, 1, 2, shared, &err)); /* by now of two others */
        dk_cache_reset(s.cache, 0);
        double *third = append(&s, 2, 3, shared, 70);
        check_fresh(&s, kind, branch, 1, shared, 2, 30, "a branch");
        check_fresh(&s, kind, trunk, 1, 150, 1, 20, "the trunk");
        check_fresh(&s, kind, third, 1, shared, 3, 70, "a branch of a branch");
    }
    store_end(&s);
}

TEST(share)
{
    static const int64_t shared[] = {1, 63, 64, 65, 100, 128, 150};
    for (int i = 0; i < 7; i++) check_shared(ON_CPU, DK_F32, shared[i]);
    check_shared(ON_CPU, DK_BF16, 100);
    check_shared(ON_F64, DK_F64, 100);
}

TEST(truncate)
{
    static const int64_t kept[] = {1, 63, 64, 65, 149, 150};
    for (int i = 0; i < 6; i++) {
        store s;
        dk_error err = {0};
        if (store_make(&s, ON_CPU, 0, DK_F32)) {
            pass_over(&s, 1, 7, 0, 40); /* so that pages are no longer in order */
            pass_over(&s, 0, 1, 0, 150);
            dk_cache_reset(s.cache, 1);
            CHECK_OK(dk_cache_truncate(s.cache, 0, kept[i], &err));
            CHECK_INT(dk_cache_length(s.cache, 0), kept[i]);
            check_fresh(&s, ON_CPU, append(&s, 0, 2, kept[i], 90), 1, kept[i], 2, 90, "what was cut");
            CHECK_INT(dk_cache_truncate(s.cache, 0, kept[i] + 91, &err), DK_E_INVALID);
            CHECK_HAS(err.message, "tokens, of which the first");
        }
        store_end(&s);
    }
}

TEST(room) /* pages are counted: shared ones once */
{
    store s;
    dk_error err = {0};
    if (store_make(&s, ON_CPU, 5 * DK_PAGE - 10, DK_F32)) {
        CHECK_INT(dk_cache_room(s.cache), 5 * DK_PAGE);
        pass_over(&s, 0, 1, 0, 100);
        CHECK_INT(dk_cache_room(s.cache), 3 * DK_PAGE);
        CHECK_OK(dk_cache_share(s.cache, 0, 1, 100, &err));
        CHECK_INT(dk_cache_room(s.cache), 3 * DK_PAGE);
        pass_over(&s, 1, 2, 100, 1); /* a page of its own */
        CHECK_INT(dk_cache_room(s.cache), 2 * DK_PAGE);
        pass_over(&s, 1, 2, 101, 27);
        CHECK_INT(dk_cache_room(s.cache), 2 * DK_PAGE);

        int32_t ids[200] = {0};
        int64_t offsets[] = {0, 10, 160}, which[] = {0, 2};
        dk_tokens tokens = {.ids = ids, .offsets = offsets, .sequences = 2};
        dk_view hidden;
        CHECK_INT(dk_cache_forward(s.cache, &tokens, which, &hidden, &err), DK_E_NOMEM);
        CHECK_HAS(err.message, "cache: 3 pages of 64 tokens are needed, 2 of 5 are free");
        CHECK_INT(dk_cache_length(s.cache, 0), 100);
        CHECK_INT(dk_cache_length(s.cache, 2), 0);
        CHECK_INT(dk_cache_room(s.cache), 2 * DK_PAGE);
        dk_cache_reset(s.cache, 1);
        CHECK_INT(dk_cache_room(s.cache), 3 * DK_PAGE); /* the first page is still held by sequence 0 */
        CHECK_OK(dk_cache_forward(s.cache, &tokens, which, &hidden, &err));
        dk_cache_reset(s.cache, 0);
        dk_cache_reset(s.cache, 2);
        CHECK_INT(dk_cache_room(s.cache), 5 * DK_PAGE);
        CHECK_INT(dk_cache_share(s.cache, 0, 0, 0, &err), DK_E_INVALID);
        CHECK_INT(dk_cache_share(s.cache, 0, 3, 0, &err), DK_E_INVALID);
        CHECK_HAS(err.message, "sequence 3 is not in [0, 3)");
    }
    store_end(&s);
}

TEST(bf16) /* half the memory, and close */
{
    store wide, narrow;
    int two = store_make(&wide, ON_CPU, 0, DK_F32);
    two &= store_make(&narrow, ON_CPU, 0, DK_BF16);
    if (two) {
        double *a = append(&wide, 0, 1, 0, 200), *b = append(&narrow, 0, 1, 0, 200), most = 0;
        for (int i = 0; a && b && i < 36; i++) most = test_worst(most, fabs(a[i] - b[i]));
        CHECK(most > 0 && most < 0.02);
        int64_t keys = 3 * 5 * DK_PAGE * 12 * 2 * 2; /* pages, width, keys and values, layers */
        int64_t saved = dk_cache_bytes(wide.cache) - dk_cache_bytes(narrow.cache);
        CHECK_INT(saved, 2 * keys - MOST * 12 * 2);
        free(a);
        free(b);
    }
    dk_error err = {0};
    dk_cache *none = NULL;
    narrow.spec.type = DK_F16;
    CHECK_INT(dk_cache_create(narrow.f.model, &narrow.spec, &none, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "kept in f32 or bf16, not in f16");
    store_end(&wide);
    store_end(&narrow);
}

TEST_MAIN(TEST_CASE(share) TEST_CASE(truncate) TEST_CASE(room) TEST_CASE(bf16))
