/* teacher.h - one interface for everything that scores tokens: a local model, a host's callbacks; composable, since a
 * kind is a table of functions. A teacher is immutable and may be used by many threads; each caller has a session. */
#ifndef DI_TEACHER_TEACHER_H
#define DI_TEACHER_TEACHER_H

#include "options/options.h"
#include "target/taps.h"
#include "text/tokenizer.h"

typedef struct di_teacher di_teacher;
typedef struct di_session di_session;

int32_t di_teacher_open(dk_backend *backend, const char *path, int32_t use_mmap, di_teacher **out, dk_error *err);
int32_t di_teacher_from_callbacks(dk_backend *backend, const distill_teacher_callbacks *table,
                                  const di_options *options, di_teacher **out, dk_error *err);
/* A teacher that looks at a live model. owner is kept (retain/release) as long as the teacher. tokenizer may be
 * NULL. */
int32_t di_teacher_from_model(dk_backend *backend, dk_model *model, dk_tokenizer *tokenizer, void *owner,
                              void (*retain)(void *), void (*release)(void *), di_teacher **out, dk_error *err);
/* The same of weights that a training moves: who it is, for hashes and manifests, is what it is said to be ("average",
 * its decay), whatever they are now. Below decay 0 there is none. */
int32_t di_teacher_live(di_teacher *from_model, const char *what, double decay, dk_error *err);
/* Who reads prefix ids [count] before each sequence, behind the sequence's own bos if it has one; rows are of the
 * sequence alone. */
int32_t di_teacher_prefixed(di_teacher *from, const int32_t *ids, int64_t count, di_teacher **out, dk_error *err);
/* A model from files, of some of its ids alone, which are those of tokenizer: fewer_ids.c */
int32_t di_teacher_of_ids(di_teacher *from, const int64_t *ids, int64_t count, dk_tokenizer *tokenizer,
                          di_teacher **out, dk_error *err);
/* ---- several teachers as one ---- */
typedef enum {
    DI_BLEND_LINEAR,     /* p = sum w_i p_i */
    DI_BLEND_LOG_LINEAR, /* p = product p_i^w_i, renormalised */
    /* one member for each token: */
    DI_BLEND_MAX_CONFIDENCE,
    DI_BLEND_MIN_ENTROPY,
    DI_BLEND_MIN_CROSS_ENTROPY,
    DI_BLEND_STOCHASTIC /* drawn by weight; or for each sequence */
} di_blend_mode;
enum { DI_GIVEN_SEED = 1, DI_GIVEN_COMMON_MASS = 2 };
typedef enum { DI_WEIGH_STATIC, DI_WEIGH_ENTROPY, DI_WEIGH_LABEL, DI_WEIGH_LEARNED } di_weighting;
typedef struct di_blend_settings {
    di_blend_mode mode;
    di_weighting
        weighting; /* w_i times exp(-entropy / softness) or exp(p of the true token / softness), over their sum */
    double softness;
    int32_t per_sequence; /* stochastic */
    uint64_t seed;
    double min_common_mass; /* of TOPK targets */
    int32_t given;          /* DI_GIVEN_*: was set by the user, and is refused where nothing reads it */
    int32_t parallel;       /* passes of members run side by side; the bits are the same */
} di_blend_settings;
typedef struct di_blend_member {
    di_teacher *teacher;
    const char *name;   /* NULL = its number */
    double weight;      /* all 0 = equal shares; else >= 0, together 1; 0 = not asked */
    double temperature; /* p_i = softmax(z_i / (T * temperature)); 0 = 1 */
} di_blend_member;
enum { DI_RAMPS = 2 };
typedef struct di_ramp { /* a weight goes elsewhere */
    int64_t begin;       /* the last step before it does */
    di_course course;    /* constant = it stays */
} di_ramp;
typedef struct di_learning { /* of weights: by exponentiated gradient on held-out text */
    int64_t every, tokens;   /* steps between updates; held-out tokens of one, 0 = all */
    double rate, floor;      /* no weight falls below the floor */
    int64_t count;           /* members; set by the blend */
} di_learning;
typedef struct di_blend_plan { /* weights that do not stay */
    const di_ramp *ramps;      /* [count, DI_RAMPS] of each member, one after the other; NULL = none */
    di_learning learning;      /* where they are learned */
} di_blend_plan;
/* One member that is asked, at temperature 1, is the blend: that teacher itself comes back. */
int32_t di_teacher_blend(dk_backend *backend, const di_blend_member *members, int64_t count,
                         const di_blend_settings *settings, di_teacher **out, dk_error *err);
