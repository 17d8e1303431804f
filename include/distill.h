/* distill.h - distil large language models into small ones, in your process.
 *
 * Copyright (c) 2026 the libdistill authors. MIT licence, see LICENSE.
 *
 * WHAT IT IS
 *   Knowledge moves from a *teacher* (anything that scores tokens) into a *student* (a model that can be trained). A
 *   *dataset* is a source of samples, a *loss* says how far the student is from the teacher, a *trainer* brings the
 *   four together. All handles are opaque; everything tunable is an *option* with a name, the same in C, in a YAML
 *   recipe, on the command line and in Python: distill_option_at lists them, `distill options` prints the list.
 *
 *       distill_env *env;  distill_options *options;  distill_trainer *trainer;  distill_error err;
 *       if (distill_env_create(NULL, &env, &err) || distill_options_create(env, &options, &err) ||
 *           distill_options_load(options, "recipe.yaml", &err) ||
 *           distill_trainer_create(env, NULL, NULL, NULL, NULL, options, &trainer, &err) ||
 *           distill_trainer_run(trainer, &err))
 *           fprintf(stderr, "%s\n", err.message);
 *
 * RULES FOR EVERY FUNCTION
 *   Parameters   object, inputs, outputs, err. A const object may be used by many threads at once; a non-const one by
 *                one thread at a time, any thread. A student held by a trainer counts as that trainer: a second trainer
 *                gets DISTILL_E_BUSY.
 *   Status       0 (DISTILL_OK) or a negative DISTILL_E_*. err may be NULL; otherwise it is written on success too
 *                (code 0, empty message). Messages are one line: what, where, the value, the bound, the way out.
 *   Ownership    *Returned with ownership*: `X **out`, freed by you with X_free. *Borrowed for the call*: every pointer
 *                you pass in, unless its comment says otherwise. *Borrowed until ...*: pointers that you get, with
 *                their end. _free takes NULL and never fails; handles keep what they need alive, so free in any order.
 *   Failure      Wrong arguments leave every output untouched. A call that fails while running leaves the contents of
 *                tensors unspecified and other outputs untouched; a training step that fails or is cancelled leaves
 *                weights, optimiser state and cursor as before it.
 *   Text out     (buf, cap, needed): needed (or NULL) gets the bytes including the NUL; a short buf gives
 *                DISTILL_E_BUFFER. buf NULL with cap 0 asks for the size, which is then no failure.
 *   Structs      struct_size first (DISTILL_INIT sets it and zeroes the rest; zero means default). They only grow at
 *                the end, by pointers and 8-byte scalars. distill_error and distill_tensor are frozen and have no size.
 *   Ids, rows    Token ids are int32_t. Row i is the distribution of the token that follows position i; labels[i] is
 *                that token. Nothing in the library shifts labels, and nothing masks by token id.
 *   Shapes       Written [rows, columns], row-major unless strides say otherwise; strides count elements.
 *   Callbacks    Run on the thread that called the library, unless the table has DISTILL_CB_MT. No lock is held.
 *                Calling back into the same handle gives DISTILL_E_REENTRANT, except getters and cancel. No exception,
 *                no longjmp may leave a callback. Return DISTILL_CB_*; any other value stops the call with
 *                DISTILL_E_CALLBACK and stands in err->user_code. `destroy` runs exactly once: on replace, with the
 *                last reference, and when the call that was to take the table over fails. Buffers handed to a callback
 *                are the library's, valid during it.
 *   Manners      No globals, no environment variables, no signal handlers, no output, no exit. Memory goes through the
 *                env's allocator, except what libyaml, jansson, PCRE2 and CBLAS take for themselves. Matrix products
 *                are formed by kernels of the library's own, in the env's threads, where the processor has AVX2 or
 *                more; else, and where distill_env_set_products says so, by CBLAS. That is called by one thread at a
 *                time and its thread count is never changed: distill_env_set_threads does not reach it. A host that
 *                wants one core there sets CBLAS's own count, too, before the first call: OPENBLAS_NUM_THREADS=1 or
 *                openblas_set_num_threads(1), MKL_NUM_THREADS, BLIS_NUM_THREADS.
 *   Arithmetic   Rounds to nearest, keeps denormals and never traps, whatever the calling thread has set; that thread
 *                has its own environment back on return. Callbacks run in the library's and leave it as it is.
 *   fork         A child may use and free the handles that it inherits, if no other thread was inside a call on them;
 *                it makes workers of its own. A child made inside a callback may only exec or _exit.
 *   Mapped files A model or token file opened with mmap raises SIGBUS if another process truncates it; the options
 *                teacher.mmap and student.mmap read it into memory instead.
 *   Stability    Nothing is promised before version 1.0.0; from then on SONAME libdistill.so.1 keeps every name and
 *                layout. */
#ifndef DISTILL_H
#define DISTILL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define DISTILL_API __declspec(dllimport)
#elif defined(__GNUC__)
#define DISTILL_API __attribute__((visibility("default")))
#else
#define DISTILL_API
#endif

/* Zeroes a sized struct and sets its struct_size: `distill_sample s; DISTILL_INIT(&s);` */
#define DISTILL_INIT(p) (memset((p), 0, sizeof *(p)), (void)((p)->struct_size = (uint32_t)sizeof *(p)))

#define DISTILL_VERSION "0.1.0"
#define DISTILL_ABI_VERSION 1000 /* 1000 * major + level; a level adds functions */

/* ---- handles ----------------------------------------------------------------------------------------------------- */

/* what the process lends: memory, log, threads; and the losses known by name */
typedef struct distill_env distill_env;
typedef struct distill_options distill_options;     /* a tree of named values, checked against one table */
typedef struct distill_tokenizer distill_tokenizer; /* text <-> ids; immutable */
typedef struct distill_teacher distill_teacher;     /* anything that scores tokens */
typedef struct distill_student distill_student;     /* a model that can be trained */
typedef struct distill_dataset distill_dataset;     /* a source of samples */
typedef struct distill_loss distill_loss;           /* one loss, or a weighted sum of them */
typedef struct distill_trainer distill_trainer;     /* the four together, and the optimiser */
typedef struct distill_meter distill_meter;         /* what work costs while it runs */
typedef struct distill_session distill_session;     /* a model that answers: its keys and values, and where it stands */
typedef struct distill_report distill_report;       /* read-only results: numbers by name, JSON as a whole */

/* ---- codes: explicit, in blocks, never reused -------------------------------------------------------------------- */

enum {
    DISTILL_OK = 0,
    DISTILL_E_INVALID = -100,     /* an argument is wrong */
    DISTILL_E_OPTION = -101,      /* an option is unknown or its value out of bounds */
    DISTILL_E_STAGE = -102,       /* not in this phase of the handle */
    DISTILL_E_REENTRANT = -103,   /* called from inside a callback of the same handle */
    DISTILL_E_BUSY = -104,        /* somebody else holds it */
    DISTILL_E_BUFFER = -105,      /* the buffer is too small; needed says how large */
    DISTILL_E_UNSUPPORTED = -106, /* understood, but not supported; the message lists what is */
    DISTILL_E_NOMEM = -200,       /* out of memory */
    DISTILL_E_IO = -201,          /* the system refused to read or write */
    DISTILL_E_NOT_FOUND = -202,   /* no such file, parameter, key */
    DISTILL_E_FORMAT = -203,      /* a file does not follow its format */
    DISTILL_E_MISMATCH = -204,    /* two things do not belong together */
    DISTILL_E_NUMERIC = -300,     /* NaN or infinity where a number must be */
    DISTILL_E_CALLBACK = -301,    /* a callback failed; err->user_code is what it returned */
    DISTILL_E_CANCELLED = -302,   /* stopped by cancel or by a callback */
    DISTILL_E_END = -303,         /* no more: the last step, sample, strip or option was before */
    DISTILL_E_INTERNAL = -900     /* a defect of the library: please report it */
};

/* What a callback returns. Any other value is a failure of its own. */
enum {
    DISTILL_CB_OK = 0,
    DISTILL_CB_DEFAULT = 1, /* a loss: compute the fallback instead, for these rows */
    DISTILL_CB_CANCEL = 2,  /* stop cleanly: the call returns DISTILL_E_CANCELLED */
    DISTILL_CB_END = 3      /* a dataset: there is no such sample */
};

enum { DISTILL_CB_MT = 1 }; /* flag of a table: may be called from several threads at once */

enum { DISTILL_LOG_ERROR = 1, DISTILL_LOG_WARN = 2, DISTILL_LOG_INFO = 3, DISTILL_LOG_DEBUG = 4 };

/* dtype_code and device_type of distill_tensor: DLPack's numbers. */
enum { DISTILL_INT = 0, DISTILL_UINT = 1, DISTILL_FLOAT = 2, DISTILL_BFLOAT = 4 };
enum { DISTILL_CPU = 1, DISTILL_CUDA = 2 };

/* ---- errors and tensors: frozen layouts -------------------------------------------------------------------------- */

/* 512 bytes, yours, written only by the library, needs no initialisation. */
typedef struct distill_error {
    int32_t code;      /* as returned */
    int32_t user_code; /* DISTILL_E_CALLBACK: what the callback returned */
    int64_t
        position; /* byte offset or line in the file, or number of the sequence, that the message names; -1 = none */
    char message[496]; /* one line, UTF-8, NUL-terminated; empty on success */
} distill_error;

/* A view of memory, the layout of DLPack 1.x's DLTensor. Inputs may have any strides (zero = broadcast), outputs
 * positive ones. dtype_lanes is 1. Only DISTILL_CPU is taken today. */
typedef struct distill_tensor {
    void *data;
    int32_t device_type;
    int32_t device_id;
    int32_t ndim;
    uint8_t dtype_code;
    uint8_t dtype_bits;
    uint16_t dtype_lanes;
    const int64_t *shape;   /* [ndim] */
    const int64_t *strides; /* [ndim], in elements; NULL = row-major and compact */
    uint64_t byte_offset;
} distill_tensor;

/* ---- batches and targets ----------------------------------------------------------------------------------------- */

/* Ragged token sequences, no padding: sequence s is ids[offsets[s] .. offsets[s+1]). */
typedef struct distill_batch {
    uint32_t struct_size;
    uint32_t flags;         /* 0 */
    const int32_t *ids;     /* [offsets[sequences]] */
    const int64_t *offsets; /* [sequences + 1], offsets[0] = 0 */
    /* [row_count] ascending places in ids whose next token is asked for; NULL = all but the last of each sequence */
    const int64_t *rows;
    const float *weights; /* [row_count] weight of each row, >= 0; NULL = 1 */
    int64_t sequences;
    int64_t row_count; /* ignored while rows is NULL */
    /* [sequences] where samples are from, and their field `teacher`, for routes; NULL, an entry NULL or "" = not said
     */
    const char *const *sources;
    const char *const *tags;
} distill_batch;

/* Places inside a model, which losses on features (docs/losses.md) compare. */
enum {
    DISTILL_TAP_OUTPUT = 1,  /* of a block: [tokens, hidden_size] */
    DISTILL_TAP_FINAL = 2,   /* behind the last norm: what the head reads */
    DISTILL_TAP_QUERIES = 3, /* of a block, as they enter the product, behind norms and rotations */
    DISTILL_TAP_KEYS = 4,
    DISTILL_TAP_VALUES = 5
};
typedef struct distill_tap { /* one of them in a model of the host's own */
    uint32_t struct_size;
    int32_t kind;  /* DISTILL_TAP_* */
    int64_t layer; /* block, from 0; of FINAL ignored */
    int64_t width; /* numbers of a token there */
    int64_t
        heads; /* of QUERIES, KEYS, VALUES: heads of width / heads each; 0 = not said, and no loss on heads takes it */
    int64_t window; /* of QUERIES: so many keys are seen by a token, itself included; 0 = all before it */
    double scale;   /* of QUERIES: of their products with keys; 0 = 1 / sqrt(width / heads) */
    double softcap; /* of QUERIES: scores are softcap * tanh(score / softcap); 0 = none */
} distill_tap;

