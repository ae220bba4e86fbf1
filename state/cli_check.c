/* cli_check.c -- check, config and completion: the verbs that need no running state. */
#include "lib/base/mem.h"
#include "lib/base/yaml.h"
#include "state/cli_inside.h"
#include "state/preflight.h"

#include <string.h>

/* Before a copy the target has to be empty; afterwards it must not be. */
static bool is_first_time(struct cli *cli) {
    json_t *status;
    int code = cli_call(cli, "GET", "/v1/status", NULL, &status);
    const char *phase = json_text(status, "phase");
    bool first = code || strcmp(phase, "planned") == 0 || strcmp(phase, "checked") == 0 ||
                 strcmp(phase, "aborted") == 0;
    json_decref(status);
    return first;
}

static void print_finding(const struct cli *cli, const struct finding *f) {
    static const char *const marks[] = {"✔", "·", "!", "✖"};
    static const char *const colours[] = {PAINT_GREEN, "", PAINT_YELLOW, PAINT_RED};
    printf("  %s%s%s %-18s %s\n", cli_paint(cli, colours[f->level]), marks[f->level],
           cli_paint(cli, PAINT_OFF), f->id, f->text);
    if (f->fix[0]) printf("    %-18s fix: %s\n", "", f->fix);
}

int cli_check(struct cli *cli) {
    struct drawbridge_config config;
    struct why why;
    if (cli_load_config(cli, &config, &why)) {
        fprintf(stderr, "drawbridge check: %s\n", why.text);
        return EXIT_USAGE;
    }
    struct preflight *p = NEW(struct preflight);
    preflight_run(&config, is_first_time(cli), p);
    bool passed = preflight_passed(p);
    if (cli->json) {
        json_t *json = json_pack(
            "{s:s, s:s, s:b, s:o, s:[s]}", "schema", "drawbridge.check.v1", "migration",
            config.migration, "passed", passed, "findings", preflight_json(p), "next_steps",
            passed ? "drawbridge start" : "fix what failed, then drawbridge check");
        cli_print_json(json);
        json_decref(json);
    } else {
        for (size_t i = 0; i < p->count; i++) print_finding(cli, &p->findings[i]);
        puts(passed ? "check passed; next: drawbridge start" : "check FAILED");
    }
    int code = passed              ? EXIT_DONE
               : p->misconfigured  ? EXIT_USAGE
               : p->not_authorised ? EXIT_NOT_AUTHORISED
                                   : EXIT_NOT_READY;
    mem_free(p);
    config_close(&config);
    return code;
}

int cli_config(struct cli *cli) {
    struct drawbridge_config config;
    struct why why;
    if (strcmp(cli->sub, "example") == 0) {
        struct buf out = {0};
        config_example(&out);
        fputs(buf_text(&out), stdout);
        buf_close(&out);
        return EXIT_DONE;
    }
    if (strcmp(cli->sub, "check") != 0) {
        fprintf(stderr, "drawbridge config [check|example] [FILE]\n");
        return EXIT_USAGE;
    }
    enum err err = cli_load_config(cli, &config, &why);
    if (cli->json) {
        json_t *json = json_pack("{s:s, s:b, s:s}", "schema", "drawbridge.config.v1", "valid",
                                 err == OK, "error", err ? why.text : "");
        cli_print_json(json);
        json_decref(json);
    } else if (err)
        fprintf(stderr, "drawbridge config check: %s\n", why.text);
    else
        printf("%s is valid\n", cli_config_path(cli));
    if (!err) config_close(&config);
    return err ? EXIT_USAGE : EXIT_DONE;
}

int cli_completion(struct cli *cli) {
    if (strcmp(cli->sub, "bash") != 0) {
        fprintf(stderr, "drawbridge completion bash\n");
        return EXIT_USAGE;
    }
    fputs("_drawbridge() {\n"
          "  local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]}\n"
          "  local options='--api --config --output --dry-run --reason --yes --wait'\n"
          "  if [ $COMP_CWORD = 1 ]; then\n"
          "    COMPREPLY=($(compgen -W 'up gateway syncer server state check start status pause "
          "resume throttle reads audit"
          " cutover rollback capture complete abort gates ledger config completion help' -- \"$word\")); "
          "return\n"
          "  fi\n"
          "  case $verb in\n"
          "    audit) options=\"start show diff repair stop $options\" ;;\n"
          "    ledger) options=\"events checkpoints barriers verify export $options\" ;;\n"
          "    gates) options=\"waive $options\" ;;\n"
          "    config) options=\"check example\" ;;\n"
          "    start) options=\"--baseline $options\" ;;\n"
          "    status) options=\"--watch --gate $options\" ;;\n"
          "    cutover|rollback) options=\"--rehearse --max-hold $options\" ;;\n"
          "    capture) options=\"stream lane --max-hold $options\" ;;\n"
          "    reads) options=\"--target $options\" ;;\n"
          "    throttle) options=\"--ops --bytes $options\" ;;\n"
          "  esac\n"
          "  COMPREPLY=($(compgen -f -W \"$options\" -- \"$word\"))\n"
          "}\n"
          "complete -F _drawbridge drawbridge\n",
          stdout);
    return EXIT_DONE;
}
