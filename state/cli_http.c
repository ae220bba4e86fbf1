/* cli_http.c -- the command line's client of the API: libcurl over the Unix socket, or a URL. */
#include "lib/base/buf.h"
#include "state/cli_inside.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_MAX_BYTES (64u << 20)
#define CALL_TIMEOUT_MS 30000L

/* The API of the file, when nobody says otherwise. */
static void find_in_config(const struct cli *cli, char text[ENDPOINT_TEXT]) {
    struct drawbridge_config config;
    struct why why;
    snprintf(text, ENDPOINT_TEXT, "unix:/run/drawbridge/api.sock");
    struct cli plain = *cli;
    plain.word_count = 0; /* words of a verb are no file here */
    if (access(cli_config_path(&plain), R_OK) != 0 || cli_load_config(&plain, &config, &why))
        return;
    if (config.state.api.endpoint.kind != ENDPOINT_NONE)
        endpoint_format(&config.state.api.endpoint, text);
    config_close(&config);
}

const char *cli_api_text(const struct cli *cli) {
    static char text[ENDPOINT_TEXT];
    const char *env = getenv("DRAWBRIDGE_API");
    const char *given = cli->api ? cli->api : env && env[0] ? env : NULL;
    if (given) return given;
    if (!text[0]) find_in_config(cli, text);
    return text;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *self) {
    struct buf *buf = self;
    if (buf_size(buf) + size * count > ANSWER_MAX_BYTES) return 0;
    buf_append(buf, bytes, size * count);
    return size * count;
}

static void set_target(CURL *curl, const struct cli *cli, const char *path) {
    const char *api = cli_api_text(cli);
    char url[600];
    if (strncmp(api, "http://", 7) == 0 || strncmp(api, "https://", 8) == 0) {
        snprintf(url, sizeof url, "%.280s%.300s", api, path);
    } else if (strncmp(api, "unix:", 5) == 0 || strchr(api, '/')) {
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH,
                         strncmp(api, "unix:", 5) == 0 ? api + 5 : api);
        snprintf(url, sizeof url, "http://drawbridge%.300s", path);
    } else {
        snprintf(url, sizeof url, "http://%.280s%.300s", api, path);
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
}

static json_t *unreachable(const struct cli *cli, const char *why) {
    char text[400];
    snprintf(text, sizeof text, "state cannot be reached at %.200s: %.150s", cli_api_text(cli),
             why);
    return json_pack("{s:s, s:s, s:i, s:[s]}", "schema", "drawbridge.error.v1", "error", text,
                     "exit_code", EXIT_UNREACHABLE, "next_steps",
                     "start `drawbridge up FILE` or `drawbridge state FILE`, or give --api");
}

static int read_answer(const struct cli *cli, struct buf *body, long status, json_t **answer) {
    *answer = json_loadb((const char *)buf_slice(body).data, buf_size(body), 0, NULL);
    if (!*answer) {
        *answer = unreachable(cli, "what answers there is not state");
        return EXIT_UNREACHABLE;
    }
    json_t *code = json_object_get(*answer, "exit_code");
    if (json_is_integer(code)) return (int)json_integer_value(code);
    return status >= 200 && status < 300 ? EXIT_DONE : EXIT_FAILED;
}

int cli_call(const struct cli *cli, const char *method, const char *path, const json_t *body,
             json_t **answer) {
    CURL *curl = curl_easy_init();
    struct buf bytes = {0};
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    long status = 0;
    int code = EXIT_UNREACHABLE;
    set_target(curl, cli, path);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    if (strcmp(method, "POST") == 0) curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text ? text : "{}");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, CALL_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &bytes);
    CURLcode done = curl_easy_perform(curl);
    if (done != CURLE_OK)
        *answer = unreachable(cli, curl_easy_strerror(done));
    else {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        code = read_answer(cli, &bytes, status, answer);
    }
    curl_easy_cleanup(curl);
    buf_close(&bytes);
    free(text);
    return code;
}
