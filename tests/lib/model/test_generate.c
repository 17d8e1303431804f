/* The cache against whole passes, and text that depends on nothing but weights, prompt, seed and number. */
#include "../base/fail_alloc.h"
#include "test_model.h"

/* ---- cache ---- */
static int32_t make_cache(dk_model *model, int64_t sequences, int64_t capacity, int64_t max_rows, dk_cache **out,
                          dk_error *err)
{
    dk_cache_spec spec = {.sequences = sequences, .capacity = capacity, .max_rows = max_rows};
    return dk_cache_create(model, &spec, out, err);
}

/* Hidden states of a whole pass over the batch, [rows, hidden]. */
static double *whole_pass(fixture *f, const batch *b)
{
    dk_error err = {0};
    dk_pass *pass = NULL;
    dk_pass_spec spec = {.max_rows = MOST_ROWS, .max_sequences = MOST_SEQUENCES};
    dk_tokens tokens = tokens_of(b);
    double *out = NULL;
    CHECK_OK(dk_pass_create(f->model, &spec, &pass, &err));
    if (!pass) return NULL;
    CHECK_OK(dk_pass_forward(pass, &tokens, &err));
    out = new_read(f, dk_pass_hidden(pass));
    dk_pass_free(pass);
    return out;
}

/* Feeds chunk by chunk: call c appends chunks[c][s] tokens of sequence s, sequences in falling order. */
static void check_chunks(fixture *f, const char *config, const batch *b, const int64_t (*chunks)[3], int64_t calls,
                         double tolerance)
{
    dk_error err = {0};
    dk_cache *cache = NULL;
    int64_t width = f->model->config.hidden_size;
    double *want = whole_pass(f, b);
    CHECK_OK(make_cache(f->model, 3, 20, 16, &cache, &err));
    for (int64_t c = 0; cache && want && c < calls; c++) {
        int32_t ids[16];
        int64_t offsets[4] = {0}, which[3], n = 0, rows = 0;
        for (int64_t s = 2; s >= 0; s--) {
            int64_t at = dk_cache_length(cache, s);
            if (!chunks[c][s]) continue;
            for (int64_t i = 0; i < chunks[c][s]; i++) ids[rows++] = b->ids[b->offsets[s] + at + i];
            which[n++] = s;
            offsets[n] = rows;
        }
        dk_tokens tokens = {.ids = ids, .offsets = offsets, .sequences = n};
        dk_view hidden = dk_view_none();
        CHECK_OK(dk_cache_forward(cache, &tokens, which, &hidden, &err));
        double *got = new_read(f, hidden);
        for (int64_t i = 0; i < n; i++) {
            const double *row = want + (b->offsets[which[i]] + dk_cache_length(cache, which[i]) - 1) * width;
            for (int64_t k = 0; k < width; k++)
                if (!(fabs(got[i * width + k] - row[k]) <= tolerance))
                    FAIL("%s: sequence %d after call %d is off by %g", config, (int)which[i], (int)c,
                         fabs(got[i * width + k] - row[k]));
        }
        free(got);
    }
    dk_cache_free(cache);
    free(want);
}

TEST(cache_equals_pass)
{
    static const int64_t lengths[] = {9, 5, 12};
    static const int64_t chunks[][3] = {{4, 0, 1}, {0, 2, 7}, {1, 1, 1}, {1, 1, 1}, {3, 0, 1}, {0, 1, 1}};
    for (int kind = ON_CPU; kind <= ON_F64; kind++) {
        for (int i = 0; i < TINY_CONFIGS; i++) {
            fixture f;
            if (fixture_make(&f, (backend_kind)kind, tiny_configs[i])) {
                batch b = make_batch(lengths, 3, f.model->config.vocab_size, 17);
                check_chunks(&f, tiny_configs[i], &b, chunks, 6, kind == ON_F64 ? 1e-12 : 2e-5);
            }
            fixture_end(&f);
        }
    }
}

