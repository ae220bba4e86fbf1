/* command_syntax.c -- COMMAND DOCS: the arguments of each command of Redis 7.0, in a notation of
 * ours.
 *
 *     key@0 value condition?^2.6.12<NX XX> seconds%i=EX
 *
 * An argument is a name, then what else there is to say of it:
 *     %x     its type: i integer, d double, u unix-time, p pattern, t pure-token, k key; else
 * string
 *     @N     a key, of the Nth key specification
 *     ? * +  optional; multiple; its token is repeated with it
 *     ^V !V  there since version V; deprecated since V
 *     =WORD  the token in front of it
 *     (...)  a block of arguments      <...>  one of these
 * A name in upper case is a pure token: NX stands for nx%t=NX.
 */
#include "server/command_docs.h"

#include "server/reply.h"

#include <ctype.h>

static const struct {
    const char *name, *arguments;
} syntax[] = {
    {"acl|cat", "categoryname?"},
    {"acl|deluser", "username*"},
    {"acl|dryrun", "username command arg?*"},
    {"acl|genpass", "bits%i?"},
    {"acl|getuser", "username"},
    {"acl|log", "operation?<count%i RESET>"},
    {"acl|setuser", "username rule?*"},
    {"append", "key@0 value"},
    {"auth", "username?^6.0.0 password"},
    {"bgsave", "SCHEDULE?^3.2.2"},
    {"bitcount", "key@0 index?(start%i end%i index_unit?^7.0.0<BYTE BIT>)"},
    {"bitfield", "key@0 operation?*<encoding_offset=GET(encoding offset%i) "
                 "write(wrap_sat_fail?=OVERFLOW<WRAP SAT FAIL> "
                 "write_operation<encoding_offset_value=SET(encoding offset%i value%i) "
                 "encoding_offset_increment=INCRBY(encoding offset%i increment%i)>)>"},
    {"bitfield_ro", "key@0 encoding_offset?*+=GET(encoding offset%i)"},
    {"bitop", "operation destkey@0 key@1*"},
    {"bitpos", "key@0 bit%i index?(start%i end_index?(end%i index_unit?^7.0.0<BYTE BIT>))"},
    {"blmove", "source@0 destination@1 wherefrom<LEFT RIGHT> whereto<LEFT RIGHT> timeout%d"},
    {"blmpop", "timeout%d numkeys%i key@0* where<LEFT RIGHT> count%i?=COUNT"},
    {"blpop", "key@0* timeout%d"},
    {"brpop", "key@0* timeout%d"},
    {"brpoplpush", "source@0 destination@1 timeout%d"},
    {"bzmpop", "timeout%d numkeys%i key@0* where<MIN MAX> count%i?=COUNT"},
    {"bzpopmax", "key@0* timeout%d"},
    {"bzpopmin", "key@0* timeout%d"},
    {"client|caching", "mode<YES NO>"},
    {"client|kill",
     "filter<ip:port!2.8.12 new-format*<client-id%i?^2.8.12=ID "
     "normal_master_slave_pubsub?^2.8.12=TYPE<NORMAL MASTER^3.2.0 SLAVE REPLICA^5.0.0 PUBSUB> "
     "username?=USER ip:port?=ADDR ip:port?^6.2.0=LADDR yes/no?=SKIPME>>"},
    {"client|list", "normal_master_replica_pubsub?^5.0.0=TYPE<NORMAL MASTER REPLICA PUBSUB> "
                    "id?^6.2.0=ID(client-id%i*)"},
    {"client|no-evict", "enabled<ON OFF>"},
    {"client|pause", "timeout%i mode?^6.2.0<WRITE ALL>"},
    {"client|reply", "on_off_skip<ON OFF SKIP>"},
    {"client|setname", "connection-name"},
    {"client|tracking",
     "status<ON OFF> client-id%i?=REDIRECT prefix?*+=PREFIX BCAST? OPTIN? OPTOUT? NOLOOP?"},
    {"client|unblock", "client-id%i timeout_error?<TIMEOUT ERROR>"},
    {"cluster|addslots", "slot%i*"},
    {"cluster|addslotsrange", "start-slot_end-slot*(start-slot%i end-slot%i)"},
    {"cluster|count-failure-reports", "node-id"},
    {"cluster|countkeysinslot", "slot%i"},
    {"cluster|delslots", "slot%i*"},
    {"cluster|delslotsrange", "start-slot_end-slot*(start-slot%i end-slot%i)"},
    {"cluster|failover", "options?<FORCE TAKEOVER>"},
    {"cluster|forget", "node-id"},
    {"cluster|getkeysinslot", "slot%i count%i"},
    {"cluster|keyslot", "key"},
    {"cluster|meet", "ip port%i cluster_bus_port%i?^4.0.0"},
    {"cluster|replicas", "node-id"},
    {"cluster|replicate", "node-id"},
    {"cluster|reset", "hard_soft?<HARD SOFT>"},
    {"cluster|set-config-epoch", "config-epoch%i"},
    {"cluster|setslot",
     "slot%i subcommand<node-id=IMPORTING node-id=MIGRATING node-id=NODE STABLE>"},
    {"cluster|slaves", "node-id"},
    {"command|docs", "command-name?*"},
    {"command|info", "command-name?*"},
    {"command|list", "filterby?=FILTERBY<module-name=MODULE category=ACLCAT pattern%p=PATTERN>"},
    {"config|get", "parameter*(parameter)"},
    {"config|set", "parameter_value*(parameter value)"},
    {"copy", "source@0 destination@1 destination-db%i?=DB REPLACE?"},
    {"decr", "key@0"},
    {"decrby", "key@0 decrement%i"},
    {"del", "key@0*"},
    {"dump", "key@0"},
    {"echo", "message"},
    {"eval", "script numkeys%i key@0?* arg?*"},
    {"eval_ro", "script numkeys%i key@0?* arg?*"},
    {"evalsha", "sha1 numkeys%i key@0?* arg?*"},
    {"evalsha_ro", "sha1 numkeys%i key@0?* arg?*"},
    {"exists", "key@0*"},
    {"expire", "key@0 seconds%i condition?^7.0.0<NX XX GT LT>"},
    {"expireat", "key@0 unix-time-seconds%u condition?^7.0.0<NX XX GT LT>"},
    {"expiretime", "key@0"},
    {"failover", "target?=TO(host port%i FORCE?) ABORT? milliseconds%i?=TIMEOUT"},
    {"fcall", "function numkeys%i key@0?* arg?*"},
    {"fcall_ro", "function numkeys%i key@0?* arg?*"},
    {"flushall", "async?<ASYNC^4.0.0 SYNC^6.2.0>"},
    {"flushdb", "async?<ASYNC^4.0.0 SYNC^6.2.0>"},
    {"function|delete", "library-name"},
    {"function|flush", "async?<ASYNC SYNC>"},
    {"function|list", "library-name-pattern?=LIBRARYNAME WITHCODE?"},
    {"function|load", "REPLACE? function-code"},
    {"function|restore", "serialized-value policy?<FLUSH APPEND REPLACE>"},
    {"geoadd",
     "key@0 condition?^6.2.0<NX XX> change%t?^6.2.0=CH longitude_latitude_member*(longitude%d "
     "latitude%d member)"},
    {"geodist", "key@0 member1 member2 unit?<M KM FT MI>"},
    {"geohash", "key@0 member*"},
    {"geopos", "key@0 member*"},
    {"georadius",
     "key@0 longitude%d latitude%d radius%d unit<M KM FT MI> WITHCOORD? WITHDIST? WITHHASH? "
     "count?(count%i=COUNT ANY?^6.2.0) order?<ASC DESC> key@1?=STORE key@2?=STOREDIST"},
    {"georadius_ro",
     "key@0 longitude%d latitude%d radius%d unit<M KM FT MI> WITHCOORD? WITHDIST? WITHHASH? "
     "count?(count%i=COUNT ANY?^6.2.0) order?<ASC DESC>"},
    {"georadiusbymember",
     "key@0 member radius%d unit<M KM FT MI> WITHCOORD? WITHDIST? WITHHASH? "
     "count?(count%i=COUNT ANY?) order?<ASC DESC> key@1?=STORE key@2?=STOREDIST"},
    {"georadiusbymember_ro",
     "key@0 member radius%d unit<M KM FT MI> WITHCOORD? WITHDIST? WITHHASH? "
     "count?(count%i=COUNT ANY?) order?<ASC DESC>"},
    {"geosearch",
     "key@0 from<member=FROMMEMBER longitude_latitude=FROMLONLAT(longitude%d latitude%d)> "
     "by<circle(radius%d=BYRADIUS unit<M KM FT MI>) box(width%d=BYBOX height%d unit<M KM FT "
     "MI>)> order?<ASC DESC> count?(count%i=COUNT ANY?) WITHCOORD? WITHDIST? WITHHASH?"},
    {"geosearchstore",
     "destination@0 source@1 from<member=FROMMEMBER longitude_latitude=FROMLONLAT(longitude%d "
     "latitude%d)> by<circle(radius%d=BYRADIUS unit<M KM FT MI>) box(width%d=BYBOX height%d "
     "unit<M KM FT MI>)> order?<ASC DESC> count?(count%i=COUNT ANY?) STOREDIST?"},
    {"get", "key@0"},
    {"getbit", "key@0 offset%i"},
    {"getdel", "key@0"},
    {"getex", "key@0 expiration?<seconds%i=EX milliseconds%i=PX unix-time-seconds%u=EXAT "
              "unix-time-milliseconds%u=PXAT PERSIST>"},
    {"getrange", "key@0 start%i end%i"},
    {"getset", "key@0 value"},
    {"hdel", "key@0 field*"},
    {"hello",
     "arguments?(protover%i username_password?=AUTH(username password) clientname?=SETNAME)"},
    {"hexists", "key@0 field"},
    {"hget", "key@0 field"},
    {"hgetall", "key@0"},
    {"hincrby", "key@0 field increment%i"},
    {"hincrbyfloat", "key@0 field increment%d"},
    {"hkeys", "key@0"},
    {"hlen", "key@0"},
    {"hmget", "key@0 field*"},
    {"hmset", "key@0 field_value*(field value)"},
    {"hrandfield", "key@0 options?(count%i WITHVALUES?)"},
    {"hscan", "key@0 cursor%i pattern%p?=MATCH count%i?=COUNT"},
    {"hset", "key@0 field_value*(field value)"},
    {"hsetnx", "key@0 field value"},
    {"hstrlen", "key@0 field"},
    {"hvals", "key@0"},
    {"incr", "key@0"},
    {"incrby", "key@0 increment%i"},
    {"incrbyfloat", "key@0 increment%d"},
    {"info", "section?*"},
    {"keys", "pattern%p"},
    {"latency|graph", "event"},
    {"latency|histogram", "command?*"},
    {"latency|history", "event"},
    {"latency|reset", "event?*"},
    {"lcs", "key1@0 key2@0 LEN? IDX? len%i?=MINMATCHLEN WITHMATCHLEN?"},
    {"lindex", "key@0 index%i"},
    {"linsert", "key@0 where<BEFORE AFTER> pivot element"},
    {"llen", "key@0"},
    {"lmove", "source@0 destination@1 wherefrom<LEFT RIGHT> whereto<LEFT RIGHT>"},
    {"lmpop", "numkeys%i key@0* where<LEFT RIGHT> count%i?=COUNT"},
    {"lolwut", "version%i?=VERSION"},
    {"lpop", "key@0 count%i?^6.2.0"},
    {"lpos", "key@0 element rank%i?=RANK num-matches%i?=COUNT len%i?=MAXLEN"},
    {"lpush", "key@0 element*"},
    {"lpushx", "key@0 element*"},
    {"lrange", "key@0 start%i stop%i"},
    {"lrem", "key@0 count%i element"},
    {"lset", "key@0 index%i element"},
    {"ltrim", "key@0 start%i stop%i"},
    {"memory|usage", "key@0 count%i?=SAMPLES"},
    {"mget", "key@0*"},
    {"migrate", "host port%i key_or_empty_string<key@0 empty_string%t=> destination-db%i timeout%i "
                "COPY?^3.0.0 REPLACE?^3.0.0 authentication?<password?^4.0.7=AUTH "
                "username_password?^6.0.0=AUTH2(username password)> key@1?*^3.0.6=KEYS"},
    {"module|load", "path arg?*"},
    {"module|loadex", "path configs?*+=CONFIG(name value) args?*=ARGS(arg)"},
    {"module|unload", "name"},
    {"move", "key@0 db%i"},
    {"mset", "key_value*(key@0 value)"},
    {"msetnx", "key_value*(key@0 value)"},
    {"object|encoding", "key@0"},
    {"object|freq", "key@0"},
    {"object|idletime", "key@0"},
    {"object|refcount", "key@0"},
    {"persist", "key@0"},
    {"pexpire", "key@0 milliseconds%i condition?^7.0.0<NX XX GT LT>"},
    {"pexpireat", "key@0 unix-time-milliseconds%u condition?^7.0.0<NX XX GT LT>"},
    {"pexpiretime", "key@0"},
    {"pfadd", "key@0 element?*"},
    {"pfcount", "key@0*"},
    {"pfdebug", "subcommand key@0"},
    {"pfmerge", "destkey@0 sourcekey@1*"},
    {"ping", "message?"},
    {"psetex", "key@0 milliseconds%i value"},
    {"psubscribe", "pattern*(pattern%p)"},
    {"psync", "replicationid offset%i"},
    {"pttl", "key@0"},
    {"publish", "channel message"},
    {"pubsub|channels", "pattern%p?"},
    {"pubsub|numsub", "channel?*"},
    {"pubsub|shardchannels", "pattern%p?"},
    {"pubsub|shardnumsub", "shardchannel?*"},
    {"punsubscribe", "pattern%p?*"},
    {"rename", "key@0 newkey@1"},
    {"renamenx", "key@0 newkey@1"},
    {"replicaof", "args<host-port(host port%i) no-one(NO ONE)>"},
    {"restore",
     "key@0 ttl%i serialized-value REPLACE?^3.0.0 ABSTTL?^5.0.0 seconds%i?^5.0.0=IDLETIME "
     "frequency%i?^5.0.0=FREQ"},
    {"restore-asking",
     "key@0 ttl%i serialized-value REPLACE?^3.0.0 ABSTTL?^5.0.0 seconds%i?^5.0.0=IDLETIME "
     "frequency%i?^5.0.0=FREQ"},
    {"rpop", "key@0 count%i?^6.2.0"},
    {"rpoplpush", "source@0 destination@1"},
    {"rpush", "key@0 element*"},
    {"rpushx", "key@0 element*"},
    {"sadd", "key@0 member*"},
    {"scan", "cursor%i pattern%p?=MATCH count%i?=COUNT type?^6.0.0=TYPE"},
    {"scard", "key@0"},
    {"script|debug", "mode<YES SYNC NO>"},
    {"script|exists", "sha1*"},
    {"script|flush", "async?^6.2.0<ASYNC SYNC>"},
    {"script|load", "script"},
    {"sdiff", "key@0*"},
    {"sdiffstore", "destination@0 key@1*"},
    {"select", "index%i"},
    {"set", "key@0 value condition?^2.6.12<NX XX> GET?^6.2.0 expiration?<seconds%i^2.6.12=EX "
            "milliseconds%i^2.6.12=PX unix-time-seconds%u^6.2.0=EXAT "
            "unix-time-milliseconds%u^6.2.0=PXAT KEEPTTL^6.0.0>"},
    {"setbit", "key@0 offset%i value%i"},
    {"setex", "key@0 seconds%i value"},
    {"setnx", "key@0 value"},
    {"setrange", "key@0 offset%i value"},
    {"shutdown", "nosave_save?<NOSAVE SAVE> NOW?^7.0.0 FORCE?^7.0.0 ABORT?^7.0.0"},
    {"sinter", "key@0*"},
    {"sintercard", "numkeys%i key@0* limit%i?=LIMIT"},
    {"sinterstore", "destination@0 key@1*"},
    {"sismember", "key@0 member"},
    {"slaveof", "args<host-port(host port%i) no-one(NO ONE)>"},
    {"slowlog|get", "count%i?"},
    {"smembers", "key@0"},
    {"smismember", "key@0 member*"},
    {"smove", "source@0 destination@1 member"},
    {"sort", "key@0 pattern%p@1?=BY offset_count?=LIMIT(offset%i count%i) pattern%p@1?*+=GET "
             "order?<ASC DESC> sorting%t?=ALPHA destination@2?=STORE"},
    {"sort_ro", "key@0 pattern%p@1?=BY offset_count?=LIMIT(offset%i count%i) pattern%p@1?*+=GET "
                "order?<ASC DESC> sorting%t?=ALPHA"},
    {"spop", "key@0 count%i?^3.2.0"},
    {"spublish", "shardchannel message"},
    {"srandmember", "key@0 count%i?^2.6.0"},
    {"srem", "key@0 member*"},
    {"sscan", "key@0 cursor%i pattern%p?=MATCH count%i?=COUNT"},
    {"ssubscribe", "shardchannel*"},
    {"strlen", "key@0"},
    {"subscribe", "channel*"},
    {"substr", "key@0 start%i end%i"},
    {"sunion", "key@0*"},
    {"sunionstore", "destination@0 key@1*"},
    {"sunsubscribe", "shardchannel?*"},
    {"swapdb", "index1%i index2%i"},
    {"touch", "key@0*"},
    {"ttl", "key@0"},
    {"type", "key@0"},
    {"unlink", "key@0*"},
    {"unsubscribe", "channel?*"},
    {"wait", "numreplicas%i timeout%i"},
    {"watch", "key@0*"},
    {"xack", "key@0 group id*"},
    {"xadd", "key@0 NOMKSTREAM?^6.2.0 trim?(strategy<MAXLEN MINID^6.2.0> operator?<equal%t== "
             "approximately%t=~> threshold count%i?^6.2.0=LIMIT) id_or_auto<auto_id%t=* id> "
             "field_value*(field value)"},
    {"xautoclaim", "key@0 group consumer min-idle-time start count%i?=COUNT JUSTID?"},
    {"xclaim", "key@0 group consumer min-idle-time id* ms%i?=IDLE unix-time-milliseconds%u?=TIME "
               "count%i?=RETRYCOUNT FORCE? JUSTID? id?=LASTID"},
    {"xdel", "key@0 id*"},
    {"xgroup|create", "key@0 groupname id<id new_id%t=$> MKSTREAM? entries_read%i?=ENTRIESREAD"},
    {"xgroup|createconsumer", "key@0 groupname consumername"},
    {"xgroup|delconsumer", "key@0 groupname consumername"},
    {"xgroup|destroy", "key@0 groupname"},
    {"xgroup|setid", "key@0 groupname id<id new_id%t=$> entries_read%i?=ENTRIESREAD"},
    {"xinfo|consumers", "key@0 groupname"},
    {"xinfo|groups", "key@0"},
    {"xinfo|stream", "key@0 full?=FULL(count%i?=COUNT)"},
    {"xlen", "key@0"},
    {"xpending", "key@0 group filters?(min-idle-time%i?^6.2.0=IDLE start end count%i consumer?)"},
    {"xrange", "key@0 start end count%i?=COUNT"},
    {"xread", "count%i?=COUNT milliseconds%i?=BLOCK streams=STREAMS(key@0* id*)"},
    {"xreadgroup",
     "group_consumer=GROUP(group consumer) count%i?=COUNT milliseconds%i?=BLOCK NOACK? "
     "streams=STREAMS(key@0* id*)"},
    {"xrevrange", "key@0 end start count%i?=COUNT"},
    {"xsetid", "key@0 last-id entries_added%i?^7.0.0=ENTRIESADDED "
               "max_deleted_entry_id?^7.0.0=MAXDELETEDID"},
    {"xtrim", "key@0 trim(strategy<MAXLEN MINID^6.2.0> operator?<equal%t== approximately%t=~> "
              "threshold count%i?^6.2.0=LIMIT)"},
    {"zadd", "key@0 condition?^3.0.2<NX XX> comparison?^6.2.0<GT LT> change%t?^3.0.2=CH "
             "increment%t?^3.0.2=INCR score_member*(score%d member)"},
    {"zcard", "key@0"},
    {"zcount", "key@0 min%d max%d"},
    {"zdiff", "numkeys%i key@0* WITHSCORES?"},
    {"zdiffstore", "destination@0 numkeys%i key@1*"},
    {"zincrby", "key@0 increment%i member"},
    {"zinter", "numkeys%i key@0* weight%i?*=WEIGHTS aggregate?=AGGREGATE<SUM MIN MAX> WITHSCORES?"},
    {"zintercard", "numkeys%i key@0* limit%i?=LIMIT"},
    {"zinterstore",
     "destination@0 numkeys%i key@1* weight%i?*=WEIGHTS aggregate?=AGGREGATE<SUM MIN MAX>"},
    {"zlexcount", "key@0 min max"},
    {"zmpop", "numkeys%i key@0* where<MIN MAX> count%i?=COUNT"},
    {"zmscore", "key@0 member*"},
    {"zpopmax", "key@0 count%i?"},
    {"zpopmin", "key@0 count%i?"},
    {"zrandmember", "key@0 options?(count%i WITHSCORES?)"},
    {"zrange", "key@0 start stop sortby?^6.2.0<BYSCORE BYLEX> REV?^6.2.0 "
               "offset_count?^6.2.0=LIMIT(offset%i count%i) WITHSCORES?"},
    {"zrangebylex", "key@0 min max offset_count?=LIMIT(offset%i count%i)"},
    {"zrangebyscore", "key@0 min%d max%d WITHSCORES?^2.0.0 offset_count?=LIMIT(offset%i count%i)"},
    {"zrangestore",
     "dst@0 src@1 min max sortby?<BYSCORE BYLEX> REV? offset_count?=LIMIT(offset%i count%i)"},
    {"zrank", "key@0 member"},
    {"zrem", "key@0 member*"},
    {"zremrangebylex", "key@0 min max"},
    {"zremrangebyrank", "key@0 start%i stop%i"},
    {"zremrangebyscore", "key@0 min%d max%d"},
    {"zrevrange", "key@0 start%i stop%i WITHSCORES?"},
    {"zrevrangebylex", "key@0 max min offset_count?=LIMIT(offset%i count%i)"},
    {"zrevrangebyscore", "key@0 max%d min%d WITHSCORES? offset_count?=LIMIT(offset%i count%i)"},
    {"zrevrank", "key@0 member"},
    {"zscan", "key@0 cursor%i pattern%p?=MATCH count%i?=COUNT"},
    {"zscore", "key@0 member"},
    {"zunion", "numkeys%i key@0* weight%i?*=WEIGHTS aggregate?=AGGREGATE<SUM MIN MAX> WITHSCORES?"},
    {"zunionstore",
     "destination@0 numkeys%i key@1* weight%i?*=WEIGHTS aggregate?=AGGREGATE<SUM MIN MAX>"},
};