int32_t di_teacher_blend_planned(dk_backend *backend, const di_blend_member *members, int64_t count,
                                 const di_blend_settings *settings, const di_blend_plan *plan, di_teacher **out,
                                 dk_error *err);
/* ---- each sample by one of several teachers ---- */
typedef enum {
    DI_ROUTE_SOURCE, /* by names, which are members' or in the map: */
    DI_ROUTE_TAG,
    DI_ROUTE_TEACHER, /* the tag, which is a member's name */
    DI_ROUTE_PROMPT_PERPLEXITY,
    DI_ROUTE_CALLBACK
} di_route_by;
typedef struct di_route_name {
    const char *from, *to; /* a source or tag, and the member that teaches it */
} di_route_name;
typedef struct di_route_settings {
    di_route_by by;
    const char *other;  /* the default; NULL = what is not routed is an error */
    di_route_name *map; /* [map_count] */
    int64_t map_count;
    int32_t parallel;    /* as of a blend */
    distill_route_fn fn; /* DI_ROUTE_CALLBACK */
    void *user;
    distill_destroy_fn destroy; /* runs once, also where this fails */
} di_route_settings;
int32_t di_teacher_route(dk_backend *backend, const di_blend_member *members, int64_t count,
                         const di_route_settings *settings, di_teacher **out, dk_error *err);
di_route_by di_route_by_of(const char *name); /* a choice of teacher.route.by */
/* Settings of a route from section teacher, or from an entry of teachers; di_route_settings_free lets map go. */
int32_t di_route_settings_read(dk_host *host, const di_options *options, const char *entry_name, di_route_settings *out,
                               dk_error *err);
void di_route_settings_free(dk_host *host, di_route_settings *settings);
/* E_NOT_FOUND where it is known before anything is asked that a sample of this source and tag has no teacher. */
int32_t di_teacher_check_origin(const di_teacher *teacher, const char *source, const char *tag, dk_error *err);
/* A source or tag that the map of a route names, at any depth, by number; NULL = there is no such one. */
const char *di_teacher_mapped(const di_teacher *teacher, int64_t index, int32_t *is_tag);
/* What sections teacher and teachers name: a model, or a blend of some; *out NULL = nothing. path stands in for
 * teacher.path. */
int32_t di_teacher_from_options(dk_backend *backend, const di_options *options, const char *path, di_teacher **out,
                                dk_error *err);
/* Teachers that are a training's own student: who opens one. which: average or student. */
typedef struct di_self {
    int32_t (*open)(void *user, const char *which, double decay, di_teacher **out, dk_error *err);
    void *user;
} di_self;
int32_t di_teacher_of_training(dk_backend *backend, const di_options *options, const di_self *self, di_teacher **out,
                               dk_error *err);
int32_t di_teacher_names_self(const di_options *options); /* one of them is the student itself */
/* The same to look at: files of caches are read, and none is made or written. */
int32_t di_teacher_look(dk_backend *backend, const di_options *options, di_teacher **out, dk_error *err);
/* What becomes of the files of caches: they are added to (by several ranks they are read alone), or looked at alone, or
 * filled by several ranks together: rank 0 adds to them, and all hold what they ask for (di_cache_hold). */
enum { DI_CACHES_ADD = 0, DI_CACHES_LOOK = 1, DI_CACHES_TOGETHER = 2 };
int32_t di_teacher_together(dk_backend *backend, const di_options *options, di_teacher **out, dk_error *err);
const char *di_blend_mode_name(di_blend_mode mode); /* "log_linear" */
const char *di_weighting_name(di_weighting weighting);
di_blend_mode di_blend_mode_of(const char *name); /* one that the options allow */
di_weighting di_weighting_of(const char *name);
/* Settings of a blend from section teacher, or from an entry of teachers. */
void di_blend_settings_read(const di_options *options, const char *entry_name, di_blend_settings *out);
/* What options say of the weights of these members, as blend.weights or as schedule: theirs, and ramps [count,
 * DI_RAMPS], which out points to. */
