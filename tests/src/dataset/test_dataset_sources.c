/* test_dataset_sources.c - several sources as one dataset: names, weights, repetition, epochs, held-out ends. */
#include <dirent.h>
#include <math.h>

#include "dataset_fixture.h"

enum { SOURCES = 3, LONGEST = 16 };
static const char *const names[SOURCES] = {"pt", "en", "fr"};
static const int sizes[SOURCES] = {60, 25, 7};

/* Samples of several lengths: number i of source s has 2 to 14 letters and an end. */
static void write_sources(char paths[SOURCES][400])
{
    for (int s = 0; s < SOURCES; s++) {
        char text[4000] = "", name[20], line[80];
        for (int i = 0; i < sizes[s]; i++) {
            snprintf(line, sizeof line, "{\"text\": \"%.*s\"}\n", 2 + i * 5 % 13, "abcdefghijklmnop");
            strcat(text, line);
        }
        snprintf(name, sizeof name, "%s.jsonl", names[s]);
        snprintf(paths[s], 400, "%s", fixture_file(name, text));
    }
}

/* All three; mix NULL = by size. */
static int open_with(fixture *f, const char *mix, di_dataset **out, dk_error *err)
{
    char paths[SOURCES][400], list[1400];
    write_sources(paths);
    snprintf(list, sizeof list, "[{path: %s}, {path: %s, source: en}, {path: %s, format: jsonl}]", paths[0], paths[1],
             paths[2]);
    if (!fixture_open(f, OPTIONS("data.sequence_length=16", "data.pack=false"))) return -1;
    int32_t rc = di_options_set(f->options, "data.train", list, err);
    if (rc == DK_OK) rc = di_options_set(f->options, "data.mix", mix, err);
    return rc ? rc : di_dataset_open_list(f->host, "data.train", f->tokenizer, f->options, out, err);
}

static int source_of(const di_batch *batch, int64_t sequence)
{
    const char *name = di_batch_identity(batch, sequence).origin.source;
    for (int s = 0; s < SOURCES; s++)
        if (!strcmp(names[s], name)) return s;
    FAIL("unknown source %s", name);
    return 0;
}

static int same_batch(const di_batch *a, const di_batch *b)
{
    if (a->sequences != b->sequences || a->offsets[a->sequences] != b->offsets[b->sequences]) return 0;
    for (int64_t s = 0; s < a->sequences; s++)
        if (source_of(a, s) != source_of(b, s) || a->origins[s].index != b->origins[s].index) return 0;
    return memcmp(a->ids, b->ids, (size_t)a->offsets[a->sequences] * sizeof *a->ids) == 0;
}

TEST(sources_are_named_and_counted_apart)
{
    fixture f;
    dk_error err;
    dk_strbuf json;
    di_dataset *data = NULL;
    REQUIRE_OK(open_with(&f, NULL, &data, &err));
    CHECK_INT(di_dataset_sources(data), SOURCES);
    for (int s = 0; s < SOURCES; s++) {
        CHECK_STR(di_dataset_name(di_dataset_source(data, s)), names[s]);
        CHECK_INT(fixture_number(di_dataset_source(data, s), "samples"), sizes[s]);
    }
    CHECK_INT(fixture_number(data, "samples"), 92);
    CHECK_INT(fixture_number(data, "windows"), 92);
    CHECK_INT(fixture_number(data, "bytes"), fixture_number(data, "learnt") - 92); /* an end has no letter */
    di_batch *all = fixture_all(data);                                             /* one source behind the other */
    for (int64_t i = 0; i < 92; i++) CHECK_INT(source_of(all, i), i < 60 ? 0 : i < 85 ? 1 : 2);
    CHECK_INT(all->origins[60].index, 1);
    dk_strbuf_init(&json, f.host);
    di_dataset_describe(data, NULL, &json);
    CHECK_HAS(json.data, "\"samples\":92,");
    CHECK_HAS(json.data, "\"sources\":{\"pt\":{\"path\":");
    CHECK_HAS(json.data, "fr.jsonl\",\"samples\":7,");
    dk_strbuf_free(&json);
    CHECK_INT(di_dataset_check_vocab(data, 10, &err), DK_E_MISMATCH);
    CHECK_HAS(err.message, "pt.jsonl has token 256");
    di_batch_free(all);
    di_dataset_release(data);
    fixture_close(&f);
}

