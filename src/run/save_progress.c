/* save_progress.c - how much of the files of a run is written. */
#include "run/run_state.h"

#define EVERY 0.1 /* seconds */

void di_saving_tell(void *user, uint64_t done, uint64_t total)
{
    di_saving *s = user;
    double now = dk_seconds();
    if (!s->total) s->total = total;
    done += s->before;
    if (now - s->told < EVERY && done < s->total) return;
    s->told = now;
    di_progress_part(s->run->trainer, DISTILL_PHASE_SAVING, (int64_t)done, (int64_t)s->total, NULL);
}

int32_t di_saving_student(di_saving *s, const char *path, const di_files *files, dk_error *err)
{
    di_student *student = s->run->trainer->student;
    di_student_on_saved(student, di_saving_tell, s);
    int32_t rc = di_student_save(student, path, files, err);
    di_student_on_saved(student, NULL, NULL);
    return rc;
}
