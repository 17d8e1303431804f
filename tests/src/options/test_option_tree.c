/* What the tree can hold, tried on a table of the test's own: lists of maps, maps with the user's names, entries that
 * name entries, schedules, keys that belong to a type, recipes in a recipe. */
#include "../../lib/base/fail_alloc.h"
#include "options/options.h"
#include "test.h"

#define ROW(NAME, TYPE, INITIAL, ...)                                                    \
    {                                                                                    \
        .name = NAME, .type = TYPE, .default_text = INITIAL, .help = "help", __VA_ARGS__ \
    }
#define NUMBER(NAME, INITIAL, FLAGS, ...) \
    ROW(NAME, DI_OPTION_NUMBER, INITIAL, .flags = FLAGS, .low = 0, .high = 10, __VA_ARGS__)

static const di_option_info rows[] = {
    ROW("teacher.path", DI_OPTION_PATH, NULL, .names = "teachers"),
    ROW("teacher.mmap", DI_OPTION_FLAG, "true", .flags = 0),
    NUMBER("teacher.temperature", "1", 0, .unit = NULL),
    ROW("teacher.cache", DI_OPTION_PATH, NULL, .flags = 0),
    ROW("teacher.tier", DI_OPTION_CHOICE, "hidden", .choices = "hidden|top_k", .when = "cache"),
    ROW("teacher.from", DI_OPTION_TEXT, NULL, .names = "teachers", .when = "cache"),
    ROW("teacher.blend.mode", DI_OPTION_CHOICE, "linear", .choices = "linear|log_linear"),
    ROW("teacher.blend.of", DI_OPTION_LIST, NULL, .item_type = DI_OPTION_TEXT, .names = "teachers"),
    ROW("teacher.blend.weights", DI_OPTION_LIST, NULL, .item_type = DI_OPTION_NUMBER, .low = 0, .high = 1),
    ROW("teacher.blend.shares", DI_OPTION_LIST, NULL, .item_type = DI_OPTION_NUMBER, .low = 0, .high = 1,
        .flags = DI_OPTION_SCHEDULE),
    ROW("teachers", DI_OPTION_MAP, NULL, .flags = 0),
    ROW("data.train.path", DI_OPTION_PATH, NULL, .flags = 0),
    ROW("data.train.source", DI_OPTION_TEXT, NULL, .flags = 0),
    ROW("data.mix.NAME", DI_OPTION_NUMBER, "1", .low = 0, .high = 100),
    ROW("data.pack", DI_OPTION_FLAG, "true", .flags = 0),
    ROW("loss.type", DI_OPTION_TEXT, "forward_kl", .flags = DI_OPTION_OWN),
    NUMBER("loss.weight", "1", DI_OPTION_OWN | DI_OPTION_SCHEDULE | DI_OPTION_LIVE, .unit = NULL),
    NUMBER("loss.temperature", "1", DI_OPTION_SCHEDULE | DI_OPTION_LIVE, .unit = NULL),
    ROW("loss.jsd.teacher_weight", DI_OPTION_NUMBER, "0.5", .low = 0, .high = 1),
    ROW("loss.skew.lambda", DI_OPTION_NUMBER, "0.1", .low = 0, .high = 1),
    NUMBER("train.rate", "0.1", DI_OPTION_LIVE, .unit = NULL),
    ROW("train.steps", DI_OPTION_INT, "10", .low = 0, .high = 1e6),
    ROW("augment.steps.N.expand", DI_OPTION_CHOICE, NULL, .choices = "magpie|continue"),
    ROW("augment.steps.N.drop", DI_OPTION_CHOICE, NULL, .choices = "overlap|near_duplicate"),
    ROW("augment.steps.N.n", DI_OPTION_INT, NULL, .low = 1, .high = 1e6, .when = "expand=magpie"),
    ROW("augment.steps.N.ngram", DI_OPTION_INT, "13", .low = 1, .high = 100, .when = "drop=overlap,expand"),
    ROW("stages", DI_OPTION_MAP, NULL, .flags = 0),
};
static const di_group groups[] = {
    {.name = "teacher", .main = "path"},
    {.name = "teacher.blend"},
    {.name = "teachers", .like = "teacher", .shape = DI_GROUP_NAMED},
    {.name = "data", .main = "train"},
    {.name = "data.train", .main = "path", .shape = DI_GROUP_ONE_OR_LIST},
    {.name = "data.mix", .main = "", .shape = DI_GROUP_NAMED},
    {.name = "loss", .main = "type", .shape = DI_GROUP_ONE_OR_LIST},
    {.name = "loss.jsd", .when = "type=jsd"},
    {.name = "loss.skew", .when = "type=skew_forward_kl|skew_reverse_kl"},
    {.name = "train"},
    {.name = "augment"},
    {.name = "augment.steps", .shape = DI_GROUP_LIST},
    {.name = "stages", .like = "", .shape = DI_GROUP_LIST},
};
static const di_gone gone[] = {{.name = "train.step_count", .answer = "give train.steps"}};
static const di_table table = {
    rows, groups, gone, sizeof rows / sizeof *rows, sizeof groups / sizeof *groups, sizeof gone / sizeof *gone,
};

