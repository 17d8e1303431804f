/* bit_code.h - streams of bits, lowest bit first, and the two codes of whole numbers that target caches use.
 *
 * Rice with parameter r: value >> r as so many zeroes and a one, then the low r bits. Exp-Golomb with parameter r: z
 * zeroes and a one, then z + r bits: value = bits + ((2^z - 1) << r). No code is longer than DI_CODE_BITS, so that one
 * load decodes it. */
#ifndef DI_CACHE_BIT_CODE_H
#define DI_CACHE_BIT_CODE_H

#include <stdint.h>
#include <string.h>

#include "base/strbuf.h"

enum { DI_CODE_RICE = 0, DI_CODE_EXP_GOLOMB = 1, DI_CODE_ZEROES = 24, DI_CODE_BITS = 56, DI_CODE_BAD = -1 };

typedef struct di_bit_writer {
    dk_strbuf *out;
    uint64_t held; /* bits that are no whole byte yet */
    int held_bits;
} di_bit_writer;
void di_bits_put(di_bit_writer *writer, uint64_t value, int bits); /* bits <= 56 */
void di_bits_end(di_bit_writer *writer);                           /* zeroes up to a whole byte */
void di_code_put(di_bit_writer *writer, int kind, int parameter, uint32_t value);
/* The shorter kind (of `kinds` from DI_CODE_RICE on) with its parameter below `parameters`, over all values. */
void di_code_choose(const uint32_t *values, int64_t count, int kinds, int parameters, int *kind, int *parameter);

typedef struct di_bit_reader {
    const uint8_t *data;
    size_t size;
    uint64_t at, end; /* bits */
} di_bit_reader;

static inline uint64_t di_bits_peek(const di_bit_reader *reader) /* 57 bits at least; zeroes behind the end */
{
    const size_t byte = (size_t)(reader->at >> 3);
    uint64_t word = 0;
    if (byte + 8 <= reader->size) memcpy(&word, reader->data + byte, 8);
    else if (byte < reader->size) memcpy(&word, reader->data + byte, reader->size - byte);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word >> (reader->at & 7);
}

static inline uint64_t di_bits_get(di_bit_reader *reader, int bits) /* bits <= 56; at may pass the end: look then */
{
    const uint64_t value = di_bits_peek(reader) & (((uint64_t)1 << bits) - 1);
    reader->at += (uint64_t)bits;
    return value;
}

static inline int di_zeroes(uint64_t word) /* below the lowest one; at most DI_CODE_ZEROES + 1 */
{
    word |= (uint64_t)1 << (DI_CODE_ZEROES + 1);
#if defined(__GNUC__)
    return __builtin_ctzll(word);
#else
    int zeroes = 0;
    while (!(word >> zeroes & 1)) zeroes++;
    return zeroes;
#endif
}

/* DI_CODE_BAD = no code. */
static inline int64_t di_code_get_rice(di_bit_reader *reader, int parameter)
{
    const uint64_t word = di_bits_peek(reader);
    const int zeroes = di_zeroes(word);
    if (zeroes > DI_CODE_ZEROES) return DI_CODE_BAD;
    reader->at += (uint64_t)(zeroes + 1 + parameter);
    return (int64_t)((uint64_t)zeroes << parameter | (word >> (zeroes + 1) & (((uint64_t)1 << parameter) - 1)));
}

static inline int64_t di_code_get_exp_golomb(di_bit_reader *reader, int parameter)
{
    const uint64_t word = di_bits_peek(reader);
    const int zeroes = di_zeroes(word), bits = zeroes + parameter;
    if (zeroes > DI_CODE_ZEROES || 2 * zeroes + 1 + parameter > DI_CODE_BITS) return DI_CODE_BAD;
    reader->at += (uint64_t)(zeroes + 1 + bits);
    return (int64_t)((word >> (zeroes + 1) & (((uint64_t)1 << bits) - 1)) +
                     ((((uint64_t)1 << zeroes) - 1) << parameter));
}

#endif
