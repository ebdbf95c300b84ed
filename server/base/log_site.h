/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds how often one message is logged. Called by log.c alone, on any thread; takes no lock. */
#ifndef TOLLGATE_SERVER_BASE_LOG_SITE_H
#define TOLLGATE_SERVER_BASE_LOG_SITE_H

#include "server/base/log.h"

/* Whether the site may log now; else the line is counted as left out. `format` names the site where
 * it has no text. */
bool log_site_admits(struct log_site *site, enum log_level level, const char *format);
/* Has `say` tell, for each site, how many lines were left out since the last report. Where `say`
 * returns false, they are reported the next time. */
void log_sites_report(bool (*say)(enum log_level level, const char *format, ...));

#endif
