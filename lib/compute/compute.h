/* compute.h - the only door to arithmetic: an op table with one implementation per device.
 *
 * Here live views and buffers, parameters, products ("linear" objects), and the ops that a decoder, a loss and an
 * optimiser are made of. Models, files, tokens and losses do not live here. Model code never calls cblas or an
 * intrinsic, and never loops over elements; only a backend looks inside a buffer.
 *
 * Ops are enqueued in order on a queue. On a CPU they run at once, a device may run them later; dk_queue_wait() returns
 * the first failure. No op returns a number: sums, norms and flags are one-element views, read with copy_out.
 * Shapes are written [rows, columns]; views are row-major in their last dimension unless an op says otherwise.
 * Every op gives the same bits for any number of threads, except products by CBLAS, which promise what that does.
 *
 * The rows contract: an output depends on its own row and not on how many rows are computed with it.
 *   - Products sum over K in an order that depends on K, dtype and precision alone, for up to backend->invariant_rows
 *     rows at once: a row has the same bits alone and among so many. A backend with kernels of its own promises it for
 *     any number. With CBLAS it ends at a few rows, behind which the number of rows of a call is part of the order; so
 *     whoever wants equal bits computes few rows, or the same rows in the same pieces every time.
 *   - Attention sums over keys in blocks that begin at fixed key indices: in one precision a query has the same bits in
 *     a whole prompt, in a piece of one and alone behind a cache, whatever sequences stand beside it. Keys and values
 *     that it does not see have no say, be they NaN; its gradients, where one of its sequence is, may be.
 *   - All other ops treat each row by itself. Sums over rows (gradients of weights and norms, embed_backward) are
 *     taken in order of the rows.
 *
 * Backends: dk_backend_cpu (our kernels, or cblas, in fp32), dk_backend_reference (plain C, in float and in double; the
 * double one is what every kernel and every finite difference is tested against). */
#ifndef DK_COMPUTE_COMPUTE_H
#define DK_COMPUTE_COMPUTE_H

#include "base/dtype.h"
#include "base/host.h"

/* ---- half precision, buffers, views ---- */
float dk_bf16_to_f32(uint16_t bits);
uint16_t dk_f32_to_bf16(float value); /* round to nearest even; NaN stays NaN */
float dk_f16_to_f32(uint16_t bits);
uint16_t dk_f32_to_f16(float value);
/* n values, whole blocks, as Q8_0, Q4_0, Q5_0 or Q4_K. 0 = another dtype, or values that its blocks cannot hold. */
int32_t dk_blocks_narrow(dk_dtype dtype, const float *x, void *blocks, int64_t n);

typedef struct dk_backend dk_backend;
typedef struct dk_buffer dk_buffer;

typedef struct dk_view {
    dk_buffer *buffer; /* NULL = an absent view */
    int64_t offset;    /* bytes */
    dk_dtype dtype;
    int32_t rank; /* 1..3 */
    int64_t shape[3];
    int64_t stride[3]; /* elements */
} dk_view;

/* Without gaps. Rows of a block-quantised dtype are whole blocks and stay so: what would cut one gives an absent
 * view. */
dk_view dk_view_make(dk_buffer *buffer, int64_t offset, dk_dtype dtype, int32_t rank, const int64_t *shape);
dk_view dk_view_1d(dk_buffer *buffer, int64_t offset, dk_dtype dtype, int64_t n);
dk_view dk_view_2d(dk_buffer *buffer, int64_t offset, dk_dtype dtype, int64_t rows, int64_t columns);
dk_view dk_view_rows(dk_view view, int64_t first, int64_t count);    /* along the first dimension */
dk_view dk_view_columns(dk_view view, int64_t first, int64_t count); /* along the last */
dk_view dk_view_split(dk_view view, int64_t parts);                  /* [r, parts*w] -> [r, parts, w], same memory */
dk_view dk_view_reshape(dk_view view, int32_t rank, const int64_t *shape); /* of a view without gaps */
int64_t dk_view_count(const dk_view *view);                                /* elements; 0 for an absent view */
int32_t dk_view_is_compact(const dk_view *view);                           /* no gaps: one row of all elements */
static inline int32_t dk_view_present(dk_view view) { return view.buffer != NULL; }
static inline dk_view dk_view_none(void) { return (dk_view){0}; }

