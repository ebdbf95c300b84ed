/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints the figures of a reconciliation. See reconcile_report.h.
 */
#include "server/command/reconcile_report.h"

#include <inttypes.h>
#include <stdlib.h>

#include "server/command/cli.h"
#include "server/command/command_admin.h"

/* ---- sums ---- */

static void add(struct ledger_figures *sums, const struct ledger_figures *figures)
{
    sums->posted += figures->posted;
    sums->unposted += figures->unposted;
    sums->unposted_records += figures->unposted_records;
    if (figures->unposted_since_ms != 0 &&
        (sums->unposted_since_ms == 0 || figures->unposted_since_ms < sums->unposted_since_ms))
        sums->unposted_since_ms = figures->unposted_since_ms;
    sums->responses += figures->responses;
    sums->used += figures->used;
    sums->months += figures->months;
    sums->given += figures->given;
    sums->foreign += figures->foreign;
    sums->logged_least += figures->logged_least;
    sums->logged_most += figures->logged_most;
    sums->logged += figures->logged;
}

/* ---- text ---- */

static void print_difference(int64_t difference)
{
    if (difference != 0)
        printf(" (%" PRId64 " %s)", difference > 0 ? difference : -difference,
               difference > 0 ? "more" : "less");
}

static void print_account(const struct reconcile_report *report,
                          const struct ledger_reconciled *account)
{
    const struct ledger_figures *figures = &account->figures;
    const struct ledger_differences *differences = &account->differences;
    printf("%s: journals %" PRIu64 " posted, %" PRIu64 " unposted", account->account,
           figures->posted, figures->unposted);
    if (report->with_redis) {
        printf("; Redis %" PRId64 " used", figures->used);
        print_difference(differences->used);
        printf(", %" PRId64 " in months", figures->months);
        print_difference(differences->months);
        printf(", %" PRId64 " from these journals", figures->given);
        print_difference(differences->given);
        if (figures->foreign != 0)
            printf(", %" PRId64 " from others", figures->foreign);
        if (differences->lacking != 0)
            printf(", %" PRIu64 " records that these journals lack", differences->lacking);
        if (differences->left != 0)
            printf(", %" PRIu64 " records that it lacks and that have left the journals",
                   differences->left);
        if (differences->damage[0] != '\0') {
            fputs(", damaged: ", stdout);
            command_print_text(stdout, differences->damage);
        }
    }
    if (report->with_logs) {
        printf("; logs %" PRIu64, figures->logged);
        print_difference(differences->logged);
    }
    fputc('\n', stdout);
}

static void print_foreign(const struct ledger_reconcile *reconcile)
{
    const struct ledger_foreign *foreign;
    for (size_t i = 0; (foreign = ledger_reconcile_foreign(reconcile, i)) != NULL; i++)
        printf("not compared: instance %s%s%s posted %" PRId64 " bytes of %" PRIu64
               " account%s, and its journal was not given; name its state directory, too\n",
               foreign->instance, foreign->node[0] != '\0' ? " of node " : "", foreign->node,
               foreign->bytes, foreign->accounts, foreign->accounts == 1 ? "" : "s");
}

static void print_log(const struct reconcile_log *log)
{
    if (log->malformed > 0)
        printf("%s: %" PRIu64 " of %" PRIu64 " lines cannot be read, the first is line %" PRIu64
               "\n",
               log->path, log->malformed, log->lines, log->malformed_first);
    if (log->unnamed > 0)
        printf("%s: %" PRIu64 " bytes are of lines without an account\n", log->path, log->unnamed);
}