/* What a model says about rows; also the student's side of a loss (DENSE or HIDDEN). Absent parts are NULL. Never
 * renormalised: a target that carries temperature T is used at T or refused. */
enum {
    DISTILL_DENSE = 1,   /* logits */
    DISTILL_TOPK = 2,    /* log-probabilities of k ids and of the rest together */
    DISTILL_SAMPLED = 3, /* ids drawn from p, with counts */
    DISTILL_HIDDEN = 4,  /* hidden state after the final norm, and the head that makes logits of it */
    DISTILL_ONE_HOT = 5  /* one id */
};
typedef struct distill_target {
    uint32_t struct_size;
    int32_t kind; /* DISTILL_DENSE ... */
    /* DENSE logits [rows, vocab]; TOPK log p [rows, k], of mass at most 1; SAMPLED counts [rows, k]; HIDDEN [rows,
     * width] */
    const distill_tensor *values;
    /* TOPK, SAMPLED [rows, k] int32, each id once, unused slots -1; ONE_HOT [rows] */
    const distill_tensor *ids;
    /* TOPK: log of the mass outside ids [rows], 1 together with theirs; NULL = what the k ids leave */
    const distill_tensor *tail;
    const distill_tensor *head; /* HIDDEN: weight [vocab, width] */
    const distill_tensor *bias; /* HIDDEN: [vocab] */
    double logit_scale;         /* HIDDEN: z = softcap(scale*(W h + b)); 0 = 1 */
    double softcap;             /* HIDDEN: cap*tanh(z/cap); 0 = none */
    double temperature;         /* already in the values, 0.001..1000; 0 or 1 = none */
    int64_t vocab_valid;        /* ids from here on are padding, outside both partitions; 0 = full width */
    /* SAMPLED: entropy of what was drawn from, nats, at its temperature [rows]; NULL = not known: then the value of
     * forward_kl is no KL but a soft cross-entropy, and told as "soft_cross_entropy" */
    const distill_tensor *entropy;
} distill_target;

/* ---- versions and introspection ---------------------------------------------------------------------------------- */

DISTILL_API const char *distill_version(void);          /* DISTILL_VERSION of the library that runs */
DISTILL_API int32_t distill_abi_version(void);          /* DISTILL_ABI_VERSION of it */
DISTILL_API const char *distill_strerror(int32_t code); /* static text, never NULL */

enum {
    DISTILL_TYPE_INT = 1,
    DISTILL_TYPE_NUMBER = 2,
    DISTILL_TYPE_TEXT = 3,
    DISTILL_TYPE_PATH = 4, /* in a recipe: relative to the recipe */
    DISTILL_TYPE_CHOICE = 5,
    DISTILL_TYPE_FLAG = 6,
    DISTILL_TYPE_LIST = 7,
    DISTILL_TYPE_MAP = 8
};
enum { DISTILL_OPTION_LIVE = 1, DISTILL_OPTION_SCHEDULE = 2 };
typedef struct distill_option_info {
    uint32_t struct_size;
    int32_t type;             /* DISTILL_TYPE_* */
    const char *name;         /* "train.learning_rate"; all texts are static */
    const char *help;         /* one line */
    const char *default_text; /* as YAML; "" = none */
    const char *choices;      /* CHOICE: separated by '|'; else "" */
    const char *unit;         /* "tokens", "bytes", ... or "" */
    double low;               /* bounds of numbers, both included unless help says otherwise */
    double high;
    /* DISTILL_OPTION_LIVE: may change on a live trainer; DISTILL_OPTION_SCHEDULE: a number, or the numbers of a list,
     * may be {schedule: linear|cosine|step, from, to, steps} */
    int64_t flags;
    /* Where it is read; set elsewhere it is an error. "schedule=linear|wsd": the option of that name beside it has one
     * of these values; "temperature": it is set and not 0; "!eval": it is not set; "/output.path": a whole name.
     * Several, separated by ',': one of them. "" = everywhere. */
    const char *when;
} distill_option_info;
/* The option table, in order. DISTILL_E_END after the last. */
DISTILL_API int32_t distill_option_at(int64_t index, distill_option_info *out, distill_error *err);

/* ---- env --------------------------------------------------------------------------------------------------------- */

typedef void (*distill_destroy_fn)(void *user);
typedef struct distill_allocator {
    uint32_t struct_size;
    uint32_t flags; /* 0 */
    void *user;
    void *(*alloc)(void *user, size_t size, size_t align);          /* any thread; NULL = out of memory */
    void (*free)(void *user, void *ptr, size_t size, size_t align); /* as it was allocated */
    distill_destroy_fn destroy;                                     /* or NULL */
} distill_allocator;
typedef void (*distill_log_fn)(void *user, int32_t level, const char *component, const char *message); /* any thread */
typedef void (*distill_body_fn)(void *context, int64_t begin, int64_t end);
/* Calls body over ranges that cover [0, n), in any order and on any threads, and returns 0 when all are done. Never
 * nested. Any other value stops the call as that of every callback does; a step is undone. */
typedef int32_t (*distill_parallel_fn)(void *user, int64_t n, distill_body_fn body, void *context);

/* The ranks of a job: processes (or threads with an env each) that train one student together, each on its part of
 * every window. The host brings what carries bytes between them: MPI by libdistill_mpi (distill_mpi.h), or
 * torch.distributed, NCCL, Gloo. Bytes alone travel; sums are the library's, in the order of ranks. Called by one
 * thread of the library at a time, by all ranks in the same order. Functions return DISTILL_CB_OK, DISTILL_CB_CANCEL
 * or a code of the host's own, as when another rank is gone: a call that waits for it must not wait for ever. */
typedef struct distill_communicator {
    uint32_t struct_size;
    uint32_t flags; /* 0 */
    void *user;
    distill_destroy_fn destroy;
    int64_t rank; /* from 0 */
    int64_t size; /* of the job */
    /* in [size, bytes_each] -> out [size, bytes_each]: part j goes to rank j. start gives a ticket, which wait ends;
     * in and out stay as they are until then. A few may be under way at once; they are ended in their order. */
    int32_t (*all_to_all_start)(void *user, const void *in, void *out, int64_t bytes_each, int64_t *ticket);
    /* in [bytes_each] -> out [size, bytes_each] */
    int32_t (*all_gather_start)(void *user, const void *in, void *out, int64_t bytes_each, int64_t *ticket);
    int32_t (*wait)(void *user, int64_t ticket);
    int32_t (*broadcast)(void *user, void *data, int64_t bytes, int64_t root); /* data of rank root, to all */
    int32_t (*barrier)(void *user);
    void (*abort)(void *user, const char *message); /* ends all ranks; for the host, the library never calls it */
} distill_communicator;

/* allocator NULL = the C library's. Two envs never see each other. */
DISTILL_API int32_t distill_env_create(const distill_allocator *allocator, distill_env **out, distill_error *err);
DISTILL_API void distill_env_free(distill_env *env);
/* fn NULL = silent, which is the default. */
DISTILL_API int32_t distill_env_set_logger(distill_env *env, int32_t level, distill_log_fn fn, void *user,
                                           distill_destroy_fn destroy, distill_error *err);
/* fn NULL = the library's own pool of max_threads (0 = one per core that the process may use; at most 1024). Before the
 * first handle that computes (teacher, student, dataset, loss, trainer); later it gives DISTILL_E_STAGE. CBLAS's
 * threads, where products are formed by it, are its own, see Manners. */
DISTILL_API int32_t distill_env_set_threads(distill_env *env, int64_t max_threads, distill_parallel_fn fn, void *user,
                                            distill_destroy_fn destroy, distill_error *err);
/* table NULL = alone, which is the default. Before the first handle that computes, later DISTILL_E_STAGE; kept until
 * env_free. With more than one rank every call on a trainer is one of all ranks: they make the same calls, with the
 * same options and data, which is checked, and get the same answers; the output folder is one that all of them see,
 * and rank 0 writes it. So are distill_evaluate, distill_cache_build (the file of one rank, byte for byte; rank 0
 * writes it), distill_dataset_augment (likewise; rank 0 alone reads the input) and distill_plan (of these ranks). What
 * is not shared among ranks is DISTILL_E_UNSUPPORTED by name. */
DISTILL_API int32_t distill_env_set_communicator(distill_env *env, const distill_communicator *table,
                                                 distill_error *err);
/* What forms matrix products, as option compute.products: "auto", which is the default, "cblas", or kernels by name, of
 * which DISTILL_E_UNSUPPORTED names those that this processor or build lacks. Before the env's first model is opened;
 * later DISTILL_E_STAGE, unless it is what it is. distill_inspect without a path tells which it is. */
DISTILL_API int32_t distill_env_set_products(distill_env *env, const char *name, distill_error *err);
/* Any thread, and signal handlers. A level, not an event: while it is on, every long call of the env ends with
 * DISTILL_E_CANCELLED. */
DISTILL_API void distill_env_cancel(const distill_env *env, int32_t on);

/* ---- options ----------------------------------------------------------------------------------------------------- */

/* Keys are dotted, list items go by number: "train.learning_rate", "loss.1.type", "student.layers.0". A section given
 * as a plain value sets its main key: `teacher: DIR` is teacher.path, `loss: forward_kl` is loss.type, `output: DIR` is
 * output.path. Every option stands in docs/options.md, which `distill options --markdown` prints. Create functions copy
 * the sections that they use and ignore the others, so one tree serves all handles; an option of their own sections
 * that nothing would read is an error (DISTILL_E_OPTION). options NULL = all defaults. */
DISTILL_API int32_t distill_options_create(const distill_env *env, distill_options **out, distill_error *err);
DISTILL_API void distill_options_free(distill_options *options);
/* Merges a YAML recipe into the tree. Errors name file and line; nothing is merged then. Paths in it are relative to
 * it. */
DISTILL_API int32_t distill_options_load(distill_options *options, const char *path, distill_error *err);
/* The same from memory; name is used in messages, paths stay as they are. */
DISTILL_API int32_t distill_options_parse(distill_options *options, const char *yaml, size_t size, const char *name,
                                          distill_error *err);
/* yaml_value NULL = back to the default. Unknown keys and values out of bounds give DISTILL_E_OPTION, with the nearest
 * key. */
DISTILL_API int32_t distill_options_set(distill_options *options, const char *key, const char *yaml_value,
                                        distill_error *err);
/* as it is, no YAML */
DISTILL_API int32_t distill_options_set_str(distill_options *options, const char *key, const char *value,
                                            distill_error *err);
DISTILL_API int32_t distill_options_set_i64(distill_options *options, const char *key, int64_t value,
                                            distill_error *err);
DISTILL_API int32_t distill_options_set_f64(distill_options *options, const char *key, double value,
                                            distill_error *err);
/* The value, or the default, as YAML; key "" = all that was set. */
DISTILL_API int32_t distill_options_get(const distill_options *options, const char *key, char *buf, size_t cap,
                                        size_t *needed, distill_error *err);

/* ---- tokenizer --------------------------------------------------------------------------------------------------- */

enum {
    DISTILL_ENCODE_SPECIAL = 1, /* add what the tokenizer adds around a text (BOS, EOS) */
    DISTILL_ENCODE_PLAIN = 2    /* special tokens spelled out in the text are ordinary text */
};
enum { DISTILL_DECODE_SKIP_SPECIAL = 1 }; /* leave special tokens out of the text */
/* path: a folder with tokenizer.json or tokenizer.model, such a model, or a GGUF file, vocabulary-only included.
 * tokenizer_config.json, chat_template.jinja, special_tokens_map.json and added_tokens.json beside it count as in
 * transformers 5; what is not used is a warning. */
