/* target.h - what a model says about rows, and how such statements are checked and brought into strips.
 *
 * The public structs (distill_batch, distill_target, distill_tensor) are the currency of src/; here they are checked,
 * and turned into a di_source: something that gives the logits of a range of rows into a strip and takes their
 * gradient. Divergences do not live here. */
#ifndef DI_TARGET_TARGET_H
#define DI_TARGET_TARGET_H

#include "compute/compute.h"
#include "distill.h"
#include "model/model.h"
#include "target/host_rows.h"

/* ---- a source of rows ----
 * Ranges are asked for in order, first = 0 .. rows. A strip is a backend view [count, width] of real dtype; rows(): for
 * dense-like kinds (dense, hidden) logits are written there, and *target is NULL; other kinds leave it alone and
 * give *target (host tensors of exactly count rows, borrowed until the next call).
 * gradient(): dlogits [count, width] = dL/dlogits of the same range, destroyed; logits as they were given. Students
 * only. */
enum { DI_TEMPERATURES = 8 }; /* at most, of one teacher at once */
typedef struct di_source di_source;
struct di_source {
    void *self;
    int32_t kind;        /* DISTILL_DENSE for dense and hidden; else what it is */
    int64_t width;       /* columns of the strip (vocab_size of the model) */
    int64_t vocab_valid; /* columns that count */
    double temperature;  /* already in it; 1 = none */
    int32_t has_entropy; /* SAMPLED: of what was drawn from */
    double rounding;     /* how far the values of a sparse target may be off, relatively; 0 = as floats are */
    /* gradient() reads logits; otherwise they may be overwritten by dlogits (soft-caps need them) */
    int32_t needs_logits;
    int32_t (*rows)(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                    dk_error *err);
    /* NULL = its logits serve every temperature. Else what it says at one does not tell what it says at another:
     * rows() is at `temperature`, and this fills strips [n] with log p at temperatures [n], instead of rows() for that
     * range. */
    int32_t (*rows_at)(void *self, int64_t first, int64_t count, int64_t n, const double *temperatures,
                       const dk_view *strips, dk_error *err);
    int32_t (*gradient)(void *self, int64_t first, int64_t count, dk_view logits, dk_view dlogits, dk_error *err);
    /* Or NULL: where dlogits of a range are written in BF16 instead, for gradient() to be called with; strip is where
     * the logits are, which are needed no more. An absent view = nowhere. */
    dk_view (*halves)(void *self, int64_t first, int64_t count, dk_view strip);
    /* Or NULL: rows that lie in the host's memory as fp32, evenly apart, are read there, and their gradient is written
     * there instead of rows() and gradient(). 0 = these do not; gradient->data NULL = is to be given as ever. */
    int32_t (*place)(void *self, int64_t first, int64_t count, di_host_rows *values, di_host_rows *gradient);
};

/* The one number of a row that a target may have beside its ids: TOPK the tail, SAMPLED the entropy; NULL = none. */
static inline const distill_tensor *di_target_beside(const distill_target *target)
{
    return target->kind == DISTILL_TOPK ? target->tail : target->kind == DISTILL_SAMPLED ? target->entropy : NULL;
}
static inline void di_target_set_beside(distill_target *target, const distill_tensor *beside)
{
    target->tail = target->kind == DISTILL_TOPK ? beside : NULL;
    target->entropy = target->kind == DISTILL_SAMPLED ? beside : NULL;
}

/* ---- checks; messages name the argument ---- */
/* struct_size of a sized struct: not NULL, at least `least` bytes */
int32_t di_check_struct(const void *structure, const char *name, size_t least, dk_error *err);
/* An older caller's batch is shorter: what it does not have is not said. */
int32_t di_take_batch(const distill_batch *given, const char *name, distill_batch *out, dk_error *err);
/* pointers, offsets ascending, ids in range, rows ascending and inside */
int32_t di_check_batch(const distill_batch *batch, int64_t vocab_size, dk_error *err);
/* ndim, dtype (code, bits), device, strides; shape[i] < 0 = any. */
int32_t di_check_tensor(const distill_tensor *tensor, const char *name, int32_t ndim, const int64_t *shape,
                        int32_t writable, dk_error *err);
