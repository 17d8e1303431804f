/* cmd_eval.c - distill eval: held-out data, and questions with known answers. */
#include <stdlib.h>
#include <string.h>

#include "cli_ranks.h"

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

/* ---- questions ---- */

static int32_t ask_questions(cli_session *s, const distill_teacher *scorer, distill_report **out)
{
    cli_progress progress;
    cli_progress_start(&progress, 0);
    const int32_t rc = distill_evaluate_tasks(scorer, s->options, cli_progress_show, &progress, out, &s->err);
    cli_progress_end(&progress);
    return rc;
}

static json_t *json_of(distill_report *report, distill_error *err)
{
    char *text = report ? cli_report_text(report, err) : NULL;
    json_t *value = text ? json_loads(text, JSON_ALLOW_NUL, NULL) : NULL;
    free(text);
    return value;
}

static void print_accuracy(const json_t *of, const char *key, const char *how)
{
    char name[64];
    const json_t *share = json_object_get(of, key);
    snprintf(name, sizeof name, "%s_interval", key);
    const json_t *interval = json_object_get(of, name);
    if (share)
        printf("  %-28s %5.1f %%  (%.1f to %.1f)\n", how, 100 * json_number_value(share),
               100 * json_number_value(json_array_get(interval, 0)),
               100 * json_number_value(json_array_get(interval, 1)));
}

static long long count_of(const json_t *of, const char *key)
{
    return (long long)json_integer_value(json_object_get(of, key));
}

static void print_tasks(const json_t *tasks)
{
    const json_t *choices = json_object_get(tasks, "choices"), *answers = json_object_get(tasks, "answers");
    if (choices) {
        printf("choices  %lld questions of %s, %lld too long; right by chance %.1f %%\n", count_of(choices, "scored"),
               json_string_value(json_object_get(choices, "path")), count_of(choices, "too_long"),
               100 * json_number_value(json_object_get(choices, "chance")));
        print_accuracy(choices, "accuracy", "right");
        print_accuracy(choices, "accuracy_per_token", "right, per token");
        print_accuracy(choices, "accuracy_per_byte", "right, per byte");
    }
    if (answers) {
        printf("answers  %lld questions of %s, %lld too long; compared: %s\n", count_of(answers, "scored"),
               json_string_value(json_object_get(answers, "path")), count_of(answers, "too_long"),
               json_string_value(json_object_get(answers, "verify")));
        print_accuracy(answers, "accuracy", "right");
        printf(
            "  %lld right, %lld wrong, %lld that could not be parsed, %lld cut at generate.max_tokens; %lld tokens\n",
            count_of(answers, "right"), count_of(answers, "wrong"), count_of(answers, "unparsed"),
            count_of(answers, "cut"), count_of(answers, "tokens"));
    }
}

/* The evaluation with "tasks" in it, or the tasks alone. Both reports are freed. */
static int print_both(distill_report *report, distill_report *tasks, int as_json, distill_error *err)
{
    json_t *whole = json_of(report, err), *asked = json_of(tasks, err);
    const int failed = (report && !whole) || (tasks && !asked);
    distill_report_free(report);
    distill_report_free(tasks);
    if (failed) {
        json_decref(whole);
        json_decref(asked);
        return cli_fail(err);
    }
    if (!as_json && whole) cli_print_leaves(whole, "");
    if (!as_json && asked) print_tasks(asked);
    if (whole && asked) json_object_set(whole, "tasks", asked);
    int code = as_json ? cli_print_json(json_incref(whole ? whole : asked)) : CLI_DONE;
    json_decref(whole);
    json_decref(asked);
    return code;
}

/* ---- what it is about ---- */

typedef struct subject {
    distill_student *student;
    distill_teacher *teacher, *scorer; /* scorer: the student, as teachers are asked */
    distill_tokenizer *tokenizer;
    distill_dataset *data;
} subject;

static int32_t open_subject(subject *o, cli_session *s, const cli_settings *settings, const char *student,
                            const char *teacher, const char *data)
{
    int32_t rc = distill_student_open(s->env, student, s->options, &o->student, &s->err);
    if (!rc && (teacher || names_teacher(settings)))
        rc = distill_teacher_open(s->env, teacher, s->options, &o->teacher, &s->err);
    if (!rc) rc = distill_teacher_from_student(o->student, &o->scorer, &s->err);
    if (!rc) rc = fit_windows(s, o->scorer, settings);
    if (rc || !data) return rc;
    rc = find_tokenizer(s, o->scorer, o->teacher, &o->tokenizer);
    if (!rc) rc = distill_dataset_open(s->env, data, o->tokenizer, s->options, &o->data, &s->err);
    return rc ? rc : cli_try_draft(s, settings);
}

