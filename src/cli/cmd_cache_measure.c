/* cmd_cache_measure.c - distill cache measure. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static int32_t on_progress(void *user, const distill_progress *now)
{
    cli_progress_share(user, "measuring", now->done, now->total);
    return DISTILL_CB_OK;
}

static double number(const json_t *object, const char *key) { return json_number_value(json_object_get(object, key)); }

/* "k 50, 32 steps per nat" */
static void settings_of(const json_t *tier, char *out, size_t cap)
{
    const char *precision = json_string_value(json_object_get(tier, "precision"));
    if (precision) snprintf(out, cap, "%s", precision);
    else if (json_object_get(tier, "k"))
        snprintf(out, cap, "k %.0f, %.0f steps per nat", number(tier, "k"), number(tier, "steps_per_nat"));
    else if (json_object_get(tier, "draws")) snprintf(out, cap, "%.0f draws", number(tier, "draws"));
    else snprintf(out, cap, "f16");
}

static void cell(const json_t *object, const char *key, const char *format, double factor)
{
    char text[48] = "-";
    if (json_object_get(object, key)) snprintf(text, sizeof text, format, factor * number(object, key));
    printf("%13s", text);
}

static void print_table(const json_t *value)
{
    const json_t *student = json_object_get(value, "student");
    char settings[64];
    size_t i;
    json_t *tier;
    printf("%-8s %-23s%13s%13s%13s%13s%13s\n", "tier", "settings", "bytes/token", "KL, nats", "KL largest",
           "of student's", "gradient off");
    json_array_foreach(json_object_get(value, "tiers"), i, tier)
    {
        settings_of(tier, settings, sizeof settings);
        printf("%-8s %-23s", json_string_value(json_object_get(tier, "tier")), settings);
        cell(tier, "bytes_per_token", "%.1f", 1);
        cell(tier, "forward_kl", "%.2e", 1);
        cell(tier, "forward_kl_max", "%.2e", 1);
        cell(tier, "share_of_student", "%.3f %%", 100);
        cell(tier, "gradient_error", "%.2e", 1);
        printf("\n");
    }
    if (student) {
        printf("%-8s %-23s%13s", "student", "", "");
        cell(student, "forward_kl", "%.2e", 1);
        cell(student, "forward_kl_max", "%.2e", 1);
        printf("%13s", "");
        cell(student, "gradient_error", "%.2e", 1);
        printf("\n");
    }
    printf("%.0f rows of %.0f windows, %.0f ids that count, temperature %g\n", number(value, "rows"),
           number(value, "windows"), number(value, "vocab_valid"), number(value, "temperature"));
}

static int print_measure(const distill_report *report, int as_json, distill_error *err)
{
    char *text = cli_report_text(report, err);
    if (!text) return cli_fail(err);
    json_t *value = json_loads(text, JSON_ALLOW_NUL, NULL);
    if (as_json) printf("%s\n", text);
    else print_table(value);
    json_decref(value);
    free(text);
    return CLI_DONE;
}

static int measure(cli_session *s, const char *student_path, int64_t rows, int as_json)
{
    cli_progress progress;
    distill_student *student = NULL;
    distill_report *report = NULL;
    int32_t rc = student_path ? distill_student_open(s->env, student_path, NULL, &student, &s->err) : DISTILL_OK;
    cli_progress_start(&progress, 0);
    if (!rc)
        rc = distill_cache_measure(s->env, NULL, student, NULL, rows, s->options, on_progress, &progress, &report,
                                   &s->err);
    cli_progress_end(&progress);
    int code = rc ? cli_fail(&s->err) : print_measure(report, as_json, &s->err);
    distill_report_free(report);
    distill_student_free(student);
    return code;
}

/* Keys and names of those that are given. */
static void list_own(const char *teacher, const char *data, const char *student, const char **own)
{
    if (teacher) *own++ = "teacher.path", *own++ = "--teacher";
    if (data) *own++ = "data.train", *own++ = "--data";
    if (student) *own++ = "student.path", *own++ = "--student";
}

int cli_cache_measure(const cli_command *command, int argc, char **argv)
{
    int as_json = 0;
    int64_t rows = 4096;
    const char *recipe = NULL, *teacher = NULL, *data = NULL, *student = NULL;
    const char *own[7] = {NULL};
    cli_settings settings = {.reads = " data teacher teachers student.path compute ", .own = own};
    const cli_option options[] = {{"--teacher", CLI_TEXT, &teacher, NULL},  {"--data", CLI_TEXT, &data, NULL},
                                  {"--student", CLI_TEXT, &student, NULL},  {"--rows", CLI_INT, &rows, NULL},
                                  {"--set", CLI_SETTINGS, &settings, NULL}, {"--json", CLI_FLAG, &as_json, NULL}};
    cli_session s;
    int code = cli_parse(command, options, 6, argc, argv, &recipe, 1);
    if (code >= 0) return code;
    if (!recipe && !(teacher && data)) return cli_usage(command, "a recipe is missing, or --teacher and --data");
    list_own(teacher, data, student, own);
    code = cli_open(&s, command, recipe, &settings);
    if (code < 0) code = cli_take_flag(&s, command, "--teacher", "teacher.path", teacher);
    if (code < 0) code = cli_take_flag(&s, command, "--data", "data.train", data);
    if (code < 0) code = measure(&s, student, rows, as_json);
    cli_close(&s);
    return code;
}