int32_t di_blend_plan_read(const di_options *options, const char *entry_name, int64_t count, di_blend_member *members,
                           di_ramp *ramps, di_blend_plan *out, dk_error *err);
/* Do ids mean the same? E_MISMATCH names the first token that differs; NULL = a teacher without one, which fits all. */
int32_t di_check_same_tokens(const char *a_name, const dk_tokenizer *a, const char *b_name, const dk_tokenizer *b,
                             dk_error *err);
/* The same of teachers: a cache knows its tokenizer's hash, where its teacher is not at hand. */
int32_t di_check_same_tokenizers(const char *a_name, const di_teacher *a, const char *b_name, const di_teacher *b,
                                 dk_error *err);

/* Targets kept in a file (cache/): what is there is read; what is not is asked of `from` and added, or is an error
 * where that is NULL. options: teacher.cache. */
int32_t di_teacher_cached(dk_backend *backend, const char *path, di_teacher *from, const di_options *options,
                          di_teacher **out, dk_error *err);
/* What the header of such a file would be; path NULL = of a new one. *there: it exists and fits. */
struct di_cache_header;
int32_t di_teacher_cache_header(const char *path, di_teacher *from, const di_options *options,
                                struct di_cache_header *out, int32_t *there, dk_error *err);
/* options: teachers.ENTRY.cache; NULL = as above. */
int32_t di_teacher_cached_entry(dk_backend *backend, const char *path, di_teacher *from, const di_options *options,
                                const char *entry, int32_t caches, di_teacher **out, dk_error *err);
/* As teacher.cache says, if it names a file: *teacher (NULL = none) becomes one whose targets are kept there. */
int32_t di_teacher_keep(dk_backend *backend, const di_options *options, int32_t look, di_teacher **teacher,
                        dk_error *err);
int32_t di_teacher_is_cached(const di_teacher *teacher);
/* The hash of the tokenizer that a cache was made with; NULL = not known, or no cache. */
/* Can it score text that was just written? E_OPTION where it needs to have seen it before, or its true next tokens. */
int32_t di_teacher_check_new_text(const di_teacher *teacher, dk_error *err);
const uint8_t *di_teacher_cached_tokenizer(const di_teacher *teacher);
/* The caches that it reads, and those of the teachers that it is made of. */
typedef struct di_cache di_cache;
typedef int32_t (*di_cache_fn)(void *user, di_cache *cache, dk_error *err);
int32_t di_teacher_caches(const di_teacher *teacher, di_cache_fn fn, void *user, dk_error *err);
/* The same by number, and who fills it (NULL = nobody), both borrowed; 0 = there is no such one. */
int32_t di_teacher_cache_at(const di_teacher *teacher, int64_t index, di_cache **cache, di_teacher **from);
/* Is it asked about samples of this source and tag, as far as routes tell? */
int32_t di_teacher_reaches(const di_teacher *teacher, const di_cache *cache, const char *source, const char *tag);
int32_t di_teacher_flush(const di_teacher *teacher, dk_error *err); /* what was asked is written to them */
di_teacher *di_teacher_retain(di_teacher *teacher);
void di_teacher_release(di_teacher *teacher);

