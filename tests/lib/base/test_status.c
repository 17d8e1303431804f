#include "base/status.h"
#include "test.h"

#include <errno.h>

TEST(message_and_code)
{
    dk_error err;
    CHECK_INT(sizeof err, 512);
    CHECK_INT(dk_fail(&err, DK_E_OPTION, "steps %d is not in [1, %d]", 0, 9), DK_E_OPTION);
    CHECK_STR(err.message, "steps 0 is not in [1, 9]");
    CHECK_INT(err.code, DK_E_OPTION);
    CHECK_INT(err.position, -1);
    dk_fail_at(&err, DK_E_FORMAT, 12, "x.json: bad");
    CHECK_INT(err.position, 12);
    CHECK_INT(dk_fail(NULL, DK_E_IO, "nobody listens"), DK_E_IO);
}

TEST(context_goes_in_front)
{
    dk_error err;
    dk_fail_at(&err, DK_E_FORMAT, 7, "inner");
    CHECK_INT(dk_error_context(&err, "outer %d", 1), DK_E_FORMAT);
    CHECK_STR(err.message, "outer 1: inner");
    CHECK_INT(err.position, 7);
    CHECK_INT(dk_error_context(NULL, "x"), 0);
    dk_error_clear(&err);
    CHECK_INT(err.code, 0);
    CHECK_STR(err.message, "");
}

TEST(system_errors)
{
    dk_error err;
    CHECK_INT(dk_fail_errno(&err, ENOENT, "%s: cannot be opened", "a.txt"), DK_E_NOT_FOUND);
    CHECK_STR(err.message, "a.txt: cannot be opened: No such file or directory");
    CHECK_INT(dk_fail_errno(&err, ENOMEM, "x"), DK_E_NOMEM);
    CHECK_INT(dk_fail_errno(&err, ENOSPC, "x"), DK_E_IO);
    CHECK_INT(dk_fail_nomem(&err, 77), DK_E_NOMEM);
    CHECK_HAS(err.message, "77 bytes");
}

/* Names and values in messages come from files: they must not break the line nor the encoding. */
TEST(hostile_values)
{
    dk_error err;
    char longer[2000];
    dk_fail(&err, DK_E_FORMAT, "key \"%s\"", "a\nb\x01\xff\xc3(\xc3\xa9");
    CHECK_STR(err.message, "key \"a b ?\?(\xc3\xa9\"");
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    for (size_t i = 0; i + 1 < sizeof longer; i += 2) memcpy(longer + i, "\xc3\xa9", 2);
    longer[1998] = 0;
    dk_fail(&err, DK_E_FORMAT, "_%s", longer);
    CHECK_INT(strlen(err.message), 495);
    CHECK_INT((unsigned char)err.message[494], 0xa9); /* cut between characters */
    dk_fail(&err, DK_E_FORMAT, "%s", longer);
    CHECK_INT(strlen(err.message), 494);
}

TEST(every_code_has_a_text)
{
    static const int32_t codes[] = {0,    -100, -101, -102, -103, -104, -105, -106, -200,
                                    -201, -202, -203, -204, -300, -301, -302, -303, -900};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        CHECK(strcmp(dk_status_text(codes[i]), dk_status_text(12345)) != 0);
    CHECK_STR(dk_status_text(12345), "unknown status");
}

TEST_MAIN(TEST_CASE(message_and_code) TEST_CASE(context_goes_in_front) TEST_CASE(system_errors)
              TEST_CASE(hostile_values) TEST_CASE(every_code_has_a_text))
