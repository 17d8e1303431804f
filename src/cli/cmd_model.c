/* cmd_model.c - distill eval and distill inspect. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* The student's own tokenizer, else the teacher's; data that is tokens already needs none. */
static int32_t find_tokenizer(cli_session *s, const distill_teacher *scorer, const distill_teacher *teacher,
                              distill_tokenizer **out)
{
    int32_t rc = distill_teacher_tokenizer(scorer, out, &s->err);
    if (rc == DISTILL_E_NOT_FOUND && teacher) rc = distill_teacher_tokenizer(teacher, out, &s->err);
    return rc == DISTILL_E_NOT_FOUND ? DISTILL_OK : rc;
}

/* Windows as long as the option says, but no longer than the model can see, where the option was left alone. */
static int32_t fit_windows(cli_session *s, const distill_teacher *scorer, const cli_settings *settings)
{
    int64_t context = 0;
    char text[32] = "";
    for (int i = 0; i < settings->count; i++)
        if (!strncmp(settings->items[i], "data.sequence_length=", 21)) return DISTILL_OK;
    if (cli_is_said(s, "data.sequence_length")) return DISTILL_OK;
    int32_t rc = distill_teacher_get_i64(scorer, "context_length", &context, &s->err);
    if (!rc) rc = distill_options_get(s->options, "data.sequence_length", text, sizeof text, NULL, &s->err);
    if (!rc && context > 0 && context < strtoll(text, NULL, 10))
        rc = distill_options_set_i64(s->options, "data.sequence_length", context, &s->err);
    return rc;
}

/* Do the settings speak of a teacher? */
static int names_teacher(const cli_settings *settings)
{
    for (int i = 0; i < settings->count; i++)
        if (!strncmp(settings->items[i], "teacher", 7)) return 1; /* or teachers */
    return 0;
}

int cli_eval(const cli_command *command, int argc, char **argv)
{
    int as_json = 0;
    const char *student_path = NULL, *teacher_path = NULL, *data_path = NULL;
    const char *own[] = {"student.path", "--student", "data.train", "--data", "data.eval",
                         "--data",       NULL,        "--teacher",  NULL};
    cli_settings settings = {
        .reads =
            " data train.eval_precision train.eval_tokens train.loss_memory student.mmap teacher teachers compute ",
        .own = own};
    const cli_option options[] = {{"--student", CLI_TEXT, &student_path, NULL},
                                  {"--teacher", CLI_TEXT, &teacher_path, NULL},
                                  {"--data", CLI_TEXT, &data_path, NULL},
                                  {"--set", CLI_SETTINGS, &settings, NULL},
                                  {"--json", CLI_FLAG, &as_json, NULL}};
    cli_session s;
    distill_student *student = NULL;
    distill_teacher *teacher = NULL, *scorer = NULL;
    distill_tokenizer *tokenizer = NULL;
    distill_dataset *data = NULL;
    distill_report *report = NULL;
    int32_t rc;
    int code = cli_parse(command, options, 5, argc, argv, NULL, 0);
    if (code >= 0) return code;
    if (!student_path) return cli_usage(command, "--student is missing");
    if (!data_path) return cli_usage(command, "--data is missing");
    if (teacher_path) own[6] = "teacher.path";
    code = cli_open(&s, command, NULL, &settings);
    if (code >= 0) goto out;
    cli_log(&s, DISTILL_LOG_INFO); /* says how far it is when that takes long */
    rc = distill_student_open(s.env, student_path, s.options, &student, &s.err);
    if (!rc && (teacher_path || names_teacher(&settings)))
        rc = distill_teacher_open(s.env, teacher_path, s.options, &teacher, &s.err);
    if (!rc) rc = distill_teacher_from_student(student, &scorer, &s.err);
    if (!rc) rc = fit_windows(&s, scorer, &settings);
    if (!rc) rc = find_tokenizer(&s, scorer, teacher, &tokenizer);
    if (!rc) rc = distill_dataset_open(s.env, data_path, tokenizer, s.options, &data, &s.err);
    if (!rc) rc = distill_evaluate(student, teacher, data, s.options, &report, &s.err);
    code = rc ? cli_fail(&s.err) : cli_print_report(report, as_json, &s.err, NULL);
out:
    distill_dataset_free(data);
    distill_tokenizer_free(tokenizer);
    distill_teacher_free(scorer);
    distill_teacher_free(teacher);
    distill_student_free(student);
    cli_close(&s);
    return code;
}

/* What becomes of the samples of a file with this tokenizer and these options. */
static int inspect_data(cli_session *s, const char *path, const char *model, int as_json)
{
    static const char *const keys[] = {"samples",   "windows",     "tokens",      "learnt",      "truncated", "split",
                                       "no_labels", "lost_labels", "lost_tokens", "lost_learnt", "pairs"};
    distill_tokenizer *tokenizer = NULL;
    distill_dataset *data = NULL;
    json_t *value = json_pack("{s:s, s:s}", "kind", "data", "source", path);
    int64_t number = 0;
    int32_t rc = distill_tokenizer_open(s->env, model, &tokenizer, &s->err);
    if (!rc) rc = distill_dataset_open(s->env, path, tokenizer, s->options, &data, &s->err);
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !rc; i++) {
        rc = distill_dataset_get_i64(data, keys[i], &number, &s->err);
        json_object_set_new(value, keys[i], json_integer(number));
    }
    if (!rc) rc = distill_dataset_get_i64(data, "skipped", &number, &s->err);
    json_object_set_new(value, "skipped", json_pack("{s:I}", "too_long", (json_int_t)number));
    if (!rc && !as_json) cli_print_leaves(value, "");
    int code = rc ? cli_fail(&s->err) : as_json ? cli_print_json(json_incref(value)) : CLI_DONE;
    json_decref(value);
    distill_dataset_free(data);
    distill_tokenizer_free(tokenizer);
    return code;
}

int cli_inspect(const cli_command *command, int argc, char **argv)
{
    int as_json = 0, whole = 1;
    const char *path = NULL, *tokenizer = NULL;
    static const char *const own[] = {"data.train", "FILE", "data.eval", "FILE", NULL};
    cli_settings settings = {.reads = " data ", .own = own};
    const cli_option options[] = {{"--tokenizer", CLI_TEXT, &tokenizer, NULL},
                                  {"--set", CLI_SETTINGS, &settings, NULL},
                                  {"--json", CLI_FLAG, &as_json, NULL}};
    cli_session s;
    distill_report *report = NULL;
    int code = cli_parse(command, options, 3, argc, argv, &path, 1);
    if (code >= 0) return code;
    if (!tokenizer && settings.count)
        return cli_usage(command, "--set goes with --tokenizer: it says how data is read");
    if (tokenizer && !path) return cli_usage(command, "--tokenizer goes with a file of data");
    code = cli_open(&s, command, NULL, &settings);
    if (code < 0 && tokenizer) {
        cli_log(&s, DISTILL_LOG_INFO); /* says how far it is when that takes long */
        code = inspect_data(&s, path, tokenizer, as_json);
    } else if (code < 0) {
        int32_t rc = distill_inspect(s.env, path, &report, &s.err);
        code = rc ? cli_fail(&s.err) : cli_print_report(report, as_json, &s.err, &whole);
    }
    cli_close(&s);
    return code == CLI_DONE && !whole ? CLI_FAILED : code;
}
