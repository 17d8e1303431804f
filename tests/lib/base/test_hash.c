#include "base/hash.h"
#include "test.h"

TEST(crc32c)
{
    unsigned char bytes[100];
    for (int i = 0; i < 100; i++) bytes[i] = (unsigned char)(i * 37);
    CHECK(dk_crc32c(0, "123456789", 9) == 0xe3069283u);
    memset(bytes, 0, 32);
    CHECK(dk_crc32c(0, bytes, 32) == 0x8a9136aau); /* RFC 3720 B.4 */
    for (int i = 0; i < 32; i++) bytes[i] = (unsigned char)i;
    CHECK(dk_crc32c(0, bytes, 32) == 0x46dd794eu);
    for (size_t cut = 0; cut <= 100; cut++)
        CHECK(dk_crc32c(dk_crc32c(0, bytes, cut), bytes + cut, 100 - cut) == dk_crc32c(0, bytes, 100));
}

TEST(fnv)
{
    CHECK(dk_hash64("", 0) == UINT64_C(0xcbf29ce484222325));
    CHECK(dk_hash64("a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
    CHECK(dk_hash64("foobar", 6) == UINT64_C(0x85944171f73967e8));
}

static const char *sha_hex(const char *text, size_t size, size_t step)
{
    static char hex[65];
    uint8_t digest[32];
    dk_sha256 sha;
    dk_sha256_begin(&sha);
    for (size_t at = 0; at < size; at += step) dk_sha256_add(&sha, text + at, size - at < step ? size - at : step);
    dk_sha256_end(&sha, digest);
    dk_hex(digest, 32, hex);
    return hex;
}

TEST(sha256)
{
    static char million[1000000];
    CHECK_STR(sha_hex("", 0, 1), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK_STR(sha_hex("abc", 3, 3), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK_STR(sha_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, 5),
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    memset(million, 'a', sizeof million);
    CHECK_STR(sha_hex(million, sizeof million, 777),
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_MAIN(TEST_CASE(crc32c) TEST_CASE(fnv) TEST_CASE(sha256))
