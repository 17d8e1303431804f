/* output.c - the output folder: may this run write there, and the student's files, each of which appears at once. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "run/run_state.h"

/* What a run and a saved student leave in a folder; anything else there is somebody else's. */
static const char *const of_run[] = {"result.json", "metrics.jsonl", "report.html", "checkpoints"};
static const char *const of_model[] = {"config.json",
                                       "generation_config.json",
                                       "model.safetensors",
                                       "model.safetensors.index.json",
                                       DI_GGUF_NAME,
                                       "tokenizer.json",
                                       "tokenizer_config.json",
                                       "tokenizer.model",
                                       "special_tokens_map.json",
                                       "added_tokens.json",
                                       "vocab.json",
                                       "merges.txt",
                                       "chat_template.jinja",
                                       "chat_template.json"};
static const char of_templates[] = "additional_chat_templates"; /* a folder of the model */
#define COUNT(array) (sizeof(array) / sizeof *(array))

static int32_t is_among(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, names[i]) == 0) return 1;
    return 0;
}

/* model-00001-of-00003.safetensors */
static int32_t is_shard(const char *name)
{
    static const char *const parts[] = {"model-", "-of-"};
    for (size_t i = 0; i < COUNT(parts); i++) {
        if (strncmp(name, parts[i], strlen(parts[i])) != 0) return 0;
        name += strlen(parts[i]);
        size_t digits = strspn(name, "0123456789");
        if (!digits) return 0;
        name += digits;
    }
    return strcmp(name, ".safetensors") == 0;
}

static int32_t is_of_model(const char *name) { return is_among(name, of_model, COUNT(of_model)) || is_shard(name); }

typedef struct tracer {
    char found[64];
} tracer;

static int32_t find_trace(void *user, const char *name, int32_t is_dir, dk_error *err)
{
    tracer *trace = user;
    (void)err;
    if (!is_among(name, of_run, COUNT(of_run)) && (is_dir || !is_of_model(name))) return DK_OK;
    if (!*trace->found) snprintf(trace->found, sizeof trace->found, "%s", name);
    return DK_OK;
}

/* A folder that cannot be written to is found out now, not after the last step: the result is begun and dropped. */
static int32_t probe(const di_output *output, dk_error *err)
{
    char *path = dk_path_join(output->host, output->path, "result.json");
    dk_writer *writer = NULL;
    int32_t rc = path ? dk_writer_open(output->host, path, &writer, err) : dk_fail_nomem(err, 64);
    dk_writer_abort(writer);
    dk_free(output->host, path);
    return rc;
}

static int32_t remove_in(dk_host *host, const char *folder, const char *name, dk_error *err)
{
    char *path = dk_path_join(host, folder, name);
    int32_t rc = path ? dk_dir_remove(host, path, err) : dk_fail_nomem(err, strlen(name));
    dk_free(host, path);
    return rc;
}

static int32_t prepare(const di_output *output, int32_t resumed, dk_error *err)
{
    tracer trace = {{0}};
    int32_t rc;
    DK_TRY(dk_dir_create(output->host, output->path, err));
    DK_TRY(probe(output, err));
    if (resumed) goto out;
    DK_TRY(dk_dir_list(output->host, output->path, find_trace, &trace, err));
    if (!*trace.found) goto out;
    if (!output->overwrite)
        return dk_fail(
            err, DK_E_INVALID,
            "%s already holds a run or a model (%s): resume it, give another output.path, or set output.overwrite to "
            "true",
            output->path, trace.found);
    for (size_t i = 0; i < COUNT(of_run); i++) /* the old model stays until the new one is there */
        DK_TRY(remove_in(output->host, output->path, of_run[i], err));
out:
    return rc;
}

int32_t di_output_prepare(const di_output *output, int32_t resumed, dk_error *err)
{
    const int32_t rc = dk_rank(output->host) ? DK_OK : prepare(output, resumed, err);
    return dk_ranks_agree(output->host, rc, err);
}

