/* An option that nothing would read where it stands is refused when the trainer, the student or the text is made. */
#include "small.h"

static distill_error err;

static void refused(const char *yaml, int32_t with_eval, const char *message)
{
    small s;
    REQUIRE_OK(small_parts(&s, NULL, yaml, &err));
    int32_t rc = distill_trainer_create(s.env, s.teacher, s.student, s.train, with_eval ? s.eval : NULL, s.options,
                                        &s.trainer, &err);
    if (*message && rc != DISTILL_E_OPTION) FAIL("%s: %d %s", yaml, (int)rc, err.message);
    if (!*message && rc) FAIL("%s: %s", yaml, err.message);
    if (*message) CHECK_HAS(err.message, message);
    small_close(&s);
}

static char told[600];
static void keep(void *user, int32_t level, const char *component, const char *message)
{
    (void)user, (void)component;
    if (level == DISTILL_LOG_WARN) snprintf(told, sizeof told, "%s", message);
}

static void named(const char *yaml, const char *message)
{
    small s;
    REQUIRE_OK(small_parts(&s, NULL, yaml, &err));
    *told = 0;
    CHECK_OK(distill_env_set_logger(s.env, DISTILL_LOG_WARN, keep, NULL, NULL, &err));
    CHECK_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &s.trainer, &err));
    if (*message) CHECK_HAS(told, message);
    else CHECK_STR(told, "");
    small_close(&s);
}

/* What an override leaves idle is no error, but said. */
TEST(warnings)
{
    REQUIRE(small_models("unread"));
    named("train: {warmup_steps: 7}\n", "train.warmup_steps 7 is above the run's 6 steps");
    named("train: {warmup_steps: 6}\n", "");
    named("train: {schedule: wsd, warmup_steps: 3, decay_steps: 4}\n",
          "train.warmup_steps 3 and train.decay_steps 4 are above the run's 6 steps");
    named("train: {epochs: 2}\n", "train.epochs is not used: train.steps 6 is given, too");
    named("loss: {type: cross_entropy, temperature: 2}\n",
          "loss.temperature is not used: cross_entropy is always at temperature 1");
    named("loss: [{type: jsd}, {type: cross_entropy, temperature: 2}]\n",
          "loss.temperature is not used: cross_entropy");
    named("loss: {type: cross_entropy, t_squared: on}\n", "loss.t_squared is not used: cross_entropy");
    named("loss: {hard_label_weight: 1, temperature: 2}\n", "loss.temperature");
}

/* Losses as other tools have them are for calls on rows. */
TEST(presets)
{
    static const char *const names[] = {"trl-gkd", "distillkit", "msswift-topk", "verl-trunc"};
    REQUIRE(small_models("unread"));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        small s;
        CHECK_INT(small_open(&s, small_text("loss: %s\n", names[i]), &err), DISTILL_E_UNSUPPORTED);
        CHECK_HAS(err.message, names[i]);
        CHECK_HAS(err.message, "only a call on rows (distill_loss_eval) takes it; for training take");
        small_close(&s);
    }
}

