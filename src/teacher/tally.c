/* tally.c - what a teacher is made of, member by member at any depth, and what each of them had to say. */
#include "teacher/teacher_parts.h"

typedef struct walk {          /* a member before its own members */
    const di_teacher *teacher; /* of the member that is looked for */
    di_session *session;
    int64_t wanted, at;
    dk_strbuf *path; /* NULL = not wanted */
    di_member_view found;
} walk;

static int32_t member_of(const di_teacher *t, di_session *session, int64_t index, di_member_view *out)
{
    return t->kind->member && t->kind->member(t, session, index, out);
}

/* 1 = it is among the members of this one. */
static int32_t find(walk *w, const di_teacher *t, di_session *session)
{
    const size_t above = w->path ? w->path->size : 0;
    di_member_view view;
    for (int64_t i = 0; member_of(t, session, i, &view); i++) {
        if (w->path) dk_strbuf_printf(w->path, "%s%s", above ? "/" : "", view.name);
        w->found = view;
        if (w->at++ == w->wanted || find(w, view.teacher, view.session)) return 1;
        if (w->path && w->path->data) w->path->data[w->path->size = above] = 0;
    }
    return 0;
}

int32_t di_teacher_part(const di_teacher *t, int64_t index, di_teacher **part, const char **name)
{
    di_member_view view;
    if (!member_of(t, NULL, index, &view)) return 0;
    *part = view.teacher;
    *name = view.name;
    return 1;
}

int64_t di_teacher_member_count(const di_teacher *t)
{
    walk w = {.wanted = -1};
    find(&w, t, NULL);
    return w.at;
}

di_teacher *di_teacher_member(const di_teacher *t, int64_t index)
{
    walk w = {.wanted = index};
    return index >= 0 && find(&w, t, NULL) ? w.found.teacher : NULL;
}

void di_teacher_member_name(const di_teacher *t, int64_t index, dk_strbuf *out)
{
    dk_strbuf path;
    walk w = {.wanted = index, .path = &path};
    dk_strbuf_init(&path, t->host);
    if (find(&w, t, NULL)) dk_strbuf_append(out, path.data, path.size);
    out->failed |= path.failed;
    dk_strbuf_free(&path);
}

void di_session_tally(di_session *s, di_tally *tallies)
{
    const int64_t count = di_teacher_member_count(s->teacher);
    for (int64_t i = 0; i < count; i++) {
        walk w = {.wanted = i};
        if (find(&w, s->teacher, s)) di_tally_add(&tallies[i], &w.found.tally, 1);
    }
}

static double flops_of(const di_teacher *t, const distill_batch *batch)
{
    const int64_t tokens = batch->sequences ? batch->offsets[batch->sequences] : 0;
    return tokens ? di_teacher_flops(t, tokens, tokens / batch->sequences) : 0;
}

double di_session_flops(di_session *s)
{
    di_member_view view;
    double sum = 0;
    if (!s->begun) return 0;
    if (s->teacher->kind->session_flops) return s->teacher->kind->session_flops(s);
    if (!s->teacher->kind->member) return flops_of(s->teacher, &s->batch);
    for (int64_t i = 0; member_of(s->teacher, s, i, &view); i++) sum += view.flops + di_session_flops(view.session);
    return sum;
}

void di_tally_add(di_tally *into, const di_tally *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        into[i].asked += from[i].asked;
        into[i].rows += from[i].rows;
        into[i].weight += from[i].weight;
    }
}

void di_tally_json(const di_teacher *t, const di_tally *tallies, dk_strbuf *out)
{
    const int64_t count = di_teacher_member_count(t);
    dk_strbuf name;
    dk_strbuf_init(&name, t->host);
    dk_strbuf_puts(out, "{");
    for (int64_t i = 0; i < count; i++) {
        dk_strbuf_clear(&name);
        di_teacher_member_name(t, i, &name);
        out->failed |= name.failed;
        if (i) dk_strbuf_puts(out, ",");
        dk_strbuf_json(out, name.data ? name.data : "", name.size);
        dk_strbuf_printf(out, ":{\"tokens\":%lld,\"weight\":", (long long)tallies[i].asked);
        dk_strbuf_f64(out, tallies[i].rows ? tallies[i].weight / (double)tallies[i].rows : 0);
        dk_strbuf_puts(out, "}");
    }
    dk_strbuf_puts(out, "}");
    dk_strbuf_free(&name);
}