TEST(batch_k_depends_on_data_seed_and_k_alone)
{
    fixture f;
    dk_error err;
    di_dataset *data = NULL;
    di_batch *once[40], *later = NULL;
    REQUIRE_OK(open_with(&f, "{pt: 1, en: 2, fr: 0.5}", &data, &err));
    REQUIRE_OK(di_batch_create(data, 12, &later, &err));
    for (int k = 0; k < 40; k++) {
        REQUIRE_OK(di_batch_create(data, 4, &once[k], &err));
        REQUIRE_OK(di_dataset_batch(data, 9, k, 4, once[k], &err)); /* each from the beginning */
    }
    for (int i = 0; i < 40; i++) { /* forwards and back */
        int k = i * 17 % 40;
        REQUIRE_OK(di_dataset_batch(data, 9, k, 4, later, &err));
        CHECK(same_batch(later, once[k]));
    }
    REQUIRE_OK(di_dataset_batch(data, 10, 3, 4, later, &err));
    CHECK(!same_batch(later, once[3]));
    REQUIRE_OK(di_dataset_batch(data, 9, 1, 12, later, &err)); /* windows 12 to 23 */
    for (int64_t i = 0; i < 12; i++) CHECK_INT(later->origins[i].index, once[3 + i / 4]->origins[i % 4].index);
    for (int k = 0; k < 40; k++) di_batch_free(once[k]);
    di_batch_free(later);
    di_dataset_release(data);
    fixture_close(&f);
}

/* At any time, not only in the long run. */
static void check_shares(const char *mix, const double weights[SOURCES])
{
    fixture f;
    dk_error err;
    di_dataset *data = NULL;
    di_batch *batch = NULL;
    double tokens[SOURCES] = {0}, all = 0, sum = weights[0] + weights[1] + weights[2];
    REQUIRE_OK(open_with(&f, mix, &data, &err));
    REQUIRE_OK(di_batch_create(data, 1, &batch, &err));
    for (int64_t k = 0; k < 3000; k++) {
        REQUIRE_OK(di_dataset_batch(data, 3, k, 1, batch, &err));
        tokens[source_of(batch, 0)] += (double)batch->offsets[1];
        all += (double)batch->offsets[1];
        for (int s = 0; s < SOURCES; s++)
            if (fabs(tokens[s] - all * weights[s] / sum) > 2 * LONGEST)
                FAIL("%s: %s has %g of %g tokens after %lld windows", mix, names[s], tokens[s], all, (long long)k + 1);
    }
    di_batch_free(batch);
    di_dataset_release(data);
    fixture_close(&f);
}

TEST(shares_are_shares_of_tokens)
{
    check_shares("{pt: 2, en: 1, fr: 1}", (const double[]){2, 1, 1});
    check_shares("{pt: 0.01, en: 0.7, fr: 0.29}", (const double[]){0.01, 0.7, 0.29});
    check_shares("{fr: 5, pt: 0, en: 1000}", (const double[]){0, 1000, 5});
}

TEST(without_a_mix_all_end_their_epochs_together)
{
    fixture f;
    dk_error err;
    di_dataset *data = NULL;
    di_batch *batch = NULL;
    di_epochs epochs;
    int seen[SOURCES][64] = {{0}}, first_ten[SOURCES] = {0};
    REQUIRE_OK(open_with(&f, NULL, &data, &err));
    REQUIRE_OK(di_dataset_epochs(data, 5, 2, &epochs, &err));
    CHECK(epochs.length == 92 && epochs.total == 184);
    REQUIRE_OK(di_batch_create(data, 92, &batch, &err));
    for (int64_t k = 0; k < 2; k++) {
        REQUIRE_OK(di_dataset_epoch_batch(data, 5, k, 92, &epochs, batch, &err));
        for (int64_t i = 0; i < 92; i++) seen[source_of(batch, i)][batch->origins[i].index]++;
        for (int64_t i = 0; i < 10; i++) first_ten[source_of(batch, i)]++;
        for (int s = 0; s < SOURCES; s++)
            for (int i = 1; i <= sizes[s]; i++) CHECK_INT(seen[s][i], k + 1);
    }
    CHECK(first_ten[0] > first_ten[1] && first_ten[1] >= first_ten[2] && first_ten[2] > 0); /* not one by one */
    REQUIRE_OK(di_dataset_epochs(data, 5, 0.5, &epochs, &err));
    CHECK_INT(epochs.length, 92);
    CHECK(epochs.total > 42 && epochs.total < 50);
    di_batch_free(batch);
    di_dataset_release(data);
    fixture_close(&f);
}

