/* teacher_parts.h - what a kind of teacher is: a table of functions over a state of its own; for the files of this
 * folder only. */
#ifndef DI_TEACHER_TEACHER_PARTS_H
#define DI_TEACHER_TEACHER_PARTS_H

#include <stdatomic.h>

#include "teacher/writing.h"

typedef struct di_member_view { /* one of those that a teacher is made of */
    const char *name;
    di_teacher *teacher;
    di_session *session; /* NULL = none yet; of the session that was asked about */
    di_tally tally;      /* of the batch under work there */
    double weight;       /* among them; 0 = it has none of its own */
    double temperature;  /* on top of the one that is asked for; 0 = 1 */
    double flops;        /* of what it read beside the batch, to find who is asked */
} di_member_view;

typedef struct di_teacher_kind {
    const char *name;                                           /* "a teacher of callbacks", for messages */
    const char *type;                                           /* "callbacks", for manifests */
    void (*free)(di_teacher *teacher);                          /* teacher->state and what it holds */
    void (*describe)(const di_teacher *teacher, di_facts *out); /* out arrives with nothing known */
    const distill_target *(*form)(const di_teacher *teacher);   /* what its sessions give */
    int32_t (*hash)(const di_teacher *teacher, char hex[65], dk_error *err);
    /* ,"mode":"linear",...: what its hash hangs on beside its members; NULL = nothing */
    void (*settings)(const di_teacher *teacher, dk_strbuf *json);
    double (*flops)(const di_teacher *teacher, int64_t tokens, int64_t mean_length);
    /* of the batch under work, which it need not be asked about; NULL = as flops or its members say */
    double (*session_flops)(di_session *session);
    dk_model *(*model)(const di_teacher *teacher);  /* NULL = there is none to copy layers from */
    int64_t (*version)(const di_teacher *teacher);  /* of weights of its own; NULL = they do not change */
    di_teacher *(*from)(const di_teacher *teacher); /* whom it asks for what it does not know; NULL = nobody */
    int32_t (*changes)(const di_teacher *teacher);  /* what it says hangs on the step; NULL = at most its members do */
    void (*tell_late)(const di_teacher *teacher, int64_t steps); /* to the log: what a run of so many never gets to */
    /* member index, 0 = there is none; session NULL = name and teacher alone. NULL = it has no members */
    int32_t (*member)(const di_teacher *teacher, di_session *session, int64_t index, di_member_view *out);
    int32_t (*ahead)(const di_teacher *teacher); /* begin is worth calling before the batch is due; NULL = it is not */
    /* DI_BY_*, beside those of its members: what its answer hangs on, other than ids; NULL = nothing */
    uint32_t (*goes_by)(const di_teacher *teacher);
    int32_t (*new_text)(const di_teacher *teacher, dk_error *err); /* di_teacher_check_new_text; NULL = it can */
    /* A name in its map, by number; NULL = there is no such one */
    const char *(*mapped)(const di_teacher *teacher, int64_t index, int32_t *is_tag);
    /* The member that teaches a sample, -1 = not known yet; E_NOT_FOUND = none; NULL = all of them do */
    int32_t (*routes)(const di_teacher *teacher, const char *source, const char *tag, int64_t *member, dk_error *err);
    /* what stands at a place inside; NULL = no_place says why there is none */
    int32_t (*place)(const di_teacher *teacher, const dk_tap_spec *tap, di_place *out, dk_error *err);
    const char *no_place;
    int32_t (*formed)(const di_teacher *teacher);  /* what it says at one temperature does not tell what it says at
                                                     another; NULL = it does */
    int32_t (*shifted)(const di_teacher *teacher); /* its logits lack an offset per row; NULL = at most its members' */
    /* session->batch, ->row_count and ->places are set; end comes once for each batch begun. NULL = nothing to do */
    int32_t (*begin)(di_session *session, dk_error *err);
    void (*end)(di_session *session);
    int32_t (*session)(di_session *session, dk_error *err); /* fills session->state and session->source */
    void (*session_free)(di_session *session);
    /* forward must run in the thread that asked for it: it calls the host, or writes a file; NULL = any will do */
    int32_t (*in_caller)(const di_teacher *teacher);
    int32_t (*forward)(di_session *session, dk_error *err);     /* of the batch begun: its rows can be asked for then */
    const distill_target *(*hidden)(di_session *session);       /* NULL = gives none */
    void (*common)(const di_session *session, di_common *into); /* NULL = no sparse blend is part of it */
    double (*least_common)(const di_teacher *teacher);
    int32_t (*generate)(di_teacher *teacher, const distill_batch *prompts, const di_options *options,
                        const distill_options *user_options, const di_reader *reader, dk_error *err);
    /* generate draws as the reader says, so that a text hangs on nothing beside it; NULL = where it is a model */
    int32_t (*draws)(const di_teacher *teacher);
    /* ids alone, as args say; NULL = it cannot be timed */
    int32_t (*write)(di_teacher *teacher, const dk_tokens *prompts, const dk_generate_args *args, dk_error *err);
} di_teacher_kind;

struct di_teacher {
    atomic_int references;
    dk_host *host;
    dk_backend *backend;
    const di_teacher_kind *kind;
    dk_tokenizer *tokenizer; /* a reference, or NULL */
    char *path;
    char hash[65]; /* of hash_version, once hash_state says so; of teachers without members */
    int64_t hash_version;
    atomic_int hash_state;
    int32_t parallel; /* passes of members run side by side */
    void *state;      /* the kind's own */
};
int32_t di_teacher_create(dk_backend *backend, const di_teacher_kind *kind, const char *path, di_teacher **out,
                          dk_error *err);
