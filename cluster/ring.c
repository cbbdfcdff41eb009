/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/ring.h"

#include <assert.h>
#include <string.h>

/* log2(1 + i / 256) in Q32, rounded. tests/unit/ring_vectors.py has written it, and checks it. */
static const uint64_t log2_q32[257] = {
    /* clang-format off */
    0u, 24157255u, 48220695u, 72191046u, 96069025u, 119855343u, 143550699u, 167155786u,
    190671291u, 214097890u, 237436253u, 260687042u, 283850912u, 306928510u, 329920477u, 352827446u,
    375650043u, 398388887u, 421044590u, 443617759u, 466108993u, 488518883u, 510848017u, 533096975u,
    555266330u, 577356649u, 599368495u, 621302422u, 643158981u, 664938715u, 686642163u, 708269857u,
    729822324u, 751300086u, 772703658u, 794033552u, 815290272u, 836474320u, 857586191u, 878626374u,
    899595355u, 920493615u, 941321628u, 962079865u, 982768792u, 1003388871u, 1023940559u, 1044424306u,
    1064840562u, 1085189769u, 1105472367u, 1125688789u, 1145839467u, 1165924827u, 1185945290u, 1205901275u,
    1225793196u, 1245621463u, 1265386481u, 1285088654u, 1304728379u, 1324306051u, 1343822060u, 1363276795u,
    1382670639u, 1402003972u, 1421277169u, 1440490605u, 1459644648u, 1478739665u, 1497776018u, 1516754066u,
    1535674166u, 1554536671u, 1573341930u, 1592090289u, 1610782092u, 1629417679u, 1647997388u, 1666521551u,
    1684990500u, 1703404565u, 1721764068u, 1740069334u, 1758320682u, 1776518428u, 1794662886u, 1812754368u,
    1830793181u, 1848779632u, 1866714024u, 1884596657u, 1902427829u, 1920207835u, 1937936969u, 1955615520u,
    1973243777u, 1990822024u, 2008350545u, 2025829620u, 2043259528u, 2060640543u, 2077972941u, 2095256991u,
    2112492963u, 2129681124u, 2146821738u, 2163915068u, 2180961373u, 2197960912u, 2214913940u, 2231820712u,
    2248681479u, 2265496490u, 2282265995u, 2298990237u, 2315669461u, 2332303909u, 2348893820u, 2365439432u,
    2381940981u, 2398398701u, 2414812824u, 2431183582u, 2447511201u, 2463795910u, 2480037932u, 2496237492u,
    2512394810u, 2528510107u, 2544583599u, 2560615505u, 2576606038u, 2592555411u, 2608463835u, 2624331521u,
    2640158677u, 2655945509u, 2671692221u, 2687399018u, 2703066101u, 2718693670u, 2734281925u, 2749831063u,
    2765341278u, 2780812767u, 2796245722u, 2811640333u, 2826996792u, 2842315287u, 2857596005u, 2872839132u,
    2888044853u, 2903213350u, 2918344806u, 2933439400u, 2948497313u, 2963518722u, 2978503803u, 2993452732u,
    3008365682u, 3023242827u, 3038084339u, 3052890387u, 3067661140u, 3082396766u, 3097097433u, 3111763305u,
    3126394546u, 3140991321u, 3155553791u, 3170082117u, 3184576458u, 3199036973u, 3213463820u, 3227857155u,
    3242217134u, 3256543910u, 3270837638u, 3285098468u, 3299326552u, 3313522041u, 3327685082u, 3341815825u,
    3355914416u, 3369981001u, 3384015725u, 3398018732u, 3411990165u, 3425930167u, 3439838878u, 3453716438u,
    3467562987u, 3481378662u, 3495163602u, 3508917943u, 3522641820u, 3536335369u, 3549998721u, 3563632012u,
    3577235372u, 3590808933u, 3604352825u, 3617867177u, 3631352118u, 3644807776u, 3658234277u, 3671631748u,
    3685000315u, 3698340100u, 3711651229u, 3724933824u, 3738188006u, 3751413898u, 3764611620u, 3777781291u,
    3790923031u, 3804036958u, 3817123189u, 3830181840u, 3843213029u, 3856216870u, 3869193478u, 3882142967u,
    3895065449u, 3907961038u, 3920829844u, 3933671979u, 3946487554u, 3959276677u, 3972039458u, 3984776005u,
    3997486426u, 4010170828u, 4022829316u, 4035461997u, 4048068976u, 4060650357u, 4073206244u, 4085736740u,
    4098241947u, 4110721967u, 4123176902u, 4135606852u, 4148011918u, 4160392197u, 4172747791u, 4185078796u,
    4197385310u, 4209667431u, 4221925255u, 4234158878u, 4246368396u, 4258553902u, 4270715492u, 4282853259u,
    4294967296u,
    /* clang-format on */
};