DISTILL_API int32_t distill_tokenizer_open(const distill_env *env, const char *path, distill_tokenizer **out,
                                           distill_error *err);
DISTILL_API void distill_tokenizer_free(distill_tokenizer *tokenizer);
/* text: size bytes, any bytes (NUL included). ids [cap]; *needed = how many there are, also when cap is too small
 * (DISTILL_E_BUFFER). Bytes that are not UTF-8 become a token each where the vocabulary has bytes, else U+FFFD. */
DISTILL_API int32_t distill_tokenizer_encode(const distill_tokenizer *tokenizer, const char *text, size_t size,
                                             int32_t flags, int32_t *ids, int64_t cap, int64_t *needed,
                                             distill_error *err);
/* The exact bytes, NUL-terminated; needed counts the NUL. Ids outside the vocabulary give DISTILL_E_INVALID. */
DISTILL_API int32_t distill_tokenizer_decode(const distill_tokenizer *tokenizer, const int32_t *ids, int64_t count,
                                             int32_t flags, char *buf, size_t cap, size_t *needed, distill_error *err);
enum {
    DISTILL_CHAT_ANSWER = 1,  /* the text ends where the assistant begins */
    DISTILL_CHAT_CONTINUE = 2 /* the last message is left open */
};
/* A conversation as text, by the tokenizer's own chat template, rendered as it is; its ids are those of the whole text,
 * encoded with flags 0. messages_json: a JSON array as the chat APIs have it, or an object with "messages", "tools",
 * "chat_template" (chatml, llama2, llama3, mistral, or the text of a template) and "chat_template_kwargs" (variables of
 * the template). A template that asks for the date gets today's, UTC. flags: DISTILL_CHAT_*. */
DISTILL_API int32_t distill_tokenizer_chat(const distill_tokenizer *tokenizer, const char *messages_json, int32_t flags,
                                           char *buf, size_t cap, size_t *needed, distill_error *err);
/* "vocab_size" (largest id + 1), "bos", "eos", "pad", "unk" (-1 = none). */
DISTILL_API int32_t distill_tokenizer_get_i64(const distill_tokenizer *tokenizer, const char *key, int64_t *out,
                                              distill_error *err);

/* ---- teacher ----------------------------------------------------------------------------------------------------- */

/* One token of a generated text. text: size bytes that are complete so far (a character split over tokens comes with
 * its last one, and what may be the beginning of a stop text with what shows that it is none); finished: 0 going on, 1
 * stop token (any end that the tokenizer, config.json, generation_config.json or a GGUF's eos, eot and eom name, or
 * generate.stop_ids), 2 length, 3 stop text (generate.stop), which text leaves out. Return DISTILL_CB_OK or
 * DISTILL_CB_CANCEL. */
typedef int32_t (*distill_token_fn)(void *user, int64_t sequence, int32_t id, double log_prob, const char *text,
                                    size_t size, int32_t finished);

/* The same as a struct, with what distill_teacher_generate_with adds. */
typedef struct distill_token {
    uint32_t struct_size;
    int32_t id;
    const char *text; /* size bytes; borrowed until the callback returns */
    int64_t size;
    double log_prob;
    int64_t finished;       /* as distill_token_fn */
    const int32_t *top_ids; /* [top_count] as many as generate.top_logprobs asks for, the likeliest first; borrowed as
                               text is */
    const float *top_log_probs; /* [top_count] the model's own, as log_prob is */
    int64_t top_count;
    int64_t from_draft;  /* of a session: 1 = proposed by the draft and accepted */
    int64_t nanoseconds; /* of a session: since the token before it, or since next was called for the first one, without
                            what the host did between two calls */
} distill_token;
/* What a text that is being written is told to its host by. All return DISTILL_CB_OK or DISTILL_CB_CANCEL. */
typedef struct distill_writer_callbacks {
    uint32_t struct_size;
    uint32_t flags; /* 0 */
    void *user;
    int32_t (*token)(void *user, int64_t sequence, const distill_token *token);
    /* Or NULL. logits [vocab], vocab_valid of the teacher, of what comes behind ids [count], the sequence with its
       prompt: behind logit_bias and penalties and in front of temperature, to be changed in place; -INFINITY bans an
       id. DISTILL_E_NUMERIC where it leaves NaN, +infinity, or nothing to draw. */
    int32_t (*logits)(void *user, int64_t sequence, const int32_t *ids, int64_t count, float *logits, int64_t vocab);
} distill_writer_callbacks;

/* A teacher of the host's own. score: fill the tensors of out, whose kind and shapes follow `form`, for rows
 * [first_row, first_row + row_count) of the batch; ranges of a batch come in order, each once, beginning at 0 (and once
 * more, from 0 on, where a loss measures first: distill_loss_callbacks). A host that needs the whole batch computes it
 * when first_row is 0. */
typedef struct distill_teacher_callbacks {
    uint32_t struct_size;
    uint32_t flags; /* DISTILL_CB_MT or 0 */
    void *user;
    distill_destroy_fn destroy;
    int32_t (*score)(void *user, const distill_batch *batch, int64_t first_row, int64_t row_count, distill_target *out);
    /* or NULL */
    int32_t (*generate)(void *user, const distill_batch *prompts, const distill_options *options, distill_token_fn emit,
                        void *emit_user);
    /* kind, temperature, vocab_valid, and tensors whose last dimension is vocab, k or width (HIDDEN: head and bias,
       kept); copied */
    const distill_target *form;
    /* Or NULL, for a teacher that takes its time. begin: rows of this batch will be asked for; start on it (a request,
       a thread of the host's) and return at once: a trainer begins batch k+1 before its student works on batch k, and
       other batches may be scored between. end, or NULL: once for each batch begun, when its rows were scored or will
       not be. The batch, pointer and contents, stays from begin to end. There is no helper thread that calls score
       ahead instead: score fills strips of the library, which exist while the student's strip is at work. */
    int32_t (*begin)(void *user, const distill_batch *batch);
    void (*end)(void *user, const distill_batch *batch);
    /* Who this teacher is, for its hash: a name and version that change when its answers do; copied. NULL = its form
       alone, so that two of one form are taken for one: by caches, and when a run goes on. */
    const char *identity;
    /* Or NULL, 0: places inside that losses on features may ask for [tap_count], all of one struct_size; copied. A
       loss that asks for another one is refused by distill_trainer_create. read_tap: all tokens of the batch at one of
       them, by its number here, into values [tokens, width] fp32. It is called once for a batch and a place that is
       asked for, before score. */
    const distill_tap *taps;
    int64_t tap_count;
    int32_t (*read_tap)(void *user, const distill_batch *batch, int64_t tap, const distill_tensor *values);
} distill_teacher_callbacks;

/* path: an HF folder or a GGUF file; NULL = what the options' teacher says. Weights stay mapped in their file's dtype.
 * Section: teacher. */
DISTILL_API int32_t distill_teacher_open(const distill_env *env, const char *path, const distill_options *options,
                                         distill_teacher **out, distill_error *err);
DISTILL_API int32_t distill_teacher_from_callbacks(const distill_env *env, const distill_teacher_callbacks *table,
                                                   const distill_options *options, distill_teacher **out,
                                                   distill_error *err);
/* Sees the student's weights as they are at each call. */
DISTILL_API int32_t distill_teacher_from_student(const distill_student *student, distill_teacher **out,
                                                 distill_error *err);
/* A teacher that is part of another one. */
typedef struct distill_member {
    uint32_t struct_size;
    uint32_t flags;                 /* 0 */
    const distill_teacher *teacher; /* kept alive by what is made of it */
    const char *name;               /* in messages; ties go to the first by name; NULL = its number; copied */
    double weight;                  /* all members 0 = equal shares; else >= 0 and together 1; 0 = not asked */
    double temperature;             /* on top of the loss's: softmax(z / (T * temperature)); 0 = 1 */
} distill_member;
/* Several teachers as one, a teacher like any other: members [count], all of one struct_size, with equal tokenizers.
 * Of logits (DENSE, HIDDEN) it gives log-probabilities, formed at the temperature at which it is asked: at each of a
 * loss's once; by distill_teacher_score at 1. With TOPK members, in mode linear, it gives TOPK targets of the ids that
 * all of them list, at their temperature; with SAMPLED ones draws of all. A single member of weight 1 and temperature 1
 * is that teacher. Weights that change over a training are in the options: blend.weights, one for each member in this
 * order (theirs are 0 then), or schedule, by which they are learned from in turn; outside of a training they are those
 * of step 0. Section: teacher (blend.mode, ...; not blend.of and schedule.N.teacher). */
DISTILL_API int32_t distill_teacher_blend(const distill_env *env, const distill_member *members, int64_t count,
                                          const distill_options *options, distill_teacher **out, distill_error *err);
/* Which member teaches a sequence of the batch: its number in members; below 0 = the default. source, tag: of its
 * sample, or "". Returns DISTILL_CB_*. Runs on the thread that asks the route; another one that asks it meanwhile gets
 * DISTILL_E_BUSY. */
typedef int32_t (*distill_route_fn)(void *user, const distill_batch *batch, int64_t sequence, const char *source,
                                    const char *tag, int64_t *member);
/* Several teachers of which each sample has one, a teacher like any other. A batch becomes one batch for each member
 * that has samples in it; the others are not asked. Members have equal tokenizers and give one kind of targets (logits:
 * DENSE and HIDDEN); they have no weights. fn NULL = as the options say: route.by, and a source or tag goes to the
 * member of its name, or of the one that route.map gives. What is not routed goes to the member route.default, or is
 * DISTILL_E_NOT_FOUND. Section: teacher (route.by, map, default; not of). */
DISTILL_API int32_t distill_teacher_route(const distill_env *env, const distill_member *members, int64_t count,
                                          distill_route_fn fn, void *user, distill_destroy_fn destroy,
                                          const distill_options *options, distill_teacher **out, distill_error *err);
/* Targets kept in a file (docs/target-cache.md): what path has is read; what it lacks is asked of from and added, which
 * one handle at a time may do, or is DISTILL_E_NOT_FOUND where from is NULL. A file of another teacher, tokenizer,
 * vocabulary, temperature or tier is DISTILL_E_MISMATCH. Callbacks are known by their form, and by their identity if
 * they say one. from is kept alive; the end of what was added is written when the last handle is freed. Section:
 * teacher (cache.tier, ...; not cache.path). */
DISTILL_API int32_t distill_teacher_cached(const distill_env *env, const char *path, const distill_teacher *from,
                                           const distill_options *options, distill_teacher **out, distill_error *err);
DISTILL_API void distill_teacher_free(distill_teacher *teacher);
/* out: kind DENSE with values a writable fp32 tensor [row_count, vocab_size]; filled with logits. vocab_valid is
 * set. NaN or +inf gives DISTILL_E_NUMERIC with the first row; generate and the functions below say so likewise. */
DISTILL_API int32_t distill_teacher_score(const distill_teacher *teacher, const distill_batch *batch,
                                          distill_target *out, distill_error *err);
/* Log-probabilities at temperature (0 = 1) without a [rows, vocab] tensor: rows go by in strips, in double where masses
 * are summed. chosen: NULL, or fp32 [row_count], of the token that follows each row (a row that ends its sequence is
 * E_INVALID). top: NULL, or kind TOPK with tensors of yours, values fp32 and ids int32 [row_count, k], filled with the
 * k likeliest, descending, of equal ones the smaller id first, and tail, NULL or fp32 [row_count], the log of the mass
 * of all others (-inf where k is vocab_valid). top's temperature and vocab_valid are set: it is a target for a loss. */
