/* cmd_classify.c - distill classify: train, predict, eval. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "watch_page.h"

/* ---- train ---- */

static int interrupted(const cli_session *session, const char *recipe, const cli_settings *settings)
{
    char *output = cli_option_text(session->options, "output.path");
    cli_message("%s", session->err.message);
    if (*output && strstr(session->err.message, "resume")) {
        fprintf(stderr, "To go on: distill classify train %s", recipe);
        for (int i = 0; i < settings->count; i++) fprintf(stderr, " --set '%s'", settings->items[i]);
        fprintf(stderr, " --resume\n");
    }
    free(output);
    return CLI_INTERRUPTED;
}

static double number_at(const json_t *value, const char *a, const char *b)
{
    return json_number_value(json_object_get(json_object_get(value, a), b));
}

static void print_promise(FILE *out, const json_t *promise)
{
    const json_t *threshold = json_object_get(promise, "threshold");
    const double agreement = json_number_value(json_object_get(promise, "agreement")),
                 level = json_number_value(json_object_get(promise, "confidence_level"));
    if (!json_is_object(promise)) return;
    if (!json_is_number(threshold)) {
        fprintf(out,
                "cascade      no threshold keeps an agreement of %g with confidence %g: the teacher is always asked\n",
                agreement, level);
        return;
    }
    fprintf(out, "cascade      answers %.1f %% of texts by itself, those of confidence %.4f and more;\n",
            100 * json_number_value(json_object_get(promise, "coverage")), json_number_value(threshold));
    fprintf(out, "             agrees with the teacher on at least %.1f %%, with confidence %g (asked for: %.1f %%)\n",
            100 * (1 - json_number_value(json_object_get(promise, "bound"))), level, 100 * agreement);
}

static void print_measured(FILE *out, const json_t *measured)
{
    const json_t *interval = json_object_get(measured, "agreement_interval");
    if (!json_is_object(measured)) return;
    fprintf(
        out,
        "held out     %lld texts: agrees with the teacher on %.1f %% (%.1f to %.1f), KL %.4f, calibration error %.3f\n",
        (long long)json_integer_value(json_object_get(measured, "texts")),
        100 * json_number_value(json_object_get(measured, "agreement")),
        100 * json_number_value(json_array_get(interval, 0)), 100 * json_number_value(json_array_get(interval, 1)),
        json_number_value(json_object_get(measured, "forward_kl")),
        json_number_value(json_object_get(measured, "calibration_error")));
}

static void print_trained(FILE *out, const json_t *result)
{
    const json_t *classifier = json_object_get(result, "classifier");
    fprintf(out, "classifier   %zu classes, %.0f parameters, %.2f MB\n",
            json_array_size(json_object_get(classifier, "classes")), number_at(result, "classifier", "parameters"),
            number_at(result, "classifier", "bytes") / 1e6);
    fprintf(out, "training     %.0f steps over %.0f texts, loss %.4f, %.1f s\n", number_at(result, "training", "steps"),
            number_at(result, "data", "train"), number_at(result, "training", "last_loss"),
            number_at(result, "training", "seconds"));
    print_measured(out, json_object_get(classifier, "held_out"));
    print_promise(out, json_object_get(classifier, "promise"));
    cli_print_cost(out, json_object_get(result, "cost"));
    cli_print_page(out, result);
}

/* The report is freed. */
static int print_report(distill_report *report, int as_json, void (*print)(FILE *, const json_t *), distill_error *err)
{
    char *text = cli_report_text(report, err);
    distill_report_free(report);
    if (!text) return cli_fail(err);
    json_t *value = json_loads(text, 0, NULL);
    if (as_json) printf("%s\n", text);
    else print(stdout, value);
    json_decref(value);
    free(text);
    return CLI_DONE;
}