static const char recipe[] =
    "teachers:\n"
    "  pt: {path: portuguese/}\n"
    "  en: {path: english.gguf, temperature: 1.5}\n"
    "  big: {cache: big.dtc, tier: top_k, from: both}\n"
    "  both: {blend: {mode: log_linear, of: [pt, en], weights: [0.7, 0.3]}}\n"
    "teacher: big\n"
    "data:\n"
    "  train: [{path: pt.txt, source: pt}, en.jsonl]\n"
    "  mix: {pt: 2, en: 0.5}\n"
    "loss:\n"
    "  - {type: jsd, jsd.teacher_weight: 0.25, weight: {schedule: linear, from: 1, to: 0, steps: "
    "100}}\n"
    "  - {type: cross_entropy, weight: 0.5}\n"
    "augment:\n"
    "  steps:\n"
    "    - {expand: magpie, n: 2000}\n"
    "    - {drop: overlap, ngram: 8}\n"
    "stages:\n"
    "  - {teacher: {path: a/}, train: {steps: 5}}\n"
    "  - {teacher: pt, loss: jsd}\n";

static dk_host *host;
static dk_error err;

static di_options *fresh(const char *yaml, const char *folder)
{
    di_options *o = NULL;
    if (!host) dk_host_create(NULL, &host, &err);
    di_options_create_with(host, &table, &o, &err);
    dk_error_clear(&err);
    if (yaml && di_options_parse(o, yaml, strlen(yaml), "r.yaml", folder, &err)) FAIL("%s", err.message);
    return o;
}

static const char *get(const di_options *o, const char *key)
{
    static char text[4][1000];
    static int next;
    char *out = text[next++ % 4];
    dk_strbuf buf;
    dk_strbuf_init(&buf, host);
    if (di_options_get(o, key, &buf, &err)) snprintf(out, sizeof text[0], "%s", err.message);
    else snprintf(out, sizeof text[0], "%s", buf.data ? buf.data : "");
    dk_strbuf_free(&buf);
    return out;
}

static void refuse(di_options *o, const char *key, const char *value, const char *message)
{
    di_options *before = NULL;
    REQUIRE_OK(di_options_copy(o, host, -1, &before, &err));
    if (di_options_set(o, key, value, &err) == DK_OK) FAIL("%s: %s was accepted", key, value ? value : "null");
    CHECK_STR(err.message, message);
    CHECK(di_options_equal(o, before));
    di_options_free(before);
}

static void check(const char *yaml, const char *message)
{
    di_options *o = fresh(yaml, NULL);
    dk_error_clear(&err);
    if (di_options_check(o, -1, &err) != (*message ? DK_E_OPTION : DK_OK)) FAIL("%s: %s", yaml, err.message);
    CHECK_STR(err.message, message);
    di_options_free(o);
}