DISTILL_API int32_t distill_teacher_log_probs(const distill_teacher *teacher, const distill_batch *batch,
                                              double temperature, const distill_tensor *chosen, distill_target *top,
                                              distill_error *err);
/* Continues each sequence of prompts; with generate.samples n, prompt p becomes texts n * p, n * p + 1, ... Section:
 * generate. A text depends on (weights, prompt, seed, its number), not on its neighbours, of which as many are written
 * at once as there is room for. A token is drawn from logits that go through logit_bias, repetition_penalty,
 * presence_penalty, temperature, top_k, top_p and min_p, in this order, which is that of transformers; log_prob is the
 * model's own, before all of them. Weights in Q8_0, Q4_0, Q4_1 and K-quants are multiplied as they are unless
 * generate.quantized says exact, so log_prob of such a model is near what distill_teacher_log_probs says, not equal to
 * it; so it is where generate.precision or generate.cache_type says bf16. A blend writes where its members are models
 * in this process: DISTILL_E_UNSUPPORTED names one that is not. */
DISTILL_API int32_t distill_teacher_generate(const distill_teacher *teacher, const distill_batch *prompts,
                                             const distill_options *options, distill_token_fn fn, void *user,
                                             distill_error *err);
/* The same with a table of callbacks, called by the calling thread. A teacher of callbacks has no logits to change:
 * DISTILL_E_UNSUPPORTED. */
DISTILL_API int32_t distill_teacher_generate_with(const distill_teacher *teacher, const distill_batch *prompts,
                                                  const distill_writer_callbacks *callbacks,
                                                  const distill_options *options, distill_error *err);
/* Returned with ownership. DISTILL_E_NOT_FOUND where it has none. */
DISTILL_API int32_t distill_teacher_tokenizer(const distill_teacher *teacher, distill_tokenizer **out,
                                              distill_error *err);
/* Any local model as new files: at path there may be nothing yet. Section: output (format: hf = a folder, gguf = a
 * file, both = a folder with model.gguf in it; type). In GGUF, matrices whose rows are no whole blocks of q4_k become
 * q5_0 (or f16), which is logged, counted and by name; what GGUF has no key for is E_UNSUPPORTED. */
DISTILL_API int32_t distill_teacher_export(const distill_teacher *model, const char *path,
                                           const distill_options *options, distill_error *err);
/* "vocab_size" (width of its logits), "vocab_valid" (ids from here on are padding: the tokenizer does not know them, so
 * they have no part in losses, evaluations or texts), "hidden_size", "layers", "context_length", "parameters", "bytes"
 * (of the files). */
DISTILL_API int32_t distill_teacher_get_i64(const distill_teacher *teacher, const char *key, int64_t *out,
                                            distill_error *err);

/* ---- session ----------------------------------------------------------------------------------------------------- */

/* Real time: a model with keys and values, into which prompts are appended and which answers token by token. What it
 * writes equals bit for bit what distill_teacher_generate writes behind the same ids with the same options, whatever
 * stood in it before: what a prompt shares with what stands is kept and not read again. A prompt is read when the first
 * token behind it is asked for. A session and its forks are one object: one thread at a time, E_REENTRANT otherwise,
 * but for cancel, and from callbacks the getters. Sessions that were created each by itself go side by side on one
 * model. docs/sessions.md is a guide. */
typedef struct distill_session_stats { /* since it was created, or emptied by distill_session_truncate(s, 0) */
    uint32_t struct_size;
    uint32_t flags;             /* 0 */
    int64_t prompt_tokens;      /* that stood before answers, each time */
    int64_t kept_tokens;        /* of these, found in the cache and not read again */
    int64_t tokens;             /* written */
    int64_t drafted;            /* proposed by the draft */
    int64_t accepted;           /* of these, handed out */
    double first_token_seconds; /* of the last answer: from the first next, its prompt's reading included */
    double token_seconds_p50;   /* between tokens, to within 1 % */
    double token_seconds_p95;
    double token_seconds_p99;
    double cpu_seconds;       /* of all threads of the process in its calls, shared where one writes for several */
    double joules;            /* while it answered, shared likewise; see energy; -1 = not known */
    int64_t context;          /* tokens that it has room for */
    int64_t length;           /* that stand in it: context + 1 where an answer fills it, whose last one is not read */
    int64_t dropped_messages; /* that the last conversation was too long for, where session.overflow allows it */
    double seconds;           /* of its calls that read and wrote */
    int64_t model_tokens;     /* that its models read in every pass, the draft's among them, as distill_cost has them */
    double flops;             /* of those passes */
    int64_t energy;           /* DISTILL_ENERGY_*: an estimate is of cpu_seconds */
    double eur;               /* of joules, at cost.eur_per_kwh; -1 = not known */
    double usd;               /* of model_tokens, at cost.usd_per_million_tokens; -1 = not known */
} distill_session_stats;
enum { /* distill_token.finished */
       DISTILL_FINISHED_STOP = 1,
       DISTILL_FINISHED_LENGTH = 2,
       DISTILL_FINISHED_TEXT = 3,
       DISTILL_FINISHED_BEFORE = 4,   /* of distill_session_next_many: its answer had ended already; id -1 */
       DISTILL_FINISHED_CANCELLED = 5 /* the same: it was cancelled by distill_session_cancel; id -1 */
};
/* draft NULL = none; else a model of the same tokenizer (DISTILL_E_MISMATCH), smaller and faster, which proposes tokens
 * that the model reads in one pass and accepts or not: at temperature 0 the text is the same as without, above it texts
 * have the same distribution. model is a model in this process, or a blend of such, draft a model
 * (DISTILL_E_UNSUPPORTED); both are kept alive. Sections: generate (not samples), session, cost. */
DISTILL_API int32_t distill_session_create(const distill_teacher *model, const distill_teacher *draft,
                                           const distill_options *options, distill_session **out, distill_error *err);
DISTILL_API void distill_session_free(distill_session *session);
/* ids [count] behind what stands; the next token begins another answer. count 0 = the answer behind what stands
 * already, as after one that ended by its length. What has no room is DISTILL_E_INVALID, and nothing changes. */
DISTILL_API int32_t distill_session_append(distill_session *session, const int32_t *ids, int64_t count,
                                           distill_error *err);
/* flags: DISTILL_ENCODE_*. A text goes on where another one ended. */
DISTILL_API int32_t distill_session_append_text(distill_session *session, const char *text, size_t size, int32_t flags,
                                                distill_error *err);
/* The conversation as it is to stand, as distill_tokenizer_chat takes it; flags DISTILL_CHAT_*, 0 = ANSWER. What it
 * shares with what stands already is kept, the rest is cut off and read. One that leaves no room for an answer (as long
 * as generate.max_tokens, or a quarter of the context) loses its oldest turns where session.overflow is `oldest`, never
 * system messages and the last turn; else it is DISTILL_E_INVALID where it has no room itself. */
DISTILL_API int32_t distill_session_chat(distill_session *session, const char *messages_json, int32_t flags,
                                         distill_error *err);
/* logits [vocab] of the next token, as distill_writer_callbacks has them; ids that stand are asked for by
 * distill_session_ids. Returns DISTILL_CB_*. */
typedef int32_t (*distill_logits_fn)(void *user, const distill_session *session, float *logits, int64_t vocab);
/* fn NULL = none. A fork has none of its own until it is given one. While there is one, nothing is drafted. */
DISTILL_API int32_t distill_session_on_logits(distill_session *session, distill_logits_fn fn, void *user,
                                              distill_destroy_fn destroy, distill_error *err);
/* Section generate anew, from the next answer on, which the next token begins; options NULL = defaults. Precision and
 * quantized stay as they are. */
DISTILL_API int32_t distill_session_configure(distill_session *session, const distill_options *options,
                                              distill_error *err);
/* One token; what out points to is borrowed until the next call. DISTILL_E_END after the last of an answer: appending
 * begins another. DISTILL_E_CANCELLED ends the answer, what was written stands. */
DISTILL_API int32_t distill_session_next(distill_session *session, distill_token *out, distill_error *err);
/* next until the end. What fn returns other than DISTILL_CB_OK stops it, with DISTILL_E_CANCELLED or _CALLBACK; a later
 * call goes on with the answer. */
DISTILL_API int32_t distill_session_generate(distill_session *session, distill_token_fn fn, void *user,
                                             distill_error *err);
/* One pass over the weights for several sessions of one family, each named once: a session and its forks. outs
 * [count], all of one struct_size: a token of each; id -1 and finished 0 = it still reads its prompt, which goes in
 * pieces beside the others; id -1 and finished BEFORE or CANCELLED = it has no answer any more. DISTILL_E_END where
 * that goes for all. What each of them writes does not depend on the others. */
DISTILL_API int32_t distill_session_next_many(distill_session *const *sessions, int64_t count, distill_token *outs,
                                              distill_error *err);
/* Forgets all but the first tokens that stand. */
DISTILL_API int32_t distill_session_truncate(distill_session *session, int64_t tokens, distill_error *err);
/* A second session that stands where this one does, in the middle of an answer, too, and goes its own way from there:
 * what both have in common lies in memory once. Its options are the same until it is configured, its stats begin anew.
 * At most session.places of one family: DISTILL_E_BUSY beyond. */
DISTILL_API int32_t distill_session_fork(const distill_session *session, distill_session **out, distill_error *err);
/* Ids that stand in it, prompts and answers; *needed = how many, DISTILL_E_BUFFER where cap is less. */
DISTILL_API int32_t distill_session_ids(const distill_session *session, int32_t *ids, int64_t cap, int64_t *needed,
                                        distill_error *err);
/* Shares what energy went since the last call out among all sessions of the family, so it writes to them, const or
 * not: it belongs to the thread that works with that family's sessions, and no lock keeps another one out. */
DISTILL_API int32_t distill_session_get_stats(const distill_session *session, distill_session_stats *out,
                                              distill_error *err);
/* Any thread, and signal handlers. A level, as distill_env_cancel: while it is on, next ends with
 * DISTILL_E_CANCELLED. */
DISTILL_API void distill_session_cancel(const distill_session *session, int32_t on);

/* ---- student ----------------------------------------------------------------------------------------------------- */

/* How a student is to write (train.on_policy). */
typedef struct distill_writing {
    uint32_t struct_size;
    uint32_t flags; /* 0 */
    int64_t vocab;  /* ids below it alone */
    double temperature;
    double top_p;
    int64_t seed;        /* of the draws: the same for the same step, another one for another */
    const int64_t *most; /* [sequences] tokens of each text at most, 1 or more */
} distill_writing;

/* A student of the host's own: the trainer asks for rows, gives back gradients, and says when to update.
 * forward: fill out (as `form` says: DENSE, or HIDDEN with the head given in form) for a range of rows, as a teacher's
 * score does. backward: gradient [row_count, width of values], of the *sum* of the loss, for the rows last asked for.
 * apply: one update; multiply accumulated gradients by scale (1 / sum of weights of the window, clipping is the
 * host's). Then they start from zero again. discard: forget gradients gathered since the last apply (a step failed or
 * was cancelled). save, load: weights and optimiser state in a folder. */