/* Weights that ask most of the smallest source; the slowest is pt. */
TEST(an_epoch_of_a_mix_sees_every_source_whole)
{
    fixture f;
    dk_error err;
    dk_strbuf json;
    di_dataset *data = NULL;
    di_batch *batch = NULL;
    di_epochs epochs;
    di_walk walk;
    int64_t windows[SOURCES] = {0}, tokens[SOURCES] = {0};
    int seen[64] = {0};
    char part[80];
    REQUIRE_OK(open_with(&f, "{pt: 1, en: 1, fr: 1}", &data, &err));
    REQUIRE_OK(di_dataset_epochs(data, 5, 3, &epochs, &err));
    REQUIRE_OK(di_batch_create(data, 1, &batch, &err));
    CHECK(epochs.length > 150 && epochs.length < 210);
    for (int64_t k = 0; k < epochs.total; k++) {
        if (k == epochs.length)
            for (int i = 1; i <= 60; i++) CHECK(seen[i] == 1 || (seen[i] == 2 && windows[0] == 61));
        REQUIRE_OK(di_dataset_epoch_batch(data, 5, k, 1, &epochs, batch, &err));
        int s = source_of(batch, 0);
        windows[s]++;
        tokens[s] += batch->offsets[1];
        if (s == 0) seen[batch->origins[0].index]++;
    }
    for (int i = 1; i <= 60; i++) CHECK_INT(seen[i], 3);
    CHECK(windows[2] > 3 * 7 * 7 && windows[1] > 3 * 25 * 2);
    REQUIRE_OK(di_dataset_walk(data, 5, epochs.total, &walk, &err)); /* what is reported is what was given */
    for (int s = 0; s < SOURCES; s++) CHECK(walk.windows[s] == windows[s] && walk.tokens[s] == tokens[s]);
    dk_strbuf_init(&json, f.host);
    di_dataset_describe(data, &walk, &json);
    snprintf(part, sizeof part, "\"seen_tokens\":%lld,\"passes\":3}", (long long)tokens[0]);
    CHECK_HAS(json.data, part);
    CHECK_HAS(json.data, "\"share\":0.3333333333333333,");
    dk_strbuf_free(&json);
    di_walk_free(data, &walk);
    di_batch_free(batch);
    di_dataset_release(data);
    fixture_close(&f);
}

TEST(the_end_of_each_source_is_held_out)
{
    fixture f;
    dk_error err;
    di_dataset *data = NULL, *train = NULL, *held_out = NULL;
    REQUIRE_OK(open_with(&f, "{pt: 1, en: 1, fr: 3}", &data, &err));
    REQUIRE_OK(di_dataset_split(data, 0.2, &train, &held_out, &err));
    for (int s = 0; s < SOURCES; s++) {
        const di_dataset *kept = di_dataset_source(train, s), *out = di_dataset_source(held_out, s);
        CHECK_STR(di_dataset_name(kept), names[s]);
        CHECK_STR(di_dataset_name(out), names[s]);
        CHECK_INT(fixture_number(out, "samples"), (sizes[s] + 2) / 5);
        CHECK_INT(fixture_number(kept, "samples") + fixture_number(out, "samples"), sizes[s]);
    }
    di_batch *all = fixture_all(held_out);
    CHECK_INT(all->origins[0].index, 49);
    CHECK(train->mix.weights[2] == 3 && held_out->mix.by_size);
    di_batch_free(all);
    di_dataset_release(train);
    di_dataset_release(held_out);
    di_dataset_release(data);
    fixture_close(&f);
}

/* ---- options of a source ---- */