/* Members of lists and entries, as readers see them: by their whole key, and from the node itself. */
TEST(readers)
{
    di_options *o = fresh(recipe, "home");
    CHECK_STR(di_options_text(o, "teachers.pt.path"), "home/portuguese/");
    CHECK(di_options_f64(o, "teachers.en.temperature") == 1.5 && di_options_f64(o, "teachers.pt.temperature") == 1);
    CHECK_INT(di_options_list_size(o, "teachers"), 4);
    CHECK_STR(di_options_name(di_options_item(o, "teachers", 2)), "big");
    const di_options *both = di_options_entry(o, "teachers", "both");
    REQUIRE(both);
    CHECK_STR(di_options_text(both, "blend.mode"), "log_linear");
    CHECK_STR(di_options_list_text(both, "blend.of", 1), "en");
    CHECK(di_options_list_f64(both, "blend.weights", 0) == 0.7 && di_options_flag(both, "mmap"));
    CHECK(!di_options_entry(o, "teachers", "nobody") && !di_options_is_set(o, "teachers.nobody"));
    CHECK(di_options_is_set(o, "teachers.pt") && !di_options_text(o, "teachers.nobody.path"));
    CHECK_STR(di_options_named(o, "teacher.path"), "big"); /* a name, although the recipe has a folder */
    CHECK(!di_options_named(o, "teachers.pt.path"));
    CHECK_INT(di_options_list_size(o, "data.train"), 2);
    CHECK_STR(di_options_text(o, "data.train.1.path"), "home/en.jsonl");
    CHECK_STR(di_options_text(di_options_item(o, "data.train", 0), "source"), "pt");
    CHECK(di_options_f64(o, "data.mix.pt") == 2 && di_options_f64(o, "data.mix.en") == 0.5);
    CHECK_STR(di_options_name(di_options_item(o, "data.mix", 1)), "en");
    CHECK(di_options_f64(di_options_item(o, "data.mix", 1), "") == 0.5);
    CHECK(di_options_is_list(o, "loss") && di_options_at_f64(o, "loss", 0, "jsd.teacher_weight") == 0.25);
    CHECK_INT(di_options_i64(o, "augment.steps.0.n"), 2000);
    CHECK_STR(di_options_text(o, "augment.steps.1.drop"), "overlap");
    const di_options *stage = di_options_item(o, "stages", 0); /* a whole recipe */
    CHECK_STR(di_options_text(stage, "teacher.path"), "home/a/");
    CHECK(di_options_i64(stage, "train.steps") == 5 && di_options_f64(stage, "train.rate") == 0.1);
    CHECK_STR(di_options_text(o, "stages.1.loss.type"), "jsd");
    CHECK_STR(di_options_text(di_options_map(o, "loss.0"), "type"), "jsd");
    CHECK_STR(di_options_text(di_options_map(o, "teachers.pt"), "path"), "home/portuguese/");
    CHECK_STR(di_options_text(di_options_map(o, "teacher"), "path"), "big");
    CHECK(!di_options_map(o, "loss") && !di_options_map(o, "train") && !di_options_map(o, "loss.7"));
    CHECK_OK(di_options_check(o, -1, &err));
    di_options_free(o);
}

