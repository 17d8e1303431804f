/* classifier.h - a student that is no language model: a text as hashed n-grams or as a frozen model's embedding, then
 * one layer, or two with tanh between. Its rows are texts and its vocabulary is the classes, so a loss sees it as it
 * sees a language model: losses, optimiser, schedules and options are those of the library. The trainer's windows are
 * sequences of tokens, each with the token that follows as its label, and its students are models whose weights a step
 * goes over as a whole; a text of one row and a table of which a step touches a hundredth are neither, so the loop is
 * its own.
 *
 *   ngrams.c                texts as hashed n-grams           embedding.c   as vectors of a model
 *   class_names.c           classes by name
 *   classifier.c            the layers, and what they say     labelled.c    texts with probabilities
 *   classifier_file.c       saved and opened                  promise.c     when a teacher need not be asked
 *   classifier_step.c       one step                          classifier_train.c     the loop and its output folder
 *   classifier_state.c      checkpoints                       classifier_evaluate.c  held-out texts */
#ifndef DI_CLASSIFIER_CLASSIFIER_H
#define DI_CLASSIFIER_CLASSIFIER_H

#include "classifier/class_names.h"
#include "classifier/embedding.h"
#include "classifier/ngrams.h"
#include "classifier/promise.h"
#include "distill.h"
#include "loss/loss.h"
#include "options/options.h"

enum { DI_HIDDEN_MOST = 4096 };
typedef enum { DI_WEIGHT_F32, DI_WEIGHT_F16, DI_WEIGHT_INT8 } di_weight_type;

typedef struct di_question { /* what a teacher is asked of a text that the classifier is not sure of */
    char *text;              /* with {text} in it; NULL = none */
    int32_t chat;            /* as a user's message in the teacher's chat template */
    int32_t per_token;       /* choices by the mean over their tokens */
} di_question;

typedef struct di_classifier {
    dk_host *host;
    dk_backend *backend;
    di_embedding *embedding; /* NULL = by n-grams */
    di_embed_kind embed;
    char model_hash[65];
    di_ngrams ngrams;
    int64_t inputs, hidden, classes; /* hidden 0 = one layer */
    int64_t width;                   /* of the first layer: hidden, or classes */
    char **names;                    /* [classes] */
    float *mean, *scale;             /* [inputs] of an embedding: (x - mean) * scale */
    float *table, *bias;             /* [inputs, width], [width] */
    float *head, *head_bias;         /* [hidden, classes], [classes]; NULL = one layer */
    di_weight_type store;            /* of the table in files */
    float *steps;                    /* [width] of int8: the table is a whole number of them; NULL = not rounded yet */
    double temperature;              /* logits are divided by it */
    di_promise promise;              /* agreement 0 = none was asked for */
    di_question question;
    dk_strbuf held_out; /* JSON of what was measured on held-out texts; empty = nothing */
} di_classifier;

typedef struct di_classifier_spec {
    di_embedding *embedding; /* becomes the classifier's, also where create fails; NULL = ngrams */
    di_embed_kind embed;
    di_ngrams ngrams;
    int64_t hidden, classes;
    const char *const *names;
    di_weight_type store;
    uint64_t seed;
} di_classifier_spec;
/* Fresh: the table is zero, so that an input which training never sees says nothing; a head is drawn by seed. */
int32_t di_classifier_create(dk_backend *backend, const di_classifier_spec *spec, di_classifier **out, dk_error *err);
void di_classifier_free(di_classifier *classifier); /* NULL is fine */

/* Inputs of a text. *tokens, or NULL: of an embedding. */
int32_t di_classifier_inputs(const di_classifier *classifier, const char *text, size_t size, di_inputs *out,
                             int64_t *tokens, dk_error *err);
/* hidden [hidden] is what lies between two layers; logits [classes], before the temperature */
void di_classifier_logits(const di_classifier *classifier, const di_inputs *inputs, float *hidden, float *logits);
/* Of that: inputs of texts together; a multiplication and an addition are two. */
double di_classifier_flops(const di_classifier *classifier, int64_t texts, int64_t inputs);
typedef struct di_verdict {
    int64_t answer; /* of equal ones the first */
    double confidence;
    int32_t sure;
} di_verdict;
/* probabilities [classes] of logits [classes], which may be the same */
di_verdict di_classifier_judge(const di_classifier *classifier, const float *logits, float *probabilities);
/* E_INVALID where a text has no inputs. */
int32_t di_classifier_predict(const di_classifier *classifier, const char *text, size_t size, float *probabilities,
                              di_verdict *out, dk_error *err);

int32_t di_classifier_round(di_classifier *classifier, dk_error *err); /* weights as its files will hold them */
/* model.safetensors and config.json, each beside its place and renamed, into a folder, which is made; one that holds
 * another model is refused. */
int32_t di_classifier_save(const di_classifier *classifier, const char *folder, dk_error *err);
/* embedding: where its model is now; NULL = as its files say. */
int32_t di_classifier_open(dk_backend *backend, const char *folder, const char *embedding, di_classifier **out,
                           dk_error *err);
/* Is the folder a checkpoint of a classifier's training? And as JSON: its step, whether it is whole. */
int32_t di_fit_is_checkpoint(dk_host *host, const char *folder);
int32_t di_fit_inspect(dk_host *host, const char *folder, dk_strbuf *json, dk_error *err);
int32_t di_classifier_is_at(dk_host *host, const char *folder); /* by its config.json */
int64_t di_classifier_bytes(const di_classifier *classifier);   /* of the tensors in its files */
int64_t di_classifier_parameters(const di_classifier *classifier);
/* What it is and what it promises: {"kind":"classifier","classes":[...],...} */
void di_classifier_json(const di_classifier *classifier, dk_strbuf *out);
/* "threshold", "temperature", "bytes", ...: E_NOT_FOUND lists them. */
int32_t di_classifier_get_f64(const di_classifier *classifier, const char *key, double *out, dk_error *err);

/* ---- training ---- */
typedef struct di_classifier_args {
    dk_backend *backend;
    di_registry *registry;
    const di_options *options;
    const dk_slice *lines; /* [count] JSON objects, in the place of data.train; NULL = as the options say */
    int64_t count;
    int32_t resume;
    distill_progress_fn fn; /* or NULL */
    void *user;
} di_classifier_args;
/* json: as result.json. */
int32_t di_classifier_train(const di_classifier_args *args, di_classifier **out, dk_strbuf *json, dk_error *err);
/* On a file of texts with probabilities: agreement with an interval, divergence, calibration, the cascade. */
int32_t di_classifier_measure(const di_classifier *classifier, const char *path, dk_strbuf *json, dk_error *err);

#endif