int32_t di_teacher_formed(const di_teacher *teacher);
int32_t di_teacher_in_caller(const di_teacher *teacher); /* or one that it is made of */
/* Passes of members whose batch is begun; sessions[i] NULL = is not asked. *failed = whose pass was not DK_OK. */
int32_t di_members_collect(di_session *session, di_session *const *sessions, int64_t count, int64_t *failed,
                           dk_error *err);
/* What a member adds to what is known of the whole: parameters, bytes, and its context where that is the shortest. */
void di_facts_add(di_facts *whole, const di_facts *member);
enum {
    DI_BY_SOURCE = 1,
    DI_BY_TAG = 2,
    DI_BY_PROMPT = 4
};                                                      /* source, tag and prompt of a sample, as in target caches */
uint32_t di_teacher_goes_by(const di_teacher *teacher); /* it and all that it is made of */

struct di_session {
    di_teacher *teacher; /* a reference */
    int64_t max_tokens, max_sequences, max_rows;
    int32_t with_gradient; /* of hidden states that callbacks give */
    distill_batch batch;   /* of the forward under work */
    int64_t row_count;
    const int64_t *places;               /* [row_count] */
    int64_t *place_memory;               /* [max_rows] for implied rows */
    struct di_member_task *member_tasks; /* members.c: passes side by side, one for each member */
    int32_t begun;                       /* the batch: its end is due */
    int32_t look;                        /* caches are not written */
    dk_precision precision;              /* of a model's products */
    int64_t step;                        /* of the training that asks; 0 elsewhere */
    const double *learned;               /* weights of members; NULL = the first ones */
    int64_t draw_step;                   /* the same for draws; 0 in evaluations */
    di_source source;
    dk_tap_spec *asked; /* [asked_count] places inside that are read */
    int64_t asked_count;
    di_taps taps; /* filled by a kind that has places */
    void *state;  /* the kind's own */
};

/* ---- a model in this process: local.c, local_session.c ---- */
typedef struct di_local {
    dk_model *model;
    int32_t owns_model;
    void *owner; /* of a model that is not ours */
    void (*release_owner)(void *owner);
    distill_target form; /* DENSE */
    distill_tensor values;
    int64_t shape[2];
    const char *live; /* what it is of a training; NULL = weights that stay */
    double decay;     /* of an average, else below 0 */
} di_local;
int32_t di_local_session(di_session *session, dk_error *err);
void di_local_session_free(di_session *session);
int32_t di_local_forward(di_session *session, dk_error *err);
const distill_target *di_local_hidden(di_session *session);

/* ---- a host's callbacks: hosted.c, hosted_session.c ---- */
typedef struct di_hosted {
    distill_teacher_callbacks callbacks;
    atomic_int busy;     /* a callback that is not for several threads runs */
    distill_target form; /* with tensors of its own: their last dimensions alone, and copies of head and bias */
    distill_tensor values, head, bias;
    int64_t value_shape[2], head_shape[2], bias_shape[1];
    float *head_data, *bias_data;
    char *identity;    /* NULL = it does not say */
    distill_tap *taps; /* [callbacks.tap_count] */
} di_hosted;
int32_t di_hosted_session(di_session *session, dk_error *err);
void di_hosted_session_free(di_session *session);
int32_t di_hosted_begin(di_session *session, dk_error *err);
void di_hosted_end(di_session *session);
int32_t di_hosted_forward(di_session *session, dk_error *err);

/* ---- several teachers as one: blend.c, blend_weights.c, blend_session.c ---- */
typedef struct di_blended { /* a member that is asked at some step */
    di_teacher *teacher;    /* a reference */
    char *name;
    double weight, temperature; /* weight: where its ramps begin */
    di_ramp ramps[DI_RAMPS];
} di_blended;
double di_blended_weight(const di_blended *member, int64_t step);
int32_t di_blended_stays(const di_blended *member);    /* the weight is the same at every step */
int32_t di_blended_is_asked(const di_blended *member); /* at some step */
/* To the log: members that so many steps never ask, weights that go on behind them. */
void di_blended_tell_late(dk_host *host, const di_blended *members, int64_t count, int64_t steps);
/* ,"schedules":{"a":[{"schedule":"linear","after":0,"steps":9,"to":0}],...} */
void di_blended_json(const di_blended *members, int64_t count, dk_strbuf *json);
/* Are they 0 or more, and 1 together, at every step? */
int32_t di_blended_check(const di_blended *members, int64_t count, dk_error *err);
typedef struct di_blend {
    di_blend_settings settings;
    di_learning learning; /* where the weighting is learned */
    di_blended *members;  /* [count], by name: results do not hang on the order in which they were given */
    int64_t count;
    int64_t width;        /* ids that all members know */
    int64_t columns;      /* of a strip: the same, or where one member may be asked alone, those of the widest */
    int32_t kind;         /* of what they give together: DENSE; TOPK, SAMPLED: blend_sparse.h */
    double temperature;   /* of a sparse kind */
    int64_t sparse_width; /* ids of its rows at most */
    int64_t sparse_most;  /* ids, or draws, of a member's row at most */
    distill_target form;
    distill_tensor values;
    int64_t shape[2];
} di_blend;
int32_t di_blend_session(di_session *session, dk_error *err);
void di_blend_session_free(di_session *session);
int32_t di_blend_begin(di_session *session, dk_error *err);
void di_blend_end(di_session *session);
int32_t di_blend_forward(di_session *session, dk_error *err);
int32_t di_blend_generate(di_teacher *teacher, const distill_batch *prompts, const di_options *options,
                          const distill_options *user_options, const di_reader *reader, dk_error *err);
void di_blend_tally(di_session *session, int64_t index, di_member_view *out);

#endif