/* ---- parameters apart from products ----
 * A parameter is owned by its model's table, once even when it is tied. Trainable: value is an fp32 (or, on a double
 * backend, fp64) master and gradient has its shape. Frozen: no gradient; value may be a mapped F32, F16 or BF16
 * tensor, or one in blocks. */
typedef struct dk_packed dk_packed;
typedef struct dk_parameter {
    const char *name; /* as in the file it is saved to */
    dk_view value;    /* 1d, or 2d as the file has it */
    dk_view gradient; /* absent while frozen; ops add to it */
    int32_t unset;    /* gradient is zeros, whatever it holds: set by the op clear, ended by what writes it or settle */
    int64_t version;  /* of value; raised by the op refresh alone */
    int32_t frozen;
    dk_packed *packed; /* the backend's list of the products that it takes part in */
} dk_parameter;

/* What products are computed in. Masters, reductions and losses keep the backend's real whatever this says. */
typedef enum {
    DK_PRECISION_FULL = 0 /* real: fp32, or fp64 in the double reference */,
    DK_PRECISION_BF16 = 1,
    DK_PRECISION_INT8 = 2 /* forward products with weights that dk_is_int8_weight; all others are FULL */
} dk_precision;
static inline int32_t dk_is_int8_weight(dk_dtype dtype) /* what its products multiply as it is: Q2_K to Q6_K, too */
{
    return dtype == DK_Q8_0 || dtype == DK_Q4_0 || dtype == DK_Q4_1 || (dtype >= DK_Q2_K && dtype <= DK_Q6_K);
}
const char *dk_precision_name(dk_precision precision);
/* Refuses by name what the backend's products do not compute in. */
int32_t dk_check_precision(const dk_backend *backend, dk_precision precision, const char *what, dk_error *err);

/* A linear object is a view for products of one or more parameters side by side: y = x W^T + b, its output columns
 * being those of weights[0], weights[1], ... in order (q|k|v, gate|up). in_out = weights are stored [in, out] (GPT-2's
 * Conv1D) instead of [out, in]. The parameters are borrowed and must outlive it.
 *
 * It carries what its backend makes of the parameters: copies packed for each use and precision that the spec names, as
 * of the parameters' versions. Products only read it, so threads that share a const model may run them at once. Whoever
 * writes a value calls refresh; a product of values that moved since is refused. */
typedef struct dk_linear dk_linear;
enum { DK_USE_FORWARD = 1, DK_USE_BACKWARD_INPUT = 2, DK_USE_BACKWARD_WEIGHT = 4, DK_USE_ALL = 7 };
typedef struct dk_low_rank { /* y += scale * (x down^T) up^T; down [rank, in], up [out, rank] (Hu et al. 2021) */
    dk_parameter *down, *up; /* NULL = none for this weight */
    double scale;
} dk_low_rank;
typedef struct dk_linear_spec {
    dk_parameter *const *weights;
    dk_parameter *const *biases; /* NULL = none; else one per weight, entries may be NULL */
    int32_t count;
    int32_t in_out;
    uint32_t uses;               /* DK_USE_* that will be asked for; others are refused */
    uint32_t precisions;         /* 1 << dk_precision likewise; 0 = DK_PRECISION_FULL alone */
    const dk_low_rank *low_rank; /* NULL = none; else one per weight. No backend has them yet: refused */
} dk_linear_spec;

/* ---- arguments of the larger ops ---- */
typedef enum { DK_NORM_RMS = 1, DK_NORM_LAYER = 2 } dk_norm_kind;
typedef struct dk_norm_args { /* over the last dimension of x (rank 2, or rank 3 for norms per head) */
    dk_norm_kind kind;
    double epsilon;
    double weight_offset; /* 1 where the file stores w - 1 */
    dk_view weight;       /* [width]; any float dtype */
    dk_view bias;         /* [width] or absent */
} dk_norm_args;

typedef enum { DK_ACT_SILU = 1, DK_ACT_GELU_TANH = 2, DK_ACT_GELU_ERF = 3, DK_ACT_RELU = 4 } dk_activation;

/* Ragged, causal attention. Sequence s has query rows [query_offsets[s], query_offsets[s+1]) and key rows
 * [key_first[s], key_first[s] + key_count[s]); its last query sees its last key. NULL key arrays = the query rows
 * themselves (no cache). key_pages in the place of key_first: key i of sequence s is row key_pages[s][i / DK_PAGE] *
 * DK_PAGE + i % DK_PAGE, and k and v may be BF16. Query at position i sees keys max(0, i - window + 1)..i; window 0
 * = all. Head h of the queries uses key head h / (heads / kv_heads). Arrays are host memory, read before the call
 * returns. */
