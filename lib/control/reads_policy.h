/* reads_policy.h -- the words for which side answers reads: of gateway.reads, `drawbridge reads`,
 * GATEWAY READS and state's READS. What they mean: gateway/reads.h.
 */
#ifndef LIB_CONTROL_READS_POLICY_H
#define LIB_CONTROL_READS_POLICY_H

#include "lib/base/slice.h"
#include "lib/base/why.h"

#define READS_ALL 10000u     /* of a share */
#define READS_AFTER_MS 1000u /* unless said otherwise */

enum reads_kind { READS_PRIMARY, READS_CANARY, READS_SHADOW };

struct reads_policy {
    enum reads_kind kind;
    uint32_t share; /* of READS_ALL */
    uint32_t after_ms;
};

/* "primary", "shadow", "shadow:5%", "10%", "0.5%". ERR_CONFIG says what is wrong. */
MUST_CHECK enum err reads_parse(struct slice text, struct reads_policy *policy, struct why *why);
/* The words behind GATEWAY READS, or of state's READS: a policy, and AFTER ms. */
MUST_CHECK enum err reads_parse_words(size_t argc, const struct slice *argv,
                                      struct reads_policy *policy, struct why *why);

/* The policy as the words that reads_parse() takes. */
#define READS_TEXT_BYTES 24u
void reads_text(struct reads_policy policy, char text[READS_TEXT_BYTES]);

#endif