TEST(a_trainer)
{
    REQUIRE(small_models("unread"));
    refused("train:\n  decay_steps: 3\n", 1,
            "test:2: train.decay_steps goes with schedule=wsd only: nothing would read it here");
    refused("train: {decay_steps: 3, schedule: wsd}\n", 1, "");
    refused("train: {decay_steps: 0}\n", 1, ""); /* the default */
    refused("train: {schedule: constant, min_learning_rate_ratio: 0.1}\n", 1,
            "train.min_learning_rate_ratio goes with schedule=linear|cosine|wsd|inverse_sqrt only");
    refused("train: {optimizer: none, beta1: 0.8}\n", 1, "train.beta1 goes with optimizer=adamw only");
    refused("train: {optimizer: none, weight_decay: 0.2}\n", 1, "train.weight_decay goes with optimizer=adamw only");
    refused(
        "train: {learning_rate: 5, weight_decay: 0.5}\n", 1,
        "train.learning_rate 5 times train.weight_decay 0.5 is 2.5: each step would multiply weights by -1.5; lower");
    refused("train: {learning_rate: 10}\n", 1, "");
    refused("train: {checkpoint_every: 2}\n", 1, "train.checkpoint_every goes with output.path only");
    refused("output: {overwrite: true}\n", 1, "output.overwrite goes with path only");
    refused("train: {eval_every: 2}\n", 0,
            "test:1: train.eval_every needs data to evaluate on: give data.eval or data.eval_fraction");
    refused("train: {eval_every: 2}\n", 1, "");
    refused("train: {eval_tokens: 20}\n", 0, "train.eval_tokens needs data to evaluate on");
    refused("data: {eval_fraction: 0.1}\n", 1, "data.eval_fraction has no use beside data to evaluate on");
    refused("data: {eval_fraction: 0.1}\n", 0, "");
    refused("data: {eval: x.txt, eval_fraction: 0.1}\n", 1, "data.eval_fraction does not go with eval");
    refused("train: {micro_batch_size: 5}\n", 1, "train.micro_batch_size 5 is above train.batch_size 4: lower it");
    refused("student: {freeze: ['*']}\n", 1, "student.freeze matches every parameter: nothing would be trained");
    refused("student: {freeze: ['*norm*']}\n", 1, "");
    refused("loss: {type: hidden_mse, temperature: 2}\n", 1,
            "loss.temperature is not used by hidden_mse: it compares what is inside the two models, which has no "
            "temperature; leave it out");
    refused("loss: [{type: jsd}, {type: relation, temperature: 2}]\n", 1, "loss.temperature is not used by relation");
    refused("loss: {type: attention_mse, t_squared: on}\n", 1, "loss.t_squared is not used by attention_mse");
    refused("loss: {type: hidden_cosine, temperature: {schedule: linear, from: 1, to: 2, steps: 4}}\n", 1,
            "loss.temperature is not used by hidden_cosine");
    refused("loss: {type: logit_cosine, temperature: 2}\n", 1,
            "loss.temperature is not used by logit_cosine: it knows no temperature");
    refused("loss: {weight: 2}\n", 1, "loss.weight is of a list of losses: a single one counts fully");
    refused("loss: [{type: forward_kl, weight: 2}]\n", 1, "");
}

TEST(students)
{
    const char *teacher, *config;
    small s = {0};
    REQUIRE(small_models("unread"));
    teacher = test_path(small_folder, "teacher");
    config = test_path(small_folder, "student.json");
    REQUIRE_OK(small_env(&s, NULL, "student: {layers: [0, 2], init_std: 0.3}\n", &err));
    CHECK_INT(distill_student_open(s.env, teacher, s.options, &s.student, &err), DISTILL_E_OPTION);
    CHECK_STR(err.message,
              "test:1: student.layers chooses layers of a teacher: it goes with student.from: teacher only");
    CHECK_INT(distill_student_create(s.env, config, NULL, s.options, &s.student, &err), DISTILL_E_OPTION);
    CHECK_OK(distill_teacher_open(s.env, teacher, NULL, &s.teacher, &err));
    CHECK_INT(distill_student_derive(s.teacher, s.options, &s.student, &err), DISTILL_E_OPTION);
    CHECK_STR(err.message, "test:1: student.init_std is of random weights: it goes with student.config only");
    CHECK_OK(distill_options_set(s.options, "student.init_std", NULL, &err));
    CHECK_OK(distill_student_derive(s.teacher, s.options, &s.student, &err));
    small_close(&s);
}

static int32_t no_token(void *user, int64_t sequence, int32_t id, double log_prob, const char *text, size_t size,
                        int32_t finished)
{
    (void)user, (void)sequence, (void)id, (void)log_prob, (void)text, (void)size, (void)finished;
    return 0;
}