TEST(setters)
{
    di_options *o = fresh(NULL, NULL);
    CHECK_OK(di_options_set(o, "data.train", "one.txt", &err));
    CHECK_STR(di_options_text(o, "data.train.path"), "one.txt");
    CHECK_STR(di_options_text(o, "data.train.0.path"), "one.txt");
    CHECK_OK(di_options_set_str(o, "data.train.1", "two.txt", &err));
    CHECK_OK(di_options_set_str(o, "data.train.1.source", "b", &err));
    CHECK_STR(get(o, "data.train"), "- path: one.txt\n- path: two.txt\n  source: b\n");
    CHECK_OK(di_options_set(o, "data", "three.txt", &err)); /* data.train.path */
    CHECK_STR(get(o, "data"), "train:\n  path: three.txt\n");
    CHECK_OK(di_options_set_f64(o, "data.mix.pt", 3, &err));
    CHECK_STR(get(o, "data.mix"), "pt: 3\n");
    CHECK_STR(get(o, "data.mix.pt"), "3");
    CHECK_OK(di_options_set(o, "data.mix.pt", NULL, &err));
    CHECK(!di_options_is_set(o, "data.mix"));
    CHECK_OK(di_options_set(o, "teachers.a", "path/", &err));
    CHECK_OK(di_options_set(o, "teachers.b", "{}", &err));
    CHECK_OK(di_options_set(o, "teachers", "{a: {temperature: 2}}", &err)); /* entries merge */
    CHECK_STR(get(o, "teachers"), "a:\n  path: path/\n  temperature: 2\nb: {}\n");
    CHECK_STR(get(o, "teachers.a"), "path: path/\ntemperature: 2\n");
    CHECK_STR(get(o, "teachers.a.mmap"), "true");
    CHECK_OK(di_options_set(o, "augment.steps", "{expand: continue}", &err)); /* one map is a list of one */
    CHECK_OK(di_options_set_i64(o, "augment.steps.0.ngram", 5, &err));
    CHECK_STR(get(o, "augment.steps"), "- expand: continue\n  ngram: 5\n");
    CHECK_OK(di_options_set_f64(o, "loss.jsd.teacher_weight", 0.5, &err));
    CHECK_OK(di_options_set(o, "loss.jsd.teacher_weight", NULL, &err));
    CHECK(!di_options_is_set(o, "loss"));
    refuse(o, "teachers.a.pth", "x", "teachers.a.pth is not an option; did you mean teachers.a.path?");
    refuse(o, "teachers.a.blend.mod", "x",
           "teachers.a.blend.mod is not an option; did you mean teachers.a.blend.mode?");
    refuse(o, "teachers.a.blend.mode", "cubic", "teachers.a.blend.mode \"cubic\" is none of linear|log_linear");
    refuse(o, "teachers.1x", "x",
           "teachers: \"1x\" is no name; names have up to 60 letters, digits, _ and -, and begin with a letter");
    refuse(o, "teachers", "[a]", "teachers is a map of names: give it as teachers: {name: ...}");
    refuse(o, "data.mix.pt", "-1", "data.mix.pt -1 is not in [0, 100]");
    refuse(o, "augment.steps.expand", "magpie",
           "augment.steps.expand: augment.steps is a list; say which item, augment.steps.0");
    refuse(o, "augment.steps.2.n", "1",
           "augment.steps.2 is not in [0, 1]: items are added one after the other, at most 64");
    refuse(o, "augment.steps.0.n", "0", "augment.steps.0.n 0 is not in [1, 1000000]");
    refuse(o, "train.step_count", "5", "train.step_count is not an option any more: give train.steps");
    CHECK_STR(get(o, "augment.steps.1.n"), "augment.steps.1.n: there are 1, numbered from 0");
    CHECK_OK(di_options_set(o, "stages", "[{train: {steps: 3}}]", &err));
    CHECK_OK(di_options_set(o, "stages.0.teachers.x.path", "p", &err));
    refuse(o, "stages.0.trian.steps", "1", "stages.0.trian.steps is not an option; did you mean train.steps?");
    CHECK_STR(get(o, "stages.0.teachers.x.path"), "p");
    char deep[400] = "train.steps";
    for (int i = 0; i < 20; i++) {
        char longer[400];
        snprintf(longer, sizeof longer, "stages.0.%.380s", deep);
        strcpy(deep, longer);
    }
    CHECK_INT(di_options_set(o, deep, "1", &err), DK_E_OPTION);
    CHECK_HAS(err.message, "is not an option: it has 191 characters");
    di_options_free(o);
}

