/* classifier_parts.h - what the files of this folder share. */
#ifndef DI_CLASSIFIER_CLASSIFIER_PARTS_H
#define DI_CLASSIFIER_CLASSIFIER_PARTS_H

#include "classifier/classifier.h"
#include "classifier/labelled.h"
#include "optim/optim.h"

void di_promise_json(const di_promise *promise, dk_strbuf *out);
/* Both files of a classifier as bytes, where their sums are not looked at. */
int32_t di_classifier_parse(dk_backend *backend, const char *config, size_t config_size, const void *weights,
                            uint64_t size, const char *embedding, di_classifier **out, dk_error *err);

/* A folder that holds another model is not ours to write to. */
int32_t di_classifier_check_place(dk_host *host, const char *folder, dk_error *err);
/* Size and CRC-32C of a file. */
int32_t di_classifier_checksum(dk_host *host, const char *path, uint64_t *size, uint32_t *crc, dk_error *err);

/* ---- options of a training: classifier_options.c ---- */
/* given: samples come from the caller, so data.train may not be set. */
int32_t di_classifier_check_options(const di_options *options, int32_t given, dk_error *err);
int32_t di_classifier_check_promise(const di_options *options, int64_t held_out, dk_error *err);
void di_classifier_read_ngrams(const di_options *options, di_ngrams *out);
/* What a resumed run must have in common with the one before. */
int32_t di_classifier_settings_hash(const di_options *options, dk_host *host, uint64_t *out, dk_error *err);

/* ---- one step: classifier_step.c ---- */
typedef struct di_fit { /* a classifier that is trained */
    di_classifier *classifier;
    const di_labelled *texts;
    di_loss *loss;
    dk_host *host;
    dk_backend *backend;
    dk_queue queue;
    int64_t batch_size;
    float *vectors; /* [texts, inputs] of an embedding, made once; NULL = n-grams, made anew in every step */

    dk_parameter dense[3]; /* all but the table */
    dk_buffer *buffers[9];
    int64_t dense_count;
    dk_optimizer *optimizer;
    dk_schedule schedule;
    dk_update update;      /* learning_rate is the peak */
    float *first, *second; /* [inputs, width] moments of the table */
    float *gradients[3];   /* of dense */
    dk_table table;

    /* of the batch under work, for each of its texts */
    di_inputs *features; /* [batch_size] */
    float *hidden, *logits, *log_p, *dlogits, *dhidden;
    int32_t *labels;
    float *weights;
    dk_error *errors;
    /* rows of the table that it touches */
    int32_t *slots;               /* [inputs] + 1 of the row in touched; 0 = untouched */
    int32_t *touched;             /* [room] */
    float *gradient, *scratch[3]; /* [room, width] */
    dk_buffer *row_buffers[5];
    int64_t touched_count, room;

    int64_t step; /* done */
    double last_loss, grad_norm;
    int64_t floored, used_rows; /* used_rows: of the table, touched so far */
} di_fit;
int32_t di_fit_create(di_classifier *classifier, const di_labelled *texts, di_loss *loss, const di_options *options,
                      di_fit **out, dk_error *err);
void di_fit_free(di_fit *fit); /* NULL is fine; the classifier stays */
/* One update from texts [count] by number, at most batch_size. A step that fails changes nothing. */
int32_t di_fit_step(di_fit *fit, const int64_t *indices, int64_t count, dk_error *err);
/* The same up to the gradients: loss (mean), and those of the table in touched and gradient. */
int32_t di_fit_gradients(di_fit *fit, const int64_t *indices, int64_t count, double *weight_sum, dk_error *err);

/* ---- the texts of a training: classifier_data.c ---- */
typedef struct di_fit_texts {
    di_source_text *sources; /* [source_count] of training, then [eval_count] held out */
    int64_t source_count, eval_count;
    di_class_names names;
    di_labelled all;
    int64_t *train, *held_out; /* numbers of texts in all */
    int64_t train_count, held_out_count;
    int64_t
        seen; /* texts that would be held out and are among those of training: left out of both measures and promise */
} di_fit_texts;
int32_t di_fit_texts_open(const di_classifier_args *args, di_fit_texts *out, dk_error *err);
void di_fit_texts_free(dk_host *host, di_fit_texts *texts); /* a zeroed one is fine */

/* ---- the output folder: classifier_output.c ---- */
typedef struct di_fit_output {
    dk_host *host;
    const char *path; /* NULL = nothing is written */
    int32_t metrics, page, portuguese;
    double written, took; /* seconds: when report.html last was while it trains, and how long that took */
} di_fit_output;
int32_t di_fit_output_prepare(const di_fit_output *output, int32_t overwrite, int32_t resume, dk_error *err);
int32_t di_fit_output_metric(const di_fit_output *output, const dk_strbuf *line, dk_error *err);
/* Lines of later steps are dropped. */
int32_t di_fit_output_rewind(const di_fit_output *output, int64_t step, dk_error *err);
int32_t di_fit_output_result(const di_fit_output *output, const dk_strbuf *json, dk_error *err);
/* report.html; live: of a training under way, which browsers read again */
int32_t di_fit_output_page(di_fit_output *output, const dk_strbuf *json, int32_t live, dk_error *err);
/* Is it time for another one? After five seconds, and so that pages take a hundredth of the time at most. */
int32_t di_fit_output_page_due(const di_fit_output *output);

/* ---- checkpoints: classifier_state.c ---- */
typedef struct di_fit_state { /* what a checkpoint says beside weights and moments */
    uint64_t settings, data;  /* hashes */
    double seconds;
} di_fit_state;
/* output/checkpoints/step-00000100, whole or not there; of older ones keep - 1 stay. */
int32_t di_fit_save(const di_fit *fit, const di_fit_state *state, const char *output, int64_t keep, dk_error *err);
/* The newest that is whole: E_NOT_FOUND where there is none, E_MISMATCH where it is of other settings or data. */
int32_t di_fit_load(di_fit *fit, di_fit_state *state, const char *output, dk_error *err);

/* ---- held-out texts: classifier_evaluate.c ---- */
typedef struct di_measured {
    int64_t texts, agreeing,
        correct; /* correct: answers that are the label, which is the teacher's where none is said */
    double cross_entropy, forward_kl; /* nats a text */
    double calibration;               /* expected calibration error, 0..1 */
} di_measured;
/* Texts indices [count] of a data set; judged [count] and logits [count, classes] or NULL. */
int32_t di_classifier_judge_texts(const di_classifier *classifier, const di_labelled *texts, const int64_t *indices,
                                  int64_t count, float *logits, di_judged *judged, di_measured *out, dk_error *err);
void di_measured_json(const di_measured *measured, dk_strbuf *out);
/* Sets the temperature that minimises the cross-entropy of logits [count, classes] with the teacher's p (Guo et al.
 * 2017). */
int32_t di_classifier_fit_temperature(di_classifier *classifier, const di_labelled *texts, const int64_t *indices,
                                      int64_t count, float *logits, dk_error *err);

#endif
