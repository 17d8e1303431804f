/* members.c - those that a teacher is made of: what is known of them together, and their passes, one after another or
 * side by side as tasks of the env's threads. A task's own loops run in its thread, and no result hangs on the number
 * of threads, so both give the same bits. */
#include "teacher/teacher_parts.h"

static int64_t sum_known(int64_t a, int64_t b) { return a < 0 || b < 0 ? -1 : a + b; }

void di_facts_add(di_facts *whole, const di_facts *member)
{
    const int64_t context = member->context_length;
    whole->parameters = sum_known(whole->parameters, member->parameters);
    whole->bytes = sum_known(whole->bytes, member->bytes);
    if (context > 0 && (whole->context_length < 0 || context < whole->context_length)) whole->context_length = context;
}

/* ---- passes ---- */

int32_t di_teacher_in_caller(const di_teacher *t)
{
    di_member_view member;
    if (t->kind->in_caller && t->kind->in_caller(t)) return 1;
    for (int64_t i = 0; t->kind->member && t->kind->member(t, NULL, i, &member); i++)
        if (di_teacher_in_caller(member.teacher)) return 1;
    return 0;
}

typedef struct di_member_task {
    di_session *session;
    int32_t rc;
    dk_error err;
} task;

static void run_tasks(void *tasks, int64_t begin, int64_t end)
{
    task *all = tasks;
    for (int64_t i = begin; i < end; i++) all[i].rc = di_session_collect(all[i].session, &all[i].err);
}

static int32_t in_turn(di_session *const *sessions, int64_t count, int32_t of_caller, int64_t *failed, dk_error *err)
{
    for (int64_t i = 0; i < count; i++) {
        if (!sessions[i] || (of_caller && !di_teacher_in_caller(sessions[i]->teacher))) continue;
        const int32_t rc = di_session_collect(sessions[i], err);
        *failed = i;
        if (rc) return rc;
    }
    return DK_OK;
}

static int32_t side_by_side(dk_host *host, task *tasks, di_session *const *sessions, int64_t count, int64_t *failed,
                            dk_error *err)
{
    int64_t used = 0;
    int32_t rc;
    for (int64_t i = 0; i < count; i++)
        if (sessions[i] && !di_teacher_in_caller(sessions[i]->teacher)) tasks[used++].session = sessions[i];
    dk_parallel_for(host, used, 1, run_tasks, tasks);
    rc = dk_parallel_check(host, err);
    for (int64_t i = 0, at = 0; rc == DK_OK && i < count && at < used; i++) {
        if (tasks[at].session != sessions[i]) continue;
        *failed = i;
        if ((rc = tasks[at].rc) != DK_OK && err) *err = tasks[at].err;
        at++;
    }
    return rc;
}

int32_t di_members_collect(di_session *s, di_session *const *sessions, int64_t count, int64_t *failed, dk_error *err)
{
    dk_host *host = s->teacher->host;
    int32_t rc;
    *failed = 0;
    if (!s->teacher->parallel || dk_host_threads(host) == 1) return in_turn(sessions, count, 0, failed, err);
    if (!s->member_tasks) DK_TRY(dk_new(host, count, &s->member_tasks, err));
    DK_TRY(side_by_side(host, s->member_tasks, sessions, count, failed, err));
    DK_TRY(in_turn(sessions, count, 1, failed, err));
out:
    return rc;
}
