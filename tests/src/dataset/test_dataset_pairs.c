/* test_dataset_pairs.c - samples with chosen and rejected: the forms that they come in, two sequences that stay
 * together through packing, shuffling, splitting, mixing and the token cache, what is too long, what is wrong. */
#include "dataset_fixture.h"

static di_dataset *open_lines(fixture *f, const char *lines, const char *const *settings)
{
    dk_error err;
    di_dataset *dataset = NULL;
    if (!fixture_open(f, settings)) return NULL;
    if (di_dataset_open(f->host, fixture_file("pairs.jsonl", lines), f->tokenizer, f->options, &dataset, &err))
        FAIL("%s", err.message);
    return dataset;
}

static void check_lines(const char *lines, const char *const *settings, const char *learnt, const char *all)
{
    fixture f;
    di_dataset *dataset = open_lines(&f, lines, settings);
    REQUIRE(dataset);
    di_batch *batch = fixture_all(dataset);
    CHECK_STR(fixture_learnt(batch, 0), learnt);
    if (all) CHECK_STR(fixture_learnt(batch, 1), all);
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(&f);
}

#define USER(text) "{\"role\": \"user\", \"content\": \"" text "\"}"
#define SAYS(text) "{\"role\": \"assistant\", \"content\": \"" text "\"}"
#define PAIR(p, c, r) "{\"prompt\": \"" p "\", \"chosen\": \"" c "\", \"rejected\": \"" r "\"}\n"
#define ASKED "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
#define BLANK "_____________________"

TEST(texts)
{
    check_lines(PAIR("Q", " yes", " no"), OPTIONS("data.pack=false"), "_ yes<|endoftext|>|_ no<|endoftext|>",
                "Q yes<|endoftext|>|Q no<|endoftext|>");
    /* without a prompt: up to the space before the first word that differs; never inside a character */
    check_lines("{\"chosen\": \"say it so\", \"rejected\": \"say it too\"}", OPTIONS("data.pack=false"),
                "______ so<|endoftext|>|______ too<|endoftext|>", "say it so<|endoftext|>|say it too<|endoftext|>");
    check_lines("{\"chosen\": \"a\\u00e9\", \"rejected\": \"a\\u00e8\"}", OPTIONS("data.pack=false"),
                "_\xc3\xa9<|endoftext|>|_\xc3\xa8<|endoftext|>", NULL);
}

TEST(messages)
{
    static const char *const forms[] = {
        "{\"prompt\": [" USER("hi") "], \"chosen\": [" SAYS("yo") "], \"rejected\": [" SAYS("no") "]}\n",
        "{\"chosen\": [" USER("hi") ", " SAYS("yo") "], \"rejected\": [" USER("hi") ", " SAYS("no") "]}\n",
        /* the text is in the lists, too */
        "{\"prompt\": \"hi\", \"chosen\": [" USER("hi") ", " SAYS("yo") "], \"rejected\": [" USER("hi") ", " SAYS(
            "no") "]}\n"};
    for (int i = 0; i < 3; i++) {
        fixture f;
        di_dataset *dataset = open_lines(&f, forms[i], OPTIONS("data.chat_template=chatml", "data.pack=false"));
        REQUIRE(dataset);
        di_batch *batch = fixture_all(dataset);
        CHECK_STR(fixture_learnt(batch, 1), ASKED "yo<|im_end|>\n|" ASKED "no<|im_end|>\n");
        CHECK_STR(fixture_learnt(batch, 0), BLANK "yo<|im_end|>_|" BLANK "no<|im_end|>_");
        di_batch_free(batch);
        di_dataset_release(dataset);
        fixture_close(&f);
    }
    /* an earlier answer is part of the prompt */
    check_lines("{\"chosen\": [" USER("a") ", " SAYS("b") ", " USER("c") ", " SAYS("d") "], \"rejected\": [" USER(
                    "a") ", " SAYS("b") ", " USER("c") ", " SAYS("e") "]}",
                OPTIONS("data.chat_template=chatml", "data.pack=false"),
                "___________________________________________d<|im_end|>_|"
                "___________________________________________e<|im_end|>_",
                NULL);
}