typedef struct distill_student_callbacks {
    uint32_t struct_size;
    uint32_t flags; /* 0 */
    void *user;
    distill_destroy_fn destroy;
    int32_t (*forward)(void *user, const distill_batch *batch, int64_t first_row, int64_t row_count,
                       distill_target *out);
    int32_t (*backward)(void *user, int64_t first_row, int64_t row_count, const distill_tensor *gradient);
    int32_t (*apply)(void *user, int64_t step, double learning_rate, double scale);
    int32_t (*discard)(void *user);
    int32_t (*save)(void *user, const char *folder);
    int32_t (*load)(void *user, const char *folder);
    const distill_target *form; /* copied */
    /* Or NULL, 0: as a teacher's. tap_gradient: gradient [tokens, width] fp32 of the *sum* of the losses on features
       with respect to what read_tap gave for this batch; zero where no position has a loss. Of each batch first all
       places that are asked for are read, then their gradients come, then forward and backward of its rows. */
    const distill_tap *taps;
    int64_t tap_count;
    int32_t (*read_tap)(void *user, const distill_batch *batch, int64_t tap, const distill_tensor *values);
    int32_t (*tap_gradient)(void *user, const distill_batch *batch, int64_t tap, const distill_tensor *gradient);
    /* Or NULL: without it train.on_policy is refused. A text behind each prompt by the weights as they stand, at least
       one token each, handed to emit in order (text NULL, size 0; finished 0 going on, 1 a token that ends texts, 2 so
       many as it may have). What emit returns other than DISTILL_CB_OK is to be returned. For a run that was stopped to
       go on bit for bit it has to be a function of weights, prompts and how. */
    int32_t (*generate)(void *user, const distill_batch *prompts, const distill_writing *how, distill_token_fn emit,
                        void *emit_user);
} distill_student_callbacks;

/* All below: section student. Opened from an HF folder or a GGUF file. */
DISTILL_API int32_t distill_student_open(const distill_env *env, const char *path, const distill_options *options,
                                         distill_student **out, distill_error *err);
/* Fresh weights from a config.json; a pure function of (config, student.init_std, train.seed). tokenizer is kept and
 * saved with it. */
DISTILL_API int32_t distill_student_create(const distill_env *env, const char *config_path,
                                           const distill_tokenizer *tokenizer, const distill_options *options,
                                           distill_student **out, distill_error *err);
/* A copy of the teacher that keeps the blocks of student.layers (default: every second, first and last kept; auto:N and
 * student.heads, hidden_size, intermediate_size: those that matter most on the text that data.train names);
 * embeddings, norms and head are copied. */
DISTILL_API int32_t distill_student_derive(const distill_teacher *teacher, const distill_options *options,
                                           distill_student **out, distill_error *err);
DISTILL_API int32_t distill_student_from_callbacks(const distill_env *env, const distill_student_callbacks *table,
                                                   const distill_options *options, distill_student **out,
                                                   distill_error *err);
DISTILL_API void distill_student_free(distill_student *student);
/* A folder (config.json, model.safetensors, tokenizer files; or model.gguf, or both), written beside and renamed.
 * Section: output (format, type; auto = as the teacher is stored). */
DISTILL_API int32_t distill_student_save(const distill_student *student, const char *path,
                                         const distill_options *options, distill_error *err);
/* Keys as distill_teacher_get_i64 has them, and "trainable_parameters". */
DISTILL_API int32_t distill_student_get_i64(const distill_student *student, const char *key, int64_t *out,
                                            distill_error *err);
/* Returned with ownership. DISTILL_E_NOT_FOUND where it has none. */
DISTILL_API int32_t distill_student_tokenizer(const distill_student *student, distill_tokenizer **out,
                                              distill_error *err);
/* The parameter that makes logits (a tied one has the embedding's name), borrowed until the student is freed; NULL: the
 * head is the host's own. */
DISTILL_API const char *distill_student_head_name(const distill_student *student);
enum { DISTILL_WEIGHT = 1, DISTILL_GRADIENT = 2 };
/* Borrowed until the student is freed; NULL after the last. A tied head appears once, under the embedding's name. */
DISTILL_API const char *distill_student_parameter_name(const distill_student *student, int64_t index);
/* A view, borrowed until the next step or free. Gradients exist once a trainer holds the student, and not for frozen
 * parameters (DISTILL_E_NOT_FOUND). */
DISTILL_API int32_t distill_student_parameter(distill_student *student, const char *name, int32_t which,
                                              distill_tensor *out, distill_error *err);
/* Say so after writing weights through a view. */
DISTILL_API int32_t distill_student_weights_changed(distill_student *student, distill_error *err);

/* ---- dataset ----------------------------------------------------------------------------------------------------- */

enum { DISTILL_SAMPLE_TOKENS = 1, DISTILL_SAMPLE_TEXT = 2, DISTILL_SAMPLE_JSON = 3 }; /* JSON: one line of JSONL */
typedef struct distill_sample {
    uint32_t struct_size;
    int32_t kind;
    const int32_t *ids; /* TOKENS [count] */
    const char *text;   /* TEXT, JSON: size bytes */
    int64_t count;
    int64_t prompt_count; /* the first prompt_count tokens are not learnt */
    int64_t size;
    const uint8_t *learn; /* TOKENS [count] or NULL: 1 = token i is to be predicted; stands beside prompt_count */
    double weight;        /* of each of its positions; 0 = 1 */
} distill_sample;
typedef struct distill_dataset_callbacks {
    uint32_t struct_size;
    uint32_t flags; /* DISTILL_CB_MT or 0 */
    void *user;
    distill_destroy_fn destroy;
    /* Random access: out arrives initialised; what it points to must live until the next call. DISTILL_CB_END past the
       end. */
    int32_t (*get)(void *user, int64_t index, distill_sample *out);
    int64_t count; /* how many there are; -1 = a stream, read in order and not shuffled */
} distill_dataset_callbacks;

/* What a sequence of a pair is (samples with chosen and rejected, docs/preference-pairs.md). */
enum { DISTILL_CHOSEN = 1, DISTILL_REJECTED = 2 };

/* A file of text, JSONL, a JSON array of samples or tokens; text inside gzip or zstd too. path NULL = data.train of the
 * options, which may be several sources mixed by weight (data.mix). tokenizer: kept; NULL where the samples are tokens.
 * Section: data. Batches are a pure function of (data, seed, step). */
DISTILL_API int32_t distill_dataset_open(const distill_env *env, const char *path, const distill_tokenizer *tokenizer,
                                         const distill_options *options, distill_dataset **out, distill_error *err);
/* Copied. rows, if given, are the positions whose next token is learnt. */
DISTILL_API int32_t distill_dataset_from_tokens(const distill_env *env, const distill_batch *tokens,
                                                const distill_options *options, distill_dataset **out,
                                                distill_error *err);
DISTILL_API int32_t distill_dataset_from_callbacks(const distill_env *env, const distill_dataset_callbacks *table,
                                                   const distill_tokenizer *tokenizer, const distill_options *options,
                                                   distill_dataset **out, distill_error *err);
DISTILL_API void distill_dataset_free(distill_dataset *dataset);
/* "samples"; of them "skipped" (too long), "truncated", "split" (cut into several windows, nothing lost), "no_labels"
 * (nothing is learnt), "lost_labels" (of these: because they were truncated); "lost_tokens", "lost_learnt" (tokens that
 * are gone, and those to be learnt): of a stream, so far. "pairs" (of chosen and rejected), "tokens", "learnt" (tokens
 * with loss), "windows", "max_length"; "stream" (1 or 0). -1 where a stream does not know. */
DISTILL_API int32_t distill_dataset_get_i64(const distill_dataset *dataset, const char *key, int64_t *out,
                                            distill_error *err);
/* The handle's own cursor (a trainer keeps its own): the next training window as TOKENS, borrowed until the next call.
 * DISTILL_E_END at the end of the epoch: after as many windows as there are. */
DISTILL_API int32_t distill_dataset_next(distill_dataset *dataset, distill_sample *out, distill_error *err);
/* cursor as text */
DISTILL_API int32_t distill_dataset_tell(const distill_dataset *dataset, char *buf, size_t cap, size_t *needed,
                                         distill_error *err);
/* "" = the beginning */
DISTILL_API int32_t distill_dataset_seek(distill_dataset *dataset, const char *cursor, distill_error *err);

/* ---- loss -------------------------------------------------------------------------------------------------------- */

/* p teacher, q student, T temperature. forward_kl = KL(p||q) with the teacher's entropy, T^2 applied to value and
 * gradient unless loss.t_squared is off (Hinton et al. 2015); cross_entropy = -log q[label] at T = 1; docs/losses.md
 * has all of them, their formulas, gradients, options (loss.jsd.teacher_weight) and the targets that they take. A loss
 * gives one value per row and its gradient; the library masks, weights, multiplies by T^2, sums and counts. The
 * mean is sum / weight_sum. Where the student gives probability 0 to what the target holds possible, a built-in loss
 * fails and names the row (DISTILL_E_NUMERIC); so does any loss where the value of a row, or its gradient as it is
 * written, is more than fp32 holds, and where what gradients add up to is (ADD_VALUES, products with a head). Presets
 * (trl-gkd, distillkit, msswift-topk, verl-trunc) are losses as another tool computes them, to compare numbers with
 * it: sum and gradients are divided as that tool does, weight_sum is 1, weights are 0 or 1, and only distill_loss_eval
 * takes them. */
enum {
    DISTILL_LOSS_MT = 1, /* may be called from several threads at once, each with rows of its own */
    /* wants log q and log p at the temperature and gives dL/dlog q; the library does the rest */
    DISTILL_LOSS_LOG_PROBS = 2,
    DISTILL_LOSS_WHOLE_SEQUENCES = 4 /* all rows of a sequence come in one call */
};
typedef struct distill_loss_rows {
    uint32_t struct_size;
    uint32_t flags;
    int64_t rows;
    int64_t vocab;                /* valid width; rows are contiguous at this width */
    const float *student;         /* [rows, vocab] logits; with LOG_PROBS log q at the temperature */
    const float *teacher;         /* the same of the teacher; NULL where its target is not dense or hidden */
    const distill_target *target; /* the teacher's rows as they came; NULL without a teacher */
    const int32_t *labels;        /* [rows] or NULL */
    const int64_t *sequences;     /* [rows] number of the sequence that the row belongs to */
    double *value;                /* out [rows], zeroed */
    float *gradient;              /* out [rows, vocab], zeroed: d value / d student as given; NULL = not wanted */
    double temperature;
    int64_t step;
    const float *weights;        /* [rows] */
    const double *sequence_sums; /* [sequence_count, sums] of what measure gave; NULL without one, and in it */
    int64_t sequence_count;      /* of the batch; sequences are numbers below it */
} distill_loss_rows;
typedef struct distill_loss_callbacks {
    uint32_t struct_size;
    uint32_t flags; /* DISTILL_LOSS_* */
    void *user;
    distill_destroy_fn destroy;
    int32_t (*eval)(void *user, const distill_loss_rows *rows); /* masked rows never reach it */
    const char *fallback; /* the loss that DISTILL_CB_DEFAULT runs; NULL = none; copied */
    int64_t targets;      /* bit set of 1 << DISTILL_<kind> that it accepts; 0 = needs no teacher */
    /* Or NULL, 0: for a loss whose rows hang on what a whole sequence says, or on two sequences. measure sees all rows
       of the batch (a micro-batch, a call) before eval sees the first, as eval does but with value and gradient NULL,
       and gives `sums` numbers, 1 to 64, for each: out [rows, sums], zeroed. The library adds them up over the rows of
       a sequence that are not masked, weights left out; eval finds them in sequence_sums, and its gradient is that of
       all values of the batch, each times its row's weight, divided by the weight of the row at hand. */
    int32_t (*measure)(void *user, const distill_loss_rows *rows, double *out);
    int64_t sums;
} distill_loss_callbacks;
/* From now on the options may say loss.type: name; a name is given once, and none that is built in. A loss of
 * one's own, half the squared distance of the logits:
 *
 *     static int32_t squared(void *user, const distill_loss_rows *r) {
 *         for (int64_t i = 0; i < r->rows * r->vocab; i++) {
 *             double d = r->student[i] - r->teacher[i];
 *             r->value[i / r->vocab] += d * d / 2;                 // one value per row
 *             if (r->gradient) r->gradient[i] = (float)d;         // of that value; weights and means are the library's
 *         }
 *         return DISTILL_CB_OK;
 *     }
 *     distill_loss_callbacks table;  DISTILL_INIT(&table);
 *     table.eval = squared;  table.targets = 1 << DISTILL_DENSE;   // asks for a teacher, as logits
 *     distill_env_add_loss(env, "squared", &table, &err);
 *     distill_options_set(options, "loss.type", "squared", &err);  */
