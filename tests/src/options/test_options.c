#include "../../lib/base/fail_alloc.h"
#include "options/options.h"
#include "test.h"

static dk_host *host;
static dk_error err;

static di_options *fresh(void)
{
    di_options *options = NULL;
    if (!host) dk_host_create(NULL, &host, &err);
    di_options_create(host, &options, &err);
    dk_error_clear(&err);
    return options;
}

static const char *get(const di_options *options, const char *key)
{
    static char text[4][1000];
    static int next;
    char *out = text[next++ % 4];
    dk_strbuf buf;
    dk_strbuf_init(&buf, host);
    if (di_options_get(options, key, &buf, &err)) snprintf(out, sizeof text[0], "%s", err.message);
    else snprintf(out, sizeof text[0], "%s", buf.data ? buf.data : "");
    dk_strbuf_free(&buf);
    return out;
}

static void refuse(di_options *options, const char *key, const char *value, const char *message)
{
    di_options *before = NULL;
    REQUIRE_OK(di_options_copy(options, host, -1, &before, &err));
    if (di_options_set(options, key, value, &err) == DK_OK) FAIL("%s: %s was accepted", key, value);
    CHECK_STR(err.message, message);
    CHECK(di_options_equal(options, before));
    di_options_free(before);
}

TEST(every_type)
{
    di_options *o = fresh();
    CHECK_OK(di_options_set(o, "train.steps", "2e3", &err));
    CHECK_INT(di_options_i64(o, "train.steps"), 2000);
    CHECK(di_options_f64(o, "train.steps") == 2000);
    CHECK_OK(di_options_set_i64(o, "train.steps", 12, &err));
    CHECK_OK(di_options_set_f64(o, "train.learning_rate", 2e-3, &err));
    CHECK_OK(di_options_set_i64(o, "loss.temperature", 2, &err));
    CHECK_OK(di_options_set_f64(o, "train.seed", 5, &err));
    CHECK_OK(di_options_set_str(o, "train.batch_size", "16", &err));
    CHECK_OK(di_options_set_str(o, "data.separator", "null", &err));
    CHECK_OK(di_options_set(o, "data.pack", "no", &err));
    CHECK_OK(di_options_set_i64(o, "output.overwrite", 1, &err));
    CHECK_OK(di_options_set(o, "train.schedule", "wsd", &err));
    CHECK_STR(get(o, "train.loss_memory"), "auto");
    CHECK_OK(di_options_set(o, "train.loss_memory", "131072", &err));
    CHECK_INT(di_options_i64(o, "train.loss_memory"), 131072);
    CHECK_OK(di_options_set(o, "train.loss_memory", "auto", &err));
    CHECK_INT(di_options_i64(o, "train.loss_memory"), 0);
    CHECK_STR(get(o, "train.loss_memory"), "auto");
    CHECK_OK(di_options_set(o, "student.layers", "[0, 2, 5]", &err));
    CHECK_OK(di_options_set(o, "student.freeze", "[model.embed*, '[0-9]']", &err));
    CHECK_OK(di_options_set(o, "loss.t_squared", "false", &err)); /* on and off, as other writers of YAML spell them */
    CHECK_STR(get(o, "loss.t_squared"), "off");
    CHECK_OK(di_options_set(o, "loss.t_squared", "true", &err));
    CHECK_STR(get(o, "loss.t_squared"), "on");
    CHECK_INT(di_options_set(o, "train.schedule", "true", &err), DK_E_OPTION); /* no such choice there */
    CHECK_INT(di_options_i64(o, "train.steps"), 12);
    CHECK(di_options_f64(o, "train.learning_rate") == 2e-3 && di_options_f64(o, "loss.temperature") == 2);
    CHECK_INT(di_options_i64(o, "train.seed"), 5);
    CHECK_INT(di_options_i64(o, "train.batch_size"), 16);
    CHECK_STR(di_options_text(o, "data.separator"), "null");
    CHECK_INT(di_options_flag(o, "data.pack"), 0);
    CHECK_INT(di_options_flag(o, "output.overwrite"), 1);
    CHECK(di_options_is(o, "train.schedule", "wsd") && !di_options_is(o, "train.schedule", "linear"));
    CHECK_INT(di_options_list_size(o, "student.layers"), 3);
    CHECK_INT(di_options_list_i64(o, "student.layers", 2), 5);
    CHECK_INT(di_options_list_i64(o, "student.layers", 3), 0);
    CHECK_STR(di_options_list_text(o, "student.freeze", 1), "[0-9]");
    CHECK_STR(get(o, "student.layers"), "[0, 2, 5]");
    CHECK_STR(get(o, "student.layers.1"), "2");
    CHECK_STR(get(o, "student.freeze.0"), "model.embed*");
    CHECK_STR(get(o, "train.learning_rate"), "0.002");
    CHECK_STR(get(o, "data.pack"), "false");
    CHECK_STR(get(o, "data.separator"), "null");
    di_options_free(o);
}