TEST(cache_starts_again)
{
    dk_error err = {0};
    fixture f;
    dk_cache *cache = NULL;
    dk_view hidden;
    const int32_t ids[] = {3, 1, 4, 1, 5};
    const int64_t offsets[] = {0, 5}, which[] = {1};
    dk_tokens tokens = {.ids = ids, .offsets = offsets, .sequences = 1};
    if (!fixture_make(&f, ON_CPU, tiny_configs[5])) return;
    CHECK_OK(make_cache(f.model, 2, 8, 5, &cache, &err));
    CHECK_OK(dk_cache_forward(cache, &tokens, which, &hidden, &err));
    double *first = new_read(&f, hidden);
    dk_cache_reset(cache, 1);
    CHECK_INT(dk_cache_length(cache, 1), 0);
    int64_t before = dk_host_allocations(f.host);
    CHECK_OK(dk_cache_forward(cache, &tokens, which, &hidden, &err));
    CHECK_INT(dk_host_allocations(f.host) - before, 0);
    CHECK_INT(dk_cache_length(cache, 1), 5);
    double *second = new_read(&f, hidden);
    CHECK(memcmp(first, second, sizeof *first * 8) == 0);
    free(first);
    free(second);
    dk_cache_free(cache);
    fixture_end(&f);
}

static int32_t feed(dk_cache *cache, int64_t length, int64_t sequences, const int64_t *which, dk_error *err)
{
    static const int32_t ids[32] = {1};
    int64_t offsets[4];
    dk_view hidden;
    for (int64_t i = 0; i <= 3; i++) offsets[i] = i * length;
    dk_tokens tokens = {.ids = ids, .offsets = offsets, .sequences = sequences};
    return dk_cache_forward(cache, &tokens, which, &hidden, err);
}

