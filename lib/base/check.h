/* check.h -- the assertions every file uses. They stay on in release builds.
 *
 * ASSERT(x)     x is a fact we can argue for. If it is false the program is wrong.
 * IMPLIES(a,b)  "if a then b", for use inside ASSERT.
 * UNREACHABLE   control cannot get here.
 * Never ASSERT something a peer, a file, a disk or an operator can make false:
 * that is an error, and errors are returned (see why.h).
 */
#ifndef LIB_BASE_CHECK_H
#define LIB_BASE_CHECK_H

#define ASSERT(x) ((x) ? (void)0 : check_failed(#x, __FILE__, __LINE__, __func__))
#define IMPLIES(a, b) (!(a) || (b))
#define UNREACHABLE(what) check_failed("unreachable: " what, __FILE__, __LINE__, __func__)

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF(fmt_at, args_at) __attribute__((format(printf, fmt_at, args_at)))

_Noreturn void check_failed(const char *claim, const char *file, int line, const char *func);

#endif
