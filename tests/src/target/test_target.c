/* Checks of what hosts hand in, and tensors of any dtype and stride. (Sources over them are tested with the losses.) */
#include "target/target.h"
#include "test.h"

enum { TOKENS = 7 };
static int32_t ids[TOKENS] = {0, 1, 2, 3, 4, 5, 6};
static int64_t offsets[4] = {0, 3, 3, 7};

static distill_batch batch_of(void)
{
    distill_batch batch;
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 3;
    return batch;
}

TEST(rows_of_a_batch)
{
    int64_t places[TOKENS], chosen[2] = {2, 6};
    dk_error err;
    distill_batch batch = batch_of();
    CHECK_OK(di_check_batch(&batch, 7, &err));
    CHECK_INT(di_batch_rows(&batch), 5); /* all but the last of each sequence */
    di_batch_row_places(&batch, places);
    CHECK_INT(places[1], 1);
    CHECK_INT(places[2], 3);
    CHECK_INT(places[4], 5);
    batch.rows = chosen;
    batch.row_count = 2;
    CHECK_OK(di_check_batch(&batch, 7, &err));
    CHECK_INT(di_batch_rows(&batch), 2);
    di_batch_row_places(&batch, places);
    CHECK_INT(places[1], 6);
}

#define REFUSED(change, words)                                    \
    do {                                                          \
        distill_batch batch = batch_of();                         \
        int64_t broken[4] = {0, 3, 3, 7}, rows[2] = {2, 6};       \
        (void)broken, (void)rows;                                 \
        change;                                                   \
        CHECK_INT(di_check_batch(&batch, 7, &err), DK_E_INVALID); \
        CHECK_HAS(err.message, words);                            \
    } while (0)

TEST(broken_batches)
{
    float weights[5] = {1, 1, NAN, 1, 1};
    dk_error err;
    REFUSED(batch.struct_size = 4, "batch has struct_size 4");
    REFUSED(batch.ids = NULL, "batch.ids is NULL");
    REFUSED(batch.offsets = NULL, "batch.offsets is NULL");
    REFUSED(batch.sequences = -1, "batch.sequences is -1");
    REFUSED((broken[0] = 1, batch.offsets = broken), "batch.offsets[0] is 1, not 0");
    REFUSED((broken[2] = 2, batch.offsets = broken), "batch.offsets[2] is 2, below the one before");
    REFUSED((ids[4] = 7, batch.ids = ids), "batch.ids[4] is 7, outside the vocabulary of 7");
    ids[4] = 4;
    REFUSED((rows[1] = 7, batch.rows = rows, batch.row_count = 2), "batch.rows[1] is 7, outside 0..6");
    REFUSED((rows[1] = 2, batch.rows = rows, batch.row_count = 2), "batch.rows[1] is 2, not above the one before");
    REFUSED((batch.rows = rows, batch.row_count = -1), "batch.row_count is -1");
    REFUSED(batch.weights = weights, "batch.weights[2] is nan; weights are finite and at least 0");
    weights[2] = INFINITY;
    REFUSED(batch.weights = weights, "batch.weights[2] is inf");
    weights[2] = -0.5f;
    REFUSED(batch.weights = weights, "batch.weights[2] is -0.5; weights are finite and at least 0");
}

TEST(read_and_write)
{
    static const float want[6] = {1, 2, 3, 4, 5, 6};
    const int64_t shape[2] = {2, 3}, transposed[2] = {1, 2}, broadcast[2] = {0, 1}, spread[2] = {8, 2};
    double columns[6] = {1, 4, 2, 5, 3, 6};
    uint16_t brains[6], halves[6];
    float got[6], room[16] = {0};
    distill_tensor t = di_tensor_of(columns, DISTILL_FLOAT, 64, 2, shape);
    t.strides = transposed;
    di_tensor_read_rows(&t, 0, 2, got);
    CHECK(memcmp(got, want, sizeof got) == 0);
    di_tensor_read_rows(&t, 1, 1, got);
    CHECK(memcmp(got, want + 3, 3 * sizeof *got) == 0);
    for (int i = 0; i < 6; i++) {
        brains[i] = dk_f32_to_bf16(want[i]);
        halves[i] = dk_f32_to_f16(want[i]);
    }
    t = di_tensor_of(brains, DISTILL_BFLOAT, 16, 2, shape);
    di_tensor_read_rows(&t, 0, 2, got);
    CHECK(memcmp(got, want, sizeof got) == 0);
    t = di_tensor_of(halves, DISTILL_FLOAT, 16, 2, shape);
    t.byte_offset = 2;
    t.strides = broadcast;
    di_tensor_read_rows(&t, 0, 2, got);
    CHECK(got[0] == 2 && got[2] == 4 && got[3] == 2);
    t = di_tensor_of(room, DISTILL_FLOAT, 32, 2, shape);
    t.strides = spread;
    di_tensor_write_rows(&t, 0, 2, want, 0);
    di_tensor_write_rows(&t, 1, 1, want, 1);
    CHECK(room[4] == 3 && room[1] == 0 && room[8] == 5 && room[12] == 9 && room[13] == 0);
    di_tensor_zero(&t, 0, t.shape[0]);
    CHECK(room[4] == 0 && room[12] == 0);
}

