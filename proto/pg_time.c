/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/pg_value.h"

static void put_padded(struct pr_outbuf *o, uint64_t v, size_t width)
{
    uint8_t digits[20];

    for (size_t i = 0; i < width; i++) {
        digits[width - 1 - i] = (uint8_t)('0' + v % 10);
        v /= 10;
    }
    pr_put(o, digits, width);
}

/* Days since 2000-01-01 -> civil date, proleptic Gregorian. Years begin in March here, so that the
 * leap day is the last of its year. */
static void put_date(struct pr_outbuf *o, int64_t days)
{
    int64_t z = days + 730425; /* since 0000-03-01 */
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t day = z - era * 146097;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    int64_t yday = day - (365 * year + year / 4 - year / 100);
    int64_t shifted = (5 * yday + 2) / 153;
    int64_t month = shifted < 10 ? shifted + 3 : shifted - 9;

    year += era * 400 + (month <= 2 ? 1 : 0);
    put_padded(o, (uint64_t)year, year > 9999 ? 6 : 4);
    pr_put_u8(o, '-');
    put_padded(o, (uint64_t)month, 2);
    pr_put_u8(o, '-');
    put_padded(o, (uint64_t)(yday - (153 * shifted + 2) / 5 + 1), 2);
}

void pr_pg_put_commit_time(struct pr_outbuf *o, int64_t us)
{
    static const int64_t day_us = INT64_C(86400000000);
    /* 0001-01-01 and the last day of Postgres' timestamps: a clock beyond is shown at the end. */
    static const int64_t low = INT64_C(-63082281600000000);
    static const int64_t high = INT64_C(9223371331199999999);
    int64_t days = 0;
    uint64_t ms = 0;

    us = us < low ? low : us;
    us = us > high ? high : us;
    days = us / day_us - (us % day_us < 0 ? 1 : 0);
    ms = (uint64_t)(us - days * day_us) / 1000;
    put_date(o, days);
    pr_put_u8(o, 'T');
    put_padded(o, ms / 3600000, 2);
    pr_put_u8(o, ':');
    put_padded(o, ms / 60000 % 60, 2);
    pr_put_u8(o, ':');
    put_padded(o, ms / 1000 % 60, 2);
    pr_put_u8(o, '.');
    put_padded(o, ms % 1000, 3);
    pr_put_u8(o, 'Z');
}
