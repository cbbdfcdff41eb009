/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: addresses as a peer packs them and as people write them. Whatever is read is written as a
 * text and a packed form that read as the same address; the text that was written is the only one.
 */
#include <assert.h>
#include <string.h>

#include "proto/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const struct pr_addr *a)
{
    char one[PR_ADDR_TEXT_MAX];
    char two[PR_ADDR_TEXT_MAX];
    struct pr_addr again;
    size_t n = pr_addr_format(a, one, sizeof one);

    assert(n > 0 && n < sizeof one && one[n] == '\0' && strlen(one) == n);
    if (a->family == PR_ADDR_NONE) {
        assert(pr_addr_parse(pr_bytes(one, n), &again) == PR_ESYNTAX);
        return;
    }
    assert(pr_addr_parse(pr_bytes(one, n), &again) == PR_OK);
    assert(pr_addr_eq(a, &again));
    assert(pr_addr_format(&again, two, sizeof two) == n && memcmp(one, two, n) == 0);
}

static void check_packed(const struct pr_addr *a)
{
    uint8_t packed[PR_ADDR_PACKED_MAX];
    struct pr_addr again;
    size_t n = pr_addr_pack(a, packed);

    assert(n <= sizeof packed);
    assert(pr_addr_unpack(pr_bytes(packed, n), &again) == PR_OK);
    assert(pr_addr_eq(a, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct pr_addr none = {0};
    struct pr_addr a;

    if (pr_addr_parse(pr_bytes(data, size), &a) == PR_OK) {
        assert(a.family == PR_ADDR_V4 || a.family == PR_ADDR_V6);
        check_text(&a);
        check_packed(&a);
    } else {
        assert(pr_addr_eq(&a, &none));
    }
    if (pr_addr_unpack(pr_bytes(data, size), &a) == PR_OK) {
        assert(pr_addr_pack(&a, (uint8_t[PR_ADDR_PACKED_MAX]){0}) == size);
        check_text(&a);
        check_packed(&a);
    } else {
        assert(pr_addr_eq(&a, &none));
    }
    return 0;
}
