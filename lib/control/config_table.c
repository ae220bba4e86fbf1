/* config_table.c -- every option of drawbridge.yaml: the one list, from which the example file and
 * the documentation are made. */
#include "lib/control/config.h"

#include <stddef.h>

#define AT(field) offsetof(struct drawbridge_config, field)
#define KB (INT64_C(1) << 10)
#define MB (INT64_C(1) << 20)
#define GB (INT64_C(1) << 30)
#define TB (INT64_C(1) << 40)
#define SECOND INT64_C(1000)
#define HOUR (INT64_C(3600) * SECOND)
#define DAY (24 * HOUR)

/* What both sides have. */
#define SIDE(side, what, sample)                                                                   \
    {.name = #side ".address", .type = OPTION_STRING, .offset = AT(side.address),                  \
     .required = true, .example = sample, .help = what},                                           \
    {.name = #side ".tls", .type = OPTION_BOOL, .offset = AT(side.tls.on),                         \
     .help = "Speak TLS to it; true, or a section with the following."},                           \
    {.name = #side ".tls.ca", .type = OPTION_STRING, .offset = AT(side.tls.ca),                    \
     .example = "/etc/ssl/certs",                                                                  \
     .help = "File or folder of certificates to trust; else the system's."},                       \
    {.name = #side ".tls.cert", .type = OPTION_STRING, .offset = AT(side.tls.cert),                \
     .help = "Our certificate, if it asks for one (PEM)."},                                        \
    {.name = #side ".tls.key", .type = OPTION_STRING, .offset = AT(side.tls.key),                  \
     .help = "The key of our certificate; else it is in the certificate's file."},                 \
    {.name = #side ".tls.server_name", .type = OPTION_STRING, .offset = AT(side.tls.server_name),  \
     .help = "The name that its certificate must have; else the host of the address."},            \
    {.name = #side ".tls.insecure", .type = OPTION_BOOL, .offset = AT(side.tls.insecure),          \
     .fallback = "false", .help = "Accept any certificate. For tests."},                           \
    {.name = #side ".auth.user", .type = OPTION_STRING, .offset = AT(side.auth.user),              \
     .help = "The user of AUTH; else the default user."},                                          \
    {.name = #side ".auth.password", .type = OPTION_SECRET, .offset = AT(side.auth.password),      \
     .example = "file:/etc/drawbridge/" #side ".pass", .help = "The password of AUTH."},           \
    {.name = #side ".commands.psync", .type = OPTION_STRING, .offset = AT(side.commands.psync),    \
     .fallback = "PSYNC", .help = "What it calls PSYNC; clouds rename it."}

static const struct option table[] = {
    {.name = "migration", .type = OPTION_STRING, .offset = AT(migration), .required = true,
     .example = "prod-cart", .help = "The migration's name, as the ledger and people call it."},
    SIDE(legacy, "The Redis that clients use before the migration, host:port.",
         "cart.abc123.euw1.cache.example:6379"),
    SIDE(target, "The Redis that they use after it: the bundled server, or any Redis or Valkey.",
         "127.0.0.1:6400"),
    {.name = "target.cluster", .type = OPTION_BOOL, .offset = AT(target.cluster),
     .fallback = "false", .help = "The target is a Cluster."},

    {.name = "server.port", .type = OPTION_INT, .offset = AT(server.port), .fallback = "6400",
     .min = 1, .max = 65535, .help = "Port of the bundled server. With this section, `up` starts it."},
    {.name = "server.dir", .type = OPTION_STRING, .offset = AT(server.dir),
     .fallback = "/var/lib/drawbridge/server", .help = "Folder of its data."},
    {.name = "server.config", .type = OPTION_STRING, .offset = AT(server.config),
     .example = "/etc/drawbridge/server.conf", .help = "More settings for it, in redis.conf's syntax."},
    {.name = "server.metrics", .type = OPTION_STRING, .offset = AT(server.metrics.text),
     .example = "127.0.0.1:9382", .help = "Where /metrics is served; else nowhere."},

    {.name = "gateway.name", .type = OPTION_STRING, .offset = AT(gateway.name),
     .fallback = "gateway", .help = "Which gateway this is, when there are several."},
    {.name = "gateway.listen", .type = OPTION_STRING, .offset = AT(gateway.listen.text),
     .example = "0.0.0.0:6379", .help = "Where clients connect; may be left out where tls.listen is."},
    {.name = "gateway.tls", .type = OPTION_BOOL, .offset = AT(gateway.tls.on),
     .help = "A second, TLS port for clients; a section with the following."},
    {.name = "gateway.tls.listen", .type = OPTION_STRING, .offset = AT(gateway.tls.listen.text),
     .example = "0.0.0.0:6380", .help = "Where clients connect with TLS."},
    {.name = "gateway.tls.cert", .type = OPTION_STRING, .offset = AT(gateway.tls.cert),
     .example = "/etc/drawbridge/gateway.pem", .help = "Its certificate with chain (PEM)."},
    {.name = "gateway.tls.key", .type = OPTION_STRING, .offset = AT(gateway.tls.key),
     .example = "/etc/drawbridge/gateway.key", .help = "The key of the certificate (PEM)."},
    {.name = "gateway.tls.ca", .type = OPTION_STRING, .offset = AT(gateway.tls.ca),
     .help = "Clients must show a certificate signed by one of these; else none is asked for."},
    {.name = "gateway.auth.user", .type = OPTION_STRING, .offset = AT(gateway.auth.user),
     .help = "The user that clients name in AUTH; else the default user."},
    {.name = "gateway.auth.password", .type = OPTION_SECRET, .offset = AT(gateway.auth.password),
     .example = "file:/etc/drawbridge/clients.pass", .help = "The password that clients give."},
    {.name = "gateway.loops", .type = OPTION_INT, .offset = AT(gateway.loops), .fallback = "auto",
     .min = 1, .max = 64, .zero = "auto", .help = "Event loops; auto: one for each core."},
    {.name = "gateway.capture", .type = OPTION_CHOICE, .offset = AT(gateway.capture),
     .fallback = "auto", .choices = "stream|lane|auto",
     .help = "stream: the syncer follows legacy by PSYNC. lane: the gateway writes to both sides "
             "itself, for a legacy that hides PSYNC; several gateways need gateway.peer. auto: "
             "stream where legacy gives out PSYNC (commands.psync), else lane. While the migration "
             "runs, drawbridge capture changes it."},
    {.name = "gateway.lanes", .type = OPTION_INT, .offset = AT(gateway.lanes), .fallback = "1",
     .min = 1, .max = 64,
     .help = "With capture lane: how many pairs of connections share the slots. With one, a pipeline "
             "leaves as it comes, and what a command with several keys did is sent as it is; with more, "
             "a client waits whenever its next command is another lane's, and keys of several lanes "
             "are copied."},
    {.name = "gateway.baseline", .type = OPTION_STRING, .offset = AT(gateway.baseline),
     .fallback = "scan", .example = "/var/lib/drawbridge/legacy.rdb",
     .help = "With capture lane: where the first copy of all keys comes from. scan: the gateway lists "
             "legacy. A file: an RDB of legacy that was begun after GATEWAY LANES says so "
             "(baseline_wants_file_after_s), put there whole, by a rename."},
    {.name = "gateway.copy.big", .type = OPTION_SIZE, .offset = AT(gateway.copy.big),
     .fallback = "8MB", .min = 64 * KB, .max = 512 * MB,
     .help = "With capture lane: a value that takes more memory is copied in pieces."},
    {.name = "gateway.copy.hold", .type = OPTION_DURATION, .offset = AT(gateway.copy.hold),
     .fallback = "500ms", .min = 0, .max = 60000,
     .help = "How long clients may wait that write a key which is being copied in pieces; a copy "
             "that would take longer ends when the key is written."},
    {.name = "gateway.witness", .type = OPTION_CHOICE, .offset = AT(gateway.witness),
     .fallback = "auto", .choices = "auto|off",
     .help = "With capture lane: a connection that the primary side tells of every key that changes "
             "(CLIENT TRACKING, Redis 6.0 or newer), so that scripts that write keys which they do "
             "not name, and writers that go round the gateway, are followed. auto: where it is "
             "allowed."},
    {.name = "gateway.peer", .type = OPTION_STRING, .offset = AT(gateway.peer.text),
     .example = "10.0.0.5:7379",
     .help = "With capture lane and several gateways: where the others reach this one. A port that "
             "other machines reach needs state.tls."},
    {.name = "gateway.standalone", .type = OPTION_BOOL, .offset = AT(gateway.standalone),
     .fallback = "no",
     .help = "Forward to legacy without asking state: no migration, only a proxy."},
    {.name = "gateway.reads", .type = OPTION_STRING, .offset = AT(gateway.reads),
     .fallback = "primary", .example = "10%",
     .help = "Which side answers reads. primary. 10%: that share is answered by the other side "
             "(canary). shadow, shadow:5%: the other side is asked, too, and the answers are "
             "compared. GATEWAY READS and drawbridge reads change it while it runs."},
    {.name = "gateway.max_clients", .type = OPTION_INT, .offset = AT(gateway.max_clients),
     .fallback = "10000", .min = 1, .max = 1000000, .live = true,
     .help = "More clients than this are refused."},
    {.name = "gateway.drain", .type = OPTION_DURATION, .offset = AT(gateway.drain),
     .fallback = "5s", .min = 0, .max = 600000,
     .help = "How long a gateway that is told to end (SIGTERM) may take to answer what it has taken, "
             "to hand its slots over and to bring its lanes to rest. 0: it ends at once, and clients "
             "lose answers."},
    {.name = "gateway.admin", .type = OPTION_STRING, .offset = AT(gateway.admin.text),
     .example = "/run/drawbridge/gateway.sock",
     .help = "Its own admin socket; else NAME.sock in run_dir."},
    {.name = "gateway.metrics", .type = OPTION_STRING, .offset = AT(gateway.metrics.text),
     .example = "127.0.0.1:9379", .help = "Where /metrics is served; else nowhere."},

    {.name = "syncer.name", .type = OPTION_STRING, .offset = AT(syncer.name), .fallback = "syncer",
     .help = "Which syncer this is, when there are several."},
    {.name = "syncer.spool.dir", .type = OPTION_STRING, .offset = AT(syncer.spool.dir),
     .fallback = "/var/lib/drawbridge/spool", .help = "Folder of the spool."},
    {.name = "syncer.spool.limit", .type = OPTION_SIZE, .offset = AT(syncer.spool.limit),
     .fallback = "100GB", .min = 64 * MB, .max = 1024 * TB, .live = true,
     .help = "Bytes that may wait on disk; beyond it the syncer stops reading."},
    {.name = "syncer.copy.throttle.ops", .type = OPTION_INT,
     .offset = AT(syncer.copy.throttle.ops), .fallback = "unlimited", .min = 1,
     .max = 1000000000, .zero = "unlimited", .live = true,
     .help = "Commands per second that the copy may send to the target."},
    {.name = "syncer.copy.throttle.bytes", .type = OPTION_SIZE,
     .offset = AT(syncer.copy.throttle.bytes), .fallback = "unlimited", .min = 64 * KB,
     .max = 1024 * GB, .zero = "unlimited", .live = true,
     .help = "Bytes per second that the copy may send to the target."},
    {.name = "syncer.metrics", .type = OPTION_STRING, .offset = AT(syncer.metrics.text),
     .example = "127.0.0.1:9380", .help = "Where /metrics is served; else nowhere."},

    {.name = "state.ledger", .type = OPTION_STRING, .offset = AT(state.ledger),
     .fallback = "/var/lib/drawbridge/ledger.db", .help = "The ledger's file (SQLite)."},
    {.name = "state.control", .type = OPTION_STRING, .offset = AT(state.control.text),
     .example = "unix:/run/drawbridge/control.sock",
     .help = "Where gateways and syncers report; else control.sock in run_dir."},
    {.name = "state.tls", .type = OPTION_BOOL, .offset = AT(state.tls.on),
     .help = "TLS where state.control is a port; a section with the following. Both ends show a certificate."},
    {.name = "state.tls.ca", .type = OPTION_STRING, .offset = AT(state.tls.ca),
     .example = "/etc/drawbridge/control-ca.pem", .help = "Who is trusted: nobody else's certificate opens the port."},
    {.name = "state.tls.cert", .type = OPTION_STRING, .offset = AT(state.tls.cert),
     .example = "/etc/drawbridge/control.pem", .help = "The certificate of the role that reads this file (PEM)."},
    {.name = "state.tls.key", .type = OPTION_STRING, .offset = AT(state.tls.key),
     .example = "/etc/drawbridge/control.key", .help = "The key of the certificate; else it is in the same file."},
    {.name = "state.tls.server_name", .type = OPTION_STRING, .offset = AT(state.tls.server_name),
     .help = "The name in state's certificate; else the host in state.control."},
    {.name = "state.api", .type = OPTION_STRING, .offset = AT(state.api.text),
     .example = "unix:/run/drawbridge/api.sock",
     .help = "The HTTP API of the command line; else api.sock in run_dir."},
    {.name = "state.console", .type = OPTION_STRING, .offset = AT(state.console.text),
     .example = "127.0.0.1:8380", .help = "The console in a browser; else none."},
    {.name = "state.metrics", .type = OPTION_STRING, .offset = AT(state.metrics.text),
     .example = "127.0.0.1:9381", .help = "Where /metrics is served; else nowhere."},

    {.name = "topology.epoch", .type = OPTION_INT, .offset = AT(topology.epoch), .fallback = "0",
     .min = 0, .max = INT64_MAX / 2, .live = true,
     .help = "The version of the topology of a cluster of bundled servers: raise it with each change; "
             "no node takes an older one. SIGHUP reads both anew."},
    {.name = "topology.nodes", .type = OPTION_STRING, .offset = AT(topology.nodes), .live = true,
     .example = "a 10.0.0.1:6400 0-16383",
     .help = "Its nodes, a line each (a text after '|'): NAME HOST:PORT SLOT|FROM-TO ..., or NAME "
             "HOST:PORT replica-of NAME. state tells them. TLS and password are those of target."},

    {.name = "log.format", .type = OPTION_CHOICE, .offset = AT(log.format), .fallback = "text",
     .choices = "text|json", .help = "What a log line looks like."},
    {.name = "log.level", .type = OPTION_CHOICE, .offset = AT(log.level), .fallback = "info",
     .choices = "debug|info|warn|error", .live = true, .help = "The least that is logged."},
    {.name = "log.file", .type = OPTION_STRING, .offset = AT(log.file),
     .help = "Log to this file; else to standard error."},
    {.name = "run_dir", .type = OPTION_STRING, .offset = AT(run_dir),
     .fallback = "/run/drawbridge", .help = "Folder of sockets."},

    {.name = "gates.lag", .type = OPTION_DURATION, .offset = AT(gates.lag), .fallback = "200ms",
     .min = 1, .max = HOUR, .live = true, .help = "Lag up to which both sides count as level."},
    {.name = "gates.audit_age", .type = OPTION_DURATION, .offset = AT(gates.audit_age),
     .fallback = "24h", .min = SECOND, .max = 365 * DAY, .live = true,
     .help = "How old the audit without differences may be."},
    {.name = "cutover.max_hold", .type = OPTION_DURATION, .offset = AT(cutover.max_hold),
     .fallback = "500ms", .min = 10, .max = 60 * SECOND, .live = true,
     .help = "How long clients may be held at a barrier before they go on at the old side."},
    {.name = "cutover.max_blackout", .type = OPTION_DURATION, .offset = AT(cutover.max_blackout),
     .fallback = "10s", .min = 100, .max = HOUR, .live = true,
     .help = "How long commands may wait in all when something dies at a barrier."},
    {.name = "guard.capture", .type = OPTION_CHOICE, .offset = AT(guard.capture),
     .fallback = "auto", .choices = "stream|lane|auto",
     .help = "How writes come back to legacy after the cutover. stream: the reverse link follows "
             "target by PSYNC. lane: the gateways' lanes. auto: what the capture was before; instead "
             "of lanes that cannot be turned round (a legacy before 5.0) the link."},
};

const struct options config_options = {
    .table = table,
    .count = sizeof table / sizeof *table,
    .title = "drawbridge.yaml -- one migration: every option, its default and its bounds.",
};