static char gathered[4000];
static void gather(void *user, int32_t level, const char *component, const char *message)
{
    size_t at = strlen(gathered);
    (void)user, (void)level, (void)component;
    snprintf(gathered + at, sizeof gathered - at, "%s\n", message);
}

/* One tree serves all handles; what a handle stands for is said not to be read. */
TEST(handles)
{
    static const char yaml[] = "teacher: {path: elsewhere/}\nstudent: {path: elsewhere/}\n"
                               "data: {train: no.txt, eval: no.txt, sequence_length: 16}\n";
    static const char *const keys[] = {"teacher.path is not read: a teacher", "student.path is not read: a student",
                                       "data.train is not read: a dataset", "data.eval is not read: a dataset"};
    small s;
    REQUIRE(small_models("unread"));
    *gathered = '\0';
    REQUIRE_OK(small_parts(&s, NULL, yaml, &err));
    CHECK_OK(distill_env_set_logger(s.env, DISTILL_LOG_INFO, gather, NULL, NULL, &err));
    CHECK_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &s.trainer, &err));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) CHECK_HAS(gathered, keys[i]);
    small_close(&s);
}

/* With a blend of the teacher and itself by two names, or a route of them. */
static void told_of(const char *yaml, int by_route, const char *message)
{
    distill_member members[2];
    distill_teacher *whole = NULL;
    distill_options *how = NULL;
    small s;
    *gathered = '\0';
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    REQUIRE_OK(distill_options_create(s.env, &how, &err));
    REQUIRE_OK(distill_options_parse(how, yaml, strlen(yaml), "how", &err));
    CHECK_OK(distill_env_set_logger(s.env, DISTILL_LOG_INFO, gather, NULL, NULL, &err));
    for (int i = 0; i < 2; i++) {
        DISTILL_INIT(&members[i]);
        members[i].teacher = s.teacher;
        members[i].name = i ? "b" : "a";
    }
    if (by_route) CHECK_OK(distill_teacher_route(s.env, members, 2, NULL, NULL, NULL, how, &whole, &err));
    else CHECK_OK(distill_teacher_blend(s.env, members, 2, how, &whole, &err));
    CHECK_OK(distill_trainer_create(s.env, whole, s.student, s.train, s.eval, s.options, &s.trainer, &err));
    if (*message) CHECK_HAS(gathered, message);
    else CHECK(!strstr(gathered, "teacher"));
    distill_teacher_free(whole);
    distill_options_free(how);
    small_close(&s);
}

/* What a run of 6 steps never gets to. */
TEST(weights_behind_the_end)
{
    REQUIRE(small_models("unread"));
    told_of("teacher: {schedule: [{until: 6}, {}]}\n", 0,
            "teacher b has no weight before step 6, and the run ends after 6 steps: it is never asked");
    told_of("teacher: {schedule: [{until: 5}, {}]}\n", 0, "");
    told_of("teacher: {schedule: [{until: 4}, {fade: 2}]}\n", 0, "");
    told_of("teacher: {schedule: [{until: 4}, {fade: 3}]}\n", 0,
            "the weight of teacher b changes up to step 7, and the run ends after 6 steps: it never gets there");
    told_of("teacher: {blend: {weights: [{schedule: cosine, from: 1, to: 0, steps: 6}, {schedule: cosine, from: 0, to: "
            "1, steps: 6}]}}\n",
            0, "");
    told_of("teacher: {blend: {weights: [{schedule: step, from: 1, to: 0.5, steps: 9}, {schedule: step, from: 0, to: "
            "0.5, steps: 9}]}}\n",
            0, "teacher b has no weight before step 9");
    told_of("teacher: {blend: {weighting: learned, learn: {every: 6}}}\n", 0,
            "teacher.blend.learn.every is 6, and the run ends after 6 steps: the weights are never learned");
    told_of("teacher: {blend: {weighting: learned, learn: {every: 5}}}\n", 0, "");
}

