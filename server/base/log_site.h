/* How often one message may be logged, for log.c alone. Any thread; no locks. */
#ifndef TOLLGATE_SERVER_LOG_SITE_H
#define TOLLGATE_SERVER_LOG_SITE_H

#include "server/base/log.h"

/* Whether the site may log now; what may not is counted. `format` names it, where it has no text. */
bool log_site_admits(struct log_site *site, enum log_level level, const char *format);
/* Has `say` report for each site what was left out since the last report; where it returns false it
 * is told again the next time. */
void log_sites_report(bool (*say)(enum log_level level, const char *format, ...));

#endif
