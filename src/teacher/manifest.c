/* manifest.c - who a teacher is, member by member: what checkpoints and results keep of it. */
#include <string.h>

#include "teacher/teacher_parts.h"

static int32_t put_teacher(const di_teacher *t, dk_strbuf *out, dk_error *err);

static void put_number(dk_strbuf *out, const char *name, double value)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    dk_strbuf_f64(out, value);
}

static int32_t put_member(const di_member_view *member, int64_t index, dk_strbuf *out, dk_error *err)
{
    dk_strbuf_puts(out, index ? ",{\"name\":" : ",\"members\":[{\"name\":");
    dk_strbuf_json(out, member->name, strlen(member->name));
    if (member->weight > 0) put_number(out, "weight", member->weight);
    put_number(out, "temperature", member->temperature > 0 ? member->temperature : 1);
    dk_strbuf_puts(out, ",");
    const int32_t rc = put_teacher(member->teacher, out, err);
    dk_strbuf_puts(out, "}");
    return rc;
}

static int32_t put_members(const di_teacher *t, dk_strbuf *out, dk_error *err)
{
    const di_member_view from = {.name = "from", .teacher = t->kind->from ? t->kind->from(t) : NULL};
    di_member_view view;
    int64_t count = 0;
    int32_t rc = DK_OK;
    if (from.teacher) DK_TRY(put_member(&from, count++, out, err));
    for (int64_t i = 0; t->kind->member && t->kind->member(t, NULL, i, &view); i++)
        DK_TRY(put_member(&view, count++, out, err));
    if (count) dk_strbuf_puts(out, "]");
out:
    return rc;
}

/* Its keys, without the braces. */
static int32_t put_teacher(const di_teacher *t, dk_strbuf *out, dk_error *err)
{
    char hash[65];
    int32_t rc;
    DK_TRY(di_teacher_hash(t, hash, err));
    dk_strbuf_printf(out, "\"kind\":\"%s\",\"path\":", t->kind->type);
    dk_strbuf_json(out, t->path, strlen(t->path));
    dk_strbuf_printf(out, ",\"hash\":\"%s\"", hash);
    if (t->kind->settings) t->kind->settings(t, out);
    DK_TRY(put_members(t, out, err));
out:
    return rc;
}

int32_t di_teacher_manifest(const di_teacher *t, dk_strbuf *json, dk_error *err)
{
    dk_strbuf_puts(json, "{");
    const int32_t rc = put_teacher(t, json, err);
    dk_strbuf_puts(json, "}");
    return rc == DK_OK ? dk_strbuf_check(json, err) : rc;
}