DISTILL_API int32_t distill_env_add_loss(distill_env *env, const char *name, const distill_loss_callbacks *table,
                                         distill_error *err);
/* name NULL = what the options' section loss says, hard_label_weight included. An option of a loss that is not asked
 * for is refused. */
DISTILL_API int32_t distill_loss_create(const distill_env *env, const char *name, const distill_options *options,
                                        distill_loss **out, distill_error *err);
DISTILL_API void distill_loss_free(distill_loss *loss);

enum { DISTILL_ADD_VALUES = 1, DISTILL_ADD_HEAD = 2 }; /* add to grad_values; to grad_head and grad_bias */
typedef struct distill_loss_args {
    uint32_t struct_size;
    uint32_t flags;
    const distill_target *student;     /* DENSE or HIDDEN (fused with the head: no [rows, vocab] tensor is made) */
    const distill_target *teacher;     /* NULL = labels alone */
    const distill_tensor *labels;      /* [rows] int32 or int64, < 0 = masked; NULL = none */
    const distill_tensor *weights;     /* [rows] float >= 0, 0 = masked; NULL = 1 */
    const distill_tensor *grad_values; /* out or NULL: shape of student->values, fp32; may lie in their place */
    const distill_tensor *grad_head;   /* out or NULL: [vocab, width] */
    const distill_tensor *grad_bias;   /* out or NULL: [vocab] */
    const distill_tensor *row_values;  /* out or NULL: [rows], unweighted; 0 where masked */
    double grad_scale;                 /* gradients are of the sum, times this; 0 = 1 */
    int64_t step;                      /* for schedules; >= 0 */
    double sum;                        /* out: weighted sum of the rows' values */
    int64_t count;                     /* out: rows that were not masked */
    double weight_sum;                 /* out: sum of their weights, the divisor */
    /* out: log-probabilities of the teacher that were raised to loss.log_floor; of logit_mse and logit_cosine logits of
     * -inf that were left out; of dkd rows whose label is beyond the vocabulary, which add 0 */
    int64_t floored;
    /* [rows] int32 or int64 or NULL = one: the sequence of each row, from 0 on, no less than the row's before it and at
     * most one more */
    const distill_tensor *sequences;
    /* bytes that the call takes at most beside its tensors, one row at least; 0 = 64 MiB, and 32 for each row */
    int64_t memory;
    double divisor; /* of presets alone: what their tool is told to divide by (num_items_in_batch); 0 = its count */
    /* [sequences] fp32 or NULL, for a loss that compares pairs (dpo), which takes sequence 2i as chosen and 2i + 1 as
     * rejected: log-probabilities of the sequences by the reference (NULL = 0), and with loss.dpo.label teacher by the
     * teacher. weight_sum is that of the pairs then, each of which has the weight of its rows. */
    const distill_tensor *reference;
    const distill_tensor *preference;
} distill_loss_args;
/* Stateless; needs nothing but the loss. Inputs are fp32, fp16, bf16 or fp64; strides as they are, positive ones of
 * outputs. No output lies over an input or another one, but for grad_values in the place of values. A head or bias, and
 * the gradient of one, that is not compact or must be widened (a head with a gradient is to be fp32) is copied beside
 * args.memory. */
DISTILL_API int32_t distill_loss_eval(const distill_loss *loss, distill_loss_args *args, distill_error *err);

/* ---- trainer ----------------------------------------------------------------------------------------------------- */

enum {
    DISTILL_PHASE_LOADING = 1,
    DISTILL_PHASE_TRAINING = 2,
    DISTILL_PHASE_EVALUATING = 3,
    DISTILL_PHASE_SAVING = 4,
    DISTILL_PHASE_CACHING = 5,
    DISTILL_PHASE_AUGMENTING = 6 /* done, total: samples; tokens: generated so far */
};
typedef struct distill_progress {
    uint32_t struct_size;
    int32_t phase;
    int64_t step;   /* steps done */
    int64_t steps;  /* of how many */
    int64_t tokens; /* seen in this run */
    int64_t count;  /* positions with loss in the last window */
    double loss;    /* mean over the last window */
    double learning_rate;
    double grad_norm; /* before clipping */
    double tokens_per_second;
    double seconds_left; /* of the run; < 0 = unknown */
    double weight_sum;   /* divisor of the last window */
    /* of the phase at hand: held-out windows, bytes of the files being saved. Files are saved whole: what the callback
     * answers while done is above 0 in DISTILL_PHASE_SAVING is not heeded. */
    int64_t done;
    int64_t total; /* of how many; 0 = not counted */
    int64_t stage; /* of distill_run with stages, from 1; 0 = a run by itself */
    int64_t stages;
    const char *stage_name; /* NULL = none; borrowed until the callback returns */
    int64_t term_count;     /* terms of the loss; what follows is borrowed until the trainer is used again */
    const char *const
        *term_names;            /* [term_count] "forward_kl(T=2)"; of a teacher that gives draws "soft_cross_entropy" */
    const double *term_weights; /* [term_count] of the last window, where they are schedules */
    const double *term_values;  /* [term_count] means over its positions, without the weights; of dpo over its pairs */
    int64_t generated;          /* tokens that the student wrote itself and was trained on so far (train.on_policy) */
    double on_policy_share;     /* probability that the next window is one of these; 0 = none is */
    int64_t pairs;              /* of a loss that compares them, in the last window */
    double pair_accuracy;       /* share of these whose chosen side has the higher reward */
    double pair_margin;         /* by how much, on average: beta * (log q/r of chosen - log q/r of rejected) */
} distill_progress;
typedef int32_t (*distill_progress_fn)(void *user, const distill_progress *progress);

/* NULL handle = opened as the options say (teacher.path, student.*, data.train, data.eval); eval stays NULL where
 * neither names one. Everything is checked, planned and allocated here; what is wrong with a recipe is said now, not
 * after an hour. Handles are kept alive; the student is held until the trainer is freed. Sections: all. */
DISTILL_API int32_t distill_trainer_create(const distill_env *env, const distill_teacher *teacher,
                                           distill_student *student, const distill_dataset *train,
                                           const distill_dataset *eval, const distill_options *options,
                                           distill_trainer **out, distill_error *err);
DISTILL_API void distill_trainer_free(distill_trainer *trainer);
/* Changes options that are marked live; another one in the tree that differs gives DISTILL_E_STAGE. */
DISTILL_API int32_t distill_trainer_configure(distill_trainer *trainer, const distill_options *options,
                                              distill_error *err);
/* Called after every step and at least every two seconds in other phases. DISTILL_CB_CANCEL stops the run. */
DISTILL_API int32_t distill_trainer_on_progress(distill_trainer *trainer, distill_progress_fn fn, void *user,
                                                distill_destroy_fn destroy, distill_error *err);
/* To the end, with evaluations, checkpoints and output: output.path gets the student, metrics.jsonl, result.json, and
 * checkpoints/ as train.checkpoint_every and train.checkpoint_minutes say. Cancelled: finishes the step, saves a
 * checkpoint, returns DISTILL_E_CANCELLED. A failed step leaves a checkpoint of the weights before it. Without
 * output.path nothing is written. */
DISTILL_API int32_t distill_trainer_run(distill_trainer *trainer, distill_error *err);
/* Goes on from the newest whole checkpoint below output.path; DISTILL_E_NOT_FOUND where there is none. Before run or
 * step. */
DISTILL_API int32_t distill_trainer_resume(distill_trainer *trainer, distill_error *err);
/* One optimiser step. DISTILL_E_END after the last. */
DISTILL_API int32_t distill_trainer_step(distill_trainer *trainer, distill_progress *out, distill_error *err);

/* Pull mode: the host owns the loop. forward (one micro-batch: both trunks), then one of three:
 *   - distill_loss_eval on the hidden states (forward.student, forward.teacher), then backward with their gradient.
 *     The head is the host's then: its gradient goes into the head's parameter, or the head learns nothing;
 *   - next_rows until DISTILL_E_END: logits of a strip of rows, over which the host writes their gradient; the
 *     next call sends it back through the head; then backward with NULL;
 *   - backward with NULL straight away: the trainer's own loss.
 * Then apply, once per window. Gradients are of the *sum* of the loss; apply divides once by the window's sum of
 * weights. A whole loop by hidden states:
 *
 *     distill_tensor head;  distill_forward f;  distill_loss_args a;  distill_progress p;
 *     DISTILL_INIT(&f);  DISTILL_INIT(&a);  DISTILL_INIT(&p);
 *     distill_trainer_student(trainer, &student, &err);
 *     while ((rc = distill_trainer_forward(trainer, 0, &f, &err)) == DISTILL_OK) {   // DISTILL_E_END after the last
 *         distill_student_parameter(student, HEAD, DISTILL_GRADIENT, &head, &err);
 *         a.student = f.student;  a.teacher = f.teacher;  a.labels = f.labels;  a.weights = f.weights;
 *         a.grad_values = &gradient;                      // yours: fp32 [f.rows, width], overwritten
 *         a.grad_head = &head;  a.flags = DISTILL_ADD_HEAD;   // adds: a window has several micro-batches
 *         if ((rc = distill_loss_eval(loss, &a, &err)) ||
 *             (rc = distill_trainer_backward(trainer, &gradient, a.sum, &err))) break;
 *         if (f.micro_batch + 1 == f.micro_batches && (rc = distill_trainer_apply(trainer, &p, &err))) break;
 *     }
 *
 * HEAD names the parameter that makes logits: distill_student_head_name. examples/c/pull_mode.c is this loop, and the
 * one by strips, with an optimiser of its own. */
enum { DISTILL_FORWARD_NO_TEACHER = 1 };
typedef struct distill_forward { /* views, borrowed until the next call on the trainer */
    uint32_t struct_size;
    uint32_t flags;
    const distill_batch *batch;      /* the micro-batch */
    const distill_target *student;   /* HIDDEN with head (or DENSE for a student of callbacks) of the rows with loss */
    const distill_target *teacher;   /* HIDDEN or as the teacher gives it; NULL without one */
    const distill_tensor *labels;    /* [rows] int32 */
    const distill_tensor *weights;   /* [rows] float */
    int64_t rows;                    /* rows with loss in this micro-batch */
    int64_t micro_batch;             /* number in the window */
    int64_t micro_batches;           /* in the window: apply is due after the last */
    double weight_sum;               /* of this micro-batch */
    const distill_tensor *sequences; /* [rows] int64: the sequence of the batch that each is of */
    int64_t sequence_count;
} distill_forward;
typedef struct distill_strip { /* rows [first_row, first_row + rows) of the micro-batch; views until the next call */
    uint32_t struct_size;
    uint32_t flags;
    /* [rows, vocab] logits at stride; write dL/dlogits (of the sum, weights included) over them */
    float *student;
    const float *teacher;  /* [rows, vocab] logits at stride, or NULL */
    const int32_t *labels; /* [rows] */
    const float *weights;  /* [rows] */
    /* the teacher's rows where they are not logits; of a blend kind, temperature and vocab_valid alone, its
       log-probabilities at that temperature, the loss's, stand in teacher; else NULL */
    const distill_target *target;
    int64_t first_row;
    int64_t rows;
    int64_t vocab;          /* valid width */
    int64_t student_stride; /* elements between rows */
    int64_t teacher_stride;
    double loss; /* in, with the next call: the host's loss of this strip, for progress; or 0 */
} distill_strip;
/* DISTILL_E_END after the last window */
DISTILL_API int32_t distill_trainer_forward(distill_trainer *trainer, int32_t flags, distill_forward *out,
                                            distill_error *err);