TEST(cache_errors)
{
    static const int64_t first[] = {0}, outside[] = {2}, twice[] = {1, 1}, all[] = {0, 1, 0};
    dk_error err = {0};
    fixture f;
    dk_cache *cache = NULL;
    if (!fixture_make(&f, ON_CPU, tiny_configs[5])) return;
    CHECK_INT(make_cache(f.model, 2, 25, 5, &cache, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "25 tokens for a sequence, but the model's context ends at 24");
    CHECK_INT(make_cache(f.model, 0, 5, 5, &cache, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "0 sequences");
    REQUIRE_OK(make_cache(f.model, 2, 8, 6, &cache, &err));
    CHECK_INT(feed(cache, 1, 1, outside, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "sequence 2 is not in [0, 2)");
    CHECK_INT(feed(cache, 1, 2, twice, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "named twice");
    CHECK_INT(feed(cache, 1, 3, all, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "3 sequences in a call");
    CHECK_INT(feed(cache, 7, 1, first, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "made for 6 at once");
    CHECK_INT(feed(cache, 0, 1, first, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "nothing new");
    CHECK_OK(feed(cache, 6, 1, first, &err));
    CHECK_INT(feed(cache, 3, 1, first, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "holds 6 tokens and has no room for 3 more; it was made for 8");
    CHECK_INT(dk_cache_length(cache, 0), 6);
    dk_cache_free(cache);
    fixture_end(&f);
}

/* ---- generation ---- */
enum { MOST_TOKENS = 32 };
typedef struct text { /* what one sequence wrote */
    int32_t ids[MOST_TOKENS], finished;
    double log_probs[MOST_TOKENS];
    int64_t count;
} text;
typedef struct texts {
    text of[MOST_SEQUENCES];
    int32_t code, after; /* return code once `after` tokens are there */
    fixture *cancel;
    int32_t total;
    int64_t last_sequence, turns; /* how often the next token was another sequence's */
} texts;

static int32_t on_token(void *user, int64_t sequence, int32_t id, double log_prob, int32_t finished)
{
    texts *all = user;
    text *t = &all->of[sequence];
    CHECK(!t->finished && t->count < MOST_TOKENS);
    t->ids[t->count] = id;
    t->log_probs[t->count++] = log_prob;
    t->finished = finished;
    all->turns += sequence != all->last_sequence;
    all->last_sequence = sequence;
    if (++all->total == all->after && all->cancel) dk_host_cancel(all->cancel->host, 1);
    return all->code && all->total == all->after ? all->code : 0;
}

static const dk_generate_args plain_args = {
    .max_tokens = 10, .temperature = 0.9, .top_p = 0.95, .top_k = 9, .seed = 42, .emit = on_token};

static int32_t generate(fixture *f, const batch *b, dk_generate_args args, texts *out, dk_error *err)
{
    dk_tokens tokens = tokens_of(b);
    args.user = out;
    return dk_generate(f->model, &tokens, &args, err);
}

static const int64_t prompt_lengths[] = {5, 1, 9, 3, 2, 7};

/* A sequence by itself, in front of others and with other neighbours writes the same, to the bit. */
static void check_neighbours(fixture *f, const char *config, dk_precision precision, dk_dtype cache_type)
{
    dk_generate_args args = plain_args;
    dk_error err = {0};
    batch all = make_batch(prompt_lengths, 6, f->model->config.vocab_size, 23);
    texts together = {.code = 0}, alone;
    args.precision = precision;
    args.cache_type = cache_type;
    CHECK_OK(generate(f, &all, args, &together, &err));
    for (int64_t n = 1; n < 6; n++) {
        batch fewer = all;
        fewer.sequences = n;
        memset(&alone, 0, sizeof alone);
        CHECK_OK(generate(f, &fewer, args, &alone, &err));
        for (int64_t s = 0; s < n; s++)
            if (memcmp(&alone.of[s], &together.of[s], sizeof(text)) != 0)
                FAIL("%s, %s, keys in %s: sequence %d hangs on its neighbours", config, dk_precision_name(precision),
                     cache_type ? dk_dtype_name(cache_type) : "f32", (int)s);
    }
    CHECK_INT(together.of[5].count, 10);
    CHECK_INT(together.of[5].finished, 2);
}

TEST(neighbours)
{
    static const char *const wide[] = {
        /* widths at which kernels have whole vectors and leftovers */
        "{\"model_type\":\"gpt2\",\"n_embd\":100,\"n_head\":4,\"n_layer\":2,\"n_positions\":24,\"vocab_size\":401}",
        "{\"model_type\":\"llama\",\"hidden_size\":132,\"num_attention_heads\":3,\"num_key_value_heads\":1,"
        "\"num_hidden_layers\":2,\"intermediate_size\":300,\"vocab_size\":401,\"max_position_embeddings\":24}"};
    for (int i = 0; i < TINY_CONFIGS + 2; i++) {
        fixture f;
        const char *config = i < TINY_CONFIGS ? tiny_configs[i] : wide[i - TINY_CONFIGS];
        const int made = fixture_make(&f, ON_CPU, config);
        for (int p = DK_PRECISION_FULL; made && p <= DK_PRECISION_BF16; p++)
            for (int narrow = 0; narrow < 2 && f.model->backend->precisions >> p & 1; narrow++)
                check_neighbours(&f, config, (dk_precision)p, narrow ? DK_BF16 : 0);
        fixture_end(&f);
    }
}

/* Keys and values in BF16 say nearly what those in F32 do; in F32 the option changes no bit. */
TEST(cache_types)
{
    fixture f;
    dk_error err = {0};
    if (fixture_make(&f, ON_CPU, tiny_configs[0])) {
        const batch all = make_batch(prompt_lengths, 6, f.model->config.vocab_size, 23);
        dk_generate_args args = plain_args;
        texts by_default = {.code = 0}, wide = {.code = 0}, narrow = {.code = 0};
        args.temperature = 0;
        args.max_tokens = 1; /* all read the same prompts */
        CHECK_OK(generate(&f, &all, args, &by_default, &err));
        args.cache_type = DK_F32;
        CHECK_OK(generate(&f, &all, args, &wide, &err));
        CHECK(memcmp(&by_default, &wide, sizeof wide) == 0);
        args.cache_type = DK_BF16;
        CHECK_OK(generate(&f, &all, args, &narrow, &err));
        int32_t others = 0;
        for (int s = 0; s < 6; s++) {
            others += narrow.of[s].log_probs[0] != wide.of[s].log_probs[0];
            CHECK(fabs(narrow.of[s].log_probs[0] - wide.of[s].log_probs[0]) < 0.02);
        }
        CHECK(others > 0);
        args.cache_type = DK_F16;
        CHECK_INT(generate(&f, &all, args, &narrow, &err), DK_E_UNSUPPORTED);
        CHECK_HAS(err.message, "kept in f32 or bf16, not in f16");
    }
    fixture_end(&f);
}

/* The same beside longer neighbours, which fill more pieces than it does itself, at any place of the group; on a
 * backend whose products promise nothing for two rows, too. */
static void check_long_neighbours(fixture *f)
{
    enum { CONTEXT = 620, SEQUENCES = 6 };
    static const int64_t lengths[SEQUENCES] = {5, 300, 1, 257, 256, 40};
    static int32_t ids[SEQUENCES * CONTEXT];
    dk_error err = {0};
    dk_generate_args args = plain_args;
    texts short_ones = {.code = 0};
    for (int round = -1; round < SEQUENCES; round++) { /* round: the one that keeps its length; -1 = all do */
        int64_t offsets[SEQUENCES + 1] = {0};
        texts out = {.code = 0};
        for (int64_t s = 0; s < SEQUENCES; s++) {
            int64_t length = round < 0 || s == round ? lengths[s] : 600;
            offsets[s + 1] = offsets[s] + length;
            for (int64_t i = 0; i < length; i++)
                ids[offsets[s] + i] = (int32_t)(dk_random_u64((uint64_t)s, DK_STREAM_TEST, (uint64_t)i) %
                                                (uint64_t)f->model->config.vocab_size);
        }
        dk_tokens tokens = {.ids = ids, .offsets = offsets, .sequences = SEQUENCES};
        args.user = round < 0 ? &short_ones : &out;
        args.max_tokens = 6;
        CHECK_OK(dk_generate(f->model, &tokens, &args, &err));
        if (round >= 0 && memcmp(&out.of[round], &short_ones.of[round], sizeof(text)) != 0)
            FAIL("sequence %d reads otherwise beside longer ones", round);
    }
}

TEST(long_neighbours)
{
    static const char config[] =
        "{\"model_type\":\"mistral\",\"hidden_size\":24,\"num_attention_heads\":3,\"num_key_value_heads\":1,"
        "\"num_hidden_layers\":2,\"intermediate_size\":40,\"vocab_size\":61,\"max_position_embeddings\":620,"
        "\"sliding_window\":100}";
    for (int64_t promised = 0; promised < 2; promised++) {
        fixture f;
        if (fixture_make(&f, ON_CPU, config)) {
            CHECK(f.backend->invariant_rows > 1);
            if (promised) f.backend->invariant_rows = promised; /* groups of one */
            check_long_neighbours(&f);
        }
        fixture_end(&f);
    }
}

/* As many sequences write together as the backend promises equal bits for. */
TEST(groups_are_asked_of_the_backend)
{
    fixture f;
    dk_error err = {0};
    if (fixture_make(&f, ON_F64, tiny_configs[2])) {
        batch all = make_batch(prompt_lengths, 6, f.model->config.vocab_size, 23);
        texts wide = {.code = 0}, narrow = {.code = 0};
        CHECK(f.backend->invariant_rows == INT64_MAX);
        CHECK_OK(generate(&f, &all, plain_args, &wide, &err)); /* one group of six: tokens of all in turn */
        f.backend->invariant_rows = 1;
        CHECK_OK(generate(&f, &all, plain_args, &narrow, &err)); /* six groups */
        for (int s = 0; s < 6; s++) CHECK(memcmp(&wide.of[s], &narrow.of[s], sizeof(text)) == 0);
        CHECK(wide.last_sequence == 5 && wide.turns > 6);
        CHECK(narrow.last_sequence == 5);
        CHECK_INT(narrow.turns, 5);
    }
    fixture_end(&f);
}

/* log_prob is that of the whole vocabulary at temperature 1, whatever drew the token. */
static void check_log_probs(fixture *f, const batch *prompt, const text *t)
{
    dk_error err = {0};
    dk_queue queue;
    dk_buffer *buffer = NULL;
    batch whole = *prompt;
    int64_t vocab = f->model->config.vocab_size, width = f->model->config.hidden_size, length = prompt->offsets[1];
    whole.sequences = 1;
    for (int64_t i = 0; i < t->count; i++) whole.ids[length + i] = t->ids[i];
    whole.offsets[1] = length + t->count;
    double *hidden = whole_pass(f, &whole), z[64];
    REQUIRE_OK(f->backend->ops->buffer_create(f->backend, (width + vocab) * 8, &buffer, &err));
    dk_view in = dk_view_2d(buffer, 0, f->backend->real, 1, width),
            out = dk_view_2d(buffer, width * 8, f->backend->real, 1, vocab);
    (void)dk_queue_open(&queue, f->backend, NULL);
    for (int64_t i = 0; i < t->count; i++) {
        double total = 0;
        write_view(f, in, hidden + (length + i - 1) * width);
        dk_head_forward(&queue, f->model, DK_PRECISION_FULL, in, out);
        read_view(f, out, z);
        for (int64_t v = 0; v < vocab; v++) total += exp(z[v]);
        CHECK_NEAR(t->log_probs[i], z[t->ids[i]] - log(total), 1e-9);
    }
    f->backend->ops->buffer_free(f->backend, buffer);
    free(hidden);
}

TEST(log_probs)
{
    dk_error err = {0};
    for (int i = 0; i < TINY_CONFIGS; i++) {
        fixture f;
        if (fixture_make(&f, ON_F64, tiny_configs[i])) {
            batch b = make_batch(prompt_lengths, 1, 13, 23);
            texts out = {.code = 0};
            CHECK_OK(generate(&f, &b, plain_args, &out, &err));
            CHECK_INT(out.of[0].count, 10);
            check_log_probs(&f, &b, &out.of[0]);
        }
        fixture_end(&f);
    }
}

static int same_ids(const text *a, const text *b)
{
    return a->count == b->count && memcmp(a->ids, b->ids, sizeof *a->ids * (size_t)a->count) == 0;
}

TEST(drawing)
{
    dk_error err = {0};
    fixture f;
    if (!fixture_make(&f, ON_CPU, tiny_configs[2])) return;
    batch b = make_batch(prompt_lengths, 6, 13, 23);
    dk_generate_args args = plain_args;
    texts drawn = {.code = 0}, other = {.code = 0}, greedy = {.code = 0}, narrow = {.code = 0}, few = {.code = 0};
    int differ = 0;
    CHECK_OK(generate(&f, &b, args, &drawn, &err));
    batch last = b; /* draws by numbers of one's own: the text of sequence 5, alone */
    const uint64_t draws[1] = {UINT64_C(5) << 32};
    texts alone = {.code = 0};
    memmove(last.ids, last.ids + last.offsets[5], sizeof *last.ids * (size_t)(last.offsets[6] - last.offsets[5]));
    last.offsets[1] = last.offsets[6] - last.offsets[5];
    last.sequences = 1;
    args.draws = draws;
    CHECK_OK(generate(&f, &last, args, &alone, &err));
    CHECK(same_ids(&alone.of[0], &drawn.of[5]));
    args.draws = NULL;
    args.seed = 43;
    CHECK_OK(generate(&f, &b, args, &other, &err));
    args.temperature = 0;
    CHECK_OK(generate(&f, &b, args, &greedy, &err));
    args.temperature = 1;
    args.top_k = 1;
    CHECK_OK(generate(&f, &b, args, &narrow, &err));
    args.top_k = 0;
    args.vocab_valid = 4;
    CHECK_OK(generate(&f, &b, args, &few, &err));
    for (int s = 0; s < 6; s++) {
        differ += !same_ids(&drawn.of[s], &other.of[s]);
        CHECK(same_ids(&greedy.of[s], &narrow.of[s]));
        for (int64_t i = 0; i < few.of[s].count; i++) CHECK(few.of[s].ids[i] < 4);
    }
    CHECK(differ >= 4);
    fixture_end(&f);
}

TEST(ends)
{
    dk_error err = {0};
    fixture f;
    if (!fixture_make(&f, ON_CPU, tiny_configs[2])) return;
    batch b = make_batch(prompt_lengths, 6, 13, 23);
    texts free_run = {.code = 0}, stopped = {.code = 0}, full = {.code = 0};
    dk_generate_args args = plain_args;
    CHECK_OK(generate(&f, &b, args, &free_run, &err));
    args.stop = &free_run.of[3].ids[4];
    args.stop_count = 1;
    CHECK_OK(generate(&f, &b, args, &stopped, &err));
    for (int s = 0; s < 6; s++) {
        const text *t = &stopped.of[s], *whole = &free_run.of[s];
        int64_t at = 0;
        while (at < whole->count && whole->ids[at] != *args.stop) at++;
        CHECK_INT(t->count, at < whole->count ? at + 1 : whole->count);
        CHECK_INT(t->finished, at < whole->count ? 1 : 2);
        CHECK(memcmp(t->ids, whole->ids, sizeof *t->ids * (size_t)t->count) == 0);
    }
    args.stop_count = 0;
    args.max_tokens = INT64_MAX;
    CHECK_OK(generate(&f, &b, args, &full, &err));
    for (int s = 0; s < 6; s++) CHECK_INT(full.of[s].count, 25 - prompt_lengths[s]); /* the last one is never read */
    fixture_end(&f);
}

TEST(long_prompt) /* longer than what is read at once */
{
    dk_error err = {0};
    fixture f;
    static int32_t ids[700];
    static const int64_t offsets[] = {0, 700};
    const char *config = "{\"model_type\":\"llama\",\"hidden_size\":8,\"num_attention_heads\":2,\"num_key_value_"
                         "heads\":1,\"num_hidden_layers\":2,"
                         "\"intermediate_size\":10,\"vocab_size\":13,\"max_position_embeddings\":1000}";
    dk_pass *pass = NULL;
    dk_pass_spec spec = {.max_rows = 700, .max_sequences = 1};
    dk_tokens tokens = {.ids = ids, .offsets = offsets, .sequences = 1};
    texts out = {.code = 0};
    double z[13];
    dk_queue queue;
    dk_buffer *buffer = NULL;
    if (!fixture_make(&f, ON_CPU, config)) return;
    for (int i = 0; i < 700; i++) ids[i] = (int32_t)(dk_random_u64(9, DK_STREAM_TEST, (uint64_t)i) % 13);
    dk_generate_args args = plain_args;
    args.temperature = 0;
    args.max_tokens = 1;
    args.user = &out;
    CHECK_OK(dk_generate(f.model, &tokens, &args, &err));
    REQUIRE_OK(dk_pass_create(f.model, &spec, &pass, &err));
    REQUIRE_OK(dk_pass_forward(pass, &tokens, &err));
    REQUIRE_OK(f.backend->ops->buffer_create(f.backend, 13 * 4, &buffer, &err));
    dk_view logits = dk_view_2d(buffer, 0, DK_F32, 1, 13);
    (void)dk_queue_open(&queue, f.backend, NULL);
    dk_head_forward(&queue, f.model, DK_PRECISION_FULL, dk_view_rows(dk_pass_hidden(pass), 699, 1), logits);
    read_view(&f, logits, z);
    for (int v = 0; v < 13; v++) CHECK(z[v] <= z[out.of[0].ids[0]] + 1e-4);
    f.backend->ops->buffer_free(f.backend, buffer);
    dk_pass_free(pass);
    fixture_end(&f);
}

TEST(stopping)
{
    dk_error err = {0};
    fixture f;
    if (!fixture_make(&f, ON_CPU, tiny_configs[2])) return;
    batch b = make_batch(prompt_lengths, 6, 13, 23);
    texts failing = {.code = 7, .after = 9}, quitting = {.code = 2, .after = 9}, cancelled = {.cancel = &f, .after = 9};
    CHECK_INT(generate(&f, &b, plain_args, &failing, &err), DK_E_CALLBACK);
    CHECK_HAS(err.message, "callback returned 7");
    CHECK_INT(err.user_code, 7);
    CHECK_INT(failing.total, 9);
    CHECK_INT(generate(&f, &b, plain_args, &quitting, &err), DK_E_CANCELLED);
    CHECK_INT(quitting.total, 9);
    CHECK_INT(generate(&f, &b, plain_args, &cancelled, &err), DK_E_CANCELLED);
    CHECK(cancelled.total < 14);
    dk_host_cancel(f.host, 0);
    fixture_end(&f);
}

TEST(wrong_arguments)
{
    dk_error err = {0};
    fixture f;
    texts out = {.code = 0};
    const int64_t lengths[] = {2, 0}, long_lengths[] = {25};
    if (!fixture_make(&f, ON_CPU, tiny_configs[2])) return;
    batch good = make_batch(prompt_lengths, 1, 13, 1), empty = make_batch(lengths, 2, 13, 1),
          long_one = make_batch(long_lengths, 1, 13, 1), bad = good;
    dk_generate_args args = plain_args;
    bad.ids[2] = 13;
    CHECK_INT(generate(&f, &empty, args, &out, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "prompt 1 is empty");
    CHECK_INT(generate(&f, &long_one, args, &out, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "25 tokens, but the model's context ends at 24");
    CHECK_INT(generate(&f, &bad, args, &out, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "position 2 of sequence 0 holds id 13");
    args.temperature = -1;
    CHECK_INT(generate(&f, &good, args, &out, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "temperature is -1");
    args = plain_args;
    args.top_p = 0;
    CHECK_INT(generate(&f, &good, args, &out, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "top_p is 0");
    args = plain_args;
    args.top_k = -1;
    CHECK_INT(generate(&f, &good, args, &out, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "top_k is -1");
    args = plain_args;
    args.max_tokens = 0;
    CHECK_INT(generate(&f, &good, args, &out, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "max_tokens is 0");
    args = plain_args;
    args.vocab_valid = 14;
    CHECK_INT(generate(&f, &good, args, &out, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "vocab_valid is 14, not in [0, 13]");
    CHECK_INT(out.total, 0);
    fixture_end(&f);
}

/* ---- no memory: every request fails once, nothing is left behind ---- */
static int32_t build_and_use(void *context, dk_host *host, dk_error *err)
{
    int32_t rc;
    const char *config = context;
    fixture f = {.host = host};
    batch b = make_batch(prompt_lengths, 5, 13, 3);
    dk_tokens tokens = tokens_of(&b);
    dk_document *document = NULL;
    dk_pass *pass = NULL;
    dk_pass_spec spec = {.max_rows = 20, .max_sequences = 5, .backward = 1};
    dk_generate_args args = plain_args;
    texts out = {.code = 0};
    args.user = &out;
    args.max_tokens = 2;
    DK_TRY(dk_host_set_threads(host, 1, NULL, NULL, NULL, err));
    DK_TRY(dk_backend_cpu(host, &f.backend, err));
    DK_TRY(dk_json_parse(host, config, strlen(config), "config.json", &document, err));
    DK_TRY(dk_model_create(f.backend, document, 0.05, 7, &f.model, err));
    DK_TRY(dk_model_add_gradients(f.model, err));
    DK_TRY(dk_pass_create(f.model, &spec, &pass, err));
    DK_TRY(dk_pass_forward(pass, &tokens, err));
    DK_TRY(dk_pass_backward(pass, dk_pass_hidden(pass), err));
    DK_TRY(dk_generate(f.model, &tokens, &args, err));
out:
    dk_pass_free(pass);
    dk_document_free(document);
    dk_model_free(f.model);
    if (f.backend) dk_backend_free(f.backend);
    return rc;
}

TEST(no_memory) { CHECK(fail_every_alloc(build_and_use, (void *)(uintptr_t)tiny_configs[7]) > 50); }

TEST_MAIN(TEST_CASE(cache_equals_pass) TEST_CASE(cache_starts_again) TEST_CASE(cache_errors) TEST_CASE(neighbours)
              TEST_CASE(cache_types) TEST_CASE(long_neighbours) TEST_CASE(groups_are_asked_of_the_backend)
                  TEST_CASE(log_probs) TEST_CASE(drawing) TEST_CASE(ends) TEST_CASE(long_prompt) TEST_CASE(stopping)
                      TEST_CASE(wrong_arguments) TEST_CASE(no_memory))