#define DK_PAGE 64 /* keys of a page, and of the blocks that attention sums over */
typedef struct dk_attention_args {
    int64_t sequences;
    const int64_t *query_offsets;    /* [sequences + 1] */
    const int64_t *key_first;        /* [sequences] or NULL */
    const int64_t *key_count;        /* [sequences] or NULL */
    const int32_t *const *key_pages; /* [sequences] or NULL */
    int64_t window;
    double scale;   /* of q.k, usually 1/sqrt(head_dim) */
    double softcap; /* cap*tanh(s/cap) on scores; 0 = none */
    /* Of its products; scores, weights and sums stay real. With key_pages they are in full whatever this says: a row
     * alone is no product. */
    dk_precision precision;
} dk_attention_args;

typedef struct dk_linear_end { /* what follows a product y */
    dk_view onto;              /* out = onto + y, which out may be; absent: y is gate|up, */
    dk_activation activation;  /* and out [n, out/2] = act(gate)*up */
    dk_view out;
    int32_t keep; /* y is wanted as well; else nobody knows what it holds afterwards */
} dk_linear_end;

typedef struct dk_adamw_args { /* Loshchilov & Hutter 2019, as torch.optim.AdamW */
    double learning_rate, beta1, beta2, epsilon, weight_decay;
    int64_t step; /* 1 for the first update */
} dk_adamw_args;

/* Temperatures beyond these say nothing that a float could hold: losses refuse them, and sampling below the lower one
 * is greedy. */
#define DK_TEMPERATURE_MIN 1e-3
#define DK_TEMPERATURE_MAX 1e3

typedef struct dk_sample_args {
    double temperature; /* 0 and all below DK_TEMPERATURE_MIN = greedy, ties to the lowest id */
    int64_t top_k;      /* 0 = off */
    double top_p;       /* 1 = off */
    double min_p;       /* 0 = off; of the likeliest one's probability */
    uint64_t seed;
    /* [rows]: which number of its stream each row draws (row r uses stream DK_STREAM_SAMPLE) */
    const uint64_t *counters;
} dk_sample_args;

/* Row r's text is ids[r][0 .. count[r]), of which those from own[r] on were written, the others read. Of an id that it
 * has, however often, a logit above 0 is divided by repetition, another one multiplied (Keskar et al. 2019), and of one
 * that it wrote itself presence is taken off. Bias comes first. */
typedef struct dk_adjust_args {
    const int32_t *bias_ids; /* [bias_count] */
    const double *bias;
    int64_t bias_count;
    double repetition, presence; /* 1 and 0 = off */
    const int32_t *const *ids;   /* [rows] */
    const int64_t *count, *own;  /* [rows] */
} dk_adjust_args;

typedef struct dk_queue dk_queue; /* ops in order, and the first failure; one per thread of control */

/* ---- the op table ----
 * `real` is the backend's dtype of activations and gradients (F32; F64 in the double reference): unless said otherwise
 * views of activations have it. "add" arguments: 0 = overwrite, 1 = add to what is there.
 *
 * To add an op: (1) its line here, (2) its rules as dk_check_<op> in check.h and check_ops.c, (3) the op, plainly, in a
 * part of reference/, (4) the op in cpu/cpu_<theme>.c, with (5) a line in kernels.h and a kernel in kernels/ if it has
 * an inner loop of its own, (6) a case in tests/lib/compute/compute_cases.h, which compares (4) with (3) on every
 * instruction set and differentiates (3). In (3), (4) and (5) the file's last function puts it into the table. */