/* int32 or int64 */
int32_t di_check_ids(const distill_tensor *tensor, const char *name, int32_t ndim, const int64_t *shape, dk_error *err);
int32_t di_check_temperature(double temperature, const char *name, dk_error *err); /* of a target; 0 = none */
/* rows < 0 = any */
int32_t di_check_target(const distill_target *target, const char *name, int64_t rows, dk_error *err);
int64_t di_batch_rows(const distill_batch *batch); /* row_count, or what NULL rows mean */
/* [di_batch_rows]: fills the implied rows */
void di_batch_row_places(const distill_batch *batch, int64_t *places);

/* ---- tensors <-> memory ---- */
/* Copies rows [first, first+count) of a [rows, width] tensor (fp32, fp16, bf16, fp64; any strides) into compact
 * fp32. */
void di_tensor_read_rows(const distill_tensor *tensor, int64_t first, int64_t count, float *out);
/* The same for an int32 or int64 [rows] or [rows, width] tensor. DK_E_INVALID names an entry that int32 does not
 * hold. */
int32_t di_tensor_read_ids(const distill_tensor *tensor, const char *name, int64_t first, int64_t count, int32_t *out,
                           dk_error *err);
/* Writes (add: adds) compact fp32 rows into an fp32 tensor with positive strides. */
void di_tensor_write_rows(const distill_tensor *tensor, int64_t first, int64_t count, const float *rows, int32_t add);
/* The first row of [first, first + count) of an fp32 tensor that holds an infinity or NaN; -1 = none. */
int64_t di_tensor_not_finite(const distill_tensor *tensor, int64_t first, int64_t count);
/* rows of an fp32 tensor of one or two dimensions */
void di_tensor_zero(const distill_tensor *tensor, int64_t first, int64_t count);
/* compact, on the CPU; shape is borrowed */
distill_tensor di_tensor_of(void *data, int32_t code, int32_t bits, int32_t ndim, const int64_t *shape);

/* ---- a caller's target as a source: DENSE and HIDDEN give logits, other kinds compact fp32 and int32 tensors ---- */
typedef struct di_wrapped di_wrapped;
typedef struct di_wrapped_spec {
    const distill_target *target;      /* checked by di_check_target; borrowed */
    const char *name;                  /* for messages */
    const int64_t *places;             /* [rows] rows of the tensors that the source's rows stand for; borrowed */
    int64_t rows, max_count;           /* no range is longer than max_count */
    const distill_tensor *grad_values; /* NULL = not wanted; fp32. Rows that are not in places are left alone */
    const distill_tensor *grad_head, *grad_bias;
    int32_t add_values, add_head; /* add to what is there */
    int32_t in_place;             /* dense rows and their gradient are used where they lie, and never copied */
} di_wrapped_spec;
int32_t di_wrapped_create(dk_backend *backend, const di_wrapped_spec *spec, di_wrapped **out, dk_error *err);
void di_wrapped_free(di_wrapped *wrapped);
const di_source *di_wrapped_source(const di_wrapped *wrapped);
/* gradients of head and bias that went to a buffer reach their tensors */
int32_t di_wrapped_finish(di_wrapped *wrapped, dk_error *err);
int64_t di_target_width(const distill_target *target); /* columns of its logits; 0 where it has none */
int32_t di_wrapped_needs_logits(const distill_target *target);
/* For each of max_count, beside the strips: in a buffer, and elsewhere. */
int64_t di_wrapped_buffer_row(const distill_target *target, int32_t with_gradient);
int64_t di_wrapped_row_bytes(const distill_target *target);

/* ---- sparse targets as compact fp32 and int32 rows: every number is looked at before a loss sees it ---- */
typedef struct di_sparse_check di_sparse_check;
typedef struct di_sparse_rules {
    int64_t vocab;          /* ids from here on are unknown to one side; at most what create was told */
    int64_t first;          /* row 0 of the target is this one of the batch */
    const int64_t *numbers; /* what messages call the batch's rows; NULL = 0, 1, 2, ... */
    double rounding;        /* of di_source */
} di_sparse_rules;
int32_t di_sparse_check_create(dk_host *host, int64_t vocab, di_sparse_check **out, dk_error *err);
void di_sparse_check_free(di_sparse_check *check);
int32_t di_sparse_check_row(di_sparse_check *check, const distill_target *target, int64_t index,
                            const di_sparse_rules *rules, dk_error *err);

/* "DENSE", "TOPK", ... for messages; bits of 1 << kind as "DENSE, HIDDEN". */
const char *di_kind_name(int32_t kind);
void di_kind_names(int64_t bits, dk_strbuf *out);

#endif