TEST(a_source_has_its_own_format_and_separator)
{
    fixture f;
    dk_error err;
    di_dataset *data = NULL;
    char list[1200];
    snprintf(list, sizeof list, "[{path: %s, separator: \"#\"}, {path: %s, format: text, source: raw}, %s]",
             fixture_file("a.txt", "ab#cd"), fixture_file("b.jsonl", "{\"text\": \"x\"}"),
             fixture_file("c.jsonl.gz", "{\"text\": \"y\"}"));
    REQUIRE(fixture_open(&f, NULL));
    REQUIRE_OK(di_options_set(f.options, "data.eval", list, &err));
    REQUIRE_OK(di_dataset_open_list(f.host, "data.eval", f.tokenizer, f.options, &data, &err));
    di_batch *all = fixture_all(data);
    CHECK_STR(fixture_learnt(all, 1), "ab<|endoftext|>|cd<|endoftext|>|{\"text\": \"x\"}<|endoftext|>|y<|endoftext|>");
    CHECK_STR(all->origins[3].source, "c");
    CHECK_STR(all->origins[2].source, "raw");
    CHECK_INT(all->windows, 3); /* none holds two sources */
    di_batch_free(all);
    di_dataset_release(data);
    fixture_close(&f);
}

static int count_files(const char *folder)
{
    DIR *dir = opendir(folder);
    int count = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));) count += strstr(entry->d_name, ".tokens") != NULL;
    if (dir) closedir(dir);
    return count;
}

TEST(every_source_has_its_token_cache)
{
    fixture f;
    dk_error err;
    char hex[2][65], paths[SOURCES][400], list[900], folder[1024];
    snprintf(folder, sizeof folder, "%s", test_folder("cache_of_sources"));
    write_sources(paths);
    snprintf(list, sizeof list, "[%s, {path: %s, source: other}]", paths[0], paths[1]);
    REQUIRE(fixture_open(&f, NULL));
    REQUIRE_OK(di_options_set_str(f.options, "data.token_cache", folder, &err));
    REQUIRE_OK(di_options_set(f.options, "data.train", list, &err));
    for (int i = 0; i < 2; i++) {
        di_dataset *data = NULL;
        REQUIRE_OK(di_dataset_open_list(f.host, "data.train", f.tokenizer, f.options, &data, &err));
        REQUIRE_OK(di_dataset_hash(data, hex[i], &err));
        CHECK_STR(di_dataset_name(di_dataset_source(data, 1)), "other");
        CHECK_INT(count_files(folder), 2);
        di_dataset_release(data);
    }
    CHECK_STR(hex[0], hex[1]);
    fixture_close(&f);
}

TEST(the_hash_is_of_contents_and_weights)
{
    const char *const mixes[] = {NULL, "{pt: 1, en: 1, fr: 1}", "{pt: 2, en: 1, fr: 1}"};
    char hex[3][65];
    for (int i = 0; i < 3; i++) {
        fixture f;
        dk_error err;
        di_dataset *data = NULL;
        REQUIRE_OK(open_with(&f, mixes[i], &data, &err));
        REQUIRE_OK(di_dataset_hash(data, hex[i], &err));
        di_dataset_release(data);
        fixture_close(&f);
    }
    CHECK(strcmp(hex[0], hex[1]) && strcmp(hex[1], hex[2]) && strcmp(hex[0], hex[2]));
}

/* ---- what samples say of themselves ---- */

static const char tagged[] = "{\"text\": \"ab\", \"source\": \"wiki\"}\n"
                             "{\"text\": \"cd\", \"source\": \"wiki\", \"teacher\": \"big\"}\n"
                             "{\"text\": \"ef\", \"source\": {\"name\": \"x\"}, \"teacher\": null}\n"
                             "{\"text\": \"gh\", \"source\": \"wiki\"}\n";

static void check_tags(di_dataset *data, const char *name)
{
    static const char *const sources[] = {"wiki", "wiki", NULL, "wiki"}, *const teachers[] = {NULL, "big", NULL, NULL};
    di_batch *batch = fixture_all(data);
    REQUIRE(batch && batch->sequences == 4);
    for (int64_t i = 0; i < 4; i++) {
        const di_origin origin = di_batch_identity(batch, i).origin;
        CHECK_STR(origin.source, sources[i] ? sources[i] : name);
        CHECK(teachers[i] ? origin.teacher && !strcmp(origin.teacher, teachers[i]) : !origin.teacher);
        CHECK_INT(origin.index, i + 1);
    }
    di_batch_free(batch);
}