static int train(const cli_command *command, int argc, char **argv)
{
    int resume = 0, as_json = 0, quiet = 0, watched = 0;
    cli_settings settings = {.reads = " classifier data loss train output compute cost "};
    const char *recipe = NULL;
    const cli_option options[] = {{"--set", CLI_SETTINGS, &settings, NULL},
                                  {"--resume", CLI_FLAG, &resume, NULL},
                                  {"--watch", CLI_FLAG, &watched, NULL},
                                  {"--quiet", CLI_FLAG, &quiet, NULL},
                                  {"--json", CLI_FLAG, &as_json, NULL}};
    cli_session s;
    cli_progress progress;
    cli_watch_page *watch = NULL;
    distill_classifier *classifier = NULL;
    distill_report *report = NULL;
    int code = cli_parse(command, options, 5, argc, argv, &recipe, 1);
    if (code >= 0) return code;
    if (!recipe) return cli_usage(command, "a recipe is missing");
    code = cli_open(&s, command, recipe, &settings);
    if (code < 0) code = cli_watch_page_open(&s, command, watched, &watch);
    if (code >= 0) goto out;
    cli_progress_start(&progress, quiet);
    progress.unit = "texts";
    cli_watch_all(CLI_SAVES_STEPS);
    const int32_t rc = distill_classifier_train(s.env, NULL, 0, s.options, resume ? DISTILL_RUN_RESUME : 0,
                                                cli_progress_show, &progress, &classifier, &report, &s.err);
    cli_watch_all(0);
    cli_progress_end(&progress);
    if (rc == DISTILL_E_CANCELLED) code = interrupted(&s, recipe, &settings);
    else code = rc ? cli_fail(&s.err) : print_report(report, as_json, print_trained, &s.err);
    distill_classifier_free(classifier);
    cli_watch_page_end(watch);
out:
    cli_close(&s);
    return code;
}

/* ---- predict ---- */

typedef struct predicting {
    cli_session *session;
    const distill_classifier *classifier;
    const distill_teacher *teacher; /* NULL = no cascade */
    int plain;                      /* lines are texts whatever they look like */
    int strict;                     /* a line that cannot be read ends it */
    int64_t classes, line, asked, bad;
    float *shares;
    double *told;
} predicting;

/* The text of a line: that of a JSON object, whose id goes into the answer, or the line itself. NULL, or why not. */
static const char *text_of(const predicting *p, const char *line, size_t size, json_t **object, const char **text,
                           size_t *text_size)
{
    static char said[JSON_ERROR_TEXT_LENGTH + 48];
    size_t begin = 0;
    *object = NULL;
    *text = line;
    *text_size = size;
    while (begin < size && (line[begin] == ' ' || line[begin] == '\t')) begin++;
    if (p->plain || begin == size || line[begin] != '{') return NULL;
    json_error_t problem;
    if (!(*object = json_loadb(line, size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &problem))) {
        snprintf(said, sizeof said, "%s; --text takes lines as they are", problem.text);
        return said;
    }
    const json_t *value = json_object_get(*object, "text"), *prompt = json_object_get(*object, "prompt");
    if (value && prompt) return "both text and prompt are there: which is to be classified?";
    if (!value) value = prompt;
    if (!json_is_string(value)) return "neither text nor prompt is there";
    *text = json_string_value(value);
    *text_size = json_string_length(value);
    return NULL;
}

/* In the place of an answer, so that answers are as many as lines; -1 = it goes on. */
static int bad_line(predicting *p, const json_t *object, const char *why)
{
    json_t *out = json_object(), *id = json_object_get(object, "id");
    const int code = cli_message("line %lld: %s", (long long)p->line, why);
    p->bad++;
    if (id) json_object_set(out, "id", id);
    json_object_set_new(out, "line", json_integer(p->line));
    json_object_set_new(out, "error", json_string(why));
    if (p->strict) return json_decref(out), code;
    return cli_print_json(out) || fflush(stdout) ? cli_message("stdout: %s", strerror(errno)) : -1;
}

static json_t *answer_of(const predicting *p, const json_t *object, int64_t answer, const char *by, double confidence,
                         int sure, int from_teacher)
{
    json_t *out = json_object(), *shares = json_object(), *id = json_object_get(object, "id");
    if (id) json_object_set(out, "id", id);
    json_object_set_new(out, "label", json_string(distill_classifier_class_name(p->classifier, answer)));
    json_object_set_new(out, "confidence", cli_json_real(confidence));
    json_object_set_new(out, "sure", json_boolean(sure));
    json_object_set_new(out, "by", json_string(by));
    for (int64_t i = 0; i < p->classes; i++)
        json_object_set_new(shares, distill_classifier_class_name(p->classifier, i),
                            cli_json_real(from_teacher ? p->told[i] : (double)p->shares[i]));
    json_object_set_new(out, "probabilities", shares);
    return out;
}

