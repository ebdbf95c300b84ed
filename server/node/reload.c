/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reload: reads key sets, certificates and the shops' secrets again, and says what else has
 * changed in the configuration, which takes a restart. run.c calls it at SIGHUP, and watch.c for
 * the key sets alone. Where something cannot be read, what is in force stays in force.
 */
#include <stdio.h>
#include <string.h>

#include "server/admin/admin.h"
#include "server/base/log.h"
#include "server/doctor/doctor.h"
#include "server/node/node_internal.h"
#include "server/node/service_manager.h"
#include "server/transport/tls.h"

const struct trust_warner node_trust_log = {.warn = trust_warn_log};

bool node_reload_keys(struct node *node, bool news)
{
    char error[2048];
    struct token_trust *trust, *old;
    if (trust_load(node->config, &trust, &node_trust_log, error, sizeof(error)) < 0) {
        if (news)
            log_error("the key sets were not reloaded, and the previous ones stay in force: %s",
                      error);
        return false;
    }
    pthread_mutex_lock(&node->reload_mutex);
    old = node->trust;
    node->trust = trust;
    pthread_mutex_unlock(&node->reload_mutex);
    token_trust_drop(&old);
    log_info("reloaded the key sets of %u issuer%s", node->config->issuers_count,
             node->config->issuers_count == 1 ? "" : "s");
    return true;
}

/* Connections that are open keep the certificate that they began with. */
static bool reload_certificates(struct node *node)
{
    char error[2048];
    struct tls *tls, *old = node->tls;
    if (old == NULL)
        return false;
    if (tls_load(&tls, node->config, old, error, sizeof(error)) < 0) {
        log_error("the certificates were not reloaded, and the previous ones stay in force: %s",
                  error);
        return false;
    }
    const char *warning;
    for (unsigned i = 0; (warning = tls_warning(tls, i)) != NULL; i++)
        log_warning("certificates: %s", warning);
    unsigned count = tls_certificate_count(tls);
    pthread_mutex_lock(&node->reload_mutex);
    node->tls = tls;
    pthread_mutex_unlock(&node->reload_mutex);
    tls_drop(&old);
    log_info("reloaded %u certificate%s", count, count == 1 ? "" : "s");
    return true;
}

static void warn_of_failure(void *context, const struct doctor_finding *finding)
{
    const struct node *node = context;
    if (finding->verdict == DOCTOR_FAILURE)
        log_warning("%s: %s: %s", node->source.file, finding->name, finding->text);
}

/*
 * The configuration stays as it was at the start. Whoever has edited it is told what a restart
 * would bring, at each SIGHUP for as long as that is so. The buffer bounds how many mistakes are
 * told, so that the log need not leave any out.
 */
static void report_configuration(struct node *node)
{
    const char *file = node->source.file, *listen = node->source.listen;
    char error[8192], changes[1536];
    struct config *fresh = NULL;
    int result = config_load(&fresh, file, error, sizeof(error));
    if (result == 0 && listen != NULL)
        result = config_set_listen(fresh, listen, error, sizeof(error));
    if (result < 0) {
        log_warning("%.400s: a restart would fail because of the following; the configuration that "
                    "was read at the start stays in force",
                    file);
        char *rest = NULL;
        for (char *line = strtok_r(error, "\n", &rest); line != NULL;
             line = strtok_r(NULL, "\n", &rest))
            log_write(NULL, LOG_LEVEL_WARNING, "%s", line);
    } else {
        unsigned count = config_changes(node->config, fresh, changes, sizeof(changes));
        if (count > 0) {
            log_warning("%.400s: %s take%s effect only after a restart", file, changes,
                        count == 1 ? "s" : "");
            doctor_run(fresh, DOCTOR_CONFIG, warn_of_failure, node);
        }
    }
    config_destroy(&fresh);
}

/* Reads a part again. True where the workers must take it over. */
static bool reload_part(struct node *node, struct admin *admin, enum config_reload part)
{
    switch (part) {
    case CONFIG_KEY_SETS:
        return node_reload_keys(node, true);
    case CONFIG_CERTIFICATES:
        return reload_certificates(node);
    case CONFIG_SECRETS:
        admin_reload(admin);
        return false;
    case CONFIG_RESTART:
    case CONFIG_RELOADS_END:
        break;
    }
    return false;
}

void node_reload(struct node *node, struct admin *admin)
{
    service_manager_tell("RELOADING=1");
    report_configuration(node);
    bool news = false;
    for (enum config_reload part = CONFIG_RESTART + 1; part < CONFIG_RELOADS_END; part++)
        news = reload_part(node, admin, part) || news;
    if (news)
        node_workers_tell_reload(node);
    service_manager_tell("READY=1");
}
