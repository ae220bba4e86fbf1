/* policy.h -- what the gateway does with each command: one small table over the table of commands.
 *
 * Most commands are forwarded as they are. The others are named in policy.c, with the reason where
 * one is refused.
 */
#ifndef GATEWAY_POLICY_H
#define GATEWAY_POLICY_H

#include "lib/redis/command.h"

enum policy {
    POLICY_FORWARD,   /* to the primary side, over a shared connection */
    POLICY_LOCAL,     /* answered here (PING, ECHO, AUTH, HELLO, SELECT, QUIT, RESET ...) */
    POLICY_CLIENT,    /* CLIENT ...: answered here for our own clients */
    POLICY_TRACKING,  /* CLIENT TRACKING and its relatives: a connection of the client's own */
    POLICY_MULTI,     /* MULTI, EXEC, DISCARD: collected here (C18) */
    POLICY_WATCH,     /* WATCH, UNWATCH: a connection of the client's own until EXEC */
    POLICY_BLOCKING,  /* may block: a connection of the client's own until it is answered (C27) */
    POLICY_WAIT,      /* WAIT: likewise, after a PING so that it waits for what came before */
    POLICY_SUBSCRIBE, /* (P|S)(UN)SUBSCRIBE: a connection of the client's own */
    POLICY_MONITOR,   /* likewise */
    POLICY_HIDE,      /* KEYS, SCAN, DBSIZE, RANDOMKEY: our own keys are taken out (C5a) */
    POLICY_SCRIPT,    /* EVAL, EVALSHA, SCRIPT LOAD, SCRIPT FLUSH: bodies are remembered (C27) */
    POLICY_REFUSE,    /* answered with an error: policy_why() */
};

enum policy policy_of(const struct command *command);

/* For POLICY_REFUSE: a sentence that says why. */
const char *policy_why(const struct command *command);

/* BLPOP and the like always may block; XREAD and XREADGROUP only with BLOCK. */
bool policy_blocks(const struct command *command, size_t argc, const struct slice *argv);

#endif
