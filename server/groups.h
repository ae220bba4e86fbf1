/* groups.h -- every group of commands and every part has one function that plugs it in. */
#ifndef SERVER_GROUPS_H
#define SERVER_GROUPS_H

struct engine;

void string_commands_bind(struct engine *engine);
void string_lcs_bind(struct engine *engine);
void generic_commands_bind(struct engine *engine);
void expire_commands_bind(struct engine *engine);
void scan_commands_bind(struct engine *engine);
void connection_commands_bind(struct engine *engine);
void client_commands_bind(struct engine *engine);
void server_commands_bind(struct engine *engine);
void command_commands_bind(struct engine *engine);
void debug_commands_bind(struct engine *engine);
void lolwut_bind(struct engine *engine);
void module_bind(struct engine *engine);
void info_commands_bind(struct engine *engine);
void object_commands_bind(struct engine *engine);
void shutdown_commands_bind(struct engine *engine);
void migrate_commands_bind(struct engine *engine);

#endif