typedef struct dk_ops {
    /* ---- queues: called by dk_queue_open, dk_queue_wait and dk_queue_close ---- */
    /* queue->backend is set; state is for the backend to set. */
    int32_t (*queue_create)(dk_queue *queue, dk_error *err);
    /* All that was enqueued has run; the first failure is returned and cleared. */
    int32_t (*queue_wait)(dk_queue *queue, dk_error *err);
    void (*queue_free)(dk_queue *queue);

    /* ---- buffers ---- */
    /* Zeroed; large ones in huge pages, touched. dk_buffer_bytes is what they take. */
    int32_t (*buffer_create)(dk_backend *backend, int64_t bytes, dk_buffer **out, dk_error *err);
    /* Borrowed host memory; read-only use if it is. */
    int32_t (*buffer_wrap)(dk_backend *backend, void *data, int64_t bytes, dk_buffer **out, dk_error *err);
    void (*buffer_free)(dk_backend *backend, dk_buffer *buffer);
    /* Host elements of to's dtype, without gaps. They have been read when it returns: the caller may overwrite or free
     * them at once, whenever the copy runs. */
    void (*copy_in)(dk_queue *queue, dk_view to, const void *from);
    /* The same way back; waits for what was enqueued before. */
    void (*copy_out)(dk_queue *queue, dk_view from, void *to);
    /* Host pointer to element 0 where the host can see the buffer, else NULL. */
    void *(*map)(dk_view view);

    /* ---- products ---- */
    int32_t (*linear_create)(dk_backend *backend, const dk_linear_spec *spec, dk_linear **out, dk_error *err);
    void (*linear_free)(dk_backend *backend, dk_linear *linear);
    /* Keeps copies of the weights packed for the uses (FORWARD, BACKWARD_INPUT) that the object was made for, in a
     * precision: products then take these, with the same bits, and refresh brings them up to what weights are. Where a
     * copy saves little (a precision that the weights are multiplied in as they are) and for other backends it does
     * nothing. Once is enough, and threads may ask at once. */
    int32_t (*linear_keep)(dk_backend *backend, dk_linear *linear, dk_precision precision, dk_error *err);
    /* What those copies take, kept already or not. */
    int64_t (*linear_kept_bytes)(const dk_backend *backend, const dk_linear *linear, dk_precision precision);
    /* [n, in] -> [n, out] */
    void (*linear_forward)(dk_queue *queue, const dk_linear *linear, dk_precision precision, dk_view x, dk_view y);
    /* linear_forward and then add or glu, with the bits of these in turn; y is room for what lies between. */
    void (*linear_forward_then)(dk_queue *queue, const dk_linear *linear, dk_precision precision, dk_view x, dk_view y,
                                const dk_linear_end *end);
    /* Here and in linear_backward_weight dy may be BF16 where that is the precision: its bits are what dy would be
     * rounded to. Not of a bias that is trained, which sums it. */
    void (*linear_backward_input)(dk_queue *queue, const dk_linear *linear, dk_precision precision, dk_view dy,
                                  dk_view dx, int32_t add);
    /* Adds to the gradients of weights and biases; frozen ones are passed over. */
    void (*linear_backward_weight)(dk_queue *queue, const dk_linear *linear, dk_precision precision, dk_view x,
                                   dk_view dy);
    /* The gradient is zeros from here on, but may be written only when a product adds to it: whoever else reads it or
     * adds to it calls settle first, which writes what is still owed. */
    void (*clear)(dk_queue *queue, dk_parameter *parameter);
    void (*settle)(dk_queue *queue, dk_parameter *parameter);
    /* The value of a parameter was written: raises its version and brings every packed copy of it up to that. Nothing
     * else may use the parameter meanwhile. */
    void (*refresh)(dk_queue *queue, dk_parameter *parameter);

    /* ---- elementwise and rows ---- */
    void (*fill)(dk_queue *queue, dk_view y, double value);
    /* Copy, strided, any float dtype to any. Blocks become floats, or are copied as they are, in rows without gaps. */
    void (*convert)(dk_queue *queue, dk_view x, dk_view y);
    /* y += a*x */
    void (*axpy)(dk_queue *queue, double a, dk_view x, dk_view y);
    void (*scale)(dk_queue *queue, dk_view y, double a);
    /* y = a + b; y may be a or b. */
    void (*add)(dk_queue *queue, dk_view a, dk_view b, dk_view y);
    /* y[i] = scale*table[ids[i]]; ids I32. */
    void (*embed)(dk_queue *queue, dk_view table, dk_view ids, double scale, dk_view y, int32_t add);
    /* gradient[ids[i]] += scale*dy[i], in order of i. */
    void (*embed_backward)(dk_queue *queue, dk_view gradient, dk_view ids, double scale, dk_view dy);
    /* y[i] = x[rows[i]]; rows I32; any dtype. */
    void (*gather_rows)(dk_queue *queue, dk_view x, dk_view rows, dk_view y);
    /* y[rows[i]] (+)= x[i]; rows distinct. */
    void (*scatter_rows)(dk_queue *queue, dk_view x, dk_view rows, dk_view y, int32_t add);
    /* logits [rows, experts] -> the k highest of each row, highest first, ties to the lowest id: chosen I32 [rows, k],
     * weights [rows, k] = softmax over all experts of these, or over these alone. */
    void (*route)(dk_queue *queue, dk_view logits, int32_t alone, dk_view chosen, dk_view weights);
    /* y[rows[i]] += weights[i]*x[i]; rows distinct; weights [n] real. */
    void (*scatter_weighted)(dk_queue *queue, dk_view x, dk_view rows, dk_view weights, dk_view y);
    /* stats [rows(*heads), 2] real, or absent: mean, 1/deviation. */
    void (*norm)(dk_queue *queue, const dk_norm_args *args, dk_view x, dk_view y, dk_view stats);
    /* dx may be absent. dweight, dbias: added to, or absent. */
    void (*norm_backward)(dk_queue *queue, const dk_norm_args *args, dk_view x, dk_view stats, dk_view dy, dk_view dx,
                          int32_t add, dk_view dweight, dk_view dbias);
    /* x [rows, heads, dim] in place; table F32/real [positions, dims/2, 2] = cos, sin; rotates pairs (i, i + dims/2) of
     * the first dims = 2*table.shape[1] entries; positions I32 [rows]. */
    void (*rope)(dk_queue *queue, dk_view x, dk_view table, dk_view positions, int32_t inverse);
    /* y = act(gate)*up; up absent: y = act(gate). */
    void (*glu)(dk_queue *queue, dk_activation kind, dk_view gate, dk_view up, dk_view y);
    /* dgate may be gate, dup may be up. */
    void (*glu_backward)(dk_queue *queue, dk_activation kind, dk_view gate, dk_view up, dk_view dy, dk_view dgate,
                         dk_view dup);
    /* q, y [rows, heads, dim]; k, v [key rows, kv_heads, dim]; lse [rows, heads] real or absent: log of each row's
     * partition. */
    void (*attention)(dk_queue *queue, const dk_attention_args *args, dk_view q, dk_view k, dk_view v, dk_view y,
                      dk_view lse);
    /* Without a cache; overwrites dq, dk, dv. */
    void (*attention_backward)(dk_queue *queue, const dk_attention_args *args, dk_view q, dk_view k, dk_view v,
                               dk_view y, dk_view lse, dk_view dy, dk_view dq, dk_view dk, dk_view dv);

    /* ---- heads and losses, over [rows, vocab] strips ---- */
    /* z = cap*tanh(scale*z/cap); cap 0: scale*z; in place. */
    void (*softcap)(dk_queue *queue, dk_view z, double scale, double cap);
    /* z as it left softcap; dz in place. */
    void (*softcap_backward)(dk_queue *queue, dk_view z, double scale, double cap, dk_view dz);
    /* y = log softmax(z/T) of the first vocab columns, rest -inf; y may be z. T in DK_TEMPERATURE_MIN..MAX. */
    void (*log_softmax)(dk_queue *queue, dk_view z, int64_t vocab, double temperature, dk_view y);
    /* h [rows, vocab..] = dL/dlog q becomes dL/dz = weights[row]*(h - q*sum(h))/T in place, 0 behind vocab; weights
     * [rows] real or absent = 1. */
    void (*log_softmax_backward)(dk_queue *queue, dk_view log_q, int64_t vocab, double temperature, dk_view weights,
                                 dk_view h);
    /* In place, of the first vocab columns; ids from there on count for nothing. */
    void (*adjust)(dk_queue *queue, const dk_adjust_args *args, dk_view logits, int64_t vocab);
    /* ids I32 [rows] */
    void (*sample)(dk_queue *queue, const dk_sample_args *args, dk_view logits, int64_t vocab, dk_view ids);

    /* ---- optimiser ---- */
    /* sum F64 [1] += sum of x*x, in double, fixed order. */
    void (*sum_squares)(dk_queue *queue, dk_view x, dk_view sum);
    /* norm F64 [1] = sqrt(sum)/divisor; factor F64 [1] = min(1, max_norm/(norm + 1e-6))/divisor; max_norm 0:
     * 1/divisor. */
    void (*clip_factor)(dk_queue *queue, dk_view sum, double divisor, double max_norm, dk_view factor, dk_view norm);
    /* gradient used = g*factor; m and v are real, or both BF16 */
    void (*adamw)(dk_queue *queue, const dk_adamw_args *args, dk_view factor, dk_view p, dk_view g, dk_view m,
                  dk_view v);
    /* adamw on a parameter and its gradient, and then refresh. */
    void (*update)(dk_queue *queue, const dk_adamw_args *args, dk_view factor, dk_parameter *parameter, dk_view m,
                   dk_view v);
} dk_ops;