TEST(samples_name_their_source_and_teacher)
{
    fixture f;
    dk_error err;
    char hex[3][65], path[400], folder[1024];
    snprintf(folder, sizeof folder, "%s", test_folder("tagged"));
    snprintf(path, sizeof path, "%s", fixture_file("tagged.jsonl", tagged));
    REQUIRE(fixture_open(&f, NULL));
    REQUIRE_OK(di_options_set_str(f.options, "data.token_cache", folder, &err));
    REQUIRE_OK(di_options_set_str(f.options, "data.train", path, &err));
    for (int i = 0; i < 2; i++) { /* read, and from the cache */
        di_dataset *data = NULL;
        REQUIRE_OK(di_dataset_open_list(f.host, "data.train", f.tokenizer, f.options, &data, &err));
        CHECK(data->store->tag_count == 2 && (data->store->map.data != NULL) == i);
        check_tags(data, "tagged");
        REQUIRE_OK(di_dataset_hash(data, hex[i], &err));
        di_dataset_release(data);
    }
    CHECK_STR(hex[0], hex[1]);
    di_dataset *other = NULL;
    char changed[sizeof tagged];
    memcpy(changed, tagged, sizeof tagged);
    memcpy(strstr(changed, "big"), "bag", 3);
    REQUIRE_OK(di_dataset_open(f.host, fixture_file("other.jsonl", changed), f.tokenizer, f.options, &other, &err));
    REQUIRE_OK(di_dataset_hash(other, hex[2], &err));
    CHECK(strcmp(hex[0], hex[2]) != 0);
    di_dataset_release(other);
    fixture_close(&f);
}

static int32_t give_tagged(void *user, int64_t index, distill_sample *out)
{
    static const char *line;
    (void)user;
    if (index >= 4) return DISTILL_CB_END;
    line = tagged;
    for (int64_t i = 0; i < index; i++) line = strchr(line, '\n') + 1;
    out->kind = DISTILL_SAMPLE_JSON;
    out->text = line;
    out->size = (int64_t)strcspn(line, "\n");
    return DISTILL_CB_OK;
}

TEST(samples_of_a_host_name_them_too)
{
    fixture f;
    dk_error err;
    REQUIRE(fixture_open(&f, OPTIONS("data.pack=false")));
    for (int stream = 0; stream < 2; stream++) {
        distill_dataset_callbacks table;
        di_dataset *data = NULL;
        di_batch *batch = NULL;
        DISTILL_INIT(&table);
        table.get = give_tagged;
        table.count = stream ? -1 : 4;
        REQUIRE_OK(di_dataset_from_callbacks(f.host, &table, f.tokenizer, f.options, &data, &err));
        REQUIRE_OK(di_batch_create(data, 4, &batch, &err));
        REQUIRE_OK(di_dataset_windows(data, 0, 4, batch, &err));
        CHECK_STR(batch->origins[1].source, "wiki");
        CHECK_STR(batch->origins[1].teacher, "big");
        CHECK_STR(batch->origins[2].source, "the host's samples");
        CHECK(!batch->origins[3].teacher);
        di_batch_free(batch);
        di_dataset_release(data);
    }
    fixture_close(&f);
}

static char told[300];
static void keep_warning(void *user, int32_t level, const char *component, const char *message)
{
    (void)user, (void)component;
    if (level == DK_LOG_WARN) snprintf(told, sizeof told, "%s", message);
}

TEST(too_many_names_are_left_out_and_told)
{
    fixture f;
    dk_error err;
    di_dataset *data = NULL;
    static char text[1100 * 48];
    size_t used = 0;
    for (int i = 0; i < 1100; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "{\"text\": \"ab\", \"source\": \"s%d\"}\n", i);
    REQUIRE(fixture_open(&f, NULL));
    dk_host_set_logger(f.host, DK_LOG_WARN, keep_warning, NULL, NULL);
    REQUIRE_OK(di_dataset_open(f.host, fixture_file("many.jsonl", text), f.tokenizer, f.options, &data, &err));
    CHECK_INT(data->store->tag_count, DI_TAGS_MAX);
    CHECK_HAS(told, "samples name more than 1024 different sources and teachers; those of 76 samples are not kept");
    di_dataset_release(data);
    fixture_close(&f);
}