/* ---- what is known about a model, whatever its kind ---- */
typedef struct di_facts { /* -1 = not known */
    int64_t vocab_size;   /* width of its logits */
    int64_t vocab_valid;  /* ids from here on are padding */
    int64_t hidden_size, layers, context_length, parameters;
    int64_t bytes; /* of its files */
    int64_t trainable_parameters;
} di_facts;
di_facts di_teacher_facts(const di_teacher *teacher);
/* A fact by its name; owner is for the message where it is not known ("a teacher of callbacks"). */
int32_t di_facts_get(const di_facts *facts, const char *owner, const char *key, int64_t *out, dk_error *err);
int32_t di_teacher_get_i64(const di_teacher *teacher, const char *key, int64_t *out, dk_error *err);
int64_t di_teacher_vocab(const di_teacher *teacher);       /* width of its logits; INT32_MAX = ids without a bound */
int64_t di_teacher_vocab_valid(const di_teacher *teacher); /* the same of the ids that count */
dk_tokenizer *di_teacher_tokenizer(const di_teacher *teacher);    /* borrowed; NULL = none */
const distill_target *di_teacher_form(const di_teacher *teacher); /* what it gives: kind, temperature, widths */
dk_host *di_teacher_host(const di_teacher *teacher);
const char *di_teacher_kind_name(const di_teacher *teacher); /* "a teacher of callbacks", for messages */
const char *di_teacher_path(const di_teacher *teacher);      /* "" = none */
/* identity of the weights; callbacks: of the form */
int32_t di_teacher_hash(const di_teacher *teacher, char hex[65], dk_error *err);
/* {"kind":"blend","path":"","hash":"...",SETTINGS,"members":[{"name":"pt","weight":0.7,"temperature":1,"kind":...}]} */
int32_t di_teacher_manifest(const di_teacher *teacher, dk_strbuf *json, dk_error *err);
/* another one after weights were written, its own or those of what it is made of */
int64_t di_teacher_version(const di_teacher *teacher);
/* What it says of a row is right but for an offset: log-probabilities, or logits less the highest. */
int32_t di_teacher_shifted(const di_teacher *teacher);
int32_t di_teacher_changes(const di_teacher *teacher); /* what it says of a text is another thing at another step */
void di_teacher_tell_late(const di_teacher *teacher, int64_t steps); /* to the log: what a run never gets to */
double di_teacher_flops(const di_teacher *teacher, int64_t tokens, int64_t mean_length); /* of scoring; 0 = not known */
/* Weights in this process, for a student that begins as a copy of some; NULL = none. For nothing else. */
dk_model *di_teacher_model(const di_teacher *teacher);

/* What stands at a place inside it: E_OPTION where there is no such one, E_UNSUPPORTED with the reason where nothing
 * inside it can be read. */
int32_t di_teacher_has_places(const di_teacher *teacher, dk_error *err); /* the same of any */
int32_t di_teacher_place(const di_teacher *teacher, const dk_tap_spec *tap, di_place *out, dk_error *err);

/* ---- scoring ---- */
int32_t di_session_create(di_teacher *teacher, int64_t max_tokens, int64_t max_sequences, int64_t max_rows,
                          di_session **out, dk_error *err);
/* The same for callbacks that are trained: HIDDEN ones can be asked for the gradient of their hidden states. */
int32_t di_session_create_trained(di_teacher *teacher, int64_t max_tokens, int64_t max_sequences, int64_t max_rows,
                                  di_session **out, dk_error *err);
/* dlogits of the rows last asked for becomes *out, dL/d hidden states [count, width] */
int32_t di_session_gradient(di_session *session, int64_t first, int64_t count, dk_view logits, dk_view dlogits,
                            float **out, dk_error *err);
/* The same that also gives places inside the model; asked NULL = none. */
int32_t di_session_create_tapped(di_teacher *teacher, int64_t max_tokens, int64_t max_sequences, int64_t max_rows,
                                 const di_asked *asked, di_session **out, dk_error *err);
void di_session_free(di_session *session);
/* The step that asks for what is begun next, 0 outside of a training: draws and scheduled weights hang on it. */
/* Caches that it comes by are read, and what they lack is asked for and not kept. */
void di_session_set_look(di_session *session, int32_t on);
void di_session_set_step(di_session *session, int64_t step);
/* An evaluation at that step: its weights, and the draws of every other evaluation. */
void di_session_set_evaluation(di_session *session, int64_t step);
/* What products of models in this process are formed in from the next batch on; full at first. */
void di_session_set_precision(di_session *session, dk_precision precision);
/* wanted: auto|bf16|fp32, the value of option key; auto: bf16 where the processor multiplies it. */
int32_t di_choose_precision(const dk_backend *backend, const char *wanted, const char *key, dk_precision *out,
                            dk_error *err);
