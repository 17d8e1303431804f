/* record.h - one sample on its way through the operators: its JSON object with every field that it came with, where it
 * came from, scores by name, and what the model said of the tokens that it wrote.
 *
 * A record has text; or a prompt, with a completion or without; or messages; or chosen and rejected beside a prompt.
 * Fields that no operator reads travel along. Provenance stands in the field "provenance" of a line:
 * {"operators": [{"operator": "label answer", "teacher": HASH, "template": HASH, "seed": 5}], "parents": [IDS],
 *  "scores": {"teacher_likelihood": -1.2}}; operators that only keep or drop leave none.
 *
 *   record.c       fields, ids, scores      record_json.c  lines of JSONL and back
 *   record_raw.c   values as they were written                record_id.c    ids that are made */
#ifndef DI_AUGMENT_RECORD_H
#define DI_AUGMENT_RECORD_H

#include "conf/document.h"

typedef struct di_field {
    char *key;
    char *data; /* NUL-terminated: the text itself, or the JSON of another value as it was written, without spaces */
    size_t size;
    int32_t is_text, is_null; /* is_null: travels along, and is not there for whoever asks */
} di_field;
typedef struct di_score {
    char *name;
    double value;
} di_score;
typedef struct di_kept { /* of a completion as it was generated; NULL in a record whose words were changed since */
    int32_t *ids;        /* [count] the completion's tokens, the one that ended it among them */
    int32_t *top_ids;    /* [count, k] likeliest first */
    float *top;          /* [count, k] their log-probabilities, at temperature 1 */
    int64_t count, k;
} di_kept;
typedef struct di_record {
    dk_host *host;
    char *id;
    int64_t generation; /* of ids that are made of it: above those of all seeds. 0 = 1 */
    di_field *fields;   /* [field_count] in order of the line; without id and provenance */
    int64_t field_count;
    char **parents; /* [parent_count] ids: the seed first, then whatever was made of it; none = it is a seed */
    int64_t parent_count;
    dk_strbuf operators; /* JSON objects, a comma between two */
    di_score *scores;
    int64_t score_count;
    di_kept *kept;
} di_record;

typedef enum {
    DI_RECORD_OTHER, /* none of these, or several */
    DI_RECORD_TEXT,
    DI_RECORD_PROMPT,   /* without a completion */
    DI_RECORD_PAIR,     /* prompt and completion */
    DI_RECORD_MESSAGES, /* with or without an answer at the end */
    DI_RECORD_PREFERENCE
} di_record_kind;

int32_t di_record_create(dk_host *host, const char *id, di_record **out, dk_error *err);
void di_record_free(di_record *record); /* NULL is fine */
/* A copy that came of parent: id "PARENT/STEP.NUMBER", or where seeds came of such a run themselves and have ids like
 * it "PARENT/2:STEP.NUMBER"; what was kept of the words is not copied. */
int32_t di_record_child(const di_record *parent, int64_t step, int64_t number, di_record **out, dk_error *err);
/* The provenance of `from`, to one that has none. */
int32_t di_record_inherit(di_record *record, const di_record *from, dk_error *err);
void di_record_make_id(const char *parent, int64_t generation, int64_t step, int64_t number, dk_strbuf *out);
/* "made#NUMBER", of a sample that is made of nothing. */
void di_record_blank_id(int64_t generation, int64_t number, dk_strbuf *out);
int64_t di_id_generation(const char *id); /* the highest of those that stand in it; 0 = nothing made it */
/* The seed that it came of, or its own id. Records of one root pass together: no chunk ends between them. */
const char *di_record_root(const di_record *record);
const char *di_record_parent(const di_record *record); /* NULL = none. Answers to one prompt have one parent */
di_record_kind di_record_what(const di_record *record);

/* ---- fields ---- */
const di_field *di_record_field(const di_record *record, const char *key);          /* NULL = not there */
const char *di_record_text(const di_record *record, const char *key, size_t *size); /* NULL = no text there */
int32_t di_record_set_text(di_record *record, const char *key, const char *text, size_t size, dk_error *err);
int32_t di_record_set_json(di_record *record, const char *key, const char *json, size_t size, dk_error *err);
void di_record_remove(di_record *record, const char *key);
void di_field_json(const di_field *field, dk_strbuf *out);
/* The words that are learnt: text, completion, the last of messages, chosen; else the prompt or the last message.
 * Appended. What operators that look at a text look at, unless they are given a field. */
int32_t di_record_words(const di_record *record, dk_strbuf *out, dk_error *err);

/* ---- provenance ---- */
int32_t di_record_set_score(di_record *record, const char *name, double value, dk_error *err);
int32_t di_record_score(const di_record *record, const char *name, double *out); /* 1 = it has one */
/* A score, or a field that is a number. */
int32_t di_record_number(const di_record *record, const char *name, double *out);
typedef struct di_made { /* by whom; hashes NULL = none */
    const char *verb, *name, *teacher, *template_hash;
    uint64_t seed;
} di_made;
int32_t di_record_add_operator(di_record *record, const di_made *made, dk_error *err);
void di_record_forget(di_record *record); /* what was kept of its words, which are others now */

/* ---- lines ---- */
/* Value number `index` of a JSON object that was parsed, without spaces between its tokens: appended. 0 = it is not
 * found there. */
int32_t di_raw_member(const char *json, size_t size, size_t index, dk_strbuf *out);
/* place: "seeds.jsonl:17", for errors; fallback: the id where the line has none. */
int32_t di_record_parse(dk_host *host, const char *json, size_t size, const char *place, const char *fallback,
                        di_record **out, dk_error *err);
/* Appends one line with its end. whole: also what was kept, for a file that only the library reads again. */
void di_record_write(const di_record *record, int32_t whole, dk_strbuf *out);
/* Appends one object with the fields that make tokens, for di_encode_json: others, as the label of a vote, may be
 * anything. */
void di_record_write_learnt(const di_record *record, dk_strbuf *out);

#endif