TEST(defaults)
{
    di_options *o = fresh();
    CHECK_INT(di_options_i64(NULL, "train.steps"), 1000);
    CHECK(di_options_f64(NULL, "train.learning_rate") == 3e-4);
    CHECK_INT(di_options_flag(NULL, "data.pack"), 1);
    CHECK_INT(di_options_flag(NULL, "train.keep_best"), 0);
    CHECK_STR(di_options_text(NULL, "data.separator"), "<|endoftext|>");
    CHECK(!di_options_text(NULL, "teacher.path"));
    CHECK(!di_options_is_set(NULL, "train.steps"));
    CHECK_INT(di_options_list_size(NULL, "student.layers"), 0);
    CHECK_STR(get(o, "train.learning_rate"), "3e-4");
    CHECK_STR(get(o, "teacher.path"), "");
    CHECK_OK(di_options_set_i64(o, "train.steps", 5, &err));
    CHECK_OK(di_options_set(o, "train.steps", NULL, &err));
    CHECK(!di_options_is_set(o, "train.steps"));
    CHECK_INT(di_options_i64(o, "train.steps"), 1000);
    CHECK_OK(di_options_set_i64(o, "train.steps", 5, &err));
    CHECK_OK(di_options_set(o, "train.steps", "null", &err));
    CHECK_INT(di_options_i64(o, "train.steps"), 1000);
    CHECK_OK(di_options_set_str(o, "output.path", "x", &err));
    CHECK_OK(di_options_set_str(o, "output.path", NULL, &err));
    CHECK_OK(di_options_set_i64(o, "train.steps", 5, &err));
    CHECK_OK(di_options_set(o, "train", NULL, &err)); /* a whole section */
    CHECK(di_options_equal(o, NULL));
    di_options_free(o);
    di_options_free(NULL);
}