struct dk_backend {
    const dk_ops *ops;
    dk_host *host;          /* a reference */
    dk_dtype real;          /* DK_F32 or DK_F64 */
    uint64_t reads;         /* 1 << dtype of all that parameters may be stored in; ops refuse the others by name */
    int64_t invariant_rows; /* so many rows of a product have the bits of each alone; INT64_MAX = any number */
    uint32_t precisions;    /* 1 << dk_precision of what its products compute in */
    uint32_t native;        /* of these, what the machine has instructions for: the others are no faster than full */
    int32_t isa;            /* DK_ISA_*: which variant of row kernels to use */
    const char *name;
    const char *products; /* by name, what linear objects made now are multiplied by: never auto */
    void *state;          /* the backend's own */
    void (*destroy)(dk_backend *backend);
};
enum { DK_ISA_PORTABLE = 0, DK_ISA_AVX2 = 1, DK_ISA_AVX512 = 2 };
const char *dk_isa_name(int32_t isa); /* "portable", "avx2", "avx512" */

int32_t dk_backend_cpu(dk_host *host, dk_backend **out, dk_error *err);
/* What linear objects made from now on are multiplied by: "auto", "cblas", or a kernel of ours by the instructions that
 * it is written in, as DK_PRODUCTS lists them. One that this machine or build lacks is UNSUPPORTED. auto takes the best
 * that the processor names, and CBLAS where there is none. Of a CPU backend alone. */