static void print_sums(const struct reconcile_report *report)
{
    const struct ledger_figures *sums = &report->sums;
    char since[COMMAND_TIME_SIZE];
    printf("journals: %" PRIu64 " bytes posted, %" PRIu64 " unposted in %" PRIu64 " record%s",
           sums->posted, sums->unposted, sums->unposted_records,
           sums->unposted_records == 1 ? "" : "s");
    if (sums->unposted_since_ms != 0) {
        command_write_time((int64_t)(sums->unposted_since_ms / 1000), since);
        printf(", the first of %s", since);
    }
    printf("; %" PRIu64 " responses\n", sums->responses);
    if (report->with_redis)
        printf("Redis: %" PRId64 " bytes used, %" PRId64 " in months, %" PRId64
               " from these journals, %" PRId64 " from others\n",
               sums->used, sums->months, sums->given, sums->foreign);
    if (!report->with_logs)
        return;
    printf("logs: %" PRIu64 " bytes; of responses that ended, the journals have %" PRIu64,
           sums->logged, sums->logged_least);
    if (sums->logged_most > sums->logged_least)
        printf(" to %" PRIu64, sums->logged_most);
    fputc('\n', stdout);
}

static void print_advice(const struct reconcile_report *report)
{
    if (report->journals_lack)
        puts("Redis has records that these journals lack, so a directory is an older copy, or has "
             "lost its newest segment: name the newest of each node. Rebuild no account until "
             "then, since Redis alone has those bytes");
    if (report->redis_lacks)
        puts("Redis lacks records that have left the journals: it was restored from a file older "
             "than "
             "these are kept. Bring it a newer file, or stop the node, and run `tollgate ledger "
             "replay "
             "STATE_DIR --archive DIRECTORY`");
    if (report->redis_differs)
        puts("Redis differs from the journals, which are the truth: see what `tollgate ledger "
             "release ACCOUNT` says of its keys, and rebuild it with --rebuild");
    if (report->logs_lack)
        puts("the logs lack lines: name all logs since the journals began, unpacked; a node also "
             "drops lines (`dropped` in its health) and loses the last ones when it is killed");
    if (report->logs_exceed)
        puts("the logs have more than the journals: name the state directories of all nodes that "
             "wrote them, and each log once; a kill can leave a line whose mark was not on disk");
}

static void print_end(const struct reconcile_report *report,
                      const struct ledger_reconcile *reconcile)
{
    print_sums(report);
    for (size_t i = 0; i < report->logs_count; i++)
        print_log(&report->logs[i]);
    print_foreign(reconcile);
    print_advice(report);
    printf("%" PRIu64 " account%s: ", report->accounts, report->accounts == 1 ? "" : "s");
    if (report->differing == 0)
        puts("all agree, to the byte");
    else
        printf("%" PRIu64 " differ%s\n", report->differing, report->differing == 1 ? "s" : "");
}

/* ---- JSON ---- */

static void set(json_t *out, const char *name, int64_t number)
{
    (void)json_object_set_new(out, name, json_integer(number));
}

static json_t *figures_json(const struct reconcile_report *report,
                            const struct ledger_figures *figures)
{
    char since[COMMAND_TIME_SIZE];
    json_t *out = json_object();
    set(out, "posted", (int64_t)figures->posted);
    set(out, "unposted", (int64_t)figures->unposted);
    set(out, "unposted_records", (int64_t)figures->unposted_records);
    set(out, "responses", (int64_t)figures->responses);
    if (figures->unposted_since_ms != 0) {
        command_write_time((int64_t)(figures->unposted_since_ms / 1000), since);
        (void)json_object_set_new(out, "unposted_since", json_string(since));
    }
    if (report->with_redis) {
        set(out, "redis_used", figures->used);
        set(out, "redis_months", figures->months);
        set(out, "redis_from_these_journals", figures->given);
        set(out, "redis_from_others", figures->foreign);
    }
    if (report->with_logs) {
        set(out, "logged", (int64_t)figures->logged);
        set(out, "logged_least", (int64_t)figures->logged_least);
        set(out, "logged_most", (int64_t)figures->logged_most);
    }
    return out;
}