TEST(refused_values)
{
    di_options *o = fresh();
    CHECK_OK(di_options_set_i64(o, "train.steps", 7, &err));
    refuse(o, "train.steps", "abc", "train.steps \"abc\" is not an integer");
    refuse(o, "train.steps", "auto", "train.steps \"auto\" is not an integer");
    refuse(o, "train.loss_memory", "most", "train.loss_memory \"most\" is not an integer or auto");
    refuse(o, "train.loss_memory", "0", "train.loss_memory 0 is not in [65536, 1099511627776] bytes");
    refuse(o, "train.steps", "1.5", "train.steps 1.5 is not an integer");
    refuse(o, "train.steps", "-1", "train.steps -1 is not in [0, 1000000000000] steps");
    refuse(o, "train.steps", "1e300", "train.steps 1e+300 is not an integer");
    refuse(o, "train.steps", "true", "train.steps true is not an integer");
    refuse(o, "loss.temperature", "0", "loss.temperature 0 is not in [0.001, 1000]");
    refuse(o, "loss.temperature", ".nan", "loss.temperature nan is not in [0.001, 1000]");
    refuse(o, "loss.temperature", "1e-39", "loss.temperature 1e-39 is not in [0.001, 1000]");
    refuse(o, "loss.temperature", "1001", "loss.temperature 1001 is not in [0.001, 1000]");
    refuse(o, "generate.temperature", "1e-39",
           "generate.temperature 1e-39 is neither 0 nor in [0.001, 100]: 0 = always the most probable token");
    refuse(o, "generate.temperature", "-1",
           "generate.temperature -1 is neither 0 nor in [0.001, 100]: 0 = always the most probable token");
    refuse(o, "train.learning_rate", "1e-39",
           "train.learning_rate 1e-39 is neither 0 nor in [1e-12, 10]: peak learning rate");
    refuse(o, "train.epsilon", "1e-39", "train.epsilon 1e-39 is not in [1e-16, 1]");
    refuse(o, "train.beta2", "1", "train.beta2 1 is not in [0, 1)");
    refuse(o, "train.beta2", "[1]", "train.beta2 [a list] is not a number");
    refuse(o, "data.pack", "maybe", "data.pack \"maybe\" is not true or false");
    refuse(o, "data.pack", "2", "data.pack 2 is not true or false");
    refuse(o, "train.schedule", "cosin",
           "train.schedule \"cosin\" is none of constant|linear|cosine|wsd|inverse_sqrt; did you mean cosine?");
    refuse(o, "train.schedule", "sawtooth",
           "train.schedule \"sawtooth\" is none of constant|linear|cosine|wsd|inverse_sqrt");
    refuse(o, "output.path", "\"\"", "output.path is empty; give a path, or null for none");
    refuse(o, "output.path", "{a: b}", "output.path {a map} is not a text");
    refuse(o, "data.separator", "\"a\\0b\"", "data.separator: a NUL character cannot be part of a text");
    refuse(o, "student.layers", "[1, x]", "student.layers \"x\" is not an integer");
    refuse(o, "student.layers", "[1, -2]", "student.layers -2 is not in [0, 1000000]");
    refuse(o, "student.layers", "{a: 1}", "student.layers {a map} is not a list");
    refuse(o, "data.mix", "{pt: -1}",
           "data.mix.pt -1 is neither 0 nor in [1e-06, 1000000]: weight of a source in the tokens that are trained on; "
           "one "
           "that ends begins again; 0 leaves it out; no data.mix = by size");
    refuse(o, "data.mix", "{a b: 1}",
           "data.mix: \"a b\" is no name; names have up to 60 letters, digits, _ and -, and begin with a letter");
    refuse(o, "data.mix", "[1, 2]", "data.mix is a map of names: give it as data.mix: {name: ...}");
    refuse(o, "data.train", "[{paht: a}]", "data.train.0.paht is not an option; did you mean data.train.0.path?");
    refuse(o, "data.train", "[{path: a}, {name: b}]",
           "data.train.1.name is not an option; did you mean data.train.1.source?");
    refuse(o, "output.save_dtype", "f32",
           "output.save_dtype is not an option any more: give output.type: auto, f32, bf16, f16, or q8_0, q4_0 or q4_k "
           "of GGUF");
    refuse(o, "student.from", "a",
           "student.from \"a\" is not teacher, the only value that it takes; teacher: start as a copy of some of the "
           "layers "
           "of teacher.path, a single model; where several teach give the student by student.path or student.config");
    refuse(o, "train.precision", "f16", "train.precision \"f16\" is none of auto|bf16|fp32; did you mean bf16?");
    refuse(o, "train.steps", "[1",
           "value of train.steps:2: did not find expected ',' or ']' while parsing a flow sequence");
    CHECK_INT(di_options_set_f64(o, "train.learning_rate", (double)NAN, &err), DK_E_OPTION);
    CHECK_STR(err.message, "train.learning_rate nan is neither 0 nor in [1e-12, 10]: peak learning rate");
    CHECK_INT(di_options_set_i64(o, "train.seed", INT64_MAX, &err), DK_E_OPTION);
    CHECK_OK(di_options_set_i64(o, "train.seed", INT64_C(1) << 53, &err));
    CHECK_INT(di_options_set_i64(o, "train.seed", (INT64_C(1) << 53) + 1, &err), DK_E_OPTION); /* no double */
    CHECK_HAS(err.message, "train.seed 9007199254740993 is not in [0, 9007199254740992]");
    CHECK_INT(di_options_set(o, "train.steps", "x", NULL), DK_E_OPTION);
    CHECK_INT(di_options_i64(o, "train.steps"), 7);
    CHECK_OK(di_options_set(o, "generate.temperature", "0", &err));
    CHECK_OK(di_options_set(o, "generate.temperature", "1e-3", &err));
    CHECK_OK(di_options_set(o, "loss.temperature", "1e-3", &err));
    CHECK_OK(di_options_set(o, "loss.temperature", "1000", &err));
    di_options_free(o);
}