/* strip: DISTILL_INIT before the first call, then handed in again as it is. */
DISTILL_API int32_t distill_trainer_next_rows(distill_trainer *trainer, distill_strip *strip, distill_error *err);
/* gradient: dL/d forward.student->values, of the sum; NULL = by next_rows, or the trainer's own loss. loss: its sum,
 * for progress (ignored for the own loss). */
DISTILL_API int32_t distill_trainer_backward(distill_trainer *trainer, const distill_tensor *gradient, double loss,
                                             distill_error *err);
/* Divides, clips, updates; next forward begins a window. With train.optimizer none the averaged, clipped gradients stay
 * until then for the host's optimiser. */
DISTILL_API int32_t distill_trainer_apply(distill_trainer *trainer, distill_progress *out, distill_error *err);

/* A checkpoint folder: weights, optimiser state, cursor, options; written beside and renamed. */
DISTILL_API int32_t distill_trainer_save(const distill_trainer *trainer, const char *path, distill_error *err);
/* Bitwise as if never interrupted on the same build, machine, CBLAS and thread counts; otherwise a warning goes to the
 * log. */
DISTILL_API int32_t distill_trainer_load(distill_trainer *trainer, const char *path, distill_error *err);
/* As distill_env_cancel, for this trainer. The unfinished window is undone. */
DISTILL_API void distill_trainer_cancel(const distill_trainer *trainer, int32_t on);
/* returned with ownership */
DISTILL_API int32_t distill_trainer_student(const distill_trainer *trainer, distill_student **out, distill_error *err);
/* What the run achieved so far: as result.json. Returned with ownership. */
DISTILL_API int32_t distill_trainer_report(const distill_trainer *trainer, distill_report **out, distill_error *err);

/* A whole recipe: a run, or stages, one after another, each with its output folder (docs/stages.md). Of stages what is
 * finished stays and what was interrupted goes on, so that the same call again ends what was stopped at any moment; one
 * whose settings or inputs are others than when it was made is DISTILL_E_MISMATCH. Everything that can be known of all
 * of them is checked before the first one runs. fn may be NULL; DISTILL_CB_CANCEL and distill_env_cancel stop as they
 * stop a trainer's run. The report is result.json, of stages {"stages": {NAME: result.json}}. Sections: all. */
enum {
    DISTILL_RUN_RESUME = 1, /* a recipe without stages goes on from its checkpoint, as distill_trainer_resume does */
    DISTILL_RUN_AGAIN = 2   /* a stage whose settings or inputs are others now is made again, over the old one */
};
DISTILL_API int32_t distill_run(const distill_env *env, const distill_options *options, int32_t flags,
                                distill_progress_fn fn, void *user, distill_report **out, distill_error *err);

/* ---- data by the teacher ----------------------------------------------------------------------------------------- */

/* What an operator gives: TEXT or JSON, copied before it returns. Returns DISTILL_CB_*. */
typedef int32_t (*distill_emit_fn)(void *emit_user, const distill_sample *sample);
typedef struct distill_operator_callbacks {
    uint32_t struct_size;
    uint32_t flags; /* DISTILL_CB_MT or 0 */
    void *user;
    distill_destroy_fn destroy;
    /* in: a line of JSON, all fields of the sample with "id" and "provenance". None, one or many are emitted for it:
       what has its id is that sample, anything else came of it. Returns DISTILL_CB_*. */
    int32_t (*apply)(void *user, const distill_sample *in, distill_emit_fn emit, void *emit_user);
} distill_operator_callbacks;
/* From now on a step of augment.steps may be {name: ...}. Kept until env_free. What it gives has to hang on what it is
 * given alone, or a run that was stopped ends with other samples. */
DISTILL_API int32_t distill_env_add_operator(distill_env *env, const char *name,
                                             const distill_operator_callbacks *table, distill_error *err);
/* Samples go through the operators of augment.steps (docs/augmentation.md) and become lines of JSONL at path, each with
 * its provenance. teacher NULL: as sections teacher and teachers say, where an operator asks one. in, path NULL: as
 * augment.in and augment.out say; operators that make samples of nothing need no in. What is written so far stands in
 * PATH.partial, how far it came in PATH.state: a call with the same recipe, teacher and input goes on where an earlier
 * one was stopped or killed, or came to the end of a budget, and ends with the same bytes; another recipe is
 * DISTILL_E_MISMATCH, a finished file DISTILL_E_STAGE without augment.overwrite. fn may be NULL
 * (DISTILL_PHASE_AUGMENTING). out, or NULL: "samples" that came in, "written", "tokens" that were generated, "seconds",
 * "ended" ("whole", or the budget: "tokens", "minutes"), and of each of "steps" "operator", "in", "out" and "counts"
 * of what was dropped, by why. Sections: augment, teachers, teacher, generate, data. */
DISTILL_API int32_t distill_dataset_augment(const distill_env *env, const distill_teacher *teacher, const char *in,
                                            const char *path, const distill_options *options, distill_progress_fn fn,
                                            void *user, distill_report **out, distill_error *err);
/* What that would ask, and take, from a few samples that go through the first steps; nothing is written: "samples",
 * "tried", and "written", "tokens" and "seconds" for all of them; "prompts", the first ones as they would be asked. */
DISTILL_API int32_t distill_dataset_augment_plan(const distill_env *env, const distill_teacher *teacher, const char *in,
                                                 const distill_options *options, distill_report **out,
                                                 distill_error *err);

/* ---- students that are not language models ----------------------------------------------------------------------- */

/* A text as hashed n-grams or as a frozen model's embedding, then one layer, or two: docs/classifiers.md. Immutable
 * once it was trained or opened. */
typedef struct distill_classifier distill_classifier;
typedef struct distill_verdict { /* on a text */
    uint32_t struct_size;
    /* 1: by the held-out texts a cascade that answers such texts by itself agrees with the teacher as
       classifier.agreement says; 0: ask the teacher */
    int32_t sure;
    int64_t answer;    /* number of the likeliest class; of equal ones the first */
    double confidence; /* its probability */
} distill_verdict;

/* Trains one on texts with a teacher's probabilities. samples [count] of kind JSON, all of one struct_size, each an
 * object {"text" or "prompt", "probabilities": {"class": p, ...} or [p, ...], "label", "weight"}: docs/classifiers.md;
 * NULL = files of such lines, as data.train says. flags: DISTILL_RUN_RESUME goes on from the newest checkpoint below
 * output.path. With output.path that folder gets the classifier, metrics.jsonl, checkpoints and result.json; a
 * cancelled training leaves a checkpoint. fn may be NULL. report may be NULL: as result.json. The loss sees classes as
 * it sees ids of a vocabulary. Sections: classifier, data, loss, train, output; what of them is for language models
 * alone is refused. */
DISTILL_API int32_t distill_classifier_train(const distill_env *env, const distill_sample *samples, int64_t count,
                                             const distill_options *options, int32_t flags, distill_progress_fn fn,
                                             void *user, distill_classifier **out, distill_report **report,
                                             distill_error *err);
/* path: the folder of a training or of save. Section: classifier (embedding.path, where that model is now). */
DISTILL_API int32_t distill_classifier_open(const distill_env *env, const char *path, const distill_options *options,
                                            distill_classifier **out, distill_error *err);
DISTILL_API void distill_classifier_free(distill_classifier *classifier);
/* model.safetensors and config.json, each written beside its place and renamed. A folder with another model is
 * refused. */
DISTILL_API int32_t distill_classifier_save(const distill_classifier *classifier, const char *path, distill_error *err);
/* probabilities [cap], at least as many as there are classes, or NULL; out or NULL. A text without any word or sign is
 * E_INVALID. Its speed is that of hashing: microseconds, but for an embedding, whose model reads one text at a time. */
DISTILL_API int32_t distill_classifier_predict(const distill_classifier *classifier, const char *text, size_t size,
                                               float *probabilities, int64_t cap, distill_verdict *out,
                                               distill_error *err);
/* The same of texts [count], on the env's threads: sizes [count], or NULL = each ends with NUL; probabilities [count,
 * classes] or NULL; out [count], all of one struct_size, or NULL. err->position is the text that an error is about. */
DISTILL_API int32_t distill_classifier_predict_many(const distill_classifier *classifier, const char *const *texts,
                                                    const size_t *sizes, int64_t count, float *probabilities,
                                                    distill_verdict *out, distill_error *err);
/* What the teacher of a cascade says of a text that the classifier is not sure of: distill_teacher_choose of the
 * classes behind classifier.question, as it was when the classifier was trained; E_STAGE without one. probabilities
 * [cap]. Section: generate (precision). */
DISTILL_API int32_t distill_classifier_ask(const distill_classifier *classifier, const distill_teacher *teacher,
                                           const char *text, size_t size, const distill_options *options,
                                           double *probabilities, int64_t cap, distill_error *err);
/* Borrowed until the classifier is freed; NULL after the last. */
DISTILL_API const char *distill_classifier_class_name(const distill_classifier *classifier, int64_t index);
/* "classes", "inputs", "hidden", "parameters", "bytes" (of its tensors in files), "temperature", "agreement" (promised;
 * 0 = nothing), "threshold" (of the confidence; above 1 = the teacher is always asked), "coverage" (share of the
 * held-out texts that it answers by itself). */
DISTILL_API int32_t distill_classifier_get_f64(const distill_classifier *classifier, const char *key, double *out,
                                               distill_error *err);
/* What it is: "classes", "inputs", "promise", "held_out", ... Returned with ownership. */
DISTILL_API int32_t distill_classifier_report(const distill_classifier *classifier, distill_report **out,
                                              distill_error *err);
/* On a file of texts with probabilities: "measured" (agreement with an interval, forward_kl, calibration_error),
 * "cascade" (coverage, agreement and its lower bound). */
DISTILL_API int32_t distill_classifier_evaluate(const distill_classifier *classifier, const char *path,
                                                distill_report **out, distill_error *err);
enum {
    DISTILL_CHOOSE_CHAT = 1,     /* the prompt is what a user says, in the teacher's own chat template */
    DISTILL_CHOOSE_PER_TOKEN = 2 /* choices are compared by the mean over their tokens, not by the sum */
};
/* Which of some answers a teacher finds likely: probabilities [count] of choices [count] behind a prompt, of these
 * alone, from the log-probabilities of their tokens. Two choices of which one begins with the other are E_INVALID; a
 * teacher without logits or tokenizer E_UNSUPPORTED. Section: generate (precision). */
DISTILL_API int32_t distill_teacher_choose(const distill_teacher *teacher, const char *prompt, size_t size,
                                           int32_t flags, const char *const *choices, int64_t count,
                                           const distill_options *options, double *probabilities, distill_error *err);

/* ---- results ----------------------------------------------------------------------------------------------------- */

