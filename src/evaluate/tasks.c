#include "evaluate/tasks.h"

#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "evaluate/rate.h"

enum { ANSWER_TOKENS = 256 }; /* an answer with its way there, where generate.max_tokens says nothing */

/* ---- as JSON ---- */

static void share(dk_strbuf *out, const char *name, int64_t events, int64_t count)
{
    const double risk = 0.05; /* half of it on either side */
    if (!count) return;
    dk_strbuf_printf(out, ",\"%s\":", name);
    dk_strbuf_f64(out, (double)events / (double)count);
    dk_strbuf_printf(out, ",\"%s_interval\":[", name);
    dk_strbuf_f64(out, di_rate_least(events, count, risk / 2));
    dk_strbuf_puts(out, ",");
    dk_strbuf_f64(out, di_rate_most(events, count, risk / 2));
    dk_strbuf_puts(out, "]");
}

static void begin_file(dk_strbuf *out, const char *name, const di_task_file *file)
{
    dk_strbuf_printf(out, "\"%s\":{\"path\":", name);
    dk_strbuf_json(out, file->source.name, strlen(file->source.name));
    dk_strbuf_printf(out, ",\"questions\":%lld", (long long)file->count);
}

static void end_file(dk_strbuf *out, const di_task_file *file)
{
    dk_strbuf_puts(out, ",\"unused_keys\":{");
    for (int64_t i = 0; i < file->unused_count; i++) {
        if (i) dk_strbuf_puts(out, ",");
        dk_strbuf_json(out, file->unused[i], strlen(file->unused[i]));
        dk_strbuf_printf(out, ":%lld", (long long)file->unused_counts[i]);
    }
    dk_strbuf_puts(out, "}}");
}

static void choices_json(const di_task_file *file, const di_task_choices *c, dk_strbuf *out)
{
    begin_file(out, "choices", file);
    dk_strbuf_printf(out, ",\"scored\":%lld,\"too_long\":%lld", (long long)c->asked, (long long)c->too_long);
    share(out, "accuracy", c->right, c->asked);
    share(out, "accuracy_per_token", c->right_per_token, c->asked);
    share(out, "accuracy_per_byte", c->right_per_byte, c->asked);
    if (c->asked) {
        dk_strbuf_puts(out, ",\"chance\":");
        dk_strbuf_f64(out, c->chance / (double)c->asked);
    }
    end_file(out, file);
}

static void answers_json(const di_task_file *file, di_task_kind kind, const di_task_answers *a, dk_strbuf *out)
{
    begin_file(out, "answers", file);
    dk_strbuf_printf(out, ",\"verify\":\"%s\",\"scored\":%lld,\"too_long\":%lld",
                     kind == DI_TASK_EXACT ? "exact" : "numeric", (long long)a->asked, (long long)a->too_long);
    dk_strbuf_printf(out, ",\"right\":%lld,\"wrong\":%lld,\"unparsed\":%lld,\"cut\":%lld,\"tokens\":%lld",
                     (long long)a->right, (long long)a->wrong, (long long)a->unparsed, (long long)a->cut,
                     (long long)a->tokens);
    share(out, "accuracy", a->right, a->asked); /* what cannot be parsed is not right */
    share(out, "accuracy_of_parsed", a->right, a->right + a->wrong);
    end_file(out, file);
}

/* ---- both files ---- */

typedef struct task_files {
    di_task_file choices, answers;
    di_task_kind verify;
} task_files;

static int32_t open_files(const di_tasks_args *args, task_files *files, dk_error *err)
{
    const di_options *o = args->options;
    const char *choices = di_options_text(o, "tasks.choices"), *answers = di_options_text(o, "tasks.answers");
    const int64_t limit = di_options_i64(o, "tasks.limit");
    int32_t rc = DK_OK;
    files->verify = di_options_is(o, "tasks.verify", "exact") ? DI_TASK_EXACT : DI_TASK_NUMERIC;
    if (choices) DK_TRY(di_task_file_open(args->host, choices, DI_TASK_CHOICES, limit, &files->choices, err));
    if (answers) DK_TRY(di_task_file_open(args->host, answers, files->verify, limit, &files->answers, err));
    if (!di_teacher_tokenizer(args->model))
        DK_TRY(dk_fail(err, DK_E_UNSUPPORTED, "this model has no tokenizer: questions cannot become ids"));
out:
    return rc;
}