TEST(unknown_keys)
{
    di_options *o = fresh();
    refuse(o, "train.stpes", "1", "train.stpes is not an option; did you mean train.steps?");
    refuse(o, "trian.steps", "1", "trian.steps is not an option; did you mean train.steps?");
    refuse(o, "temperature", "1", "temperature is not an option; did you mean loss.temperature?");
    refuse(o, "qwertyuiop.x", "1", "qwertyuiop.x is not an option; `distill options` lists them all");
    refuse(o, "", "1", " is not an option; `distill options` lists them all");
    refuse(o, "train.steps.x", "1", "train.steps.x is not an option; did you mean train.steps?");
    refuse(o, "train.", "1", "train. is not an option; did you mean train?");
    refuse(o, "train", "5", "train is a section: give it as a map, train: {key: value}");
    refuse(o, "train", "[5]", "train is a section: give it as a map, train: {key: value}");
    refuse(o, "train", "{stepz: 5}", "train.stepz is not an option; did you mean train.steps?");
    CHECK_STR(get(o, "train.stpes"), "train.stpes is not an option; did you mean train.steps?");
    di_options_free(o);
}

TEST(items_by_number)
{
    di_options *o = fresh();
    CHECK_OK(di_options_set(o, "student.layers.0", "3", &err));
    CHECK_OK(di_options_set_i64(o, "student.layers.1", 4, &err));
    CHECK_OK(di_options_set(o, "student.layers.0", "2", &err));
    CHECK_STR(get(o, "student.layers"), "[2, 4]");
    CHECK_OK(di_options_set_str(o, "student.freeze.0", "a.*", &err));
    CHECK_OK(di_options_set_str(o, "student.freeze.0", "b.*", &err));
    CHECK_STR(get(o, "student.freeze"), "[\"b.*\"]");
    refuse(o, "student.layers.3", "1", "student.layers.3 is not in [0, 2]: items are added one after the other");
    refuse(o, "student.layers.-1", "1", "student.layers.-1: index -1 is not in [0, ...)");
    refuse(o, "student.layers.x", "1", "student.layers.x: index x is not in [0, ...)");
    refuse(o, "student.layers.0", "[1, 2]", "student.layers.0 takes one value");
    refuse(o, "student.layers.0", "x", "student.layers \"x\" is not an integer");
    refuse(o, "train.steps.0", "1", "train.steps.0 is not an option; did you mean train.steps?");
    CHECK_STR(get(o, "student.layers.2"), "student.layers.2: there are 2, numbered from 0");
    CHECK_OK(di_options_set(o, "student.layers", "auto:12", &err)); /* so many, chosen by whoever reads it */
    CHECK_STR(get(o, "student.layers"), "auto:12");
    CHECK_INT(di_options_i64(o, "student.layers"), 12);
    CHECK_INT(di_options_list_size(o, "student.layers"), 0);
    CHECK(di_options_differs(o, "student.layers"));
    refuse(o, "student.layers", "auto",
           "student.layers \"auto\": auto:N takes a number N in [1, 1000000], as in auto:10");
    refuse(o, "student.layers", "auto:0",
           "student.layers \"auto:0\": auto:N takes a number N in [1, 1000000], as in auto:10");
    refuse(o, "student.layers", "auto:2x",
           "student.layers \"auto:2x\": auto:N takes a number N in [1, 1000000], as in auto:10");
    refuse(o, "student.layers", "[auto:2]", "student.layers \"auto:2\" is not an integer");
    refuse(o, "student.layers.0", "auto:2", "student.layers.0 takes one value");
    refuse(o, "student.freeze", "{a: 1}", "student.freeze {a map} is not a list");
    CHECK_OK(di_options_set(o, "student.freeze", "auto:2", &err)); /* of other lists it is a text */
    CHECK_STR(get(o, "student.freeze"), "[\"auto:2\"]");
    CHECK_OK(di_options_set(o, "student.freeze", NULL, &err));
    CHECK_OK(di_options_set(o, "student.layers.0", "3", &err)); /* a list takes its place */
    CHECK_STR(get(o, "student.layers"), "[3]");
    CHECK_OK(di_options_set(o, "student.layers", "7", &err)); /* one value is a list of one */
    CHECK_STR(get(o, "student.layers"), "[7]");
    di_options_free(o);
}