typedef struct mover {
    dk_host *host;
    const char *from, *to;
    const char *last; /* is left out */
} mover;

static int32_t move_one(void *user, const char *name, int32_t is_dir, dk_error *err)
{
    mover *m = user;
    char *from = dk_path_join(m->host, m->from, name), *to = dk_path_join(m->host, m->to, name);
    int32_t rc = from && to ? DK_OK : dk_fail_nomem(err, strlen(m->to));
    (void)is_dir;
    if (rc == DK_OK && !(m->last && strcmp(name, m->last) == 0) && rename(from, to) != 0)
        rc = dk_fail_errno(err, errno, "%s cannot be replaced", to);
    dk_free(m->host, from);
    dk_free(m->host, to);
    return rc;
}

/* Messages name the folder that the user knows. */
static void name_target(const di_output *output, const char *staging, dk_error *err)
{
    char text[sizeof err->message];
    const char *at = err ? strstr(err->message, staging) : NULL;
    if (err) dk_hide_temporary(err);
    if (!at || !(at = strstr(err->message, staging))) return;
    int before = (int)(at - err->message);
    snprintf(text, sizeof text, "%.*s%s%s", before, err->message, output->path, at + strlen(staging));
    memcpy(err->message, text, sizeof text);
}

/* Of the old model what the new one does not have: shards, an index, files of a tokenizer. */
static int32_t remove_old(void *user, const char *name, int32_t is_dir, dk_error *err)
{
    const mover *m = user;
    const int32_t old = is_dir ? strcmp(name, of_templates) == 0 : is_of_model(name);
    return old ? remove_in(m->host, m->to, name, err) : DK_OK;
}

static int32_t move_last(mover *m, const char *name, dk_error *err)
{
    char *from = dk_path_join(m->host, m->from, name);
    int32_t rc = from ? DK_OK : dk_fail_nomem(err, strlen(name));
    if (rc == DK_OK && dk_path_exists(from)) rc = move_one(m, name, 0, err);
    dk_free(m->host, from);
    return rc;
}

/* Saved into a folder beside its place, then moved file by file: the output folder holds more than the student. The
 * description goes first and comes last, so that no mixture of two models is ever taken for one. */
int32_t di_output_student(di_run *run, dk_error *err)
{
    const di_output *output = &run->output;
    di_student *student = run->trainer->student;
    di_saving saving = {.run = run};
    const distill_student_callbacks *callbacks = di_student_callbacks(student);
    char *staging = dk_path_join(output->host, output->path, "student.tmp");
    mover m = {output->host, staging, output->path, "config.json"};
    int32_t rc;
    if (!staging) return dk_fail_nomem(err, strlen(output->path));
    if (dk_path_exists(staging)) DK_TRY(dk_dir_remove(output->host, staging, err)); /* a killed run's */
    if (callbacks && !callbacks->save) goto out;
    DK_TRY(di_saving_student(&saving, staging, &output->files, err));
    DK_TRY(remove_in(output->host, output->path, m.last, err));
    DK_TRY(dk_dir_list(output->host, output->path, remove_old, &m, err));
    DK_TRY(dk_dir_list(output->host, staging, move_one, &m, err));
    m.last = NULL;
    DK_TRY(move_last(&m, "config.json", err));
    DK_TRY(dk_dir_remove(output->host, staging, err));
out:
    if (rc != DK_OK) name_target(output, staging, err);
    dk_free(output->host, staging);
    return rc;
}

int32_t di_output_result(const di_output *output, const dk_strbuf *json, dk_error *err)
{
    char *path = dk_path_join(output->host, output->path, "result.json");
    int32_t rc = path ? dk_file_replace(output->host, path, json->data, json->size, err) : dk_fail_nomem(err, 64);
    dk_free(output->host, path);
    return rc;
}