/* ---- reading it ---- */

struct argument {
    const char *name;
    int name_size;
    char type;         /* letter; '(' and '<' for block and oneof */
    int key_spec;      /* -1: none */
    const char *token; /* NULL: none */
    int token_size;
    const char *since, *deprecated;
    int since_size, deprecated_size;
    bool optional, multiple, multiple_token;
};

static int version_size(const char *at) {
    return (int)strspn(at, "0123456789.");
}

/* What stands behind a name; returns the end. */
static const char *read_marks(const char *at, struct argument *a) {
    for (;; at++) {
        switch (*at) {
        case '?': a->optional = true; break;
        case '*': a->multiple = true; break;
        case '+': a->multiple_token = true; break;
        case '%': a->type = *++at; break;
        case '@':
            if (a->type == 's') a->type = 'k';
            a->key_spec = *++at - '0';
            break;
        case '^':
            a->since = ++at;
            at += (a->since_size = version_size(at)) - 1;
            break;
        case '!':
            a->deprecated = ++at;
            at += (a->deprecated_size = version_size(at)) - 1;
            break;
        case '=':
            a->token = ++at;
            a->token_size = (int)strcspn(at, " ()<>");
            return at + a->token_size;
        default: return at;
        }
    }
}

/* One argument without what is inside of it; returns where that begins, or the end. */
static const char *read_argument(const char *at, struct argument *a) {
    *a = (struct argument){.name = at, .type = 's', .key_spec = -1};
    a->name_size = (int)strcspn(at, " ()<>?*+%@^!=");
    at = read_marks(at + a->name_size, a);
    if (isupper((unsigned char)a->name[0])) {
        a->type = 't';
        a->token = a->name;
        a->token_size = a->name_size;
    }
    if (*at == '(' || *at == '<') a->type = *at;
    return at;
}

