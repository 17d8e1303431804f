#include "cache/bit_code.h"

void di_bits_put(di_bit_writer *writer, uint64_t value, int bits)
{
    uint8_t bytes[8];
    int count = 0;
    writer->held |= value << writer->held_bits;
    for (writer->held_bits += bits; writer->held_bits >= 8; writer->held_bits -= 8) {
        bytes[count++] = (uint8_t)writer->held;
        writer->held >>= 8;
    }
    if (count) dk_strbuf_append(writer->out, bytes, (size_t)count);
}

void di_bits_end(di_bit_writer *writer)
{
    if (writer->held_bits) di_bits_put(writer, 0, 8 - writer->held_bits);
    writer->held = 0;
}

static int zeroes_of(int kind, int parameter, uint32_t value)
{
    const uint64_t high = (uint64_t)value >> parameter;
    int zeroes = 0;
    if (kind == DI_CODE_RICE) return high > DI_CODE_ZEROES ? DI_CODE_ZEROES + 1 : (int)high;
    while (high + 1 >= (uint64_t)2 << zeroes) zeroes++;
    return zeroes;
}

static int64_t length_of(int kind, int parameter, uint32_t value) /* bits; -1 = longer than codes may be */
{
    const int zeroes = zeroes_of(kind, parameter, value);
    const int bits = zeroes + 1 + parameter + (kind == DI_CODE_EXP_GOLOMB ? zeroes : 0);
    return zeroes > DI_CODE_ZEROES || bits > DI_CODE_BITS ? -1 : bits;
}

void di_code_put(di_bit_writer *writer, int kind, int parameter, uint32_t value)
{
    const int zeroes = zeroes_of(kind, parameter, value);
    uint64_t low = value & (((uint64_t)1 << parameter) - 1);
    int bits = parameter;
    if (kind == DI_CODE_EXP_GOLOMB) {
        low = value - ((((uint64_t)1 << zeroes) - 1) << parameter);
        bits += zeroes;
    }
    di_bits_put(writer, (uint64_t)1 << zeroes, zeroes + 1);
    if (bits) di_bits_put(writer, low, bits);
}

void di_code_choose(const uint32_t *values, int64_t count, int kinds, int parameters, int *kind, int *parameter)
{
    int64_t best = INT64_MAX;
    *kind = DI_CODE_RICE;
    *parameter = parameters - 1;
    for (int k = 0; k < kinds; k++)
        for (int p = 0; p < parameters; p++) {
            int64_t sum = 0, i = 0, bits = 0;
            for (; i < count && sum < best; sum += bits, i++)
                if ((bits = length_of(k, p, values[i])) < 0) break;
            if (i < count || sum >= best) continue;
            best = sum;
            *kind = k;
            *parameter = p;
        }
}
