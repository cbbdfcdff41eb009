/* SPDX-License-Identifier: Apache-2.0 */
/* Written once by ring_vectors.py: see there. */

static const struct {
    uint64_t id, key, score;
} ring_scores[] = {
    {UINT64_C(0x0), UINT64_C(0x0), UINT64_C(0x10f9bb6c1)},
    {UINT64_C(0x1), UINT64_C(0x0), UINT64_C(0xf4d98246)},
    {UINT64_C(0x2), UINT64_C(0x0), UINT64_C(0x1915a224)},
    {UINT64_C(0xdeadbeef), UINT64_C(0x0), UINT64_C(0xcaed7a9f)},
    {UINT64_C(0x12ae30237b17df14), UINT64_C(0x0), UINT64_C(0x1ca7393c)},
    {UINT64_C(0xffffffffffffffff), UINT64_C(0x0), UINT64_C(0x128ced09)},
    {UINT64_C(0x0), UINT64_C(0x1), UINT64_C(0x367aa0ee)},
    {UINT64_C(0x1), UINT64_C(0x1), UINT64_C(0x178ac5827)},
    {UINT64_C(0x2), UINT64_C(0x1), UINT64_C(0x4fb46fbea)},
    {UINT64_C(0xdeadbeef), UINT64_C(0x1), UINT64_C(0x19e83db5d)},
    {UINT64_C(0xd56b1fbb9ceba9e8), UINT64_C(0x1), UINT64_C(0xd427b2e5)},
    {UINT64_C(0xffffffffffffffff), UINT64_C(0x1), UINT64_C(0x120c41ab2)},
    {UINT64_C(0x0), UINT64_C(0x2), UINT64_C(0x5f4b331)},
    {UINT64_C(0x1), UINT64_C(0x2), UINT64_C(0x18a85a2b5)},
    {UINT64_C(0x2), UINT64_C(0x2), UINT64_C(0x1c832f3ea)},
    {UINT64_C(0xdeadbeef), UINT64_C(0x2), UINT64_C(0x3f5470856)},
    {UINT64_C(0x826c6abf7fdd5ad7), UINT64_C(0x2), UINT64_C(0x12f7a2be8)},
    {UINT64_C(0xffffffffffffffff), UINT64_C(0x2), UINT64_C(0x2dfa1dbd)},
    {UINT64_C(0x0), UINT64_C(0xfff), UINT64_C(0x73ed8b66)},
    {UINT64_C(0x1), UINT64_C(0xfff), UINT64_C(0x5e16f3e19)},
    {UINT64_C(0x2), UINT64_C(0xfff), UINT64_C(0xb17a8442)},
    {UINT64_C(0xdeadbeef), UINT64_C(0xfff), UINT64_C(0x1865ea9ce)},
    {UINT64_C(0x7d863810608d14a2), UINT64_C(0xfff), UINT64_C(0x3cf7fc1b4)},
    {UINT64_C(0xffffffffffffffff), UINT64_C(0xfff), UINT64_C(0xba7b2e57)},
    {UINT64_C(0x0), UINT64_C(0x123456789abcdef), UINT64_C(0x10634a5b6)},
    {UINT64_C(0x1), UINT64_C(0x123456789abcdef), UINT64_C(0x2ad2b9e7d)},
    {UINT64_C(0x2), UINT64_C(0x123456789abcdef), UINT64_C(0x1df5acbcb)},
    {UINT64_C(0xdeadbeef), UINT64_C(0x123456789abcdef), UINT64_C(0xdc61b792)},
    {UINT64_C(0xd9c603d10f06fbf0), UINT64_C(0x123456789abcdef), UINT64_C(0x1a7ca41be)},
    {UINT64_C(0xffffffffffffffff), UINT64_C(0x123456789abcdef), UINT64_C(0x3103b947c)},
    {UINT64_C(0x0), UINT64_C(0xffffffffffffffff), UINT64_C(0xb68e5747)},
    {UINT64_C(0x1), UINT64_C(0xffffffffffffffff), UINT64_C(0x2e5866c26)},
    {UINT64_C(0x2), UINT64_C(0xffffffffffffffff), UINT64_C(0xd62d3f0c)},
    {UINT64_C(0xdeadbeef), UINT64_C(0xffffffffffffffff), UINT64_C(0x253dbec)},
    {UINT64_C(0x3709552d3143939b), UINT64_C(0xffffffffffffffff), UINT64_C(0x98ce49e1)},
    {UINT64_C(0xffffffffffffffff), UINT64_C(0xffffffffffffffff), UINT64_C(0x1202a9b13)},
    {UINT64_C(0x9fbd96359554aa53), UINT64_C(0x4d), UINT64_C(0x4000000000)},
    {UINT64_C(0x9d029f4fc476f81), UINT64_C(0x4d), UINT64_C(0x4000000000)},
    {UINT64_C(0xb366e9b3477321e6), UINT64_C(0x4d), UINT64_C(0x3f00000000)},
    {UINT64_C(0xbb77e67b1eb9b4dd), UINT64_C(0x4d), UINT64_C(0x3e6a3fe5c6)},
    {UINT64_C(0x95a8c30e5aaf84ed), UINT64_C(0x4d), UINT64_C(0x2900000000)},
    {UINT64_C(0x5cf55ebb27251a3c), UINT64_C(0x4d), UINT64_C(0x2000000002)},
    {UINT64_C(0x3f6ba2ab44dd15d7), UINT64_C(0x4d), UINT64_C(0x2000000000)},
    {UINT64_C(0xf25d6ac3ecc3098f), UINT64_C(0x4d), UINT64_C(0x900000001)},
    {UINT64_C(0xf19746050099f8c0), UINT64_C(0x4d), UINT64_C(0x900000000)},
    {UINT64_C(0x343a945810957781), UINT64_C(0x4d), UINT64_C(0x100000001)},
    {UINT64_C(0x5198fd9cd8337b09), UINT64_C(0x4d), UINT64_C(0x100000000)},
    {UINT64_C(0x927da3b301609b6d), UINT64_C(0x4d), UINT64_C(0xfe8f63ba)},
    {UINT64_C(0xce949da9d0dc6517), UINT64_C(0x4d), UINT64_C(0xfe8f63b9)},
    {UINT64_C(0xe221a0571949512d), UINT64_C(0x4d), UINT64_C(0x1)},
    {UINT64_C(0x5027929a6f3f0793), UINT64_C(0x4d), UINT64_C(0x1)},
};