/* ---- telling it ---- */

static const char *letter_name(char type) {
    switch (type) {
    case 'i': return "integer";
    case 'd': return "double";
    case 'u': return "unix-time";
    case 'p': return "pattern";
    case 't': return "pure-token";
    case 'k': return "key";
    case '(': return "block";
    case '<': return "oneof";
    default: return "string";
    }
}

static void reply_text(struct client *c, const char *name, const char *text, int size) {
    reply_bulk_text(c, name);
    reply_bulk(c, slice_from(text, (size_t)size));
}

static void reply_name(struct client *c, const struct argument *a) {
    char lower[64];
    int size = a->name_size < (int)sizeof lower ? a->name_size : (int)sizeof lower;
    bool shouts = a->token == a->name;
    for (int i = 0; i < size; i++)
        lower[i] = (char)(shouts ? tolower((unsigned char)a->name[i]) : a->name[i]);
    reply_text(c, "name", lower, size);
    reply_bulk_text(c, "type");
    reply_bulk_text(c, letter_name(a->type));
}

static void reply_flags(struct client *c, const struct argument *a) {
    reply_bulk_text(c, "flags");
    reply_set(c, (size_t)a->optional + a->multiple + a->multiple_token);
    if (a->optional) reply_simple(c, "optional");
    if (a->multiple) reply_simple(c, "multiple");
    if (a->multiple_token) reply_simple(c, "multiple_token");
}