TEST(read_ids)
{
    const int64_t shape[1] = {3};
    int64_t wide[3] = {5, -100, INT64_MIN};
    int32_t got[3];
    dk_error err;
    distill_tensor t = di_tensor_of(wide, DISTILL_INT, 64, 1, shape);
    CHECK_OK(di_tensor_read_ids(&t, "labels", 0, 3, got, &err));
    CHECK(got[0] == 5 && got[1] < 0 && got[2] < 0);
    wide[1] = (int64_t)INT32_MAX + 1;
    CHECK_INT(di_tensor_read_ids(&t, "labels", 0, 3, got, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "labels: entry 0 of row 1 is 2147483648");
}

TEST(hostile_shapes)
{
    int64_t shape[2] = {INT64_MAX / 4, 8}, far[2] = {INT64_MAX / 2, 1}, small[2] = {2, 2}, negative[2] = {2, -1};
    float data[4];
    dk_error err;
    distill_tensor t = di_tensor_of(data, DISTILL_FLOAT, 32, 2, shape);
    CHECK_INT(di_check_tensor(&t, "x", 2, NULL, 0, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "x is too large");
    t.shape = small;
    t.strides = far;
    CHECK_INT(di_check_tensor(&t, "x", 2, NULL, 0, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "leaves the address space");
    t.strides = NULL;
    t.shape = negative;
    CHECK_INT(di_check_tensor(&t, "x", 2, NULL, 0, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "dimension 1 is -1");
    t.shape = NULL;
    CHECK_INT(di_check_tensor(&t, "x", 2, NULL, 0, &err), DK_E_INVALID);
    CHECK_INT(di_check_tensor(NULL, "x", 2, NULL, 0, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "x is NULL");
}

TEST(target_parts)
{
    const int64_t shape[2] = {2, 3}, head_shape[2] = {5, 3}, other[2] = {5, 4};
    float data[20];
    dk_error err;
    distill_target target;
    distill_tensor values = di_tensor_of(data, DISTILL_FLOAT, 32, 2, shape),
                   head = di_tensor_of(data, DISTILL_FLOAT, 32, 2, head_shape);
    DISTILL_INIT(&target);
    target.kind = DISTILL_HIDDEN;
    target.values = &values;
    CHECK_INT(di_check_target(&target, "teacher", 2, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "teacher.head is NULL");
    target.head = &head;
    CHECK_OK(di_check_target(&target, "teacher", 2, &err));
    CHECK_INT(di_target_width(&target), 5);
    CHECK_INT(di_check_target(&target, "teacher", 3, &err), DK_E_INVALID);
    head.shape = other;
    CHECK_INT(di_check_target(&target, "teacher", 2, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "teacher.head: dimension 1 is 4, not 3");
    target.kind = DISTILL_TOPK;
    CHECK_INT(di_check_target(&target, "teacher", 2, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "teacher.ids is NULL");
    target.kind = DISTILL_DENSE;
    static const double outside[] = {-1, 1e-39, 0.00099, 1001, INFINITY, NAN};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        target.temperature = outside[i];
        CHECK_INT(di_check_target(&target, "teacher", 2, &err), DK_E_INVALID);
        CHECK_HAS(err.message, "teacher.temperature is ");
        CHECK_HAS(err.message, ", outside 0.001..1000");
    }
    target.temperature = 1e-3;
    CHECK_OK(di_check_target(&target, "teacher", 2, &err));
}

TEST_MAIN(TEST_CASE(rows_of_a_batch) TEST_CASE(broken_batches) TEST_CASE(read_and_write) TEST_CASE(read_ids)
              TEST_CASE(hostile_shapes) TEST_CASE(target_parts))
