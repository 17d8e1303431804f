/* run.h - the loop around the step: evaluations, checkpoints, metrics, and what is left behind at the end.
 *
 * A run owns a trainer (the step lives there). What it writes: output.path gets the student, metrics.jsonl,
 * checkpoints/ and result.json. Printing does not live here, nor does the reading of files of models.
 *
 *   run.c           create, free, options of the run            loop.c         steps, evaluations, checkpoints, the end
 *   run_evaluate.c  held-out data, while it trains and after    output.c       the output folder
 *   checkpoint_*    save, load, the ones of a run               metrics.c      the JSONL log
 *   place.c         where output may not go                     result.c       result.json
 *   run_open.c      a run that may go on
 *   inputs.c        several ranks: do they have the same?      run_fill.c     and what they fill before a run
 *   save_progress.c how much of the files is written           run_trial.c    some steps of a run that is not made */
#ifndef DI_RUN_RUN_H
#define DI_RUN_RUN_H

#include "evaluate/evaluate.h"
#include "trainer/trainer.h"

typedef struct di_run di_run;
int32_t di_run_create(const di_parts *parts, const di_options *options, di_run **out, dk_error *err);
/* The same, with what the newest checkpoint below output.path says of the student's shape. */
int32_t di_run_open(const di_parts *parts, const di_options *options, di_run **out, dk_error *err);
/* Several ranks: before anything is opened. */
int32_t di_run_same_options(dk_host *host, const di_options *options, dk_error *err);
void di_run_free(di_run *run);
di_trainer *di_run_trainer(di_run *run); /* borrowed */
int32_t di_run_configure(di_run *run, const di_options *options, dk_error *err);

int32_t di_run_loop(di_run *run, dk_error *err);
int32_t di_run_resume(di_run *run, dk_error *err);
int32_t di_run_report(di_run *run, dk_strbuf *json, dk_error *err);
int32_t di_checkpoint_save(di_run *run, const char *path, dk_error *err);
int32_t di_checkpoint_load(di_run *run, const char *path, dk_error *err);

int32_t di_file_checksum(dk_host *host, const char *path, uint64_t *size, uint32_t *crc, dk_error *err);
/* What options of a run say of its evaluations that cannot be. has_eval: there is data for them. */
int32_t di_run_check_options(const di_options *options, int32_t has_eval, dk_error *err);
/* Links followed; of a path that does not exist yet, as far as it does. NULL = no memory, or no way there. */
char *di_real_path(dk_host *host, const char *path);
/* Not where a teacher, a student or data of these options lies. output NULL = nowhere. */
int32_t di_output_check_place(dk_host *host, const char *output, const di_options *options, const char *teacher,
                              dk_error *err);
/* Its place among the stages of a chain, from 1, for progress; name is borrowed. */
void di_run_set_stage(di_run *run, int64_t stage, int64_t stages, const char *name);
/* The newest whole-looking checkpoint of a run's output folder, to be freed; NULL = it has none. */
int32_t di_checkpoint_newest(dk_host *host, const char *output, char **path, dk_error *err);
/* ,"run":{...} of an output folder: whether its run is finished, its step and its teacher's manifest; nothing where no
 * run wrote there. 1 = something was written. */
int32_t di_run_folder_describe(dk_host *host, const char *path, dk_strbuf *json, int32_t *found, dk_error *err);
/* A checkpoint folder as JSON: step, whether every file has its checksum. */
int32_t di_checkpoint_inspect(dk_host *host, const char *path, dk_strbuf *json, dk_error *err);

#endif