#define DK_PRODUCTS "auto|cblas|amx|avx512_bf16|avx512|avx2|portable"
int32_t dk_backend_set_products(dk_backend *backend, const char *name, dk_error *err);
/* What that would make of backend->products. */
int32_t dk_backend_find_products(const dk_backend *backend, const char *name, const char **found, dk_error *err);
/* real DK_F32 or DK_F64. Slow and plain; for tests. */
int32_t dk_backend_reference(dk_host *host, dk_dtype real, dk_backend **out, dk_error *err);
void dk_backend_free(dk_backend *backend);     /* after everything made by it */
void dk_backend_cblas(char *out, size_t size); /* "OpenBLAS 0.3.21 SkylakeX, 2 threads": what equal bits hang on */

struct dk_queue {        /* where its owner likes: on the stack, in a struct */
    dk_backend *backend; /* NULL = not open */
    dk_error error;      /* the first failure; later ops do nothing */
    void *state;         /* the backend's own */
};
int32_t dk_queue_open(dk_queue *queue, dk_backend *backend, dk_error *err);
int32_t dk_queue_wait(dk_queue *queue, dk_error *err); /* all done; returns and clears the first failure */
void dk_queue_close(dk_queue *queue);                  /* a zeroed or closed one is fine */
int64_t dk_buffer_bytes(int64_t bytes);                /* of a buffer of so many, with what its alignment costs */
/* for backends: keeps the first */
void dk_queue_fail(dk_queue *queue, int32_t code, const char *format, ...) DK_PRINTF(3, 4);

/* ---- arenas: planned once, handed out in order ----
 * Take the same views twice: before dk_arena_commit they only measure (absent buffers), after it they are memory. */
typedef struct dk_arena {
    dk_backend *backend;
    dk_buffer *buffer;
    int64_t used, size; /* bytes */
} dk_arena;
void dk_arena_init(dk_arena *arena, dk_backend *backend);
dk_view dk_arena_take(dk_arena *arena, dk_dtype dtype, int32_t rank, const int64_t *shape); /* 64-byte aligned */
dk_view dk_arena_2d(dk_arena *arena, dk_dtype dtype, int64_t rows, int64_t columns);
int32_t dk_arena_commit(dk_arena *arena, dk_error *err); /* allocates what was measured and rewinds */
void dk_arena_free(dk_arena *arena);

#endif
