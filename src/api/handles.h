/* handles.h - what stands behind the public handles, and what every exported function does at its door and on its way
 * out.
 * src/api checks arguments and translates; no maths, no files. A handle is its env, which it keeps alive, and one
 * object. */
#ifndef DI_API_HANDLES_H
#define DI_API_HANDLES_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/fpenv.h"
#include "base/ranks.h"
#include "augment/augment.h"
#include "cache/target_cache.h"
#include "chain/chain.h"
#include "classifier/classifier_ask.h"
#include "dataset/dataset.h"
#include "fill/fill.h"
#include "loss/loss.h"
#include "meter/meter.h"
#include "report/page/page.h"
#include "report/report.h"
#include "run/run.h"
#include "session/session.h"
#include "student/student.h"

struct distill_env {
    atomic_int references;
    atomic_int computing;     /* a handle that computes was made: threads stay as they are */
    pthread_mutex_t products; /* around the choice of what forms products, and */
    int32_t multiplying;      /* a model was opened: that choice stays as it is */
    int32_t opening;          /* models that are about to be: meanwhile too */
    const char *before;       /* the choice, should all of these fail */
    dk_host *host;
    dk_backend *backend;
    di_registry *registry;
    di_hosted_list *operators;
};
struct distill_options {
    distill_env *env;
    di_options *tree;
};
struct distill_tokenizer {
    distill_env *env;
    dk_tokenizer *tokenizer;
};
struct distill_teacher {
    distill_env *env;
    di_teacher *teacher;
};
struct distill_student {
    distill_env *env;
    di_student *student;
};
struct distill_dataset {
    distill_env *env;
    di_dataset *dataset;
    di_batch *batch;  /* of distill_dataset_next, made at the first call */
    int64_t position; /* windows given out */
    int32_t told_end; /* E_END was returned for the epoch that is over */
    uint64_t seed;
};
struct distill_loss {
    distill_env *env;
    di_loss *loss;
};
struct distill_trainer {
    distill_env *env;
    uint32_t environment; /* of the caller's arithmetic, while a call is inside */
    di_run *run;
    di_trainer *trainer; /* the run's */
};
struct distill_meter {
    distill_env *env;
    di_meter meter;
};
struct distill_session {
    distill_env *env;
    di_stream *stream;
};
struct distill_classifier {
    distill_env *env;
    di_classifier *classifier;
};
struct distill_report {
    distill_env *env;
    di_report *report;
};

/* dk_error and distill_error are one layout (asserted in api_env.c). */
static inline dk_error *di_err(distill_error *err) { return (dk_error *)err; }

distill_env *di_env_retain(const distill_env *env);
void di_env_release(distill_env *env);
static inline const di_options *di_tree(const distill_options *options) { return options ? options->tree : NULL; }
/* DK_TRY for what computes: in the floating-point environment of fpenv.h, whatever the caller's is. */
#define DI_COMPUTE(call)                 \
    do {                                 \
        uint32_t saved_ = dk_fp_enter(); \
        rc = (call);                     \
        dk_fp_leave(saved_);             \
        if (rc != DK_OK) goto out;       \
    } while (0)
/* A handle of `size` bytes whose first member is its env; NULL and an error when out of memory or env is NULL. */
void *di_handle_create(const distill_env *env, size_t size, dk_error *err);
void *di_computing_handle_create(const distill_env *env, size_t size, dk_error *err);
/* compute.products of the options, before whatever opens a model: of the first one in an env, later what it is already.
 * Then, whether it was opened: where none was, the choice is what it was before. */
int32_t di_take_products(const distill_env *env, const di_options *options, dk_error *err);
void di_keep_products(const distill_env *env, int32_t opened);
/* DI_COMPUTE for what opens a model, between the two. */
#define DI_OPEN(env, options, call)                  \
    do {                                             \
        DK_TRY(di_take_products(env, options, err)); \
        uint32_t saved_ = dk_fp_enter();             \
        rc = (call);                                 \
        dk_fp_leave(saved_);                         \
        di_keep_products(env, rc == DK_OK);          \
        if (rc != DK_OK) goto out;                   \
    } while (0)
void di_handle_free(void *handle);
/* A report handle of finished JSON. */
int32_t di_report_handle(const distill_env *env, const dk_strbuf *json, distill_report **out, dk_error *err);
/* A handle that shares the tokenizer. */
int32_t di_tokenizer_handle(const distill_env *env, dk_tokenizer *tokenizer, distill_tokenizer **out, dk_error *err);
/* E_INVALID "NAME is NULL" unless pointer is there. */
int32_t di_check_pointer(const void *pointer, const char *name, dk_error *err);

#endif