/* A member's session is asked by the step of the one that asks it, and in its precision. */
void di_session_follow(di_session *session, const di_session *leader);
/* A batch is begun, collected (the trunk), asked for its rows, and dropped. begin tells a teacher that takes its time
 * of a batch whose rows will be asked for later; what batch points to is borrowed until it is dropped: by drop, by the
 * next begin, or with the session. Two batches in flight are two sessions. */
int32_t di_session_begin(di_session *session, const distill_batch *batch, dk_error *err);
int32_t di_session_collect(di_session *session, dk_error *err);
void di_session_drop(di_session *session); /* nothing begun, NULL: nothing happens */
int32_t di_session_forward(di_session *session, const distill_batch *batch, dk_error *err); /* begin and collect */
/* Errors of a batch have in position the sequence that they are about: has this one, among so many? */
int32_t di_names_sequence(const dk_error *err, int64_t sequences);
int32_t di_teacher_ahead(const di_teacher *teacher); /* begin starts work that goes on by itself */
const di_source *di_session_source(const di_session *session);
const distill_batch *di_session_batch(const di_session *session); /* under work, as its callbacks see it */
const di_taps *di_session_taps(const di_session *session);        /* of the batch that was collected */
/* HIDDEN target of the rows of the last forward for pull mode (local models), views until the next forward; NULL for
 * others. */
const distill_target *di_session_hidden(di_session *session);
/* values [rows, width] of an earlier forward, as di_session_hidden gave them, stand in for a forward of that batch; 0 =
 * they do not fit, or this kind has none. */
int32_t di_session_recall(di_session *session, int64_t rows, const void *values, size_t size);

/* ---- learned weights: blend_learn.c ---- */
const di_learning *di_teacher_learning(const di_teacher *teacher);     /* NULL = its weights are not learned */
void di_teacher_first_weights(const di_teacher *teacher, double *out); /* [count] before any update */
const char *di_teacher_learned_name(const di_teacher *teacher, int64_t index);
/* Of batches begun from now on, [count], borrowed; NULL, or never = the first weights. */
void di_session_set_learned(di_session *session, const double *weights);
typedef struct di_learner di_learner;
typedef struct di_learned_sums { /* over held-out tokens */
    int64_t tokens;
    double nats;      /* -log p of the true token under the blend, at temperature 1 */
    double *gradient; /* [count] of that with respect to each weight */
} di_learned_sums;
/* Members whose own weights are schedules say what they say at that step. */
int32_t di_learner_create(di_teacher *teacher, int64_t step, int64_t max_tokens, int64_t max_sequences,
                          di_learner **out, dk_error *err);
void di_learner_free(di_learner *learner); /* NULL is fine */
/* labels of the batch's rows; those that are not in [0, ids that all members know) do not count */
int32_t di_learner_add(di_learner *learner, const distill_batch *batch, const int32_t *labels, const double *weights,
                       dk_error *err);
const di_learned_sums *di_learner_sums(const di_learner *learner);
/* w_i exp(-rate g_i) over their sum, then floor + (1 - count floor) w_i; g is the mean gradient */
void di_learn_step(const di_learning *how, const di_learned_sums *sums, int64_t count, double *weights);

/* One of those that it is made of itself, by number, borrowed; 0 = there is no such one. */
int32_t di_teacher_part(const di_teacher *teacher, int64_t index, di_teacher **part, const char **name);
/* ---- members: of a blend or a route, and theirs in turn, a member before its own ---- */
int64_t di_teacher_member_count(const di_teacher *teacher);              /* 0 = it has none */
di_teacher *di_teacher_member(const di_teacher *teacher, int64_t index); /* borrowed; NULL = no such one */
void di_teacher_member_name(const di_teacher *teacher, int64_t index, dk_strbuf *out); /* its path: "both/pt" */
typedef struct di_tally {                                                              /* of a member */
    int64_t asked;                                                                     /* rows that it was asked for */
    int64_t rows;  /* rows that the blend or route which it is a member of was asked for */
    double weight; /* sum over those of the weight that it had there: 0 where it was not asked or not chosen */
} di_tally;
/* Adds to tallies [member_count] what came of the batch under work so far; it is forgotten with that batch. A row that
 * is asked at several temperatures is one, with its weights at the first. */
