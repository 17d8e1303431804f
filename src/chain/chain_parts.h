/* chain_parts.h - what the files of this folder share. */
#ifndef DI_CHAIN_CHAIN_PARTS_H
#define DI_CHAIN_CHAIN_PARTS_H

#include "chain/chain.h"

enum { DI_STAGES_MAX = 64, DI_STAGE_INPUTS = 72, DI_STAGE_KEY = 160 };
typedef struct di_stage_input { /* of another stage */
    char key[DI_STAGE_KEY];     /* "teacher.path" */
    int64_t stage;
} di_stage_input;
typedef struct di_stage {
    const char *name;    /* of options */
    di_options *options; /* its whole recipe: its own laid over the one around it */
    const char *output;  /* output.path of options */
    di_stage_input inputs[DI_STAGE_INPUTS];
    int64_t input_count;
} di_stage;
typedef struct di_stages {
    dk_host *host;
    di_stage *stages; /* [count] */
    int64_t count;
} di_stages;

/* ---- stages.c ---- */
int32_t di_stages_read(dk_host *host, const di_options *options, di_stages *out, dk_error *err);
void di_stages_free(di_stages *stages);
/* The stage whose output this path of a stage is; -1 = none's. */
int64_t di_stage_of_path(const di_stage *stage, const char *key);

/* ---- paths that a run reads, by key: teacher.path, student.path, student.config, those of teachers, data; caches
 * that nobody fills ---- */
typedef int32_t (*di_path_fn)(void *user, const char *key, const char *path, dk_error *err);
int32_t di_stage_paths(const di_options *options, di_path_fn fn, void *user, dk_error *err);

/* Is a key below teachers one of a teacher that the recipe has no use for? */
int32_t di_stage_is_idle(const di_options *options, const char *key);
int32_t di_stage_uses(const di_options *options, const char *teacher); /* a name of teachers */

/* ---- stage_check.c ---- */
int32_t di_stages_check(const di_chain_args *args, const di_stages *stages, dk_error *err);

/* ---- stage_record.c ---- */
int32_t di_stage_record(const di_stages *stages, const di_stage *stage, dk_strbuf *json, dk_error *err);
int32_t di_stage_record_write(const di_stages *stages, const di_stage *stage, dk_error *err);
/* What of the stage is another than its folder says ("train.steps changed: 20 -> 30"); "" = nothing. */
int32_t di_stage_difference(const di_stages *stages, const di_stage *stage, dk_strbuf *out, dk_error *err);
typedef enum {
    DI_STAGE_NEW,      /* nothing is there, or what a run left that never got to a checkpoint */
    DI_STAGE_BEGUN,    /* a checkpoint of it */
    DI_STAGE_FINISHED, /* its result */
    DI_STAGE_FOREIGN   /* somebody else's */
} di_stage_state;
int32_t di_stage_look(const di_stages *stages, const di_stage *stage, di_stage_state *out, dk_error *err);

#endif
