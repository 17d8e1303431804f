/* features.h - losses on what is inside the two models: the terms of a loss that are rows FEATURE of its table, bound
 * to a student and a teacher. They say which places of both are read (and so what passes keep), they own the
 * projections between widths that differ, and evaluate a micro-batch: values into the sums of its loss, gradients into
 * the student's places. Who updates projections, and files, live elsewhere. */
#ifndef DI_FEATURES_FEATURES_H
#define DI_FEATURES_FEATURES_H

#include "loss/loss.h"
#include "target/taps.h"

typedef struct di_features di_features;
typedef struct di_side { /* one of the two models */
    const void *model;
    int64_t layers; /* its blocks; -1 = not known */
    int32_t (*place)(const void *model, const dk_tap_spec *tap, di_place *out, dk_error *err);
} di_side;
typedef struct di_features_spec {
    dk_backend *backend;
    const di_loss *loss;
    const di_options *options; /* those that the loss was made of */
    di_side student, teacher;
    uint64_t seed; /* of projections */
} di_features_spec;
/* What is compared with what, and that it can be; *out NULL where no term is on features. */
int32_t di_features_bind(const di_features_spec *spec, di_features **out, dk_error *err);
/* Room for micro-batches of that size, with sequences of up to max_length tokens. */
int32_t di_features_plan(di_features *features, int64_t max_tokens, int64_t max_sequences, int64_t max_rows,
                         int64_t max_length, dk_error *err);
void di_features_free(di_features *features);                        /* NULL is fine */
const di_asked *di_features_of_student(const di_features *features); /* places to ask it for; features NULL = none */
const di_asked *di_features_of_teacher(const di_features *features);
int64_t di_features_bytes(const di_features *features); /* what plan took, with projections and their gradients */
/* Projections: trained with the student and no part of it. Names are unique. */
int64_t di_features_parameters(const di_features *features, dk_parameter **out);
/* Is every term on features bound? It is not where one had no weight at create. */
int32_t di_features_serve(const di_features *features, const di_loss *loss);
/* {"terms":[{"loss":"hidden_mse","pairs":[[0,1],[1,3]],"projections":2}],"parameters":512,"bytes":8192} */
void di_features_json(const di_features *features, dk_strbuf *out);

typedef struct di_features_batch { /* a micro-batch that both models have gone through */
    const di_taps *student, *teacher;
    const int64_t *offsets; /* [sequences + 1] tokens of each */
    int64_t sequences;
    const int64_t *places;   /* [rows] tokens that are positions of the loss */
    const int32_t *labels;   /* [rows], < 0 = masked */
    const float *weights;    /* [rows], 0 = masked */
    const int64_t *sequence; /* [rows] that the row belongs to, ascending */
    int64_t rows, step;
    int32_t of;             /* DI_OF_*, as in di_loss_batch */
    dk_precision precision; /* of projections' products */
} di_features_batch;
/* loss: the one that features was bound to, or another one that it serves. Adds to sums what these terms are; counts
 * of rows are the other terms' business. */
int32_t di_features_run(di_features *features, const di_loss *loss, const di_features_batch *batch,
                        const _Atomic int32_t *cancel, di_loss_sums *sums, dk_error *err);

#endif