TEST(sides_and_numbers)
{
    fixture f;
    di_dataset *dataset =
        open_lines(&f, PAIR("Q", "a", "b") "{\"text\": \"plain\"}\n" PAIR("R", "c", "d"), OPTIONS("data.pack=false"));
    REQUIRE(dataset);
    di_batch *batch = fixture_all(dataset);
    static const int sides[] = {DISTILL_CHOSEN, DISTILL_REJECTED, 0, DISTILL_CHOSEN, DISTILL_REJECTED};
    REQUIRE(batch->sequences == 5);
    for (int s = 0; s < 5; s++) {
        CHECK_INT(batch->sides[s], sides[s]);
        CHECK_INT(batch->origins[s].number, s);
        CHECK_INT(batch->origins[s].index, s < 2 ? 1 : s == 2 ? 2 : 3);
    }
    CHECK_INT(batch->pairs, 2);
    CHECK_NEAR(batch->pair_weight_sum, 2, 0);
    CHECK_NEAR(batch->weight_sum, 2 + 5 + 2, 0); /* a + end, "lain" + end, c + end */
    CHECK_INT(batch->rows, 13);
    CHECK_INT(fixture_number(dataset, "pairs"), 2);
    CHECK_INT(fixture_number(dataset, "samples"), 3);
    CHECK_INT(fixture_number(dataset, "windows"), 3);
    CHECK_INT(di_dataset_sequence_count(dataset), 5);
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(&f);
}

TEST(weights)
{
    fixture f;
    di_dataset *dataset =
        open_lines(&f,
                   "{\"prompt\": \"Q\", \"chosen\": \"a\", \"rejected\": \"bb\", \"weight\": 2.5}\n" PAIR(
                       "R", "c", "d") "{\"prompt\": \"Q\", \"chosen\": \"a\", \"rejected\": \"bb\", \"weight\": 0}\n",
                   OPTIONS("data.pack=false"));
    REQUIRE(dataset);
    di_batch *batch = fixture_all(dataset);
    CHECK_INT(batch->pairs, 2);
    CHECK_NEAR(batch->pair_weight_sum, 3.5, 0);
    CHECK_NEAR(batch->weight_sum, 2 * 2.5 + 2, 0);
    CHECK_INT(fixture_number(dataset, "no_labels"), 1);
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(&f);
}

/* Many pairs and texts: a rejected side is behind its chosen one in whatever batch. */
static void check_together(di_dataset *dataset, uint64_t seed, int64_t windows)
{
    di_batch *batch = NULL;
    dk_error err;
    REQUIRE_OK(di_batch_create(dataset, windows, &batch, &err));
    for (int64_t k = 0; k < 12; k++) {
        REQUIRE_OK(di_dataset_batch(dataset, seed, k, windows, batch, &err));
        int64_t pairs = 0;
        for (int64_t w = 0; w < batch->windows; w++)
            for (int64_t s = batch->window_first[w]; s < batch->window_first[w + 1]; s++) {
                if (batch->sides[s] == DISTILL_REJECTED)
                    CHECK(s > batch->window_first[w] && batch->sides[s - 1] == DISTILL_CHOSEN);
                if (batch->sides[s] != DISTILL_CHOSEN) continue;
                pairs++;
                REQUIRE(s + 1 < batch->window_first[w + 1] && batch->sides[s + 1] == DISTILL_REJECTED);
                CHECK_INT(batch->origins[s].index, batch->origins[s + 1].index);
                CHECK_INT(batch->origins[s].number + 1, batch->origins[s + 1].number);
                CHECK_INT(batch->ids[batch->offsets[s]], batch->ids[batch->offsets[s + 1]]); /* the prompt's first */
            }
        CHECK_INT(batch->pairs, pairs);
    }
    di_batch_free(batch);
}

static const char *many(int texts)
{
    static char lines[32768];
    size_t at = 0;
    for (int i = 0; i < 60; i++) {
        if (texts && i % 3 == 2)
            at += (size_t)snprintf(lines + at, 200, "{\"text\": \"%.*s\"}\n", 3 + i % 9, "abcdefghijklm");
        at += (size_t)snprintf(lines + at, 200, PAIR("%c", "%.*s", "%.*s"), 'A' + i % 26, 1 + i % 11, "nopqrstuvwxyz",
                               1 + (i * 7) % 13, "zyxwvutsrqponm");
    }
    return lines;
}

TEST(together_through_packing_and_shuffling)
{
    for (int packed = 0; packed < 2; packed++) {
        fixture f;
        di_dataset *dataset =
            open_lines(&f, many(1), OPTIONS(packed ? "data.pack=true" : "data.pack=false", "data.sequence_length=20"));
        REQUIRE(dataset);
        CHECK_INT(fixture_number(dataset, "pairs"), 60);
        for (uint64_t seed = 0; seed < 3; seed++) check_together(dataset, seed, 3);
        di_dataset_release(dataset);
        fixture_close(&f);
    }
}

