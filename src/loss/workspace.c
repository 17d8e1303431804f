#include "loss/workspace.h"

/* Of a limit M: M/PRODUCTS_SHARE and OTHERS are left to the scratch of products and small things, M/CHUNKS_SHARE to
 * chunks, or what one row of them takes; the rest is strips. */
enum { CHUNK_BYTES = 256 * 1024, CHUNK_ROWS = 16, TASKS_MAX = 64 };
enum { PRODUCTS_SHARE = 32, CHUNKS_SHARE = 16, OTHERS = 8192, CHUNK_OTHERS = 2048 };

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t limit_of(int64_t memory) { return memory ? memory : DI_STRIP_BYTES_MOST; }

static int32_t refuse_memory(const char *limit, int64_t memory, int64_t least, dk_error *err)
{
    return dk_fail(err, DK_E_OPTION,
                   "%s of %lld bytes does not hold one row of logits with what belongs to it; give it at least %lld",
                   limit, (long long)limit_of(memory), (long long)least);
}

static int64_t rows_within(int64_t memory, int64_t room, int64_t row_bytes)
{
    return memory ? room / row_bytes : smaller(room / row_bytes, DI_STRIP_ROWS);
}

int32_t di_strip_rows(int64_t memory, int64_t row_bytes, int64_t *rows, dk_error *err)
{
    *rows = rows_within(memory, limit_of(memory), row_bytes);
    return *rows > 0 ? DK_OK : refuse_memory("train.loss_memory", memory, row_bytes, err);
}

static int32_t narrows(const di_workspace *workspace) { return workspace->backend->real != DK_F32; }

static int32_t is_serial(const di_workspace *workspace) { return workspace->loss && di_loss_serial(workspace->loss); }

/* Bytes of one row: in a chunk, and in all strips. A loss that is called once per strip has one chunk as high as
 * these. */
static int64_t chunk_row(const di_workspace *workspace)
{
    const di_workspace_spec *spec = &workspace->spec;
    if (!workspace->loss) return 0;
    return di_chunk_buffers(workspace->loss, workspace->vocab, spec->teacher_width > 0, narrows(workspace)) *
               workspace->vocab * (int64_t)sizeof(float) +
           di_chunk_row_bytes(spec->listed);
}

static int64_t strip_row(const di_workspace *workspace)
{
    const di_workspace_spec *spec = &workspace->spec;
    if (spec->in_place) return 0;
    return (spec->student_width * (1 + (spec->keeps_logits != 0)) + spec->teacher_width * spec->levels) *
           (int64_t)dk_dtype_size(workspace->backend->real);
}

static int64_t count_sums(const di_workspace *workspace)
{
    return workspace->loss ? di_loss_sum_count(workspace->loss) : 0;
}

/* All that grows with the rows. */
static int64_t bytes_of(const di_workspace *workspace, int64_t rows)
{
    const di_workspace_spec *spec = &workspace->spec;
    const int64_t terms = workspace->loss ? workspace->loss->count : 0,
                  others = spec->row_bytes + (2 + terms + count_sums(workspace)) * (int64_t)sizeof(double);
    return dk_buffer_bytes(rows * strip_row(workspace)) + dk_buffer_bytes(rows * spec->buffer_row[0]) +
           dk_buffer_bytes(rows * spec->buffer_row[1]) +
           rows * (others + (is_serial(workspace) ? chunk_row(workspace) : 0));
}

/* Of a chunk, however many rows it has. */
static int64_t chunk_others(const di_workspace *workspace)
{
    return CHUNK_OTHERS + (workspace->loss ? workspace->loss->count * (int64_t)sizeof(di_fitted) : 0);
}

static int64_t chunk_room(const di_workspace *workspace, int64_t limit)
{
    return is_serial(workspace) ? 0 : larger(limit / CHUNKS_SHARE, chunk_row(workspace) + chunk_others(workspace));
}

/* Left to rows. */
static int64_t room_of(const di_workspace *workspace, int64_t limit)
{
    const int64_t sums = workspace->spec.max_sequences * count_sums(workspace) * (int64_t)sizeof(double);
    return limit - limit / PRODUCTS_SHARE - chunk_room(workspace, limit) - OTHERS - workspace->spec.bytes - sums;
}