/* -1 = it goes on. */
static int predict_line(predicting *p, const char *line, size_t size)
{
    distill_error *err = &p->session->err;
    distill_verdict verdict;
    json_t *object;
    const char *text;
    size_t text_size;
    const char *why = text_of(p, line, size, &object, &text, &text_size);
    if (why) {
        const int code = bad_line(p, object, why);
        json_decref(object);
        return code;
    }
    DISTILL_INIT(&verdict);
    int32_t rc = distill_classifier_predict(p->classifier, text, text_size, p->shares, p->classes, &verdict, err);
    const int ask = !rc && p->teacher && !verdict.sure;
    int64_t answer = verdict.answer;
    double confidence = verdict.confidence;
    if (ask) {
        rc = distill_classifier_ask(p->classifier, p->teacher, text, text_size, p->session->options, p->told,
                                    p->classes, err);
        for (int64_t i = answer = 0; !rc && i < p->classes; i++)
            if (p->told[i] > p->told[answer]) answer = i;
        confidence = p->told[answer];
        p->asked++;
    }
    int code = -1;
    if (rc == DISTILL_E_CANCELLED) code = cli_fail(err);
    else if (rc == DISTILL_E_INVALID || rc == DISTILL_E_FORMAT) code = bad_line(p, object, err->message);
    else if (rc) code = cli_message("line %lld: %s", (long long)p->line, err->message);
    else if (cli_print_json(
                 answer_of(p, object, answer, ask ? "teacher" : "classifier", confidence, verdict.sure, ask)) ||
             fflush(stdout))
        code = cli_message("stdout: %s", strerror(errno));
    json_decref(object);
    return code;
}

static int predict_all(predicting *p, FILE *in, const char *name)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t size;
    int code = -1;
    while (code < 0 && !cli_is_interrupted() && (size = getline(&line, &cap, in)) >= 0) {
        p->line++;
        const ssize_t mark = p->line == 1 && size >= 3 && !memcmp(line, "\xef\xbb\xbf", 3) ? 3 : 0; /* as in data */
        while (size > mark && (line[size - 1] == '\n' || line[size - 1] == '\r')) size--;
        if (size > mark) code = predict_line(p, line + mark, (size_t)(size - mark));
    }
    if (code < 0 && cli_is_interrupted()) code = CLI_INTERRUPTED;
    else if (code < 0 && ferror(in)) code = cli_message("%s: %s", name, strerror(errno));
    free(line);
    return code < 0 ? CLI_DONE : code;
}

static int open_both(predicting *p, const char *model, const char *cascade, distill_classifier **classifier,
                     distill_teacher **teacher)
{
    cli_session *s = p->session;
    double classes = 0;
    int32_t rc = distill_classifier_open(s->env, model, s->options, classifier, &s->err);
    if (!rc && cascade) rc = distill_teacher_open(s->env, cascade, s->options, teacher, &s->err);
    if (!rc) rc = distill_classifier_get_f64(*classifier, "classes", &classes, &s->err);
    if (rc) return cli_fail(&s->err);
    p->classifier = *classifier;
    p->teacher = *teacher;
    p->classes = (int64_t)classes;
    p->shares = cli_memory(NULL, (size_t)p->classes * sizeof *p->shares);
    p->told = cli_memory(NULL, (size_t)p->classes * sizeof *p->told);
    /* A teacher that cannot be asked is told now, not at the first text that the classifier is not sure of. */
    if (*teacher) rc = distill_classifier_ask(*classifier, *teacher, "?", 1, s->options, p->told, p->classes, &s->err);
    return rc ? cli_fail(&s->err) : -1;
}

static int predict(const cli_command *command, int argc, char **argv)
{
    const char *paths[2] = {NULL}, *cascade = NULL;
    static const char *const own[] = {"teacher.path", "--cascade", NULL};
    cli_settings settings = {.reads = " classifier.embedding teacher generate.precision compute ", .own = own};
    cli_session s;
    predicting p = {.session = &s};
    const cli_option options[] = {{"--cascade", CLI_TEXT, &cascade, NULL},
                                  {"--text", CLI_FLAG, &p.plain, NULL},
                                  {"--strict", CLI_FLAG, &p.strict, NULL},
                                  {"--set", CLI_SETTINGS, &settings, NULL}};
    distill_classifier *classifier = NULL;
    distill_teacher *teacher = NULL;
    FILE *in = stdin;
    int code = cli_parse(command, options, 4, argc, argv, paths, 2);
    if (code >= 0) return code;
    if (!paths[0]) return cli_usage(command, "a classifier is missing");
    code = cli_open(&s, command, NULL, &settings);
    if (code >= 0) goto out;
    const char *name = paths[1] && strcmp(paths[1], "-") ? paths[1] : "stdin";
    if (paths[1] && strcmp(paths[1], "-") && !(in = fopen(paths[1], "rb"))) {
        code = cli_message("%s: %s", paths[1], strerror(errno));
        goto out;
    }
    code = open_both(&p, paths[0], cascade, &classifier, &teacher);
    if (code < 0) code = predict_all(&p, in, name);
    if (code == CLI_DONE && p.bad)
        fprintf(stderr, "%lld of %lld lines could not be answered\n", (long long)p.bad, (long long)p.line);
    if (code == CLI_DONE && teacher)
        fprintf(stderr, "the teacher was asked about %lld of %lld lines\n", (long long)p.asked, (long long)p.line);
out:
    if (in && in != stdin) fclose(in);
    free(p.shares);
    free(p.told);
    distill_teacher_free(teacher);
    distill_classifier_free(classifier);
    cli_close(&s);
    return code;
}