/* A list of numbers takes them item by item. */
TEST(schedules_in_lists)
{
    static const char text[] = "[0.5, {schedule: linear, from: 0.5, to: 0, steps: 10}]";
    di_options *o = fresh("teacher: {blend: {shares: [0.5, {schedule: linear, from: 0.5, to: 0, steps: 10}]}}", NULL),
               *same = NULL;
    const di_options *blend;
    CHECK_STR(get(o, "teacher.blend.shares"), text);
    CHECK_STR(get(o, "teacher.blend.shares.1"), "{schedule: linear, from: 0.5, to: 0, steps: 10}");
    blend = di_options_map(o, "teacher.blend");
    const di_course course = di_options_list_course(blend, "shares", 1),
                    none = di_options_list_course(blend, "shares", 0);
    CHECK_NEAR(di_course_at(&course, di_options_list_f64(blend, "shares", 1), 4), 0.3, 1e-15);
    CHECK_INT(none.kind, DI_CONSTANT);
    CHECK_OK(di_options_copy(o, host, -1, &same, &err));
    CHECK(di_options_equal(o, same));
    CHECK_OK(di_options_set(o, "teacher.blend.shares.1", "{schedule: linear, from: 0.5, to: 0, steps: 11}", &err));
    CHECK(!di_options_equal(o, same));
    CHECK_STR(get(o, "teacher.blend.shares.1"), "{schedule: linear, from: 0.5, to: 0, steps: 11}");
    refuse(o, "teacher.blend.shares", "[{schedule: linear, from: 0.5, to: 2, steps: 11}]",
           "teacher.blend.shares.to 2 is not in [0, 1]");
    refuse(o, "teacher.blend.weights", "[{schedule: linear, from: 0.5, to: 1, steps: 11}]",
           "teacher.blend.weights {a map} is not a number");
    di_options_free(same);
    di_options_free(o);
}

TEST(schedules)
{
    di_options *o = fresh("loss: {weight: {schedule: linear, from: 1, to: 0, steps: 100}, temperature: 4}", NULL);
    CHECK(di_options_f64(o, "loss.weight") == 1 && di_options_f64_at(o, "loss.weight", 25) == 0.75);
    CHECK(di_options_f64_at(o, "loss.weight", -1) == 1 && di_options_f64_at(o, "loss.weight", 1000) == 0);
    CHECK(di_options_f64_at(o, "loss.temperature", 50) == 4 && di_options_f64_at(o, "train.rate", 50) == 0.1);
    CHECK_STR(get(o, "loss.weight"), "{schedule: linear, from: 1, to: 0, steps: 100}");
    CHECK_OK(di_options_set(o, "loss.weight.schedule", "cosine", &err));
    CHECK_OK(di_options_set_f64(o, "loss.weight.to", 3, &err));
    CHECK_OK(di_options_set_i64(o, "loss.weight.steps", 10, &err));
    CHECK(fabs(di_options_f64_at(o, "loss.weight", 5) - 2) < 1e-15 && di_options_f64_at(o, "loss.weight", 10) == 3);
    CHECK_OK(di_options_set(o, "loss.weight.schedule", "step", &err));
    CHECK(di_options_f64_at(o, "loss.weight", 9) == 1 && di_options_f64_at(o, "loss.weight", 10) == 3);
    refuse(o, "loss.weight.to", "11", "loss.weight.to 11 is not in [0, 10]");
    refuse(o, "loss.weight", "{schedule: linear, from: 1, to: 0}",
           "loss.weight: the schedule lacks steps; it has schedule, from, to and steps");
    refuse(o, "loss.weight", "{schedule: linear, from: 1, to: 0, steps: 0}",
           "loss.weight.steps 0 is not in [1, 1000000000000] steps");
    refuse(o, "loss.weight", "{schedule: liner, from: 1, to: 0, steps: 5}",
           "loss.weight.schedule \"liner\" is none of linear|cosine|step; did you mean linear?");
    refuse(o, "loss.weight", "{schedule: linear, from: 1, to: 0, step: 5}",
           "loss.weight: step is no key of a schedule; it has schedule, from, to and steps");
    refuse(o, "loss.temperature.to", "1",
           "loss.temperature.to: the number has no schedule yet; set it as a whole, {schedule: linear, from: 1, to: 0, "
           "steps: 100}");
    refuse(o, "train.rate", "{schedule: linear, from: 1, to: 0, steps: 5}", "train.rate {a map} is not a number");
    di_options_free(o);
}

