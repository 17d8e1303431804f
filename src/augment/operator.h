/* operator.h - one step of a pipeline: an operator with its options, made once, applied to chunk after chunk.
 *
 * A result is a pure function of recipe, teacher and seeds: an operator's answer hangs on the records that
 * it was given in order, not on how chunks were cut, and whatever it draws it draws by di_step_number. It is applied by
 * one thread at a time.
 *
 * What it must remember between chunks it keeps in a file beside the result (di_step_path), to which it only appends.
 * save puts that on the disk and says its length; a run that goes on calls restore with what was saved last, and the
 * file is cut back to it: what was appended after the last save belongs to chunks that are made again.
 *
 * To add an operator: a file with its functions, a row in operator_table.c, its options in src/options/table.c, a
 * section in docs/augmentation.md. */
#ifndef DI_AUGMENT_OPERATOR_H
#define DI_AUGMENT_OPERATOR_H

#include "augment/flow.h"
#include "chat/chat.h"
#include "dataset/sample.h"
#include "options/options.h"
#include "teacher/teacher.h"

typedef struct di_pulse { /* tells how far a chunk at work is */
    int32_t (*fn)(void *user, int64_t tokens, dk_error *err);
    void *user;
    int64_t tokens; /* generated for the chunk */
    double last;    /* when it told */
} di_pulse;
typedef struct di_step { /* what an operator is made of; outlives it */
    dk_host *host;
    dk_backend *backend;
    const di_options *recipe;  /* the whole tree */
    const di_options *options; /* its item of augment.steps */
    int64_t number;            /* among the steps, from 1, as messages and ids have it */
    uint64_t seed;             /* augment.seed */
    const char *verb, *name;
    di_teacher *teacher;                 /* there, where its row needs one */
    char teacher_hash[65];               /* of it; "" = none */
    const dk_tokenizer *tokenizer;       /* the teacher's, or augment.tokenizer; there, where its row needs a teacher */
    const di_encoder *encoder;           /* as training reads samples with that tokenizer; NULL where there is none */
    const dk_chat_template *chat;        /* there, where its row needs one */
    const dk_jinja_date *date;           /* of strftime_now; NULL = not known */
    di_options *writing;                 /* generate.*: set before a generation; the same tree as */
    const distill_options *user_options; /* the host's handle of it, for teachers of callbacks; NULL = none */
    const distill_operator_callbacks *hosted; /* of a host's operator */
    const char *in;                           /* of what the first step is given; NULL = nothing */
    const char *out;                          /* path of the result */
    di_pulse *pulse;                          /* one beat a token */
    struct di_rank_calls *calls;              /* whoever asks models joins; NULL = there is one rank */
} di_step;
/* A number that hangs on augment.seed, the step, the record and k alone: 64 random bits. */
uint64_t di_step_number(const di_step *step, const di_record *record, uint64_t k);
/* "OUT.step3.KIND", for the caller to free: where the step keeps what it must remember. */
int32_t di_step_path(const di_step *step, const char *kind, char **out, dk_error *err);
/* E_OPTION "augment.steps.2 (label answer): ...", with the line of the recipe where it is known. */
int32_t di_step_fail(const di_step *step, dk_error *err, const char *format, ...) DK_PRINTF(3, 4);

enum {                       /* needs of a row */
       DI_NEEDS_TEACHER = 1, /* that generates or scores, and a tokenizer */
       DI_NEEDS_CHAT = 2,    /* a chat template, the teacher's own or data.chat_template */
       DI_IS_BARRIER = 4,    /* all records are gathered before the first one is applied */
       DI_MAKES_SEEDS = 8    /* makes samples of nothing: the first step only */
};
typedef struct di_operator_functions {
    /* Everything that can be known is checked here. A failure leaves nothing; *state arrives NULL. */
    int32_t (*create)(const di_step *step, void **state, dk_error *err);
    void (*free)(void *state);
    /* Records in [count], of whole roots (di_record_root). What goes on is given to flow by &in[i], and taken over;
       what is left in `in` is freed by the caller. */
    int32_t (*apply)(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err);
    /* NULL = it remembers nothing. One JSON value, of what is on the disk by now. */
    int32_t (*save)(void *state, dk_strbuf *json, dk_error *err);
    /* Of what save said; NULL = from the beginning: an index that is there is none of this run. */
    int32_t (*restore)(void *state, const dk_node *saved, dk_error *err);
    /* Or NULL: removes what it remembered, once the result is whole. */
    int32_t (*remove)(void *state, dk_error *err);
    /* Of a barrier: each record of the whole stream in order, then settle, then apply for each. A run that goes on
       behind the barrier gathers anew. */
    int32_t (*gather)(void *state, const di_record *record, dk_error *err);
    int32_t (*settle)(void *state, dk_error *err);
    /* Of DI_MAKES_SEEDS: how many records without a field it is given behind the seeds, to fill. */
    int64_t (*makes)(void *state);
    /* Or NULL: the hash of what the result hangs on beside options, files and the teacher. */
    const char *(*identity)(const void *state);
    /* Or NULL: what it would ask of this record is appended, for --dry-run. */
    int32_t (*show)(void *state, const di_record *record, dk_strbuf *out, dk_error *err);
} di_operator_functions;
typedef struct di_operator_row {
    const char *verb, *name;
    const char *options; /* "min|max": keys of its map that it reads, beside the verb; "" = none */
    uint32_t needs;
    const di_operator_functions *functions;
} di_operator_row;

int64_t di_operator_count(void);
const di_operator_row *di_operator_at(int64_t index);
/* The row that an item of augment.steps names, its keys checked; *hosted = its name, where it is {name: ...}. */
int32_t di_operator_find(const di_options *item, int64_t number, const di_operator_row **row, const char **hosted,
                         dk_error *err);

/* ---- the functions of each, a file each ---- */
extern const di_operator_functions di_hosted_operator_functions; /* of any that the host added */
extern const di_operator_functions di_label_answer;
extern const di_operator_functions di_label_class;
extern const di_operator_functions di_label_rationale;
extern const di_operator_functions di_expand_continue;
extern const di_operator_functions di_expand_magpie;
extern const di_operator_functions di_expand_template; /* paraphrase, evol_instruct, self_instruct, persona, topic */
extern const di_operator_functions di_expand_back_translation;
extern const di_operator_functions di_keep_length;
extern const di_operator_functions di_drop_regex;
/* of what is kept: */
extern const di_operator_functions di_drop_duplicate;
extern const di_operator_functions di_drop_near_duplicate;
extern const di_operator_functions di_drop_overlap;
extern const di_operator_functions di_keep_novelty;
extern const di_operator_functions di_keep_quality;
extern const di_operator_functions di_keep_balance;
extern const di_operator_functions di_keep_score;
extern const di_operator_functions di_keep_best;
extern const di_operator_functions di_keep_verified;
extern const di_operator_functions di_score_likelihood;
extern const di_operator_functions di_score_gap;
extern const di_operator_functions di_feedback_judge;
extern const di_operator_functions di_feedback_rank;
extern const di_operator_functions di_vote_majority;
extern const di_operator_functions di_vote_confidence;
extern const di_operator_functions di_vote_dawid_skene;

#endif