/* The smallest limit that one row fits into. */
static int64_t least_memory(const di_workspace *workspace)
{
    const int64_t row = bytes_of(workspace, 1);
    int64_t limit = row;
    for (int64_t room = room_of(workspace, limit); room < row; room = room_of(workspace, limit)) limit += row - room;
    return limit;
}

static int64_t rows_in(const di_workspace *workspace, int64_t room)
{
    const int64_t row = bytes_of(workspace, 1);
    int64_t rows = larger(room / row, 0);
    while (rows > 0 && bytes_of(workspace, rows) > room) rows -= 1 + (bytes_of(workspace, rows) - room - 1) / row;
    return rows;
}

/* Never a function of the number of threads: gradients of a head add up strip by strip. */
static int32_t plan_rows(di_workspace *workspace, dk_error *err)
{
    const int64_t memory = workspace->spec.memory;
    int64_t rows = rows_in(workspace, room_of(workspace, limit_of(memory)));
    if (rows < 1) return refuse_memory(workspace->spec.limit, memory, least_memory(workspace), err);
    if (!memory) rows = smaller(rows, DI_STRIP_ROWS);
    if (rows > 16) rows -= rows % (rows < 64 ? 8 : 16);
    workspace->strip_rows = larger(smaller(rows, workspace->spec.max_rows), 1);
    return DK_OK;
}

/* Of rows that lie elsewhere it is one row, which stands for all. */
static dk_view take_strip(di_workspace *workspace, int64_t width)
{
    const int32_t in_place = workspace->spec.in_place;
    dk_view strip =
        dk_arena_2d(&workspace->strips, workspace->backend->real, in_place ? 1 : workspace->strip_rows, width);
    if (!in_place) return strip;
    strip.shape[0] = workspace->strip_rows;
    strip.stride[0] = 0;
    return strip;
}

/* The student's, its gradient's where that is another, and the teacher's at each temperature. */
static void take_strips(di_workspace *workspace)
{
    const di_workspace_spec *spec = &workspace->spec;
    workspace->student = take_strip(workspace, spec->student_width);
    if (spec->keeps_logits) workspace->gradient = take_strip(workspace, spec->student_width);
    for (int64_t i = 0; spec->teacher_width > 0 && i < spec->levels; i++)
        workspace->levels[i] = take_strip(workspace, spec->teacher_width);
    workspace->teacher = workspace->levels[0];
}

/* A loss on features alone asks no head: strips are for whoever pulls logits. */
static int32_t is_without_rows(const di_workspace *workspace)
{
    return workspace->loss && !di_loss_compares_rows(workspace->loss);
}

int32_t di_workspace_open_strips(di_workspace *workspace, dk_error *err)
{
    int32_t rc;
    if (dk_view_present(workspace->student)) return DK_OK;
    dk_arena_init(&workspace->strips, workspace->backend);
    take_strips(workspace);
    DK_TRY(dk_arena_commit(&workspace->strips, err));
    take_strips(workspace);
out:
    return rc;
}

static int64_t plan_chunk(const di_workspace *workspace)
{
    const int64_t row = chunk_row(workspace), room = chunk_room(workspace, limit_of(workspace->spec.memory)),
                  most = smaller(smaller(CHUNK_BYTES / row, CHUNK_ROWS), (room - chunk_others(workspace)) / row);
    return is_serial(workspace) ? workspace->strip_rows : smaller(larger(most, 1), workspace->strip_rows);
}

/* One for each thread, as far as there is room: each takes rows until none are left. */
static int64_t count_chunks(const di_workspace *workspace, int64_t capacity)
{
    const int64_t threads = dk_host_threads(workspace->host), tasks = smaller(threads, TASKS_MAX);
    if (is_serial(workspace)) return 1;
    const int64_t room = chunk_room(workspace, limit_of(workspace->spec.memory)),
                  most = room / (capacity * chunk_row(workspace) + chunk_others(workspace));
    return larger(smaller(tasks, most), 1);
}