void di_session_tally(di_session *session, di_tally *tallies);
/* Of scoring the batch under work, by those of its members that are asked about it; 0 = not known. */
double di_session_flops(di_session *session);
void di_tally_add(di_tally *into, const di_tally *from, int64_t count);
/* {"both":{"tokens":5,"weight":0.7},"both/pt":{...}}: rows that each was asked for, its mean weight over all rows */
void di_tally_json(const di_teacher *teacher, const di_tally *tallies, dk_strbuf *out);

/* ---- what the members of a blend of TOPK targets know together ---- */
typedef struct di_common {
    int64_t rows;       /* 0 = no such blend */
    double mass, least; /* sums over them: of the blended mass on ids that all members list, and of its bound */
} di_common;
/* Adds what came of the batch under work so far; it is forgotten with that batch. */
void di_session_common(di_session *session, di_common *into);
void di_common_add(di_common *into, const di_common *from);
void di_common_text(const di_common *common, char out[32]); /* the mean, to four digits */
/* E_MISMATCH where it is below the bound. */
int32_t di_common_check(const di_common *common, dk_error *err);
double di_teacher_least_common(const di_teacher *teacher); /* that bound; 0 = none */

/* A HIDDEN target over a model's head and count rows of hidden states, in the caller's structs. */
const distill_target *di_hidden_target(const dk_model *model, int64_t vocab_valid, dk_view rows, int64_t count,
                                       distill_target *target, distill_tensor *values, distill_tensor *head,
                                       distill_tensor *bias, int64_t value_shape[2], int64_t head_shape[2],
                                       int64_t bias_shape[1]);
/* A tokenizer with more tokens than the model is another model's; a bos that differs is a warning. */
int32_t di_check_tokenizer(const char *path, const dk_model *model, const dk_tokenizer *tokenizer, dk_error *err);
/* The tokenizer beside a model, whose end of text becomes one of the model's; NULL where there is none. One that is
 * larger than the model's vocabulary is E_MISMATCH. */
int32_t di_open_model_tokenizer(dk_host *host, const char *path, dk_model *model, dk_tokenizer **out, dk_error *err);

/* The ids that count: those of the tokenizer, or all where there is none. */
int64_t di_vocab_valid(const dk_model *model, const dk_tokenizer *tokenizer);
void di_facts_of_model(const dk_model *model, const dk_tokenizer *tokenizer, di_facts *out);

/* Who reads a text as it is written: a function, or a table of them. */
typedef struct di_reader {
    distill_token_fn fn; /* NULL = as table says */
    void *user;
    const distill_writer_callbacks *table;
    const uint64_t *draws; /* [texts] of dk_generate_args; NULL = by their numbers. For those that di_teacher_draws
                              tells: others are given generate.seed */
} di_reader;
/* distill_teacher_score and _generate. user_options: the public handle that a callback teacher is given. */
int32_t di_teacher_score(di_teacher *teacher, const distill_batch *batch, distill_target *out, dk_error *err);
/* distill_teacher_log_probs */
int32_t di_teacher_log_probs(di_teacher *teacher, const distill_batch *batch, double temperature,
                             const distill_tensor *chosen, distill_target *top, dk_error *err);
int32_t di_teacher_generate(di_teacher *teacher, const distill_batch *prompts, const di_options *options,
                            const distill_options *user_options, distill_token_fn fn, void *user, dk_error *err);
int32_t di_teacher_generate_to(di_teacher *teacher, const distill_batch *prompts, const di_options *options,
                               const distill_options *user_options, const di_reader *reader, dk_error *err);
/* It heeds reader->draws: prompts may be answered together, and each as it would be alone. */
int32_t di_teacher_draws(const di_teacher *teacher);
/* Ids alone, as args say, for measurements. E_UNSUPPORTED where the time would not be the model's own. */
int32_t di_teacher_write(di_teacher *teacher, const dk_tokens *prompts, const dk_generate_args *args, dk_error *err);

#endif