/* Names that no data has; these have none. */
TEST(names_in_a_map)
{
    REQUIRE(small_models("unread"));
    told_of("teacher: {route: {by: source, map: {news: b}, default: a}}\n", 1,
            "teacher.route.map names news, and no sample has that source");
    told_of("teacher: {route: {by: tag, map: {hard: b}, default: a}}\n", 1,
            "teacher.route.map names hard, and no sample has that tag (field teacher)");
    told_of("teacher: {route: {by: source, map: {tokens: b}, default: a}}\n", 1, "");
}

TEST(texts)
{
    int32_t ids[] = {1, 2, 3};
    int64_t offsets[] = {0, 3};
    small s = {0};
    distill_batch prompt;
    REQUIRE(small_models("unread"));
    DISTILL_INIT(&prompt);
    prompt.ids = ids;
    prompt.offsets = offsets;
    prompt.sequences = 1;
    REQUIRE_OK(small_env(&s, NULL, "generate: {temperature: 0, top_k: 5}\n", &err));
    REQUIRE_OK(distill_teacher_open(s.env, test_path(small_folder, "teacher"), NULL, &s.teacher, &err));
    CHECK_INT(distill_teacher_generate(s.teacher, &prompt, s.options, no_token, NULL, &err), DISTILL_E_OPTION);
    CHECK_STR(err.message, "test:1: generate.top_k goes with temperature only: nothing would read it here");
    small_close(&s);
}

/* path NULL = what the options say. */
TEST(the_teacher_of_the_options)
{
    small s = {0};
    REQUIRE(small_models("unread"));
    REQUIRE_OK(small_env(&s, NULL, NULL, &err));
    CHECK_INT(distill_teacher_open(s.env, NULL, s.options, &s.teacher, &err), DISTILL_E_OPTION);
    CHECK_HAS(err.message, "teacher.path is not set");
    CHECK_INT(distill_teacher_open(s.env, NULL, NULL, &s.teacher, &err), DISTILL_E_OPTION);
    CHECK_OK(distill_options_set_str(s.options, "teacher", test_path(small_folder, "teacher"), &err));
    CHECK_OK(distill_teacher_open(s.env, NULL, s.options, &s.teacher, &err));
    small_close(&s);
}

static int has(const char *folder, const char *word)
{
    char text[2000];
    FILE *file = fopen(test_path(folder, "config.json"), "r");
    if (!file) return 0;
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return strstr(text, word) != NULL;
}

/* auto: what a student was made from tells how it is saved. */
TEST(types_of_files)
{
    char half[600], out[600];
    small s = {0};
    REQUIRE(small_models("unread"));
    snprintf(half, sizeof half, "%s/half", small_folder);
    snprintf(out, sizeof out, "%s/out", small_folder);
    REQUIRE_OK(small_env(&s, NULL, "output: {type: f16}\n", &err));
    REQUIRE_OK(distill_student_open(s.env, test_path(small_folder, "teacher"), NULL, &s.student, &err));
    REQUIRE_OK(distill_student_save(s.student, half, s.options, &err));
    CHECK(has(half, "\"float16\""));
    CHECK_OK(distill_student_save(s.student, out, NULL, &err)); /* no teacher */
    CHECK(has(out, "\"float32\""));
    distill_student_free(s.student);
    s.student = NULL;
    REQUIRE_OK(distill_teacher_open(s.env, half, NULL, &s.teacher, &err));
    REQUIRE_OK(distill_student_derive(s.teacher, NULL, &s.student, &err));
    REQUIRE_OK(distill_student_save(s.student, out, NULL, &err));
    CHECK(has(out, "\"float16\""));
    CHECK_INT(distill_options_set(s.options, "output.save_dtype", "bf16", &err), DISTILL_E_OPTION);
    CHECK_STR(err.message,
              "output.save_dtype is not an option any more: give output.type: auto, f32, bf16, f16, or q8_0, q4_0 or "
              "q4_k of GGUF");
    distill_tensor weight;
    REQUIRE_OK(distill_student_parameter(s.student, distill_student_parameter_name(s.student, 0), DISTILL_WEIGHT,
                                         &weight, &err));
    ((float *)weight.data)[3] = 1e6f;
    CHECK_INT(distill_student_save(s.student, out, NULL, &err), DISTILL_E_NUMERIC);
    CHECK_HAS(err.message, "has weights beyond 65504, which f16 cannot hold: save as bf16 or f32");
    CHECK(has(out, "\"float16\"")); /* the folder is as it was */
    ((float *)weight.data)[3] = -3.4e38f;
    REQUIRE_OK(distill_options_set(s.options, "output.type", "bf16", &err));
    CHECK_INT(distill_student_save(s.student, out, s.options, &err), DISTILL_E_NUMERIC);
    CHECK_HAS(err.message, "has weights beyond 3.39e38, which bf16 cannot hold: save as f32");
    ((float *)weight.data)[3] = 3.389e38f;
    CHECK_OK(distill_student_save(s.student, out, s.options, &err));
    small_close(&s);
}

