/* bench.h - what the parts of `distill bench` share: a session, the machine's limits, models of random weights. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "cli.h"

typedef struct bench {
    cli_session session;
    cli_progress progress;
    json_t *limits; /* as distill_limits says; NULL = not measured */
    int as_json;
} bench;

/* -1 or an exit code, as all that follow. */
int bench_open(bench *b, const cli_command *command, const cli_settings *settings);
/* In the same run as what is held against them, and behind it, since it takes memory of its own. Where it was measured
 * first as well, in a process whose memory is not counted, the faster reading counts. */
int bench_measure_limits(bench *b);
int bench_measure_limits_first(bench *b);
/* Prints result, which it takes over, as JSON or as leaves, unless code says that something failed; closes. */
int bench_close(bench *b, int code, json_t *result);

/* What distill_inspect says of the library. */
int bench_describe_library(bench *b, json_t **out);

double bench_seconds(void);
double bench_median(double *values, int64_t count);                     /* sorts them */
double bench_limit(const bench *b, const char *kind, const char *unit); /* 0 = this machine has none, or not measured */
/* value / limit, or null */
json_t *bench_share(double value, double limit);
int64_t bench_peak_rss_mb(void);
/* Ids below vocab, the same ones every time. */
void bench_fill_ids(int32_t *ids, int64_t count, int64_t vocab);

/* A model for a bench: path (a model, or NULL), else config (a config.json with random weights, or NULL), else one that
 * is built in. -1 or an exit code. */
typedef struct bench_model {
    distill_student *student; /* of random weights; NULL where path was opened */
    distill_teacher *teacher;
    int64_t vocab;
} bench_model;
extern const char bench_teacher_config[], bench_student_config[];
int bench_open_model(bench *b, const char *path, const char *config, const char *built_in, bench_model *out);
void bench_free_model(bench_model *model);
/* A student of random weights, of a config.json or of the one built in. -1 or an exit code. */
int bench_make_student(bench *b, const char *config, const char *built_in, distill_student **out);

int bench_step(const cli_command *command, int argc, char **argv);
int bench_loss(const cli_command *command, int argc, char **argv);
int bench_prefill(const cli_command *command, int argc, char **argv);
int bench_decode(const cli_command *command, int argc, char **argv);
int bench_draft(const cli_command *command, int argc, char **argv);
int bench_tokenize(const cli_command *command, int argc, char **argv);
int bench_load(const cli_command *command, int argc, char **argv);

#endif
