#include "loss/workspace.h"

enum { CHUNK_BYTES = 256 * 1024, CHUNK_ROWS = 16, TASKS_PER_THREAD = 2, TASKS_MAX = 64 };

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

int64_t di_strip_rows(int64_t memory, int64_t row_bytes)
{
    const int64_t rows = (memory ? memory : DI_STRIP_BYTES_MOST) / row_bytes;
    return larger(memory ? rows : smaller(rows, DI_STRIP_ROWS), 1);
}

static int32_t narrows(const di_workspace *workspace) { return workspace->backend->real != DK_F32; }

/* Rows that fit into the memory: the strips, and for a loss that is called once per strip the copies it is called with.
 * Never a function of the number of threads: gradients of a head add up strip by strip. */
static int64_t plan_rows(const di_workspace *workspace, int64_t memory, int64_t student_width, int64_t teacher_width,
                         int64_t max_rows)
{
    const int64_t size = (int64_t)dk_dtype_size(workspace->backend->real);
    int64_t bytes = (student_width + teacher_width) * size, rows;
    if (workspace->loss && di_loss_serial(workspace->loss))
        bytes += di_chunk_buffers(workspace->loss, teacher_width > 0, narrows(workspace)) * workspace->vocab *
                 (int64_t)sizeof(float);
    rows = di_strip_rows(memory, bytes);
    if (rows > 16) rows -= rows % 16;
    return larger(smaller(rows, max_rows), 1);
}

static int32_t make_strip(di_workspace *workspace, dk_buffer **buffer, int64_t width, dk_view *view, dk_error *err)
{
    const dk_dtype real = workspace->backend->real;
    const int64_t bytes = workspace->strip_rows * width * (int64_t)dk_dtype_size(real);
    int32_t rc = workspace->backend->ops->buffer_create(workspace->backend, bytes, buffer, err);
    if (rc) return rc;
    *view = dk_view_2d(*buffer, 0, real, workspace->strip_rows, width);
    return DK_OK;
}

int32_t di_workspace_reserve_gradient(di_workspace *workspace, dk_error *err)
{
    if (dk_view_present(workspace->gradient)) return DK_OK;
    return make_strip(workspace, &workspace->strips[2], workspace->student.shape[1], &workspace->gradient, err);
}

int32_t di_workspace_reserve_levels(di_workspace *workspace, int64_t count, dk_error *err)
{
    const int64_t width = workspace->teacher.shape[1];
    int32_t rc = DK_OK;
    workspace->levels[0] = workspace->teacher;
    for (int64_t i = 1; i < count && rc == DK_OK; i++)
        if (!dk_view_present(workspace->levels[i]))
            rc = make_strip(workspace, &workspace->level_buffers[i], width, &workspace->levels[i], err);
    return rc;
}

static int64_t plan_chunk(const di_workspace *workspace, int32_t with_teacher)
{
    const int64_t row =
        di_chunk_buffers(workspace->loss, with_teacher, narrows(workspace)) * workspace->vocab * (int64_t)sizeof(float);
    if (di_loss_serial(workspace->loss)) return workspace->strip_rows;
    return smaller(larger(smaller(CHUNK_BYTES / row, CHUNK_ROWS), 1), workspace->strip_rows);
}

static int32_t make_chunks(di_workspace *workspace, int32_t with_teacher, dk_error *err)
{
    const int64_t threads = dk_host_threads(workspace->host), capacity = plan_chunk(workspace, with_teacher);
    const int64_t tasks = threads > 1 ? smaller(threads * TASKS_PER_THREAD, TASKS_MAX) : 1;
    const int64_t count = di_loss_serial(workspace->loss) ? 1 : tasks;
    int32_t rc;
    DK_TRY(dk_new(workspace->host, count, &workspace->chunks, err));
    for (workspace->chunk_count = 0; workspace->chunk_count < count;) {
        di_chunk *chunk = &workspace->chunks[workspace->chunk_count++];
        chunk->host = workspace->host;
        DK_TRY(di_chunk_create(workspace->host, chunk, workspace->loss, capacity, workspace->vocab, with_teacher,
                               narrows(workspace), err));
    }
out:
    return rc;
}

int32_t di_workspace_create(dk_backend *backend, const di_loss *loss, int64_t memory, int64_t student_width,
                            int64_t teacher_width, int64_t max_rows, di_workspace **out, dk_error *err)
{
    di_workspace *workspace = NULL;
    int32_t rc;
    DK_TRY(dk_new(backend->host, 1, &workspace, err));
    workspace->backend = backend;
    workspace->host = backend->host;
    workspace->loss = loss;
    workspace->vocab = teacher_width > 0 ? smaller(student_width, teacher_width) : student_width;
    workspace->strip_rows = plan_rows(workspace, memory, student_width, teacher_width, max_rows);
    DK_TRY(dk_queue_open(&workspace->queue, backend, err));
    DK_TRY(make_strip(workspace, &workspace->strips[0], student_width, &workspace->student, err));
    if (teacher_width > 0)
        DK_TRY(make_strip(workspace, &workspace->strips[1], teacher_width, &workspace->teacher, err));
    DK_TRY(dk_new(workspace->host, workspace->strip_rows, &workspace->rows, err));
    DK_TRY(dk_new(workspace->host, workspace->strip_rows, &workspace->totals, err));
    if (teacher_width <= 0) DK_TRY(di_sparse_check_create(workspace->host, workspace->vocab, &workspace->sparse, err));
    if (loss) DK_TRY(dk_new(workspace->host, loss->count * workspace->strip_rows, &workspace->parts, err));
    if (loss) DK_TRY(dk_new(workspace->host, loss->count, &workspace->terms, err));
    if (loss) DK_TRY(make_chunks(workspace, teacher_width > 0, err));
out:
    if (rc) {
        di_workspace_free(workspace);
        return rc;
    }
    *out = workspace;
    return DK_OK;
}

void di_workspace_free(di_workspace *workspace)
{
    if (!workspace) return;
    for (int i = 0; i < 3; i++)
        if (workspace->strips[i]) workspace->backend->ops->buffer_free(workspace->backend, workspace->strips[i]);
    for (int i = 0; i < 3; i++) di_staging_free(workspace->host, &workspace->copied[i]);
    for (int i = 0; i < DI_TEMPERATURES; i++) {
        if (workspace->level_buffers[i])
            workspace->backend->ops->buffer_free(workspace->backend, workspace->level_buffers[i]);
        di_staging_free(workspace->host, &workspace->level_copied[i]);
    }
    dk_queue_close(&workspace->queue);
    for (int64_t i = 0; i < workspace->chunk_count; i++) di_chunk_free(&workspace->chunks[i]);
    dk_free(workspace->host, workspace->chunks);
    dk_free(workspace->host, workspace->rows);
    dk_free(workspace->host, workspace->totals);
    dk_free(workspace->host, workspace->parts);
    dk_free(workspace->host, workspace->terms);
    di_sparse_check_free(workspace->sparse);
    dk_free(workspace->host, workspace);
}

int64_t di_workspace_strip_rows(const di_workspace *workspace) { return workspace->strip_rows; }

dk_view di_workspace_student_strip(const di_workspace *workspace) { return workspace->student; }

dk_view di_workspace_teacher_strip(const di_workspace *workspace) { return workspace->teacher; }
