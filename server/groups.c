/* groups.c -- the list of everything that plugs itself into the engine. */
#include "server/groups.h"

#include "server/acl.h"
#include "server/client_memory.h"
#include "server/cluster.h"
#include "server/command.h"
#include "server/config_inside.h"
#include "server/latency.h"
#include "server/memory_report.h"
#include "server/monitor.h"
#include "server/multi.h"
#include "server/persistence.h"
#include "server/pubsub.h"
#include "server/replication.h"
#include "server/script.h"
#include "server/slowlog.h"
#include "server/tracking.h"
#include "server/turn_cost.h"
#include "server/types.h"

void command_groups_bind(struct engine *engine) {
    types_register();
    types_bind(engine);
    acl_commands_bind(engine);
    connection_commands_bind(engine);
    client_commands_bind(engine);
    client_memory_open(engine);
    tracking_commands_bind(engine);
    string_commands_bind(engine);
    string_lcs_bind(engine);
    generic_commands_bind(engine);
    expire_commands_bind(engine);
    scan_commands_bind(engine);
    object_commands_bind(engine);
    memory_commands_bind(engine);
    cluster_commands_bind(engine);
    shutdown_commands_bind(engine);
    migrate_commands_bind(engine);
    server_commands_bind(engine);
    lolwut_bind(engine);
    module_bind(engine);
    info_commands_bind(engine);
    command_commands_bind(engine);
    debug_commands_bind(engine);
    config_commands_bind(engine);
    multi_commands_bind(engine);
    pubsub_commands_bind(engine);
    monitor_commands_bind(engine);
    slowlog_commands_bind(engine);
    latency_commands_bind(engine);
    replication_open(
        engine); /* first: what it adds to the stream in a turn is noted beside the AOF */
    persistence_open(engine);
    turn_cost_bind(engine);
    script_open(engine);
}