/* 64 - log2(h) in Q6.32, linear between the entries. log2(0) counts as log2(1). */
static uint64_t exponential(uint64_t h)
{
    if (h == 0) {
        return UINT64_C(64) << 32;
    }
    uint32_t shift = (uint32_t)__builtin_clzll(h);
    uint64_t mantissa = h << shift;
    uint32_t i = (uint32_t)(mantissa >> 55) & 0xffu;
    uint64_t rest = (mantissa >> 23) & UINT32_MAX;
    uint64_t part = log2_q32[i] + ((log2_q32[i + 1] - log2_q32[i]) * rest >> 32);

    return ((uint64_t)(shift + 1) << 32) - part;
}

/* What all members' hashes of a key share. */
static uint64_t spread(uint64_t key)
{
    return cl_mix64(key * UINT64_C(0x9e3779b97f4a7c15) + 1);
}

uint64_t cl_ring_score(uint64_t id, uint64_t key)
{
    return exponential(cl_mix64(id ^ spread(key)));
}

/* a * b for a below 2^63: a 128 bit product in two words, which standard C has no type for. */
struct product {
    uint64_t high; /* in units of 2^32 */
    uint64_t low;  /* below 2^32 */
};

static struct product multiply(uint64_t a, uint32_t b)
{
    uint64_t low = (a & UINT32_MAX) * b;

    return (struct product){.high = (a >> 32) * b + (low >> 32), .low = low & UINT32_MAX};
}

/* Whether score a over its weight is less than b over its own. */
static bool less(uint64_t a, uint32_t a_weight, uint64_t b, uint32_t b_weight)
{
    struct product left = multiply(a, b_weight);
    struct product right = multiply(b, a_weight);

    return left.high != right.high ? left.high < right.high : left.low < right.low;
}

/* Insertion: members nearly always come sorted already, and there are few. */
static void sort_in(struct cl_ring *ring, const struct cl_ring_member *members, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = i;

        while (at > 0 && ring->m[at - 1].id > members[i].id) {
            ring->m[at] = ring->m[at - 1];
            at--;
        }
        assert(at == 0 || ring->m[at - 1].id != members[i].id);
        ring->m[at] = members[i];
    }
}

/* 12 bytes a member, least significant first, whatever the CPU. */
static uint64_t view_of(const struct cl_ring *ring)
{
    uint8_t bytes[CL_NODES_MAX * 12];
    size_t len = 0;

    if (ring->n == 0) {
        return 0;
    }
    for (uint32_t i = 0; i < ring->n; i++) {
        for (uint32_t k = 0; k < 8; k++) {
            bytes[len++] = (uint8_t)(ring->m[i].id >> 8 * k);
        }
        for (uint32_t k = 0; k < 4; k++) {
            bytes[len++] = (uint8_t)(ring->m[i].weight >> 8 * k);
        }
    }
    uint64_t hash = cl_hash64(pr_bytes(bytes, len));

    return hash != 0 ? hash : 1; /* 0 says "no view" */
}

static uint16_t best_of(const struct cl_ring *ring, uint64_t key)
{
    uint64_t shared = spread(key);
    uint64_t best_hash = 0, best_score = UINT64_MAX;
    uint16_t best = 0;

    for (uint16_t i = 0; i < ring->n; i++) {
        uint64_t hash = cl_mix64(ring->m[i].id ^ shared);

        /* A lower hash never has a better score: spares nearly all logarithms. */
        if (i > 0 && hash <= best_hash && ring->m[i].weight <= ring->m[best].weight) {
            continue;
        }
        uint64_t score = exponential(hash);

        if (i == 0 || less(score, ring->m[i].weight, best_score, ring->m[best].weight)) {
            best = i;
            best_hash = hash;
            best_score = score;
        }
    }
    return best;
}

void cl_ring_build(struct cl_ring *ring, const struct cl_ring_member *members, uint32_t n)
{
    assert(n <= CL_NODES_MAX);
    memset(ring, 0, sizeof *ring);
    ring->n = n;
    sort_in(ring, members, n);
    ring->view = view_of(ring);
    for (uint32_t part = 0; n > 0 && part < CL_PARTITIONS; part++) {
        ring->owner[part] = best_of(ring, part);
    }
}

uint32_t cl_ring_rank(const struct cl_ring *ring, uint64_t key, uint16_t *out, uint32_t k)
{
    uint64_t score[CL_NODES_MAX];
    uint32_t count = 0;

    for (uint16_t i = 0; i < ring->n && k > 0; i++) {
        uint32_t at = count < k ? count : k - 1;

        score[i] = cl_ring_score(ring->m[i].id, key);
        if (count == k &&
            !less(score[i], ring->m[i].weight, score[out[at]], ring->m[out[at]].weight)) {
            continue;
        }
        while (at > 0 &&
               less(score[i], ring->m[i].weight, score[out[at - 1]], ring->m[out[at - 1]].weight)) {
            out[at] = out[at - 1];
            at--;
        }
        out[at] = i;
        count += count < k ? 1u : 0u;
    }
    return count;
}

uint64_t cl_ring_owner_id(const struct cl_ring *ring, uint32_t part)
{
    assert(part < CL_PARTITIONS);
    return ring->n == 0 ? 0 : ring->m[ring->owner[part]].id;
}