static int32_t make_chunks(di_workspace *workspace, dk_error *err)
{
    const int64_t capacity = plan_chunk(workspace), count = count_chunks(workspace, capacity);
    int32_t rc;
    DK_TRY(dk_new(workspace->host, count, &workspace->chunks, err));
    for (workspace->chunk_count = 0; workspace->chunk_count < count;) {
        di_chunk *chunk = &workspace->chunks[workspace->chunk_count++];
        chunk->host = workspace->host;
        DK_TRY(di_chunk_create(workspace->host, chunk, workspace->loss, capacity, workspace->vocab,
                               workspace->spec.teacher_width > 0, narrows(workspace), err));
    }
out:
    return rc;
}

static int32_t make_sums(di_workspace *workspace, dk_error *err)
{
    const int64_t sums = count_sums(workspace);
    int32_t rc;
    DK_TRY(dk_new(workspace->host, workspace->loss->count, &workspace->sums_of, err));
    if (sums) DK_TRY(dk_new(workspace->host, workspace->strip_rows * sums, &workspace->measured, err));
    if (sums) DK_TRY(dk_new(workspace->host, workspace->spec.max_sequences * sums, &workspace->sums, err));
out:
    return rc;
}

int32_t di_workspace_create(dk_backend *backend, const di_loss *loss, const di_workspace_spec *spec, di_workspace **out,
                            dk_error *err)
{
    di_workspace *workspace = NULL;
    int32_t rc;
    DK_TRY(dk_new(backend->host, 1, &workspace, err));
    workspace->backend = backend;
    workspace->host = backend->host;
    workspace->loss = loss;
    workspace->spec = *spec;
    workspace->spec.levels = larger(spec->levels, 1);
    workspace->spec.max_sequences = larger(spec->max_sequences, 1);
    workspace->vocab =
        spec->teacher_width > 0 ? smaller(spec->student_width, spec->teacher_width) : spec->student_width;
    DK_TRY(plan_rows(workspace, err));
    DK_TRY(dk_queue_open(&workspace->queue, backend, err));
    if (!is_without_rows(workspace)) DK_TRY(di_workspace_open_strips(workspace, err));
    DK_TRY(dk_new(workspace->host, workspace->strip_rows, &workspace->rows, err));
    DK_TRY(dk_new(workspace->host, workspace->strip_rows, &workspace->totals, err));
    if (spec->teacher_width <= 0)
        DK_TRY(di_sparse_check_create(workspace->host, workspace->vocab, &workspace->sparse, err));
    if (loss) DK_TRY(dk_new(workspace->host, loss->count * workspace->strip_rows, &workspace->parts, err));
    if (loss) DK_TRY(dk_new(workspace->host, loss->count * workspace->strip_rows, &workspace->squares, err));
    if (loss) DK_TRY(dk_new(workspace->host, loss->count, &workspace->terms, err));
    if (loss && !is_without_rows(workspace)) DK_TRY(make_chunks(workspace, err));
    if (loss) DK_TRY(make_sums(workspace, err));
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
    dk_arena_free(&workspace->strips);
    for (int i = 0; i < 3; i++) di_staging_free(workspace->host, &workspace->copied[i]);
    for (int i = 0; i < DI_TEMPERATURES; i++) di_staging_free(workspace->host, &workspace->level_copied[i]);
    dk_queue_close(&workspace->queue);
    for (int64_t i = 0; i < workspace->chunk_count; i++) di_chunk_free(&workspace->chunks[i]);
    dk_free(workspace->host, workspace->chunks);
    dk_free(workspace->host, workspace->rows);
    dk_free(workspace->host, workspace->totals);
    dk_free(workspace->host, workspace->parts);
    dk_free(workspace->host, workspace->squares);
    dk_free(workspace->host, workspace->terms);
    dk_free(workspace->host, workspace->measured);
    dk_free(workspace->host, workspace->sums);
    dk_free(workspace->host, workspace->sums_of);
    di_sparse_check_free(workspace->sparse);
    dk_free(workspace->host, workspace);
}

int64_t di_workspace_strip_rows(const di_workspace *workspace) { return workspace->strip_rows; }

dk_view di_workspace_student_strip(const di_workspace *workspace) { return workspace->student; }

dk_view di_workspace_teacher_strip(const di_workspace *workspace) { return workspace->teacher; }

dk_view di_workspace_gradient_strip(const di_workspace *workspace) { return workspace->gradient; }
