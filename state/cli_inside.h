/* cli_inside.h -- what the files of the command line share: options, exit codes, the API's client.
 */
#ifndef STATE_CLI_INSIDE_H
#define STATE_CLI_INSIDE_H

#include "lib/base/why.h"
#include "lib/control/config.h"

#include <jansson.h>
#include <stdio.h>

enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NOT_READY = 3, /* a gate is closed */
    EXIT_NOT_AUTHORISED = 4,
    EXIT_DIFFERENT = 5, /* or equality cannot be claimed */
    EXIT_WAIT_OVER = 6, /* the work goes on */
    EXIT_MOVED_ON = 7,
    EXIT_RESTORED = 8, /* aborted and restored */
    EXIT_UNREACHABLE = 9,
    EXIT_DETACHED = 130,
};

struct cli {
    const char *program;
    const char *verb;     /* "audit" */
    const char *sub;      /* "start"; "" none */
    const char *words[8]; /* what is left, after verb and sub */
    size_t word_count;
    bool json, yes, dry_run, rehearse, wait, watch, help;
    const char *reason, *api, *config_path, *gate, *output_file, *target, *baseline;
    int64_t wait_ms;     /* how long --wait waits */
    int64_t max_hold_ms; /* 0: as configured */
    int64_t for_ms;      /* of a waiver */
    int64_t ops, bytes;  /* throttle; -1: not given */
    int64_t after, limit;
    bool terminal, colour; /* of standard output */
};

/* ---- cli_http.c ---- */
/* Calls the API. *ANSWER is the JSON (the caller's). Returns EXIT_DONE for 2xx; EXIT_UNREACHABLE,
 * with *ANSWER an error object made here; else what the API says the exit code is. */
int cli_call(const struct cli *cli, const char *method, const char *path, const json_t *body,
             json_t **answer);
/* Where the API is, for messages. */
const char *cli_api_text(const struct cli *cli);

/* ---- cli_options.c ---- */
/* False: usage error, said already. */
bool cli_parse(struct cli *cli, int argc, char **argv);
void cli_usage(FILE *out);
/* The file that describes the migration: --config, a word, $DRAWBRIDGE_CONFIG, ./drawbridge.yaml,
 * /etc/drawbridge/drawbridge.yaml. */
const char *cli_config_path(const struct cli *cli);
MUST_CHECK enum err cli_load_config(const struct cli *cli, struct drawbridge_config *config,
                                    struct why *why);

/* ---- cli_text.c ---- */
void cli_print_json(const json_t *json);
/* Numbers for people: "412.7 M", "318 GB", "3 h 12 min". Return TEXT. */
const char *cli_count(int64_t n, char text[32]);
const char *cli_bytes(int64_t bytes, char text[32]);
const char *cli_duration(int64_t ms, char text[32]);
const char *cli_clock(int64_t wall_ms, char text[32]);            /* "22:31:04", local time */
const char *cli_paint(const struct cli *cli, const char *colour); /* "" when not a terminal */
#define PAINT_RED "\033[31m"
#define PAINT_GREEN "\033[32m"
#define PAINT_YELLOW "\033[33m"
#define PAINT_BOLD "\033[1m"
#define PAINT_OFF "\033[0m"
/* Members of JSON; 0, "" and false when they are not there. */
int64_t json_number(const json_t *json, const char *name);
double json_double(const json_t *json, const char *name);
const char *json_text(const json_t *json, const char *name);
bool json_truth(const json_t *json, const char *name);
/* An answer that is an error, for a person or as JSON; with its next steps. */
void cli_print_error(const struct cli *cli, const json_t *answer);

/* ---- cli_status.c ---- */
int cli_status(struct cli *cli);
/* The block of `status` to OUT; returns how many lines. */
int cli_draw_status(const struct cli *cli, const json_t *status, FILE *out);
/* Progress while something is waited for: a block redrawn on a terminal, a line every 10 s
 * elsewhere. */
struct progress {
    int lines;       /* drawn, to be erased */
    int64_t said_ms; /* monotonic, of the last line */
};
void cli_progress(const struct cli *cli, struct progress *progress, const json_t *status);
void cli_progress_end(const struct cli *cli, struct progress *progress);

/* ---- the verbs ---- */
int cli_start(struct cli *cli);   /* cli_verbs.c */
int cli_barrier(struct cli *cli); /* cutover, rollback */
int cli_capture(struct cli *cli);
int cli_reads(struct cli *cli);
int cli_simple(struct cli *cli);  /* complete, abort, pause, resume, throttle */
int cli_waive(struct cli *cli);
int cli_audit(struct cli *cli);  /* cli_audit.c */
int cli_ledger(struct cli *cli); /* cli_ledger.c */
int cli_check(struct cli *cli);  /* cli_check.c */
int cli_config(struct cli *cli);
int cli_completion(struct cli *cli);
int cli_up(struct cli *cli); /* up.c */

/* Asks once on a terminal unless --yes. False: no. */
bool cli_confirm(const struct cli *cli, const char *question);
/* Ctrl-C was pressed. cli_sleep() returns early then. */
bool cli_interrupted(void);
void cli_watch_interrupt(void);
void cli_sleep(int64_t ms);
int64_t cli_now_ms(void); /* monotonic */
/* While something is waited for: CALLED is what the last call ended with. True once state could not
 * be reached for a minute; before that it may only be coming back. */
bool cli_gone(int called, int64_t *reached_ms);

#endif