/* Members, and the owner of partitions 0, 64, 128 ... as place in the list. */
static const struct {
    uint32_t n;
    struct cl_ring_member m[8];
    const char *owners;
} ring_sets[] = {
    /* equal */
    {7,
     {{UINT64_C(0x5692161d100b05e5), 100u},
      {UINT64_C(0xdbd238973a2b148a), 100u},
      {UINT64_C(0x1e535eede31428f0), 100u},
      {UINT64_C(0xb7a4712c74562914), 100u},
      {UINT64_C(0xb6bf613dbebb45dc), 100u},
      {UINT64_C(0xd17707977078336c), 100u},
      {UINT64_C(0x12ae30237b17df14), 100u}},
     "6150344555213133353046224350446155254451426414425455054222416554"},
    /* unequal */
    {6,
     {{UINT64_C(0x5692161d100b05e5), 1u},
      {UINT64_C(0xdbd238973a2b148a), 50u},
      {UINT64_C(0x1e535eede31428f0), 100u},
      {UINT64_C(0xb7a4712c74562914), 100u},
      {UINT64_C(0xb6bf613dbebb45dc), 333u},
      {UINT64_C(0xd17707977078336c), 1000u}},
     "4555444555545153555455245554445155554455525454455455554555455554"},
    /* small */
    {3,
     {{UINT64_C(0x1), 1u}, {UINT64_C(0x2), 1u}, {UINT64_C(0x3), 2u}},
     "1122210112112102212210021222022002220002212212222200210211222212"},
    /* huge */
    {3,
     {{UINT64_C(0x1), 4294967295u}, {UINT64_C(0x2), 4294967294u}, {UINT64_C(0x3), 1u}},
     "1100110110110100110010001001001001010000010110001000010011110111"},
};