static json_t *account_json(const struct reconcile_report *report,
                            const struct ledger_reconciled *account)
{
    const struct ledger_differences *differences = &account->differences;
    json_t *out = figures_json(report, &account->figures), *differs = json_object();
    if (differences->used != 0)
        set(differs, "redis_used", differences->used);
    if (differences->months != 0)
        set(differs, "redis_months", differences->months);
    if (differences->given != 0)
        set(differs, "redis_from_these_journals", differences->given);
    if (differences->lacking != 0)
        set(differs, "records_lacking", (int64_t)differences->lacking);
    if (differences->left != 0)
        set(differs, "records_left", (int64_t)differences->left);
    if (differences->logged != 0)
        set(differs, "logged", differences->logged);
    if (differences->damage[0] != '\0')
        (void)json_object_set_new(differs, "redis_damage", json_string(differences->damage));
    (void)json_object_set_new(out, "account", json_string(account->account));
    (void)json_object_set_new(out, "agrees", json_boolean(account->agrees));
    (void)json_object_set_new(out, "differences", differs);
    return out;
}

static json_t *foreign_json(const struct ledger_reconcile *reconcile)
{
    const struct ledger_foreign *foreign;
    json_t *out = json_array();
    for (size_t i = 0; (foreign = ledger_reconcile_foreign(reconcile, i)) != NULL; i++)
        (void)json_array_append_new(out, json_pack("{s:s, s:s, s:I, s:I}", "instance",
                                                   foreign->instance, "node", foreign->node,
                                                   "accounts", (json_int_t)foreign->accounts,
                                                   "bytes", (json_int_t)foreign->bytes));
    return out;
}

static json_t *logs_json(const struct reconcile_report *report)
{
    json_t *out = json_array();
    for (size_t i = 0; i < report->logs_count; i++) {
        const struct reconcile_log *log = &report->logs[i];
        (void)json_array_append_new(out, json_pack("{s:s, s:I, s:I, s:I}", "path", log->path,
                                                   "lines", (json_int_t)log->lines, "malformed",
                                                   (json_int_t)log->malformed, "unnamed_bytes",
                                                   (json_int_t)log->unnamed));
    }
    return out;
}

/* ---- the report ---- */

void reconcile_report_take(void *context, const struct ledger_reconciled *account)
{
    struct reconcile_report *report = context;
    const struct ledger_differences *differences = &account->differences;
    report->accounts++;
    report->differing += !account->agrees;
    bool differs = differences->used != 0 || differences->months != 0 || differences->given != 0 ||
                   differences->damage[0] != '\0';
    report->journals_lack = report->journals_lack || differences->lacking != 0;
    report->redis_lacks = report->redis_lacks || differences->left != 0;
    report->redis_differs = report->redis_differs || (differs && differences->lacking == 0);
    report->logs_lack = report->logs_lack || differences->logged < 0;
    report->logs_exceed = report->logs_exceed || differences->logged > 0;
    add(&report->sums, &account->figures);
    if (account->agrees && !report->with_all)
        return;
    if (report->rows != NULL)
        (void)json_array_append_new(report->rows, account_json(report, account));
    else
        print_account(report, account);
}

int reconcile_report_end(const char *command, const struct reconcile_report *report,
                         const struct ledger_reconcile *reconcile)
{
    int code = report->differing > 0 ? CLI_EXIT_NO : EX_OK;
    if (report->rows == NULL) {
        print_end(report, reconcile);
        return code;
    }
    json_t *answer = json_pack("{s:b, s:I, s:I, s:o, s:O, s:o, s:o}", "agrees",
                               report->differing == 0, "accounts", (json_int_t)report->accounts,
                               "differing", (json_int_t)report->differing, "sums",
                               figures_json(report, &report->sums), "rows", report->rows,
                               "not_compared", foreign_json(reconcile), "logs", logs_json(report));
    int printed = cli_print_json(command, answer);
    json_decref(answer);
    return printed != EX_OK ? printed : code;
}
