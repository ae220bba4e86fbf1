/* openssl.h -- OpenSSL's headers, without the one name of theirs that is also ours.
 *
 * They declare a type ERR_STATE, and why.h has an error code of that name.
 */
#ifndef LIB_NET_OPENSSL_H
#define LIB_NET_OPENSSL_H

#define ERR_STATE openssl_ERR_STATE
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#undef ERR_STATE

#endif