/* Whoever asks for right answers wants the likeliest one, and room for the way there, unless the options say it. */
static int32_t set_section(const di_tasks_args *args, dk_error *err)
{
    int32_t rc = DK_OK;
    if (!di_options_is_set(args->options, "generate.temperature"))
        DK_TRY(di_options_set_f64(args->writing, "generate.temperature", 0, err));
    if (!di_options_is_set(args->options, "generate.max_tokens"))
        DK_TRY(di_options_set_i64(args->writing, "generate.max_tokens", ANSWER_TOKENS, err));
    if (di_options_i64(args->options, "generate.samples") > 1)
        rc = dk_fail(err, DK_E_OPTION, "generate.samples: a question is answered once");
out:
    return rc;
}

static int32_t run_files(di_task_run *run, const task_files *files, dk_strbuf *json, dk_error *err)
{
    di_task_choices choices = {0};
    di_task_answers answers = {0};
    int32_t rc = DK_OK;
    if (files->choices.count) {
        DK_TRY(di_task_choices_run(run, &files->choices, &choices, err));
        choices_json(&files->choices, &choices, json);
    }
    if (!files->answers.count) goto out;
    DK_TRY(set_section(run->args, err));
    DK_TRY(di_task_answers_run(run, &files->answers, files->verify, &answers, err));
    if (files->choices.count) dk_strbuf_puts(json, ",");
    answers_json(&files->answers, files->verify, &answers, json);
out:
    return rc;
}

static int32_t run_tasks(const di_tasks_args *args, di_meter *meter, dk_strbuf *json, dk_error *err)
{
    const char *path = di_options_text(args->options, "tasks.aside");
    task_files files = {.verify = DI_TASK_NUMERIC};
    dk_strbuf aside = {0};
    int32_t rc;
    DK_TRY(di_options_check(args->options, 1 << DI_TASKS | 1 << DI_GENERATE, err));
    DK_TRY(open_files(args, &files, err));
    if (path) dk_strbuf_init(&aside, args->host);
    const int64_t context = di_teacher_facts(args->model).context_length;
    di_task_run run = {.args = args,
                       .meter = meter,
                       .aside = &aside,
                       .chat = di_options_flag(args->options, "tasks.chat"),
                       .total = files.choices.count + files.answers.count,
                       .context = context > 0 ? context : 0,
                       .began = dk_seconds()};
    DK_TRY(run_files(&run, &files, json, err));
    if (path) DK_TRY(dk_strbuf_check(&aside, err));
    if (path) DK_TRY(dk_file_replace(args->host, path, aside.size ? aside.data : "", aside.size, err));
    DK_TRY(dk_strbuf_check(json, err));
out:
    di_task_file_close(&files.choices);
    di_task_file_close(&files.answers);
    if (path) dk_strbuf_free(&aside);
    return rc;
}

static int32_t names_files(const di_options *o)
{
    return di_options_text(o, "tasks.choices") || di_options_text(o, "tasks.answers");
}

int32_t di_tasks_members(const di_tasks_args *args, dk_strbuf *json, dk_error *err)
{
    di_meter meter = {0};
    int32_t rc;
    if (!names_files(args->options)) return di_options_check(args->options, 1 << DI_TASKS, err);
    DK_TRY(di_meter_start(args->host, args->options, 0, &meter, err));
    DK_TRY(run_tasks(args, &meter, json, err));
out:
    di_meter_end(&meter);
    return rc;
}

int32_t di_tasks_evaluate(const di_tasks_args *args, dk_strbuf *json, dk_error *err)
{
    di_meter meter = {0};
    int32_t rc;
    if (!names_files(args->options))
        return dk_fail(err, DK_E_OPTION, "no questions: give tasks.choices or tasks.answers");
    DK_TRY(di_meter_start(args->host, args->options, 0, &meter, err));
    dk_strbuf_puts(json, "{\"kind\":\"tasks\",");
    DK_TRY(run_tasks(args, &meter, json, err));
    const di_cost cost = di_meter_read(&meter);
    dk_strbuf_puts(json, ",\"seconds\":");
    dk_strbuf_f64(json, cost.wall);
    dk_strbuf_puts(json, ",\"cost\":");
    di_cost_json(&meter, &cost, json);
    dk_strbuf_puts(json, "}");
    rc = dk_strbuf_check(json, err);
out:
    di_meter_end(&meter);
    return rc;
}
