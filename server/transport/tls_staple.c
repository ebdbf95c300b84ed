/* SPDX-License-Identifier: Apache-2.0 */
/* Reads OCSP responses and judges them by their certificates. See tls_staple.h. */
#include "server/transport/tls_staple.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The certificates that a response is judged by, and where the reason of a failure goes. */
struct examination {
    const X509 *leaf;
    X509 *issuer;           /* borrows; NULL: unknown */
    STACK_OF(X509) * chain; /* borrows; NULL: none */
    char *why;
    size_t size;
};

#define REFUSE(examination, ...)                                                                   \
    (snprintf((examination)->why, (examination)->size, __VA_ARGS__), -EINVAL)

/* ---- the file ---- */

/* The file's size, 0 where it may not be used. */
static size_t usable_size(const struct examination *examination, int fd)
{
    struct stat facts;
    if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode))
        return (void)REFUSE(examination, "it is not a file; write the OCSP response there"), 0;
    if (facts.st_size == 0 || facts.st_size > STAPLE_SIZE_MAX)
        return (void)REFUSE(examination,
                            "it has %lld bytes, where an OCSP response has 1 to %d; ask the "
                            "responder for the status of this one certificate",
                            (long long)facts.st_size, STAPLE_SIZE_MAX),
               0;
    return (size_t)facts.st_size;
}

static int read_file(const struct examination *examination, const char *path, struct staple *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return REFUSE(examination,
                      "it cannot be read (%s); correct its link or its mode, or remove it",
                      strerrordesc_np(errno));
    size_t size = usable_size(examination, fd);
    int status = size > 0 ? 0 : -EINVAL;
    if (status == 0) {
        out->response = malloc(size);
        ssize_t got = out->response != NULL ? read(fd, out->response, size) : -1;
        out->length = size;
        if (got != (ssize_t)size) {
            status = out->response == NULL ? -ENOMEM : -EIO;
            snprintf(examination->why, examination->size, "%s; send SIGHUP once the file is whole",
                     strerrordesc_np(-status));
        }
    }
    close(fd);
    return status;
}

/* ---- the response ---- */

/*
 * OpenSSL's last error in words; where a chain does not verify, the reason is in the error's data.
 */
static const char *last_reason(void)
{
    const char *data = NULL;
    int flags = 0;
    const char *reason = ERR_reason_error_string(ERR_peek_last_error_data(&data, &flags));
    if (data != NULL && data[0] != '\0' && (flags & ERR_TXT_STRING) != 0)
        return data;
    return reason != NULL ? reason : "out of memory";
}

/* RFC 6960 4.1.1: an id has digests of the issuer's name and key by an algorithm of its own. */
static bool is_of(const struct examination *examination, OCSP_CERTID *id)
{
    ASN1_OBJECT *algorithm = NULL;
    ASN1_OCTET_STRING *name = NULL;
    ASN1_INTEGER *serial = NULL;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (OCSP_id_get0_info(&name, &algorithm, NULL, &serial, id) != 1)
        return false;
    const EVP_MD *hash = EVP_get_digestbyobj(algorithm);
    if (hash == NULL)
        return false;
    if (examination->issuer != NULL) {
        OCSP_CERTID *ours = OCSP_cert_to_id(hash, examination->leaf, examination->issuer);
        bool same = ours != NULL && OCSP_id_cmp(ours, id) == 0;
        OCSP_CERTID_free(ours);
        return same;
    }
    return ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(examination->leaf)) == 0 &&
           X509_NAME_digest(X509_get_issuer_name(examination->leaf), hash, digest, &length) == 1 &&
           ASN1_STRING_length(name) == (int)length &&
           memcmp(ASN1_STRING_get0_data(name), digest, length) == 0;
}

static OCSP_SINGLERESP *find_single(const struct examination *examination, OCSP_BASICRESP *basic)
{
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
        /* OCSP_id_get0_info takes no const, and changes nothing. */
        if (is_of(examination, (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(single)))
            return single;
    }
    return NULL;
}

/* RFC 6960 4.2.2.2: the issuer itself signs, or a responder whose certificate the issuer made for
 * that. */