/* ---- eval ---- */

static void print_evaluation(FILE *out, const json_t *result)
{
    print_measured(out, json_object_get(result, "measured"));
    fprintf(out,
            "cascade      answers %.1f %% by itself; agrees with the teacher on %.1f %%, at least %.1f %% with "
            "confidence 0.95\n",
            100 * number_at(result, "cascade", "coverage"), 100 * number_at(result, "cascade", "agreement"),
            100 * number_at(result, "cascade", "agreement_least"));
}

static int evaluate(const cli_command *command, int argc, char **argv)
{
    int as_json = 0;
    const char *model = NULL, *data = NULL;
    cli_settings settings = {.reads = " classifier.embedding compute "};
    const cli_option options[] = {{"--data", CLI_TEXT, &data, NULL},
                                  {"--set", CLI_SETTINGS, &settings, NULL},
                                  {"--json", CLI_FLAG, &as_json, NULL}};
    cli_session s;
    distill_classifier *classifier = NULL;
    distill_report *report = NULL;
    int code = cli_parse(command, options, 3, argc, argv, &model, 1);
    if (code >= 0) return code;
    if (!model) return cli_usage(command, "a classifier is missing");
    if (!data) return cli_usage(command, "--data is missing");
    code = cli_open(&s, command, NULL, &settings);
    if (code >= 0) goto out;
    int32_t rc = distill_classifier_open(s.env, model, s.options, &classifier, &s.err);
    if (!rc) rc = distill_classifier_evaluate(classifier, data, &report, &s.err);
    code = rc ? cli_fail(&s.err) : print_report(report, as_json, print_evaluation, &s.err);
    distill_classifier_free(classifier);
out:
    cli_close(&s);
    return code;
}

static const cli_command commands[] = {
    {"classify train", NULL,
     "usage: distill classify train RECIPE.yaml [--set KEY=VALUE]... [--resume] [--watch] [--quiet] [--json]\n\n"
     "Trains a classifier on texts with a teacher's probabilities, as sections classifier, data, loss, train and "
     "output\n"
     "say, and writes it, metrics.jsonl, result.json and report.html to its output folder. Held-out texts choose the "
     "confidence "
     "from\n"
     "which on it need not ask the teacher. docs/classifiers.md\n\n"
     "  --set KEY=VALUE   an option of the table, as YAML; may be repeated (`distill options classifier` lists them)\n"
     "  --resume          goes on from the newest checkpoint in the output folder\n"
     "  --watch           shows report.html on 127.0.0.1 while it trains; says the address\n"
     "  --quiet           no progress\n"
     "  --json            prints result.json instead of the table\n\n"
     "Ctrl-C, SIGTERM and SIGHUP finish the step, save a checkpoint and exit with 130; a second Ctrl-C exits at "
     "once.\n",
     train},
    {"classify predict", NULL,
     "usage: distill classify predict CLASSIFIER [FILE] [--cascade MODEL] [--text] [--strict] [--set\n"
     "KEY=VALUE]...\n\n"
     "A line of JSON for each line of FILE, or of stdin, as it comes: {\"label\", \"confidence\", \"sure\", \"by\",\n"
     "\"probabilities\"}. A line is a text, or a JSON object with \"text\" or \"prompt\", whose \"id\" goes along. "
     "Empty lines\n"
     "are passed over. A line that cannot be read has {\"line\", \"error\"} in its place, and is counted.\n\n"
     "  --cascade MODEL   asks this teacher classifier.question where the classifier is not sure\n"
     "  --text            lines are texts even where they begin with {\n"
     "  --strict          the first line that cannot be read ends it\n"
     "  --set KEY=VALUE   generate.precision=bf16, classifier.embedding.path, or of section teacher\n",
     predict},
    {"classify eval", NULL,
     "usage: distill classify eval CLASSIFIER --data FILE.jsonl [--set KEY=VALUE]... [--json]\n\n"
     "Agreement with the probabilities of FILE, calibration, and what a cascade would do on it.\n\n"
     "  --data FILE       texts with probabilities or labels\n"
     "  --set KEY=VALUE   classifier.embedding.path\n"
     "  --json            one JSON document\n",
     evaluate},
};

int cli_classify(const cli_command *command, int argc, char **argv)
{
    return cli_subcommand(command, commands, sizeof commands / sizeof *commands, 9, argc, argv);
}