TEST(keys_under_a_type)
{
    check("loss: {type: jsd, jsd: {teacher_weight: 0.3}}", "");
    check("loss: {type: skew_reverse_kl, skew.lambda: 0.3}", "");
    check("loss:\n  type: forward_kl\n  jsd.teacher_weight: 0.3\n",
          "r.yaml:3: loss.jsd goes with type=jsd only: nothing would read it here");
    check("loss: [{type: jsd}, {skew.lambda: 0.2}]",
          "r.yaml:1: loss.1.skew goes with type=skew_forward_kl|skew_reverse_kl only: nothing would read it here");
    check("augment: {steps: [{expand: continue, n: 5}]}",
          "r.yaml:1: augment.steps.0.n goes with expand=magpie only: nothing would read it here");
    check("augment: {steps: [{expand: continue, ngram: 5}, {drop: overlap, ngram: 5}]}", "");
    check("augment: {steps: [{drop: near_duplicate, ngram: 5}]}",
          "r.yaml:1: augment.steps.0.ngram goes with drop=overlap,expand only: nothing would read it here");
    check("augment: {steps: [{drop: near_duplicate, ngram: 13}]}", ""); /* the default says nothing */
    check("teachers: {a: {path: x, tier: top_k}}",
          "r.yaml:1: teachers.a.tier goes with cache only: nothing would read it here");
    check("stages: [{teacher: {tier: top_k}}]",
          "r.yaml:1: stages.0.teacher.tier goes with cache only: nothing would read it here");
    check("teachers: {pt: x}\nteacher: {blend: {of: [pt, emn]}}",
          "r.yaml:2: teacher.blend.of names \"emn\", which is not one of teachers (pt)");
    check("teachers: {pt: x, english: y}\nteacher: {cache: c, from: englich}",
          "r.yaml:2: teacher.from names \"englich\", which is not one of teachers (pt|english); did you mean english?");
    di_options *o = fresh("loss: {jsd.teacher_weight: 0.3}\ntrain: {steps: 1}", NULL);
    CHECK_OK(di_options_check(o, 1 << di_table_section(&table, di_table_member(&table, DI_ROOT, "train", 5)), &err));
    CHECK_INT(di_options_refuse(o, "train.steps", "has no use here", &err), DK_E_OPTION);
    CHECK_STR(err.message, "r.yaml:2: train.steps has no use here");
    CHECK(di_options_differs(o, "train.steps") && !di_options_differs(o, "train.rate"));
    CHECK_OK(di_options_refuse(o, "train.rate", "has no use here", &err));
    CHECK_OK(di_options_set_i64(o, "train.steps", 10, &err)); /* its default */
    CHECK_OK(di_options_refuse(o, "train.steps", "has no use here", &err));
    di_options_free(o);
}

TEST(text_forms)
{
    di_options *o = fresh(recipe, "home"), *back = fresh(NULL, NULL), *copy = NULL;
    dk_strbuf text;
    dk_strbuf_init(&text, host);
    for (int32_t json = 0; json < 2; json++)
        for (int32_t defaults = 0; defaults < 2; defaults++) {
            di_options_free(back);
            back = fresh(NULL, NULL);
            dk_strbuf_clear(&text);
            CHECK_OK(json ? di_options_write_json(o, defaults, &text, &err)
                          : di_options_write_yaml(o, defaults, &text, &err));
            REQUIRE_OK(di_options_parse(back, text.data, text.size, "again", NULL, &err));
            CHECK(defaults || di_options_equal(o, back));
            CHECK_OK(di_options_check(back, -1, &err));
            CHECK_STR(di_options_named(back, "teacher.path"), "big");
            CHECK_STR(di_options_text(back, "stages.1.teacher.path"), "pt"); /* of the recipe around it */
            CHECK(di_options_f64_at(back, "loss.0.weight", 50) == 0.5 && di_options_f64(back, "data.mix.en") == 0.5);
        }
    dk_strbuf_clear(&text);
    CHECK_OK(di_options_write_json(o, 0, &text, &err));
    CHECK_HAS(text.data, "{\"teacher\":{\"path\":\"big\"},\"teachers\":{\"pt\":{\"path\":\"home/portuguese/\"},");
    CHECK_HAS(text.data, "\"mix\":{\"pt\":2,\"en\":0.5}");
    CHECK_HAS(text.data, "\"weight\":{\"schedule\":\"linear\",\"from\":1,\"to\":0,\"steps\":100}");
    CHECK_HAS(text.data, "\"jsd\":{\"teacher_weight\":0.25}");
    CHECK_OK(di_options_copy(o, host, 1 << 1 | 1 << 3, &copy, &err)); /* teachers, loss */
    CHECK(di_options_is_set(copy, "teachers.both") && di_options_is_list(copy, "loss"));
    CHECK(!di_options_is_set(copy, "data") && !di_options_is_set(copy, "stages"));
    di_options_free(copy);
    CHECK_OK(di_options_copy(o, host, -1, &copy, &err));
    CHECK(di_options_equal(o, copy));
    CHECK_OK(di_options_set(copy, "teachers.en.temperature", "1.6", &err));
    CHECK(!di_options_equal(o, copy));
    di_options_free(copy);
    di_options_free(back);
    di_options_free(o);
    dk_strbuf_free(&text);
}

