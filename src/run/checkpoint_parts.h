/* checkpoint_parts.h - what writing, reading and keeping of checkpoints share. */
#ifndef DI_RUN_CHECKPOINT_PARTS_H
#define DI_RUN_CHECKPOINT_PARTS_H

#include "conf/document.h"
#include "format/checkpoint.h"
#include "run/run_state.h"

#define DI_CHECKPOINT_FORMAT "libdistill checkpoint"
#define DI_CHECKPOINT_SEAL "],\"state_crc32c\":" /* closes state.json: the checksum of everything before it */
enum { DI_CHECKPOINT_VERSION = 2 };

char *di_moment_name(dk_host *host, const char *parameter, int32_t second); /* "m.NAME", "v.NAME"; NULL = no memory */
int32_t di_check_weights(const dk_model *model, const dk_model *saved, const char *folder, dk_error *err);
int32_t di_copy_weights(di_trainer *trainer, const dk_model *from, dk_model *to, dk_error *err);
/* ---- the average of the student's weights: checkpoint_average.c; nothing, *out NULL, where none is kept ---- */
int32_t di_average_save(const di_trainer *trainer, const char *folder, dk_error *err);
int32_t di_average_load(const di_trainer *trainer, const char *folder, dk_model **out, dk_error *err);
/* ---- moments that ranks keep in shares: checkpoint_shares.c ---- */
/* Called by all ranks; *out on rank 0 [2 * parameters], NULL elsewhere, and where the optimizer has them whole. */
int32_t di_whole_moments(di_trainer *trainer, void ***out, dk_error *err);
void di_whole_moments_free(const di_trainer *trainer, void **whole);
void di_take_moment(di_trainer *trainer, int64_t parameter, int32_t second, const void *whole); /* the own part of it */
/* ---- projections of losses on features: checkpoint_projections.c; nothing where there are none ---- */
int32_t di_projections_save(const di_trainer *trainer, const char *folder, dk_error *err);
int32_t di_projections_open(const di_trainer *trainer, const char *folder, dk_checkpoint **out, dk_error *err);
int32_t di_projections_take(di_trainer *trainer, const dk_checkpoint *file, int64_t step, dk_error *err);
/* ---- what the student wrote so far: checkpoint_on_policy.c; of a run without, nothing was ---- */
void di_on_policy_state_write(const di_trainer *trainer, dk_strbuf *out); /* ,"on_policy":{...} */
int32_t di_on_policy_state_read(const di_trainer *trainer, const dk_document *doc, di_written *written,
                                di_adaptive *adaptive, dk_error *err);
/* its texts for other steps: checkpoint_replay.c; out, for di_replay_free, is as the trainer's own is planned */
int32_t di_replay_save(const di_trainer *trainer, const char *folder, dk_error *err);
int32_t di_replay_load(const di_trainer *trainer, const char *folder, int64_t step, di_replay *out, dk_error *err);
/* ---- what was said of pairs: checkpoint_preference.c; nothing where no loss compares them ---- */
typedef struct di_kept_scores {
    double *scores[DI_SCORES]; /* NULL = not kept */
} di_kept_scores;
void di_kept_scores_free(dk_host *host, di_kept_scores *kept);
int32_t di_preference_save(const di_trainer *trainer, const char *folder, dk_error *err);
int32_t di_preference_state(const di_trainer *trainer, dk_strbuf *out, dk_error *err); /* whose they are */
int32_t di_preference_read(const di_trainer *trainer, const dk_document *doc, const char *folder, int64_t step,
                           di_kept_scores *out, dk_error *err);
void di_preference_take(di_trainer *trainer, di_kept_scores *kept);
/* E_MISMATCH where it is of another run; what changed otherwise becomes run->changes. */
int32_t di_checkpoint_match(di_run *run, const dk_document *doc, int64_t step, dk_error *err);
/* One call for each teacher and each setting that differs between two manifests: the member that did, not the whole. */
typedef int32_t (*di_change_fn)(void *user, const char *what, const char *from, const char *to, dk_error *err);
int32_t di_manifest_changes(dk_host *host, const dk_node *before, const dk_node *now, di_change_fn fn, void *user,
                            dk_error *err);
/* The best evaluation that a checkpoint knows of; -1 = none. */
int32_t di_checkpoint_best_step(dk_host *host, const char *path, int64_t *step, dk_error *err);
/* What a checkpoint says of its student's shape; nothing where there is none to read. */
void di_checkpoint_shape(dk_host *host, const char *path, dk_strbuf *out);
/* Is it whole, and of this student? Nothing is changed. */
int32_t di_checkpoint_check(di_run *run, const char *folder, dk_error *err);
/* The weights of a checkpoint alone; counters, moments and cursor stay. */
int32_t di_checkpoint_load_weights(di_run *run, const char *folder, dk_error *err);

#endif
