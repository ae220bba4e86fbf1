/* reads_policy.c -- the words for which side answers reads. See reads_policy.h. */
#include "lib/control/reads_policy.h"

#include <stdio.h>
#include <stdlib.h>

static enum err bad(struct slice text, struct why *why) {
    return why_set(why, ERR_CONFIG,
                   "reads are primary, shadow, shadow:5%% or a share as 10%%; found \"%.*s\"",
                   (int)(text.size < 40 ? text.size : 40), (const char *)text.data);
}

/* "10%", "0.25%" as parts of READS_ALL. */
static bool parse_share(struct slice text, uint32_t *share) {
    char copy[16], *end = NULL;
    if (text.size < 2 || text.size >= sizeof copy || text.data[text.size - 1] != '%') return false;
    memcpy(copy, text.data, text.size - 1);
    copy[text.size - 1] = '\0';
    if (copy[0] < '0' || copy[0] > '9') return false;
    double percent = strtod(copy, &end);
    if (*end != '\0' || !(percent >= 0 && percent <= 100)) return false;
    *share = (uint32_t)(percent * READS_ALL / 100 + 0.5);
    return true;
}

enum err reads_parse(struct slice text, struct reads_policy *policy, struct why *why) {
    *policy = (struct reads_policy){.after_ms = READS_AFTER_MS, .share = READS_ALL};
    if (slice_equal_nocase(text, SLICE("primary"))) return OK;
    if (slice_equal_nocase(text, SLICE("shadow"))) {
        policy->kind = READS_SHADOW;
        return OK;
    }
    bool shadow = text.size > 7 && slice_equal_nocase(slice_take(text, 7), SLICE("shadow:"));
    policy->kind = shadow ? READS_SHADOW : READS_CANARY;
    return parse_share(shadow ? slice_drop(text, 7) : text, &policy->share) ? OK : bad(text, why);
}

enum err reads_parse_words(size_t argc, const struct slice *argv, struct reads_policy *policy,
                           struct why *why) {
    int64_t after_ms = 0;
    if (argc == 0) return bad(SLICE(""), why);
    enum err err = reads_parse(argv[0], policy, why);
    if (err != OK || argc == 1) return err;
    if (argc != 3 || !slice_equal_nocase(argv[1], SLICE("AFTER")) ||
        !slice_to_int(argv[2], &after_ms) || after_ms < 0 || after_ms > 3600000)
        return why_set(why, ERR_CONFIG, "behind the policy: AFTER and milliseconds");
    policy->after_ms = (uint32_t)after_ms;
    return OK;
}

void reads_text(struct reads_policy p, char text[READS_TEXT_BYTES]) {
    double percent = (double)p.share * 100 / READS_ALL;
    if (p.kind == READS_PRIMARY)
        (void)snprintf(text, READS_TEXT_BYTES, "primary");
    else if (p.kind == READS_SHADOW && p.share == READS_ALL)
        (void)snprintf(text, READS_TEXT_BYTES, "shadow");
    else
        (void)snprintf(text, READS_TEXT_BYTES, "%s%.6g%%", p.kind == READS_SHADOW ? "shadow:" : "",
                       percent);
}