/* ---- bad input ---- */

static void check_mix(const char *mix, const char *message)
{
    fixture f;
    dk_error err;
    di_dataset *data = NULL;
    CHECK_INT(open_with(&f, mix, &data, &err), DK_E_OPTION);
    CHECK_HAS(err.message, message);
    CHECK(data == NULL && !strchr(err.message, '\n'));
    fixture_close(&f);
}

static void check_list(const char *list, const char *message)
{
    fixture f;
    dk_error err;
    di_dataset *data = NULL;
    REQUIRE(fixture_open(&f, NULL));
    REQUIRE_OK(di_options_set(f.options, "data.train", list, &err));
    CHECK(di_dataset_open_list(f.host, "data.train", f.tokenizer, f.options, &data, &err) != DK_OK);
    CHECK_HAS(err.message, message);
    fixture_close(&f);
}

TEST(wrong_lists_and_mixes_are_refused)
{
    char paths[SOURCES][400], list[1200];
    check_mix("{pt: 1, en: 1, fr: 1, ptt: 1}",
              "data.mix.ptt is not a source of data.train (pt|en|fr); did you mean pt?");
    check_mix("{pt: 1, en: 1}", "data.mix has no weight for the source fr: give it one (0 leaves it out)");
    check_mix("{pt: 0, en: 0, fr: 0}", "all weights of data.mix are 0");
    check_mix("{pt: -1, en: 0, fr: 0}", "data.mix.pt -1 is neither 0 nor in");
    write_sources(paths);
    snprintf(list, sizeof list, "[%s, {path: %s, source: pt}]", paths[0], paths[1]);
    check_list(list, "data.train: two sources are called pt (");
    snprintf(list, sizeof list, "[{path: %s, source: a.b}]", paths[0]);
    check_list(list, "data.train.0.source \"a.b\" is no name; names have up to 60 letters");
    check_list("[{source: a}]", "data.train.0 has no path: give {path: FILE}");
    snprintf(list, sizeof list, "[%s, {path: none.txt}]", paths[0]);
    check_list(list, "none.txt");
    check_list(fixture_file("bad_teacher.jsonl", "{\"text\": \"a\", \"teacher\": 3}\n"),
               "bad_teacher.jsonl:1: \"teacher\" must be a name of at most 63 bytes");
}

TEST(an_epoch_that_never_ends_is_refused)
{
    fixture f;
    dk_error err;
    di_dataset *data = NULL;
    di_epochs epochs;
    REQUIRE_OK(open_with(&f, "{pt: 1e-6, en: 1000000, fr: 0}", &data, &err));
    CHECK_INT(di_dataset_epochs(data, 1, 1, &epochs, &err), DK_E_OPTION);
    CHECK_HAS(err.message, "train.epochs 1 with this data.mix is about");
    CHECK_HAS(err.message, "give train.steps");
    di_dataset_release(data);
    fixture_close(&f);
}

TEST_MAIN(TEST_CASE(sources_are_named_and_counted_apart) TEST_CASE(batch_k_depends_on_data_seed_and_k_alone)
              TEST_CASE(shares_are_shares_of_tokens) TEST_CASE(without_a_mix_all_end_their_epochs_together)
                  TEST_CASE(an_epoch_of_a_mix_sees_every_source_whole) TEST_CASE(the_end_of_each_source_is_held_out)
                      TEST_CASE(a_source_has_its_own_format_and_separator) TEST_CASE(every_source_has_its_token_cache)
                          TEST_CASE(the_hash_is_of_contents_and_weights)
                              TEST_CASE(samples_name_their_source_and_teacher)
                                  TEST_CASE(samples_of_a_host_name_them_too)
                                      TEST_CASE(too_many_names_are_left_out_and_told)
                                          TEST_CASE(wrong_lists_and_mixes_are_refused)
                                              TEST_CASE(an_epoch_that_never_ends_is_refused))
