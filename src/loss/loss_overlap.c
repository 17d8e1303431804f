/* Outputs of a call on rows: where they lie in memory, and over what. Labels, weights and what else is of one number a
 * row are read before anything is written. */
#include "loss/loss_parts.h"

typedef struct di_lies { /* a tensor in memory: lines that lie evenly apart, be they its rows or its columns */
    const distill_tensor *tensor;
    const char *name;
    uint64_t begin, end;  /* bytes */
    uint64_t line, apart; /* bytes of one, and from one to the next */
} di_lies;

static int64_t stride_of(const distill_tensor *tensor, int32_t i)
{
    return tensor->strides ? tensor->strides[i] : i + 1 < tensor->ndim ? tensor->shape[i + 1] : 1;
}

/* Of one or two dimensions. */
static di_lies lie(const distill_tensor *tensor, const char *name)
{
    di_lies lies = {.tensor = tensor, .name = name};
    if (!tensor || tensor->shape[0] == 0 || (tensor->ndim > 1 && tensor->shape[1] == 0)) return lies;
    const uint64_t size = tensor->dtype_bits / 8u;
    uint64_t step[2] = {0, 0}, reach[2] = {0, 0}, below = 0;
    for (int32_t i = 0; i < tensor->ndim; i++) {
        const int64_t stride = tensor->shape[i] > 1 ? stride_of(tensor, i) : 0;
        step[i] = (uint64_t)(stride < 0 ? -stride : stride) * size;
        reach[i] = step[i] * (uint64_t)(tensor->shape[i] - 1);
        below += stride < 0 ? reach[i] : 0;
    }
    const int32_t outer = step[1] > step[0];
    lies.begin = (uint64_t)((uintptr_t)tensor->data + tensor->byte_offset) - below;
    lies.line = reach[!outer] + size;
    lies.end = lies.begin + reach[outer] + lies.line;
    lies.apart = step[outer];
    return lies;
}

/* Beside each other in memory that lines go through, as two columns of one matrix? */
static int32_t are_beside(const di_lies *a, const di_lies *b)
{
    const di_lies *first = a->begin <= b->begin ? a : b, *second = first == a ? b : a;
    if (a->apart != b->apart || a->apart == 0) return 0;
    const uint64_t step = (second->begin - first->begin) % a->apart;
    return first->line <= step && step + second->line <= a->apart;
}

static int32_t meet(const di_lies *a, const di_lies *b)
{
    return a->end > b->begin && b->end > a->begin && !are_beside(a, b);
}

/* A row is read before its gradient is written. */
static int32_t is_place_of(const di_lies *out, const di_lies *in)
{
    const distill_tensor *a = out->tensor, *b = in->tensor;
    return out->begin == in->begin && a->ndim == b->ndim && a->dtype_code == b->dtype_code &&
           a->dtype_bits == b->dtype_bits && stride_of(a, 0) == stride_of(b, 0) && stride_of(a, 1) == stride_of(b, 1);
}

static int32_t check_output(const di_lies *out, const di_lies *others, int32_t count, int32_t may_replace,
                            dk_error *err)
{
    if (out->apart && out->apart < out->line)
        return dk_fail(err, DK_E_INVALID, "%s: its strides let two entries share a place in memory", out->name);
    for (int32_t i = 0; i < count; i++) {
        if (!meet(out, &others[i]) || (i < may_replace && is_place_of(out, &others[i]))) continue;
        return dk_fail(err, DK_E_INVALID, "%s lies over %s in memory; give it memory of its own%s", out->name,
                       others[i].name, may_replace > i ? ", or the place of that, element for element" : "");
    }
    return DK_OK;
}

int32_t di_check_overlap(const distill_loss_args *args, dk_error *err)
{
    const distill_target nothing = {0}, *q = args->student, *p = args->teacher ? args->teacher : &nothing;
    const di_lies inputs[] = {
        lie(q->values, "args.student.values"), lie(p->values, "args.teacher.values"),
        lie(q->head, "args.student.head"),     lie(q->bias, "args.student.bias"),
        lie(p->head, "args.teacher.head"),     lie(p->bias, "args.teacher.bias"),
        lie(p->ids, "args.teacher.ids"),       lie(di_target_beside(p), "args.teacher's tail or entropy")};
    const di_lies outputs[] = {lie(args->grad_values, "args.grad_values"), lie(args->grad_head, "args.grad_head"),
                               lie(args->grad_bias, "args.grad_bias"), lie(args->row_values, "args.row_values")};
    const int32_t input_count = sizeof inputs / sizeof *inputs, output_count = sizeof outputs / sizeof *outputs;
    int32_t rc = DK_OK;
    for (int32_t i = 0; i < output_count && rc == DK_OK; i++) {
        if (!outputs[i].tensor) continue;
        rc = check_output(&outputs[i], inputs, input_count, i == 0 ? 2 : 0, err);
        if (rc == DK_OK) rc = check_output(&outputs[i], outputs, i, 0, err);
    }
    return rc;
}