TEST(live_options)
{
    di_options *o = fresh(recipe, NULL), *from = fresh("loss: [{type: jsd, weight: 2}, {type: cross_entropy}]", NULL);
    CHECK_OK(di_options_configure(o, from, &err));
    CHECK(di_options_f64_at(o, "loss.0.weight", 70) == 2 && di_options_f64(o, "loss.1.weight") == 0.5);
    CHECK(di_options_f64(o, "loss.0.jsd.teacher_weight") == 0.25);
    CHECK_OK(di_options_set(from, "loss.1.type", "tvd", &err));
    CHECK_INT(di_options_configure(o, from, &err), DK_E_STAGE);
    CHECK_STR(err.message, "loss.type cannot be changed any more; it is fixed when the trainer is created");
    CHECK_OK(di_options_set(from, "loss", "[{weight: 1}]", &err)); /* not as many */
    CHECK_INT(di_options_configure(o, from, &err), DK_E_STAGE);
    CHECK_OK(di_options_set(from, "loss", NULL, &err));
    CHECK_OK(di_options_set(from, "teachers.new", "x", &err));
    CHECK_INT(di_options_configure(o, from, &err), DK_E_STAGE);
    CHECK_OK(di_options_set(from, "teachers", NULL, &err));
    CHECK_OK(di_options_set_f64(from, "train.rate", 3, &err)); /* a section that was not there */
    CHECK_OK(di_options_configure(o, from, &err));
    CHECK(di_options_f64(o, "train.rate") == 3);
    CHECK_OK(di_options_set_i64(from, "train.steps", 10, &err)); /* the default changes nothing */
    CHECK_OK(di_options_configure(o, from, &err));
    CHECK(!di_options_is_set(o, "train.steps"));
    di_options_free(from);
    di_options_free(o);
}