static void close_subject(subject *o)
{
    distill_dataset_free(o->data);
    distill_tokenizer_free(o->tokenizer);
    distill_teacher_free(o->scorer);
    distill_teacher_free(o->teacher);
    distill_student_free(o->student);
}

int cli_eval(const cli_command *command, int argc, char **argv)
{
    int as_json = 0, chat = 0, log_ranks = 0;
    const char *student_path = NULL, *teacher_path = NULL, *data_path = NULL, *choices = NULL, *answers = NULL,
               *verify = NULL, *aside = NULL, *communicator = NULL;
    const char *own[] = {"student.path", "--student", "data.train", "--data", "data.eval",
                         "--data",       NULL,        "--teacher",  NULL};
    cli_settings settings = {.reads = " data train.eval_precision train.eval_tokens train.eval_draft_tokens "
                                      "train.loss_memory student.mmap teacher teachers compute cost tasks generate "
                                      "session.draft_tokens session.draft_adaptive session.cache_type ",
                             .own = own};
    const cli_option options[] = {{"--student", CLI_TEXT, &student_path, NULL},
                                  {"--teacher", CLI_TEXT, &teacher_path, NULL},
                                  {"--data", CLI_TEXT, &data_path, NULL},
                                  {"--choices", CLI_TEXT, &choices, NULL},
                                  {"--answers", CLI_TEXT, &answers, NULL},
                                  {"--verify", CLI_TEXT, &verify, NULL},
                                  {"--aside", CLI_TEXT, &aside, NULL},
                                  {"--chat", CLI_FLAG, &chat, NULL},
                                  {"--set", CLI_SETTINGS, &settings, NULL},
                                  {"--json", CLI_FLAG, &as_json, NULL},
                                  {"--communicator", CLI_TEXT, &communicator, NULL},
                                  {"--log-ranks", CLI_FLAG, &log_ranks, NULL}};
    cli_session s;
    cli_ranks ranks;
    subject of = {0};
    distill_report *report = NULL, *tasks = NULL;
    int32_t rc;
    int code = cli_parse(command, options, 12, argc, argv, NULL, 0);
    if (code >= 0) return code;
    if (!student_path) return cli_usage(command, "--student is missing");
    if (!data_path && !choices && !answers) return cli_usage(command, "--data, --choices or --answers is missing");
    if (verify && !answers) return cli_usage(command, "--verify says how --answers are compared");
    if (teacher_path) own[6] = "teacher.path";
    if ((code = cli_ranks_start(&ranks, communicator, log_ranks)) >= 0) return code;
    if ((code = cli_ranks_meet(&ranks, &s, cli_open(&s, command, NULL, &settings))) >= 0 ||
        (code = cli_take_flag(&s, command, "--choices", "tasks.choices", choices)) >= 0 ||
        (code = cli_take_flag(&s, command, "--answers", "tasks.answers", answers)) >= 0 ||
        (code = cli_take_flag(&s, command, "--verify", "tasks.verify", verify)) >= 0 ||
        (code = cli_take_flag(&s, command, "--aside", "tasks.aside", aside)) >= 0 ||
        (code = cli_take_flag(&s, command, "--chat", "tasks.chat", chat ? "true" : NULL)) >= 0)
        goto out;
    if (!cli_ranks_are_quiet(&ranks) || log_ranks)
        cli_log(&s, DISTILL_LOG_INFO); /* says how far it is when that takes long */
    rc = open_subject(&of, &s, &settings, student_path, teacher_path, data_path);
    if ((code = cli_ranks_agree(&ranks, rc ? cli_fail(&s.err) : -1)) >= 0) goto out;
    if (data_path) rc = distill_evaluate(of.student, of.teacher, of.data, s.options, &report, &s.err);
    if (!rc && (choices || answers) && !cli_ranks_are_quiet(&ranks)) rc = ask_questions(&s, of.scorer, &tasks);
    const int shown = !rc && (!cli_ranks_are_quiet(&ranks) || report);
    code = rc ? cli_fail(&s.err) : shown ? print_both(report, tasks, as_json, &s.err) : CLI_DONE;
    if (!shown) distill_report_free(report);
out:
    close_subject(&of);
    cli_ranks_end(&ranks, &s);
    cli_close(&s);
    return code;
}