TEST(sections_as_plain_values)
{
    di_options *o = fresh();
    CHECK_OK(di_options_set(o, "teacher", "big/", &err));
    CHECK_OK(di_options_set_str(o, "student", "small/", &err));
    CHECK_OK(di_options_set(o, "data", "train.jsonl", &err));
    CHECK_OK(di_options_set(o, "loss", "reverse_kl", &err));
    CHECK_OK(di_options_set(o, "output", "{path: out/, overwrite: true}", &err));
    CHECK_STR(di_options_text(o, "teacher.path"), "big/");
    CHECK_STR(di_options_text(o, "student.path"), "small/");
    CHECK_STR(di_options_text(o, "data.train.path"), "train.jsonl");
    CHECK_STR(di_options_text(o, "loss.type"), "reverse_kl");
    CHECK_STR(get(o, "output"), "path: out/\noverwrite: true\n");
    di_options_free(o);
}

TEST(terms_of_the_loss)
{
    di_options *o = fresh();
    CHECK_INT(di_options_list_size(NULL, "loss"), 0);
    CHECK(!di_options_is_list(o, "loss"));
    CHECK_STR(di_options_at_text(NULL, "loss", 0, "type"), "forward_kl");
    CHECK_OK(di_options_set(o, "loss", "{type: jsd, temperature: 2}", &err));
    CHECK_INT(di_options_list_size(o, "loss"), 1);
    CHECK_STR(di_options_at_text(o, "loss", 0, "type"), "jsd");
    CHECK(di_options_at_f64(o, "loss", 0, "temperature") == 2);
    CHECK_STR(get(o, "loss.0.type"), "jsd");
    CHECK_OK(di_options_set(o, "loss.0.weight", "0.5", &err)); /* the single loss becomes the first of a list */
    CHECK(di_options_is_list(o, "loss"));
    CHECK_OK(di_options_set_str(o, "loss.1.type", "cross_entropy", &err));
    CHECK_INT(di_options_list_size(o, "loss"), 2);
    CHECK_STR(di_options_at_text(o, "loss", 0, "type"), "jsd");
    CHECK(di_options_at_f64(o, "loss", 0, "weight") == 0.5 && di_options_at_f64(o, "loss", 1, "weight") == 1);
    CHECK(di_options_at_f64(o, "loss", 0, "temperature") == 2 && di_options_at_f64(o, "loss", 1, "temperature") == 1);
    CHECK(di_options_at_is_set(o, "loss", 0, "weight") && !di_options_at_is_set(o, "loss", 1, "weight"));
    CHECK_STR(get(o, "loss"), "- type: jsd\n  temperature: 2\n  weight: 0.5\n- type: cross_entropy\n");
    CHECK_STR(get(o, "loss.1"), "type: cross_entropy\n");
    CHECK_STR(get(o, "loss.2.type"), "loss.2.type: there are 2, numbered from 0");
    CHECK_STR(get(o, "loss.type"), "loss.type: it stands in a list of maps; say which, as in loss.0.type");
    CHECK_OK(di_options_set(o, "loss.temperature", "4", &err)); /* reaches every term */
    CHECK(di_options_at_f64(o, "loss", 0, "temperature") == 4 && di_options_at_f64(o, "loss", 1, "temperature") == 4);
    refuse(o, "loss.3.type", "x", "loss.3 is not in [0, 2]: items are added one after the other, at most 64");
    refuse(o, "loss.-1.type", "x", "loss.-1.type is not an option; did you mean loss.type?");
    refuse(o, "loss.type", "x", "loss.type: loss is a list of 2; set loss.0.type, or loss as a whole");
    refuse(o, "loss.hard_label_weight", "0.5",
           "loss.hard_label_weight belongs to a single loss; in a list give each its weight");
    refuse(o, "loss.1.hard_label_weight", "0.5",
           "loss.1.hard_label_weight belongs to a single loss; in a list give each its weight");
    refuse(o, "loss.1", NULL, "loss.1: an item cannot be taken out; set loss as a whole");
    refuse(o, "loss.1.tpye", "x", "loss.1.tpye is not an option; did you mean loss.1.type?");
    refuse(o, "teacher.blend.weights", "[]",
           "teacher.blend.weights is an empty list; give at least one item, or null for none");
    refuse(o, "teacher.blend.of", "[]", "teacher.blend.of is an empty list; give at least one item, or null for none");
    CHECK_OK(di_options_set(o, "student.layers", "[]", &err)); /* every second one */
    CHECK_OK(di_options_set(o, "student.layers", NULL, &err));
    refuse(o, "loss", "[]", "loss is an empty list; give at least one item, or null for none");
    CHECK_OK(di_options_set(o, "loss.1", "{type: tvd, weight: 3}", &err)); /* a term as a whole */
    CHECK(di_options_at_f64(o, "loss", 1, "weight") == 3 && di_options_at_f64(o, "loss", 1, "temperature") == 1);
    CHECK_OK(di_options_set(o, "loss", "[{type: a}, b, {}]", &err));
    CHECK_INT(di_options_list_size(o, "loss"), 3);
    CHECK_STR(di_options_at_text(o, "loss", 1, "type"), "b");
    CHECK_STR(di_options_at_text(o, "loss", 2, "type"), "forward_kl");
    CHECK_STR(get(o, "loss"), "- type: a\n- type: b\n- {}\n");
    CHECK_OK(di_options_set(o, "loss", "{type: c, hard_label_weight: 0.1}", &err)); /* and back to a single one */
    CHECK(!di_options_is_list(o, "loss") && di_options_list_size(o, "loss") == 1);
    CHECK_STR(get(o, "loss"), "type: c\nhard_label_weight: 0.1\n");
    refuse(o, "loss.0.weight", "2", "loss.hard_label_weight belongs to a single loss; in a list give each its weight");
    CHECK_OK(di_options_set(o, "loss", NULL, &err));
    CHECK(di_options_equal(o, NULL));
    di_options_free(o);
}