static bool is_signed(const struct examination *examination, OCSP_BASICRESP *basic)
{
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509) *others =
        examination->chain != NULL ? X509_chain_up_ref(examination->chain) : sk_X509_new_null();
    bool good = store != NULL && others != NULL &&
                X509_STORE_add_cert(store, examination->issuer) == 1 &&
                X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
                X509_add_cert(others, examination->issuer, X509_ADD_FLAG_UP_REF) == 1 &&
                OCSP_basic_verify(basic, others, store, 0) == 1;
    sk_X509_pop_free(others, X509_free);
    X509_STORE_free(store);
    return good;
}

static bool seconds_of(const ASN1_GENERALIZEDTIME *time, int64_t *out)
{
    struct tm parts;
    if (ASN1_TIME_to_tm(time, &parts) != 1)
        return false;
    *out = timegm(&parts);
    return true;
}

static int judge_single(const struct examination *examination, OCSP_BASICRESP *basic,
                        struct staple *out)
{
    ASN1_GENERALIZEDTIME *starts = NULL, *ends = NULL;
    OCSP_SINGLERESP *single = find_single(examination, basic);
    if (single == NULL)
        return REFUSE(examination,
                      "it is about another certificate; ask the responder for the status "
                      "of this one, each time that the certificate is renewed");
    if (examination->issuer != NULL && !is_signed(examination, basic))
        return REFUSE(examination,
                      "its signature cannot be verified (%s); ask the responder that `openssl x509 "
                      "-ocsp_uri` names for this certificate",
                      last_reason());
    int status = OCSP_single_get0_status(single, NULL, NULL, &starts, &ends);
    if (status == V_OCSP_CERTSTATUS_REVOKED)
        return REFUSE(examination,
                      "it says that the certificate is revoked; have a certificate made "
                      "for a new key");
    if (status != V_OCSP_CERTSTATUS_GOOD)
        return REFUSE(examination,
                      "it says that the responder does not know the certificate; ask the "
                      "responder that `openssl x509 -ocsp_uri` names");
    out->ends_s = INT64_MAX;
    if (!seconds_of(starts, &out->starts_s) || (ends != NULL && !seconds_of(ends, &out->ends_s)))
        return REFUSE(examination,
                      "its thisUpdate or nextUpdate is not a time; ask the responder again");
    return 0;
}

static int judge_response(const struct examination *examination, struct staple *out)
{
    const unsigned char *at = out->response;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)out->length);
    if (response == NULL || at != out->response + out->length) {
        OCSP_RESPONSE_free(response);
        return REFUSE(examination,
                      "it does not hold one OCSP response in DER; let `openssl ocsp -respout` "
                      "write it");
    }
    int status = OCSP_response_status(response);
    OCSP_BASICRESP *basic = NULL;
    if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        status = REFUSE(examination, "the responder answered \"%s\"; ask it again",
                        OCSP_response_status_str(status));
    else if ((basic = OCSP_response_get1_basic(response)) == NULL)
        status =
            REFUSE(examination, "%s; ask the responder for a basic OCSP response", last_reason());
    else
        status = judge_single(examination, basic, out);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    return status;
}

int staple_read(struct staple *out, const char *path, const X509 *leaf, X509 *issuer,
                STACK_OF(X509) * chain, char *why, size_t why_size)
{
    const struct examination examination = {
        .leaf = leaf, .issuer = issuer, .chain = chain, .why = why, .size = why_size};
    ERR_clear_error();
    int status = read_file(&examination, path, out);
    if (status == 0)
        status = judge_response(&examination, out);
    ERR_clear_error();
    if (status != 0)
        staple_clear(out);
    return status;
}

bool staple_holds(const struct staple *staple, int64_t now_s)
{
    return staple->response != NULL && staple->starts_s <= now_s && now_s < staple->ends_s;
}

void staple_clear(struct staple *staple)
{
    free(staple->response);
    *staple = (struct staple){0};
}

const char *staple_day(int64_t time_s, char out[STAPLE_DAY_SIZE])
{
    struct tm parts;
    time_t seconds = time_s;
    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(out, STAPLE_DAY_SIZE, "%Y-%m-%d %H:%M:%S UTC", &parts) == 0)
        snprintf(out, STAPLE_DAY_SIZE, "%lld", (long long)time_s);
    return out;
}