static const char *reply_arguments(struct client *c, const char *at);

static const char *reply_argument(struct client *c, const char *at) {
    struct argument a;
    at = read_argument(at, &a);
    bool flags = a.optional || a.multiple || a.multiple_token, has_more = *at == '(' || *at == '<';
    reply_map(c, 2 + (size_t)(a.key_spec >= 0) + (a.token != NULL) + (a.since != NULL) +
                     (a.deprecated != NULL) + flags + has_more);
    reply_name(c, &a);
    if (a.key_spec >= 0) {
        reply_bulk_text(c, "key_spec_index");
        reply_int(c, a.key_spec);
    }
    if (a.token) reply_text(c, "token", a.token, a.token_size);
    if (a.since) reply_text(c, "since", a.since, a.since_size);
    if (a.deprecated) reply_text(c, "deprecated_since", a.deprecated, a.deprecated_size);
    if (flags) reply_flags(c, &a);
    if (!has_more) return at;
    reply_bulk_text(c, "arguments");
    return reply_arguments(c, at + 1) + 1;
}

/* Up to the end, or the bracket that closes; returns that. */
static const char *reply_arguments(struct client *c, const char *at) {
    size_t mark = reply_later(c), count = 0;
    while (*at != '\0' && *at != ')' && *at != '>') {
        at = reply_argument(c, at);
        count++;
        if (*at == ' ') at++;
    }
    reply_later_array(c, mark, count);
    return at;
}

const char *command_syntax(const struct command *command) {
    for (size_t i = 0; i < COUNT(syntax); i++)
        if (strcmp(syntax[i].name, command->name) == 0) return syntax[i].arguments;
    return NULL;
}

void command_reply_syntax(struct client *c, const char *arguments) {
    const char *end = reply_arguments(c, arguments);
    ASSERT(*end == '\0');
}