/* On held-out data, in non-overlapping windows, first token unscored: "tokens", "perplexity", "nats", "bits_per_byte"
 * (where the data is text), "accuracy" (how often the likeliest token is the true one), "calibration_error" (how far
 * that is from how sure it was: Guo et al. 2017, 15 bins of equal width), and with a teacher "teacher_perplexity",
 * "forward_kl" (mean nats per position), "forward_kl_median", "forward_kl_p99", "top1_agreement" (0..1),
 * "expected_acceptance" (mean sum min(p, q): how likely the teacher would accept a token that the student drafts).
 * teacher may be NULL. A sparse teacher ("teacher_target" says which) is compared on its ids and the rest, at its
 * temperature ("forward_kl_temperature"); it has no perplexity. SAMPLED has no agreement, and "forward_kl" alone
 * (unbiased: of one position it may be below 0) where its entropy is known; where not it has no KL either:
 * "soft_cross_entropy" (-sum of frequency * log q, at "soft_cross_entropy_temperature") is on average that of the
 * distribution. Of a blend of TOPK targets "common_mass" says how much of it lies on those ids (below
 * teacher.blend.min_common_mass is DISTILL_E_MISMATCH, as it is for the window of a trainer). Where the student
 * excludes what the teacher holds possible, log q counts as -100, whatever loss.log_floor says, so that runs can be
 * compared ("floored" counts these). Of a teacher that is made of others "teachers.NAME." has "perplexity", "nats",
 * "forward_kl", "top1_agreement" and "disagreement" (mean Jensen-Shannon with the others) of each alone,
 * "teachers.NAME.sources.SOURCE." the same on each source, "teacher_disagreement" the mean over pairs. "precision" is
 * what products were formed in, "cost" what distill_meter_report says of it. Section: train (loss_memory, eval_tokens,
 * eval_precision), cost. */
DISTILL_API int32_t distill_evaluate(const distill_student *student, const distill_teacher *teacher,
                                     const distill_dataset *data, const distill_options *options, distill_report **out,
                                     distill_error *err);
/* How often a model answers right (docs/evaluation.md): questions of tasks.choices by the likelihood of their
 * choices, of tasks.answers by what it writes, greedily and with up to 256 tokens unless section generate says
 * otherwise. fn may be NULL (DISTILL_PHASE_EVALUATING; done and total count questions). "choices.accuracy" by the sum
 * of log-probabilities, "choices.accuracy_per_token", "choices.accuracy_per_byte" and "choices.chance";
 * "answers.accuracy", "answers.right", "answers.wrong", "answers.unparsed" and "answers.cut" (at
 * generate.max_tokens); of both "scored", "too_long" for the context and, beside each accuracy, accuracy_interval
 * (Clopper and Pearson, 95 %); "cost". Section: tasks, generate, cost. */
DISTILL_API int32_t distill_evaluate_tasks(const distill_teacher *model, const distill_options *options,
                                           distill_progress_fn fn, void *user, distill_report **out,
                                           distill_error *err);
/* Two models side by side, a the one that is imitated (docs/evaluation.md): "a.perplexity", "a.bits_per_byte",
 * "a.calibration_error", "a.parameters", "a.bytes", "a.load_seconds", "a.memory_bytes" (in RAM with the model and an
 * answer), "a.prompt_tokens_per_second", "a.decode_tokens_per_second", "a.first_token_seconds", "a.token_seconds_p50",
 * ..._p95, ..._p99, "a.cpu_seconds_per_1000_tokens", "a.joules_per_1000_tokens" (measured, estimated, or absent with
 * the reason in "a.cost_of_timing"), "a.tasks" where section tasks names files; the same of b; and, where ids mean the
 * same, "between.forward_kl", "between.top1_agreement", "between.expected_acceptance" of b against a, else
 * "between.problem". data: a file, which each model reads with its own tokenizer; NULL = nothing of quality. fn may be
 * NULL (DISTILL_PHASE_EVALUATING). Right where nothing else runs. Section: data, train (eval_tokens, eval_precision,
 * loss_memory), tasks, generate, cost. */
DISTILL_API int32_t distill_compare(const distill_teacher *a, const distill_teacher *b, const char *data,
                                    const distill_options *options, distill_progress_fn fn, void *user,
                                    distill_report **out, distill_error *err);
/* What a run would take, from a few of its steps and a small evaluation, which are forgotten; nothing is written
 * (docs/plan.md): "steps", "tokens_per_second", "parameters", "memory.peak_bytes" (right in a process that did nothing
 * else before), "disk.bytes", "time.seconds", "time.cpu_seconds", "cost.flops", "cost.joules", "cost.eur", "cost.usd",
 * and with a teacher "cache.first_seconds" and "cache.again_seconds" (with a cache that is filled by the run, and with
 * a full one), "cache.without_seconds", "cache.bytes"; "not_planned" lists what is not in it. fn may be NULL
 * (DISTILL_PHASE_LOADING). Stages are E_UNSUPPORTED. Sections: all. */
DISTILL_API int32_t distill_plan(const distill_env *env, const distill_options *options, distill_progress_fn fn,
                                 void *user, distill_report **out, distill_error *err);
/* Rows of data that a target cache lacks, asked of teacher and kept: goes on where an earlier call stopped, and leaves
 * what it has when it is stopped. teacher NULL: as sections teacher and teachers say; data NULL: data.train and what a
 * run would hold out, as section data says; path NULL: the caches that the teacher has, or is made of. fn may be NULL
 * (DISTILL_PHASE_CACHING; done and total count windows). out, or NULL: "windows", "tokens", "rows", "added", "seconds",
 * and for each file of "caches" its "path", "tier", "rows", "bytes". Section: teachers, teacher (cache.tier, ...; not
 * cache.path beside path), data. */
DISTILL_API int32_t distill_cache_build(const distill_env *env, const distill_teacher *teacher,
                                        const distill_dataset *data, const char *path, const distill_options *options,
                                        distill_progress_fn fn, void *user, distill_report **out, distill_error *err);
/* What that would make, from some windows that are asked; nothing is written: of each of "caches" its "path", "tier",
 * "rows" (of the data), "missing" (that the file lacks), "bytes_per_row", "bytes" (of the file then), "there",
 * "index_bytes" (FILE.index), "seconds"; and of all together the same numbers. A cache in a route counts the samples
 * that may come to it. */
DISTILL_API int32_t distill_cache_plan(const distill_env *env, const distill_teacher *teacher,
                                       const distill_dataset *data, const char *path, const distill_options *options,
                                       distill_report **out, distill_error *err);
/* Bytes of a token and KL(teacher || what is read back) of the tiers and some of their settings, teacher.cache's among
 * them, on about `rows` rows of data (0 = all; evenly over it): "tiers", a list of "tier", its settings,
 * "bytes_per_token", "forward_kl" (mean, nats; what top_k does not list shares its tail alike), "forward_kl_max",
 * "gradient_error" (mean of |p - p'|). SAMPLED has no KL: its draws are no distribution, but unbiased. With a student,
 * who may be NULL, also "student.forward_kl", and of each tier "share_of_student". At teacher.cache.temperature.
 * teacher NULL: as the options say, without teacher.cache around it; data NULL: the held-out data of section data, or
 * data.train. */
DISTILL_API int32_t distill_cache_measure(const distill_env *env, const distill_teacher *teacher,
                                          const distill_student *student, const distill_dataset *data, int64_t rows,
                                          const distill_options *options, distill_progress_fn fn, void *user,
                                          distill_report **out, distill_error *err);
/* What into lacks of the files of paths [count], all of one teacher, tier and settings, is added to it. Section:
 * teacher (cache.skip_damaged). */
DISTILL_API int32_t distill_cache_merge(const distill_env *env, const char *const *paths, int64_t count,
                                        const char *into, const distill_options *options, distill_error *err);
/* What a target cache says of itself: "tier" and its settings, hashes of "teacher" and "tokenizer", "rows",
 * "sequences", "blocks", "bytes", "bytes_per_row", and bytes that are "cut_off" at its end, no whole block. */
DISTILL_API int32_t distill_cache_inspect(const distill_env *env, const char *path, distill_report **out,
                                          distill_error *err);
/* The same, with every block and row read: "whole", and where it is not "problem" and "damaged", a list of "block",
 * "offset", "bytes", "problem". A damaged cache is a result, another kind of file an error. */
DISTILL_API int32_t distill_cache_verify(const distill_env *env, const char *path, distill_report **out,
                                         distill_error *err);
/* What a path is (model, classifier, tokenizer, token file, target cache, checkpoint) and whether it is whole; "notes"
 * lists what was read and is not used. path NULL = the library: build, CPU, losses, architectures. */
DISTILL_API int32_t distill_inspect(const distill_env *env, const char *path, distill_report **out, distill_error *err);
/* What this machine can do at most, on the threads of env: what speed is held against (`distill bench`). Measured, in
 * about three seconds and 1 GiB of memory, and right only where nothing else runs. "cpu", "threads", "fp32.flops",
 * "bf16.flops", "int8.ops" (a product and a sum are two; each with "by", the instruction that was fastest; absent where
 * the processor has none), "read.bytes_per_second", "stream.bytes_per_second" (two blocks are read and a third one is
 * written; all three count). */
DISTILL_API int32_t distill_limits(const distill_env *env, distill_report **out, distill_error *err);
/* ---- cost -------------------------------------------------------------------------------------------------------- */

enum { /* where joules come from */
       DISTILL_ENERGY_NONE =
           0, /* nowhere: this system shows no counters, or to root alone; distill_meter_report says */
       DISTILL_ENERGY_MEASURED = 1, /* RAPL: of whole packages, what other processes took meanwhile is in them */
       DISTILL_ENERGY_ESTIMATED = 2 /* cpu_seconds times cost.watts_per_core */
};
typedef struct distill_cost { /* since distill_meter_start */
    uint32_t struct_size;
    int32_t energy; /* DISTILL_ENERGY_* */
    double seconds;
    double cpu_seconds; /* of all threads of the process */
    double joules;      /* -1 = not known, as the three below */
    double idle_watts;  /* before the start, where there are counters */
    double eur;         /* of joules, at cost.eur_per_kwh */
    double usd;         /* of tokens, at cost.usd_per_million_tokens */
    int64_t peak_bytes; /* resident at most since the process began */
    int64_t tokens;     /* that models of this env read or wrote, in every pass */
    double flops;       /* of those passes; what callbacks compute is not in either */
} distill_cost;
/* Where there are energy counters it waits for cost.idle_seconds first, to see what idleness takes. Several meters may
 * run at once. Section: cost. */
DISTILL_API int32_t distill_meter_start(const distill_env *env, const distill_options *options, distill_meter **out,
                                        distill_error *err);
/* Energy counters go round after some 20 minutes of full load: read it more often than that. */
DISTILL_API int32_t distill_meter_read(distill_meter *meter, distill_cost *out, distill_error *err);
/* The same with names and reasons, as "cost" of result.json: "energy" (measured, estimated, none), "energy_of" (the
 * zones that were added), "energy_problem" (why there is none). */
DISTILL_API int32_t distill_meter_report(distill_meter *meter, distill_report **out, distill_error *err);
DISTILL_API void distill_meter_free(distill_meter *meter);

/* dotted key of the JSON */
DISTILL_API int32_t distill_report_get_f64(const distill_report *report, const char *key, double *out,
                                           distill_error *err);
DISTILL_API int32_t distill_report_json(const distill_report *report, char *buf, size_t cap, size_t *needed,
                                        distill_error *err);
/* What a run left in its output folder, also while it trains or after it was stopped: "result" (result.json; null where
 * there is none), "metrics" (a list: the lines of metrics.jsonl, in a long run some of them), "damaged" (its lines that
 * are none: "line", "problem"; "damaged_lines" of them) and "problems". E_NOT_FOUND where there is no run. */
DISTILL_API int32_t distill_report_open(const distill_env *env, const char *path, distill_report **out,
                                        distill_error *err);
/* A page for a browser at path, written beside and renamed: reports [count] of distill_report_open, or of runs
 * (result.json; stages are a run each), which have no curves. One run, or one beside a run on hard labels alone, is
 * shown whole; others are compared. What a run lacks is said. Section: output (language). */
DISTILL_API int32_t distill_report_html(const distill_report *const *reports, int64_t count, const char *path,
                                        const distill_options *options, distill_error *err);
DISTILL_API void distill_report_free(distill_report *report);

#ifdef __cplusplus
}
#endif
#endif