/* Whatever a user sets, one call after the other: what is taken reads back as the same tree. */
TEST(random_settings_read_back)
{
    static const char *const keys[] = {"teacher",
                                       "teachers",
                                       "teachers.pt",
                                       "teachers.en.path",
                                       "teachers.big.blend",
                                       "teachers.big.blend.of",
                                       "teachers.big.blend.of.0",
                                       "teachers.big.blend.weights.0",
                                       "teachers.pt.cache",
                                       "teachers.pt.tier",
                                       "data",
                                       "data.train",
                                       "data.train.0",
                                       "data.train.1.path",
                                       "data.train.2",
                                       "data.train.source",
                                       "data.mix",
                                       "data.mix.pt",
                                       "data.mix.en",
                                       "loss",
                                       "loss.0",
                                       "loss.1",
                                       "loss.1.type",
                                       "loss.0.weight",
                                       "loss.weight",
                                       "loss.weight.to",
                                       "loss.weight.schedule",
                                       "loss.0.weight.steps",
                                       "loss.temperature",
                                       "loss.jsd.teacher_weight",
                                       "loss.0.jsd",
                                       "loss.2.skew.lambda",
                                       "train",
                                       "train.rate",
                                       "train.steps",
                                       "augment",
                                       "augment.steps",
                                       "augment.steps.0",
                                       "augment.steps.1.n",
                                       "augment.steps.0.expand",
                                       "stages",
                                       "stages.0",
                                       "stages.0.teacher",
                                       "stages.1.loss.0.weight",
                                       "stages.0.stages",
                                       "stages.0.teachers.pt",
                                       "stages.0.data.mix.pt"};
    static const char *const values[] = {"1",
                                         "0.5",
                                         "a",
                                         "[a, b]",
                                         "[]",
                                         "{}",
                                         "null",
                                         "{path: x}",
                                         "[{path: x}, y]",
                                         "{schedule: linear, from: 1, to: 0, steps: 5}",
                                         "jsd",
                                         "[{type: jsd, jsd.teacher_weight: 0.1}, tvd]",
                                         "{pt: {path: a}, en: b}",
                                         "true",
                                         "{pt: 2}",
                                         "[{expand: magpie, n: 5}]",
                                         "[{train: {steps: 4}, teachers: {q: z}}]",
                                         "\"\"",
                                         "{blend: {of: [pt], weights: [1]}}",
                                         "-1e300",
                                         "{a: {b: {c: d}}}",
                                         "[[1]]"};
    enum { KEYS = sizeof keys / sizeof *keys, VALUES = sizeof values / sizeof *values };
    di_options *o = fresh(NULL, NULL);
    uint32_t state = 1;
    int taken = 0;
    for (int i = 0; i < 2000; i++) {
        const char *key = keys[(state = state * 1664525u + 1013904223u) / 65536 % KEYS];
        const char *value = values[(state = state * 1664525u + 1013904223u) / 65536 % VALUES];
        if (i % 200 == 0) di_options_free(o), o = fresh(NULL, NULL);
        if (di_options_set(o, key, value, &err)) continue;
        taken++;
        di_options_check(o, -1, &err); /* may refuse it, must not fall over it */
        for (int32_t json = 0; json < 2; json++) {
            di_options *back = fresh(NULL, NULL);
            dk_strbuf text;
            dk_strbuf_init(&text, host);
            CHECK_OK(json ? di_options_write_json(o, 0, &text, &err) : di_options_write_yaml(o, 0, &text, &err));
            if (text.size) CHECK_OK(di_options_parse(back, text.data, text.size, "again", NULL, &err));
            if (!di_options_equal(o, back)) FAIL("%s = %s: %.500s", key, value, text.data);
            dk_strbuf_free(&text);
            di_options_free(back);
        }
    }
    CHECK(taken > 200);
    di_options_free(o);
}

static int32_t use_tree(void *context, dk_host *from, dk_error *error)
{
    di_options *o = NULL, *copy = NULL;
    dk_strbuf text;
    int32_t rc;
    (void)context;
    dk_strbuf_init(&text, from);
    DK_TRY(di_options_create_with(from, &table, &o, error));
    DK_TRY(di_options_parse(o, recipe, sizeof recipe - 1, "r.yaml", "home", error));
    DK_TRY(di_options_set(o, "loss.0.weight.to", "0.5", error));
    DK_TRY(di_options_set(o, "teachers.en", NULL, error));
    DK_TRY(di_options_copy(o, from, -1, &copy, error));
    DK_TRY(di_options_configure(o, copy, error));
    DK_TRY(di_options_write_json(o, 1, &text, error));
out:
    dk_strbuf_free(&text);
    di_options_free(copy);
    di_options_free(o);
    return rc;
}

TEST(every_allocation_may_fail) { CHECK(fail_every_alloc(use_tree, NULL) > 100); }

TEST_MAIN(TEST_CASE(readers) TEST_CASE(setters) TEST_CASE(schedules) TEST_CASE(schedules_in_lists)
              TEST_CASE(keys_under_a_type) TEST_CASE(text_forms) TEST_CASE(live_options)
                  TEST_CASE(random_settings_read_back) TEST_CASE(every_allocation_may_fail))