TEST(text_forms_read_back)
{
    di_options *o = fresh(), *back = fresh();
    dk_strbuf text;
    dk_strbuf_init(&text, host);
    CHECK_OK(di_options_set_str(o, "output.path", "a dir/\"quoted\"\n: \xc3\xa9", &err));
    CHECK_OK(di_options_set_str(o, "data.separator", "", &err));
    CHECK_OK(di_options_set_str(o, "teacher.path", "true", &err));
    CHECK_OK(di_options_set_str(o, "student.path", "1e5", &err));
    CHECK_OK(di_options_set(o, "student.layers", "auto:3", &err));
    CHECK_OK(di_options_set(o, "student.freeze", "[\"*\", \"1\", \"null\"]", &err));
    CHECK_OK(di_options_set(o, "loss", "[{type: a, weight: 0.1}, {}]", &err));
    CHECK_OK(di_options_set_f64(o, "train.learning_rate", 1.0 / 3, &err));
    for (int32_t json = 0; json < 2; json++) {
        dk_strbuf_clear(&text);
        CHECK_OK(json ? di_options_write_json(o, 0, &text, &err) : di_options_write_yaml(o, 0, &text, &err));
        CHECK_OK(di_options_set(back, "loss", NULL, &err));
        CHECK_OK(di_options_parse(back, text.data, text.size, "again", NULL, &err));
        CHECK(di_options_equal(o, back));
        CHECK_OK(di_options_set_i64(back, "train.steps", 5 + json, &err));
        CHECK(!di_options_equal(o, back));
        CHECK_OK(di_options_set(back, "train.steps", NULL, &err));
    }
    CHECK_HAS(text.data,
              "{\"teacher\":{\"path\":\"true\"},\"student\":{\"path\":\"1e5\",\"layers\":\"auto:3\",\"freeze\":[\"*"
              "\",\"1\",\"null\"]}");
    CHECK_HAS(text.data, "\"loss\":[{\"type\":\"a\",\"weight\":0.1},{}]");
    dk_strbuf_clear(&text);
    CHECK_OK(di_options_write_json(NULL, 0, &text, &err));
    CHECK_STR(text.data, "{}");
    for (int32_t json = 0; json < 2; json++) {
        dk_strbuf_clear(&text);
        CHECK_OK(json ? di_options_write_json(NULL, 1, &text, &err) : di_options_write_yaml(NULL, 1, &text, &err));
        CHECK_OK(di_options_parse(back, text.data, text.size, "defaults", NULL, &err));
        CHECK_INT(di_options_i64(back, "train.steps"), 1000);
        CHECK(di_options_is_set(back, "data.separator") && !di_options_is_set(back, "data.train"));
    }
    dk_strbuf_free(&text);
    di_options_free(back);
    di_options_free(o);
}

