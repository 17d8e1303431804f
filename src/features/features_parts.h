/* features_parts.h - what the files of this folder share. */
#ifndef DI_FEATURES_PARTS_H
#define DI_FEATURES_PARTS_H

#include "features/features.h"
#include "features/kernels/feature_rows.h"
#include "loss/builtin.h"
#include "target/host_rows.h"

enum {
    DI_FEATURE_STRIP = 256, /* rows that go through a projection at once */
    DI_FEATURE_SLOTS = 16
};

typedef struct di_pair {            /* a place of the student and one of the teacher */
    int64_t layer, teacher_layer;   /* -1 = behind the last norm */
    int64_t tap[3], teacher_tap[3]; /* numbers of what was asked for; of attention and relation q, k and v */
    di_place place[3], teacher_place[3];
    int64_t projection; /* -1 = none */
} di_pair;
typedef struct di_feature {
    const di_builtin *builtin;
    int64_t number, item; /* of di_feature_term */
    di_pair *pairs;
    int64_t count;
    int64_t heads;   /* of a relation */
    int32_t by_mean; /* attention: means over heads are compared */
} di_feature;
typedef struct di_projection {
    dk_linear *linear;
    dk_view forward, gradient; /* of a strip: W x, and the gradient on its way back */
} di_projection;
typedef struct di_taken { /* places that were asked for so far */
    dk_tap_spec *taps;
    di_asked asked;
    int64_t capacity;
} di_taken;

struct di_features {
    dk_host *host;
    dk_backend *backend;
    dk_queue queue;
    di_feature *terms;
    int64_t count;
    di_taken student, teacher;
    dk_parameter *parameters; /* [projection_count] */
    dk_linear **linears;      /* the same */
    int64_t projection_count;
    dk_arena weights, arena;
    int64_t max_tokens, max_rows, max_sequences, max_length;
    int64_t width; /* of the widest place that is compared row by row */
    /* of a strip: I32 places; rows of both, what is compared with the teacher's, the gradient in the student's width */
    dk_view where, own, made, given, back;
    di_staging copied[9];
    int32_t *numbers; /* [max_rows] places of unmasked rows */
    int64_t *kept;    /* [max_rows] which rows those are */
    double *values;   /* [max_rows] of a term */
    double *scratch;  /* [slots, scratch_size] */
    int64_t scratch_size;
    double *parts; /* pairs.c: [units, max_rows] values of heads */
    int64_t units;
    int64_t *first_row; /* [max_sequences + 1] */
    int64_t slots;      /* tasks that run side by side, each with scratch of its own; no result hangs on it */
};

typedef struct di_feature_call { /* one term of a micro-batch */
    di_features *features;
    const di_feature *term;
    const di_features_batch *batch;
    const di_feature_rows *kernels;
    int64_t rows;  /* unmasked ones */
    double weight; /* of the term; 0 = its value alone is wanted */
} di_feature_call;

/* bind.c */
/* A term; what it asks both sides for is added to what is asked for, and its projections are counted. */
int32_t di_feature_bind(di_features *features, const di_features_spec *spec, const di_feature_term *term,
                        di_feature *out, dk_error *err);
int64_t di_feature_width(const di_features *features); /* of the widest place of a loss on rows */
/* projection.c */
int32_t di_projections_create(di_features *features, const di_features_spec *spec, dk_error *err);
void di_projections_free(di_features *features);
/* hidden.c: adds to features->values [rows] */
int32_t di_hidden_run(const di_feature_call *call, const di_pair *pair, dk_error *err);
/* pairs.c: the same */
int32_t di_pairs_run(const di_feature_call *call, const di_pair *pair, dk_error *err);
void di_pairs_plan(di_features *features, int64_t length); /* sequences of up to so many tokens */
void di_hidden_plan(di_features *features, dk_arena *arena);

#endif