TEST(together_through_the_split)
{
    for (int i = 1; i < 30; i++) {
        fixture f;
        di_dataset *dataset = open_lines(&f, many(i % 2), OPTIONS("data.sequence_length=20")), *parts[2];
        dk_error err;
        REQUIRE(dataset);
        REQUIRE_OK(di_dataset_split(dataset, i / 60.0, &parts[0], &parts[1], &err));
        CHECK_INT(fixture_number(parts[0], "pairs") + fixture_number(parts[1], "pairs"), 60);
        CHECK(fixture_number(parts[1], "samples") > 0);
        for (int k = 0; k < 2; k++) {
            check_together(parts[k], 1, 1);
            di_dataset_release(parts[k]);
        }
        di_dataset_release(dataset);
        fixture_close(&f);
    }
    fixture f;
    di_dataset *dataset = open_lines(&f, PAIR("Q", "a", "b"), OPTIONS("data.pack=false")), *parts[2];
    dk_error err;
    REQUIRE(dataset);
    CHECK_INT(di_dataset_split(dataset, 0.3, &parts[0], &parts[1], &err), DK_E_INVALID);
    CHECK_HAS(err.message, "has one sample");
    di_dataset_release(dataset);
    fixture_close(&f);
}

/* A pair longer than a window in all has one of its own; one with a side that is too long is gone, and counted. */
TEST(too_long)
{
    static const char lines[] =
        PAIR("Q", "aaaaaaaa", "bbbbbbbb") PAIR("Q", "aaaaaaaaa", "b") PAIR("Q", "a", "bbbbbbbbb");
    static const char *const ways[] = {"data.too_long=skip", "data.too_long=truncate_right",
                                       "data.too_long=truncate_left"};
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    for (int i = 0; i < 3; i++) {
        dataset = open_lines(&f, lines, OPTIONS(ways[i], "data.sequence_length=10"));
        REQUIRE(dataset);
        CHECK_INT(fixture_number(dataset, "pairs"), 1);
        CHECK_INT(fixture_number(dataset, "skipped"), 2);
        CHECK_INT(fixture_number(dataset, "lost_tokens"), 28);
        CHECK_INT(fixture_number(dataset, "lost_learnt"), 24);
        CHECK_INT(fixture_number(dataset, "max_length"), 10);
        CHECK_INT(fixture_number(dataset, "tokens"), 20);
        di_batch *batch = fixture_all(dataset);
        CHECK_INT(batch->offsets[batch->sequences], 20);
        di_batch_free(batch);
        di_dataset_release(dataset);
        fixture_close(&f);
    }
    REQUIRE(fixture_open(&f, OPTIONS("data.too_long=error", "data.sequence_length=10")));
    CHECK_INT(di_dataset_open(f.host, fixture_file("pairs.jsonl", lines), f.tokenizer, f.options, &dataset, &err),
              DK_E_INVALID);
    CHECK_HAS(err.message, "pairs.jsonl:2: the chosen side of the pair has 11 tokens");
    fixture_close(&f);
}

TEST(chosen_alone)
{
    fixture f;
    di_dataset *dataset = open_lines(&f, PAIR("Q", " yes", " no") "{\"prompt\": \"R\", \"completion\": \"s\"}\n",
                                     OPTIONS("data.pack=false", "data.preferences=chosen"));
    REQUIRE(dataset);
    di_batch *batch = fixture_all(dataset);
    CHECK_STR(fixture_learnt(batch, 0), "_ yes<|endoftext|>|_s<|endoftext|>");
    CHECK_INT(batch->sides[0], 0);
    CHECK_INT(fixture_number(dataset, "pairs"), 0);
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(&f);
}

TEST(through_the_token_cache)
{
    char setting[1200], hex[3][65];
    snprintf(setting, sizeof setting, "data.token_cache=%s", test_folder("pairs_cache"));
    for (int i = 0; i < 3; i++) { /* written, read; and as completions, which is another file */
        fixture f;
        dk_error err;
        di_dataset *dataset = open_lines(
            &f, many(1),
            OPTIONS("data.sequence_length=20", setting, i == 2 ? "data.preferences=chosen" : "data.preferences=pairs"));
        REQUIRE(dataset);
        CHECK_INT(fixture_number(dataset, "pairs"), i == 2 ? 0 : 60);
        if (i < 2) check_together(dataset, 3, 2);
        REQUIRE_OK(di_dataset_hash(dataset, hex[i], &err));
        di_dataset_release(dataset);
        fixture_close(&f);
    }
    CHECK_STR(hex[0], hex[1]);
    CHECK(strcmp(hex[0], hex[2]) != 0);
}

static int32_t get_line(void *user, int64_t index, distill_sample *out)
{
    const char *const *lines = user;
    out->kind = DISTILL_SAMPLE_JSON;
    out->text = lines[index];
    out->size = (int64_t)strlen(lines[index]);
    return DISTILL_CB_OK;
}