/* A quantised teacher's student is saved as bf16; a GGUF file is a model like any other, and replaces nothing. */
TEST(exports)
{
    char file[600], folder[600], out[600];
    small s = {0};
    distill_options *as_gguf = NULL;
    int64_t elements[2] = {0, 0}, bytes = 0;
    REQUIRE(small_models("unread"));
    snprintf(file, sizeof file, "%s/exported.gguf", small_folder);
    snprintf(folder, sizeof folder, "%s/exported", small_folder);
    snprintf(out, sizeof out, "%s/exported_student", small_folder);
    remove(file);
    REQUIRE_OK(small_env(&s, NULL, "output: {type: q8_0}\n", &err));
    REQUIRE_OK(distill_options_create(s.env, &as_gguf, &err));
    REQUIRE_OK(distill_options_set(as_gguf, "output", "{format: gguf, type: q8_0}", &err));
    REQUIRE_OK(distill_teacher_open(s.env, test_path(small_folder, "teacher"), NULL, &s.teacher, &err));
    CHECK_INT(distill_teacher_export(s.teacher, folder, s.options, &err), DISTILL_E_OPTION);
    CHECK_HAS(err.message, "output.type q8_0 is of GGUF files");
    CHECK_OK(distill_teacher_export(s.teacher, file, as_gguf, &err));
    CHECK_INT(distill_teacher_export(s.teacher, file, as_gguf, &err), DISTILL_E_INVALID);
    CHECK_HAS(err.message, "exported.gguf: is there already");
    CHECK_OK(distill_teacher_get_i64(s.teacher, "parameters", &elements[0], &err));
    distill_teacher_free(s.teacher);
    s.teacher = NULL;
    REQUIRE_OK(distill_teacher_open(s.env, file, NULL, &s.teacher, &err));
    CHECK_OK(distill_teacher_get_i64(s.teacher, "parameters", &elements[1], &err));
    CHECK_OK(distill_teacher_get_i64(s.teacher, "bytes", &bytes, &err));
    CHECK_INT(elements[0], elements[1]);
    CHECK(bytes < 4 * elements[0] / 3);
    REQUIRE_OK(distill_student_derive(s.teacher, NULL, &s.student, &err));
    REQUIRE_OK(distill_student_save(s.student, out, NULL, &err));
    CHECK(has(out, "\"bfloat16\""));
    CHECK_INT(distill_student_save(s.student, out, s.options, &err), DISTILL_E_OPTION);
    REQUIRE_OK(distill_student_save(s.student, out, as_gguf, &err));
    CHECK(!has(out, "model_type"));
    distill_options_free(as_gguf);
    small_close(&s);
}

TEST_MAIN(TEST_CASE(a_trainer) TEST_CASE(warnings) TEST_CASE(presets) TEST_CASE(students) TEST_CASE(handles)
              TEST_CASE(weights_behind_the_end) TEST_CASE(names_in_a_map) TEST_CASE(texts)
                  TEST_CASE(the_teacher_of_the_options) TEST_CASE(types_of_files) TEST_CASE(exports))
