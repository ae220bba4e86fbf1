/* lane_pieces.h -- a large value of an audit, read in pieces (C29).
 *
 *   KIND: type and deadline of both sides, at the same place
 *   P:    length, then piece after piece, each in the lane
 *   F:    likewise, each at the end of F's order at that time
 *
 * Nothing writes the key between the first read and the last one, or the comparison is void
 * (lane_pieces_void()) and begins again later: so all reads stand at the same place as far as this
 * key goes. Nobody is made to wait for that; a large key that is written all the time is undecided.
 *
 * Strings come by GETRANGE, lists by LRANGE, sets, hashes and sorted sets by their SCAN; elements
 * go into the canonical digest one by one. A side that tells another number of elements than its
 * length says (SCAN may tell one twice) is asked again later. Streams have no pieces: up to
 * LANE_STREAM_WHOLE_MAX they are read whole, larger ones are undecided.
 *
 * One at a time. Memory: a piece of about LANE_PIECE_BYTES, if elements are of like size.
 */
#ifndef GATEWAY_LANE_PIECES_H
#define GATEWAY_LANE_PIECES_H

#include "gateway/lane_audit_inside.h"

#define LANE_PIECE_BYTES (256u << 10)
#define LANE_STREAM_WHOLE_MAX (16u << 20) /* bytes, as P estimates */

#endif