TEST(of_callbacks)
{
    static const char *lines[] = {PAIR("Q", "a", "b"), "{\"text\": \"abc\"}", PAIR("R", "c", "d")};
    distill_dataset_callbacks table;
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    DISTILL_INIT(&table);
    table.user = (void *)lines;
    table.get = get_line;
    table.count = 3;
    REQUIRE(fixture_open(&f, OPTIONS("data.pack=false")));
    REQUIRE_OK(di_dataset_from_callbacks(f.host, &table, f.tokenizer, f.options, &dataset, &err));
    CHECK_INT(fixture_number(dataset, "pairs"), 2);
    check_together(dataset, 1, 2);
    di_dataset_release(dataset);
    table.count = -1;
    di_batch *batch = NULL;
    REQUIRE_OK(di_dataset_from_callbacks(f.host, &table, f.tokenizer, f.options, &dataset, &err));
    REQUIRE_OK(di_batch_create(dataset, 1, &batch, &err));
    CHECK_INT(di_dataset_batch(dataset, 1, 0, 1, batch, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "pairs of a stream");
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(&f);
}

static void check_wrong(const char *line, const char *const *settings, const char *what)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    REQUIRE(fixture_open(&f, settings));
    const int32_t rc =
        di_dataset_open(f.host, fixture_file("wrong_pairs.jsonl", line), f.tokenizer, f.options, &dataset, &err);
    CHECK(rc != DK_OK);
    CHECK_HAS(err.message, what);
    CHECK_HAS(err.message, "wrong_pairs.jsonl:1: ");
    di_dataset_release(dataset);
    fixture_close(&f);
}

TEST(wrong_pairs)
{
    const char *const *plain = OPTIONS("data.pack=false"), *const *chat = OPTIONS("data.chat_template=chatml");
    check_wrong("{\"prompt\": \"Q\", \"chosen\": \"a\"}", plain, "\"rejected\" is missing, and \"chosen\" is there");
    check_wrong("{\"prompt\": \"Q\", \"rejected\": \"a\"}", plain, "\"chosen\" is missing");
    check_wrong(PAIR("Q", "a", "a"), plain, "are the same");
    check_wrong(PAIR("Q", "", "a"), plain, "\"chosen\" is empty");
    check_wrong(PAIR("Q", "a", ""), plain, "\"rejected\" is empty");
    check_wrong("{\"prompt\": \"Q\", \"chosen\": [], \"rejected\": []}", plain, "\"chosen\" is empty");
    check_wrong("{\"prompt\": \"Q\", \"chosen\": 1, \"rejected\": \"b\"}", plain, "\"chosen\" must be text or a list");
    check_wrong("{\"prompt\": \"Q\", \"chosen\": \"a\", \"rejected\": [" SAYS("b") "]}", plain,
                "must be texts, or lists");
    check_wrong("{\"prompt\": [" USER("q") "], \"chosen\": \"a\", \"rejected\": \"b\"}", plain,
                "must be texts, or lists");
    check_wrong("{\"prompt\": 7, \"chosen\": \"a\", \"rejected\": \"b\"}", plain, "\"prompt\" must be text");
    check_wrong("{\"chosen\": \"abc\", \"rejected\": \"ab\"}", plain, "\"chosen\" begins with all of \"rejected\"");
    check_wrong("{\"chosen\": [" USER("q") "], \"rejected\": [" USER("q") ", " SAYS("b") "]}", chat,
                "\"rejected\" begins with all of \"chosen\"");
    check_wrong("{\"prompt\": \"Q\", \"completion\": \"x\", \"chosen\": \"a\", \"rejected\": \"b\"}", plain,
                "this one has more");
    check_wrong("{\"prompt\": [" USER("q") "], \"chosen\": [" USER("a") "], \"rejected\": [" SAYS("b") "]}", chat,
                "\"chosen\" has no token to learn");
    check_wrong(
        "{\"prompt\": [" USER("q") "], \"chosen\": [{\"role\": \"assistant\", \"content\": \"a\", \"weight\": 2}], "
                                   "\"rejected\": [" SAYS("b") "]}",
        chat, "a message of \"chosen\" has a weight");
    check_wrong("{\"prompt\": \"a<|endoftext|>\", \"chosen\": \"b<|endoftext|>\", \"rejected\": \"b\"}", plain,
                "are the same tokens");
    check_wrong(PAIR("Q", "a", "b"), OPTIONS("data.prompt_loss=true"), "data.prompt_loss is not for pairs");
    check_wrong("{\"prompt\": \"Q\", \"label\": true}", plain, "give pairs of chosen and rejected");
}

TEST_MAIN(TEST_CASE(texts) TEST_CASE(messages) TEST_CASE(sides_and_numbers) TEST_CASE(weights)
              TEST_CASE(together_through_packing_and_shuffling) TEST_CASE(together_through_the_split)
                  TEST_CASE(too_long) TEST_CASE(chosen_alone) TEST_CASE(through_the_token_cache) TEST_CASE(of_callbacks)
                      TEST_CASE(wrong_pairs))