TEST(copies_of_sections)
{
    di_options *o = fresh(), *copy = NULL;
    CHECK_OK(di_options_set(o, "loss", "[{type: a}, {type: b}]", &err));
    CHECK_OK(di_options_set_i64(o, "train.steps", 5, &err));
    CHECK_OK(di_options_set_str(o, "output.path", "x", &err));
    REQUIRE_OK(di_options_copy(o, host, 1 << DI_TRAIN | 1 << DI_OUTPUT, &copy, &err));
    CHECK_STR(get(copy, ""), "train:\n  steps: 5\noutput:\n  path: x\n");
    CHECK(!di_options_is_list(copy, "loss"));
    di_options_free(copy);
    REQUIRE_OK(di_options_copy(o, host, 1 << DI_LOSS, &copy, &err));
    CHECK_STR(get(copy, ""), "loss:\n  - type: a\n  - type: b\n");
    di_options_free(copy);
    REQUIRE_OK(di_options_copy(NULL, host, -1, &copy, &err));
    CHECK(di_options_equal(copy, NULL));
    di_options_free(copy);
    di_options_free(o);
}

TEST(configuring_live_options)
{
    di_options *o = fresh(), *from = fresh();
    CHECK_OK(di_options_set_i64(o, "train.steps", 5, &err));
    CHECK_OK(di_options_set_i64(from, "train.steps", 5, &err));      /* the same value: nothing to change */
    CHECK_OK(di_options_set_i64(from, "train.batch_size", 8, &err)); /* the default */
    CHECK_OK(di_options_set_f64(from, "train.learning_rate", 0.5, &err));
    CHECK_OK(di_options_configure(o, from, &err));
    CHECK(di_options_f64(o, "train.learning_rate") == 0.5);
    CHECK_OK(di_options_configure(o, NULL, &err));
    CHECK_OK(di_options_set_f64(from, "train.learning_rate", 0.25, &err));
    CHECK_OK(di_options_set_i64(from, "train.seed", 9, &err));
    CHECK_INT(di_options_configure(o, from, &err), DK_E_STAGE);
    CHECK_HAS(err.message, "train.seed cannot be changed any more");
    CHECK(di_options_f64(o, "train.learning_rate") == 0.5);
    di_options_free(from);
    di_options_free(o);
}

static int32_t use_options(void *context, dk_host *from, dk_error *error)
{
    const char *yaml = context;
    di_options *o = NULL, *copy = NULL;
    dk_strbuf text;
    int32_t rc;
    dk_strbuf_init(&text, from);
    DK_TRY(di_options_create(from, &o, error));
    DK_TRY(di_options_parse(o, yaml, strlen(yaml), "r", "folder", error));
    DK_TRY(di_options_set(o, "student.freeze.1", "c", error));
    DK_TRY(di_options_copy(o, from, -1, &copy, error));
    DK_TRY(di_options_write_yaml(copy, 1, &text, error));
out:
    dk_strbuf_free(&text);
    di_options_free(copy);
    di_options_free(o);
    return rc;
}

TEST(every_allocation_may_fail)
{
    char yaml[] = "teacher: t\nstudent: {freeze: [a, b], layers: [1]}\nloss: [{type: a}, b]\ntrain: {steps: 5}\n";
    CHECK(fail_every_alloc(use_options, yaml) > 20);
}

TEST_MAIN(TEST_CASE(every_type) TEST_CASE(defaults) TEST_CASE(refused_values) TEST_CASE(unknown_keys)
              TEST_CASE(items_by_number) TEST_CASE(sections_as_plain_values) TEST_CASE(terms_of_the_loss)
                  TEST_CASE(text_forms_read_back) TEST_CASE(copies_of_sections) TEST_CASE(configuring_live_options)
                      TEST_CASE(every_allocation_may_fail))
